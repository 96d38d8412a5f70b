"""Verdicts: right theory, wrong theory, no power; calibration; the claim files themselves."""

import numpy as np
import pytest
import yaml

from collapse_utils import claims

RULE = {"kind": "equal", "false_alarm": 1e-6}


@pytest.fixture
def rules(monkeypatch):
    """Make claims with the given tests available under their names."""

    def install(**tests):
        claim = {"says": "", "where": "", "criterion": "", "rival": "", "paper": "none"}
        monkeypatch.setattr(claims, "ledger", lambda: {name: claim | {"test": test} for name, test in tests.items()})

    return install


def test_equal_holds_fails_and_is_inconclusive(rules, seed):
    rules(X=RULE)
    samples = np.random.default_rng(seed).normal([1.0, 2.0], 1.0, (2000, 2))
    assert claims.equal("X", samples, [1, 2], rival=[1.5, 2]).verdict == "holds"
    assert claims.equal("X", samples, [1.5, 2], rival=[1, 2]).verdict == "fails"
    weak = claims.equal("X", samples[:10], [1, 2], rival=[1.05, 2])
    assert weak.verdict == "inconclusive"
    assert "replicates" in weak.summary


def test_equal_has_the_stated_false_alarm_rate(rules, seed):
    """At a false-alarm rate of 1 %, 4,000 true claims over 5 columns fail about 40 times; Bonferroni may only lower that."""
    rng = np.random.default_rng(seed)
    rule = {"kind": "equal", "false_alarm": 0.01}
    failed = 0
    for _ in range(4000):
        z = rng.standard_normal((20, 5))
        evidence = {
            "n": 20,
            "mean": z.mean(0),
            "se": z.std(0, ddof=1) / np.sqrt(20),
            "predicted": np.zeros(5),
            "rival": np.full(5, 9.0),
        }
        failed += claims.decide(rule, evidence)[0] == "fails"
    assert 10 < failed < 40 + 5 * np.sqrt(40)  # a z-test in place of the t-test fails about 140 times


def test_exact_identities_use_the_tolerance(rules):
    rules(X={"kind": "equal", "tolerance": 1e-10})
    assert claims.equal("X", [[1e-14, 1e-13]], 0.0, rival=[0.3, 0.2]).verdict == "holds"
    assert claims.equal("X", [[1e-14, 1e-9]], 0.0, rival=[0.3, 0.2]).verdict == "fails"
    assert claims.equal("X", [[1e-14, 1e-13]], 0.0, rival=[1e-12, 0.0]).verdict == "inconclusive"


def test_below(rules, seed):
    rules(X={"kind": "below", "false_alarm": 1e-6})
    samples = np.random.default_rng(seed).normal(1.0, 1.0, (2000, 1))
    assert claims.below("X", samples, 1.0, rival=2.0).verdict == "holds"
    assert claims.below("X", samples, 0.5, rival=2.0).verdict == "fails"
    assert claims.below("X", samples, 1.0, rival=1.1).verdict == "inconclusive"


def test_slope(rules, seed):
    rules(X={"kind": "slope", "false_alarm": 1e-6, "log": True}, Y={"kind": "slope", "band": 0.05})
    rng, x = np.random.default_rng(seed), np.arange(1, 11)
    samples = x**2.0 * np.exp(0.1 * rng.standard_normal((200, 10)))
    assert claims.slope("X", x, samples, 2.0, rival=1.8).verdict == "holds"
    assert claims.slope("X", x, samples, 1.8, rival=2.0).verdict == "fails"
    assert claims.slope("Y", x, [3.0 * x], 3.1, rival=1.0).verdict == "holds"
    with pytest.raises(ValueError, match="needs positive values"):
        claims.slope("X", x, -samples, 2.0, rival=1.8)


def test_ordered_needs_enough_seeds(rules):
    rules(X={"kind": "ordered", "false_alarm": 0.01})
    low, high = np.zeros(8), np.ones(8)
    assert claims.ordered("X", a=low, b=high).verdict == "holds"
    assert claims.ordered("X", a=high, b=low).verdict == "fails"
    few = claims.ordered("X", a=low[:3], b=high[:3])
    assert few.verdict == "inconclusive"
    assert few.summary.endswith("needs at least 7 seeds")
    most = claims.ordered("X", a=low, b=[0.0, *high[1:]])
    assert (most.verdict, most.summary[-12:]) == ("inconclusive", "needs 8 of 8")
    assert claims.ordered("X", a=low, b=high, c=low).verdict == "fails"


def test_bad_calls_are_refused(rules):
    rules(X=RULE)
    with pytest.raises(KeyError, match="has no test"):
        claims.equal("Z", [1.0, 2.0], 0, 1)
    with pytest.raises(ValueError, match="judged by `equal`; got `below`"):
        claims.below("X", [1.0, 2.0], 0, 1)
    with pytest.raises(ValueError, match="must be finite"):
        claims.equal("X", [1.0, np.nan], 0, 1)


def test_report_carries_verdicts_as_json_and_as_text(rules):
    rules(X=RULE)
    report = claims.report(claims.equal("X", np.arange(10.0), 4.5, rival=400.0))
    bundle = report._repr_mimebundle_()
    stored = bundle[claims.MIME][0]
    assert claims.decide(stored["rule"], stored["evidence"])[0] == stored["verdict"] == "holds"
    assert bundle["text/plain"] == "X: holds"


FILES = sorted(claims.FOLDER.glob("*.yml"))
JUDGED = {"chapter", "test", "sentence", "rival", "least_scale"}
KEYS = JUDGED | {"says", "equation", "where", "published", "criterion", "definition", "source", "over", "replicates", "samples"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_claim_files_are_complete(path):
    paper = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert paper["paper"] == path.stem
    assert f"{{{path.stem}," in (claims.FOLDER.parent / "references.bib").read_text(encoding="utf-8")
    for id_, claim in paper["claims"].items():
        assert set(claim) <= KEYS, id_
        assert {"says", "where", "criterion", "source"} <= set(claim), id_
        assert claim["source"] in {"paper", "ours"}, id_
        assert len(JUDGED & set(claim)) in (0, len(JUDGED)), id_
        assert claim.get("over", "seeds") == "seeds", id_
        assert "over" not in claim or "test" in claim, id_
        if "test" in claim:
            assert claim["test"]["kind"] in {"equal", "below", "slope", "ordered"}, id_
            assert {"false_alarm", "band", "tolerance"} & set(claim["test"]), id_
