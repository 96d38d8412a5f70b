"""Sweeps at work: killed and resumed to the same bytes, failures marked, memory, GPUs, threads and disks as declared."""

import contextlib
import importlib.util
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest

from tests import support
from tests.support import changed, checking, replaced, write_sweep

POINTS = {"title": "t", "chapter": "tiny", "scale": "smoke", "grid": {"d": [4, 5], "noise": [0.5, 2.0]}}
BUSY = "another run is under way in this folder"


@pytest.fixture(scope="module")
def copy(copy):
    """A copy of the project with a chapter that takes a second."""
    support.with_tiny(copy)
    return copy


def run(copy, file, *more, **settings):
    return support.workflow("sweep", "--cores", "2", "--sweep", file, *more, cwd=copy, **settings)


def declared(copy, resources):
    """The chapter with resources of its own at smoke scale."""
    return changed(copy / "scales.yml", replaced("tiny:\n", f"tiny:\n  resources: {{smoke: {{{resources}}}}}\n"))


def chapter(copy, line):
    """The chapter with one more line behind the check of its parameters."""
    return changed(copy / "notebooks" / "solvable" / "tiny.ipynb", checking(line))


@contextlib.contextmanager
def aside(path):
    """Put a file or folder out of the way for a while."""
    kept = path.rename(path.with_name(f"{path.name}-aside"))
    yield
    kept.rename(path)


@pytest.fixture(scope="module")
def whole(copy):
    """A sweep that nobody disturbed: its file, its folder, its table."""
    file, folder = write_sweep(copy, POINTS), copy / ".build" / "sweeps" / "small"
    done = run(copy, file)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(
        file=file, folder=folder, table=folder / "points.parquet", bytes=(folder / "points.parquet").read_bytes()
    )


def test_a_sweep_keeps_its_notebooks_and_does_nothing_twice(copy, whole):
    assert len(list(whole.folder.rglob("tiny.ipynb"))) == 4
    kept = nbformat.read(whole.folder / "d~4" / "noise~0.5" / "tiny.ipynb", as_version=4)
    injected = next(cell.source for cell in kept.cells if cell.id == "injected-parameters")
    assert {"d = 4", "noise = 0.5"} < set(injected.splitlines())
    assert "due at smoke scale" not in run(copy, whole.file).stderr


def test_a_gathered_table_is_left_where_nothing_could_start(copy, whole):
    card = next((copy / ".build" / "runs").rglob("card.json"))
    with aside(card), changed(copy / "Snakefile", lambda text: "import nothing_of_this_name\n" + text):
        done = run(copy, whole.file)
    assert done.returncode == 2
    why = r"^Snakemake started no job \(ModuleNotFoundError in file .*Snakefile.*\); .*log: \.build/snakemake\.log"
    assert re.search(why, done.stderr, re.M)
    assert whole.table.read_bytes() == whole.bytes


@pytest.mark.skipif(
    not (importlib.util.find_spec("snakemake_storage_plugin_fs") and shutil.which("rsync")),
    reason="Snakemake's storage plugin for folders is not installed (snakemake-storage-plugin-fs, rsync)",
)
def test_runs_that_are_done_already_are_kept_in_a_store(copy, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_STORE", str(tmp_path / "store"))
    done = run(copy, whole.file)
    assert done.returncode == 0, done.stderr
    stored = list((tmp_path / "store" / "tiny").glob("smoke-*.zip"))
    assert len(stored) == 4
    for kept in stored:
        folder = copy / ".build" / "runs" / "tiny" / kept.stem
        with zipfile.ZipFile(kept) as archive:
            assert {Path(name).name for name in archive.namelist()} >= {file.name for file in folder.iterdir()}
            assert archive.read(f"{folder.name}/card.json") == (folder / "card.json").read_bytes()
    monkeypatch.setenv("COLLAPSE_STORE", "nowhere://bucket")
    refused = run(copy, whole.file)
    assert refused.returncode == 2
    assert "COLLAPSE_STORE: no storage plugin that is installed (fs) knows 'nowhere://bucket'" in refused.stderr


def test_killed_again_and_again_a_sweep_ends_with_the_same_bytes(copy, whole, seed):
    """Workers and scheduler are killed at random moments; what an uninterrupted sweep writes is the reference."""
    shutil.rmtree(copy / ".build")
    rng, hits = random.Random(seed), 0
    while hits < int(os.environ.get("KILLS", 2)):
        child = support.started("sweep", "--cores", "2", "--sweep", whole.file, cwd=copy, stderr=subprocess.DEVNULL)
        try:
            child.wait(rng.uniform(2, 8))
        except subprocess.TimeoutExpired:
            hits += kill(child, rng)
        else:
            if child.returncode != 2:  # it was whole before the blow: compared, and everything anew
                assert whole.table.read_bytes() == whole.bytes
                shutil.rmtree(copy / ".build", ignore_errors=True)
    deadline = time.time() + 120
    while (last := run(copy, whole.file)).returncode == 2 and time.time() < deadline:
        assert BUSY in last.stderr  # of a Snakemake whose front was killed
        time.sleep(1)
    assert last.returncode == 0, last.stderr
    assert whole.table.read_bytes() == whole.bytes
    deadline = time.time() + 60  # workers outlive a scheduler; they finish or give up, and leave nothing
    while (left := list((copy / ".build" / "runs").rglob(".*"))) and time.time() < deadline:
        time.sleep(1)
    assert not left


def kill(child, rng):
    """kill -9 of a worker (a job or its kernel), of Snakemake, of the front, or of all; return whether it hit something."""
    victim = rng.choice(["workflow.execute", "ipykernel_launcher", "snakemake", "front", ""])
    below = psutil.Process(child.pid).children(recursive=True)
    if victim == "front":
        child.kill()
        child.wait()
        return bool(below)
    try:
        found = [process for process in below if victim in " ".join(process.cmdline())] if victim else []
        if victim and found:
            rng.choice(found).kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    child.wait(120)
    return True


FATE = (  # of each point by its d: a failed assertion, a dead kernel, a job that can write no file of more than 3000 bytes
    "import os, resource; assert d != 5, 'five'; d != 7 or os.kill(os.getpid(), 9); "
    "d != 17 or resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (3000, 3000))"
)


@pytest.fixture(scope="module")
def troubled(copy):
    """A sweep of four points, three of which go wrong, each in its own way."""
    with chapter(copy, FATE):
        return run(copy, write_sweep(copy, POINTS | {"grid": {"d": [4, 5, 7, 17]}}, "troubled"))


def test_points_that_fail_are_marked_and_the_others_finish(copy, troubled):
    assert troubled.returncode == 1
    (named,) = re.findall(r"Not finished: (.*); the log", troubled.stderr)
    assert re.findall(r"tiny \(.*?d = (\d+).*?\)", named) == ["5", "7", "17"]
    table = pd.read_parquet(copy / ".build" / "sweeps" / "troubled" / "points.parquet")
    assert table["state"].tolist() == ["done", "failed", "failed", "failed"]
    assert table["power"].isna().tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "said",
    [
        r"\(d = 5\): cell 'imports' failed with AssertionError: five",
        r"\(d = 7\): the kernel died, as it does when memory runs out",
        r"could not store the run \(.*\); free some space and rerun",
    ],
)
def test_what_went_wrong_is_said(troubled, said):
    assert re.search(rf"✗ tiny:? {said}", troubled.stderr)


def test_a_point_is_tried_again_as_often_as_asked_with_the_threads_of_its_job(copy, tmp_path):
    """Libraries are asked, not the environment: two threads declared, eight in the user's environment."""
    tried, threads = tmp_path / "tried", tmp_path / "threads"
    line = (
        f"import json, pathlib, threadpoolctl, torch; p = pathlib.Path({str(tried)!r}); n = p.exists(); p.touch(); assert n, 'first'; "
        f"pools = [pool['num_threads'] for pool in threadpoolctl.threadpool_info()]; "
        f"pathlib.Path({str(threads)!r}).write_text(json.dumps([torch.get_num_threads(), *pools]))"
    )
    user = support.environment(copy) | {f"{name}_NUM_THREADS": "8" for name in ("OMP", "MKL", "OPENBLAS")}
    with declared(copy, "threads: 2"), chapter(copy, line):
        done = run(copy, write_sweep(copy, POINTS | {"grid": {"d": [10]}, "retries": 1}, "retried"), env=user)
    assert done.returncode == 0, done.stderr
    assert "failed with AssertionError: first" in done.stderr
    found = json.loads(threads.read_text(encoding="utf-8"))
    assert len(found) >= 3  # torch, a BLAS, an OpenMP
    assert set(found) == {2}


@pytest.mark.parametrize(
    ("resources", "gpus", "marks"),
    [("gpu: 1", 1, "▸✓▸✓"), ("gpu: 1", 2, "▸▸✓✓"), ("mem_mb: 100000000", 2, "▸✓▸✓")],
)
def test_jobs_that_need_all_of_the_gpu_or_of_the_memory_do_not_overlap(copy, resources, gpus, marks):
    file = write_sweep(copy, POINTS | {"grid": {"d": [13, 14], "seed": [10 * gpus + len(resources)]}}, "slots")
    with declared(copy, resources), chapter(copy, "import time; time.sleep(1)"):
        done = run(copy, file, "--gpus", gpus)
    assert "".join(re.findall("[▸✓]", done.stderr)) == marks


def test_a_second_sweep_in_one_folder_is_refused(copy):
    file = write_sweep(copy, POINTS | {"grid": {"d": [6]}}, "first")
    with chapter(copy, "import time; time.sleep(600)"):
        child = support.started("sweep", "--sweep", file, cwd=copy, stderr=subprocess.PIPE, text=True)
        while "started" not in child.stderr.readline():
            assert child.poll() is None
        planned = support.workflow("cost", "--sweep", file, cwd=copy)  # it executes nothing
        second = run(copy, file)
        below = psutil.Process(child.pid).children(recursive=True)
        child.kill()  # the front alone: Snakemake and its jobs go on, and hold the lock
        child.wait()
        third = run(copy, file)
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.stderr.close()
    assert planned.returncode == 0, planned.stderr
    assert (second.returncode, third.returncode) == (2, 2)
    assert BUSY in second.stderr
    assert BUSY in third.stderr
    psutil.wait_procs(below, timeout=60)


def test_a_folder_that_cannot_be_written_is_named(copy):
    file = write_sweep(copy, POINTS | {"grid": {"seed": [1]}, "chapter": "downstream", "fixed": {"d": 10}}, "unwritable")
    (copy / ".build" / "runs").mkdir(parents=True, exist_ok=True)
    with changed(copy / ".build" / "runs" / "downstream", ""):  # a file where a folder should be: an obstacle for root, too
        done = run(copy, file)
    assert done.returncode == 2
    assert re.search(r"^Snakemake started no job \(.*downstream.*\); .*the log: \.build/snakemake\.log", done.stderr, re.M)
    with aside(copy / ".build"), changed(copy / ".build", ""):
        done = run(copy, file)
    assert done.returncode == 2
    assert re.fullmatch(r"workflow: File exists: .*/\.build; nothing was lost, rerun once it is mended\.\n", done.stderr)


def test_a_path_is_the_caller_s_and_the_folder_of_runs_may_lie_on_another_disk(copy, tmp_path):
    write_sweep(copy / "sweeps", POINTS | {"grid": {"d": [8]}}, "relative")
    (copy / ".build").mkdir(exist_ok=True)
    with aside(copy / ".build"):
        (copy / ".build").symlink_to(tmp_path, target_is_directory=True)
        done = run(copy, "sweeps/relative.yml")
        (copy / ".build").unlink()
    (copy / "sweeps" / "relative.yml").unlink()
    assert done.returncode == 0, done.stderr
    assert "1 of 1 points done" in done.stdout
    assert len(list(tmp_path.rglob("card.json"))) == 2  # of the run and of the sweep
