"""Noise of compressed activations: laws against sums, draws of uniform errors, and loops over single rows."""

import numpy as np
import pytest

from collapse_utils.theory import compressed as law, descent

EIGENVALUES, START = np.array([2.0, 0.5]), np.array([0.25, 1.5])


def test_spread_and_kurtosis_are_those_of_drawn_errors(seed):
    rng = np.random.default_rng(seed)
    signal, kept = rng.standard_normal((5, 3)) ** 3, rng.random((5, 4)) < 0.7
    errors = 0.2 * rng.uniform(-1, 1, (200_000, 5, 4)) * kept
    noise = np.einsum("mk,rmd->rkd", signal, errors)
    z = noise / np.maximum(law.spread(signal, kept, 0.2 / np.sqrt(3)), 1e-300)
    alive = kept.any(axis=0)
    assert np.allclose((z**2).mean(axis=0)[:, alive], 1, atol=0.02)
    assert np.allclose((z**4).mean(axis=0)[:, alive], law.kurtosis(signal, kept)[:, alive], atol=0.06)
    assert (law.kurtosis(signal, np.zeros((5, 4))) == 3).all()


def test_the_bound_makes_the_noise_that_it_is_asked_for(seed):
    rng = np.random.default_rng(seed)
    signal, a = rng.standard_normal((400, 3)), np.maximum(rng.standard_normal((400, 6)), 0)
    b = law.bound(0.7, (signal**2).sum(), (a > 0).mean(), 6)
    power = (law.spread(signal, a > 0, b / np.sqrt(3)) ** 2).sum()
    assert power == pytest.approx(0.49, rel=0.1)  # as far as signals do not know which inputs are zero
    assert (law.spread(signal, np.ones_like(a), b / np.sqrt(3)) ** 2).sum() == pytest.approx(0.49 / (a > 0).mean())


def test_the_worst_case_is_never_exceeded_by_errors_of_that_size(seed):
    """‖ΔG‖² ≤ D M ε² ‖δ‖² for errors ± ε with the worst signs: half of it is what AC-GC allows."""
    rng = np.random.default_rng(seed)
    signal, error = rng.standard_normal((50, 1)), law.worst_case(0.3, 1.0, 50, 4)
    signal /= np.linalg.norm(signal)
    worst = signal.T @ (error * np.sign(signal) * np.ones((50, 4)))
    assert (worst**2).sum() <= 0.3**2 / 2 + 1e-12
    equal = np.full((50, 1), 50**-0.5)
    assert ((equal.T @ np.full((50, 4), error)) ** 2).sum() == pytest.approx(0.3**2 / 2)


def test_widths_are_whole_bits_between_two_and_sixteen():
    assert law.width(0.5, 1.0) == 2
    assert law.width(2.0**-7.5, 1.0) == 7
    assert law.width(1e-9, 1.0) == 16
    assert law.width(1e9, 1.0) == 2


def test_without_errors_one_pass_is_that_of_descent():
    mean, square = law.one_pass(START, START**2, EIGENVALUES, 0.8, 0.1, 7, 2)
    assert np.allclose(square, descent.one_pass(START, EIGENVALUES, 0.8, 0.1, 7, 2))
    assert np.allclose(mean, START * (1 - 0.1 * EIGENVALUES) ** 7)


@pytest.mark.parametrize("real", [False, True])
def test_the_loop_is_what_chains_of_rows_do(seed, real):
    rng, runs, eta, error = np.random.default_rng(seed), 20_000, 0.1, 0.5

    def fitted(begin, teacher):
        theta = np.broadcast_to(begin, (runs, 2))
        for _ in range(8):
            x = rng.standard_normal((runs, 2, 2)) * np.sqrt(EIGENVALUES)
            off = np.vecdot(x, (theta - teacher)[:, None]) - 0.8 * rng.standard_normal((runs, 2))
            kept = x + error * np.sqrt(3) * rng.uniform(-1, 1, x.shape)
            theta = theta - eta / 2 * np.vecmat(off, kept)
        return theta

    losses, theta = [], fitted(START, 0.0)
    for _n in range(3):
        losses.append(theta**2 @ EIGENVALUES / 2)
        theta = fitted(fitted(START, 0.0) if real else START, theta)
    predicted = law.loop(START, EIGENVALUES, 0.8, eta, 8, 2, error, 3, real)
    slack = 6 * np.std(losses, axis=1) / np.sqrt(runs)
    assert (np.abs(np.mean(losses, axis=1) - predicted) < slack).all()
    assert (law.loop(START, EIGENVALUES, 0.8, eta, 8, 2, 0.0, 3, real) < predicted).all()


def test_more_trace_is_that_of_gradients_from_stored_inputs(seed):
    rng, n = np.random.default_rng(seed), 400_000
    x, e = rng.standard_normal((n, 2)) * np.sqrt(EIGENVALUES), 0.8 * rng.standard_normal(n)
    kept = x + 0.5 * np.sqrt(3) * rng.uniform(-1, 1, x.shape)
    traces = [(rows * (x @ START - e)[:, None]).var(axis=0).sum() for rows in (x, kept)]
    assert traces[1] - traces[0] == pytest.approx(law.more_trace(START, EIGENVALUES, 0.8, 0.5), rel=0.05)
