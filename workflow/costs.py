"""What a run will cost, from the cards of earlier runs, scaled by the parameters where scales.yml says how cost grows."""

import ast
import operator
from dataclasses import dataclass
from functools import cache

import numpy as np

from workflow import chapters, files, spelling

RECORD = ("scale", "wall_s", "peak_mb", "threads")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


FAR = 10  # times the largest record: from there on a law extrapolates


@dataclass(frozen=True)
class Cost:
    """Expected seconds and peak memory of one run, and what they were taken from."""

    seconds: float
    peak_mb: float
    runs: int
    scaled: bool  # by the chapter's law of cost; otherwise the largest of the nearest recorded runs
    beyond: float = 1.0  # the size of the run by that law, over that of the largest record
    apart: tuple[str, ...] = ()  # parameters in which the nearest recorded runs differ, the seed apart

    @property
    def basis(self) -> str:
        """Where the figures come from, and how far they can be trusted, in a few words."""
        said = f"from {self.runs} recorded run{'s' * (self.runs > 1)}{', scaled' * self.scaled}"
        if self.beyond > FAR:
            return f"{said}; an extrapolation to {self.beyond:.2g} times the largest of them"
        return f"{said} with other {', '.join(self.apart)}" if self.apart else said


def expect(run: chapters.Run) -> Cost | None:
    """Return the expected cost of a run, or None where nothing like it was recorded: no number tells what another
    corpus, model or device costs.

    With `cost: <expression>` in scales.yml, arithmetic on parameters and on `threads`, the job's: a non-negative fixed
    part plus one proportional to it, fitted to the recorded runs. Without: the largest of those that differ in fewest
    parameters, the seed not counted.
    """
    defaults, law = chapters.load(run.chapter).defaults, chapters.cost_law(run.chapter)
    here = defaults | run.overrides
    recorded = [entry | {"values": defaults | entry["overrides"]} for entry in _recorded(run.chapter)]
    gpu = chapters.resources(run.chapter, run.scale).get("gpu", 0)
    recorded = [entry for entry in recorded if chapters.resources(run.chapter, entry["scale"]).get("gpu", 0) == gpu]
    recorded = [entry for entry in recorded if entry["values"].keys() == here.keys()]  # others ran another version of the chapter
    recorded = [entry for entry in recorded if _words(entry["values"]) == _words(here)]
    if not recorded:
        return None
    same = [entry for entry in recorded if entry["values"] == here]
    if law is None or same:
        apart = [tuple(name for name in here if name != "seed" and entry["values"].get(name) != here[name]) for entry in recorded]
        nearest = min(apart, key=len)
        alike = same or [entry for entry, names in zip(recorded, apart, strict=True) if len(names) == len(nearest)]
        return Cost(*(max(entry[name] for entry in alike) for name in ("wall_s", "peak_mb")), len(alike), False, apart=nearest)
    threads = chapters.resources(run.chapter, run.scale).get("threads", 1)
    sizes = np.array([_evaluate(law, entry["values"] | {"threads": entry["threads"]}) for entry in recorded])
    size = _evaluate(law, here | {"threads": threads})
    parts = [_line(sizes, np.array([entry[name] for entry in recorded]), size) for name in ("wall_s", "peak_mb")]
    return Cost(*parts, len(recorded), True, beyond=size / sizes.max())


def disk(run: chapters.Run) -> float:
    """Return the megabytes that a run of this chapter leaves: as much as its published notebook and tables."""
    tables = (chapters.RESULTS / chapters.PUBLISHED / run.chapter).glob("*.parquet")
    return sum(path.stat().st_size for path in [chapters.source(run.chapter), *tables]) / 2**20


@cache
def _recorded(chapter):
    """The recorded runs of a chapter, with all their parameters: published ones, those of this machine, published sweeps."""
    found = []
    for path in [*chapters.RESULTS.glob(f"*/{chapter}/card.json"), *(chapters.BUILD / "runs" / chapter).glob("*/card.json")]:
        card = files.json(path)
        found.append({name: card[name] for name in RECORD} | {"overrides": card["parameters"]})
    for path in (chapters.RESULTS / "sweeps").glob("*/card.json"):
        card = files.json(path, files.SWEEP)
        if card["chapter"] != chapter:
            continue
        for row in files.table(path.with_name("costs.parquet"), [*card["varied"], *RECORD[1:]]).to_dict("records"):
            point = spelling.point({name: row[name] for name in card["varied"]}, card.get("as_json", []))
            overrides = chapters.at_scale(chapter, card["scale"]) | card["fixed"] | point
            found.append({name: row.get(name, card["scale"]) for name in RECORD} | {"overrides": overrides})
    return found


def _words(values):
    """The parameters of a run that are no numbers."""
    return {name: value for name, value in values.items() if isinstance(value, bool) or not isinstance(value, int | float)}


def _line(sizes, values, at):
    """a + b·at with a, b ≥ 0, least squares relative to the values."""
    from scipy.optimize import nnls  # slow to import, which no other verb should wait for

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

    try:
        return float(value(ast.parse(expression, mode="eval").body))
    except (SyntaxError, ArithmeticError, TypeError) as error:
        raise chapters.ChapterError(f"scales.yml: the cost {expression!r} cannot be computed ({error}); mend it.") from None
