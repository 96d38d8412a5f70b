"""Long loops: data as sufficient statistics against data as rows, in the same run; time and memory against the generations."""

import time
import tracemalloc
from itertools import islice

import numpy as np
import pytest

from benchmarks.bench_linear import obvious
from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate, replace
from collapse_utils.solvable import gaussian, linear, summaries

D, ROWS, REPLICATES = 32, 100, 100


def run(fit, real, mix, n, rng):
    """CPU seconds of n fits."""
    started = time.process_time()
    for _ in islice(feedback_loop(fit, real, mix, rng), n):
        pass
    return time.process_time() - started


def fixed(kind, mix, n, replicates=REPLICATES, d=D):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((replicates, ROWS, d)), np.zeros((replicates, d))
    law = linear.FixedDesign(x, linear.gaussian(1.0)) if kind is linear else summaries.FixedDesign(x, 1.0)
    return run(law.fit, law.real(w, ROWS, rng), mix, n, rng)


def normal(kind, mix, n, chains, rows):
    rng = np.random.default_rng(0)
    if kind is gaussian:
        return run(gaussian.fit(1), gaussian.standard(chains).sample(rows, rng), mix, n, rng)
    real = summaries.Gaussian(np.zeros(chains), np.ones(chains)).sample(rows, rng)
    return run(summaries.gaussian_fit(1), real, mix, n, rng)


def lstsq(replicates):
    """CPU seconds of ten fits by one numpy.linalg.lstsq each."""
    started = time.process_time()
    obvious(accumulate, None, replicates)
    return time.process_time() - started


@pytest.mark.parametrize(
    ("what", "peer", "ours", "wanted"),
    [
        ("accumulate, 400 fits", lambda: fixed(linear, accumulate, 400), lambda: fixed(summaries, accumulate, 400), 50),
        ("Gaussian, 30 fits of 100 rows", lambda: normal(gaussian, replace, 30, 100_000, 100),
         lambda: normal(summaries, replace, 30, 100_000, 100), 20),
        ("least squares, 10 fits", lambda: lstsq(100) * 10, lambda: fixed(summaries, accumulate, 10, 1000), 100),
    ],
)  # fmt: skip
def test_summaries_against_rows(benchmark, what, peer, ours, wanted):
    before = peer()
    ratio = before / min(benchmark.pedantic(ours, rounds=3), *(ours() for _ in range(3)))
    benchmark.extra_info |= {"ratio": round(ratio, 1), "wanted": wanted}
    print(f"\n{what}: {ratio:.0f} times faster than rows (wanted {wanted})")


def test_ten_thousand_fits(benchmark):
    """Accumulate over replace at 10,000 fits, the log-log slope of its time from 100 to 10,000, and its traced memory's growth."""
    sizes = (100, 316, 1000, 3162, 10_000)
    taken = [fixed(summaries, accumulate, n) for n in sizes]
    ratio = taken[-1] / benchmark.pedantic(fixed, (summaries, replace, sizes[-1]), rounds=1)
    slope = np.polyfit(np.log(sizes), np.log(taken), 1)[0]
    peaks = []
    for n in (100, 2000):
        tracemalloc.start()
        fixed(summaries, accumulate, n)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    benchmark.extra_info |= {
        "accumulate over replace": round(ratio, 2),
        "slope": round(slope, 3),
        "peaks": [round(p, 1) for p in peaks],
    }
    print(
        f"\n10,000 fits: accumulate {ratio:.2f} of replace; slope {slope:.2f}; {peaks[0]:.1f} → {peaks[1]:.1f} MB from 100 to 2,000 fits"
    )
