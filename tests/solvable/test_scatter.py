"""Gaussians in d dimensions and PPCA on mean and scatter, against the loops on rows: equal in law, and a wrong law is seen."""

from itertools import islice

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import ks_2samp, norm, wishart

from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate, real_and_last, replace, replace_multiple, size_matched
from collapse_utils.solvable import gaussian, ppca, scatter
from collapse_utils.theory import gaussian as theory

CHAINS, ROWS, FITS, ALARM = 8000, 6, 4, 1e-7


def apart(one, other):
    return [name for name in one if any(ks_2samp(a, b).pvalue < ALARM for a, b in zip(one[name], other[name], strict=True))]


def loop(fit, truth, mix, rng, measure, rows=ROWS):
    draw = size_matched(rows) if mix is replace_multiple else None
    seen = [measure(g.model) for g in islice(feedback_loop(fit, truth.sample(rows, rng), mix, rng, draw), FITS)]
    return {name: np.array([one[name] for one in seen]) for name in seen[0]}


def gaussians(module, mix, rng, d=3, rows=ROWS):
    def measure(model):
        size = model.log_determinant if rows > d else np.log(model.variance)
        skew = model.error / model.variance, (model.factor[:, 0] ** 2).sum(axis=1) / model.variance
        return {"error": model.error, "variance": model.variance, "size": size, "ratio": skew[0], "shape": skew[1]}

    truth = gaussian.standard(CHAINS, d)
    return loop(module(1), scatter.Gaussian.of(truth) if module is scatter.gaussian_fit else truth, mix, rng, measure, rows)


@pytest.mark.parametrize("mix", [replace, accumulate, replace_multiple])
def test_a_gaussian_on_scatter_is_one_on_rows(mix, seed):
    rng = np.random.default_rng(seed)
    assert apart(gaussians(gaussian.fit, mix, rng), gaussians(scatter.gaussian_fit, mix, rng)) == []


def test_fewer_rows_than_dimensions(seed):
    rng = np.random.default_rng(seed)
    rows, found = (gaussians(fit, replace, rng, 5, 4) for fit in (gaussian.fit, scatter.gaussian_fit))
    assert apart(rows, found) == []


def test_the_wishart_matrix_is_scipy_s(seed):
    rng, scale = np.random.default_rng(seed), np.diag([1.0, 2.0, 0.5])
    root = scatter.wishart(4, CHAINS, 3, rng) @ np.sqrt(scale)
    found, known = root.swapaxes(1, 2) @ root, wishart(4, scale).rvs(CHAINS, rng)
    for i, j in ((0, 0), (0, 1), (1, 2), (2, 2)):
        assert ks_2samp(found[:, i, j], known[:, i, j]).pvalue > ALARM
    assert ks_2samp(np.linalg.det(found), np.linalg.det(known)).pvalue > ALARM


def test_a_wishart_with_n_degrees_and_a_join_without_the_means_are_seen(seed, monkeypatch):
    rng, right = np.random.default_rng(seed), scatter.wishart
    replaced, pooled = gaussians(gaussian.fit, replace, rng), gaussians(gaussian.fit, accumulate, rng)
    with monkeypatch.context() as patch:
        patch.setattr(scatter, "wishart", lambda free, *rest: right(free + 1, *rest))
        assert {"variance", "size"} <= set(apart(replaced, gaussians(scatter.gaussian_fit, replace, rng)))

    def forgetful(one, other):
        n, root = one.n + other.n, np.linalg.qr(np.concatenate([one.root, other.root], axis=1), mode="r")
        return scatter.Scatter(n, (one.n * one.mean + other.n * other.mean) / n, root)

    monkeypatch.setattr(scatter.Scatter, "join", forgetful)
    assert "variance" in apart(pooled, gaussians(scatter.gaussian_fit, accumulate, rng))


def test_joined_scatter_is_that_of_the_rows(seed):
    rng = np.random.default_rng(seed)
    one, two = rng.standard_normal((2, 3, 7, 4))  # (R, n, d)

    def summary(rows):
        centred = rows - rows.mean(axis=1, keepdims=True)
        return scatter.Scatter(rows.shape[1], rows.mean(axis=1), np.linalg.qr(centred, mode="r"))

    joined, whole = summary(one).join(summary(two[:, :2])), np.concatenate([one, two[:, :2]], axis=1)
    centred = whole - whole.mean(axis=1, keepdims=True)
    assert joined.n == 9
    assert np.allclose(joined.mean, whole.mean(axis=1), rtol=0, atol=1e-14)
    assert np.allclose(joined.root.mT @ joined.root, centred.mT @ centred, rtol=0, atol=1e-12)


def test_determinants_beyond_floating_point_follow_their_line(seed):
    """In two dimensions, 40 rows, 4,000 fits: the volume is e^−150 and one direction e^−50 of the other."""
    rng, chains, n = np.random.default_rng(seed), 300, 4000
    truth = scatter.Gaussian.of(gaussian.standard(chains, 2))
    last = next(islice(feedback_loop(scatter.gaussian_fit(1), truth.sample(40, rng), replace, rng), n - 1, None)).model
    mean, variance = theory.log_determinant(n, 40, 1, 2)
    assert abs(last.log_determinant.mean() - mean[-1]) < norm.isf(ALARM) * np.sqrt(variance[-1] / chains)
    assert mean[-1] < -200


def encoders(fit, mix, rng, pixel_noise):
    values, noise = np.array([4.0, 2.0]), 0.5
    truth = ppca.truth(values, noise, 4, CHAINS)
    truth = scatter.PPCA.of(truth) if fit is scatter.ppca_fit else truth

    def measure(model):
        first, towards = model.values[:, 0], np.abs(model.vectors[:, 0, 0])
        joint = np.abs((model.mean * model.vectors[:, :, 0]).sum(axis=1)) / np.sqrt(first)
        return {
            "first": first,
            "second": model.values[:, 1],
            "rest": model.noise + 1e-9 * first,
            "turned": towards,
            "joint": joint,
        }

    return loop(fit(2, None if pixel_noise else noise, pixel_noise), truth, mix, rng, measure, 20)


@pytest.mark.parametrize("pixel_noise", [True, False])
@pytest.mark.parametrize("mix", [replace, accumulate, real_and_last])
def test_ppca_on_scatter_is_ppca_on_rows(mix, pixel_noise, seed):
    rng = np.random.default_rng(seed)
    assert apart(encoders(ppca.fit, mix, rng, pixel_noise), encoders(scatter.ppca_fit, mix, rng, pixel_noise)) == []


def test_ppca_without_its_noise_is_seen(seed):
    rng = np.random.default_rng(seed)
    assert "second" in apart(encoders(ppca.fit, replace, rng, True), encoders(scatter.ppca_fit, replace, rng, False))


@pytest.mark.parametrize("ddof", [0, 1])
def test_one_row_has_no_spread(ddof):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="fit: a spread needs at least two rows and must stay above zero; got 1 rows"):
        scatter.gaussian_fit(ddof)(scatter.Gaussian.of(gaussian.standard(2, 3)).sample(1, rng), rng)


def test_what_cannot_be_fitted_or_joined_is_refused():
    rng = np.random.default_rng(0)
    drawn = scatter.Gaussian.of(gaussian.standard(2, 3)).sample(5, rng)
    wide = scatter.Gaussian.of(gaussian.standard(2, 4)).sample(5, rng)
    said = {
        "fit: must have 1 ≤ latent units < dimensions < rows; got 3, 3 and 5": lambda: scatter.ppca_fit(3)(drawn, rng),
        "join: both must hold the same statistics in the same shapes; got Scatter .* and Scatter ": lambda: drawn.join(wide),
        "fit: this estimator needs rows, and Scatter keeps none; use the one that comes with Scatter": lambda: ppca.fit(1)(
            drawn, rng
        ),
    }
    for words, call in said.items():
        with pytest.raises(ValueError, match=words):
            call()


def test_distance_is_that_of_the_matrix_root():
    rng = np.random.default_rng(0)
    for rows in (3, 9):  # fewer rows than dimensions, and more
        model = scatter.gaussian_fit(1)(scatter.Gaussian.of(gaussian.standard(4, 5)).sample(rows, rng), rng)
        covariance = model.factor.swapaxes(1, 2) @ model.factor
        plain = [
            m @ m + np.trace(np.eye(5) + c - 2 * sqrtm(c + 1e-15 * np.eye(5)).real)
            for m, c in zip(model.mean, covariance, strict=True)
        ]
        assert np.allclose(scatter.distance(model), plain, atol=1e-6)
