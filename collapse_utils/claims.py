"""Verdicts: a run's numbers against a claim's pass rule, which was written down in book/claims before the run.

Each verdict function takes a claim's id, the measured samples, what the claim predicts and a rival, and returns a
Verdict that is *holds*, *fails* or *inconclusive* (the rival would have passed too). decide() is a pure function of
the stored evidence, so that every published verdict can be recomputed.
"""

import functools
import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import yaml
from scipy.special import bdtr, stdtrit

from collapse_utils import mirror
from collapse_utils.moments import slopes

FOLDER = mirror.PROJECT / "book" / "claims"
MIME = "application/vnd.collapse.verdicts+json"


@dataclass(frozen=True)
class Verdict:
    """A verdict with the evidence that it is a function of."""

    id: str
    verdict: str
    summary: str
    rule: dict
    evidence: dict


@functools.cache
def ledger() -> dict[str, dict]:
    """Return every claim of book/claims/*.yml by id, each with the key of its `paper`.

    Raises FileNotFoundError without the files (install with `pip install -e .`), ValueError for an id given twice.
    """
    files = sorted(FOLDER.glob("*.yml"))
    if not files:
        raise FileNotFoundError(f"claims: no claim files in {FOLDER}; install the project with `pip install -e .`.")
    found: dict[str, dict] = {}
    for file in files:
        try:
            paper = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"claims: {file} is no YAML ({' '.join(str(error).split())}); mend it.") from None
        for id_, claim in paper["claims"].items():
            if id_ in found:
                raise ValueError(f"claims: {id_} stands in {found[id_]['paper']}.yml and in {file.name}.")
            found[id_] = {**claim, "paper": paper["paper"]}
    return found


def equal(id_: str, samples: Any, predicted: Any, rival: Any, at: Any = None) -> Verdict:
    """Judge E[samples] = predicted in every column, against a rival that must be rejected.

    samples: array (replicates, k) or Moments; predicted, rival: (k,) values; at: (k,) labels of the columns.
    A t-test, Bonferroni over columns, at the rule's false_alarm; plus the rule's relative band or absolute tolerance.
    """
    return _verdict(id_, "equal", {**_moments(samples), **_columns(predicted=predicted, rival=rival, at=at)})


def below(id_: str, samples: Any, bound: Any, rival: Any, at: Any = None) -> Verdict:
    """Judge E[samples] ≤ bound in every column; the rival, a curve that breaks the bound, must be visible as such."""
    return _verdict(id_, "below", {**_moments(samples), **_columns(predicted=bound, rival=rival, at=at)})


def slope(id_: str, x: Any, samples: Any, predicted: float, rival: float) -> Verdict:
    """Judge the least-squares slope of samples (replicates, k) over x (k,); in log-log where the rule says `log: true`."""
    log, x, samples = _rule(id_, "slope").get("log", False), np.asarray(x, float), np.asarray(samples, float)
    if log and not ((x > 0).all() and (samples > 0).all()):
        raise ValueError(f"slope: {id_} is judged in logs and needs positive values; got {samples.min()}.")
    extent = {"x": [float(end) for end in (np.log(x[[0, -1]]) if log else x[[0, -1]])]}
    return _verdict(id_, "slope", {**_moments(slopes(x, samples, log)[:, None]), **_columns(predicted, rival), **extent})


def ordered(id_: str, **groups: Any) -> Verdict:
    """Judge that the groups ascend in the order given, seed by seed, with an exact sign test for each neighbouring pair.

    groups: name=array (seeds,), paired by seed. The rival is chance: ascending in half of the seeds.
    """
    names, values = list(groups), np.stack([np.asarray(group, float) for group in groups.values()])
    wins = (np.diff(values, axis=0) > 0).sum(axis=1)
    evidence = {"groups": names, "values": values.tolist(), "wins": wins.tolist(), "n": values.shape[1]}
    return _verdict(id_, "ordered", evidence)


def decide(rule: dict, evidence: dict) -> tuple[str, str]:
    """Return (verdict, one-line summary) from a rule and its evidence alone."""
    return _decide_order(rule, evidence) if rule["kind"] == "ordered" else _decide_curve(rule, evidence)


def box(*ids: str) -> "Box":
    """Return the claims as a notebook's claim box: sentence, equation, place, pass rule and rival, from book/claims."""
    return Box(ids)


@dataclass(frozen=True)
class Box:
    """Claims as they stand before the run."""

    ids: tuple[str, ...]

    def _repr_markdown_(self) -> str:
        return "\n\n".join(_statement(id_, ledger()[id_]) for id_ in self.ids)


def _statement(id_: str, claim: dict) -> str:
    lines = [f"**{id_}.** {claim['says'].strip()} *{claim['where'].strip()}.*"]
    if "equation" in claim:
        lines.append(f"$$\n{claim['equation'].strip()}\n$$")
    lines.append(f"*Holds if:* {claim['criterion'].strip()} *Rival:* {claim['rival'].strip()}")
    return "\n\n".join(lines)


def report(*verdicts: Verdict) -> "Report":
    """Return the verdicts as one table for a notebook's claims cell; the workflow reads them from its output."""
    return Report(verdicts)


@dataclass(frozen=True)
class Report:
    """Verdicts, shown as a table and stored as JSON in the output of the cell."""

    verdicts: tuple[Verdict, ...]

    def __repr__(self) -> str:
        return "\n".join(f"{v.id}: {v.verdict}" for v in self.verdicts)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        rows = "".join(
            f'<tr><td>{v.id}</td><td class="verdict {v.verdict}">{v.verdict}</td><td>{v.summary}</td></tr>' for v in self.verdicts
        )
        head = "<tr><th>claim</th><th>verdict</th><th>what decided it</th></tr>"
        return {
            MIME: json.loads(json.dumps([asdict(v) for v in self.verdicts])),
            "text/html": f'<table class="verdicts"><thead>{head}</thead><tbody>{rows}</tbody></table>',
            "text/plain": repr(self),
        }


def _rule(id_: str, kind: str) -> dict:
    claim = ledger().get(id_)
    if claim is None or "test" not in claim:
        raise KeyError(f"claims: {id_!r} has no test in book/claims; add one before judging it.")
    if claim["test"]["kind"] != kind:
        raise ValueError(f"claims: {id_} is to be judged by `{claim['test']['kind']}`; got `{kind}`.")
    return claim["test"]


def _verdict(id_: str, kind: str, evidence: dict) -> Verdict:
    rule = _rule(id_, kind)
    verdict, summary = decide(rule, evidence)
    return Verdict(id_, verdict, summary, rule, evidence)


def _moments(samples: Any) -> dict:
    """n, mean and standard error of samples (replicates, k) or Moments; one replicate has no error of its own (0)."""
    if not hasattr(samples, "se"):
        array = np.asarray(samples, float)
        array = array[:, None] if array.ndim == 1 else array
        n, mean = len(array), array.mean(axis=0)
        se = array.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros_like(mean)
    else:
        n, mean, se = samples.n, np.atleast_1d(samples.mean), np.atleast_1d(samples.se)
    if not (np.isfinite(mean).all() and np.isfinite(se).all()):
        raise ValueError("claims: the samples must be finite; got NaN or infinity.")
    return {"n": n, "mean": mean.tolist(), "se": se.tolist()}


def _columns(predicted: Any, rival: Any, at: Any = None) -> dict:
    columns = {"predicted": predicted, "rival": rival} | ({} if at is None else {"at": at})
    return {name: np.atleast_1d(np.asarray(column, float)).tolist() for name, column in columns.items()}


class Curve(NamedTuple):
    """The columns of a rule and its evidence, (k,) each: what the rule allows, and by how much the run goes beyond that."""

    mean: np.ndarray
    se: np.ndarray
    predicted: np.ndarray
    rival: np.ndarray
    gap: np.ndarray  # between what is claimed and its rival
    loose: np.ndarray  # what the rule forgives without noise: its band and its tolerance
    slack: np.ndarray  # what it forgives in all
    excess: np.ndarray  # beyond the slack: a positive one fails
    seen: np.ndarray  # by how much the rival is beyond the slack: a positive one tells them apart


def curve(rule: dict, evidence: dict) -> Curve:
    """Return the columns of a rule of the kinds `equal`, `below` and `slope`."""
    keys = ("mean", "se", "predicted", "rival")
    mean, se, predicted, rival = (np.broadcast_to(evidence[key], len(evidence["mean"])) for key in keys)
    loose = rule.get("band", 0.0) * np.abs(predicted) + rule.get("tolerance", 0.0)
    slack = loose + quantile(rule, len(mean), evidence["n"] - 1) * se
    if rule["kind"] == "below":  # the rival must break the bound by so much that a run following it would have failed
        gap, excess = rival - predicted, mean - predicted - slack
        return Curve(mean, se, predicted, rival, gap, loose, slack, excess, gap - 2 * slack)
    gap, excess = np.abs(rival - predicted), np.abs(mean - predicted) - slack
    return Curve(mean, se, predicted, rival, gap, loose, slack, excess, np.abs(mean - rival) - slack)


def quantile(rule: dict, k: int, free: Any) -> Any:
    """Return how many standard errors the rule forgives in each of k columns, with so many degrees of freedom; without any, none.

    Student's quantile at the rule's false alarm, divided by the columns (Bonferroni) and, but for `below`, by the two sides.
    """
    if "false_alarm" not in rule or not np.all(np.greater(free, 0)):
        return 0.0
    return -stdtrit(free, rule["false_alarm"] / k / (1 if rule["kind"] == "below" else 2))


def ascents(rule: dict, pairs: int, n: int) -> int:
    """Return in how many of n seeds each pair of an `ordered` rule must ascend; if no number of n will do, of how many seeds."""
    level = rule["false_alarm"] / pairs
    enough = np.flatnonzero(bdtr(n - np.arange(n + 1), n, 0.5) <= level)  # P(at least so many ascents by chance)
    return int(enough[0]) if len(enough) else int(np.ceil(-np.log2(level)))


def _decide_curve(rule: dict, evidence: dict) -> tuple[str, str]:
    found, n, k = curve(rule, evidence), evidence["n"], len(evidence["mean"])
    worst, clearest = int(np.argmax(found.excess)), int(np.argmax(found.seen))
    verdict = "fails" if found.excess[worst] > 0 else "inconclusive" if found.seen[clearest] <= 0 else "holds"
    i = clearest if verdict == "holds" else worst
    relation = "bound" if rule["kind"] == "below" else "predicted"
    summary = f"{found.mean[i]:.4g} ± {found.slack[i]:.2g}, {relation} {found.predicted[i]:.4g}, rival {found.rival[i]:.4g}"
    if "at" in evidence:
        summary += f" (at {evidence['at'][i]:g}{f', worst of {k}' if k > 1 and verdict == 'fails' else ''})"
    if verdict == "inconclusive":
        gap, noise = np.abs(found.rival - found.predicted).max(), (found.slack - found.loose).max()
        need = f"{int(np.ceil(n * (2 * noise / gap) ** 2))} replicates" if noise > 0 < gap else "another rival"
        summary += f"; cannot tell them apart, would need {need}"
    return verdict, summary


def _decide_order(rule: dict, evidence: dict) -> tuple[str, str]:
    n, wins = evidence["n"], np.asarray(evidence["wins"])
    needs = ascents(rule, len(wins), n)
    verdict = "fails" if (n - wins >= needs).any() else "holds" if (wins >= needs).all() else "inconclusive"
    pairs = zip(evidence["groups"], evidence["groups"][1:], wins, strict=False)
    summary = "; ".join(f"{a} < {b} in {w} of {n} seeds" for a, b, w in pairs)
    if verdict == "inconclusive":
        summary += f"; needs {needs} of {n}" if needs <= n else f"; needs at least {needs} seeds"
    return verdict, summary
