"""The page *Run it on your table*: its commands do what it says, its reports are what the command writes, its directive draws them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collapse_book import own
from shipped import reports
from tests import support
from tests.book.test_pages import build
from workflow import chapters

PAGE = (support.ROOT / "book" / "own.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.S)


def run(block, place):
    """A block of shell from the page, in a folder of its own, with this Python as `python`."""
    (place / "python").symlink_to(sys.executable)
    environment = support.environment() | {"PATH": f"{place}:/usr/bin:/bin", "VIRTUAL_ENV": sys.prefix}
    environment["PYTHONPATH"] += f":{place}:{Path(np.__file__).parents[1]}"  # the link has no packages of its own
    return subprocess.run(["sh", "-c", block], cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_the_pipeline_of_the_page_is_stopped(tmp_path):
    (block,) = [block for kind, block in BLOCKS if "touch released" in block]
    done = run(block, tmp_path)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^broken: energy_distance > 1\.2 \* null: 0\.\d+ under (replace|accumulate) at fit 3, ", done.stdout, re.M)
    assert (tmp_path / "checked" / "report.html").exists()
    assert not (tmp_path / "released").exists()


def test_the_stranger_s_generator_of_the_page_is_run_and_seen(tmp_path):
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    (block,) = [block for kind, block in BLOCKS if "mine:fit" in block]
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    done = run(block, tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("broken: correlation_largest > 2 * null: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", reports.TABLES)
def test_a_shipped_report_is_what_the_command_writes(name, tmp_path):
    assert reports.write(tmp_path, name) == 1  # each shows a rule that is broken
    made, kept = (pd.read_csv(folder / name / "last.csv") for folder in (tmp_path, own.FOLDER))
    pd.testing.assert_frame_equal(made, kept, rtol=0.02, atol=1e-6)
    rules, before = (json.loads((folder / name / "settings.json").read_text())["rules"] for folder in (tmp_path, own.FOLDER))
    assert [(rule["rule"], rule["holds"]) for rule in rules] == [(rule["rule"], rule["holds"]) for rule in before]
    assert {path.name for path in (tmp_path / name).iterdir()} == {path.name for path in (own.FOLDER / name).iterdir()}


def test_the_page_shows_every_shipped_report():
    assert sorted(re.findall(r"```\{own\} (\w+)", PAGE)) == own.names() == sorted(reports.TABLES)


def test_a_report_on_a_page_has_its_command_its_rules_and_its_panels(tmp_path):
    page, _ = build(tmp_path, "# t\n\n```{own} iris\n```\n")
    settings = json.loads((own.FOLDER / "iris" / "settings.json").read_text())
    assert settings["command"] in re.sub(r" \\\s+", " ", page)
    assert page.count("<tr><td><code>") == len(settings["rules"])
    assert page.count('<img alt="') == len(list((own.FOLDER / "iris").glob("*.svg"))) >= 2
    assert 'href="../data/own/iris/report.html"' in page
    own.copy(tmp_path)
    assert (tmp_path / "data" / "own" / "iris" / "report.html").read_bytes() == (own.FOLDER / "iris" / "report.html").read_bytes()
    with pytest.raises(chapters.ChapterError, match="'irsi' must name a report of shipped/reports: iris, linnerud, wine"):
        own.shown("irsi")
