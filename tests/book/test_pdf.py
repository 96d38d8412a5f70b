"""The book on paper: sheets in the order of the contents, bookmarks, links from page to page, nothing half-written."""

import pytest
from pypdf import PdfReader

from tests.support import needs_chromium
from workflow import chapters, pdf

SECOND = '<a href="../index.html#top">back</a> <a href="missing.csv">data</a> <a href="https://example.org/">out</a>'
PAGES = {
    "index": '<title>One — the book</title><h1>First page</h1><a href="part/two.html#there">on</a><p style="break-before: page">more</p>',
    "part/two": f"<title>Two — the book</title><h1>Second page</h1>{SECOND}",
}


@pytest.fixture
def html(tmp_path):
    for name, text in PAGES.items():
        file = tmp_path / "html" / f"{name}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<!doctype html>{text}", encoding="utf-8")
    return tmp_path / "html"


@needs_chromium
def test_pages_become_sheets_with_bookmarks_and_links(html, tmp_path):
    target = tmp_path / "out" / "book.pdf"
    assert pdf.write(html, list(PAGES), target) == 3
    found = PdfReader(target)
    assert [sheet.extract_text().split()[0] for sheet in found.pages] == ["First", "more", "Second"]
    assert [(mark.title, found.get_destination_page_number(mark)) for mark in found.outline] == [("One", 0), ("Two", 2)]
    notes = [[note.get_object() for note in sheet.get("/Annots", [])] for sheet in found.pages]
    places = [[found.pages.index(note["/Dest"][0].get_object()) for note in each if "/Dest" in note] for each in notes]
    assert places == [[2], [], [0]]
    assert [note["/A"]["/URI"] for each in notes for note in each if "/A" in note] == ["https://example.org/"]
    assert [file.name for file in target.parent.iterdir()] == ["book.pdf"]


def test_without_chromium_one_sentence_says_so(html, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "chromium", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(chapters.ChapterError, match=r"printing needs Chromium, and none is found; install it"):
        pdf.write(html, list(PAGES), tmp_path / "book.pdf")
    assert not (tmp_path / "book.pdf").exists()


def test_the_contents_are_every_page_of_the_book_once():
    pages = pdf.contents()
    assert pages[0] == "book/intro"
    assert len(set(pages)) == len(pages)
    assert set(chapters.chapters()) <= {page.rpartition("/")[2] for page in pages}
