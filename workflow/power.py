"""Power: what would decide an inconclusive verdict, from its rule, its evidence and the parameters of its run alone.

Which parameter adds replicates is declared: `replicates` of the chapter in scales.yml, or of the claim where it has another.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil, inf

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError
from scipy.special import bdtr, bdtri, fdtri, ndtri

from collapse_utils import claims
from workflow import chapters, costs, sentences

MISS = 0.025  # once for the noise, which this run knows roughly, once for the mean: together a power of at least 0.95
ROUNDS = 3  # runs of a chapter, the first among them
MOST = 10**12  # replicates; seeds in an order: a thousand


@dataclass(frozen=True)
class Advice:
    """What would decide a verdict, in words, and the value of a parameter, where a permitted one does."""

    said: str
    parameter: str = ""
    value: int = 0


def needed(rule: dict, evidence: dict, fixed: bool = False) -> float:
    """Return how many times as many replicates would decide the verdict with power 0.95 if the claim is right, or infinity.

    fixed: the samples are a fixed number of means, which more replicates make less noisy. In `equal` and `slope` the rival is
    rejected if gap > slack + the mean's own error, in `below` if gap > 2 slack; one column is enough. Where a run of that
    size missed, as where the truth lies between claim and rival, gap > 2 slack decides whatever the truth.
    """
    n = evidence["n"]
    if "false_alarm" not in rule or n < 2:
        return inf
    if rule["kind"] == "ordered":
        return _order(rule, evidence, fixed)
    sizes = (_size(rule, evidence, fixed, sure) for sure in ((True,) if rule["kind"] == "below" else (False, True)))
    return next((size / n for size in sizes if size > n), inf)


def _size(rule: dict, evidence: dict, fixed: bool, sure: bool) -> float:
    """The fewest replicates at which one column tells claim and rival apart: whatever the truth, or if the claim is right."""
    n, k, found = evidence["n"], len(evidence["mean"]), claims.curve(rule, evidence)

    def decided(m: int) -> bool:
        free = (n if fixed else m) - 1
        error = found.se * np.sqrt(n / m * fdtri(free, n - 1, 1 - MISS / k))  # it may be that large, for all that n samples tell
        slack = found.loose + claims.quantile(rule, k, free) * error
        return bool((found.gap > (2 * slack if sure else slack - ndtri(MISS) * error)).any())

    return bisect_left(range(MOST), True, lo=2, key=decided) if decided(MOST) else inf


def _order(rule: dict, evidence: dict, fixed: bool) -> float:
    """One pair the other way round refutes an order, all of them confirm it: each with power 0.95, at the odds seen here."""
    n, won = evidence["n"], np.asarray(evidence["wins"])
    sizes, spare = np.arange(1, 1001), _spare(rule["false_alarm"] / len(won))

    def more_seeds(share: float) -> float:
        passes = (spare >= 0) & (bdtr(np.maximum(spare, 0), sizes, 1 - share) >= 0.95)
        return sizes[passes][0] / n if passes.any() else inf

    def less_noise(step: np.ndarray) -> float:  # so that a step of that mean is positive as often as the test needs
        return (ndtri(bdtri(spare[n - 1], n, 0.95)) * step.std(ddof=1) / step.mean()) ** 2 if spare[n - 1] >= 0 else inf

    steps = np.diff(evidence["values"], axis=0) if fixed else won
    factors = [less_noise(step) if fixed else more_seeds(max(w, n - w) / n) for step, w in zip(steps, won, strict=True)]
    lost = [factor for factor, w in zip(factors, won, strict=True) if 2 * w < n]
    return float(min(lost) if lost else max(factors))


@cache
def _spare(level: float) -> np.ndarray:
    """The losses that a sign test at a level forgives in 1, 2, … 1000 seeds; −1 where even none is too many."""
    return np.array([max(m - claims.ascents({"false_alarm": level}, 1, m), -1) for m in range(1, 1001)])


def advise(run: chapters.Run, verdict: dict) -> Advice | None:
    """Return what would decide a verdict of a run, or None where it is decided."""
    if verdict["verdict"] != "inconclusive":
        return None
    claim, rule = claims.ledger()[verdict["id"]], verdict["rule"]
    name = claim.get("replicates", chapters.replicates(run.chapter))
    if name in (None, "none") or "false_alarm" not in rule:
        return Advice("no parameter of the chapter adds power")
    if (factor := needed(rule, verdict["evidence"], claim.get("samples") == "fixed")) == inf:
        split = rule["kind"] == "ordered"
        return Advice(
            "about as often one way as the other: no number is known to decide it" if split else f"no value of {name} decides it"
        )
    exact = ceil(_values(run)[name] * factor - 1e-9)
    step = 10 ** max(len(str(exact)) - 2, 0)
    rounded = -(-exact // step) * step  # up to two significant digits
    value = exact if _refused(run.chapter, name, rounded) else rounded
    if refused := _refused(run.chapter, name, value):
        return Advice(f"{name}={rounded} would decide it, but {name} must {refused}")
    return Advice(f"{name}={value} would decide it", name, value)


def _values(run: chapters.Run) -> dict:
    return chapters.load(run.chapter).defaults | run.overrides


def _refused(chapter: str, name: str, value: int) -> str:
    """Why a value is out of a parameter's range; nothing where it is not."""
    try:
        TypeAdapter(chapters.load(chapter).parameters[name].annotation).validate_python(value)
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Input should ")
    return ""


def note(card: dict, verdict: dict) -> str:
    """Return what would decide a verdict of the run of a card, in words; nothing where it is decided."""
    one = advise(chapters.Run(card["chapter"], card["scale"], card["parameters"], False, ""), verdict)
    return one.said if one else ""


def larger(run: chapters.Run) -> dict[str, int]:
    """Return the parameters that the inconclusive verdicts of a run need larger, each with the largest value asked for."""
    found: dict[str, int] = {}
    for one in (advise(run, verdict) for verdict in run.verdicts()):
        if one and one.parameter:
            found[one.parameter] = max(one.value, found.get(one.parameter, 0))
    return found


def words(values: dict) -> str:
    """Return parameters as a person types them."""
    plain = {name: yaml.safe_dump(value, default_flow_style=True, width=inf).splitlines()[0] for name, value in values.items()}
    return " ".join(f"{name}={value}" for name, value in plain.items())


def settings(run: chapters.Run, more: dict[str, int]) -> str:
    """Return what P says for a run like this one with more replicates."""
    known = chapters.at_scale(run.chapter, run.scale)
    own = {name: value for name, value in run.overrides.items() if known.get(name, run) != value and name not in more}
    return words(own | more)


def command(run: chapters.Run, more: dict[str, int]) -> str:
    """Return the call of make that decides, with the time it will take."""
    scale = "" if run.scale == "smoke" else f" SCALE={run.scale}"
    return f'make run CHAPTER={run.chapter}{scale} P="{settings(run, more)}"  ({_time(seconds(run, more))})'


def seconds(run: chapters.Run, more: dict[str, int]) -> float | None:
    """Return the expected time of a run with more replicates: by the chapter's law of cost, else at most in proportion."""
    found = costs.expect(chapters.plan(run.chapter, run.scale, run.overrides | more))
    if found is None or found.scaled:
        return found and found.seconds
    return costs.expect(run).seconds * max(value / _values(run)[name] for name, value in more.items())


def _time(expected: float | None) -> str:
    if expected is None:
        return "nothing like it is recorded"
    if expected < 90:
        return f"about {expected:.0f} s"
    return f"about {expected / 60:.{0 if expected > 600 else 1}f} minutes"


def lines(run: chapters.Run) -> list[str]:
    """Return a run's verdicts, each inconclusive one with what would decide it, and the call that decides those that can be."""
    said = []
    for verdict in run.verdicts():
        said.append(f"{verdict['id']:9} {verdict['verdict']:13} {sentences.said(verdict)}")
        if one := advise(run, verdict):
            said.append(f"{'':9} → {one.said}")
    more = larger(run)
    return [*said, f"→ to decide: {command(run, more)}"] if more else said


def decide(run: chapters.Run, minutes: float, rerun: Callable[[chapters.Run, str], bool]) -> bool:
    """Run a chapter again with what its inconclusive verdicts need, and say what and why; return whether all reruns went well.

    The reruns of a chapter may take `minutes` in all, as expected. rerun(run, settings) returns whether it went well.
    """
    left = 60 * minutes
    for look in range(2, ROUNDS + 2):
        if not (more := larger(run)):
            if open_ := [verdict["id"] for verdict in run.verdicts() if verdict["verdict"] == "inconclusive"]:
                print(f"{run.chapter}: stopped, no permitted value of a parameter decides {', '.join(open_)}.")
            break
        expected = seconds(run, more)
        what = f"{run.chapter}: {words(more)} would take {_time(expected)}"
        if look > ROUNDS or expected is None or expected > left:
            why = f"after {ROUNDS} runs" if look > ROUNDS else f"{left / 60:.2g} of DECIDE={minutes:g} minutes are left"
            print(f"{what}; stopped, {why}.")
            break
        print(f"{what}; run {look} of at most {ROUNDS}:", flush=True)
        text, left = settings(run, more), left - expected
        run = chapters.plan(run.chapter, run.scale, run.overrides | more)
        if not rerun(run, text):
            return False
    return True
