"""What the book draws: parts in their sections, values escaped, a wrong argument refused; and nothing is drawn elsewhere."""

import ast
import re
import subprocess
import sys

import pytest

from collapse_book import chapter as page, scorecard
from collapse_book.drawing import drawn
from collapse_utils import claims
from workflow import chapters
from workflow.cards import ROOT

CONF = f"""import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "book/_ext")!r}]
extensions = ["myst_parser", "sphinxcontrib.bibtex", "collapse_book"]
myst_enable_extensions = ["substitution", "colon_fence", "dollarmath"]
bibtex_bibfiles = [{str(ROOT / "book/references.bib")!r}]
html_title = "t"
"""
TAG = re.compile(
    r"</?(?:a|b|br|code|details|div|figure|h[1-6]|i|img|li|p|small|span|style|summary|t[dhr]|table|tbody|thead|ul)\b[^<]*>"
)


def tags(source):
    """The HTML tags in the text of Python source, docstrings left out."""
    tree = ast.parse(source)
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
    spoken = {id(node.body[0].value) for node in blocks if isinstance(node.body[0], ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in spoken]
    return [tag for text in texts if isinstance(text, str) for tag in TAG.findall(text)]


@pytest.mark.parametrize("path", sorted((ROOT / "workflow").glob("*.py")), ids=lambda path: path.name)
def test_the_workflow_writes_no_html(path):
    assert tags(path.read_text(encoding="utf-8")) == []


def test_html_in_a_string_is_seen():
    assert tags("""f'<td class="verdict {word}">{word}<br></td>'""") == ["<br>", "</td>"]
    assert tags("'''Write results/<scale>/<name>.json.'''\nx = 'a < b'") == []


def build(folder, text):
    """The page of a book of one page as docutils' XML, and what Sphinx complains about."""
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    (folder / "index.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "pseudoxml", str(folder), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (folder / "out" / "index.pseudoxml").read_text(encoding="utf-8"), done.stderr


def test_directives_put_tables_into_sections_and_read_the_text_between_as_markdown(tmp_path):
    page, _ = build(tmp_path, "# t\n\n{{ summary }}\n\n```{scorecard}\n```\n\n```{sweep} linear_phase\n```\n")
    assert re.search(r"<paragraph>\s+Of \d+ claims of \d+ papers we judged \d+: ", page)
    parts = r'<section ids="gerstgrasser-et-al-2024" [^>]*>\s+<title>\s+Gerstgrasser et al. \(2024\)\s+<paragraph>\s+<emphasis>'
    assert re.search(parts, page)
    assert page.count("<section ") == 1 + len(list(claims.FOLDER.glob("*.yml")))
    assert re.search(r"<strong>\s+\d+ runs", page)


def test_a_sweep_that_does_not_exist_is_refused_with_the_page_and_the_line(tmp_path):
    _, said = build(tmp_path, "# t\n\n```{sweep} linear_fase\n```\n")
    assert re.search(r"index\.md:3: ERROR: sweep 'linear_fase' must name one of: .*linear_phase", said)


def test_a_number_of_a_run_may_stand_on_any_page(tmp_path):
    page, said = build(tmp_path, "# t\n\n{result}`linear_models:acc-last` times\n")
    number = chapters.published("linear_models", chapters.PUBLISHED, "numbers")["acc-last"]["text"]
    assert re.search(rf'<inline classes="result">\s+{re.escape(number)}\s', page)
    _, said = build(tmp_path, "# t\n\n{result}`linear_models:acc-lats` times\n")
    assert "index: 'linear_models:acc-lats' is no number of a chapter; write name:key." in said


def test_a_figure_of_a_chapter_may_stand_on_any_page(tmp_path):
    page, _ = build(tmp_path, "# t\n\n```{headline} linear_models figure-paths\n```\n")
    assert re.search(r'<img alt="[^"]{40,}" src="data/linear_models/figure-paths[^"]*"', page)
    assert "Dashed: theory" in page  # its caption


def test_a_finding_names_a_cell_with_a_figure(tmp_path):
    (tmp_path / "pages").mkdir()
    page = "# t\n\n:::{{finding}} {}\nWhy?\n\nTherefore.\n\nKeep it.\n:::\n\n```{{verdicts}}\n```\n"
    (tmp_path / "pages" / "kde.md").write_text(page.format("figure-moments"), encoding="utf-8")
    build(tmp_path, "# t\n")
    found = (tmp_path / "out" / "pages" / "kde.pseudoxml").read_text(encoding="utf-8")
    order = ["Why?", "Therefore.", 'class="panels"', "Keep it.", 'class="chips"', 'id="KAZ-3a"', "Holds if:"]
    assert sorted(order, key=found.index) == order
    assert found.count('<details class="claim"') == len(chapters.published("kde", chapters.PUBLISHED, "verdicts"))
    (tmp_path / "pages" / "kde.md").write_text(page.format("experiment"), encoding="utf-8")
    assert "finding: 'experiment' is no cell of kde with a figure." in build(tmp_path, "# t\n")[1]


def test_pictures_are_files_beside_the_data():
    for chapter in chapters.chapters():
        found = page.pictures(chapter)
        assert found, chapter
        for cell, panels in found.items():
            assert all(
                one.name.startswith(cell) and one.width > 50 and one.content[:5] in (b"<?xml", b"\x89PNG\r") for one in panels
            )


def test_what_a_template_is_given_is_escaped():
    cell = scorecard._cell({"verdict": "holds", "scale": "<b>laptop</b>", "card": None})
    page = drawn(
        "changes.html",
        runs=[
            {
                "chapter": "kde",
                "parameters": "x = '<i>'",
                "verdicts": [{"id": "A", "before": cell, "now": cell, "said": "1 < 2"}],
            }
        ],
    )
    assert "<small>&lt;b&gt;laptop&lt;/b&gt;</small>" in page
    assert "&lt;i&gt;" in page
    assert "<td>1 &lt; 2</td>" in page
