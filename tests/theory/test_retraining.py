"""Retraining on real and own rows: recursions against loops on rows, limits against recursions, the admissible count against its limit."""

import numpy as np
import pytest

from collapse_utils import feedback_loop, follow, regimes
from collapse_utils.solvable import gaussian
from collapse_utils.theory import gaussian as mixtures, retraining as law

CHAINS, REAL, OWN, FITS = 40_000, 6, 9, 5


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("bias", [1.0, 0.7])
@pytest.mark.parametrize("same", [False, True])
def test_recursions_are_those_of_the_loop_on_rows(ddof, bias, same):
    rng, truth = np.random.default_rng(0), gaussian.standard(CHAINS)
    first = REAL if same else 4
    mix = regimes.real_and_last if same else regimes.fresh_real_and_last(lambda g: truth.sample(REAL, g))
    loop = feedback_loop(gaussian.fit(ddof, bias), truth.sample(first, rng), mix, rng, lambda t: OWN)
    found = follow(loop, lambda g: np.stack([g.model.variance, g.model.error], axis=1), FITS)  # (chains, fits, 2)
    path = law.fixed(FITS, REAL, OWN, ddof, bias) if same else law.fresh(FITS, 4, REAL, OWN, ddof, bias)
    z = (found.mean(axis=0) - np.transpose(path)) / (found.std(axis=0) / CHAINS**0.5)
    assert np.abs(z).max() < 5
    other = law.fresh(FITS, REAL, REAL, OWN, ddof, bias) if same else law.fixed(FITS, REAL, OWN, ddof, bias)
    assert np.abs((found.mean(axis=0) - np.transpose(other)) / (found.std(axis=0) / CHAINS**0.5)).max() > 20


def test_without_bias_it_is_the_mixture_with_fresh_rows():
    ours, theirs = law.fresh(8, 20, 5, 15, 0), mixtures.mixture(8, 20, 5, 0, fresh=True)
    assert np.allclose(ours.variance, theirs.variance)
    assert np.allclose(ours.error, theirs.error)


def test_the_limit_forgets_the_first_rows():
    limit = law.fresh_limit(100, 900, 1, 0.8)
    for first in (100, 1000):
        path = law.fresh(400, first, 100, 900, 1, 0.8)
        assert np.allclose([path.variance[-1], path.error[-1]], limit)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_stationary_errors_are_limits_of_the_recursions(share):
    many = 1_000_000
    own, real = round(share * many), round((1 - share) * many)
    assert np.isclose(law.fresh_limit(real, own).error * many, law.stationary(share), rtol=1e-4)
    assert np.isclose(law.fixed(200, real, own).error[-1] * real, law.stationary(share, same=True), rtol=1e-4)


def test_distance_is_that_of_the_mean_and_the_spread():
    for bias in (1.0, 0.8):  # n ≫ d: what d(1 − √V)² and the error of the mean say
        limit = law.fresh_limit(100_000, 50_000, 1, bias)
        assert np.isclose(law.fresh_distance(100_000, 50_000, 1, bias), (1 - limit.variance**0.5) ** 2, rtol=1e-3, atol=3e-5)
    assert np.isclose(law.fresh_distance(1000, 1e-9, 7), law.distance(1000, 7))


@pytest.mark.parametrize("bias", [0.8, 0.9, 0.99])
def test_the_admissible_count_stops_growing(bias):
    limit = law.admissible_limit(10, bias)
    counts = [law.admissible(n, 10, bias) for n in (10 * limit, 100 * limit, 10_000 * limit)]
    assert np.isclose(counts[-1], limit, rtol=2e-3)
    assert abs(counts[0] - limit) > abs(counts[1] - limit)
    assert np.isclose(law.admissible_limit(10, 0.999), 15 / 0.001**2, rtol=5e-3)


def test_without_bias_no_count_is_too_large_and_a_wrong_bias_is_refused():
    assert law.admissible(1000, 10, 1.0) == np.inf
    for own in (10, 1000, 1e7):
        assert law.fresh_distance(1000, own, 10) < law.distance(1000, 10)
    with pytest.raises(ValueError, match=r"bias must lie above 0 and be at most 1; got 1\.5"):
        law.admissible(1000, 10, 1.5)
