"""Verdicts in words: every published one can be said, in few words, with the numbers that decided it."""

import copy
import json
import re
from string import Formatter

import numpy as np
import pytest

from collapse_utils import claims
from workflow import chapters, sentences

LEDGER = claims.ledger()
JUDGED = [id_ for id_, claim in LEDGER.items() if "test" in claim]
PUBLISHED = [
    verdict
    for path in sorted(chapters.RESULTS.glob("*/*/verdicts.json"))
    for verdict in json.loads(path.read_text(encoding="utf-8"))
]
EQUAL, BELOW = {"kind": "equal", "false_alarm": 1e-6}, {"kind": "below", "tolerance": 0.0}
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-", " ,")
LOWEST = ("too noisy to tell from the rival, ", "the rival, ", "undecided: ")


def said(verdict):
    return sentences.sentence(LEDGER[verdict["id"]], verdict)


def templates(id_):
    found = LEDGER[id_]["sentence"]
    return [found] if isinstance(found, str) else found


def told(verdict):
    """(field, format, number) of each number that the sentence gives, by reading the sentence back through its template."""
    for template in templates(verdict["id"]):
        parts = [(text, field, spec or ".3g") for text, field, spec, _ in Formatter().parse(template)]
        pattern = "".join(re.escape(text) + ("(.+?)" if field else "") for text, field, _ in parts)
        if match := re.fullmatch(pattern, said(verdict)):
            fields = [(field, spec) for _, field, spec in parts if field]
            return [(*field, value(number)) for field, number in zip(fields, match.groups(), strict=True)]
    raise AssertionError(verdict["id"])


def rounding(spec):
    """How far a number may lie from what it was rounded from."""
    off = 0.6 * 10 ** -int(re.search(r"\d+", spec)[0])
    return (
        {"rel": max(10 * off, 1e-3), "abs": 0} if spec.endswith("g") else {"rel": 1e-3, "abs": off / (100 if "%" in spec else 1)}
    )


def value(text):
    mantissa, _, power = text.translate(RAISED).partition("×10")
    return float(mantissa.rstrip("%")) * 10 ** int(power or 0) / (100 if "%" in mantissa else 1)


def judged(rule, decided=None, **evidence):
    verdict, summary = claims.decide(rule, evidence)
    assert decided in (None, verdict)
    return {"rule": rule, "evidence": evidence, "verdict": verdict, "summary": summary}


def column(mean, predicted, rival, n=1, se=0.0, **more):
    return {"n": n, "mean": [mean], "se": [se], "predicted": [predicted], "rival": [rival], **more}


def test_every_published_verdict_is_said_in_few_words():
    assert len(PUBLISHED) > 400
    for verdict in PUBLISHED:
        text = said(verdict)
        plain = text.split(": ", 1)[1] if verdict["verdict"] == "inconclusive" else text
        assert len(plain) <= 120, text
        assert len(text) <= 165, text
        assert re.search(r"\d", text), text
        assert re.fullmatch(r"[a-z\d][^{}_]*[^{}_. ]", text), text
        assert "  " not in text, text
        assert (verdict["verdict"] == "inconclusive") == text.startswith(LOWEST), text


def test_a_list_of_sentences_divides_the_columns():
    for verdict in PUBLISHED:
        assert not len(verdict["evidence"].get("mean", [1])) % len(templates(verdict["id"])), verdict["id"]


@pytest.mark.parametrize("id_", JUDGED)
def test_every_sentence_can_be_filled(id_):
    """Also of claims that no published run judges: measured and asked-for value are in it, and it asks for what is known."""
    rule = LEDGER[id_]["test"]
    if rule["kind"] == "ordered":
        evidence = {"n": 8, "wins": [7, 6, 5, 8], "groups": list("abcde"), "values": []}
    else:
        k = len(templates(id_))
        evidence = {"n": 9, "mean": [0.1] * k, "se": [0.01] * k, "predicted": [0.3] * k, "rival": [5.0] * k, "at": [1.0] * k}
    for text in templates(id_):
        fields = " ".join(field for _, field, _, _ in Formatter().parse(text) if field)
        assert re.search(r"\b(wins|fewest)\b" if rule["kind"] == "ordered" else r"\bmean\b", fields), text
        assert len(fields.split()) <= 4, text
    assert sentences.sentence(LEDGER[id_], {"rule": rule, "evidence": evidence, "verdict": "holds"})


def test_the_numbers_are_those_that_decided():
    """The summary of the package, which chooses its column by itself, gives the same values."""
    for verdict in PUBLISHED:
        if verdict["verdict"] == "inconclusive" or verdict["rule"]["kind"] == "ordered":
            continue
        number = r"(-?[\d.]+(?:e[-+]\d+)?)"
        mean, slack, asked = re.match(rf"{number} ± {number}, (?:bound|predicted) {number}", verdict["summary"]).groups()
        mean, asked = float(mean), float(asked)
        assert f"{value(sentences.sentence({'sentence': '{slack:.12g}'}, verdict)):.2g}" == slack, verdict["id"]
        known = {"mean": mean, "-mean": -mean, "predicted": asked, "bound": asked, "-bound": -asked}
        for field, spec, found in told(verdict):
            if field in known:
                assert found == pytest.approx(known[field], **rounding(spec)), verdict["id"]


def test_another_measurement_is_another_sentence():
    for verdict in PUBLISHED:
        other = copy.deepcopy(verdict)
        evidence = other["evidence"]
        if "wins" in evidence:
            evidence["wins"] = [w + 1 for w in evidence["wins"]]
        else:
            evidence["mean"] = [1.37 * m or 1.0 for m in evidence["mean"]]
        assert said(other) != said(verdict), said(verdict)


def test_a_sign_is_flipped_and_expressions_are_worked_out():
    verdict = judged(BELOW, "fails", **column(1.989, 0.0, 2.0, at=[2.0]))
    claim = {"sentence": "ratio {3-mean} in seed {at}; {-mean:.1f}, {mean:+.1f}, {2*(mean+1)/4:.2f}, {exp(bound)}, {mean:.0%}"}
    assert sentences.sentence(claim, verdict) == "ratio 1.01 in seed 2; −2.0, +2.0, 1.49, 1, 199 %"


def test_a_claim_that_is_gone_is_told_by_its_rule():
    assert sentences.said({"id": "OLD-1", **judged(BELOW, **column(1.02, 1.0, 2.0))}).startswith("measured 1.02; ")


def test_unknown_fields_are_refused():
    verdict = judged(BELOW, **column(1.0, 0.0, 2.0))
    for field in ("means", "mean.real", "__import__('os')", "mean**2", "'a'", "max(mean)"):
        with pytest.raises(ValueError, match=r"sentence: .* must be made of mean, slack"):
            sentences.sentence({"sentence": f"{{{field}}}"}, verdict)


def test_without_a_sentence_the_rule_speaks():
    verdict = judged(EQUAL, "holds", **column(1.02, 1.0, 2.0, n=100, se=0.01, at=[10.0]))
    assert sentences.sentence({}, verdict) == "measured 1.02; the claim asks for 1 within 0.052 at 10"
    verdict = judged(BELOW, "fails", **column(1.02, 1.0, 2.0))
    assert sentences.sentence({}, verdict) == "measured 1.02; the claim asks for at most 1"
    verdict = judged({"kind": "slope", "tolerance": 0.1}, "holds", **column(-0.95, -1.0, -0.5, x=[1.0, 2.0]))
    assert sentences.sentence({}, verdict) == "the slope is −0.95; the claim asks for −1 within 0.1"
    order = {"groups": list("abc"), "wins": [9, 10], "n": 10, "values": []}
    verdict = judged({"kind": "ordered", "false_alarm": 0.05}, "holds", **order)
    assert sentences.sentence({}, verdict) == "the order holds in at least 9 of 10 replicates; 9 are needed"


def test_doubt_is_told_in_words():
    claim = {"sentence": "ratio {3-mean} at {at}"}
    noisy = judged(EQUAL, "inconclusive", **column(1.02, 1.0, 1.1, n=10, se=0.1, at=[4.0]))
    assert sentences.sentence(claim, noisy) == "too noisy to tell from the rival, 1.9: ratio 1.98 at 4"
    blunt = judged({"kind": "below", "tolerance": 0.1}, "inconclusive", **column(0.05, 0.0, 0.15, at=[4.0]))
    assert sentences.sentence(claim, blunt) == "the rival, 2.85, would pass too: ratio 2.95 at 4"
    few = judged({"kind": "ordered", "false_alarm": 0.01}, "inconclusive", groups=list("ab"), wins=[4], n=5, values=[])
    assert sentences.sentence({"sentence": "up in {wins[0]} of {n}"}, few) == "undecided: up in 4 of 5"


def test_columns_without_a_place_are_counted():
    verdict = judged({"kind": "equal", "tolerance": 0.1}, "fails", **column(1.0, 2.0, 1.0))
    assert sentences.sentence({"sentence": "{mean} at {at}"}, verdict) == "1 at 1"


def test_doubt_looks_where_claim_and_rival_part():
    path = {"n": 10, "mean": [1.0, 2.1], "se": [1e-6, 0.5], "predicted": [1.0, 2.0], "rival": [1.0, 3.0], "at": [1.0, 2.0]}
    verdict = judged(EQUAL, "inconclusive", **path)
    assert sentences.sentence({"sentence": "{mean} at {at}"}, verdict) == "too noisy to tell from the rival, 3: 2.1 at 2"


def test_a_failure_shows_its_difference():
    verdict = judged({"kind": "equal", "tolerance": 1e-6}, "fails", **column(0.10004, 0.1, 1.0))
    assert sentences.sentence({"sentence": "{mean}; predicted {predicted}"}, verdict) == "0.10004; predicted 0.1"
    assert sentences.sentence({"sentence": "{mean:.0%}; predicted {predicted:.0%}"}, verdict) == "10.004 %; predicted 10.000 %"


def test_the_column_decides_which_sentence_of_a_list():
    path = {"n": 1, "mean": [1.0, 2.0, 5.0, 4.0], "se": [0.0] * 4, "predicted": [1.0, 2.0, 3.0, 4.0], "rival": [9.0] * 4}
    verdict = judged({"kind": "equal", "tolerance": 0.1}, "fails", **path)
    assert sentences.sentence({"sentence": ["first {mean}", "second {mean}"]}, verdict) == "second 5"


@pytest.mark.parametrize(("n", "pairs", "level"), [(6, 1, 0.05), (60, 2, 1e-6), (8, 2, 0.01), (300, 3, 1e-6), (12, 1, 1e-3)])
def test_so_many_are_needed(n, pairs, level):
    rule = {"kind": "ordered", "false_alarm": level}

    def look(wins):
        evidence = {"n": n, "wins": [wins] * pairs, "groups": list("abcd")[: pairs + 1], "values": []}
        return judged(rule, **evidence)

    needs = int(sentences.sentence({"sentence": "{needs}"}, look(n)))
    assert look(needs)["verdict"] == "holds"
    assert look(needs - 1)["verdict"] != "holds"


def test_too_few_replicates_need_more():
    rule, evidence = {"kind": "ordered", "false_alarm": 1e-3}, {"n": 2, "wins": [2], "groups": ["a", "b"], "values": []}
    text = sentences.sentence({"sentence": "{wins[0]} of {n}; {needs}"}, judged(rule, "inconclusive", **evidence))
    assert text == "undecided: 2 of 2; 10"


@pytest.mark.parametrize(
    ("measured", "digits", "text"),
    [
        (0.65014, 3, "0.650"),
        (0.25, 3, "0.25"),
        (-0.0, 3, "0"),
        (-38.26, 3, "−38.3"),
        (1234.5, 3, "1,230"),
        (15360.0, 3, "15,360"),
        (162.75, 3, "163"),
        (2.1e-7, 2, "2.1 × 10⁻⁷"),
        (3.2e8, 2, "3.2 × 10⁸"),
        (0.00021, 2, "0.00021"),
        (1.0003, 3, "1.00"),
        (99.96, 3, "100"),
    ],
)
def test_numbers_are_written_as_a_person_does(measured, digits, text):
    assert sentences.number(measured, digits) == text


def test_numbers_keep_their_digits():
    for x in np.random.default_rng(0).lognormal(0, 5, 500):
        assert value(sentences.number(x)) == pytest.approx(x, rel=6e-3)
        assert value(sentences.number(-x)) == pytest.approx(-x, rel=6e-3)
