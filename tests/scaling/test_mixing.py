"""Weighted and iterated mixing, and ridge on measured moments: closed forms against simulation, rivals rejected."""

from itertools import islice

import numpy as np
import pytest
from scipy.stats import t as student

from collapse_utils import claims, feedback_loop
from collapse_utils.moments import collect, relative, replicate
from collapse_utils.regimes import fresh_real_and_last
from collapse_utils.scaling.ridge import parts, ridge
from collapse_utils.scaling.students import random_features, second_moments, two_layers
from collapse_utils.solvable.linear import FreshDesign, gaussian, risk
from collapse_utils.theory import ridge as strong

ALARM = 1e-6


def reach(samples):
    """Mean and half-width at the false-alarm rate, Bonferroni over columns: samples (R, …) → (…), (…)."""
    r, k = len(samples), samples[0].size
    return samples.mean(axis=0), student.isf(ALARM / 2 / k, r - 1) * samples.std(axis=0, ddof=1) / np.sqrt(r)


@pytest.mark.parametrize(("rows", "weight", "share"), [(8, 0.8, 0.3), (8, 0.3, 0.3), (3, 0.85, 0.7)])
def test_the_weighted_fit_has_the_error_of_its_fixed_point(rows, weight, share, seed):
    d, rng = 60, np.random.default_rng(seed)
    n = rows * d
    synthetic = np.arange(n) < round(share * n)
    weights = np.where(synthetic, (1 - weight) / share, weight / (1 - share))
    run = parts(np.ones(d), 1 / d, 0.6, 0.4 / d, n, [share], lambda x, y, rng: ridge(x, y, 0.0, weights))
    error = replicate(run, 400, rng, 20)["error"]
    slack = student.isf(ALARM / 2, 399) * error.se + 2 / d * error.mean  # terms of order 1/d
    assert abs(error.mean - strong.weighted(rows, weight, share, 0.6, 0.4)) < slack
    if abs(weight - (1 - share)) > 0.2:  # the rival: weights do not matter
        assert abs(error.mean - strong.isotropic(rows, share, 0.6, 0.4)) > slack


def test_weights_equal_to_the_shares_are_no_weights():
    for rows, share in [(1.5, 0.2), (7, 0.6), (300, 0.9)]:
        assert strong.weighted(rows, 1 - share, share, 0.7, 0.3) == pytest.approx(strong.isotropic(rows, share, 0.7, 0.3))
    assert strong.weighted(1e7, 0.8, 0.4, 1.0, 0.5) == pytest.approx(0.04 * 0.5, rel=1e-3)


def last_over_real_only(r, rng, p2, fixed, relabelling, n=900, d=4, n_rounds=14):
    """Errors of the fit to the real part alone and of the last round: (r, 2)."""
    n2, truth = round(p2 * n), rng.standard_normal((r, d))
    world = FreshDesign(d, r, gaussian(1.0), gaussian(0.5))
    own = FreshDesign(d, r, gaussian(1.0), gaussian(0.5 * np.sqrt(relabelling)))
    real = world.real(truth, n - n2, rng)
    mix = fresh_real_and_last(lambda g: real if fixed else world.real(truth, n - n2, g))
    loop = feedback_loop(own.fit, world.real(truth + 0.5, n2, rng), mix, rng)
    *_, last = islice(loop, n_rounds)
    return np.stack([risk(world.fit(real, rng).w, truth), risk(last.model.w, truth)], axis=1)


@pytest.mark.parametrize(
    ("fixed", "relabelling", "rival"), [(True, 1.0, 1.0), (True, 3.0, 1.375), (True, 0.0, 1.375), (False, 1.0, 0.4)]
)
def test_iterated_mixing_ends_at_its_constant(fixed, relabelling, rival, seed):
    p2 = 0.6
    errors = collect(lambda r, rng: last_over_real_only(r, rng, p2, fixed, relabelling), 1600, np.random.default_rng(seed), 100)
    (_, ratio), (_, width) = reach(relative(errors))
    law = strong.iterated_fixed(p2, relabelling) if fixed else strong.iterated_fresh(p2)
    slack = width + 0.03 * law  # terms of order d/n
    assert abs(ratio - law) < slack
    assert abs(ratio - rival) > slack


def test_a_swapped_arm_fails_the_claim(seed):
    """Fresh real rows where fixed ones belong."""
    errors = collect(lambda r, rng: last_over_real_only(r, rng, 0.5, False, 1.0), 800, np.random.default_rng(seed), 100)
    assert claims.equal("SMC-7a", relative(errors)[:, 1:], strong.iterated_fixed(0.5), 1.0).verdict == "fails"


def test_two_sources_is_ridge_where_truth_and_shift_are_independent(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        s = rng.uniform(0.05, 3, rng.integers(2, 40))
        n, penalty, share, noise = rng.integers(2, 80), 10.0 ** rng.uniform(-4, 1), rng.random(), rng.uniform(0.1, 2)
        truth, shift = rng.random((2, len(s)))
        second = np.stack([[truth, truth], [truth, truth + shift]]).transpose(2, 0, 1)  # (d, 2, 2)
        got = strong.two_sources(s, n, strong.effective_penalty(s, n, penalty), share, second, np.full((2, 2), noise**2))
        assert got - noise**2 == pytest.approx(strong.ridge(s, n, penalty, truth, noise, share, shift).error)


def test_two_sources_with_a_shift_against_the_truth_and_noise_of_its_own(seed):
    d, n, penalty, share = 80, 150, 0.05, 0.35
    rng = np.random.default_rng(seed)
    s = np.arange(1, d + 1.0) ** -0.7
    w = rng.standard_normal((d, 3)) / np.sqrt(d)
    weights, noises = np.stack([w, 0.3 * w]), np.array([0.7, 0.2])  # a teacher that shrinks, and is smoother

    def experiment(r, rng):
        x = np.sqrt(s) * rng.standard_normal((r, n, d))
        labels = x @ weights[:, None] + noises[:, None, None, None] * rng.standard_normal((2, r, n, 3))
        fitted = ridge(x, np.where(rng.random((r, n, 1)) < share, labels[1], labels[0]), penalty)
        return {"error": (s[:, None] * (fitted - w) ** 2).sum(axis=(1, 2)) + 3 * noises[0] ** 2}

    error = replicate(experiment, 600, rng, 50)["error"]
    second, rest = np.einsum("aik,bik->iab", weights, weights), 3 * np.diag(noises**2)
    slack = student.isf(ALARM / 2, 599) * error.se + error.mean / d
    assert abs(error.mean - strong.two_sources(s, n, strong.effective_penalty(s, n, penalty), share, second, rest)) < slack
    independent = second * np.array([[1, 1], [1, 0]]) + np.einsum("ik,ab->iab", 1.49 * w**2, [[0, 0], [0, 1]])  # same tr ΣΔ
    assert abs(error.mean - strong.two_sources(s, n, strong.effective_penalty(s, n, penalty), share, independent, rest)) > slack


def test_random_features_have_the_arc_cosine_kernel(seed):
    rng, m = np.random.default_rng(seed), 200_000
    x = rng.standard_normal((3, 5))
    z = random_features(x, rng.standard_normal((m, 5)))
    norm = np.linalg.norm(x, axis=1)
    angle = np.arccos(np.clip(x @ x.T / np.outer(norm, norm), -1, 1))
    kernel = np.outer(norm, norm) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (5 * np.pi)
    products = m * z[:, None] * z[None]  # (3, 3, m), their mean the kernel
    assert (np.abs(products.mean(axis=2) - kernel) < 6 * products.std(axis=2) / np.sqrt(m)).all()


def test_second_moments_are_unbiased_given_the_rows(seed):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((40, 12)) * np.linspace(0.5, 2, 12)
    eigenvalues, basis = np.linalg.eigh(z.T @ z / 40)
    w, mixing = rng.standard_normal((2, 12, 3)), np.array([[0.8, 0.0], [0.5, 0.3]])
    truth = np.einsum("aik,bik->iab", basis.T @ w, basis.T @ w)
    draws = [second_moments(z, z @ w + np.einsum("ab,bnk->ank", mixing, rng.standard_normal((2, 40, 3)))) for _ in range(2000)]
    np.testing.assert_allclose(draws[0][0], eigenvalues)
    mean, width = reach(np.stack([draw[1] for draw in draws]))
    assert (np.abs(mean - truth) < width).all()
    rest, slack = reach(np.stack([draw[2] for draw in draws]))
    assert (np.abs(rest - 3 * mixing @ mixing.T) < slack).all()
    plain = mean + rest / (40 * eigenvalues[:, None, None])
    assert (np.abs(plain - truth) > width).any()  # the rival: products of least-squares weights as they are


class Drawn:
    """A generator that hands out one data set's first layer."""

    def __init__(self, first):
        self.first = first

    def standard_normal(self, shape):
        assert shape == self.first.shape
        return self.first


def test_networks_side_by_side_are_networks_one_by_one(seed):
    rng = np.random.default_rng(seed)
    x, y, first = rng.standard_normal((3, 20, 4)), rng.standard_normal((3, 2, 20, 5)), rng.standard_normal((3, 4, 8))
    both = two_layers(x, y, 8, 30, 0.05, Drawn(first))(x)
    assert both.shape == (3, 2, 20, 5)
    for i in range(3):
        for j in range(2):
            one = two_layers(x[i : i + 1], y[i : i + 1, j : j + 1], 8, 30, 0.05, Drawn(first[i : i + 1]))(x[i : i + 1])
            np.testing.assert_allclose(both[i, j], one[0, 0], atol=1e-4)


def test_a_step_is_the_gradient_step_worked_by_hand(seed):
    """From zero biases and second layer the first step moves the second layer alone, by 2·rate·hᵀy/n."""
    rng = np.random.default_rng(seed)
    x, y, first = rng.standard_normal((1, 12, 3)), rng.standard_normal((1, 1, 12, 2)), rng.standard_normal((1, 3, 7))
    hidden = np.maximum(x[0] @ first[0] / np.sqrt(3), 0)
    assert not two_layers(x, y, 7, 0, 0.1, Drawn(first))(x).any()
    by_hand = hidden @ (2 * 0.1 / 12 * hidden.T @ y[0, 0])
    np.testing.assert_allclose(two_layers(x, y, 7, 1, 0.1, Drawn(first))(x)[0, 0], by_hand, atol=1e-5)


def test_descent_learns_a_two_layer_function(seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 600, 3))
    y = np.abs(x[..., :1])[:, None]  # two ReLUs
    predict = two_layers(x, y, 32, 600, 0.05, rng)
    fresh = rng.standard_normal((1, 2000, 3))
    error = ((predict(fresh)[0, 0] - np.abs(fresh[0, :, :1])) ** 2).mean()
    linear = np.abs(fresh[0, :, 0]).var()  # the rival: no linear model does better than a constant
    assert error < 0.1 * linear


def test_parameters_outside_the_domain_get_a_sentence():
    with pytest.raises(ValueError, match="rows per feature must exceed 1; got 0.5"):
        strong.weighted(0.5, 0.5, 0.5, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"weight and share must lie strictly between 0 and 1; got \(1.0, 0.5\)"):
        strong.weighted(2.0, 1.0, 0.5, 1.0, 1.0)
    with pytest.raises(ValueError, match="two_sources: share must lie between 0 and 1; got 1.5"):
        strong.two_sources(np.ones(2), 3, 0.1, 1.5, np.zeros((2, 2, 2)), np.eye(2))
    with pytest.raises(ValueError, match="kappa must be large enough that df2 is below n = 2; got df2 = 5.0"):
        strong.two_sources(np.ones(5), 2, 0.0, 0.5, np.zeros((5, 2, 2)), np.eye(2))
    with pytest.raises(ValueError, match="rows must outnumber the 5 features; got 4"):
        second_moments(np.ones((4, 5)), np.ones((2, 4, 1)))
