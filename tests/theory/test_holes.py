"""Bars and spacings against complexes that are built, and arcs that are drawn."""

import numpy as np
import pytest

from collapse_utils.images.persistence import alpha_bars, longest, rips_bars, widest_gap
from collapse_utils.theory import holes


@pytest.mark.parametrize(("width", "radius"), [(0.0, 1.0), (0.7, 1.0), (1.5, 3.0), (2.5, 0.2)])
def test_bars_are_those_of_complexes(width, radius):
    """Points at even steps on what is left of the circle."""
    angle = np.linspace(width / 2, 2 * np.pi - width / 2, 90, endpoint=width > 0)
    ring = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    gap = widest_gap(ring)
    found = longest(rips_bars(ring)), longest(alpha_bars(ring))
    for value, name in zip(found, ("rips", "alpha")):
        assert value == pytest.approx(holes.ring_bar(gap, radius, name), abs=0.03 * radius)
    assert gap == pytest.approx(max(width, 2 * np.pi / 90), rel=0.05)


def test_a_gap_of_a_third_leaves_no_bar_to_rips():
    assert holes.ring_bar(2.2) == 0 < holes.ring_bar(2.2, filtration="alpha")


@pytest.mark.parametrize("radius", [0.0, -1.0])
def test_a_ring_without_a_radius_is_refused(radius):
    with pytest.raises(ValueError, match=f"radius must be above 0; got {radius}"):
        holes.ring_bar(0.5, radius)


@pytest.mark.parametrize("n", [2, 10, 100])
def test_the_largest_spacing_is_the_mean_of_drawn_ones(seed, n):
    angle = np.sort(np.random.default_rng(seed).uniform(0, 1, (20_000, n)), axis=1)
    widest = 2 * np.pi * np.diff(angle, axis=1, append=angle[:, :1] + 1).max(axis=1)
    assert abs(widest.mean() - holes.largest_spacing(n)) < 6 * widest.std() / np.sqrt(20_000)
