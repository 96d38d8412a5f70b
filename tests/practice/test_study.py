"""A study against its parts: loops by hand, halves held out, what survives a kill, what is refused before a fit."""

import numpy as np
import pandas as pd
import pytest

from collapse_utils import feedback_loop, follow, regimes
from collapse_utils.practice import frames, models, sources, study as studies
from collapse_utils.practice.start import Start
from tests.practice import strangers

CHEAP = ("energy", "moments", "start", "neighbours", "categories")


@pytest.fixture(scope="module")
def iris():
    return sources.read("iris")


def run(frame, model="gaussian", **kwargs):
    return studies.study(frame, model, **({"n_fits": 3, "n_seeds": 2, "measures": CHEAP} | kwargs))


@pytest.fixture(scope="module")
def found(iris):
    return run(iris, shares=(0.3,))


def test_the_table_is_tidy_and_complete(found):
    assert list(found.table) == studies.KEYS
    assert not found.table.duplicated(studies.KEYS[:-1]).any()
    assert found.table.value.notna().all()
    sizes = found.table.groupby(["regime", "share", "seed", "fit"], dropna=False).size()
    assert len(sizes) == 3 * 2 * 3
    assert sizes.nunique() == 1
    assert set(found.null.measure) == set(found.table.measure)
    assert found.settings["sha256"] == sources.read("iris").sha256


def test_its_loops_are_loops_by_hand(iris, found):
    order = np.random.default_rng([0, 1]).permutation(150)
    first, rng = iris.rows[order[:75]], np.random.default_rng([0, 1, 2])
    start, fit = Start(first[:, :4]), models.build("gaussian", iris.columns)
    loop, drifts, history = [first], [], first
    for _ in range(3):
        rows = fit(history, rng).sample(75, rng)
        drifts.append(start.measure(rows[:, :4])[0][2])
        loop.append(rows)
        history = np.concatenate(loop)
    table = found.table
    mine = table[(table.regime == "accumulate") & (table.seed == 1) & (table.measure == "drift")]
    assert np.allclose(mine.value, drifts)


def test_all_regimes_begin_with_one_first_fit(found):
    first = found.table[found.table.fit == 1].groupby(["seed", "measure", "column"]).value.nunique()
    assert (first == 1).all()


def test_a_share_of_one_is_the_real_data_again_and_of_nothing_is_replace(iris):
    table = run(iris, regimes=("replace",), shares=(0.0, 1.0), measures=("start",), n_seeds=40, n_fits=5).table
    drift = table[(table.measure == "drift") & (table.fit == 5)].groupby(["regime", "share"], dropna=False).value.mean() * 75
    assert drift["mixture", 1.0] < 1.5 < 3.5 < drift["mixture", 0.0]
    assert abs(drift["mixture", 0.0] - drift["replace"].iloc[0]) < 1.5


def test_the_null_of_rows_that_nobody_saw(iris):
    null = run(iris, n_seeds=30, n_fits=1, regimes=("replace",), measures=("neighbours", "start", "moments")).null
    mean = null.groupby("measure").value.mean()
    assert abs(mean["nearest_neighbour_ratio"] - 1) < 0.15
    assert mean["copied_rows"] < 0.1  # iris has rows that occur twice
    assert abs(mean["drift"] * 75 - 2) < 0.6


def test_a_memory_is_seen(iris):
    table = run(iris, strangers.copies, regimes=("replace",)).table
    value = table[table.measure.isin(["nearest_neighbour_ratio", "copied_rows"])].groupby("measure").value.mean()
    assert value["copied_rows"] == 1
    assert value["nearest_neighbour_ratio"] == 0


def test_a_stranger_by_name_runs_in_processes(iris):
    one, two = (run(iris, "tests.practice.strangers:bayesian", n_fits=2, measures=("start",), processes=n).table for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


def test_an_own_regime_runs(iris):
    def half_new(history, rng):
        """The last rows, and every second of the first."""
        return np.concatenate([history[-1][::2], history[0][1::2]])

    table = run(iris, regimes=(half_new, "replace")).table
    assert list(table.regime.unique()) == ["half_new", "replace"]


class Killed(Exception):
    pass


def test_a_killed_study_goes_on_as_if_nothing_had_been(iris, tmp_path):
    calls, last = [], [0]

    def fragile(table, rng):
        calls.append(len(table))
        if len(calls) == last[0]:
            raise Killed
        return strangers.Bayesian(table, int(rng.integers(2**31)))

    whole = run(iris, fragile, n_seeds=2, n_fits=4)
    calls.clear()
    last[0] = 10  # the rehearsal, a loop of four, and in the second
    with pytest.raises(ValueError, match=r"fragile\(table, rng\) must run; it raised Killed in .*test_study.py, line \d+\.$"):
        run(iris, fragile, n_seeds=2, n_fits=4, folder=tmp_path / "kept")
    calls.clear()
    last[0] = 0
    told = []
    again = run(
        iris, fragile, n_seeds=2, n_fits=4, folder=tmp_path / "kept", progress=lambda done, jobs: told.append((done, jobs))
    )
    assert len(calls) == 1 + 16 - 8  # the rehearsal, and what had not been drawn
    pd.testing.assert_frame_equal(again.table, whole.table)
    assert told[-1] == (6, 6)
    calls.clear()
    run(iris, fragile, n_seeds=2, n_fits=4, folder=tmp_path / "kept")
    assert len(calls) == 1
    with pytest.raises(RuntimeError, match="holds another run"):
        run(iris, fragile, n_seeds=2, n_fits=5, folder=tmp_path / "kept")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"regimes": ("forget",)}, "regimes: must be among replace, accumulate, .*; got 'forget'"),
        ({"shares": (1.2,)}, r"shares: each is a share of real rows between 0 and 1; got 1\.2"),
        ({"regimes": ()}, "must have a regime or a share of real rows; got neither"),
        ({"regimes": ("replace", "replace")}, "every regime and share must be given once"),
        ({"n_seeds": 1}, "n_seeds must be at least 2; got 1"),
        ({"n_fits": 0}, "n_fits must be at least 1; got 0"),
        ({"measures": ("energies",)}, "measures: must be among energy, mmd, .*; got 'energies'"),
        ({"target": "price"}, "target: must be one of the 5 columns; got 'price'; did you mean '.*'"),
        ({"target": "Target"}, "got 'Target'; did you mean 'target'"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"n_compared": 9}, "n_compared must be at least 10; got 9"),
        ({"measures": ("usefulness",)}, "measures: must be some that these rows have values of; got usefulness"),
        ({"measures": ()}, "these rows have values of; got none"),
        ({"model": "gauss"}, "got 'gauss'"),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_fit(iris, given, said):
    with pytest.raises(ValueError, match=said):
        run(iris, **given)


def test_a_sample_of_other_columns_is_refused_before_the_first_loop(iris, tmp_path):
    def other(table, rng):
        return strangers.Answer(table, lambda rows: rows.drop(columns="target"))

    with pytest.raises(
        ValueError, match="sample of other: must have the 5 columns of the data; got 4, and they differ in 'target'"
    ):
        run(iris, other, folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_sampled_generation_is_the_one_that_is_measured(iris):
    """Once: the rows measured are those that the next generator learns from."""
    rng = np.random.default_rng(0)
    fit = models.build("gaussian", iris.columns)
    seen = follow(
        feedback_loop(lambda data, rng: studies.Once(fit, data), iris.rows, regimes.replace, rng),
        lambda g: np.array([g.data[0, 0], g.model.sample(150, rng)[0, 0]])[None], 4,
    )[0]  # fmt: skip
    assert np.array_equal(seen[1:, 0], seen[:-1, 1])


def test_start_does_not_know_units(iris):
    rows = iris.rows[:, :4]
    one, other = Start(rows[:75]), Start(rows[:75] * [1, 10, 1e-3, 5] + 3)
    drawn = rows[75:]
    values = [
        [value for _, _, value in start.measure(part)] for start, part in ((one, drawn), (other, drawn * [1, 10, 1e-3, 5] + 3))
    ]
    assert np.allclose(*values)
    assert np.allclose([value for _, _, value in one.measure(rows[:75])], [0, 1, 0], atol=1e-9)
    assert frames.FEWEST < 75


def test_a_kept_table_that_is_damaged_is_named(iris, tmp_path):
    given = {"n_seeds": 2, "n_fits": 1, "regimes": ("replace",), "measures": ("moments",), "folder": tmp_path / "kept"}
    run(iris, **given)
    kept = sorted((tmp_path / "kept" / "done").glob("*.parquet"))
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    with pytest.raises(ValueError, match=f"study: {kept[0]} is damaged; remove it and run again: the other loops are kept"):
        run(iris, **given)
    kept[0].unlink()
    assert len(run(iris, **given).table) == 2 * 8
