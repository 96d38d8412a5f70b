"""The solvable model against a Hessian written out, the balance of noise against simulation, and what is refused."""

import numpy as np
import pytest

from collapse_utils.theory import subspace as law


@pytest.mark.parametrize(("k", "p"), [(2, 0.9), (3, 0.5), (5, 0.99), (7, 1 / 7)])
def test_levels_are_those_of_the_hessian_written_out(k, p):
    """Class by class in coordinates: (diag q − qqᵀ)/k, with no eigenvalue beyond the two levels and zero."""
    found = []
    for c in range(k):
        q = np.full(k, (1 - p) / (k - 1))
        q[c] = p
        found.append(np.linalg.eigvalsh((np.diag(q) - np.outer(q, q)) / k))
    first, second = law.class_eigenvalues(p, k)
    expected = np.sort([0.0] * k + [first] * k + [second] * (k * (k - 2)))
    assert np.sort(np.ravel(found)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("k", [2, 5])
def test_late_levels_follow_the_recursion_of_the_logit_gap(k):
    gap, rate, steps = 0.0, 0.5, 40_000
    for _ in range(steps):
        gap += rate / (k - 1 + np.exp(gap))  # (1 − p)/(k − 1) with p = e^a/(e^a + k − 1)
    p = 1 / (1 + (k - 1) * np.exp(-gap))
    first, second = law.class_eigenvalues(p, k)
    assert first == pytest.approx(law.late_eigenvalue(rate, steps), rel=2e-3)
    assert second * k == pytest.approx(first, rel=2e-3)
    if k == 2:  # each of the two inputs pulls (1 − p)/2 apart
        assert (1 - p) / 2 == pytest.approx(law.late_gradient(rate, steps), rel=2e-3)


def test_random_overlaps_printed_and_in_the_limit():
    assert law.random_overlap(np.arange(1, 11)) == pytest.approx(0.8864, abs=5e-5)
    assert law.random_overlap(np.arange(1, 10**6)) == pytest.approx(0.75**0.5, abs=1e-6)
    assert law.random_overlap([3.0, 3.0]) == pytest.approx(1)


def test_noise_energy_is_that_of_a_simulated_walk(seed):
    rng, rate, batch = np.random.default_rng(seed), 0.3, 4
    values, spread, total = np.array([0.5, 2.0, 5.0]), np.array([1.0, 0.2, 3.0]), 0.0
    theta = np.zeros((20_000, 3))
    for step in range(120):
        noise = rng.standard_normal(theta.shape) * np.sqrt(spread / batch)
        theta = theta - rate * (values * theta + noise)
        total = total + (step >= 60) * ((values * theta) ** 2).mean(axis=0) / 60
    assert total == pytest.approx(law.noise_energy(rate, batch, values, spread), rel=0.02)


def test_the_share_lies_between_its_ends():
    assert law.top_fraction(0.0, 1.0) == 0
    assert law.top_fraction(3.0, 1.0) == 0.75


@pytest.mark.parametrize("values", [[1.0, 25.0], [-0.1, 1.0], [0.0, 1.0]])
def test_a_rate_without_balance_is_refused(values):
    with pytest.raises(ValueError, match="rate times curvature must lie between 0 and 2; got .*a rate below"):
        law.noise_energy(0.1, 64, values, [1.0, 1.0])
