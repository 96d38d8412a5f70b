"""Softmax regression against scikit-learn and torch, its labels against their law, random convolutions by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from collapse_utils import feedback_loop, follow
from collapse_utils.regimes import accumulate
from collapse_utils.rows import Ensemble
from collapse_utils.solvable.softmax import Softmax, SoftmaxModel, epochs, frequencies, maximum, random_convolutions


def test_random_convolutions_by_hand(seed):
    images = np.random.default_rng(seed).random((3, 6, 8))
    found = random_convolutions(images, 2, np.random.default_rng(seed)).reshape(3, 2, 3, 2)
    filters = np.random.default_rng(seed).standard_normal((9, 2))
    for i, j in ((0, 0), (1, 2)):
        places = [images[:, a : a + 3, b : b + 3].reshape(3, 9) for a in (2 * i, 2 * i + 1) for b in (2 * j, 2 * j + 1)]
        assert np.allclose(found[:, i, j], np.mean([np.maximum(p @ filters, 0) for p in places], axis=0))
    with pytest.raises(ValueError, match="even sides; got 5 × 6"):
        random_convolutions(np.zeros((1, 5, 6)), 1, np.random.default_rng(0))


@pytest.fixture
def labelled(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.ones((2, 90, 1)), rng.standard_normal((2, 90, 3))], axis=2)
    truth = SoftmaxModel(Softmax(x, 3, maximum), rng.standard_normal((2, 4, 3)))
    return rng, x, truth


def test_labels_have_the_shares_of_the_model(labelled):
    rng, x, truth = labelled
    found = frequencies(truth.sample(90 * 4000, rng).rows.T, 90, 3)
    p = softmax(x @ truth.w, axis=2)
    assert (np.abs(found - p) < 6 * np.sqrt(p * (1 - p) / 4000) + 1e-3).all()
    logits = x @ truth.w  # a wrong temperature moves their mean
    spread = (p * logits**2).sum(axis=2) - (p * logits).sum(axis=2) ** 2
    assert abs(((found - p) * logits).sum()) < 6 * np.sqrt(spread.sum() / 4000)
    with pytest.raises(ValueError, match="multiple of the 90 images; got 100"):
        truth.sample(100, rng)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_the_maximum_is_that_of_scikit_learn(labelled, penalty):
    rng, x, truth = labelled
    labels = truth.sample(180, rng).rows.T
    w = maximum(x, labels, 3, penalty=penalty)
    for run in range(2):
        peer = LogisticRegression(C=1 / (180 * penalty) if penalty else np.inf, fit_intercept=False, tol=1e-9, max_iter=5000)
        rows = np.tile(x[run], (2, 1))
        peer.fit(rows, labels[run])
        assert np.allclose(softmax(rows @ w[run], axis=1), peer.predict_proba(rows), atol=1e-5)


def test_separable_labels_are_refused():
    x = np.array([[[1.0, -1], [1, 1]]])
    with pytest.raises(ValueError, match="must not be separable; got"):
        maximum(x, np.array([[0, 1]]), 2)


def test_the_loss_is_the_mean_surprise(labelled):
    rng, x, truth = labelled
    labels = truth.sample(90, rng).rows.T
    p = softmax(x @ truth.w, axis=2)
    surprise = [-np.log(p[r, np.arange(90), labels[r]]).mean() for r in range(2)]
    assert np.allclose(truth.loss(x, np.eye(3)[labels]), surprise)


def test_long_training_reaches_the_maximum_and_runs_are_independent(labelled):
    rng, x, truth = labelled
    labels = truth.sample(90, rng).rows.T
    train = epochs("adam", 0.1, 150, batch=90)
    w, best = train(x, labels, 3, np.random.default_rng(1)), maximum(x, labels, 3)
    assert np.allclose(softmax(x @ w, axis=2), softmax(x @ best, axis=2), atol=0.02)
    few = epochs("sgd", 0.1, 2, batch=90)
    both, alone = (few(x[:k], labels[:k], 3, np.random.default_rng(1)) for k in (2, 1))
    assert np.allclose(both[0], alone[0], atol=1e-6)
    step = 0.1 * x[0].T @ (np.eye(3)[labels[0]] - 1 / 3) / 90
    p = softmax(x[0] @ step, axis=1)
    assert np.allclose(both[0], 1.9 * step + 0.1 * x[0].T @ (np.eye(3)[labels[0]] - p) / 90, atol=1e-5)


def test_the_loop_keeps_every_image_in_its_place(labelled):
    rng, x, truth = labelled
    seen = []

    def train(x, labels, n_classes, rng):
        seen.append(labels.shape[1])
        return truth.w

    real = Ensemble(np.tile(np.arange(90)[:, None] % 3, (1, 2)))
    follow(
        feedback_loop(Softmax(x, 3, train).fit, real, accumulate, rng), lambda g: g.model.loss(x, np.full((2, 90, 3), 1 / 3)), 3
    )
    assert seen == [90, 180, 270]
