"""Shapes against their equations, events against what they conserve and how they are spread; refusals."""

import numpy as np
import pytest
from scipy.stats import kstest

from collapse_utils.images import shapes


def test_points_lie_on_their_shapes(seed):
    rng = np.random.default_rng(seed)
    assert np.allclose(np.linalg.norm(shapes.sphere(500, rng, 5, 3.0), axis=1), 3)
    x, y, z = shapes.torus(500, rng).T
    assert np.allclose((np.hypot(x, y) - 1) ** 2 + z**2, 0.16)
    x, y, z = shapes.double_cone(500, rng).T
    assert np.allclose(x**2 + y**2, z**2)
    x, y, z = shapes.paraboloid(500, rng).T
    assert np.allclose(x**2 + y**2, 4 * z)
    assert 0.2 <= np.hypot(x, y).min() < np.hypot(x, y).max() <= 2


def test_points_are_spread_by_area(seed):
    """Pappus: the outer half of a torus has the share 1/2 + tube/(π·radius)."""
    rng = np.random.default_rng(seed)
    x, y, _ = shapes.torus(40_000, rng).T
    assert abs((np.hypot(x, y) > 1).mean() - 0.5 - 0.4 / np.pi) < 6 * 0.5 / 200
    assert kstest(shapes.double_cone(2000, rng)[:, 2] ** 2, "uniform").pvalue > 1e-4


def test_events_conserve_momentum_and_energy(seed):
    rng = np.random.default_rng(seed)
    for events in (shapes.three_body(1000, rng), shapes.resonance(1000, rng)):
        momenta = events.reshape(-1, 3, 3)
        assert np.allclose(momenta.sum(axis=1), 0, atol=1e-12)
        assert np.allclose(np.linalg.norm(momenta, axis=2).sum(axis=1), 1)


def test_flat_events_have_the_masses_of_phase_space(seed):
    """s₁₂/s has the density 2(1 − s₁₂/s), as has every other pair."""
    events = shapes.three_body(20_000, np.random.default_rng(seed))
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turned = events.reshape(-1, 3, 3)[:, order].reshape(-1, 9)
        assert kstest(shapes.pair_mass(turned), lambda s: 1 - (1 - s) ** 2).pvalue > 1e-4


def test_a_resonance_lies_in_its_window_and_decays_evenly(seed):
    events = shapes.resonance(20_000, np.random.default_rng(seed))
    caught = shapes.in_window(events).mean()
    assert abs(caught - 2 / np.pi * np.arctan(5)) < 0.02  # five half-widths of s on either side, to first order
    third = events[:, 8] / np.linalg.norm(events[:, 6:], axis=1)
    assert kstest(third, "uniform", (-1, 2)).pvalue > 1e-4
    mass = shapes.pair_mass(events)
    first = np.linalg.norm(events[:, :3], axis=1)  # E₁ is uniform between (1 − E₃ ∓ |p₃|)/2
    share = (first - mass / 2) / ((1 - mass) / 2)
    assert kstest(share, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("radius", [0.0, -2.0])
def test_radii_that_are_none_are_refused(seed, radius):
    rng = np.random.default_rng(seed)
    with pytest.raises(ValueError, match=f"radius must be above 0; got {radius}"):
        shapes.sphere(3, rng, 1, radius)
    with pytest.raises(ValueError, match=f"above 0 and below the radius 1.0; got {radius}"):
        shapes.torus(3, rng, 1.0, radius)
    with pytest.raises(ValueError, match="at least 0 and below the rim 2.0; got 2.5"):
        shapes.paraboloid(3, rng, 2.5)
