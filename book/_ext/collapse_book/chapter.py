"""A chapter's page: the outputs of the run shown, the line that names it, and what would decide what is inconclusive."""

import base64
from pathlib import Path

import nbformat

from collapse_book.drawing import Part, drawn
from collapse_utils import claims
from workflow import cards, chapters, power, publish, verdicts


def figure(chapter: str, cell: str) -> list[Part]:
    """Return a figure of a chapter as it was published, for another page."""
    about = next(one for one in chapters.load(chapter).notebook.cells if one["id"] == cell).metadata.mystnb
    image = base64.b64encode((chapters.RESULTS / chapters.PUBLISHED / chapter / f"{cell}.png").read_bytes()).decode()
    return [drawn("figure.html", image=image, alt=about.image.alt, caption=about.figure.caption)]


def folder(chapter: str) -> Path:
    """Return the folder of the run that a chapter's page shows: one of this machine, or the published one."""
    entry = verdicts.shown().get(chapter, {})
    return Path(entry["rerun"]) if entry.get("pages") else chapters.RESULTS / chapters.PUBLISHED / chapter


def on_source_read(app, docname, source):
    """Give a chapter the outputs of the run shown and the line that names it."""
    if docname.startswith("notebooks/"):
        source[0] = _filled(docname.rpartition("/")[2], source[0])


def _filled(chapter: str, text: str) -> str:
    notebook = nbformat.reads(text, as_version=4)
    executed = folder(chapter) / "executed.ipynb"
    if executed.exists():
        notebook = publish.transplant(notebook, nbformat.read(executed, as_version=4))
    card = notebook.metadata.get("collapse")
    for output in [output for cell in notebook.cells if card for output in cell.get("outputs", [])]:
        _advise(card, output.get("data", {}))
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(f"```{{raw}} html\n{run_line(chapter, card)}\n```"))
    return nbformat.writes(notebook)


def run_line(chapter: str, card: dict | None) -> Part:
    """Return the line that says which run a page shows, with the files behind its figures."""
    if card is None:
        return drawn("run-line.html", card=None)
    now = chapters.load(chapter).inputs
    return drawn(
        "run-line.html",
        chapter=chapter,
        card=card,
        up="../" * chapters.page(chapter).count("/"),
        parameters=", ".join(f"{name} = {value}" for name, value in card["parameters"].items()),
        tables=[Path(name).stem for name in card["results"]],
        stale=cards.differing(card, now),
        redrawn=now["figures"] != card["figures"],
    )


def _advise(card: dict, shown: dict) -> None:
    """Put in the place of a table of verdicts one that says what would decide those that are inconclusive."""
    if judged := shown.get(claims.MIME):
        advised = [verdict | {"advice": power.note(card, verdict)} for verdict in judged]
        shown["text/html"] = str(drawn("verdicts.html", verdicts=advised))
