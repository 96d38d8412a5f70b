"""Seeds and arms side by side: one process and one thread each, also for functions that a notebook defines."""

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
    here and stops the rest; no process outlives the caller, even a killed one. processes = 1 runs in the caller.
    """
    if processes < 1:
        raise ValueError(f"each: processes must be at least 1; got {processes}.")
    if processes == 1:
        return [function(*job) for job in jobs]
    packed = cloudpickle.dumps(function)
    context, before = multiprocessing.get_context("spawn"), {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_begin) as pool:
            futures = [pool.submit(_call, packed, cloudpickle.dumps(job)) for job in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True, wait=False)
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin() -> None:
    """End with the parent, and use one thread."""
    parent = multiprocessing.parent_process()

    def watch():
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _call(function: bytes, job: bytes) -> Any:
    return cloudpickle.loads(function)(*cloudpickle.loads(job))
