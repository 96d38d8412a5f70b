"""Stray rows, early stopping and fading shares: closed forms against quadrature, counted smoothings and enumerated tables."""

import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import comb
from scipy.stats import binom

from collapse_utils.params import ParameterError
from collapse_utils.theory import irregular as law
from workflow import chapters


@pytest.mark.parametrize("n", [3, 64, 1000])
def test_levels_are_those_of_the_largest_of_n_uniform_rows(n):
    u, probability = law.levels(n)
    assert np.isclose(probability.sum(), 1)
    for j in range(1, 14):
        low, high = 1 - 2 * u[j - 1], 1 - u[j - 1]
        assert np.isclose(quad(lambda m: n * m ** (n - 1), low, high)[0], probability[j - 1], atol=1e-9)
    assert np.isclose(law.first_error(n), (u * probability).sum())
    assert 0.5 < n * law.first_error(n) < 1.5


def test_one_stray_row_in_all_rounds_is_enough():
    u, probability = law.levels(64)
    fits = np.array([1, 2, 5])
    expected = [(probability * binom.sf(0, 64 * (t - 1), u / 2)).sum() for t in fits]
    assert np.allclose(law.collapsed(64, fits), expected)
    assert np.allclose(law.collapsed(64, None, hazard=fits - 1), expected)
    assert abs(law.collapsed(2**14, [2])[0] / law.collapsed(2**8, [2])[0] - 1) < 0.01  # does not fall with the rows


def test_a_fresh_share_smooths_a_geometric_number_of_times():
    keep, share, fits = 0.83, 0.3, 6
    times = np.eye(1, fits + 2, 0)[0]  # probability of k smoothings of a training row
    for t in range(1, fits + 1):
        written = np.roll(times, 1)
        assert np.isclose(law.fresh_share(keep, share, fits)[t - 1], written @ keep ** np.arange(fits + 2))
        times = (1 - share) * written
        times[0] += share
    k = np.arange(500)
    assert np.isclose(law.fresh_share_limit(keep, share), (share * (1 - share) ** k * keep ** (k + 1)).sum())
    assert np.isclose(law.fresh_share(keep, share, 300)[-1], law.fresh_share_limit(keep, share))
    assert np.isclose(law.fresh_share(keep ** (1 / np.arange(1, 5001)), share, 5000)[-1], 1, atol=1e-3)


def test_a_pool_is_the_mean_of_what_was_written():
    keep, pool = 0.83, [1.0]
    for t in range(6):
        assert np.isclose(law.kept_all(keep, 6)[t], keep * np.mean(pool))
        pool.append(keep * np.mean(pool))
    slope = np.diff(np.log(law.kept_all(keep, 40_000)[[19_999, 39_999]]))[0] / np.log(2)
    assert abs(slope + 1 - keep) < 1e-4


def test_the_error_of_a_table_by_enumeration():
    """Two tokens: the law of the counts of every round, written out."""
    p, shares, sizes = 0.3, [1.0, 0.6, 0.25], [2, 3, 4]
    q, weight = np.array([p]), np.ones(1)
    errors = law.table_error(np.array(shares), np.array(sizes)) * (1 - p**2 - (1 - p) ** 2)
    for a, n, expected in zip(shares, sizes, errors, strict=True):
        mixed, k = a * p + (1 - a) * q, np.arange(n + 1)
        weight = (weight[:, None] * comb(n, k) * mixed[:, None] ** k * (1 - mixed[:, None]) ** (n - k)).sum(axis=0)
        q = k / n
        assert np.isclose((weight * 2 * (q - p) ** 2).sum(), expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("share=0.04", "share: must be between 0.05 and 0.95; got 0.04"),
        ("share=0.99", "share: must be between 0.05 and 0.95; got 0.99"),
        ("speed=0.9", "speed: must be between 1 and 5; got 0.9"),
        ("speed=1e3", "speed: must be between 1 and 5; got 1000.0"),
    ],
)
def test_the_chapter_refuses_rounds_without_rows_of_both_kinds_and_shares_that_fall_too_slowly_or_too_late(given, said):
    with pytest.raises(ParameterError, match=re.escape(said)):
        chapters.planned("laptop", "irregular", given)


def test_at_the_ends_of_its_range_the_share_leaves_rows_of_both_kinds():
    for n_rows in range(20, 2001):
        assert all(1 <= round(share * n_rows) < n_rows for share in (0.05, 0.95))
