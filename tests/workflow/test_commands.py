"""`make book`: every chapter at smoke scale, judged, and the built book, also in a browser."""

import json
import re
import tomllib

import pytest
import yaml

from collapse_utils import claims
from tests.support import browsing, needs_chromium, workflow
from workflow import chapters, sweeps, verdicts
from workflow.cards import ROOT

CHAPTERS = chapters.chapters()
HTML = ROOT / "_build" / "html"


@pytest.fixture(scope="module")
def book():
    """One `make book`: every chapter executed at smoke scale, judged, and the pages rendered."""
    return workflow("book", "--cores", "2")


def test_make_book_runs_judges_and_renders(book):
    assert book.returncode == 0, book.stdout + book.stderr
    assert (HTML / "index.html").exists()
    page = (HTML / "book" / "scorecard.html").read_text(encoding="utf-8")
    assert page.count("<br><small>smoke</small>") == sum(
        len(chapters.published(chapter, "smoke", "verdicts")) for chapter in CHAPTERS
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_verdict_is_vacuous_at_smoke_scale_and_none_has_changed(book, chapter):
    run = chapters.plan(chapter, "smoke")
    judged = json.loads((run.folder / "verdicts.json").read_text(encoding="utf-8"))
    ledger = claims.ledger()
    undecided = {verdict["id"] for verdict in judged if verdict["verdict"] not in ("holds", "fails")}
    assert not {id_ for id_ in undecided if ledger[id_]["least_scale"] == "smoke"}
    assert verdicts.differences(run) == []


def test_a_second_run_executes_nothing(book):
    again = workflow("run")
    assert again.returncode == 0
    assert "due at smoke scale" not in again.stderr


def test_pages_load_nothing_from_another_host(book):
    for page in HTML.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loads = re.findall(
            r"""<(?:script|img|iframe|source)[^>]+src=["'](https?:|//)[^"']+|<link[^>]+href=["'](https?:|//)""", text
        )
        assert not loads, f"{page.name} loads from the network"
        assert "unpkg.com" not in text
        assert "cdn." not in text
    for style in HTML.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?https?:""", style.read_text(encoding="utf-8", errors="ignore")), (
            style.name
        )


def test_an_old_address_leads_to_its_chapter(book):
    moved = yaml.safe_load((ROOT / "book" / "moved.yml").read_text(encoding="utf-8"))
    assert moved["notebooks/02_linear_models"] == "linear_models"
    for old, chapter in moved.items():
        page = HTML / f"{old}.html"
        (target,) = set(re.findall(r'(?:url=|href="|replace\(")([^"]+)"', page.read_text(encoding="utf-8")))
        assert (page.parent / target).resolve() == (HTML / f"{chapters.page(chapter)}.html").resolve()
        assert (page.parent / target).exists()


def test_every_image_has_an_alternative_text(book):
    for chapter in CHAPTERS:
        text = (HTML / f"{chapters.page(chapter)}.html").read_text(encoding="utf-8")
        article = text[text.index("<article") : text.index("</article>")]
        images = re.findall(r"<img[^>]*>", article)
        assert images
        assert all(re.search(r'alt="[^"]{40,}"', image) for image in images), chapter


def test_the_inventory_and_the_pages_name_the_book_and_its_version(book):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    lines = (HTML / "objects.inv").read_bytes().split(b"\n", 3)
    assert [line.decode() for line in lines[1:3]] == ["# Project: Model collapse, line by line", f"# Version: {version}"]
    for page in [HTML / "book" / "intro.html", *(HTML / f"{chapters.page(chapter)}.html" for chapter in CHAPTERS)]:
        (said,) = re.findall(r'<meta name="description" content="([^"]+)">', page.read_text(encoding="utf-8"))
        assert 40 < len(said) < 220, page.name
        assert not re.search(r"\\|\[]", said), said


# What is wider than its place: displayed formulas, formulas in the text, tables; each with the box that scrolls it, if any.
WIDE = """() => [...document.querySelectorAll('article div.math mjx-container, article span.math, article table')].flatMap(item => {
  const inner = item.querySelector('mjx-math') ?? item, place = item.matches('table') ? item.parentElement : item;
  if (inner.getBoundingClientRect().right <= place.getBoundingClientRect().right + 2) return [];
  const box = item.closest('.table-wrap, .pst-scrollable-table-container, div.output, mjx-container[display], span.math');
  const scrolls = box !== null && ['auto', 'scroll'].includes(getComputedStyle(box).overflowX);
  return [[item.tagName, scrolls, item.textContent.slice(0, 60)]];
})"""
UNREACHED = """() => [...document.querySelectorAll('article :is(.table-wrap, .pst-scrollable-table-container)')]
  .filter(box => (box.scrollWidth > box.clientWidth && box.tabIndex !== 0) || !box.getAttribute('role') || !box.getAttribute('aria-label')).length"""


def comes_true(page, condition, otherwise):
    """Wait until the scripts of a page have taken notice of a change; fail, with words, where they do not."""
    from playwright.sync_api import TimeoutError

    try:
        page.wait_for_function(condition, timeout=10_000)
    except TimeoutError:
        pytest.fail(otherwise)


LOOKS = [("light", 1280), ("dark", 1280), ("light", 390)]


@needs_chromium
def test_pages_in_a_browser_without_a_network(book):
    """Every page, opened and typeset once, then seen wide in light and dark and on a phone."""
    with browsing() as browser:
        page, errors, requests = browser.new_context(offline=True).new_page(), [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        shared = [
            "intro",
            "running",
            "scorecard",
            "notation",
            "data",
            "differences",
            *(f"sweeps/{name}" for name in sweeps.names()),
        ]
        for name in [*(f"book/{page}" for page in shared), *(chapters.page(chapter) for chapter in CHAPTERS)]:
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(f"file://{HTML}/{name}.html")
            page.wait_for_function("window.MathJax?.startup?.promise !== undefined || !document.querySelector('.math')")
            page.evaluate("window.MathJax?.startup?.promise")
            assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0, name
            raw, done = page.evaluate(
                "[document.querySelectorAll('.math').length, document.querySelectorAll('mjx-container').length]"
            )
            assert raw == 0 or done >= raw, name
            for scheme, width in LOOKS:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 900})
                where = f"{name} ({scheme}, {width} px)"
                comes_true(page, f"document.documentElement.dataset.theme === '{scheme}'", f"{where}: another theme")
                assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1, where
                wide = page.evaluate(WIDE)
                assert [item for item in wide if not item[1]] == [], f"{where}: cut"
                assert wide == [] or width < 1280, f"{where}: wider than its place"
                comes_true(page, f"({UNREACHED})() === 0", f"{where}: a wide table that the keyboard does not reach")
    assert [error for error in errors if "theme mode" not in error] == []  # the theme reports its own first start
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []  # blob: a worker of the lab
