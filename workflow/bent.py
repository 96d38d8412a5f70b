"""A chapter rerun with one law of collapse_utils.theory bent by a tenth, or one regime fed with another's data.

The cells run in a plain process, once as they are; in a second pass the process is copied (forked) at the first cell that
calls a law, and the copy goes on with the law bent. A simulation whose code, data and random numbers are those of the first
pass, and which did not call the law, is not repeated. An assertion that fails, or a cell that stops, is written down and the
cells after it still run.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import multiprocessing
import os
import pickle
import pkgutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import cloudpickle
import numpy as np

from collapse_utils import claims, params, regimes, theory
from workflow import cards, chapters

SIMULATIONS = {
    "moments": ("replicate", "collect"),
    "initialisation.propagation": ("two_point",),
    "parallel": ("each",),
    "dynamics.mlp": ("train",),
}
ENTRIES = ("equal", "below", "slope", "ordered")  # of collapse_utils.claims: where a verdict is made
EVIDENCE = ("predicted", "mean", "values")  # of a verdict, without its rival
fork = multiprocessing.get_context("fork")


@dataclasses.dataclass
class Watch:
    """What the process has seen: laws called, verdicts made, assertions broken, simulations kept; and the one law that is bent."""

    bent: str = ""
    factor: float = 1.1
    reached: set = dataclasses.field(default_factory=set)
    verdicts: dict = dataclasses.field(default_factory=dict)
    broken: set = dataclasses.field(default_factory=set)
    kept: dict = dataclasses.field(default_factory=dict)


WATCH = Watch()


def laws() -> dict[str, Any]:
    """Return every public function and number of collapse_utils.theory by its name, as linear.first_risk, in file order."""
    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(theory.__path__)):
        for name, value in vars(importlib.import_module(f"{theory.__name__}.{module}")).items():
            own = isinstance(value, float) or getattr(value, "__module__", "").endswith(f".theory.{module}")
            if own and not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, float)):
                found[f"{module}.{name}"] = value
    return found


def arms() -> dict[str, Callable]:
    """Return the public regimes by name, as regimes.replace."""
    own = inspect.getmembers(regimes, lambda value: inspect.isfunction(value) and value.__module__ == regimes.__name__)
    return {f"regimes.{name}": value for name, value in own if not name.startswith("_") and name != "size_matched"}


def raised(value: Any) -> Any:
    """Return what a law returned with every real number times the factor, every whole number one further; the rest as it is."""
    step = 1 if WATCH.factor > 1 else -1
    if isinstance(value, bool | np.bool_ | str | None):
        return value
    if isinstance(value, int | np.integer):
        return value + step
    if isinstance(value, np.ndarray):
        return value * WATCH.factor if value.dtype.kind in "fc" else value + step if value.dtype.kind in "iu" else value
    if isinstance(value, float | complex | np.inexact):
        return value * WATCH.factor
    if isinstance(value, tuple | list):
        items = [raised(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: raised(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{f.name: raised(getattr(value, f.name)) for f in dataclasses.fields(value)})
    raise TypeError(f"bending: a law must return numbers; got {type(value).__name__}.")


def swapped(name: str) -> Callable:
    """Return what stands in for a regime: accumulate for those that forget, replace for all others."""
    other = regimes.accumulate if name in ("regimes.replace", "regimes.replace_multiple") else regimes.replace
    return (lambda *_: other) if name in ("regimes.mixture", "regimes.fresh_real_and_last") else other


def install(chapter: str) -> None:
    """Put a switch before every law and regime, a recorder before every verdict, and memory before a chapter's simulations."""
    source = "".join(chapters.load(chapter).cells.values())
    switches = {id(law): _law(name, law) for name, law in laws().items() if callable(law)}
    switches |= {id(arm): _arm(name, arm, swapped(name)) for name, arm in arms().items()}
    switches |= {id(entry): _entry(entry) for entry in (getattr(claims, name) for name in ENTRIES)}
    for home, names in [(home, names) for home, names in SIMULATIONS.items() if home.rpartition(".")[2] in source]:
        module = importlib.import_module(f"collapse_utils.{home}")
        switches |= {id(getattr(module, name)): _kept(getattr(module, name)) for name in names}
    for module in [module for name, module in sys.modules.items() if name.startswith("collapse_utils")]:
        for name, value in list(vars(module).items()):
            if id(value) in switches:
                setattr(module, name, switches[id(value)])
    params.check = lambda: None  # it asks for a notebook, and a planned run has been checked


def _law(name, law):
    @functools.wraps(law)
    def switch(*args, **kwargs):
        WATCH.reached.add(name)
        value = law(*args, **kwargs)
        return raised(value) if WATCH.bent == name else value

    return switch


def _arm(name, arm, other):
    @functools.wraps(arm)
    def switch(*args, **kwargs):
        WATCH.reached.add(name)
        return (other if WATCH.bent == name else arm)(*args, **kwargs)

    return switch


def _entry(entry):
    @functools.wraps(entry)
    def recorder(*args, **kwargs):
        verdict = entry(*args, **kwargs)
        WATCH.verdicts[verdict.id] = [verdict.verdict, {key: cards.digest(verdict.evidence.get(key)) for key in EVIDENCE}]
        return verdict

    return recorder


def _kept(simulation):
    """A simulation that returns what it returned before for the same code, data and random numbers, and moves the latter on."""

    @functools.wraps(simulation)
    def again(*args, **kwargs):
        rng = next((value for value in (*args, *kwargs.values()) if isinstance(value, np.random.Generator)), None)
        try:
            key = cards.digest(cloudpickle.dumps((simulation.__name__, args, kwargs)))
        except (TypeError, pickle.PicklingError):  # what cannot be told apart is run
            return simulation(*args, **kwargs)
        if key in WATCH.kept and WATCH.bent not in WATCH.kept[key][2]:
            packed, after, reached = WATCH.kept[key]
        else:
            before, WATCH.reached = WATCH.reached, set()
            packed = cloudpickle.dumps(simulation(*args, **kwargs))
            after, reached = rng and rng.bit_generator.state, WATCH.reached
            WATCH.reached = before
            WATCH.kept[key] = packed, after, reached
        WATCH.reached |= reached
        if rng:
            rng.bit_generator.state = after
        return cloudpickle.loads(packed)

    return again


class _Assertions(ast.NodeTransformer):
    """Turns each `assert` of a cell into a note, so that what stands after it still runs."""

    def __init__(self, cell):
        self.cell = cell

    def visit_Assert(self, node):
        note = ast.parse(f"__broken__.add({self.cell!r})").body
        return ast.copy_location(ast.If(ast.UnaryOp(ast.Not(), node.test), note, []), node)


def compiled(run: chapters.Run) -> list[tuple[str, Any, set]]:
    """Return (id, code, names used) of the code cells of a run, its parameters set after the parameters cell."""
    cells = []
    for id_, source in chapters.load(run.chapter).cells.items():
        tree = ast.fix_missing_locations(_Assertions(id_).visit(ast.parse(source)))
        names = {getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(tree)}
        cells.append((id_, compile(tree, f"<{id_}>", "exec"), names))
    injected = "\n".join(f"{name} = {value!r}" for name, value in run.overrides.items())
    return [cells[0], ("injected-parameters", compile(injected, "<injected>", "exec"), set()), *cells[1:]]


def go_on(cells: list, scope: dict, before: Callable = lambda *_: None, limit: float = 0) -> dict[str, str]:
    """Execute cells one after another in a scope; return {cell: error} of those that stopped, by themselves or after `limit` seconds.

    before(cell, names) comes first.
    """
    import matplotlib.pyplot as plt

    stopped = {}
    signal.signal(signal.SIGALRM, _too_long)
    for id_, code, names in cells:
        before(id_, names)
        try:
            signal.setitimer(signal.ITIMER_REAL, limit)
            exec(code, scope)
        except Exception as error:
            stopped[id_] = f"{type(error).__name__}: {error}"[:160]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        plt.close("all")
    return stopped


def _too_long(*_):
    raise TimeoutError("no end")


def bend(name: str, scope: dict, factor: float = 1.1) -> None:
    """Bend one law, or swap one regime, in this process from now on; a number is bent where it stands and where it was imported."""
    WATCH.bent, WATCH.factor = name, factor
    if isinstance(value := laws().get(name), float):
        module, attribute = name.split(".")
        setattr(sys.modules[f"{theory.__name__}.{module}"], attribute, raised(value))
        scope |= {key: raised(value) for key in (attribute,) if key in scope}


def in_copy(function: Callable) -> dict:
    """Return what a function returns in a forked copy of this process, or how it ended."""
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=lambda: theirs.send(function()))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return {"verdicts": {}, "stopped": {"": "the process died"}, "broken": []}
    finally:
        process.kill()
        process.join()


def _report(cells, scope, bent="", factor=1.1, before=lambda *_: None, limit=0.0) -> dict:
    started = time.perf_counter()
    WATCH.broken.clear()
    bend(bent, scope, factor)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        stopped = go_on(cells, scope, before, limit)
    drawn = cards.digest(str(scope["rng"].bit_generator.state)) if "rng" in scope else ""
    report = {"verdicts": dict(WATCH.verdicts), "broken": sorted(WATCH.broken), "stopped": stopped, "drawn": drawn}
    return report | {"seconds": round(time.perf_counter() - started, 1)}


def reach(cells: list) -> dict:
    """Return the report of a run with nothing bent, and under "reached" {law or regime: the first cell that uses it}."""
    numbers = {name: name.split(".")[1] for name, value in laws().items() if isinstance(value, float)}
    first, now = {}, [""]

    def before(cell, names):
        first.update({name: now[0] for name in sorted(WATCH.reached) if name not in first})
        now[0] = cell
        first.update({name: cell for name, word in numbers.items() if word in names and name not in first})

    report = _report([*cells, ("", compile("", "", "exec"), set())], _scope(), before=before)
    return report | {"reached": first}


def bends(cells: list, unbent: dict, due: dict[str, str], done: Callable) -> None:
    """Call done(name, row) for each law or regime in due, {name: the cell to bend it from}; unbent is the report of `reach`.

    A law that turns nothing when it is raised is lowered. Call reach in the same process first: its simulations are kept.
    """
    WATCH.verdicts.clear()
    scope, limit = _scope(), 30 + 3 * unbent["seconds"]  # seconds a cell may take: a loop may never end
    last = max(i for i, cell in enumerate(cells) if cell[0] in due.values())
    rest = {id_: cells[i:] for i, (id_, *_) in enumerate(cells)}

    def copies(cell, _):
        for name in [name for name, first in due.items() if first == cell]:
            row = {"from": cell, "turned": {}, "stopped": {}, "seconds": 0.0}
            row |= {word: [] for word in ("rival", "moved", "unjudged", "broken")}
            for factor in (1.1, 0.9) if name in laws() else (1.1,):
                report = in_copy(lambda: _report(rest[cell], scope, name, factor, limit=limit))  # noqa: B023
                row = _joined(row, report, unbent, factor, name in laws())
                if row["turned"]:
                    break
            done(name, row)

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        go_on(cells[: last + 1], scope, copies)


def _scope() -> dict:
    return {"__name__": "__main__", "__broken__": WATCH.broken}


def _joined(row: dict, report: dict, unbent: dict, factor: float, law: bool) -> dict:
    """A row with one more bend: verdicts that turned (and by what factor), those that turned by their rival alone, those that stayed.

    A law must have moved a verdict's evidence to count; a swapped regime changes all that is drawn after it.
    """
    before, now, same = unbent["verdicts"], report["verdicts"], report.get("drawn") == unbent["drawn"]
    both = [id_ for id_ in before if id_ in now]
    moved = {id_ for id_ in both if _moved(before[id_][1], now[id_][1], same)}
    differs = {id_: [before[id_][0], now[id_][0], factor] for id_ in both if now[id_][0] != before[id_][0]}
    turned = {id_: words for id_, words in differs.items() if before[id_][1] != now[id_][1] or not law} | row["turned"]
    return {
        "from": row["from"],
        "turned": turned,
        "rival": sorted({*row["rival"], *differs} - set(turned)),
        "moved": sorted({*row["moved"], *moved} - set(turned)),
        "unjudged": sorted({*row["unjudged"], *(id_ for id_ in before if id_ not in now)} - set(turned)),
        "broken": sorted({*row["broken"], *report["broken"]}),
        "stopped": row["stopped"] | report["stopped"],
        "seconds": round(row["seconds"] + report.get("seconds", 0), 1),
    }


def _moved(before: dict, now: dict, same: bool) -> bool:
    """Whether evidence differs; where other random numbers were drawn, samples differ for that reason alone and are left out."""
    return any(before[key] != now[key] for key in (EVIDENCE if same else EVIDENCE[:1]))
