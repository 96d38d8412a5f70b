"""What a run will cost, from the cards of earlier runs, scaled by the parameters where scales.yml says how cost grows."""

import ast
import itertools
import json
import operator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from workflow import chapters

RECORD = ("scale", "wall_s", "peak_mb", "threads")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Cost:
    """Expected seconds and peak memory of one run, and from how many recorded runs."""

    seconds: float
    peak_mb: float
    runs: int
    scaled: bool  # by the chapter's law of cost; otherwise the recorded runs of the same scale


def expect(run: chapters.Run) -> Cost | None:
    """Return the expected cost of a run, or None where no run of its chapter was recorded.

    With `cost: <expression>` in scales.yml, arithmetic on parameters and on `threads`, the job's: a non-negative fixed
    part plus one proportional to it, fitted to the recorded runs. Without: the largest recorded at the same scale.
    """
    recorded = _recorded(run.chapter)
    same = [entry for entry in recorded if entry["overrides"] == run.overrides]
    law = chapters.cost_law(run.chapter)
    if same or law is None:
        alike = same or [entry for entry in recorded if entry["scale"] == run.scale]
        if not alike:
            return None
        return Cost(*(max(entry[name] for entry in alike) for name in ("wall_s", "peak_mb")), len(alike), False)
    if not recorded:
        return None
    named = [entry for entry in recorded if _words(run.chapter, entry["overrides"]) == _words(run.chapter, run.overrides)]
    recorded = named if len(named) > 1 else recorded  # a law scales numbers, not the name of a corpus or of a model
    defaults, threads = chapters.defaults(run.chapter), chapters.resources(run.chapter, run.scale).get("threads", 1)
    sizes = np.array([_evaluate(law, defaults | entry["overrides"] | {"threads": entry["threads"]}) for entry in recorded])
    here = _evaluate(law, defaults | run.overrides | {"threads": threads})
    parts = [_line(sizes, np.array([entry[name] for entry in recorded]), here) for name in ("wall_s", "peak_mb")]
    return Cost(*parts, len(recorded), True)


def disk(run: chapters.Run) -> float:
    """Return the megabytes that a run of this chapter leaves: as much as its published notebook and tables."""
    tables = (chapters.RESULTS / chapters.PUBLISHED / run.chapter).glob("*.parquet")
    return sum(path.stat().st_size for path in [chapters.source(run.chapter), *tables]) / 2**20


def menu() -> str:
    """Return the measured cost of every chapter at each published scale, as a Markdown table."""
    rows = ["| chapter | smoke | laptop | peak memory |", "|---|---|---|---|"]
    for chapter in chapters.chapters():
        cards = [chapters.published(chapter, scale, "card") for scale in ("smoke", chapters.PUBLISHED)]
        walls = [f"{card['wall_s']:.0f} s" if card else "not run" for card in cards]
        peak = max((card["peak_mb"] for card in cards if card), default=None)
        rows.append(f"| {{doc}}`/notebooks/{chapter}` | {walls[0]} | {walls[1]} | {f'{peak} MB' if peak else '–'} |")
    return "\n".join(rows)


@cache
def _recorded(chapter):
    """The recorded runs of a chapter, with all their parameters: published ones, those of this machine, published sweeps."""
    found = []
    for path in [*chapters.RESULTS.glob(f"*/{chapter}/card.json"), *(chapters.BUILD / "runs" / chapter).glob("*/card.json")]:
        card = json.loads(path.read_text(encoding="utf-8"))
        found.append({name: card[name] for name in RECORD} | {"overrides": card["parameters"]})
    for path in (chapters.RESULTS / "sweeps").glob("*/card.json"):
        card = json.loads(path.read_text(encoding="utf-8"))
        for row in pd.read_parquet(path.with_name("costs.parquet")).to_dict("records") if card["chapter"] == chapter else ():
            point = {name: row[name] for name in itertools.takewhile(lambda name: name != "key", row)}
            overrides = chapters.rung(chapter, card["scale"]) | card["fixed"] | point
            found.append({name: row.get(name, card["scale"]) for name in RECORD} | {"overrides": overrides})
    return found


def _words(chapter, overrides):
    """The parameters of a run that are no numbers."""
    values = chapters.defaults(chapter) | overrides
    return {name: value for name, value in values.items() if not isinstance(value, int | float)}


def _line(sizes, values, at):
    """a + b·at with a, b ≥ 0, least squares relative to the values."""
    design = np.column_stack([np.ones_like(sizes), sizes]) / values[:, None]
    (a, b), _ = nnls(design, np.ones_like(values))
    return a + b * at


def _evaluate(expression: str, parameters: dict) -> float:
    def value(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return node.value
        if isinstance(node, ast.Name) and node.id in parameters:
            return parameters[node.id]
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        raise chapters.ChapterError(
            f"scales.yml: cost must be arithmetic on parameters of the chapter; got {ast.unparse(node)!r} in {expression!r}."
        )

    return float(value(ast.parse(expression, mode="eval").body))
