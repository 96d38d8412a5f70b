"""The site around the pages, in a book of a few of them with the settings of the real one."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
import yaml
from matplotlib.image import imread

from collapse_book import weight
from collapse_book.site import PROJECT, spoken
from tests.book import measure
from workflow import chapters
from workflow.cards import ROOT

PAGES = ["book/verdicts", "book/glossary", "book/references", "book/scorecard", "notebooks/scaling/divisors"]
SITE, REPOSITORY = "https://example.org/collapse", "https://github.com/example/collapse"


def build(home: Path, **settings: str) -> subprocess.CompletedProcess:
    """Build a book of PAGES in home, as the real one is built but for these settings."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = config["sphinx"]
    sphinx["local_extensions"] = {"collapse_book": str(ROOT / "book" / "_ext")}
    sphinx["config"] |= {"html_static_path": [str(ROOT / "book" / "_static")], "suppress_warnings": ["*"]} | settings
    config |= {"bibtex_bibfiles": [str(ROOT / "book" / "references.bib")]}
    config["html"]["favicon"] = str(ROOT / config["html"]["favicon"])
    for page in PAGES:
        source = next(path for ending in (".md", ".ipynb") if (path := ROOT / (page + ending)).exists())
        target = home / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    toc = {"format": "jb-book", "root": PAGES[0], "chapters": [{"file": page} for page in PAGES[1:]]}
    (home / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (home / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    return subprocess.run([program, "build", str(home), "-q"], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The HTML of a book without an address."""
    home = tmp_path_factory.mktemp("plain")
    done = build(home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "_build" / "html"


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """The HTML of a book with both addresses."""
    home = tmp_path_factory.mktemp("public")
    done = build(home, collapse_site=SITE, collapse_repository=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "_build" / "html"


browser = pytest.mark.skipif(measure.CHROMIUM is None, reason="no Chromium on this machine")
SHOWN = "link => getComputedStyle(link, '::after').content"


@contextmanager
def opened(html, name, width=1280):
    """A page in a browser that has no network."""
    with measure.browser() as window:
        page = window.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
        page.goto(f"file://{html}/{name}")
        page.wait_for_function("window.MathJax?.startup?.promise !== undefined || !document.querySelector('.math')")
        page.evaluate("window.MathJax?.startup?.promise")
        yield page


def read(html, page):
    return (html / f"{page}.html").read_text(encoding="utf-8")


def meta(page):
    """{name: content} of what a page says of itself."""
    return dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', page))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_it_is_to_those_who_link_to_it(plain, name):
    page = read(plain, name)
    said = meta(page)
    assert len(said["description"]) >= 40
    assert said["og:description"] == said["twitter:description"] == said["description"]
    title = re.search(r"<title>(.+?) &#8212; Model collapse, line by line</title>", page)[1]
    assert said["og:title"] == said["twitter:title"] == re.sub(r"^[\d.]+ ", "", title)
    assert (plain / name).parent.joinpath(said["og:image"]).resolve() == plain / "_static" / "card.png"
    assert imread(plain / "_static" / "card.png").shape[:2] == (630, 1200)


def test_without_an_address_nothing_claims_one(plain):
    page = read(plain, PAGES[-1])
    assert 'rel="canonical"' not in page
    assert "og:url" not in page
    assert not any(word in page for word in ("colab.", "mybinder.org/v2", "/edit/", "/issues/"))
    assert not (plain / "sitemap.xml").exists()
    assert '<base href="/">' in read(plain, "404")


def test_with_addresses_pages_are_canonical_mapped_edited_and_launched(public):
    page, url = read(public, PAGES[-1]), f"{SITE}/{PAGES[-1]}.html"
    assert f'<link rel="canonical" href="{url}" />' in page
    assert meta(page)["og:url"] == url
    assert meta(page)["og:image"] == f"{SITE}/_static/card.png"
    listed = re.findall("<loc>(.*?)</loc>", (public / "sitemap.xml").read_text(encoding="utf-8"))
    assert set(listed) >= {f"{SITE}/{name}.html" for name in PAGES}
    assert all((public / one.removeprefix(SITE + "/")).exists() for one in listed)
    assert f"Sitemap: {SITE}/sitemap.xml" in (public / "robots.txt").read_text(encoding="utf-8")
    assert '<base href="/collapse/">' in read(public, "404")
    assert f"{REPOSITORY}/edit/main/{PAGES[-1]}.ipynb" in page
    assert f"{REPOSITORY}/issues/new" in page
    assert f"https://colab.research.google.com/github/example/collapse/blob/main/{PAGES[-1]}.ipynb" in page
    assert f"https://mybinder.org/v2/gh/example/collapse/main?urlpath=lab/tree/{PAGES[-1]}.ipynb" in page


def test_a_chapter_says_how_to_cite_it(plain, public):
    box = re.search(r'<details class="cite">.*?</details>', read(plain, PAGES[-1]), re.DOTALL)[0]
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    fields = dict(re.findall(r"^  (\w+) += \{(.*)\},?$", box, re.MULTILINE))
    assert fields["author"] == " and ".join(f"{{{one['name']}}}" for one in cff["authors"])
    assert fields["title"] == meta(read(plain, PAGES[-1]))["og:title"]
    assert fields["note"] == f"Version {cff['version']}, {cff['date-released']}"
    assert "url" not in fields
    assert cff["version"] == PROJECT["version"]
    assert f"  url       = {{{SITE}/{PAGES[-1]}.html}}" in read(public, PAGES[-1])
    assert 'class="cite"' not in read(plain, PAGES[0])


def test_words_of_the_glossary_carry_their_definitions(plain):
    page = read(plain, "book/verdicts")
    links = re.findall(r'<a class="reference internal" href="glossary.html#(term-[^"]+)"( data-meaning="[^"]{20,}")?', page)
    assert len(links) >= 10
    assert all(definition for _, definition in links), links
    assert 'href="glossary.html#term-fit" data-meaning="One training of a model."' in page  # not its sentence with a formula
    assert "data-meaning" not in read(plain, "book/glossary")


@browser
def test_a_definition_shows_in_the_focus_of_the_keyboard_and_stays_on_a_phone(plain):
    with opened(plain, "book/verdicts.html", width=390) as page:
        for link in page.query_selector_all("a[data-meaning]"):
            assert link.evaluate(SHOWN) == "none"
            link.focus()
            assert link.evaluate(SHOWN).strip('"') == link.get_attribute("data-meaning")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def index(html):
    """What a search looks into."""
    return json.loads((html / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(").removesuffix(")"))


def test_a_search_sees_words_captions_claims_and_terms_but_no_code(plain):
    found = index(plain)
    name = PAGES[-1].rpartition("/")[2]
    notebook = nbformat.read(ROOT / f"{PAGES[-1]}.ipynb", as_version=4)
    code = set(re.findall("[a-z]{5,}", "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")))
    text = set(re.findall("[a-z]{5,}", "".join(cell.source for cell in notebook.cells if cell.cell_type != "code").lower()))
    assert "numpy" in code - text
    assert not {"numpy", "import", "feedback_loop"} & set(found["terms"])
    here = found["docnames"].index(PAGES[-1])
    assert here in as_list(found["titleterms"]["divisor"])
    captions = "".join(cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "") for cell in notebook.cells)
    words = set(re.findall("[a-z]{4,}", captions.lower()))
    assert any(word in found["terms"] and here in as_list(found["terms"][word]) for word in words - code)
    for verdict in chapters.published(name, "laptop", "verdicts"):
        assert [here, verdict["id"], "main"][:2] == found["indexentries"][verdict["id"].lower()][0][:2]
    assert "pass rule" in found["indexentries"]


def as_list(value):
    """Where a word stands: one page, or some."""
    return value if isinstance(value, list) else [value]


@browser
def test_a_search_for_a_claim_leads_to_it(plain):
    name = chapters.published("divisors", "laptop", "verdicts")[0]["id"]
    with opened(plain, f"search.html?q={name}") as page:
        first = page.wait_for_selector("#search-results li a")
        assert first.get_attribute("href").startswith(f"{PAGES[-1]}.html")
        assert first.get_attribute("href").endswith(f"#{name}")


@browser
@pytest.mark.parametrize("name", ["notebooks/scaling/divisors", "book/verdicts"])
def test_a_page_loads_little_and_misses_nothing(plain, name):
    with measure.browser() as window:
        found = measure.measured(window, plain, name)
    assert 500 < found["kb"] < 1220
    assert found["errors"] == found["sideways"] == 0
    assert not re.search(r"lab\.(?:js|css)|thebe\.js|fontawesome\.js", read(plain, name))
    with opened(plain, f"{name}.html") as page:
        page.wait_for_selector("mjx-assistive-mml", state="attached")
        assert page.evaluate("document.fonts.check('900 16px \"Font Awesome 6 Free\"', '\uf002')")
        magnifier = page.query_selector(".fa-magnifying-glass")
        assert magnifier.evaluate("one => getComputedStyle(one, '::before').content") == '"\uf002"'


ON_PAPER = """() => ({
  folded: [...document.querySelectorAll('details.hide, details.cite, .toggle-button')].filter(one => one.offsetHeight > 0).length,
  cut: [...document.querySelectorAll('article pre')].filter(one => one.scrollWidth > one.clientWidth + 1).length,
  frames: [...document.querySelectorAll('div.cell_input')].filter(one => getComputedStyle(one).breakInside !== 'avoid').length,
  claims: [...document.querySelectorAll('details.claim > summary')].filter(one => one.offsetHeight > 0).length,
})"""


@browser
def test_what_a_screen_reader_is_told_of_the_theme_and_of_tables_is_put_right(plain):
    pages = {file: file.read_text(encoding="utf-8") for file in plain.rglob("*.html")}
    assert any('id="pst-primary-sidebar" role="region" aria-label="Contents"' in page for page in pages.values())
    for file, page in pages.items():
        assert not re.search(r"doc-biblioentry|<th[^>]*>(<p>)?\s*(</p>)?</th>", page), file
    before = '<table><thead><tr><th></th><th class="head"><p></p></th><th>n</th></tr></thead></table>'
    assert spoken(before) == "<table><thead><tr><td></td><td></td><th>n</th></tr></thead></table>"


def test_on_paper_code_wraps_and_nothing_is_left_that_unfolds(plain):
    with opened(plain, f"{PAGES[-1]}.html", width=700) as page:
        page.emulate_media(media="print")
        found = page.evaluate(ON_PAPER)
    verdicts = chapters.published("divisors", "laptop", "verdicts")
    assert found == {"folded": 0, "cut": 0, "frames": 0, "claims": len(verdicts)}


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        (".a{x:1}.b{x:2}", ".a{x:1}"),
        (".a .b,.a>p:not(.b,.c){x:1}", ".a>p:not(.b,.c){x:1}"),
        ("@media print{.b{x:1}}@media screen{.a{x:1}.b{x:2}}", "@media screen{.a{x:1}}"),
        ("@font-face{src:url(b)}@keyframes b{from{x:1}}", "@font-face{src:url(b)}@keyframes b{from{x:1}}"),
        ("@import 'b';.b{x:1}html[data-b=c]:is(.b) p{x:1}", "@import 'b';html[data-b=c]:is(.b) p{x:1}"),
        (".tip-left{x:1}.tap-left{x:1}", ".tip-left{x:1}"),  # a script may put "tip-" and a side together
    ],
)
def test_rules_of_style_that_cannot_match_are_dropped(css, kept):
    assert weight.pruned(css, {"a", "tip-"}) == kept


def test_an_open_block_of_style_is_refused():
    with pytest.raises(ValueError, match="ends within a block"):
        weight.pruned(".a{x:1", {"a"})


def test_the_missing_page_needs_no_other_file_and_leads_to_pages_that_exist(plain):
    page = read(plain, "404")
    assert not re.search("<(?:link|script|img)", page)
    assert all((plain / target).exists() for target in re.findall('<a href="([^"]+)"', page))


def test_an_address_that_is_none_is_refused(tmp_path):
    done = build(tmp_path, collapse_site="example.org")
    assert done.returncode != 0
    assert "collapse_site must be an address like https://example.org/book" in done.stdout + done.stderr
