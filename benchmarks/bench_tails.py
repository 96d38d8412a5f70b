"""Sums over a Zipf law by nodes against the obvious sum over ten million ranks, in the same run."""

import time
import tracemalloc

import numpy as np
from scipy.special import zeta

from collapse_utils.theory import discrete, tails as law

BETA, RANKS, GENERATIONS = 1.5, 10_000_000, 10_000
ROWS = np.geomspace(1e2, 1e6, 9)


def obvious(counts):
    """The same errors, rank by rank, with an analytic rest."""
    p = np.arange(1.0, RANKS + 1) ** -BETA / zeta(BETA)
    rest = zeta(BETA, RANKS + 1) / zeta(BETA)
    return np.array([p @ np.exp(t * np.log1p(-p)) + rest for t in counts])


def ours(counts):
    """The errors from the nodes, their making included."""
    return law.unseen(counts, *law.zipf(BETA)[1:])


def test_speed_ratio(benchmark):
    started = time.perf_counter()
    peer = obvious(ROWS)
    peer_time = time.perf_counter() - started
    errors = benchmark.pedantic(ours, (ROWS,), rounds=5)
    ratio = peer_time / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\nerrors at {len(ROWS)} sizes: {ratio:.0f} times faster than ten million ranks")
    assert np.abs(errors / peer - 1).max() < 1e-6


def test_ten_thousand_generations_fit_into_a_gigabyte(benchmark):
    """Peak traced memory, in GiB, of the error after each of 10^4 resamplings; over that of one sum over all ranks."""

    def peak(run):
        tracemalloc.start()
        run()
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high / 2**30

    one = peak(lambda: obvious(ROWS[:1]))
    high = benchmark.pedantic(peak, (lambda: ours(1e7 * discrete.branching(GENERATIONS)),), rounds=1)
    benchmark.extra_info["ratio"] = round(high / one, 4)
    print(f"\n{GENERATIONS} generations: {1024 * high:.1f} MiB, {high / one:.4f} of one plain sum")
    assert high < 1
