"""What the book draws: parts in their sections, values escaped, a wrong argument refused; and nothing is drawn elsewhere."""

import ast
import re
import subprocess
import sys

import pytest

from collapse_book import scorecard
from collapse_book.drawing import drawn
from collapse_utils import claims
from workflow.cards import ROOT

CONF = f"""import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "book/_ext")!r}]
extensions = ["myst_parser", "sphinxcontrib.bibtex", "collapse_book"]
myst_enable_extensions = ["substitution"]
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
    assert re.search(r"<paragraph>\s+\d+ claims of \d+ papers: ", page)
    parts = r'<section ids="gerstgrasser-et-al-2024" [^>]*>\s+<title>\s+Gerstgrasser et al. \(2024\)\s+<paragraph>\s+<emphasis>'
    assert re.search(parts, page)
    assert page.count("<section ") == 1 + len(list(claims.FOLDER.glob("*.yml")))
    assert re.search(r"<strong>\s+\d+ runs", page)


def test_a_sweep_that_does_not_exist_is_refused_with_the_page_and_the_line(tmp_path):
    _, said = build(tmp_path, "# t\n\n```{sweep} linear_fase\n```\n")
    assert re.search(r"index\.md:3: ERROR: sweep 'linear_fase' must name one of: .*linear_phase", said)


def test_what_a_template_is_given_is_escaped():
    cell = scorecard._cell({"verdict": "holds", "scale": "<b>laptop</b>", "card": None})
    page = drawn(
        "changes.html",
        runs=[
            {
                "chapter": "kde",
                "parameters": "x = '<i>'",
                "verdicts": [{"id": "A", "before": cell, "now": cell, "summary": "1 < 2"}],
            }
        ],
    )
    assert "<small>&lt;b&gt;laptop&lt;/b&gt;</small>" in page
    assert "&lt;i&gt;" in page
    assert "<td>1 &lt; 2</td>" in page
