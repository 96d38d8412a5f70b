"""Publish a run: the laptop outputs into the notebook, tables, verdicts and card into results/."""

import base64
import re
import shutil

import nbformat

from workflow import chapters, files, verdicts


def publish(run: chapters.Run) -> None:
    """Copy a finished run into results/<scale>/<chapter>, and for the published scale its outputs into the notebook.

    A smoke run publishes its verdicts and card alone: what a rerun on another machine is compared with.
    """
    target = chapters.RESULTS / run.scale / run.chapter
    executed = files.notebook(run.folder / "executed.ipynb")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(run.folder.iterdir()):
        if (file.suffix == ".parquet" and run.scale == "smoke") or file.name in {"executed.ipynb", "benchmark.tsv"}:
            continue
        if file.name == "numbers.json" and run.scale == "smoke":
            continue
        shutil.copy(file, target / file.name)
    if run.scale == chapters.PUBLISHED:
        nbformat.write(transplant(chapters.read(run.chapter), executed), chapters.source(run.chapter))
        chapters.load.cache_clear()
        for cell in executed.cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    (target / f"{cell['id']}.png").write_bytes(base64.b64decode(output.data["image/png"]))


def update_readme() -> None:
    """Write the summary of all verdicts into the README, between its markers."""
    path = chapters.ROOT / "README.md"
    line = f"<!-- summary -->{verdicts.summary()}<!-- /summary -->"
    path.write_text(re.sub(r"<!-- summary -->.*<!-- /summary -->", line, path.read_text(encoding="utf-8")), encoding="utf-8")


def transplant(notebook: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook (its prose as it is now) with the outputs and the run card of an executed copy."""
    done = {cell["id"]: cell for cell in executed.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = done[cell["id"]].outputs
            cell.execution_count = done[cell["id"]].execution_count
    if "collapse" in executed.metadata:  # a new chapter has no run yet
        notebook.metadata["collapse"] = executed.metadata["collapse"]
    return notebook
