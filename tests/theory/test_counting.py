"""Counts against enumeration, errors against sums over all couplings, cumulants against networks."""

import numpy as np
import pytest
from scipy.linalg import hadamard

from collapse_utils.theory import counting


@pytest.mark.parametrize(("n_spins", "most"), [(2, None), (7, 3), (12, None), (12, 2), (9, 9)])
def test_couplings_are_those_that_enumeration_finds(n_spins, most):
    bodies = np.bitwise_count(np.arange(2**n_spins))
    assert counting.couplings(n_spins, most) == ((bodies >= 2) & (bodies <= (most or n_spins))).sum()


@pytest.mark.parametrize("most", [1, 6])
def test_interactions_of_no_two_spins_are_refused(most):
    with pytest.raises(ValueError, match=f"between 2 and the 5 spins; got {most}"):
        counting.couplings(5, most)


@pytest.mark.parametrize(("most", "m"), [(2, 9), (2, 20), (3, 40), (6, 30)])
def test_unseen_errors_are_averages_over_all_couplings(seed, most, m):
    """Couplings of unit variance: what the fit misses is summed, not drawn."""
    rng, table = np.random.default_rng(seed), hadamard(64)
    x = table[:, np.bitwise_count(np.arange(64)) <= most].astype(float)
    shown, p = rng.permutation(64), x.shape[1]
    missed = np.eye(p) - np.linalg.pinv(x[shown[:m]]) @ x[shown[:m]]
    rank = np.linalg.matrix_rank(x[shown[:m]])
    summed = ((x[shown[m:]] @ missed) ** 2).sum() / (64 - m) / p
    assert counting.unseen_error(rank, p, m, 64) == pytest.approx(summed)


def test_cumulants_of_deep_linear_networks_are_products_of_chi_squared():
    """E S² and E S³ of a product of χ²_n/n, by their own moments."""
    n, depth = np.array([3.0, 10.0, 200.0]), 4
    second, third = (1 + 2 / n) ** depth, ((1 + 2 / n) * (1 + 4 / n)) ** depth
    exact = 3 * (second - 1), 15 * (third - 3 * second + 2)
    assert np.allclose(counting.cumulants(n, depth, moments=(3.0, 15.0)), exact, rtol=1e-9)


def test_cumulants_of_rectified_networks_follow_explicit_weights(seed):
    """Fourth and sixth cumulant of outputs from their own moments, weights drawn one by one."""
    rng, n, r, k = np.random.default_rng(seed), 6, 40_000, 40
    z = rng.standard_normal((k, r, n))
    z = np.sqrt(2 / n) * np.einsum("kri,kria->kra", np.maximum(z, 0), rng.standard_normal((k, r, n, n)))
    kernel = 2 / n * (np.maximum(z, 0) ** 2).sum(axis=2)  # of the last layer, (k, r)
    gap = kernel - 1
    found = np.array([3 * (gap**2).mean(axis=1), 15 * (gap**3).mean(axis=1)])  # its mean is one
    slack = 6 * found.std(axis=1, ddof=1) / np.sqrt(k)
    assert (np.abs(found.mean(axis=1) - counting.cumulants(n, 2)) < slack).all()
    assert (np.abs(found.mean(axis=1) - counting.cumulants(n, 2, leading=True)) > slack).all()


def test_leading_orders_are_the_limits_of_wide_networks():
    for moments in (counting.RELU, (3.0, 15.0)):
        exact, first = counting.cumulants(1e4, 3, moments=moments), counting.cumulants(1e4, 3, True, moments)
        assert np.allclose(exact, first, rtol=5e-3)
        assert np.allclose(counting.cumulants(2e4, 3, True, moments), np.array(first) / [2, 4])


@pytest.mark.parametrize("m", [10, 20, 32])
def test_the_first_loss_is_an_average_over_what_lies_beyond(seed, m):
    rng, table = np.random.default_rng(seed), hadamard(32).astype(float)
    within = np.bitwise_count(np.arange(32)) <= 1
    shown = rng.permutation(32)[:m]
    x, rest = table[shown][:, within], table[shown][:, ~within]
    trace, spoiled = np.trace(np.linalg.inv(x.T @ x)), ((np.linalg.pinv(x) @ rest) ** 2).sum() / rest.shape[1]
    assert counting.first_loss(3.0, 6, 32, trace) == pytest.approx(3 * (1 + spoiled))
    assert spoiled == pytest.approx(0, abs=1e-12) or m < 32


def test_label_noise_adds_up_as_the_regimes_say():
    copies = np.full(5, 0.2)
    assert counting.drift(copies, 3.0, kept=False)[-1] == pytest.approx(9.0)
    pools = copies / np.arange(1, 6)
    assert counting.drift(pools, 3.0, kept=True)[-1] == pytest.approx(1.8 * (1 + 1 / 4 + 1 / 9 + 1 / 16 + 1 / 25))
    once, again = counting.students(copies, 2.0, 0.0, 6, 32, kept=False)
    assert np.allclose(once, counting.first_loss(2.0, 6, 32, 0.2))
    assert np.allclose(again - 2, (once[0] - 2) * np.arange(1, 6))


def test_a_memory_forgets_what_any_of_its_samples_left_out(seed):
    """Entries kept are those in every one of n random halves."""
    rng, kept = np.random.default_rng(seed), []
    for _ in range(4000):
        halves = rng.random((3, 8)).argsort(axis=1) < 4
        kept.append(halves.all(axis=0).mean())
    assert abs(1 - np.mean(kept) - counting.forgetting(3, 0.5)) < 6 * np.std(kept) / np.sqrt(4000)
