"""Weighted and verified means: closed forms against coefficients written out one by one, minimisers and quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from collapse_utils.theory import weights as law


def written_out(weight, ratio, fits, fresh):
    """Error of the last fit from the coefficients of every real mean and every round's noise, in units of σ²/n."""
    real, noise = np.eye(1, fits)[0], np.zeros(fits)
    for t in range(1, fits):
        real, noise = (1 - weight) * real, (1 - weight) * noise
        real[t if fresh else 0] += weight
        noise[t] += 1 - weight
    return (real**2).sum() + (noise**2).sum() / ratio


@pytest.mark.parametrize("ratio", [0.5, 1.0, 6.0])
@pytest.mark.parametrize("weight", [0.2, law.GOLDEN, 1.0])
def test_path_and_limits_are_sums_of_squared_coefficients(weight, ratio):
    path = law.path(weight, 7, ratio)
    assert np.allclose(path, [written_out(weight, ratio, t, True) for t in range(1, 8)])
    assert np.isclose(law.limit(weight, ratio), written_out(weight, ratio, 400, True))
    assert np.isclose(law.fixed_limit(weight, ratio), written_out(weight, ratio, 400, False))
    assert law.fixed_limit(weight, ratio) >= 1


@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.0, 50.0])
def test_the_best_weight_is_found_by_a_search_and_is_its_own_error(ratio):
    found = minimize_scalar(lambda w: law.limit(w, ratio), bounds=(1e-3, 1), method="bounded", options={"xatol": 1e-10})
    assert abs(found.x - law.best(ratio)) < 1e-6
    assert np.isclose(law.limit(law.best(ratio), ratio), law.best(ratio), rtol=1e-13)
    assert np.isclose(law.best(1.0), law.GOLDEN, rtol=1e-14)


def test_the_best_weight_of_each_round_is_a_quotient_of_fibonacci_numbers():
    own, error = law.greedy(6), 1.0
    assert np.allclose(own[:4], [1, 2 / 3, 5 / 8, 13 / 21])
    for w in own[1:]:
        found = minimize_scalar(lambda x, e=error: x**2 + (1 - x) ** 2 * (e + 1), bounds=(0, 1), method="bounded")
        assert abs(found.x - w) < 1e-5
        error = found.fun
        assert abs(error - w) < 1e-9
    assert np.allclose(law.path(own[1:], 6), own)


@pytest.mark.parametrize("pull", [0.1, 0.5, 0.9])
def test_one_round_of_a_verifier_by_quadrature(pull):
    mean, centre, tau = 0.4, -1.0, np.sqrt(1 / pull - 1)
    passed = [
        quad(lambda y, k=k: y**k * norm.pdf(y, mean) * np.exp(-((y - centre) ** 2) / 2 / tau**2), -9, 9)[0] for k in range(3)
    ]
    found = passed[1] / passed[0]
    assert np.isclose(found, mean + law.verified_mean(pull, 1)[1] * (centre - mean))
    spread = passed[2] / passed[0] - found**2
    first = 0.7
    assert np.isclose(law.verified_variance(pull, 1, first)[1], (1 - pull) ** 2 * first + spread)
    assert np.isclose(law.verified_variance(pull, 500)[-1], law.verified_limit(pull))
    assert (law.verified_limit(pull) < 1) == (pull > law.GOLDEN**2)
