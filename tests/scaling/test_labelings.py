"""Labelings against truth tables, learners against scikit-learn, linear rules against linear programming, cumulants by weights."""

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from collapse_utils.scaling.labelings import by_linear_rule, everything, linear, nearest, unseen_accuracy
from collapse_utils.scaling.outputs import cumulants, kernels


@pytest.mark.parametrize("n_pixels", [1, 2, 3])
def test_everything_is_there_once(n_pixels):
    images, labels = everything(n_pixels)
    assert len({tuple(image) for image in images}) == len(images) == 2**n_pixels
    assert len({tuple(label) for label in labels}) == len(labels) == 2**2**n_pixels
    assert set(np.unique(labels)) == {-1, 1}


def test_too_many_pixels_are_refused():
    with pytest.raises(ValueError, match=r"between 1 and 4; got 9, with 2\^512 labelings"):
        everything(9)


def test_learners_are_those_of_scikit_learn(seed):
    rng, (images, labels) = np.random.default_rng(seed), everything(3)
    order = rng.permutation(8)
    seen, new, y = images[order[:5]], images[order[5:]], labels[rng.integers(256)][order[:5]]
    assert np.allclose(linear(seen, new) @ y, LinearRegression().fit(seen, y).predict(new))
    for image, answer in zip(new, nearest(seen, new) @ y):
        distance = np.abs(seen - image).sum(axis=1)
        assert answer in y[distance == distance.min()]
        if (distance == distance.min()).sum() == 1:
            assert answer == KNeighborsRegressor(1).fit(seen, y).predict(image[None])[0]


@pytest.mark.parametrize(("n_pixels", "count"), [(1, 4), (2, 14), (3, 104)])
def test_linear_rules_are_those_that_a_linear_programme_finds(n_pixels, count):
    images, labels = everything(n_pixels)
    made, x = by_linear_rule(n_pixels), np.column_stack([np.ones(len(images)), images])
    separable = [
        linprog(np.zeros(n_pixels + 1), -y[:, None] * x, -np.ones(len(x)), bounds=(None, None)).status == 0 for y in labels
    ]
    assert made.sum() == count
    assert made.tolist() == separable


def test_no_learner_beats_chance_and_a_linear_world_helps():
    for learner in (nearest, linear, lambda seen, new: -nearest(seen, new)):
        found = unseen_accuracy(learner, 2, 2)
        assert found.mean() == pytest.approx(0.5, abs=1e-12)
    assert unseen_accuracy(linear, 3, 6)[by_linear_rule(3)].mean() > 0.6


def test_kernels_have_the_law_of_explicit_weights(seed):
    """Mean and covariance of kernels against networks whose weights are drawn."""
    rng, n, r = np.random.default_rng(seed), 5, 20_000
    x = np.array([[1.0, 0, 0], [0.5, np.sqrt(0.75), 0], [0, 0.6, 0.8]]) * np.sqrt(3)
    h = np.maximum(np.einsum("rni,ai->ran", rng.standard_normal((r, n, 3)), x) / np.sqrt(3), 0)
    h = np.maximum(np.einsum("rmn,ran->ram", rng.standard_normal((r, n, n)), h) * np.sqrt(2 / n), 0)
    explicit, ours = 2 / n * h @ h.transpose(0, 2, 1), kernels(x @ x.T / 3, 2, n, r, rng)
    for power in (1, 2):
        a, b = (kernel.reshape(r, 9) ** power for kernel in (explicit, ours))
        slack = 6 * np.sqrt((a.var(axis=0) + b.var(axis=0)) / r)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < slack).all()


def test_cumulants_are_those_of_the_outputs(seed):
    """Of outputs that are drawn, by moments and the partitions of Leonov and Shiryaev (1959)."""
    rng, r = np.random.default_rng(seed), 400_000
    factor = rng.gamma(2.0, 0.5, (r, 1, 1))  # one fluctuating factor of all kernels
    gram = np.array([[1, 0.8, 0.6], [0.8, 1, 0.7], [0.6, 0.7, 1]])
    z = np.sqrt(factor[:, 0]) * (rng.standard_normal((r, 3)) @ np.linalg.cholesky(gram).T)
    s = gram  # E f = 1, κ₂(f) = 1/2, κ₃(f) = 1/2
    pairs = s[0, 0] * s[1, 1] + 2 * s[0, 1] ** 2
    triples = s[0, 0] * s[1, 1] * s[2, 2] + 8 * s[0, 1] * s[1, 2] * s[0, 2]
    triples += 2 * (s[0, 0] * s[1, 2] ** 2 + s[1, 1] * s[0, 2] ** 2 + s[2, 2] * s[0, 1] ** 2)
    assert np.allclose(cumulants(factor * gram), [[1.5, 7.5], [pairs / 2, triples / 2]], rtol=0.04)
    second = (z**2).mean(axis=0)
    fourth = (z[:, 0] ** 2 * z[:, 1] ** 2).mean() - second[0] * second[1] - 2 * (z[:, 0] * z[:, 1]).mean() ** 2
    assert fourth == pytest.approx(pairs / 2, rel=0.1)
    few = np.mean([cumulants(factor[i : i + 5] * gram) for i in range(0, 200_000, 5)], axis=0)
    assert np.allclose(few, [[1.5, 7.5], [pairs / 2, triples / 2]], rtol=0.15)  # without bias, from five networks each
