"""What each verdict rests on: one law bent by a tenth, or one regime fed with another's data, a chapter rerun, its verdicts compared.

A chapter's cells run in a plain process, once as they are; in a second pass the process is copied (forked) at the first cell
that calls a law, and the copy goes on with the law bent. A simulation whose code, data and random numbers are those of the first
pass, and which did not call the law, is not repeated. An assertion that fails, or a cell that stops, is written down and the
cells after it still run.
"""

import argparse
import ast
import dataclasses
import functools
import importlib
import inspect
import json
import multiprocessing
import os
import pickle
import pkgutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from collapse_utils import claims, params, regimes, theory
from workflow import cards, chapters

FOLDER = chapters.RESULTS / "bending"
SIMULATIONS = {"metrics": ("replicate", "collect"), "orthogonal": ("two_point",), "parallel": ("each",), "mlp": ("train",)}
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


def install() -> None:
    """Put a switch before every law and every regime, and a recorder before every verdict, wherever they are referred to."""
    switches = {id(law): _law(name, law) for name, law in laws().items() if callable(law)}
    switches |= {id(arm): _arm(name, arm, swapped(name)) for name, arm in arms().items()}
    switches |= {id(entry): _entry(entry) for entry in (getattr(claims, name) for name in ENTRIES)}
    for home, names in SIMULATIONS.items():
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
    for id_, source in cards.code_cells(chapters.read(run.chapter)).items():
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


def _in_copy(function: Callable) -> dict:
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


def _scope() -> dict:
    return {"__name__": "__main__", "__broken__": WATCH.broken}


def planned(chapter: str, scale: str) -> chapters.Run:
    """Return the run of a chapter at a scale, in one process: that of the bends."""
    run = chapters.plan(chapter, scale)
    return dataclasses.replace(run, overrides=run.overrides | ({"processes": 1} if "processes" in chapters.defaults(chapter) else {}))


def fingerprint(run: chapters.Run) -> str:
    """Return a hash of all that a chapter's rows follow from: its cells, what they reach, its rules and parameters."""
    inputs = cards.inputs(chapters.read(run.chapter)) | {"parameters": run.overrides}
    return cards.digest({name: value for name, value in inputs.items() if name != "figures"})


def measure(run: chapters.Run, only: str = "") -> None:
    """Write FOLDER/scale/chapter.json: what turned, stopped or broke with each law bent, a row at a time; what is there and fresh stays."""
    path, cells, unbent = FOLDER / run.scale / f"{run.chapter}.json", compiled(run), None
    key = fingerprint(run)
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if table.get("key") != key:
        unbent, before = reach(cells), chapters.published(run.chapter, run.scale, "verdicts") or []
        now = {id_: word for id_, (word, _) in unbent["verdicts"].items()}
        unbent["differs"] = {v["id"]: [v["verdict"], now.get(v["id"])] for v in before if now.get(v["id"]) != v["verdict"]}
        table = {"chapter": run.chapter, "scale": run.scale, "key": key, "unbent": unbent, "rows": {}}
        _write(path, table)
    due = {name: cell for name, cell in table["unbent"]["reached"].items() if name not in table["rows"] and only in (name, "")}
    if not due:
        return
    if unbent is None:  # of another day
        reach(cells)
    WATCH.verdicts.clear()
    limit, scope, last = 30 + 3 * table["unbent"]["seconds"], _scope(), max(i for i, c in enumerate(cells) if c[0] in due.values())
    rest = {id_: cells[i:] for i, (id_, *_) in enumerate(cells)}

    def copies(cell, _):
        for name in [name for name, first in due.items() if first == cell]:
            row = {"from": cell, "turned": {}, "unjudged": [], "broken": [], "stopped": {}, "seconds": 0.0}
            for factor in (1.1, 0.9) if name in laws() else (1.1,):
                report = _in_copy(lambda: _report(rest[cell], scope, name, factor, limit=limit))  # noqa: B023
                row = _joined(row, report, table["unbent"], factor)
                if row["turned"]:
                    break
            table["rows"][name] = row
            _write(path, table)
            print(f"{run.chapter} {name}: {', '.join(row['turned']) or 'nothing turned'}", file=sys.__stderr__, flush=True)

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        go_on(cells[: last + 1], scope, copies)


def _joined(row: dict, report: dict, unbent: dict, factor: float) -> dict:
    """A row with one more bend: verdicts that turned (and by what factor), those whose evidence moved and that turned by none."""
    before, now, same = unbent["verdicts"], report["verdicts"], report.get("drawn") == unbent["drawn"]
    turned = {id_: [word, now[id_][0], factor] for id_, (word, _) in before.items() if id_ in now and now[id_][0] != word}
    shifted = [id_ for id_, (_, seen) in before.items() if id_ in now and _moved(seen, now[id_][1], same)]
    turned = turned | row["turned"]
    return {
        "from": row["from"],
        "turned": turned,
        "moved": sorted({*shifted, *row.get("moved", [])} - set(turned)),
        "unjudged": sorted({*row["unjudged"], *(id_ for id_ in before if id_ not in now)} - set(turned)),
        "broken": sorted({*row["broken"], *report["broken"]}),
        "stopped": row["stopped"] | report["stopped"],
        "seconds": round(row["seconds"] + report.get("seconds", 0), 1),
    }


def _moved(before: dict, now: dict, same: bool) -> bool:
    """Whether evidence differs; where other random numbers were drawn, samples differ for that reason alone and are left out."""
    return any(before[key] != now[key] for key in (EVIDENCE if same else EVIDENCE[:1]))


def _write(path: Path, table: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)


def main() -> None:
    """python -m workflow.bending [--chapter=02] [--law=linear.accumulate] [--scale=smoke]: bring the table up to date."""
    parser = argparse.ArgumentParser(prog="python -m workflow.bending", description=main.__doc__)
    parser.add_argument("--chapter", default="", help="the beginning of a chapter's name, or several with commas")
    parser.add_argument("--law", default="", help="one law, as linear.accumulate, or one regime, as regimes.replace")
    parser.add_argument("--scale", default="smoke")
    args = parser.parse_args()
    if args.law and args.law not in laws() | arms():
        parser.error(f"--law must be one of {', '.join(laws() | arms())}; got {args.law!r}.")
    names = args.chapter.split(",") if args.chapter else chapters.chapters()
    install()
    for chapter in map(chapters.find, names):
        if any(word in "".join(cards.code_cells(chapters.read(chapter)).values()) for word in ("theory", "regimes")):
            process = fork.Process(target=measure, args=(planned(chapter, args.scale), args.law))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
