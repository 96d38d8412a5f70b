"""Bars of 2,000 points in the plane: the alpha complex against a Rips complex by ripser, in one run."""

import time

import numpy as np
import pytest

from collapse_utils.images import shapes
from collapse_utils.images.persistence import alpha_bars, rips_bars

POINTS = 2000


def ring(n):
    """A circle with a gap of 0.7 radians, its points at random."""
    angle = np.random.default_rng(0).uniform(0.35, 2 * np.pi - 0.35, n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def seconds(function, points):
    """Processor seconds, and the longest bar."""
    started = time.process_time()
    bars = function(points)
    return time.process_time() - started, bars[0]


def test_alpha_ratio(benchmark):
    """The ring's bar is born at the same diameter in both, and dies at √3 and at 2, within the spacing of points.

    A Rips complex of all points takes minutes and gigabytes: it is timed at 200 and 400 points, and the time of 2,000 follows by
    the power between them, at most the third: its triangles are as many.
    """
    rips_bars(ring(20))  # imports ripser
    peer = {n: seconds(rips_bars, ring(n)) for n in (200, 400)}
    power = np.log2(peer[400][0] / peer[200][0])
    extrapolated = peer[400][0] * (POINTS / 400) ** min(power, 3.0)
    ours = min(seconds(alpha_bars, ring(POINTS))[0] for _ in range(5))
    benchmark.pedantic(alpha_bars, (ring(POINTS),), rounds=3, warmup_rounds=1)
    ratio = extrapolated / ours
    benchmark.extra_info["ratio"] = round(ratio)
    same = seconds(alpha_bars, ring(400))
    print(f"\nalpha: {POINTS} points {ratio:.0f} times faster than Rips (extrapolated by power {min(power, 3):.1f}; wanted: 100)")
    print(f"alpha: 400 points {peer[400][0] / same[0]:.0f} times faster than Rips (measured)")
    born, died = peer[400][1]
    assert same[1][0] == pytest.approx(born, abs=1e-6)
    assert (died, same[1][1]) == pytest.approx((3**0.5, 2), abs=0.03)


def test_against_gudhi(benchmark):
    """gudhi's alpha complex, in C++ with CGAL (GPL), on the same points: the same bars."""
    gudhi = pytest.importorskip("gudhi")

    def theirs(points):
        tree = gudhi.AlphaComplex(points=points).create_simplex_tree()
        tree.compute_persistence()
        bars = 2 * np.sqrt(tree.persistence_intervals_in_dimension(1))
        return bars[np.argsort(bars[:, 0] - bars[:, 1])]

    points = shapes.sphere(POINTS, np.random.default_rng(1), 1) * 0.9 + np.random.default_rng(2).normal(0, 0.05, (POINTS, 2))
    peer = min(seconds(theirs, points)[0] for _ in range(5))
    ours = min(seconds(alpha_bars, points)[0] for _ in range(5))
    benchmark.pedantic(alpha_bars, (points,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["ratio"] = round(peer / ours, 2)
    print(f"\nalpha: {POINTS} points, {peer / ours:.2f} of gudhi's speed")
    assert np.allclose(alpha_bars(points)[:20], theirs(points)[:20])
