"""Power: the size advised decides and half of it does not; what is declared adds replicates; DECIDE in a real chapter."""

import json
import re
import sys

import numpy as np
import pytest

from collapse_book import drawing, scorecard
from collapse_utils import claims
from tests import support
from workflow import __main__ as main, chapters, power, verdicts

RULES = {
    "equal": {"kind": "equal", "false_alarm": 1e-6},
    "band": {"kind": "equal", "false_alarm": 1e-6, "band": 0.05},
    "slope": {"kind": "slope", "false_alarm": 1e-6, "tolerance": 0.1},
    "below": {"kind": "below", "false_alarm": 1e-6},
    "below, band": {"kind": "below", "false_alarm": 1e-6, "band": 0.05},
}


def drawn(rng, n, k, gap):
    """Evidence from n replicates of k columns, mean 2 and standard deviation 3, by the moments' own laws."""
    mean = 2 + 3 / n**0.5 * rng.standard_normal(k)
    se = 3 * np.sqrt(rng.chisquare(n - 1, k) / (n - 1) / n)
    return {"n": n, "mean": mean.tolist(), "se": se.tolist(), "predicted": [2.0] * k, "rival": [2.0 + gap] * k}


@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("name", RULES)
def test_the_advised_size_has_power_and_half_of_it_has_less(name, k, seed):
    """A rival 0.5 away, from 300 replicates of which the noise is not known: 1,000 times advised, and judged anew."""
    rng, rule, decided = np.random.default_rng(seed), RULES[name], {0.5: [], 1: []}
    for _ in range(1000):
        first = drawn(rng, 300, k, 0.5)
        if claims.decide(rule, first)[0] == "inconclusive":
            size = power.needed(rule, first) * 300
            for share, found in decided.items():
                found.append(claims.decide(rule, drawn(rng, int(np.ceil(share * size)), k, 0.5))[0] == "holds")
    assert len(decided[1]) > 200
    assert np.mean(decided[1]) >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / len(decided[1]))
    if k == 1:
        assert np.mean(decided[0.5]) < 0.75
    if "below" in name:
        assert np.mean(decided[0.5]) < 0.05


def test_few_samples_are_not_asked_for_the_slack_of_few_and_a_band_counts():
    """Eight samples have a t-test's slack of twenty standard errors, the thousands asked for one of five."""
    few = {"n": 8, "mean": [2.0], "se": [1.0], "predicted": [2.0], "rival": [2.8]}
    by_summary = int(re.search(r"need (\d+) rep", claims.decide(RULES["equal"], few)[1]).group(1))
    assert power.needed(RULES["equal"], few) * 8 < by_summary / 3
    assert power.needed(RULES["equal"], few, fixed=True) > 3 * power.needed(RULES["equal"], few)
    assert power.needed(RULES["band"], few) > power.needed(RULES["equal"], few)
    assert power.needed(RULES["equal"] | {"band": 0.4}, few) == np.inf  # the rival is inside the band
    assert power.needed({"kind": "below", "tolerance": 0.1}, few) == np.inf
    between = few | {"n": 2000, "mean": [2.4], "se": [0.09]}  # the size is there, and the truth lies in the middle
    assert claims.decide(RULES["equal"], between)[0] == "inconclusive"
    assert 1 < power.needed(RULES["equal"], between) < 4


def test_the_two_or_three_looks_raise_the_false_alarm_at_most_threefold(seed):
    """The procedure as it is: the same data and more, size by the runs before; a true claim at a rate of 1 %."""
    rng, rule, failed, looks = np.random.default_rng(seed), {"kind": "equal", "false_alarm": 0.01}, 0, 0
    for _ in range(2000):
        data = rng.standard_normal(30)
        for _ in range(power.ROUNDS):
            n, looks = len(data), looks + 1
            evidence = {"n": n, "mean": [data.mean()], "se": [data.std(ddof=1) / n**0.5], "predicted": [0.0], "rival": [0.4]}
            verdict = claims.decide(rule, evidence)[0]
            if verdict != "inconclusive":
                break
            data = np.append(data, rng.standard_normal(int(np.ceil(power.needed(rule, evidence) * n)) - n))
        failed += verdict == "fails"
    assert looks > 2500
    assert 5 < failed < 60 + 5 * np.sqrt(60)


@pytest.mark.parametrize(
    ("alarm", "n", "wins", "seeds"),
    [(0.05, 4, [4], 5), (1e-3, 12, [12, 12, 12, 12], 12), (0.05, 4, [0], 5), (0.05, 4, [2], np.inf), (1e-3, 8, [5, 2], None)],
)
def test_orders_need_seeds(alarm, n, wins, seeds, seed):
    rule = {"kind": "ordered", "false_alarm": alarm}
    needed = power.needed(rule, {"n": n, "wins": wins}) * n
    if seeds is not None:
        assert needed == seeds
        return
    rng = np.random.default_rng(seed)  # the second pair is lost three times in four: that refutes the order
    assert needed < 100  # what confirms the first pair, won five times in eight, would be several hundred
    for share, least, most in ((1, 0.9, 1), (0.4, 0, 0.75)):
        m = int(needed * share)
        names = {"groups": ["a", "b", "c"], "n": m}
        won = [[rng.binomial(m, 0.625), rng.binomial(m, 0.25)] for _ in range(400)]
        assert least <= np.mean([claims.decide(rule, names | {"wins": one})[0] == "fails" for one in won]) <= most


def test_an_order_of_a_fixed_number_of_means_needs_quieter_ones(seed):
    rng, rule, decided = np.random.default_rng(seed), {"kind": "ordered", "false_alarm": 1e-3}, []
    for _ in range(300):
        step = rng.normal(0, 1, 30)
        step = 0.4 + (step - step.mean()) / step.std(ddof=1)
        factor = power.needed(rule, {"n": 30, "values": [[0] * 30, step.tolist()], "wins": [int((step > 0).sum())]}, fixed=True)
        again = rng.normal(0.4, 1 / factor**0.5, 30)
        wins = [int((again > 0).sum())]
        decided.append(claims.decide(rule, {"groups": ["a", "b"], "n": 30, "wins": wins})[0] == "holds")
    assert np.mean(decided) > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)


STATISTICAL = {id_: claim for id_, claim in claims.ledger().items() if "false_alarm" in claim.get("test", {})}


@pytest.mark.parametrize("chapter", chapters.chapters())
def test_the_declared_parameter_multiplies_the_samples(chapter):
    """It exists, and between the published scales the samples grow as it does, or stay where they are called fixed."""
    known = [chapters.load(chapter).defaults | chapters.at_scale(chapter, scale) for scale in ("laptop", "smoke")]
    judged = [
        {one["id"]: one["evidence"]["n"] for one in chapters.published(chapter, scale, "verdicts")}
        for scale in ("laptop", "smoke")
    ]
    for id_, claim in STATISTICAL.items():
        if claim["chapter"] != chapter or (name := claim.get("replicates", chapters.replicates(chapter))) == "none":
            continue
        assert type(known[0][name]) is int, id_
        if id_ in judged[0] and id_ in judged[1]:
            large, small = (found[id_] for found in judged)
            ratio = 1 if claim.get("samples") == "fixed" else known[0][name] / known[1][name]
            if id_ == "GER-14a":  # a sample for each step of a run, from one fit to the next
                ratio *= (known[0]["n_fits"] - 1) / (known[1]["n_fits"] - 1)
            if id_ == "KAZ-10e":  # smaller samples have more chains, as many more as the largest is larger
                ratio *= known[0]["largest"] / known[1]["largest"]
            chosen = 0.05 if id_ == "BAR-3" else 1e-6  # it takes the runs whose first fit has one weight: a random number of them
            assert large / small == pytest.approx(ratio, chosen), (id_, name)
    assert all(claim["samples"] == "fixed" for claim in STATISTICAL.values() if "samples" in claim)


def weak(id_, gap):
    """An inconclusive verdict of 500 replicates, the noise 0.02 and the rival `gap` away."""
    rule = RULES["equal"]
    evidence = {"n": 500, "mean": [1.0], "se": [0.02], "predicted": [1.0], "rival": [1 + gap]}
    verdict, summary = claims.decide(rule, evidence)
    return {"id": id_, "verdict": verdict, "summary": summary, "rule": rule, "evidence": evidence, "scale": "smoke"}


def test_advice_respects_the_range_and_the_scale_and_rounds_up():
    run = chapters.plan("linear_models", "smoke", {"d": 8})
    advice = power.advise(run, weak("GER-1", 0.05))
    exact = 500 * power.needed(RULES["equal"], weak("GER-1", 0.05)["evidence"])
    assert advice.parameter == "n_replicates"
    assert exact <= advice.value < exact + 100
    assert advice.value % 100 == 0
    twice = chapters.plan("linear_models", "smoke", {"n_replicates": 1000})  # as if each replicate gave half a sample
    assert power.advise(twice, weak("GER-1", 0.05)).value == pytest.approx(2 * advice.value, abs=200)
    far = power.advise(run, weak("GER-1", 0.001))
    assert (far.parameter, far.value) == ("", 0)
    assert re.fullmatch(r"n_replicates=\d+0{3} would decide it, but n_replicates must be between 100 and 1,000,000", far.said)
    assert power.advise(run, weak("GER-1", 5.0)) is None
    assert power.advise(run, weak("GER-1", 0.0)).said == "no value of n_replicates decides it"
    assert power.advise(chapters.plan("ntk_training", "smoke"), weak("DAY-13a", 0.05)).said.startswith("no parameter of")
    healing = chapters.plan("healing", "laptop", {"methods": ["full", "head"], "rate": 1e-5})
    assert chapters.settings(power.settings(healing, {"n_seeds": 9})) == {"methods": ["full", "head"], "rate": 1e-5, "n_seeds": 9}
    assert power.command(healing, {"n_seeds": 9}).startswith("make run CHAPTER=healing SCALE=laptop P=")


@pytest.fixture
def finished(monkeypatch, tmp_path):
    """A run of chapter linear_models whose verdicts never decide, and a rerun that adds to a list of the settings."""
    monkeypatch.setattr(chapters, "BUILD", tmp_path)
    typed = []

    def rerun(run, settings):
        typed.append(settings)
        run.folder.mkdir(parents=True, exist_ok=True)
        verdicts = [weak("GER-1", 0.05), weak("GER-2a", 0.06), weak("GER-3", 0.001), weak("GER-4a", 5.0)]
        (run.folder / "verdicts.json").write_text(json.dumps(verdicts))
        return len(typed) < 9

    run = chapters.plan("linear_models", "smoke", {"d": 8, "n_samples": 40})
    rerun(run, "")
    return run, rerun, typed


def test_decide_takes_the_largest_size_and_stops_after_three_runs_or_at_the_cap(finished, capsys):
    run, rerun, typed = finished
    wanted = max(power.advise(run, weak(id_, gap)).value for id_, gap in (("GER-1", 0.05), ("GER-2a", 0.06)))
    lines = power.lines(run)
    assert [line.startswith(" ") for line in lines] == [False, True, False, True, False, True, False, False]
    assert f'→ to decide: make run CHAPTER=linear_models P="d=8 n_samples=40 n_replicates={wanted}"  (about ' in lines[-1]
    assert power.decide(run, 1e6, rerun)
    assert typed[1] == f"d=8 n_samples=40 n_replicates={wanted}"
    assert len(typed) == power.ROUNDS
    assert "stopped, after 3 runs" in capsys.readouterr().out
    assert power.decide(run, 0.001, rerun)
    assert len(typed) == power.ROUNDS
    said = capsys.readouterr().out
    assert f"n_replicates={wanted} would take about" in said
    assert said.strip().endswith("stopped, 0.001 of DECIDE=0.001 minutes are left.")
    (run.folder / "verdicts.json").write_text(json.dumps([weak("GER-3", 0.001)]))
    assert power.decide(run, 1e6, rerun)
    assert capsys.readouterr().out.endswith("stopped, no permitted value of a parameter decides GER-3.\n")
    rerun(run, "")
    typed[:] = [""] * 8
    assert not power.decide(run, 1e6, rerun)  # the rerun went wrong


@pytest.mark.parametrize("text", ["ten", "0", "-3", "nan", "inf", "5 minutes"])
def test_a_cap_that_is_no_number_of_minutes_is_refused(text, monkeypatch, capsys):
    for verb, said in (
        ("run", f"must be minutes, a number above 0, e.g. DECIDE=10; got {text!r}."),
        ("book", "is not used here"),
    ):
        monkeypatch.setattr(sys, "argv", ["workflow", verb, f"--decide={text}"])
        assert main.main() == 2
        error = capsys.readouterr().err
        assert error.startswith(("DECIDE (--decide)", "book: DECIDE (--decide)"))
        assert said in error
        assert error.count("\n") == 1


def test_pages_show_the_advice():
    card = {"chapter": "linear_models", "scale": "smoke", "parameters": {}}
    verdict = weak("GER-1", 0.05)
    advised = {**verdict, "claim": claims.ledger()["GER-1"], "advice": power.note(card, verdict)}
    assert f"; {power.note(card, verdict)}</span>" in drawing.drawn("claim.html", verdict=advised)
    assert "n_replicates=" in scorecard._cell(verdict | {"card": card})["advice"]
    assert not scorecard._cell(verdict | {"card": card, "verdict": "holds"})["advice"]
    undecided = [v for v in verdicts.published().values() if v["verdict"] == "inconclusive" and v["card"]]
    assert "".join(scorecard.papers()).count('class="advice"') >= len(undecided) > 0


def test_a_chapter_decides_itself_within_the_cap(copy):
    """Chapter estimators, tiny: claims lack replicates; under a cap too low it says so, under one that does they are decided."""
    words = ["--chapter=estimators", "--set=batch=21 n_generations=4 horizon=5 n_chains=200", "--cores=1"]

    def run(minutes):
        done = support.workflow("run", *words, f"--decide={minutes}", cwd=copy)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = run(0.001)
    assert re.search(r"→ n_chains=\d+ would decide it\n", first)
    assert re.search(r'→ to decide: make run CHAPTER=estimators P="batch=21 n_generations=4 horizon=5 n_chains=\d+"', first)
    assert "stopped, 0.001 of DECIDE=0.001 minutes are left." in first
    said = run(30)
    assert "run 2 of at most 3" in said
    last = said[said.rindex("of at most 3") :]
    words = re.findall(r"^DEY-\w+ +(\w+)", last, re.M)
    assert len(words) == len(chapters.published("estimators", "smoke", "verdicts"))
    assert "inconclusive" not in words
    assert "stopped" not in said
