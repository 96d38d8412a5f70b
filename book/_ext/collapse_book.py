"""Sphinx extension of the book: run lines, the scorecard, the data behind the figures, mathematics without a network."""

import base64
import html
import io
import json
import os
import shutil
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nbformat
import pandas as pd
import yaml
from docutils import nodes

from collapse_utils import claims
from workflow import bending, chapters, costs, gather, power, publish, scorecard, sweeps

PROJECT = tomllib.loads((chapters.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCROLLS = ("table-wrap", "pst-scrollable-table-container")  # boxes of tables that may be wider than the screen
REACHABLE = 'tabindex="0" role="group" aria-label="table, scrolls sideways"'


def headline() -> str:
    """Return the book's first figure, as its chapter published it."""
    chapter, id_ = "linear_models", "figure-paths"
    about = next(cell for cell in chapters.read(chapter).cells if cell["id"] == id_).metadata.mystnb
    image = base64.b64encode((chapters.RESULTS / chapters.PUBLISHED / chapter / f"{id_}.png").read_bytes()).decode()
    picture = f'<img alt="{about.image.alt}" src="data:image/png;base64,{image}">'
    return f'```{{raw}} html\n<figure class="align-center">{picture}<figcaption>{about.figure.caption}</figcaption></figure>\n```'


MOVED = chapters.ROOT / "book" / "moved.yml"
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
        source[0] = _chapter(docname.rpartition("/")[2], source[0])
    for marker, text in MARKERS.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, text())


def _chapter(chapter: str, text: str) -> str:
    notebook = nbformat.reads(text, as_version=4)
    folder = shown_folder(chapter)
    if (folder / "executed.ipynb").exists():
        notebook = publish.transplant(notebook, nbformat.read(folder / "executed.ipynb", as_version=4))
    card = notebook.metadata.get("collapse")
    for output in [output for cell in notebook.cells if card for output in cell.get("outputs", [])]:
        _advise(card, output.get("data", {}))
    line = scorecard.run_line(chapter, card)
    cell = nbformat.v4.new_markdown_cell(f'```{{raw}} html\n<p class="run-line">{line}</p>\n```')
    notebook.cells.insert(1, cell)
    return nbformat.writes(notebook)


def _advise(card: dict, shown: dict) -> None:
    """Add to a table of verdicts what would decide those that are inconclusive."""
    for verdict in shown.get(claims.MIME, []):
        row = f'<tr><td>{verdict["id"]}</td><td class="verdict inconclusive">inconclusive</td><td>{verdict["summary"]}</td></tr>'
        told = row.replace("</td></tr>", f"; {html.escape(power.note(card, verdict))}</td></tr>")
        shown["text/html"] = shown["text/html"].replace(row, told)


def _leave_word(out: Path) -> None:
    """A small page at each address that a chapter once had leads to its page, the place on it included."""
    for old, chapter in yaml.safe_load(MOVED.read_text(encoding="utf-8")).items():
        target = os.path.relpath(f"{chapters.page(chapter)}.html", Path(old).parent)
        file = out / f"{old}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f'<!doctype html><meta charset="utf-8"><title>{chapter}</title><link rel="canonical" href="{target}">'
            f'<script>location.replace("{target}" + location.hash)</script>'
            f'<noscript><meta http-equiv="refresh" content="0; url={target}"></noscript><p>This chapter lies at <a href="{target}">{target}</a>.</p>\n',
            encoding="utf-8",
        )


def on_build_finished(app, error):
    """Copy MathJax, the notebooks and the tables behind the figures next to the pages, and leave word at old addresses."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    shutil.copytree(mathjax, out / "mathjax", dirs_exist_ok=True)
    _leave_word(out)
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


def on_config_inited(app, config):
    """Name the book and its version in the inventory by which other books link to it; the version is the package's."""
    config.project, config.version, config.release = config.html_title, PROJECT["version"], PROJECT["version"]


def on_page_context(app, pagename, templatename, context, doctree):
    """Describe the page to search engines, let the keyboard reach its wide tables, and drop the address of an unused live-code service."""
    if doctree:
        context["metatags"] += f'<meta name="description" content="{html.escape(_description(doctree))}">\n'
        for name in SCROLLS:
            context["body"] = context["body"].replace(f'<div class="{name}"', f'<div class="{name}" {REACHABLE}')
    bodies = {id(script): (getattr(script, "attributes", None) or {}).get("body") or "" for script in context["script_files"]}
    context["script_files"] = [script for script in context["script_files"] if "THEBE_JS_URL" not in bodies[id(script)]]


def _description(doctree) -> str:
    """The first paragraph of a page as plain words, or what the project is where that paragraph has formulas."""
    first = next(doctree.findall(nodes.paragraph))
    formulas = list(first.findall(nodes.math))
    text = PROJECT["description"] if formulas else " ".join(first.astext().replace(" []", "").split())
    return text if len(text) <= 200 else text[:200].rpartition(" ")[0] + " …"


def setup(app):
    """Register with Sphinx."""
    app.connect("config-inited", on_config_inited)
    app.connect("source-read", on_source_read)
    app.connect("html-page-context", on_page_context, priority=900)
    app.connect("build-finished", on_build_finished)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
        "env_version": hash(json.dumps(scorecard.shown())),
    }
