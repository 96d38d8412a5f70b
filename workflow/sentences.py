"""Verdicts in words: what was measured, where, and what the claim asks for, from a claim's `sentence` and the evidence alone."""

import ast
import math
import operator
import re
from string import Formatter
from typing import Any

import numpy as np

from collapse_utils import claims

GENERIC = {
    "equal": "measured {mean}; the claim asks for {predicted} within {slack:.2g}",
    "below": "measured {mean}; the claim asks for at most {bound}",
    "slope": "the slope is {mean}; the claim asks for {predicted} within {slack:.2g}",
    "ordered": "the order holds in at least {fewest} of {n} replicates; {needs} are needed",
}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def sentence(claim: dict, verdict: dict) -> str:
    """Return what decided a verdict as one sentence, without a capital and a full stop.

    claim: of the ledger. Its `sentence` is a format string, or a list of them, one for each of as many equal stretches of the
    columns; without it the kind of rule speaks. Fields are sums, differences, products and quotients, signs and `exp` of mean,
    slack, predicted (or bound), rival, at (or which column), n, k; in an order of wins[0], fewest, needs, n.
    """
    rule, evidence = verdict["rule"], verdict["evidence"]
    ordered = rule["kind"] == "ordered"
    known = _order(rule, evidence) if ordered else _column(rule, evidence, verdict["verdict"])
    text = claim.get("sentence", GENERIC[rule["kind"]] + " at {at}" * ("at" in evidence))
    text = text if isinstance(text, str) else text[known["i"] * len(text) // known["k"]]
    filled = _distinct(text, known) if verdict["verdict"] == "fails" and not ordered else _Fill().vformat(text, (), known)
    if verdict["verdict"] != "inconclusive":
        return filled
    return f"undecided: {filled}" if ordered else f"{_doubt(text, known)}: {filled}"


def said(verdict: dict) -> str:
    """Return the sentence of a verdict, by the claim of the ledger where it has it still."""
    return sentence(claims.ledger().get(verdict["id"], {}), verdict)


def number(value: float, digits: int = 3, sign: str = "") -> str:
    """Return a number as a person writes it: whole and short ones in full, others with that many digits, zeros included."""
    value = float(value) or 0.0
    if value.is_integer() and abs(value) < 1e7:
        return _minus(f"{value:{sign},.0f}")
    rounded = float(f"{value:.{digits}g}")
    if 1e-4 <= abs(rounded) < 1e6:
        if abs(rounded) >= 10 ** (digits - 1):
            return _minus(f"{rounded:{sign},.0f}")
        short = math.isclose(value, rounded, rel_tol=1e-12)
        return _minus(f"{value:{sign}{'' if short else '#'}.{digits}g}")
    mantissa, _, power = f"{value:{sign}.{digits - 1}e}".partition("e")
    return f"{_minus(mantissa)} × 10{str(int(power)).translate(RAISED)}"


class _Fill(Formatter):
    """Fills fields that are small expressions; `more` digits than asked for."""

    def __init__(self, more: int = 0):
        self.more = more

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple:
        return _value(ast.parse(field_name, mode="eval").body, kwargs), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        sign, digits, kind = re.fullmatch(r"(\+?)\.(\d+)([gf%])", format_spec or ".3g").groups()
        digits = int(digits) + self.more
        if kind == "g":
            return number(value, digits, sign)
        return _minus(f"{value:{sign}z.{digits}{kind}}").replace("%", " %")


def _value(node: ast.expr, known: dict) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_value(left, known), _value(right, known))
        case ast.Call(func=ast.Name(id="exp"), args=[argument]):
            return math.exp(_value(argument, known))
        case ast.Subscript(value=ast.Name(id="wins"), slice=ast.Constant(value=int() as i)):
            return known["wins"][i]
    raise ValueError(f"sentence: {ast.unparse(node)!r} must be made of {', '.join(known)}, numbers, + − * / and exp.")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _column(rule: dict, evidence: dict, verdict: str) -> dict:
    """The numbers of one column: the worst where a claim fails, else the one that tells it from its rival most clearly."""
    curve, n, k = claims.curve(rule, evidence), evidence["n"], len(evidence["mean"])
    nearest = curve.gap / np.maximum(curve.slack, 1e-200)  # where it is least open
    i = int(np.argmax({"fails": curve.excess, "holds": curve.seen, "inconclusive": nearest}[verdict]))
    columns = {name: getattr(curve, name) for name in ("mean", "slack", "predicted", "rival")} | {"bound": curve.predicted}
    columns["at"] = np.broadcast_to(evidence.get("at", np.arange(1, k + 1)), k)
    noisy = bool((curve.gap > (2 if rule["kind"] == "below" else 1) * curve.loose).any())
    return {name: float(column[i]) for name, column in columns.items()} | {"i": i, "n": n, "k": k, "noisy": noisy}


def _order(rule: dict, evidence: dict) -> dict:
    """The ascents of an order, and how many of them the test asks for: where n are too few, of so many replicates."""
    n, wins = evidence["n"], evidence["wins"]
    return {"wins": wins, "fewest": min(wins), "needs": claims.ascents(rule, len(wins), n), "n": n, "i": 0, "k": len(wins)}


def _distinct(text: str, known: dict) -> str:
    """The filled sentence, with as many digits as tell the measured value from the one that it missed."""
    fields = [field for _, field, _, _ in Formatter().parse(text) if field]
    pair = [next((f for f in fields if re.search(word, f)), "") for word in (r"\bmean\b", r"\b(predicted|bound)\b")]
    for more in range(4):
        fill = _Fill(more)
        if not all(pair) or len({_bare(_one(text, field, known, fill)) for field in pair}) == 2:
            break
    return fill.vformat(text, (), known)


def _bare(text: str) -> str:
    """A number without the zeros that end it."""
    return text.removesuffix(" %").rstrip("0").rstrip(".") if "." in text else text.removesuffix(" %")


def _doubt(text: str, known: dict) -> str:
    """Why a verdict is open: what its rival would have measured."""
    fields = [field for _, field, _, _ in Formatter().parse(text) if field and re.search(r"\bmean\b", field)]
    rival = _one(text, fields[0], known | {"mean": known["rival"]}, _Fill()) if fields else number(known["rival"])
    return f"too noisy to tell from the rival, {rival}" if known["noisy"] else f"the rival, {rival}, would pass too"


def _one(text: str, wanted: str, known: dict, fill: _Fill) -> str:
    """One field of a sentence, filled."""
    spec = next(spec for _, field, spec, _ in Formatter().parse(text) if field == wanted)
    return fill.vformat("{" + wanted + (f":{spec}" if spec else "") + "}", (), known)
