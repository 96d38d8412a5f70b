"""Rules on a study: what a user wants to hold, and which definitions of collapse are met.

Everything is judged at the last fit, over the seeds; a null is the same measure of real rows against real rows.
"""

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from collapse_utils.practice.measures import MEASURES, needs
from collapse_utils.practice.study import Study

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
GRAMMAR = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*(\*\s*null)?\s*", re.IGNORECASE)
LEVEL = 0.001  # that a definition is met by chance, one-sided, over the seeds
ARM = ["regime", "share"]


class Rule(NamedTuple):
    """MEASURE OP NUMBER [* null], such as `energy_distance > 2 * null`."""

    measure: str
    op: str
    number: float
    null: bool

    def __str__(self) -> str:
        return f"{self.measure} {self.op} {self.number:g}{' * null' if self.null else ''}"

    def bound(self, null: float) -> float:
        """Return what the measure is compared with."""
        return self.number * null if self.null else self.number


def parse(text: str) -> Rule:
    """Return the rule that text says. Raises ValueError, in one sentence, for another form and for a measure that is none."""
    if not (said := GRAMMAR.fullmatch(text)):
        raise ValueError(f"rule: must read MEASURE OP NUMBER [* null], such as 'energy_distance > 2 * null'; got {text!r}.")
    measure, op, number, null = said.groups()
    if measure not in MEASURES:
        near = difflib.get_close_matches(measure, MEASURES, n=1, cutoff=0)[0]
        raise ValueError(f"rule: unknown measure {measure!r}; did you mean {near!r}? Known: {', '.join(MEASURES)}.")
    try:
        return Rule(measure, op, float(number), bool(null))
    except ValueError:
        raise ValueError(f"rule: {number!r} is no number, in {text!r}.") from None


def check(rules: list[Rule], measured: set[str], groups: Sequence[str]) -> None:
    """Refuse, before anything runs, a rule on what will not be measured. Raises ValueError with the measure and what it needs."""
    for rule in rules:
        if rule.measure not in measured:
            raise ValueError(f"rule: {rule.measure} is not measured, it needs {lacks(rule.measure, groups)}; rule {str(rule)!r}.")


def lacks(measure: str, groups: Sequence[str]) -> str:
    """Return in words what keeps a measure from having values in a study that was asked for these groups."""
    group = MEASURES[measure].group
    return needs(measure) or "other rows" if group in groups else f"the group {group} among the measures"


def last(study: Study) -> pd.DataFrame:
    """Return every measure at the last fit: regime, share, measure, column, mean and se over the seeds, null and null_se."""
    table, keys = study.table[study.table["fit"] == study.table["fit"].max()], ["measure", "column"]
    found = _over_seeds(table, ARM + keys)
    null = _over_seeds(study.null, keys).rename(columns={"mean": "null", "se": "null_se"})
    return found.merge(null, on=keys, how="left", validate="many_to_one")


def judged(study: Study, rules: list[Rule]) -> pd.DataFrame:
    """Return one row a rule and arm, of the column that is furthest beyond: rule, regime, share, column, mean, se, bound, holds.

    A rule says what must not be: it holds where the measure is not so. Raises ValueError for a measure that the study has not.
    """
    at, rows = last(study), []
    check(rules, set(at["measure"]), study.settings["measures"])
    for rule in rules:
        part = at[at["measure"] == rule.measure]
        part = part.assign(rule=str(rule), bound=rule.bound(part["null"]) if rule.null else rule.number)
        part["holds"] = ~OPERATORS[rule.op](part["mean"], part["bound"])
        excess = (part["mean"] - part["bound"]) * (1 if rule.op.startswith(">") else -1)
        worst = part.loc[excess.groupby([part["regime"], part["share"].fillna(-1)], sort=False).idxmax()]
        rows.append(worst[["rule", *ARM, "column", "mean", "se", "bound", "holds"]])
    empty = pd.DataFrame(columns=["rule", *ARM, "column", "mean", "se", "bound", "holds"])
    return pd.concat(rows, ignore_index=True) if rows else empty


class Definition(NamedTuple):
    """One of the eight things called collapse (book/verdicts.md), with the pass rule by which a study meets it."""

    number: int
    name: str
    rule: str
    gap: Callable | None = None  # (paths, null) → gaps (seeds, k), all above 0 in the mean where it is met; None: not judged


def _gap(measure: str, of: Callable) -> Callable:
    def gap(paths, null):
        return None if measure not in paths or measure not in null else of(paths[measure], null[measure])

    return gap


def risk(paths: dict[str, np.ndarray]) -> np.ndarray | None:
    """Return the loss on real rows of what learns from sampled ones; for a table without a target the energy distance; (seeds, fits)."""
    return paths.get("real_test_loss", paths.get("energy_distance"))


def _risk(of: Callable) -> Callable:
    return lambda paths, null: None if risk(paths) is None else of(risk(paths))


def _pace(path: np.ndarray) -> np.ndarray | None:
    """The pace of the last half of the fits, and what it has beyond half of the pace of the first."""
    if path.shape[1] < 4:
        return None
    half = path.shape[1] // 2
    first, second = (path[:, half] - path[:, 0]) / half, (path[:, -1] - path[:, half]) / (path.shape[1] - 1 - half)
    return np.column_stack([second, second - first / 2])


DEFINITIONS = [
    Definition(
        1, "catastrophic rise of the risk", "the risk at the last fit is more than twice that at the first",
        _risk(lambda path: path[:, [-1]] - 2 * path[:, [0]]),
    ),
    Definition(2, "any rise of the risk", "the risk at the last fit is above that at the first", _risk(lambda path: path[:, [-1]] - path[:, [0]])),
    Definition(
        3, "a risk that diverges", "the risk rises over the last half of the fits, at more than half the pace of the first half", _risk(_pace)
    ),
    Definition(
        4, "a variance that goes to zero", "the geometric mean of the variances at the last fit is below nine tenths of that at the first",
        _gap("variance_ratio", lambda path, null: np.log(0.9) - (path[:, [-1]] - path[:, [0]])),
    ),
    Definition(5, "a change of the scaling law", "not judged: it takes tables of several sizes"),
    Definition(
        6, "modes that vanish", "more categories are lost at the last fit than among as many real rows",
        _gap("lost_categories", lambda path, null: path[:, [-1]] - null.mean()),
    ),
    Definition(
        7, "tails that vanish", "the mean tail mass beyond the 1 % quantiles at the last fit is below half of that of real rows",
        _gap("tail_mass_1", lambda path, null: null.mean() / 2 - path[:, [-1]]),
    ),
    Definition(
        8, "hallucinated data", "more than twice as many rows as real ones are further from the real rows than 99 % of these are",
        _gap("strange_rows", lambda path, null: path[:, [-1]] - 2 * null.mean()),
    ),
]  # fmt: skip
JOINED = {  # of measures by column, one number a table
    "variance_ratio": lambda values: np.log(np.maximum(values, 1e-12)).mean(),
    "tail_mass_1": lambda values: values.mean(),
    "lost_categories": lambda values: values.sum(),
}


def definitions(study: Study) -> pd.DataFrame:
    """Return which definition of collapse each arm meets: regime, share, number, name, rule, met (None: not judged), gap and se.

    Met where every gap is above 0 at the one-sided level 0.001 of Student's test over the seeds; gap is the least of them.
    """
    rows, null = [], joined(study.null.assign(fit=0))
    for arm, table in study.table.groupby(ARM, dropna=False, sort=False):
        paths = joined(table)
        for one in DEFINITIONS:
            gap = None if one.gap is None else one.gap(paths, null)
            met, least, se = (None, np.nan, np.nan) if gap is None else _above(gap)
            rows.append((*arm, one.number, one.name, one.rule, met, least, se))
    return pd.DataFrame(rows, columns=[*ARM, "number", "name", "rule", "met", "gap", "se"])


def _above(gap: np.ndarray) -> tuple[bool, float, float]:
    """Whether the means of gaps (seeds, k) are above 0, all of them, and the least with its standard error."""
    n, mean = len(gap), gap.mean(axis=0)
    se = gap.std(axis=0, ddof=1) / np.sqrt(n)
    beyond = (mean > stdtrit(n - 1, 1 - LEVEL) * se) & (mean > 1e-12)
    i = int((mean / np.maximum(se, 1e-300)).argmin())
    return bool(beyond.all()), float(mean[i]), float(se[i])


def joined(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return {measure: (seeds, fits)} of the rows of one arm, or of a null with fit = 0; those by column joined to one number."""
    found = {}
    for name, part in table.groupby("measure"):
        if (part["column"] == "").all() or name in JOINED:
            found[name] = part.groupby(["seed", "fit"])["value"].agg(JOINED.get(name, "first")).unstack().to_numpy()
    return found


def arm_name(regime: str, share: float) -> str:
    """Return how an arm is called: its regime, for a mixture with its share of real rows."""
    return regime.replace("_", "-") if np.isnan(share) else f"{regime} ({share:.3g} real)"


def _over_seeds(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    groups = table.groupby(keys, dropna=False, sort=False)["value"]
    return groups.agg(["mean", "sem"]).rename(columns={"sem": "se"}).reset_index()
