"""The measures of the built book, of three of its pages; and that the measuring sees what it is to see."""

import subprocess
import sys

import pytest

from tests.book import measure
from workflow.cards import ROOT

HTML = ROOT / "_build" / "html"
browser = pytest.mark.skipif(measure.CHROMIUM is None, reason="no Chromium on this machine")
LONG = "x" * 400
PAGE = f"""<!doctype html><meta charset=utf-8><style>body {{ margin: 0 }} pre {{ overflow: auto; width: 200px }}</style>
<link rel=stylesheet href=gone.css><article><div class=panels hidden></div><div style="height: 900px"></div>
<div class=panels style="height: 450px"></div><div class=takeaway style="height: 450px"></div>
<div class=cell_input><pre>{LONG}\ntwo</pre></div><details><summary>s</summary><div class=cell_input><pre>three</pre></div></details>
<div style="width: 500px">wide</div></article>"""


@browser
def test_the_measures_are_those_of_a_page_that_is_known(tmp_path):
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    with measure.browser() as window:
        found = measure.measured(window, tmp_path, "page")
    assert found["figure"] == 2
    assert 50 < found["takeaway"] < 75
    assert found["code"] == 2  # what is folded is not counted
    assert found["cut"] == (1, 0)
    assert found["sideways"] == 500 - 390
    assert found["errors"] == 1  # gone.css


@browser
@pytest.mark.skipif(not HTML.exists(), reason="no built book: `make read` builds it")
def test_pages_of_the_built_book_are_light_whole_and_fit_a_phone():
    names = ["book/intro", "notebooks/solvable/linear_models", "notebooks/scaling/tails"]
    with measure.browser() as window:
        rows = {name: measure.measured(window, HTML, name) for name in names}
    for name, row in rows.items():
        assert row["kb"] < 1400, name
        assert row["errors"] == row["sideways"] == row["cut"][1] == 0, name
    assert measure.table(rows).count("\n") == 1 + len(names)


def test_a_page_that_does_not_exist_is_named():
    command = [sys.executable, "-m", "tests.book.measure", str(HTML), "book/intor"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "measure: no" in done.stderr
