"""Timing in processes of their own, in turns: neither side's threads, memory or warm caches reach the other."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import torch


def in_turns(threads: int, *calls: tuple, repeats: int = 3) -> list[tuple]:
    """Return for each call, (function, *arguments), its best result by the first value, the seconds.

    Each has a process of its own with so many threads; the first round, which imports and warms up, does not count.
    """
    with ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        pools = [stack.enter_context(ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,))) for _ in calls]
        rounds = [[pool.submit(*call).result() for pool, call in zip(pools, calls, strict=True)] for _ in range(repeats + 1)]
    return [min(results, key=lambda result: result[0]) for results in zip(*rounds[1:], strict=True)]
