"""What several test modules use: the project and copies of it, its commands, its chapters run whole, processes to be killed."""

import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import nbformat
import pytest
import yaml

from workflow import chapters, pdf
from workflow.definitions import ROOT

CHROMIUM = pdf.chromium()
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: browser tests run where Debian's chromium is installed"
)
SPAWN = multiprocessing.get_context("spawn")
BUILT = shutil.ignore_patterns(".*_cache", ".venv", ".build", "_build", ".git", ".snakemake", "__pycache__", "*.egg-info")
SMALL = {  # a sweep of four short runs
    "title": "t", "chapter": "linear_models", "scale": "smoke", "grid": {"d": [4, 5], "noise": [0.5, 2.0]},
    "fixed": {"n_generations": 5, "n_short": 5, "n_replicates": 100, "n_samples": 20}, "show": {"x": "d", "y": "acc-last"},
}  # fmt: skip
TINY = {  # a chapter that takes a second: what runs it is what is tested
    "parameters": """
from collapse_utils.params import AtLeast, Int, PositiveFloat

seed: AtLeast[0] = 0  # of every random number below
d: Int[2, 200] = 32  # columns
noise: PositiveFloat = 1.0  # standard deviation
n_replicates: AtLeast[10] = 40  # rows""",
    "imports": """
import numpy as np
import pandas as pd
from collapse_utils import claims, params, results
params.check()""",
    "experiment": """
sample = noise * np.random.default_rng(seed).standard_normal((n_replicates, d))
power = (sample**2).mean(axis=1)""",
    "numbers": """
results.table("powers", pd.DataFrame({"power": power}))
results.number("power", "powers", "power", ".3f", power=power[0])""",
    "verdicts": """
claims.report(claims.equal("GER-1", power[:, None], noise**2, rival=2 * noise**2))""",
}


def copied(folder: Path) -> Path:
    """Copy the project, without what is built from it, to a folder that is not there yet; return the folder."""
    return Path(shutil.copytree(ROOT, folder, ignore=BUILT))


def with_tiny(project: Path) -> Path:
    """Add the chapter `tiny` to a copy of the project: listed behind linear_models, with a smoke scale; return its notebook."""
    path, beside = project / "notebooks" / "solvable" / "tiny.ipynb", "      - file: notebooks/solvable/linear_models\n"
    cells = [nbformat.v4.new_code_cell(source.strip(), id=id_) for id_, source in TINY.items()]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    for name, before, after in (
        ("_toc.yml", beside, beside + beside.replace("linear_models", "tiny")),
        ("scales.yml", "linear_models:\n", "tiny:\n  smoke: {n_replicates: 20}\n\nlinear_models:\n"),
    ):
        text = (project / name).read_text(encoding="utf-8")
        assert before in text
        (project / name).write_text(text.replace(before, after, 1), encoding="utf-8")
    return path


@contextlib.contextmanager
def changed(path: Path, content):
    """Put content (bytes, text, or a function of the text that stands there) into a file; give back what stood there."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content(before.decode(errors="surrogateescape")) if callable(content) else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_bytes(before)


def replaced(before: str, after: str):
    """A function that replaces the first occurrence of a text, which must be there."""

    def change(text):
        assert before in text, before
        return text.replace(before, after, 1)

    return change


def checking(line: str):
    """A change of a notebook's text: one more line of code behind the check of its parameters."""
    return replaced("params.check()", "params.check()\\n" + json.dumps(line)[1:-1])


def environment(root: Path = ROOT) -> dict[str, str]:
    """The environment of processes that work in a copy of the project, with one thread each."""
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def command(verb: str, *arguments) -> list[str]:
    """A verb of the workflow as the words of a command."""
    return [sys.executable, "-m", "workflow", verb, *map(str, arguments)]


def workflow(verb: str, *arguments, cwd: Path = ROOT, **settings) -> subprocess.CompletedProcess:
    """Run a verb of the workflow in a process of its own; return what it said and its exit code."""
    given = {"cwd": cwd, "env": environment(cwd), "capture_output": True, "text": True, "check": False}
    return subprocess.run(command(verb, *arguments), **given | settings)


def started(verb: str, *arguments, cwd: Path, **settings) -> subprocess.Popen:
    """Start a verb of the workflow, with all that it starts in a group of its own."""
    return subprocess.Popen(command(verb, *arguments), cwd=cwd, env=environment(cwd), start_new_session=True, **settings)


def write_sweep(folder: Path, content, name: str = "small") -> str:
    """Write a sweep's file, from text or a mapping; return its path."""
    path = folder / f"{name}.yml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def browsing():
    """A Chromium without a window that speaks to nobody."""
    from playwright.sync_api import sync_playwright

    options = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options.split())
        yield browser
        browser.close()


def executed(chapter: str, parameters: dict, **variables: str) -> dict[str, list]:
    """Run a chapter whole by papermill; return {cell id: its outputs}.

    variables: of the kernel's environment, on top of this process's. Raises PapermillExecutionError where a cell fails.
    """
    import papermill

    with mock.patch.dict(os.environ, environment() | variables):
        done = papermill.execute_notebook(chapters.source(chapter), None, parameters, kernel_name="python3", progress_bar=False)
    return {cell["id"]: cell.outputs for cell in done.cells if cell.cell_type == "code"}


def printed(shown: dict[str, list]) -> str:
    """What the cells of an executed chapter printed."""
    return "".join(output.get("text", "") for outputs in shown.values() for output in outputs)


def carried(shown: dict[str, list], kind: str) -> list:
    """What the outputs of an executed chapter carry of one kind: claims.MIME, results.NUMBER_MIME."""
    bundles = (output.get("data", {}) for outputs in shown.values() for output in outputs)
    found = [bundle[kind] for bundle in bundles if kind in bundle]
    return [one for several in found for one in several] if kind.endswith("verdicts+json") else found


def spawned(function, *arguments) -> multiprocessing.process.BaseProcess:
    """A new process, sharing nothing with this one, that calls a function of a test module."""
    process = SPAWN.Process(target=function, args=arguments)
    process.start()
    return process
