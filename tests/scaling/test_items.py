"""Drawn items against the law that they are drawn from."""

import numpy as np
import pytest
from scipy.special import zeta

from collapse_utils.scaling.items import draw, unseen
from collapse_utils.theory import tails as law


@pytest.mark.parametrize("cut", [np.inf, 20])
def test_items_follow_the_law_up_to_the_cut(cut, seed):
    n, rank = 100_000, np.arange(1, 6)
    items = draw(1.5, n, np.random.default_rng(seed), cut)
    p = rank**-1.5 / (zeta(1.5) - (0 if np.isinf(cut) else zeta(1.5, cut + 1)))
    seen = (items[:, None] == rank).mean(axis=0)
    assert (np.abs(seen - p) < 6 * np.sqrt(p / n)).all()
    assert np.isinf(cut) == (items.max() > 20)


def test_learners_err_as_often_as_the_exact_sum(seed):
    rng = np.random.default_rng(seed)
    errors = np.array([unseen(draw(1.5, 300, rng), 1.5) for _ in range(2000)])
    exact = law.unseen(300, *law.zipf(1.5)[1:])
    assert abs(errors.mean() - exact) < 6 * errors.std() / np.sqrt(2000)
    assert unseen(np.array([1.0, 1.0, 2.0]), 2.0) == pytest.approx(1 - 1.25 * 6 / np.pi**2)


def test_a_real_share_reaches_beyond_the_cut(seed):
    n, share = 200_000, 0.2
    items = draw(1.5, n, np.random.default_rng(seed), 20, share)
    beyond = share * zeta(1.5, 21) / zeta(1.5)
    assert abs((items > 20).mean() - beyond) < 6 * np.sqrt(beyond / n)
