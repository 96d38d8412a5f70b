"""A chapter's page: the outputs of the run shown, its figures panel by panel, the line that names the run, its claims and verdicts."""

import base64
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat

from collapse_book.drawing import Part, drawn
from collapse_utils import claims
from collapse_utils.panels import MIME as PANELS
from workflow import cards, chapters, files, power, publish, sentences, verdicts

BOX = "claim-box"  # a cell for whoever opens the notebook: its page has the same claims beside their verdicts


@dataclass(frozen=True)
class Picture:
    """A file of a figure, one panel of it or the whole, as it lies beside the data, and its width in points."""

    name: str
    content: bytes
    width: float


def folder(chapter: str) -> Path:
    """Return the folder of the run that a chapter's page shows: one of this machine, or the published one."""
    entry = verdicts.shown().get(chapter, {})
    return Path(entry["rerun"]) if entry.get("pages") else chapters.RESULTS / chapters.PUBLISHED / chapter


@cache
def notebook(chapter: str) -> nbformat.NotebookNode:
    """Return a chapter's notebook with the outputs of the run that its page shows."""
    executed = folder(chapter) / "executed.ipynb"
    plain = chapters.read(chapter)
    return publish.transplant(plain, files.notebook(executed)) if executed.exists() else plain


@cache
def numbers(chapter: str) -> dict[str, dict]:
    """Return the numbers that a chapter cites, of the run that its page shows."""
    return files.json(folder(chapter) / "numbers.json")


@cache
def judged(chapter: str) -> list[dict]:
    """Return the verdicts of the run that a chapter's page shows, each with its claim and what would decide it."""
    path, card, ledger = folder(chapter) / "verdicts.json", notebook(chapter).metadata.get("collapse"), claims.ledger()
    found = files.json(path) if path.exists() else []
    return [
        {
            **verdict,
            "claim": ledger[verdict["id"]],
            "said": sentences.said(verdict),
            "advice": power.note(card, verdict) if card else "",
        }
        for verdict in found
    ]


@cache
def pictures(chapter: str) -> dict[str, list[Picture]]:
    """Return {cell: the panels of its figure}; a figure that was drawn without panels is one picture."""
    found = {}
    for cell in notebook(chapter).cells:
        for data in [output.get("data", {}) for output in cell.get("outputs", [])]:
            if PANELS in data:
                found[cell["id"]] = [
                    Picture(f"{cell['id']}-{k}.svg", svg.encode(), float(svg.partition('width="')[2].partition("pt")[0]))
                    for k, svg in enumerate(data[PANELS], start=1)
                ]
            elif "image/png" in data:
                found[cell["id"]] = [Picture(f"{cell['id']}.png", base64.b64decode(data["image/png"]), 600.0)]
    return found


def figure(chapter: str, cell: str, page: str) -> Part:
    """Return a figure of a chapter, for any page: its panels side by side, one below the other where the screen is narrow."""
    up = "../" * page.count("/")
    return drawn("panels.html", at=f"{up}data/{chapter}", panels=pictures(chapter)[cell], alt=_about(chapter, cell).image.alt)


def caption(chapter: str, cell: str) -> str:
    """Return the caption of a figure, as it is written."""
    return _about(chapter, cell).figure.caption


def _about(chapter: str, cell: str) -> nbformat.NotebookNode:
    """What a notebook says of the figure of a cell."""
    return next(one for one in notebook(chapter).cells if one["id"] == cell).metadata.mystnb


def on_source_read(app, docname, source):
    """Give a chapter what its page shows of the run."""
    if docname.startswith("notebooks/"):
        chapter = docname.rpartition("/")[2]
        source[0] = nbformat.writes(_page(chapter, nbformat.reads(source[0], as_version=4)))


def _page(chapter: str, plain: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook as the page has it."""
    run = deepcopy(notebook(chapter))  # its outputs are changed below, the others are asked for again
    page = publish.transplant(plain, run)
    page.cells = [cell for cell in page.cells if cell["id"] != BOX]
    drawings = pictures(chapter)
    for cell in list(page.cells):
        for output in list(cell.get("outputs", [])):
            data = output.get("data", {})
            if cell["id"] in drawings and "image/png" in data:
                output["data"] = {"text/html": figure(chapter, cell["id"], chapters.page(chapter))}
            elif claims.MIME in data:
                cell.outputs = []
                cell.metadata.tags = [*cell.metadata.get("tags", []), "hide-input"]
                page.cells.insert(page.cells.index(cell) + 1, nbformat.v4.new_markdown_cell("```{verdicts}\n```"))
    page.cells.insert(
        1, nbformat.v4.new_markdown_cell(f"```{{raw}} html\n{run_line(chapter, run.metadata.get('collapse'))}\n```")
    )
    return page


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
