"""The site around the pages: mathematics without a network, files to download, old addresses, words for search engines."""

import io
import os
import re
import shutil
import tomllib
from pathlib import Path

import pandas as pd
import yaml

from collapse_book import card, chapter as chapter_page, head, own, terms, weight
from collapse_book.drawing import drawn
from workflow import chapters, gather, records

PROJECT = tomllib.loads((chapters.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MOVED = chapters.ROOT / "book" / "moved.yml"
UNUSED = ("THEBE_JS_URL", "sphinx-thebe.js", "design-tabs.js")  # live code and tabs, which no page has
SCROLLS = ("table-wrap", "pst-scrollable-table-container")  # boxes of tables that may be wider than the screen
REACHABLE = 'tabindex="0" role="group" aria-label="table, scrolls sideways"'
SPOKEN = (  # what screen readers are told wrongly, and what they are told instead
    (re.compile(r"<th(?: [^>]*)?>\s*(?:<p>\s*</p>)?\s*</th>"), "<td></td>"),  # a corner is no header
    (re.compile(r' role="(?:doc-biblioentry|list)"'), ""),  # a role that is withdrawn, a list with links between its items
    (re.compile(r'id="pst-primary-sidebar"'), 'id="pst-primary-sidebar" role="region" aria-label="Contents"'),
)


def on_build_finished(app, error):
    """Copy the notebooks and the tables behind the figures next to the pages, and leave word at old addresses."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    _leave_word(out)
    head.write_addresses(app, out)
    card.draw(out / head.CARD, app.config.html_title)
    records.write(out / "data")
    own.copy(out)
    for chapter in chapters.chapters():
        target = out / "data" / chapter
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(chapters.source(chapter), target)
        for picture in [one for panels in chapter_page.pictures(chapter).values() for one in panels]:
            (target / picture.name).write_bytes(picture.content)
        for table in sorted(chapter_page.folder(chapter).glob("*.parquet")):
            shutil.copy(table, target)
            pd.read_parquet(io.BytesIO(table.read_bytes())).to_csv(target / f"{table.stem}.csv", index=False)
    for table in gather.SWEEPS.glob("*/*.parquet"):
        target = out / "data" / "sweeps" / table.parent.name
        target.mkdir(parents=True, exist_ok=True)
        pd.read_parquet(table).to_csv(target / f"{table.stem}.csv", index=False)
    for notebook in gather.SWEEPS.glob("*/notebooks/*.ipynb"):
        shutil.copy(notebook, out / "data" / "sweeps" / notebook.parents[1].name)
    for page in out.rglob("*.html"):
        page.write_text(spoken(page.read_text(encoding="utf-8")), encoding="utf-8")
    weight.lighten(out)


def spoken(html: str) -> str:
    """Return a page with what a screen reader says of it put right."""
    for wrong, right in SPOKEN:
        html = wrong.sub(right, html)
    return html


def on_page_context(app, pagename, templatename, context, doctree):
    """Describe the page to those who link to it, let the keyboard reach its wide tables, and drop the scripts that it does not use."""
    if doctree:
        if pagename != terms.GLOSSARY:
            context["body"] = terms.with_definitions(context["body"], app)
        context["metatags"] += str(head.tags(pagename, context, doctree, app.config))
        if pagename.startswith("notebooks/"):
            context["body"] += str(head.citation(pagename, context, app.config))
        for name in SCROLLS:
            context["body"] = context["body"].replace(f'<div class="{name}"', f'<div class="{name}" {REACHABLE}')
    context["script_files"] = [script for script in context["script_files"] if not any(name in _said(script) for name in UNUSED)]


def _said(script) -> str:
    """The address of a script of a page, or what stands in its place."""
    return f"{script.filename}{(getattr(script, 'attributes', None) or {}).get('body') or ''}"


def _leave_word(out: Path) -> None:
    """A small page at each address that a chapter once had leads to its page, the place on it included."""
    for old, chapter in yaml.safe_load(MOVED.read_text(encoding="utf-8")).items():
        target = os.path.relpath(f"{chapters.page(chapter)}.html", Path(old).parent)
        file = out / f"{old}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(drawn("moved.html", title=chapter, target=target), encoding="utf-8")
