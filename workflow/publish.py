"""Publish a run: the laptop outputs into the notebook, tables, verdicts and card into results/."""

import shutil

import nbformat

from workflow import chapters


def publish(run: chapters.Run) -> None:
    """Copy a finished run into results/<scale>/<chapter>, and for the published scale its outputs into the notebook.

    A smoke run publishes its verdicts and card alone: what a rerun on another machine is compared with.
    """
    target = chapters.RESULTS / run.scale / run.chapter
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(run.folder.iterdir()):
        if file.suffix == ".parquet" and run.scale == "smoke" or file.name in {"executed.ipynb", "benchmark.tsv"}:
            continue
        if file.name == "numbers.json" and run.scale == "smoke":
            continue
        shutil.copy(file, target / file.name)
    if run.scale == chapters.PUBLISHED:
        executed = nbformat.read(run.folder / "executed.ipynb", as_version=4)
        nbformat.write(transplant(chapters.read(run.chapter), executed), chapters.source(run.chapter))


def transplant(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook (its prose as it is now) with the outputs and the run card of an executed copy."""
    done = {cell["id"]: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = done[cell["id"]].outputs
            cell.execution_count = done[cell["id"]].execution_count
    notebook.metadata["collapse"] = executed.metadata["collapse"]
    return notebook
