"""Seeds and regimes side by side: one process and one thread each, also for functions that a notebook defines."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cloudpickle

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def each(function: Callable, jobs: Sequence[tuple], processes: int) -> list[Any]:
    """Return [function(*job) for job in jobs], run in fresh one-thread processes, at most `processes` at a time.

    Jobs start in the order given: the longest first. Results come in the order of the jobs. An error of a job is raised
    here, with its own words, and what has not begun is left; no process outlives the caller, even a killed one. processes = 1
    runs in the caller.
    """
    if processes < 1:
        raise ValueError(f"each: processes must be at least 1; got {processes}.")
    if processes == 1 or not jobs:
        return [function(*job) for job in jobs]
    packed = cloudpickle.dumps(function)
    context, before = multiprocessing.get_context("spawn"), {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        pool = ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_begin)
        try:
            futures = [pool.submit(_call, packed, cloudpickle.dumps(job)) for job in jobs]
            return [cloudpickle.loads(future.result()) for future in futures]
        except _Failed as failed:
            raise cloudpickle.loads(failed.args[0]) from None
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def cores(device: str = "cpu") -> int:
    """Return how many processes a chapter may use: one on a GPU, else the threads that its job was given, or all cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # one number a level of nesting
    return 1 if device == "cuda" else int(given or os.cpu_count() or 1)


def _begin() -> None:
    """End with the parent, and use one thread."""
    parent = multiprocessing.parent_process()

    def watch():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _call(function: bytes, job: bytes) -> bytes:
    """The result, packed as the function was: what a notebook defines, errors too, goes back to it."""
    try:
        return cloudpickle.dumps(cloudpickle.loads(function)(*cloudpickle.loads(job)))
    except Exception as error:
        raise _Failed(cloudpickle.dumps(error)) from None


class _Failed(Exception):
    """An error of a job, packed."""
