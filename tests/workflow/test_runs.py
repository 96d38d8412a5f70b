"""A chapter's run from the command to the verdicts: failing cells, a bent theory, a full disk, a kill, Snakemake alone."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests import support
from tests.support import changed, checking, replaced, workflow
from workflow import chapters, costs, definitions, files, power, publish, sweeps


@pytest.fixture(scope="module")
def copy(copy):
    """A copy of the project with a chapter that takes a second."""
    support.with_tiny(copy)
    return copy


@pytest.fixture(autouse=True)
def _fresh(copy):
    yield
    shutil.rmtree(copy / ".build", ignore_errors=True)


def cards(copy):
    return list((copy / ".build" / "runs").rglob("card.json"))


def test_a_failing_cell_is_named_and_the_others_keep_their_results(copy):
    notebook = copy / "notebooks" / "solvable" / "linear_models.ipynb"
    with changed(notebook, replaced("labels.append(x @ w", "labels.append(x @ ww")):
        done = workflow("run", "--chapter", "linear_models,tiny", cwd=copy)
    assert done.returncode == 1
    assert "cell 'theorem-1' failed with NameError" in done.stderr
    assert len(list((copy / ".build" / "failed").glob("linear_models-smoke-*.ipynb"))) == 1
    assert [card.parents[1].name for card in cards(copy)] == ["tiny"]


def test_a_theory_bent_by_ten_per_cent_fails_and_is_reported(copy):
    law = copy / "collapse_utils" / "theory" / "linear.py"
    with changed(law, replaced("return noise**2 * d /", "return 1.1 * noise**2 * d /")):
        done = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert done.returncode == 1
    assert re.search(r"GER-1 +fails", done.stdout)
    assert re.search(r"GER-2a: committed as holds, now fails", done.stderr)


def test_a_docstring_reruns_nothing_and_code_does(project):
    law = project / "collapse_utils" / "solvable" / "linear.py"

    def key(change=lambda text: text):
        with changed(law, change):
            definitions.package.cache_clear()
            chapters.load.cache_clear()
            return chapters.plan("linear_models", "smoke").key

    assert key() == key(replaced('"""Return', '"""Give back'))
    assert key() != key(replaced("np.matvec(np.linalg.pinv(x), y)", "np.matvec(1 * np.linalg.pinv(x), y)"))


def test_a_chapter_is_read_once_for_its_plan_its_costs_and_its_sweep(monkeypatch):
    opened, notebook = [], files.notebook
    monkeypatch.setattr(files, "notebook", lambda path: opened.append(path) or notebook(path))
    chapters.load.cache_clear()
    (run,) = chapters.planned("smoke", "linear_models", "d=8 seed=3")
    assert costs.expect(run) is not None
    assert power.seconds(run, {"n_replicates": 2000}) > 0
    assert len(sweeps.plans(sweeps.read("linear_phase"))) > 20
    assert opened == [chapters.source("linear_models")]


def test_what_is_published_is_read_anew(project):
    before = chapters.load("tails")
    run = chapters.Run("tails", "laptop", {}, False, "0")
    shutil.copytree(project / "results" / "laptop" / "tails", run.folder)
    executed = chapters.read("tails")
    executed.metadata["collapse"]["date"] = "2001-01-01"
    nbformat.write(executed, run.folder / "executed.ipynb")
    publish.publish(run)
    assert chapters.load("tails").notebook.metadata["collapse"]["date"] == "2001-01-01"
    assert before.notebook.metadata["collapse"]["date"] != "2001-01-01"


def test_a_full_disk_gives_one_sentence_and_no_half_written_run(copy):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    big = "from IPython.display import display; display('x' * 20_000)"
    with changed(copy / "notebooks" / "solvable" / "tiny.ipynb", checking(big)):
        done = workflow("run", "--chapter", "tiny", cwd=copy, preexec_fn=small_files)
    assert done.returncode != 0
    assert "free some space and rerun" in done.stderr + (copy / ".build" / "snakemake.log").read_text()
    assert not cards(copy)


def test_killed_in_mid_run_a_rerun_completes(copy, tmp_path):
    waits = (
        f"import pathlib, time; p = pathlib.Path({str(tmp_path / 'begun')!r}); n = p.exists(); p.touch(); n or time.sleep(600)"
    )
    with changed(copy / "notebooks" / "solvable" / "tiny.ipynb", checking(waits)):
        child = support.started("run", "--chapter", "tiny", cwd=copy, stderr=subprocess.DEVNULL)
        while not (tmp_path / "begun").exists():
            assert child.poll() is None
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert not cards(copy)
        again = workflow("run", "--chapter", "tiny", cwd=copy)
    assert again.returncode == 0, again.stderr
    assert len(cards(copy)) == 1
    assert not list((copy / ".build" / "runs").glob("*/.*"))


def test_the_plain_snakemake_command_works(copy):
    """As a user types it: no PYTHONPATH, and values that the command line reads as numbers."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("snakemake")), "-c1", "--config", f"chapter={number()}", "scale=smoke"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [card.parents[1].name for card in cards(copy)] == ["tiny"]


def number():
    """The number of the chapter `tiny` in the copy's book: it stands behind linear_models."""
    return chapters.chapters().index("linear_models") + 2
