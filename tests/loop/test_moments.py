"""Fits of a known curve; the jackknife of a mean; a critical value against its own law."""

import numpy as np
import pytest

from collapse_utils import moments
from collapse_utils.pruning import evaluation


def test_a_known_transition_is_found(seed):
    fractions = np.linspace(0, 0.9, 13)
    truth = evaluation.logistic(fractions, 0.45, 0.04, 0.8, 0.25)
    assert np.allclose(evaluation.transition(fractions, truth, 0.25), (0.45, 0.04), atol=1e-3)
    noisy = truth + np.random.default_rng(seed).normal(0, 0.002, 13)
    assert np.allclose(evaluation.transition(fractions, noisy, 0.25), (0.45, 0.04), atol=0.02)
    line = 0.25 + 0.55 * (1 - fractions)
    assert evaluation.transition(fractions, line, 0.25)[1] > 0.1  # a straight decline is wide


def test_what_chance_makes_of_a_trend_lies_beyond_the_point_at_its_level(seed):
    rng, n = np.random.default_rng(seed), 15
    centred = np.arange(n) - (n - 1) / 2
    found = rng.permuted(np.tile(centred, (40_000, 1)), axis=1) @ centred / (centred @ centred)
    for level in (0.05, 0.01):
        beyond = (found > moments.spearman_point(n, level)).mean()
        assert abs(beyond - level) < 5 * np.sqrt(level / len(found)) + 0.05 * level


def test_the_width_of_a_fall_has_the_spread_of_a_bootstrap(seed):
    fractions = np.linspace(0, 0.9, 10)
    chances = evaluation.logistic(fractions, 0.4, 0.1, 0.8, 0.25)
    right = np.random.default_rng(seed).random((10, 400)) < chances[:, None]
    found = evaluation.fall(right, fractions, 0.25, np.random.default_rng(1), n=30)
    draws = np.random.default_rng(1).integers(400, size=(30, 400))
    widths = [evaluation.transition(fractions, right[:, draw].mean(axis=1), 0.25)[1] for draw in draws]
    assert np.allclose((found.fc, found.width.mean[0]), evaluation.transition(fractions, right.mean(axis=1), 0.25))
    assert np.isclose(found.width.se[0], np.std(widths, ddof=1))


def test_the_jackknife_of_a_mean_is_its_standard_error(seed):
    groups = np.random.default_rng(seed).normal(size=(30, 4))
    found = moments.jackknife(groups, lambda mean: mean)
    assert np.allclose(found.mean, groups.mean(0))
    assert np.allclose(found.se, groups.std(0, ddof=1) / np.sqrt(30))
    square = moments.jackknife(10 + groups, lambda mean: mean**2)
    assert np.allclose(square.se, 2 * (10 + groups).mean(0) * found.se, rtol=0.05)  # the delta method


@pytest.mark.parametrize("chosen", [slice(2), [0, -1], np.array([False, True, True, False])], ids=["slice", "index", "mask"])
def test_columns_are_those_of_the_samples(chosen):
    samples = np.random.default_rng(0).standard_normal((50, 4)) * [1, 2, 3, 4]
    found, direct = moments.columns(moments.of(samples), chosen), moments.of(samples[:, chosen])
    assert found.n == 50
    assert np.allclose(found.mean, direct.mean, rtol=1e-12, atol=0)
    assert np.allclose(found.se, direct.se, rtol=1e-12, atol=0)
