"""Second-order laws of descent against sums over every possible training set, simulations and finite differences."""

import itertools

import numpy as np
import pytest

from collapse_utils.theory import descent as law

START, VALUES, CHANCES = 0.7, np.array([-1.0, 2.0]), np.array([2 / 3, 1 / 3])  # labels of mean 0 and variance 2


def every_sample(n):
    """All samples (2ⁿ, n) of the two labels, and the chance of each."""
    picked = np.array(list(itertools.product([0, 1], repeat=n)))
    return VALUES[picked], CHANCES[picked].prod(axis=1)


def descended(batches, rate):
    """θ after one step for each batch of labels (samples, b), of ½θ² + e φ(θ) with φ' = exp(−θ)."""
    theta = START
    for e in batches:
        theta = theta - rate * (theta + e.mean(axis=1) * np.exp(-theta))
    return theta


GRADIENT_OF_TRACE = -4 * np.exp(-2 * START)  # of C = 2 exp(−2θ)


def test_drift_of_full_batches_over_every_sample():
    rate, (e, chance) = 1e-4, every_sample(6)
    for s in (2, 3, 6):
        batches = np.split(e, s, axis=1)
        apart = chance @ (descended([e] * s, rate) - descended(batches, rate))
        assert apart == pytest.approx(law.drift(rate, s, 6, GRADIENT_OF_TRACE), rel=2e-3)
        assert law.drift(rate, s, 6, 1.0) == pytest.approx(s * rate * law.penalty(rate, s, 6))  # s steps down the penalty


def test_drift_of_many_passes_over_every_sample():
    rate, (e, chance), curved = 1e-4, every_sample(4), START  # H = 1, ∇L = θ
    for batch, m in ((1, 2), (1, 3), (2, 2)):
        batches = np.split(e, 4 // batch, axis=1)
        predicted = law.passes(rate, m, 4, batch, curved, GRADIENT_OF_TRACE)
        for later in (batches, np.split(e[:, [0, 2, 1, 3]], 4 // batch, axis=1)):
            many = descended([*batches, *(later * (m - 1))], rate / m)
            assert chance @ (many - descended(batches, rate)) == pytest.approx(predicted, rel=2e-3)


def test_gap_over_every_sample():
    rate, (e, chance) = 1e-5, every_sample(4)
    theta = descended([e] * 3, rate)
    gap = chance @ (e.mean(axis=1) * (np.exp(-theta) - np.exp(-START)))  # L_B − L_A = −ē φ, φ = −exp(−θ)
    assert gap == pytest.approx(law.gap(rate, 3, 2 * np.exp(-2 * START), 4), rel=1e-3)


def test_trace_and_its_gradient(seed):
    rng, theta, eigenvalues, r = np.random.default_rng(seed), np.array([0.5, -1.0, 2.0]), np.array([2.0, 1.0, 0.3]), 400_000
    x, e = rng.standard_normal((r, 3)) * np.sqrt(eigenvalues), 0.7 * rng.standard_normal(r)
    gradients = x * (x @ theta - e)[:, None]
    squares = ((gradients - eigenvalues * theta) ** 2).sum(axis=1)
    assert abs(squares.mean() - law.trace(theta, eigenvalues, 0.7)) < 6 * squares.std() / np.sqrt(r)
    h = 1e-6 * np.eye(3)
    slope = (law.trace(theta + h, eigenvalues, 0.7) - law.trace(theta - h, eigenvalues, 0.7)) / 2e-6
    np.testing.assert_allclose(law.trace_gradient(theta, eigenvalues), slope, rtol=1e-6)


def test_one_pass_is_what_fresh_batches_do(seed):
    rng, start, eigenvalues, r, rate = np.random.default_rng(seed), np.array([1.0, 2.0]), np.array([1.0, 0.4]), 200_000, 0.1
    theta = np.tile(start, (r, 1))
    for _ in range(3):
        x, e = rng.standard_normal((r, 2, 2)) * np.sqrt(eigenvalues), rng.standard_normal((r, 2))
        theta = theta - rate * np.vecmat(np.matvec(x, theta) - e, x) / 2
    exact = law.one_pass(start, eigenvalues, 1.0, rate, 3, 2)
    assert (np.abs((theta**2).mean(axis=0) - exact) < 6 * (theta**2).std(axis=0) / np.sqrt(r)).all()


def test_overfitting_peaks_where_it_should():
    rate, steps = 1e-3, 5000
    h = np.geomspace(0.05, 50, 20_001) / (rate * steps)
    highest = h[law.overfitting(h, 1.0, 10, rate, steps).argmax()]
    assert highest * rate * steps == pytest.approx(law.PEAK, rel=2e-3)
    assert np.exp(law.PEAK) == pytest.approx(1 + 2 * law.PEAK)
    with pytest.raises(ValueError, match="between 0 and 2/rate = 20; got 1 to 21"):
        law.overfitting([1.0, 21.0], 1.0, 10, 0.1, 5)
