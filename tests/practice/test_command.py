"""The command as a process: its report, its exit codes, what it refuses, and what a kill or a full disk leaves."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from collapse_utils.practice import __main__ as command, report, rules
from tests import support
from tests.practice.test_rules import made

SMALL = "--model gaussian --fits 3 --seeds 3 --measures energy moments neighbours --cores 1"


@pytest.fixture
def table(tmp_path):
    """A table of 120 people, as a .csv file."""
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, 120)
    people = pd.DataFrame({"age": age, "pay": 3 * age + rng.normal(0, 10, 120), "job": np.resize(["a", "b", "c"], 120)})
    people.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


def called(*words, capsys=None):
    """Run the command in this process: exit code and what it said on stderr."""
    code = command.main([str(word) for word in words])
    return (code, capsys.readouterr().err) if capsys else code


def process(*words, **how):
    """The command as a process of its own."""
    given = {
        "env": support.environment(),
        "cwd": support.ROOT,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    return subprocess.Popen([sys.executable, "-m", "collapse_utils.practice", *map(str, words)], **given | how)


def test_a_pipeline_stops_by_the_exit_code(table, tmp_path, capsys):
    """0 where the rule holds; 1 where it is broken, with a sentence and the report; and `&&` does not go on."""
    out, words = tmp_path / "own", [table, *SMALL.split(), "--target", "pay", "--out", tmp_path / "own"]
    assert called(*words, "--fail-if", "energy_distance > 50 * null") == 0
    said, progress = capsys.readouterr()
    assert said == f"2 of 2 rules hold; the report: {out}/report.html\n"
    assert progress.endswith("9 of 9 loops\n")
    pipeline = f"'{sys.executable}' -m collapse_utils.practice {' '.join(map(str, words))} --fail-if 'variance_ratio > 0.1' && touch {tmp_path}/trained"
    stopped = subprocess.run(
        ["sh", "-c", pipeline], cwd=support.ROOT, env=support.environment(), capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 1
    assert re.search(
        r"^broken: variance_ratio > 0\.1: \d[\d.]* in column (age|pay) under replace at fit 3, the bound is 0\.100\.$",
        stopped.stdout,
        re.M,
    )
    assert not (tmp_path / "trained").exists()
    assert "0 of 9" not in stopped.stderr  # judged again, not run again
    assert {path.name for path in out.iterdir()} == {"kept", "report.html", "settings.json"} | {
        f"{name}.{end}" for name in ("measures", "null", "last") for end in ("csv", "parquet")
    }
    measures = pd.read_parquet(out / "measures.parquet")
    pd.testing.assert_frame_equal(
        measures, pd.read_csv(out / "measures.csv").assign(column=lambda of: of["column"].fillna("")), check_dtype=False
    )
    assert set(measures["fit"]) == {1, 2, 3}
    rule, _ = json.loads((out / "settings.json").read_text())["rules"]
    assert (rule["rule"], rule["regime"], rule["share"], rule["bound"], rule["holds"]) == (
        "variance_ratio > 0.1",
        "replace",
        None,
        0.1,
        False,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fail-if", "energy_distnce > 2 * null"], "rule: unknown measure 'energy_distnce'; did you mean 'energy_distance'?"),
        (["--fail-if", "mmd is large"], "rule: must read MEASURE OP NUMBER [* null]"),
        (["--fits", "many"], "command: argument --fits: invalid int value: 'many'; --help says what there is."),
        (["--fit", "3", "--sede", "4"], "command: "),
        (["--fits", "0"], "study: n_fits must be at least 1; got 0."),
        (["--seeds", "1"], "study: n_seeds must be at least 2; got 1."),
        (["--regimes", "forget"], "got 'forget'"),
        (["--share", "1.5"], "between 0 and 1; got 1.5"),
        (["--model", "copla"], "got 'copla'"),
        (["--model", "no.such:thing"], "no.such"),
        (["--target", "wage"], "got 'wage'"),
        (["--measures", "energi"], "got 'energi'"),
        (["--missing", "ignore"], "got 'ignore'"),
        (["--cores", "-1"], "--cores must be at least 1; got -1."),
        (["--keep-within", "0.5"], "--keep-within must be a number above 1, the value at the first fit; got 0.5."),
        (["--keep-within", "nan"], "got nan"),
        (["--keep-within", "2", "--loss", "energy"], "got 'energy'; did you mean 'energy_distance'?"),
        (
            ["--keep-within", "2", "--loss", "variance_ratio"],
            "--loss must grow as rows get worse; got variance_ratio, which falls",
        ),
        (["--keep-within", "2", "--loss", "real_test_loss"], "--loss real_test_loss is not measured, it needs a target."),
        (["--keep-within", "2", "--fits", "1"], "--fits must be at least 2; got 1."),
        (["--loss", "mmd"], "--loss mmd is of --keep-within; give both"),
        (
            ["--fail-if", "tail_mass_01 < 0.5 * null"],
            "rule: tail_mass_01 is not measured, it needs the group tails among the measures",
        ),
        (
            ["--measures", "tails", "--fail-if", "tail_mass_1 < 0.5"],
            "tail_mass_1 is not measured, it needs numbers and 100 held-out rows",
        ),
        (
            ["--fail-if", "real_test_loss > 1"],
            "rule: real_test_loss is not measured, it needs the group usefulness among the measures",
        ),
        (
            ["--measures", "usefulness", "--fail-if", "real_test_loss > 1"],
            "rule: real_test_loss is not measured, it needs a target;",
        ),
    ],
)
def test_bad_words_are_refused_in_one_sentence_before_a_loop(table, tmp_path, capsys, words, message):
    code, said = called(table, *SMALL.split(), "--out", tmp_path / "own", *words, capsys=capsys)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty file"),
        ("age,pay\n", "got 0 rows of 2 columns"),
        ("age,pay\n1,2\n", "at least 20 rows"),
        ("age;pay\n" + "1,5;2\n3;4\n" * 20, "must have a name for each cell"),
        (
            ",age\n" + "0,2\n1,4\n" * 20,
            "column 1 must have a name; got ''; give it one, or, if it numbers the rows, leave it out.",
        ),
        ("age,age\n" + "1,2\n3,4\n" * 20, "age"),
        ("age,pay\n" + "1,2\n3,\n" * 20, "missing"),
        ("age,pay\n" + "1,2\n3,inf\n" * 20, "column pay must be finite; got inf"),
        ("age,pay\n" + "1,7\n3,7\n" * 20, "column pay must vary; got"),
        ("age,day\n" + "1,2026-01-31\n3,2026-02-01\n" * 20, "column day holds dates"),
        ("age,job\n" + "1,a\n3,b\n" * 20 + "5,c\n", "column job has the category 'c' once"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence_before_a_fit(tmp_path, capsys, content, message):
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    code, said = called(tmp_path / "bad.csv", *SMALL.split(), "--out", tmp_path / "own", capsys=capsys)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "own").exists()


def test_a_killed_run_goes_on_and_ends_with_the_same_values(table, tmp_path):
    words = [table, "--model", "copula", "--fits", 3, "--seeds", 4, "--cores", 1, "--measures", "energy", "classifier", "--out"]
    killed = process(*words, tmp_path / "killed", start_new_session=True)
    done, began = tmp_path / "killed" / "kept" / "done", time.monotonic()
    while not (done.is_dir() and len(list(done.glob("*.parquet"))) >= 2) and time.monotonic() < began + 120:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in done.glob("*.parquet")}
    assert 2 <= len(kept) < 12
    assert not (tmp_path / "killed" / "report.html").exists()
    assert called(*words, tmp_path / "killed") == called(*words, tmp_path / "whole") == 0
    for name in ("measures.parquet", "null.csv", "last.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {name: (done / name).stat().st_mtime_ns for name in kept} == kept


def test_a_folder_of_another_study_is_refused(table, tmp_path, capsys):
    assert called(table, *SMALL.split(), "--out", tmp_path / "own", capsys=capsys)[0] == 0
    code, said = called(table, *SMALL.split(), "--fits", 2, "--out", tmp_path / "own", capsys=capsys)
    assert code == 2
    assert said == f"report: {tmp_path}/own/kept holds another study; choose another --out, or remove that folder.\n"


def test_a_folder_that_cannot_be_written_is_named(table, tmp_path, capsys):
    code, said = called(table, *SMALL.split(), "--out", table / "own", capsys=capsys)
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith(f"report: cannot write {table}/own/kept (Not a directory); free some space or choose another --out, ")


def test_a_full_disk_keeps_what_is_there(tmp_path):
    """A limit on the size of a file stands for the disk: the page of before stays, and no half of a new one."""
    study = made({("energy_distance", ""): lambda fit, _: fit}, {("energy_distance", ""): 1.0})
    page = report.write(study, tmp_path, rules.judged(study, []), "first")
    before = page.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            report.put(page, b"x" * len(before))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert page.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_disk_error_of_the_report_is_one_sentence(table, tmp_path, capsys, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(report, "put", full)
    code, said = called(table, *SMALL.split(), "--out", tmp_path / "own", capsys=capsys)
    assert code == 2
    assert said.splitlines()[-1] == (
        f"report: cannot write {tmp_path}/own/measures.parquet (No space left on device); free some space or choose another --out, "
        "and run it again: finished loops are kept."
    )


def test_progress_says_how_long_the_rest_takes(monkeypatch):
    class Terminal(list):
        write, flush, tty = list.append, lambda self: None, False

        def isatty(self):
            return self.tty

    now = iter([0.0, 0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(now))
    said = Terminal()
    progress = command.Progress(said)
    for done in (4, 6, 8, 10):  # four were there already: the pace is that of the others
        progress(done, 10)
    assert "".join(said) == "4 of 10 loops\n6 of 10 loops, 20 s left\n8 of 10 loops, 10 s left\n10 of 10 loops\n"
    assert [command._duration(seconds) for seconds in (5, 600, 9000)] == ["5 s", "10 min", "2.5 h"]


def test_the_smallest_share_is_found_or_said_not_to_be(table, tmp_path, monkeypatch):
    """In memory: a search keeps its loops in the folder, which takes longer than these do."""
    plain = command.smallest_share
    monkeypatch.setattr(command, "smallest_share", lambda *given, folder, **how: plain(*given, **how))
    words = [
        table,
        "--model",
        "gaussian",
        "--fits",
        5,
        "--seeds",
        8,
        "--measures",
        "start",
        "--cores",
        1,
        "--loss",
        "drift",
        "--out",
    ]
    assert called(*words, tmp_path / "own", "--keep-within", 2.5) == 0
    share = json.loads((tmp_path / "own" / "settings.json").read_text())["share"]
    assert 0 < share["share"] < 1
    assert 0 < share["theory"] < 1
    assert "of the rows real in every round, drift at fit 5 is 2.5 times" in (tmp_path / "own" / "report.html").read_text()
    assert called(*words, tmp_path / "own", "--keep-within", 1e6) == 0
    assert (
        "None: without a real row drift at fit 5 stays within"
        in json.loads((tmp_path / "own" / "settings.json").read_text())["share"]["words"]
    )
