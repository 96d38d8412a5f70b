"""The discrete chain: exact absorption times against a Markov chain that shares no code with them."""

import numpy as np
import pytest
from scipy.stats import binom

from collapse_utils.theory import discrete as theory


@pytest.mark.parametrize("m", [1, 2, 5, 12])
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_two_states_equal_the_fundamental_matrix(m, p):
    """Mean time from Binomial(m, p) copies by (I − Q)⁻¹ of the binomial transition matrix."""
    k = np.arange(m + 1)
    inner = binom.pmf(k[None, 1:-1], m, k[1:-1, None] / m)
    times = np.zeros(m + 1)
    if m > 1:
        times[1:-1] = np.linalg.solve(np.eye(m - 1) - inner, np.ones(m - 1))
    expected = binom.pmf(k, m, p) @ times
    assert abs(theory.absorption_time([p, 1 - p], m) - expected) < 1e-9


def test_occupancy_rows_are_laws_with_the_right_mean():
    table = theory.ancestors(9)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    j = np.arange(10)
    np.testing.assert_allclose(table @ j, 9 * (1 - (1 - 1 / 9) ** j))


def test_absorption_times_approach_the_diffusion_limit():
    p = np.full(10, 0.1)
    gaps = [1 - theory.absorption_time(p, m) / theory.absorption_time_limit(p, m) for m in (10, 40, 160)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.012
    assert abs(theory.absorption_time_limit(p, 1) - 18 * np.log(10 / 9)) < 1e-12


def test_survival_and_diversity_limits():
    s = theory.survival(20_000)
    assert s[1] == 1 - np.exp(-1)
    assert abs(s[-1] * 20_000 / 2 - 1) < 2e-3
    x = np.pi / np.sqrt(7)
    assert abs(theory.diversity_accumulate(np.array([100_000]), 7)[0] - np.sin(x) / x) < 1e-5
