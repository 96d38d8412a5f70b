"""Rules as they are written, on studies whose values are known; definitions that are met, and that are not."""

import numpy as np
import pandas as pd
import pytest

from collapse_utils.practice import rules
from collapse_utils.practice.frames import Columns
from collapse_utils.practice.study import Study

KEYS = ["regime", "share", "seed", "fit", "measure", "column", "value"]


def made(values, null, n_seeds=6, n_fits=8, noise=0.01, shares=(np.nan,), rng=None):
    """A study: values {(measure, column): function of (fit, share)} and null {(measure, column): mean}, with noise by seed."""
    rng = rng or np.random.default_rng(0)
    rows = [
        ("replace" if np.isnan(share) else "mixture", share, seed, fit, *key, of(fit, share) + noise * rng.standard_normal())
        for share in shares for seed in range(n_seeds) for fit in range(1, n_fits + 1) for key, of in values.items()
    ]  # fmt: skip
    real = [(seed, *key, mean + noise * rng.standard_normal()) for seed in range(n_seeds) for key, mean in null.items()]
    settings = {"data": "made.csv", "sha256": "0" * 64, "rows": 400, "notes": [], "model": "copula", "measures": ["energy", "moments", "tails"],
                "n_fits": n_fits, "n_seeds": n_seeds, "target": "", "seed": 0, "n_compared": 1000, "versions": {"numpy": np.__version__}}  # fmt: skip
    columns = Columns(("x", "y"), ("number", "number"), ((), ()))
    return Study(pd.DataFrame(rows, columns=KEYS), pd.DataFrame(real, columns=["seed", *KEYS[4:]]), settings, columns)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("energy_distance > 2 * null", ("energy_distance", ">", 2, True)),
        ("  mmd>=.5*null ", ("mmd", ">=", 0.5, True)),
        ("tail_mass_1 < 0.5", ("tail_mass_1", "<", 0.5, False)),
        ("copied_rows > 1e-3", ("copied_rows", ">", 0.001, False)),
        ("log_volume <= -1", ("log_volume", "<=", -1, False)),
    ],
)
def test_a_rule_is_read_and_reads_itself(text, rule):
    assert rules.parse(text) == rule
    assert rules.parse(str(rules.parse(text))) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy_distnce > 2 * null", "unknown measure 'energy_distnce'; did you mean 'energy_distance'"),
        ("energy > 1", "unknown measure 'energy'; did you mean "),
        ("energy_distance 2", r"must read MEASURE OP NUMBER \[\* null\], such as .*; got 'energy_distance 2'"),
        ("energy_distance > 2 * nul", r"must read MEASURE OP NUMBER \[\* null\]"),
        ("energy_distance == 2", "must read MEASURE OP NUMBER"),
        ("energy_distance > null", "must read MEASURE OP NUMBER"),
        ("mmd > 1.2.3", "'1.2.3' is no number, in 'mmd > 1.2.3'"),
        ("", "must read MEASURE OP NUMBER .*; got ''"),
    ],
)
def test_what_is_no_rule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        rules.parse(text)


def test_a_rule_is_judged_at_the_last_fit_against_its_null():
    study = made({("energy_distance", ""): lambda fit, _: 0.1 * fit}, {("energy_distance", ""): 0.3})
    judged = rules.judged(
        study,
        [rules.parse(text) for text in ("energy_distance > 2 * null", "energy_distance > 3 * null", "energy_distance < 0.5")],
    )
    assert judged["holds"].tolist() == [False, True, True]
    assert judged["mean"].tolist() == pytest.approx([0.8] * 3, abs=0.05)
    assert judged["bound"].tolist() == pytest.approx([0.6, 0.9, 0.5], abs=0.1)
    assert (judged["se"] < 0.02).all()


def test_the_worst_column_decides_and_is_named():
    values = {("tail_mass_1", "x"): lambda fit, _: 1.0, ("tail_mass_1", "y"): lambda fit, _: 1 - 0.1 * fit}
    study = made(values, {("tail_mass_1", "x"): 1.0, ("tail_mass_1", "y"): 1.0})
    judged = rules.judged(study, [rules.parse("tail_mass_1 < 0.5 * null"), rules.parse("tail_mass_1 > 1.5")])
    assert judged["column"].tolist() == ["y", "x"]
    assert judged["holds"].tolist() == [False, True]


def test_every_arm_is_judged():
    study = made({("mmd", ""): lambda fit, share: 1 - share}, {("mmd", ""): 0.1}, shares=(0.1, 0.9))
    judged = rules.judged(study, [rules.parse("mmd > 0.5")])
    assert judged["share"].tolist() == [0.1, 0.9]
    assert judged["holds"].tolist() == [False, True]
    assert rules.judged(study, []).empty


def test_a_rule_on_what_was_not_measured_says_what_it_needs():
    study = made({("mmd", ""): lambda fit, _: 1.0}, {("mmd", ""): 1.0})
    for text, need in (
        ("tail_mass_01 < 1", "it needs numbers and 1000 held-out rows"),
        ("real_test_loss > 1", "it needs the group usefulness among the measures"),
        ("copied_rows > 0", "it needs the group neighbours among the measures"),
    ):
        with pytest.raises(ValueError, match=f"is not measured, {need}; rule '{text}'"):
            rules.judged(study, [rules.parse(text)])


def met(values, null, **given):
    """The numbers of the definitions that a study meets, and of those that it cannot judge."""
    found = rules.definitions(made(values, null, **given))
    return set(found[found["met"] == True]["number"]), set(found[found["met"].isna()]["number"])  # noqa: E712


LOSS = ("real_test_loss", "")


def test_risk_that_rises_levels_off_or_stays_is_told_apart(seed):
    rng = np.random.default_rng(seed)
    null = {LOSS: 0.2}
    assert met({LOSS: lambda fit, _: 0.2}, null, rng=rng)[0] == set()
    assert met({LOSS: lambda fit, _: 0.2 + 0.15 * (1 - 0.3 ** (fit - 1))}, null, rng=rng)[0] == {2}  # levels off
    assert met({LOSS: lambda fit, _: 1 + 0.09 * fit}, null, rng=rng)[0] == {2, 3}  # grows, and has not doubled
    assert met({LOSS: lambda fit, _: 0.2 * fit}, null, rng=rng)[0] == {1, 2, 3}
    assert met({LOSS: lambda fit, _: 0.2 + 0.5 * (fit > 1)}, null, rng=rng)[0] == {1, 2}


def test_without_a_target_the_energy_distance_is_the_risk_and_short_runs_judge_no_divergence():
    energy = {("energy_distance", ""): lambda fit, _: 0.2 * fit}
    assert met(energy, {("energy_distance", ""): 0.1})[0] == {1, 2, 3}
    found, unjudged = met(energy, {("energy_distance", ""): 0.1}, n_fits=3)
    assert found == {1, 2}
    assert unjudged == {3, 4, 5, 6, 7, 8}


def test_deformations_are_told_apart(seed):
    rng = np.random.default_rng(seed)
    null = {
        ("variance_ratio", "x"): 1,
        ("variance_ratio", "y"): 1,
        ("tail_mass_1", "x"): 1,
        ("strange_rows", ""): 0.05,
        ("lost_categories", "z"): 0.2,
    }
    whole = {key: lambda fit, _, mean=mean: mean for key, mean in null.items()}
    assert met(whole, null, rng=rng) == (set(), {1, 2, 3, 5})
    assert met(whole | {("variance_ratio", "y"): lambda fit, _: 0.8**fit}, null, rng=rng)[0] == {4}
    assert met(whole | {("variance_ratio", "y"): lambda fit, _: 0.98**fit}, null, rng=rng)[0] == set()
    assert met(whole | {("tail_mass_1", "x"): lambda fit, _: 0.9 - 0.08 * fit}, null, rng=rng)[0] == {7}
    assert met(whole | {("lost_categories", "z"): lambda fit, _: fit // 4}, null, rng=rng)[0] == {6}
    assert met(whole | {("strange_rows", ""): lambda fit, _: 0.02 * fit}, null, rng=rng)[0] == {8}


def test_noise_alone_meets_a_definition_once_in_a_thousand(seed):
    gaps = np.random.default_rng(seed).standard_normal((3000, 5, 1))
    met = sum(rules._above(gap)[0] for gap in gaps)
    assert met <= 3 + 6 * np.sqrt(3)
    assert sum(rules._above(gap + 4)[0] for gap in gaps) > 1000  # and four deviations are seen


def test_every_definition_of_the_book_has_its_rule():
    assert [one.number for one in rules.DEFINITIONS] == list(range(1, 9))
    assert rules.arm_name("accumulate_subsample", np.nan) == "accumulate-subsample"
    assert rules.arm_name("mixture", 0.125) == "mixture (0.125 real)"
