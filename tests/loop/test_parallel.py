"""Jobs side by side: order, errors, threads and environment, and what remains when a worker or the caller is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from collapse_utils import parallel
from workflow import chapters, execute

THREADED = "from threadpoolctl import threadpool_info; import numpy; numpy.ones((9, 9)) @ numpy.ones((9, 9))"


def pid(*job):
    return os.getpid()


def alive(group):
    """The processes of a group that have not ended; zombies, which wait to be reaped, have."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def soon(holds, seconds=30):
    """Whether a condition comes to hold."""
    until = time.monotonic() + seconds
    while not (now := holds()) and time.monotonic() < until:
        time.sleep(0.05)
    return now


def test_results_come_in_the_order_of_the_jobs(tmp_path):
    """The first job ends after the second, which it waits for: so they also run side by side."""

    def work(place, name):
        mark = tmp_path / "second is done"
        if place == 0:
            while not mark.exists():
                time.sleep(0.01)
        mark.touch()
        return place, name, os.getpid()

    found = parallel.each(work, [(0, "a"), (1, "b"), (2, "c")], 2)
    assert [row[:2] for row in found] == [(0, "a"), (1, "b"), (2, "c")]
    assert found[0][2] != found[1][2]
    assert os.getpid() not in {row[2] for row in found}


def test_one_process_is_the_caller_and_none_is_refused():
    assert parallel.each(pid, [(1,), (2,)], 1) == [os.getpid()] * 2
    assert parallel.each(pid, [], 1) == parallel.each(pid, [], 2) == []
    for processes in (0, -1):
        with pytest.raises(ValueError, match=f"processes must be at least 1; got {processes}"):
            parallel.each(pid, [(1,)], processes)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_keeps_its_type_and_text(processes):
    def work(place):
        if place == 1:
            raise KeyError(f"row {place} has no label")

    with pytest.raises(KeyError, match="row 1 has no label"):
        parallel.each(work, [(0,), (1,), (2,)], processes)


def test_after_an_error_nothing_more_begins(tmp_path):
    """Two of forty are under way when the first fails; the executor has handed out one or two more."""

    def work(place):
        (tmp_path / str(place)).touch()
        if place == 0:
            raise ArithmeticError("as told")
        time.sleep(0.5)

    with pytest.raises(ArithmeticError, match="as told"):
        parallel.each(work, [(place,) for place in range(40)], 2)
    begun = len(list(tmp_path.iterdir()))
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) == begun <= 6


def test_an_error_that_the_caller_alone_knows_comes_back():
    class Refused(Exception):
        pass

    def work(place):
        raise Refused(f"place {place}", lambda: place)  # pickle knows neither the class nor the function

    with pytest.raises(Refused, match="place 1"):
        parallel.each(work, [(1,), (2,)], 2)


def test_a_chapter_uses_the_threads_of_its_job(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (parallel.cores(), parallel.cores("cuda")) == (3, 1)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert parallel.cores() == os.cpu_count()


def test_a_killed_worker_ends_the_call(tmp_path):
    """As the system kills where memory runs out: an error, not a call that waits for ever, and no other worker is left."""

    def work(place):
        (tmp_path / str(os.getpid())).touch()
        if place == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(120)

    with pytest.raises(BrokenProcessPool, match="terminated abruptly") as caught:
        parallel.each(work, [(0,), (1,), (2,)], 2)
    assert "\n" not in str(caught.value)
    pids = [int(file.name) for file in tmp_path.iterdir()]
    assert soon(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_a_killed_worker_is_named_by_the_workflow(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"display_name": "", "language": "python", "name": "python3"}})
    notebook.cells = [
        nbformat.v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import os\nfrom collapse_utils.parallel import each\neach(lambda _: os.kill(os.getpid(), 9), [(1,), (2,)], 2)",
            id="experiment",
        ),
    ]
    nbformat.write(notebook, tmp_path / "linear_models.ipynb")
    run = chapters.Run("linear_models", "smoke", {}, False, "0")
    monkeypatch.setattr(chapters, "source", lambda chapter: tmp_path / f"{chapter}.ipynb")
    monkeypatch.setattr(chapters, "at_scale", lambda *_: {})
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "BUILD", tmp_path / "build")
    with pytest.raises(execute.ExecutionError) as caught:
        execute._papermill(run, tmp_path)
    first, *rest = str(caught.value).splitlines()
    assert "cell 'experiment' failed, because one of its processes was killed, as happens when memory runs out" in first
    assert len(rest) == 1


def test_a_killed_caller_leaves_no_process(tmp_path):
    """SIGKILL while two jobs sleep for minutes: the workers see the caller's end and end too, as does all else that it started."""
    code = f"""
import pathlib, time
from collapse_utils import parallel
def work(name):
    pathlib.Path({str(tmp_path)!r}, name).touch()
    time.sleep(300)
parallel.each(work, [("a",), ("b",), ("c",)], 2)
"""
    caller = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        assert soon(lambda: sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"], 120)
        assert len(alive(caller.pid)) > 2
        caller.kill()
        caller.wait()
        assert soon(lambda: not alive(caller.pid))
    finally:
        for process in alive(caller.pid):
            process.kill()


def test_a_worker_has_one_thread_and_the_caller_its_environment_back(monkeypatch):
    def threads(_):
        scope = {}
        exec(THREADED, scope)
        return [os.environ[name] for name in parallel.THREADS], [pool["num_threads"] for pool in scope["threadpool_info"]()]

    def fails(_):
        raise RuntimeError("as told")

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    for names, pools in parallel.each(threads, [(0,), (1,)], 2):
        assert names == ["1", "1", "1"]
        assert set(pools) == {1}
    assert dict(os.environ) == before
    with pytest.raises(RuntimeError, match="as told"):
        parallel.each(fails, [(0,), (1,)], 2)
    assert dict(os.environ) == before


def test_a_notebook_s_own_functions_and_what_they_close_over():
    code = """
from dataclasses import dataclass
from functools import partial
import numpy as np
from collapse_utils.parallel import each

scale = 3

@dataclass
class Arm:
    name: str

def chain(arm, start):
    return arm.name, (scale * np.arange(start, start + 2)).tolist()

jobs = [(Arm("replace"), 0), (Arm("accumulate"), 5)]
print(each(chain, jobs, 2), each(partial(chain, Arm("both")), [(1,), (2,)], 2), each(lambda x: x + scale, [(1,), (2,)], 2))
"""
    metadata = {"kernelspec": {"display_name": "", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code.strip())], metadata=metadata)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert notebook.cells[0].outputs[0].text.strip() == (
        "[('replace', [0, 3]), ('accumulate', [15, 18])] [('both', [3, 6]), ('both', [6, 9])] [4, 5]"
    )
