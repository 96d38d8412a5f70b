"""Probabilistic PCA: closed forms against quadrature, autograd-free identities, the loop against theory."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import claims, feedback_loop, regimes
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import ppca
from collapse_utils.theory import ppca as theory

VALUES, NOISE, D = np.array([6.0, 2.0]), 0.5, 4


def loadings(values=VALUES, noise=NOISE, d=D):
    return np.eye(d, len(values)) * np.sqrt(values - noise)


def test_the_best_bound_is_the_likelihood_and_any_other_encoder_lies_below(seed):
    rng = np.random.default_rng(seed)
    w, x = loadings(), rng.standard_normal((7, D))
    c = w @ w.T + NOISE * np.eye(D)
    exact = -(D * np.log(2 * np.pi) + np.linalg.slogdet(c)[1] + (x @ np.linalg.inv(c) * x).sum(1)) / 2
    a, v = theory.encoder(w, NOISE)
    assert np.allclose(theory.elbo(x, w, NOISE, a, v), exact)
    wrong = theory.elbo(x, w, NOISE, a + 0.1 * rng.standard_normal(a.shape), 1.3 * v)
    assert (wrong < exact - 1e-3).all()


def test_one_latent_unit_against_quadrature(seed):
    rng = np.random.default_rng(seed)
    w, x = rng.standard_normal((D, 1)), rng.standard_normal((5, D))
    node, weight = np.polynomial.hermite_e.hermegauss(150)
    density = np.exp(-((x[:, None] - node[:, None] * w.T) ** 2).sum(-1) / (2 * NOISE)) / (2 * np.pi * NOISE) ** (D / 2)
    assert np.allclose(
        theory.elbo(x, w, NOISE, *theory.encoder(w, NOISE)), np.log(density @ weight / np.sqrt(2 * np.pi)), atol=1e-7
    )


def test_divergence_to_the_prior_is_a_divergence(seed):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((3, 3))
    v, m = factor @ factor.T + 0.1 * np.eye(3), rng.standard_normal((4, 3))
    assert (theory.kl_to_prior(m, v) > 0).all()
    assert np.allclose(theory.kl_to_prior(np.zeros((2, 3)), np.eye(3)), 0)
    other = [theory.excess(v, np.zeros(3), np.eye(3)) + (row @ row) / 2 for row in m]  # the same by the other formula
    assert np.allclose(theory.kl_to_prior(m, v), other)


def test_excess_is_zero_at_the_truth_alone_and_quadratic_near_it():
    truth = np.diag([3.0, 1.0])
    assert np.isclose(theory.excess(truth, np.zeros(2), truth), 0)
    near, nearer = (theory.excess(truth, np.zeros(2), truth * (1 + h)) for h in (0.02, 0.01))
    assert near / nearer == pytest.approx(4, rel=0.02)


def test_drift_conserves_the_trace_but_for_the_divisor():
    b = theory.drift(VALUES, NOISE, D)
    assert np.isclose(b[:-1].sum() + (D - 2) * b[-1], -(VALUES.sum() + (D - 2) * NOISE))
    assert b[-1] < -(1 + len(VALUES)) * NOISE


def test_drift_is_second_order_perturbation_theory(seed):
    """The same numbers from numpy's eigenvalues of C + εE, E with Wishart's covariances: a second way, no formula of ours."""
    rng = np.random.default_rng(seed)
    c, size, draws = np.diag(np.append(VALUES, [NOISE] * (D - 2))), 0.01, 40_000
    e = rng.standard_normal((draws, D, D))
    e = np.sqrt(np.outer(np.diag(c), np.diag(c))) * (e + e.swapaxes(1, 2)) / np.sqrt(2)
    both = [np.linalg.eigvalsh(c + sign * size * e)[:, ::-1] for sign in (1, -1)]  # ±: the first order cancels
    second = (both[0] + both[1]) / 2 - np.diag(c)
    second = np.column_stack([second[:, :2], second[:, 2:].mean(axis=1)]) / size**2
    expected = theory.drift(VALUES, NOISE, D) + np.append(VALUES, NOISE)  # without the divisor's −λ
    error = second.std(axis=0) / np.sqrt(draws)
    assert (np.abs(second.mean(axis=0) - expected) < 5.5 * error + 0.01 * np.abs(expected)).all()
    assert (np.abs(second.mean(axis=0)) > 7 * error).any()  # not the rival: no rotation at all


def test_growth_of_the_regimes():
    assert np.array_equal(theory.growth("replace", 4), [1, 2, 3, 4])
    assert theory.growth("accumulate", 100_000)[-1] == pytest.approx(np.pi**2 / 6, abs=2e-5)
    c = 1.0
    fresh = 0.0
    for value in theory.growth("real_and_last", 6):
        assert value == pytest.approx(c)
        fresh = (fresh + 1) / 4
        c = 1 + fresh
    with pytest.raises(ValueError, match="growth: regime must be one of .*; got 'mix'"):
        theory.growth("mix", 3)


def test_number_of_parameters_is_the_rank_of_the_map_from_parameters_to_covariance(seed):
    """d + dk − k(k−1)/2 + 1 = d + rank of ∂(WWᵀ + s²I)/∂(W, s²)."""
    rng, d, k = np.random.default_rng(seed), 6, 3
    w = rng.standard_normal((d, k))
    columns = [(np.outer(unit, w[:, j]) + np.outer(w[:, j], unit)).ravel() for j in range(k) for unit in np.eye(d)]
    assert d + np.linalg.matrix_rank(np.array([*columns, np.eye(d).ravel()])) == theory.n_free(d, k)


def test_fit_is_the_maximum_of_the_likelihood(seed):
    rng = np.random.default_rng(seed)
    data = ppca.truth(VALUES, NOISE, D, 1).sample(60, rng)
    model = ppca.fit(2)(data, rng)
    rows = data.rows[:, 0]

    def likelihood(mean, covariance):
        gap = rows - mean
        return -(np.linalg.slogdet(covariance)[1] + (gap @ np.linalg.inv(covariance) * gap).sum(1).mean()) / 2

    best = likelihood(model.mean[0], model.covariance[0])
    w = model.vectors[0] * np.sqrt(model.values[0] - model.noise[0])
    for _ in range(50):
        v, s = w + 0.05 * rng.standard_normal(w.shape), model.noise[0] * np.exp(0.05 * rng.standard_normal())
        assert likelihood(model.mean[0], v @ v.T + s * np.eye(D)) < best


def test_samples_have_the_model_s_covariance_and_means_lack_the_noise(seed):
    rng, n = np.random.default_rng(seed), 40_000
    source = ppca.truth(VALUES, NOISE, D, 1)
    for honest, covariance in ((True, source.covariance[0]), (False, source.covariance[0] - NOISE * np.eye(D))):
        model = ppca.PPCA(source.mean, source.vectors, source.values, source.noise, honest)
        found = np.cov(model.sample(n, rng).rows[:, 0].T)
        size = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / n)
        assert (np.abs(found - covariance) < 5.5 * size + 1e-12).all()


def test_population_path_of_decoder_means():
    path = theory.means_path(VALUES, NOISE, 6, "replace")
    assert np.allclose(path[:4, 1], [2.0, 1.5, 1.0, 0.5])
    assert path[5, 1] == 0
    pool = theory.means_path(np.array([50.0]), NOISE, 30, "accumulate")
    assert np.allclose(pool[:, 0], 50 - NOISE * (np.cumsum(1 / np.arange(1, 31)) - 1))
    assert theory.means_path(np.array([4.0]), NOISE, 60, "real_and_last")[-1, 0] == pytest.approx(3.5)  # λ − s², no further


def experiment(regime, seed, n=400, replicates=400, n_fits=6):
    """Scaled excess loss of chains at each fit."""
    rng = np.random.default_rng(seed)
    source = ppca.truth(VALUES, NOISE, D, replicates)
    loop = feedback_loop(ppca.fit(2), source.sample(n, rng), getattr(regimes, regime), rng)
    return np.stack(
        [n * theory.excess(source.covariance[0], g.model.mean, g.model.covariance) for g in islice(loop, n_fits)], axis=1
    )


@pytest.mark.parametrize("regime", ["replace", "accumulate", "real_and_last"])
def test_the_loop_follows_its_factor_and_a_swapped_arm_fails(regime, seed):
    losses, free = experiment(regime, seed), theory.n_free(D, 2)
    rule = {"kind": "equal", "false_alarm": 1e-6, "band": 0.05}  # the band covers the remainder at n = 400
    evidence = {
        "n": len(losses),
        "mean": losses.mean(0),
        "se": losses.std(0, ddof=1) / np.sqrt(len(losses)),
        "rival": np.zeros(1),
    }
    right, wrong = theory.growth(regime, 6), theory.growth("replace" if regime != "replace" else "accumulate", 6)
    assert claims.decide(rule, evidence | {"predicted": free / 2 * right})[0] == "holds"
    assert claims.decide(rule, evidence | {"predicted": free / 2 * wrong})[0] == "fails"


def test_bad_shapes_are_named():
    rng = np.random.default_rng(0)
    for rows, k in ((np.zeros((3, 1, 4)), 2), (np.zeros((9, 1, 4)), 4), (np.zeros((9, 1, 4)), 0)):
        with pytest.raises(ValueError, match="fit: must have 1 ≤ latent units < dimensions < rows; got"):
            ppca.fit(k)(Ensemble(rows), rng)
