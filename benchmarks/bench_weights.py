"""The weighted loop: data as sufficient statistics against rows, in the same run, and the growth of its time with the fits."""

import time
from itertools import islice

import numpy as np
import pytest

from collapse_utils import feedback_loop
from collapse_utils.solvable import summaries
from collapse_utils.solvable.weights import weighted
from collapse_utils.theory.weights import GOLDEN

D, ROWS, REPLICATES = 4, 4000, 50


def by_summaries(fits, replicates=REPLICATES, rows=ROWS):
    """CPU seconds of the golden loop of least squares on normal equations."""
    rng = np.random.default_rng(0)
    design, truth = summaries.FreshDesign(D, replicates, 1.0), np.zeros((replicates, D))
    mix = weighted(GOLDEN, lambda g: design.real(truth, rows, g))
    started = time.process_time()
    for _ in islice(feedback_loop(design.fit, design.real(truth, rows, rng), mix, rng), fits):
        pass
    return time.process_time() - started


def by_rows(fits, replicates=REPLICATES, rows=ROWS):
    """CPU seconds of the same loop on rows, one numpy.linalg.lstsq a fit and replicate."""
    rng = np.random.default_rng(0)
    root, w = np.sqrt(np.repeat([GOLDEN, 1 - GOLDEN], rows)), np.zeros(D)
    started = time.process_time()
    for t in range(fits * replicates):
        w = np.zeros(D) if t % fits == 0 else w
        x = rng.standard_normal((2 * rows, D))
        y = rng.standard_normal(2 * rows)
        y[rows:] += x[rows:] @ w  # the true weights of the real half are zero
        w = np.linalg.lstsq(x * root[:, None], y * root)[0]
    return time.process_time() - started


@pytest.mark.parametrize(("fits", "wanted"), [(20, 100)])
def test_summaries_against_rows(benchmark, fits, wanted):
    before = by_rows(fits)
    ours = min(benchmark.pedantic(by_summaries, (fits,), rounds=3), *(by_summaries(fits) for _ in range(3)))
    benchmark.extra_info |= {"ratio": round(before / ours, 1), "wanted": wanted}
    print(f"\nweighted least squares, {fits} fits: {before / ours:.0f} times faster than rows (wanted {wanted})")


def test_ten_thousand_fits(benchmark):
    """The log-log slope of the time of the loop from 100 to 10,000 fits: 1 where a late fit costs no more than the first."""
    sizes = (100, 1000, 10_000)
    taken = [by_summaries(n) for n in sizes[:-1]] + [benchmark.pedantic(by_summaries, (sizes[-1],), rounds=1)]
    slope = np.polyfit(np.log(sizes), np.log(taken), 1)[0]
    benchmark.extra_info |= {"slope": round(slope, 3), "seconds": round(taken[-1], 2)}
    print(f"\n{sizes[-1]} fits: time grows with the power {slope:.3f} of the fits (wanted 1.1 or less)")
