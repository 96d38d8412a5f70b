"""Sphinx extension of the book: run lines, the scorecard, the data behind the figures, mathematics without a network."""

import io
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nbformat
import pandas as pd

from workflow import chapters, publish, scorecard

def headline() -> str:
    """Return the book's first figure, taken from the outputs of its chapter."""
    notebook = nbformat.read(chapters.source("02_linear_models"), as_version=4)
    cell = next(cell for cell in notebook.cells if cell["id"] == "figure-paths")
    image = next((output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})), "")
    about = cell.metadata.mystnb
    picture = f'<img alt="{about.image.alt}" src="data:image/png;base64,{image}">'
    return f'```{{raw}} html\n<figure class="align-center">{picture}<figcaption>{about.figure.caption}</figcaption></figure>\n```'


MARKERS = {"<!-- figure -->": headline, "<!-- scorecard -->": scorecard.markdown, "<!-- summary -->": scorecard.summary}


def shown_folder(chapter: str) -> Path:
    """Return the folder of the run that a chapter's page shows: one of this machine, or the published one."""
    entry = scorecard.shown().get(chapter, {})
    return Path(entry["rerun"]) if entry.get("pages") else chapters.RESULTS / chapters.PUBLISHED / chapter


def on_source_read(app, docname, source):
    """Fill a page's markers; give a chapter the outputs of the run shown and the line that names it."""
    if docname.startswith("notebooks/"):
        source[0] = _chapter(docname.removeprefix("notebooks/"), source[0])
    for marker, text in MARKERS.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def _chapter(chapter: str, text: str) -> str:
    notebook = nbformat.reads(text, as_version=4)
    folder = shown_folder(chapter)
    if (folder / "executed.ipynb").exists():
        notebook = publish.transplant(notebook, nbformat.read(folder / "executed.ipynb", as_version=4))
    line = scorecard.run_line(chapter, notebook.metadata.get("collapse"))
    cell = nbformat.v4.new_markdown_cell(f'```{{raw}} html\n<p class="run-line">{line}</p>\n```')
    notebook.cells.insert(1, cell)
    return nbformat.writes(notebook)


def on_build_finished(app, error):
    """Copy MathJax, the notebooks and the tables behind the figures next to the pages."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    shutil.copytree(mathjax, out / "mathjax", dirs_exist_ok=True)
    for chapter in chapters.chapters():
        target = out / "data" / chapter
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(chapters.source(chapter), target)
        for table in sorted(shown_folder(chapter).glob("*.parquet")):
            shutil.copy(table, target)
            pd.read_parquet(io.BytesIO(table.read_bytes())).to_csv(target / f"{table.stem}.csv", index=False)


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", on_source_read)
    app.connect("build-finished", on_build_finished)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True, "env_version": hash(json.dumps(scorecard.shown()))}
