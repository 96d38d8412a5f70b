"""Run one planned chapter through papermill; its folder appears complete or not at all."""

import base64
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from collapse_utils import claims, results
from workflow import cards, chapters

VERSIONS = ("numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "torch", "papermill")
WORKER_KILLED = (
    ", because one of its processes was killed, as happens when memory runs out; rerun it with fewer threads or more memory"
)


class ExecutionError(RuntimeError):
    """A cell that failed, with the cell, the error and where the partial notebook lies."""


def execute(run: chapters.Run) -> None:
    """Execute the run and write executed.ipynb, verdicts.json, numbers.json, *.parquet and card.json to run.folder.

    Raises ExecutionError where a cell fails or the disk is full; what stood in other folders is never touched.
    """
    try:
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        for left in run.folder.parent.glob(f".{run.folder.name}-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{run.folder.name}-", dir=run.folder.parent))
    except OSError as error:
        raise ExecutionError(
            f"{run.chapter}: cannot write to {run.folder.parent} ({error.strerror}); free some space and rerun."
        ) from None
    try:
        started = time.perf_counter()
        notebook = _papermill(run, scratch)
        _collect(run, notebook, scratch, time.perf_counter() - started)
        run.folder.mkdir(exist_ok=True)
        for file in sorted(scratch.iterdir(), key=lambda file: file.name == "card.json"):
            file.replace(run.folder / file.name)  # the card comes last: a folder with a card is complete
    except OSError as error:
        raise ExecutionError(f"{run.chapter}: could not store the run ({error.strerror}); free some space and rerun.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _papermill(run: chapters.Run, scratch: Path) -> nbformat.NotebookNode:
    import papermill
    from nbclient.exceptions import DeadKernelError

    target = scratch / "executed.ipynb"
    try:
        with contextlib.redirect_stderr(None):
            papermill.execute_notebook(
                chapters.source(run.chapter), target, run.overrides, engine_name=_engine(), progress_bar=False, cwd=scratch,
                kernel_name="python3", shutdown_kernel="immediate",
            )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        cell = _failed_cell(nbformat.read(target, as_version=4))
        why = WORKER_KILLED if error.ename == "BrokenProcessPool" else f" with {error.ename}: {error.evalue}"
        raise ExecutionError(f"{run.label}: cell {cell} failed{why}\n  The notebook up to there: {_keep(run, target)}") from None
    except DeadKernelError:
        raise ExecutionError(
            f"{run.label}: the kernel died, as it does when memory runs out; the notebook up to there: {_keep(run, target)}"
        ) from None
    return nbformat.read(target, as_version=4)


def _engine() -> str:
    """Papermill's own engine, but for this: the notebook is written twice a minute and at the end, not twice a cell."""
    from papermill.engines import NBClientEngine, papermill_engines

    class Sparing(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, manager, *arguments, **settings):
            write = manager.save
            manager.save = lambda: write() if (manager.now() - manager.last_save_time).total_seconds() > 30 else None
            try:
                super().execute_managed_notebook(manager, *arguments, **settings)
            finally:
                manager.save = write

    papermill_engines.register("sparing", Sparing)
    return "sparing"


def _keep(run: chapters.Run, target: Path) -> Path:
    """Keep the notebook of a run that failed; return where, relative to the project."""
    kept = chapters.BUILD / "failed" / f"{run.chapter}-{run.scale}-{run.key}.ipynb"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(target, kept)
    return kept.relative_to(chapters.ROOT)


def _failed_cell(notebook: nbformat.NotebookNode) -> str:
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])) and cell["id"] != "papermill-error-cell":
            return repr(cell["id"])
    return "(unknown)"


def _collect(run: chapters.Run, notebook: nbformat.NotebookNode, scratch: Path, wall: float) -> None:
    """Clean the executed notebook and write what its outputs carry, the card last."""
    verdicts, numbers, data = [], {}, {}
    _clean(notebook)
    for bundle in _bundles(notebook):
        verdicts += bundle.get(claims.MIME, [])
        if number := bundle.get(results.NUMBER_MIME):
            numbers[number["key"]] = number
        data |= bundle.get(results.DATA_MIME, {})
        if results.TABLE_MIME in bundle:
            _store(json.loads(bundle[results.TABLE_MIME]), scratch, run.chapter)
    if not verdicts:
        raise ExecutionError(f"{run.chapter}: the notebook reported no verdict; its claims cell must end in claims.report(…).")
    _write(scratch / "verdicts.json", [{**verdict, "scale": run.scale} for verdict in verdicts])
    _write(scratch / "numbers.json", numbers)
    card = {
        "chapter": run.chapter,
        "scale": run.scale,
        "parameters": run.overrides,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "wall_s": round(wall, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // (1024 if sys.platform == "linux" else 1024**2),
        "device": f"{platform.machine()} CPU",
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)),
        "versions": {"python": platform.python_version()} | _versions(),
        "data": data,
        **cards.inputs(notebook),
        "outputs": {cell["id"]: cards.digest(cell["outputs"]) for cell in notebook.cells if cell.get("outputs")},
        "results": {file.name: cards.digest(file.read_bytes()) for file in sorted(scratch.glob("*.parquet"))},
    }
    notebook.metadata["collapse"] = card
    nbformat.write(notebook, scratch / "executed.ipynb")
    _write(scratch / "card.json", card)


def _store(table: dict, scratch: Path, chapter: str) -> None:
    """Write a table into the folder of a run; its name is that of one cell alone."""
    if (file := scratch / f"{table['name']}.parquet").exists():
        raise ExecutionError(f"{chapter}: two cells give the name {table['name']!r} to a table; choose another name.")
    file.write_bytes(base64.b64decode(table["base64"]))


def _bundles(notebook: nbformat.NotebookNode) -> list[dict]:
    return [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]


def _clean(notebook: nbformat.NotebookNode) -> None:
    """Drop papermill's bookkeeping and times, and name its injected cell: an executed notebook is a function of its run."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    """Run the planned chapters given as: CHAPTER SCALE KEY PARAMETERS-AS-JSON (called by the Snakefile)."""
    chapter, scale, key, parameters = sys.argv[1:]
    run = chapters.Run(chapter, scale, json.loads(parameters), False, key)
    _say(f"▸ {run.label} started")
    started = time.perf_counter()
    try:
        execute(run)
    except ExecutionError as error:
        _say(f"✗ {error}")
        return 1
    _say(f"✓ {run.label} in {time.perf_counter() - started:.0f} s")
    return 0


def _say(line: str) -> None:
    """Show a line to the person at the terminal: through the workflow's pipe, or on standard error without one."""
    pipe = os.environ.get("COLLAPSE_PROGRESS")
    if pipe is None:
        print(line, file=sys.stderr, flush=True)
        return
    with contextlib.suppress(OSError):  # nobody reads any more: the person has gone, the work goes on
        stream = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.write(stream, (line.replace("\n", " ") + "\n").encode())
        os.close(stream)


if __name__ == "__main__":
    sys.exit(main())
