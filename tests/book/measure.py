"""What a reader meets on every page of the built book, measured in a browser without a network, as a table in Markdown.

`python -m tests.book.measure _build/html` measures every page; names of pages after it, only these. Of axe (accessibility)
nothing is said unless its script is given: `--axe axe.min.js`.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workflow import pdf

CHROMIUM = pdf.chromium()
OPTIONS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
SCREENS = {"wide": 1280, "narrow": 390}  # pixels
HEIGHT = 900
PICTURES = (".png", ".svg")
COLUMNS = {
    "screens": "screens 1280 / 390",
    "figure": "first figure (screen; 1.0 is the top of the page)",
    "takeaway": "first takeaway (%)",
    "code": "visible code (lines)",
    "cut": "cut code / equations",
    "sideways": "scrolls sideways (px at 390)",
    "kb": "kB, pictures apart",
    "errors": "missing files, formulas with errors",
    "axe": "axe",
}
LOOK = """() => {
  const article = document.querySelector('article'), whole = article.getBoundingClientRect();
  const from = element => element ? element.getBoundingClientRect().top + scrollY : null;
  const shown = [...article.querySelectorAll('.cell_input pre')].filter(pre => pre.offsetHeight > 0 && pre.checkVisibility());
  const cut = (box, inner) => box.scrollWidth > box.clientWidth + 1 || (inner && inner.scrollWidth > box.clientWidth + 1);
  return {
    height: document.documentElement.scrollHeight,
    figure: from([...article.querySelectorAll('.panels, figure, .lab svg')].find(one => one.getBoundingClientRect().height > 0)),
    takeaway: ((at, top) => at === null ? null : (at - top) / whole.height)(from(article.querySelector('.takeaway')), whole.top + scrollY),
    code: shown.reduce((lines, pre) => lines + pre.textContent.trimEnd().split('\\n').length, 0),
    cutCode: shown.filter(pre => cut(pre)).length,
    cutMath: [...article.querySelectorAll('div.math mjx-container')].filter(box => cut(box, box.querySelector('mjx-math'))).length,
    sideways: Math.max(0, document.documentElement.scrollWidth - innerWidth),
    errors: document.querySelectorAll('mjx-merror').length,
  };
}"""


@contextmanager
def browser() -> Iterator:
    """Chromium without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS.split())
        yield window
        window.close()


def look(window, path: Path, width: int, axe: str = "") -> dict:
    """Return what stands where on a page that is width pixels wide."""
    context = window.new_context(viewport={"width": width, "height": HEIGHT}, offline=True)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{path}")
    page.wait_for_function("window.MathJax?.startup?.promise !== undefined || !document.querySelector('.math')")
    page.evaluate("window.MathJax?.startup?.promise")
    page.evaluate("document.fonts.ready")
    found = page.evaluate(LOOK) | {"files": {Path(unquote(urlsplit(url).path)) for url in asked if url.startswith("file:")}}
    if axe:
        page.evaluate(axe)
        violations = page.evaluate("axe.run().then(said => said.violations.map(one => [one.id, one.nodes.length]))")
        found["axe"] = ", ".join(f"{name} {count}" for name, count in violations) or "none"
    context.close()
    return found


def measured(window, html: Path, name: str, axe: str = "") -> dict:
    """Return the measures of a page, by the names of COLUMNS."""
    path = (html / f"{name}.html").resolve()
    wide, narrow = (look(window, path, width, axe if width == SCREENS["wide"] else "") for width in SCREENS.values())
    files = {file.resolve() for file in wide["files"]}
    there = [file for file in files if file.exists()]
    at = {"figure": wide["figure"] and wide["figure"] / HEIGHT + 1, "takeaway": wide["takeaway"] and 100 * wide["takeaway"]}
    return {
        "screens": (wide["height"] / HEIGHT, narrow["height"] / HEIGHT),
        **at,
        "code": wide["code"],
        "cut": (wide["cutCode"], wide["cutMath"]),
        "sideways": narrow["sideways"],
        "kb": sum(file.stat().st_size for file in there if file.suffix not in PICTURES) / 1000,
        "errors": len(files) - len(there) + wide["errors"],
        "axe": wide.get("axe", "not measured"),
    }


def pages(html: Path) -> list[str]:
    """Return the names of the pages of a built book that have an article, those for old addresses left out."""
    found = [path for top in ("book", "notebooks") for path in sorted((html / top).rglob("*.html"))]
    return [str(path.relative_to(html).with_suffix("")) for path in found if "<article" in path.read_text(encoding="utf-8")]


def table(rows: dict[str, dict]) -> str:
    """Return {page: measures} as a table in Markdown."""
    lines = [["page", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    lines += [[name, *(_text(row[column]) for column in COLUMNS)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value) -> str:
    """A measure as it stands in the table."""
    if isinstance(value, tuple):
        return " / ".join(_text(one) for one in value)
    return "–" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def main(arguments: list[str]) -> int:
    """Print the table; return 1 where there is no built book or no browser."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("html", type=Path, help="the folder of the built book, for example _build/html")
    parser.add_argument("pages", nargs="*", help="names of pages, for example book/intro; if none, all")
    parser.add_argument("--axe", type=Path, help="the script of axe-core")
    said = parser.parse_args(arguments)
    names = said.pages or pages(said.html)
    absent = [name for name in names if not (said.html / f"{name}.html").exists()]
    if absent or not names or CHROMIUM is None:
        why = "no Chromium on this machine" if CHROMIUM is None else f"no page {absent[0]!r}" if absent else "no pages"
        print(f"measure: {why} (looked in {str(said.html)!r}); build the book with `make read`.", file=sys.stderr)
        return 1
    axe = said.axe.read_text(encoding="utf-8") if said.axe else ""
    with browser() as window:
        print(table({name: measured(window, said.html, name, axe) for name in names}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
