"""The book on paper: each page printed by Chromium, all in one file in the order of the contents, with bookmarks and links."""

import io
import os
import shutil
from pathlib import Path

from workflow import chapters, files

TARGET = "model-collapse.pdf"
PAPER = {"format": "A4", "print_background": True, "outline": True, "tagged": True} | {
    "margin": dict.fromkeys(("top", "bottom", "left", "right"), "14mm")
}
READY = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const pictures = [...document.images];
  for (const one of pictures) one.loading = 'eager';
  await Promise.allSettled(pictures.map(one => one.decode()));
}"""


def contents() -> list[str]:
    """Return the names of the book's pages, in the order of its table of contents."""
    found = files.yaml(chapters.ROOT / "_toc.yml")
    return [found["root"], *(page["file"] for part in found["parts"] for page in part["chapters"])]


def write(html: Path, pages: list[str], target: Path) -> int:
    """Print the pages of a built book into one file; return its number of sheets.

    A link to another page of the book leads to its first sheet. The file is whole or not there. Raises ChapterError where
    there is no Chromium.
    """
    from playwright.sync_api import Error, sync_playwright
    from pypdf import PdfWriter

    writer, first = PdfWriter(), {}
    with sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        except Error:
            raise chapters.ChapterError(
                "pdf: printing needs Chromium, and none is found; install it (Debian: chromium) or run `.venv/bin/playwright install chromium`."
            ) from None
        page = browser.new_context(offline=True, color_scheme="light").new_page()
        for name in pages:
            page.goto((html / f"{name}.html").as_uri())
            page.evaluate(READY)
            first[(html / f"{name}.html").as_uri()] = len(writer.pages)
            writer.append(io.BytesIO(page.pdf(**PAPER)), outline_item=page.title().split(" — ")[0], import_outline=False)
        browser.close()
    _join(writer, first)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".partial")
    with scratch.open("wb") as stream:
        writer.write(stream)
    os.replace(scratch, target)
    return len(writer.pages)


def chromium() -> str | None:
    """Return the Chromium of the machine; without one, playwright looks for its own."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _join(writer, first: dict[str, int]) -> None:
    """Turn links between pages into links between sheets; those to other files of the book lose their target, which paper lacks."""
    from pypdf.annotations import Link
    from pypdf.generic import Fit

    for number, sheet in enumerate(writer.pages):
        kept, links = [], []
        for note in sheet.get("/Annots", []):
            address = note.get_object().get("/A", {}).get("/URI", "")
            if not address.startswith("file:"):
                kept.append(note)
            elif (page := address.partition("#")[0]) in first:
                links.append((note.get_object()["/Rect"], first[page]))
        if "/Annots" in sheet:
            sheet["/Annots"].clear()
            sheet["/Annots"].extend(kept)
        for rectangle, target in links:
            writer.add_annotation(number, Link(rect=rectangle, target_page_index=target, fit=Fit.fit_horizontally()))
