"""Sphinx extension of the book: run lines, the scorecard, the data behind the figures, mathematics without a network."""

import base64
import io
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nbformat
import pandas as pd

from workflow import bending, chapters, costs, gather, publish, scorecard, sweeps


def headline() -> str:
    """Return the book's first figure, as its chapter published it."""
    chapter, id_ = "02_linear_models", "figure-paths"
    about = next(cell for cell in chapters.read(chapter).cells if cell["id"] == id_).metadata.mystnb
    image = base64.b64encode((chapters.RESULTS / chapters.PUBLISHED / chapter / f"{id_}.png").read_bytes()).decode()
    picture = f'<img alt="{about.image.alt}" src="data:image/png;base64,{image}">'
    return f'```{{raw}} html\n<figure class="align-center">{picture}<figcaption>{about.figure.caption}</figcaption></figure>\n```'


MARKERS = {
    "<!-- figure -->": headline,
    "<!-- scorecard -->": scorecard.markdown,
    "<!-- summary -->": scorecard.summary,
    "<!-- bending -->": bending.markdown,
    "<!-- costs -->": costs.menu,
    "<!-- changes -->": scorecard.changes,
}
MARKERS |= {f"<!-- sweep {name} -->": lambda name=name: gather.markdown(sweeps.read(name)) for name in sweeps.names()}


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
    for table in gather.SWEEPS.glob("*/*.parquet"):
        target = out / "data" / "sweeps" / table.parent.name
        target.mkdir(parents=True, exist_ok=True)
        pd.read_parquet(table).to_csv(target / f"{table.stem}.csv", index=False)
    for notebook in gather.SWEEPS.glob("*/notebooks/*.ipynb"):
        shutil.copy(notebook, out / "data" / "sweeps" / notebook.parents[1].name)


def on_page_context(app, pagename, templatename, context, doctree):
    """Drop the address of a live-code service that the book does not use: no page names a host that it might load from."""
    bodies = {id(script): (getattr(script, "attributes", None) or {}).get("body") or "" for script in context["script_files"]}
    context["script_files"] = [script for script in context["script_files"] if "THEBE_JS_URL" not in bodies[id(script)]]


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", on_source_read)
    app.connect("html-page-context", on_page_context, priority=900)
    app.connect("build-finished", on_build_finished)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
        "env_version": hash(json.dumps(scorecard.shown())),
    }
