"""The grid of the first theorem of strong collapse, batched, against a loop of numpy.linalg.lstsq in the same run."""

import time

import numpy as np

from collapse_utils.moments import replicate
from collapse_utils.scaling.ridge import parts, ridge
from collapse_utils.theory import ridge as strong

D, REPLICATES, LOOPED = 200, 200, 4  # the loop is timed on a few replicates and scaled up
SHARES = np.array([0, 0.1, 0.5, 0.9])
CELLS = [
    (decay, round(rows * D), penalty)
    for decay in (0.0, 1.5)
    for rows, penalty in ((0.75, 0.05), (2, 0.0), (2, 0.05), (10, 0.001))
]


def scales_of(decay):
    scales = np.arange(1, D + 1.0) ** -decay
    return scales * D / scales.sum()


def ours(decay, n, penalty, rng):
    """Mean error (4,) of one setting at the four shares, and its standard error."""
    run = parts(scales_of(decay), 1 / D, 0.5, 0.25 / D, n, SHARES, lambda x, y, _: ridge(x, y, penalty))
    moments = replicate(run, REPLICATES, rng, chunk=20)["error"]
    return moments.mean, moments.se


def looped(decay, n, penalty, rng):
    """The same errors (LOOPED, 4), fit by fit: the penalty as d further rows of one least-squares problem."""
    root, errors = np.sqrt(scales_of(decay)), np.empty((LOOPED, 4))
    for i in range(LOOPED):
        for j, share in enumerate(SHARES):
            x = root * rng.standard_normal((n, D))
            w, delta = np.sqrt(1 / D) * rng.standard_normal(D), np.sqrt(0.25 / D) * rng.standard_normal(D)
            y = x @ w + (np.arange(n) < round(share * n)) * (x @ delta) + 0.5 * rng.standard_normal(n)
            rows, labels = np.vstack([x, np.sqrt(n * penalty) * np.eye(D)]), np.r_[y, np.zeros(D)]
            fitted = np.linalg.lstsq(rows, labels, rcond=None)[0]
            errors[i, j] = ((root * (fitted - w)) ** 2).sum()
    return errors


def test_speed_ratio(benchmark):
    """32 cells of 200 replicates."""
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    peer = [looped(*cell, rng) for cell in CELLS]
    peer_time = (time.perf_counter() - started) * REPLICATES / LOOPED
    grid = benchmark.pedantic(lambda: [ours(*cell, rng) for cell in CELLS], rounds=1)
    ratio = peer_time / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\n{4 * len(CELLS)} cells of {REPLICATES} replicates: {ratio:.1f} times faster than a loop of lstsq")
    for (decay, n, penalty), (mean, se), loop in zip(CELLS, grid, peer, strict=True):
        law = [strong.ridge(scales_of(decay), n, penalty, 1 / D, 0.5, share, 0.25 / D).error for share in SHARES]
        assert (np.abs(mean - law) < 7 * se + 0.02 * np.array(law)).all()
        assert (np.abs(loop.mean(0) - law) < np.array(law)).all()
