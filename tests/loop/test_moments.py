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
