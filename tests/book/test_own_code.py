"""The programs of *Use the loop in your own code*: each runs as it is printed, and prints what the page says."""

import os
import re
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import support
from workflow.cards import ROOT

PAGE = (ROOT / "book" / "loop.md").read_text(encoding="utf-8")
PROGRAM = re.compile(r"^```python\n(# (\w+)\.py\n.*?)^```\n\n```text\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAMS = {name: (code, output) for code, name, output in PROGRAM.findall(PAGE)}
PROCESSES = ("seeds", "overnight")  # start or are processes of their own
NUMBER = re.compile(r"-?\d+\.?\d*")


@pytest.fixture
def folder(tmp_path):
    """A folder with the programs of the page."""
    for name, (code, _) in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    return tmp_path


def same(said, shown):
    """Whether two outputs have the same words, and numbers that differ by a fiftieth at most, or in their last digit."""
    assert NUMBER.sub("#", said).split() == NUMBER.sub("#", shown).split(), said
    digit = [10.0 ** -len(number.partition(".")[2]) for number in NUMBER.findall(shown)]
    said, shown = (np.array(NUMBER.findall(text), float) for text in (said, shown))
    assert (np.abs(said - shown) <= np.maximum(0.02 * np.abs(shown), 1.01 * np.array(digit))).all(), said


def python(name, folder):
    """The words that run a program in its folder."""
    return {"args": [sys.executable, f"{name}.py"], "cwd": folder, "env": support.environment(), "text": True}


def test_every_program_of_the_page_is_run():
    assert len(PROGRAMS) == PAGE.count("```python") == PAGE.count("```text") == 6
    assert set(PROCESSES) < set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_short(name):
    lines = [line for line in PROGRAMS[name][0].splitlines()[1:] if line.strip()]
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 110
    if name == "wine":
        assert len([line for line in lines if not re.match("import|from", line)]) <= 12


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in PROCESSES])
def test_a_program_prints_what_the_page_shows(name, folder, capsys):
    runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")
    same(capsys.readouterr().out, PROGRAMS[name][1])


def test_seeds_run_side_by_side(folder):
    done = subprocess.run(**python("seeds", folder), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    same(done.stdout, PROGRAMS["seeds"][1])


def test_a_program_killed_in_mid_run_goes_on_and_prints_the_same(folder):
    """kill -9 to the process itself, after three fits; what they left is read, not computed again."""
    struck = subprocess.Popen(**python("overnight", folder), stdout=subprocess.PIPE)
    until = time.monotonic() + 120
    while not (folder / "kept" / "0002-model").exists():
        assert struck.poll() is None, "it ended before it was struck"
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(struck.pid, signal.SIGKILL)
    said, _ = struck.communicate()
    assert (said, struck.returncode) == ("", -signal.SIGKILL)
    steps = {path: path.stat().st_mtime_ns for path in (folder / "kept").glob("0*/model")}
    assert 3 <= len(steps) < 10
    done = subprocess.run(**python("overnight", folder), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    same(done.stdout, PROGRAMS["overnight"][1])
    assert all(path.stat().st_mtime_ns == before for path, before in steps.items())
    assert len(list((folder / "kept").glob("0*-model"))) == 10


@pytest.mark.parametrize(
    ("said", "shown"), [("a [1.30]", "a [1.25]"), ("a [1.25 2.00]", "a [1.25]"), ("b [1.25]", "a [1.25]"), ("a 0.019", "a 0.017")]
)
def test_another_output_is_seen(said, shown):
    with pytest.raises(AssertionError):
        same(said, shown)


def test_a_last_digit_may_differ():
    same("a [0.018 15.92]", "a [0.017 15.89]")
