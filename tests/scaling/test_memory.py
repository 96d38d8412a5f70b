"""Overlaps of random embeddings against their Wishart law; memories against what they must and cannot hold."""

import numpy as np
import pytest
from scipy.stats import wishart

from collapse_utils.scaling.memory import mistakes, overlaps


def test_overlaps_follow_the_wishart_law(seed):
    """Mean and variance of every entry, at a width of few and of as many as the items."""
    rng, n, r = np.random.default_rng(seed), 4, 10_000
    for d in (4, 50):
        drawn = np.array([overlaps(n, d, rng) for _ in range(r)])
        law = wishart(d, np.eye(n) / d)
        slack = 6 * np.sqrt(law.var() / r)
        assert (np.abs(drawn.mean(axis=0) - law.mean()) < slack).all()
        kurtosis = 12 / d + 3  # of a chi-squared diagonal, the largest
        assert (np.abs(drawn.var(axis=0) / law.var() - 1) < 6 * np.sqrt((kurtosis + 6 / d) / r)).all()
        assert np.array_equal(drawn, drawn.swapaxes(1, 2))


def test_a_narrow_memory_is_refused():
    with pytest.raises(ValueError, match="got d = 3, n = 4"):
        overlaps(4, 3, np.random.default_rng(0))


def test_a_memory_knows_what_stands_out_and_guesses_the_rest(seed):
    rng, few = np.random.default_rng(seed), np.r_[np.ones(3), np.zeros(997)]
    wrong = np.array([mistakes(few, 10_000, 5, rng) for _ in range(50)])
    assert not wrong[:, :3].any()
    crowded = np.mean([mistakes(np.ones(400), 400, 5, rng) for _ in range(50)])
    assert 0.1 < crowded < 0.8  # noise as large as the signal: neither safe nor a guess


def test_explicit_embeddings_make_as_many_mistakes(seed):
    """The same error rate by vectors of width d, answers orthonormal in a space of their own."""
    rng, n, d, r = np.random.default_rng(seed), 30, 60, 2000
    q, seen = np.arange(1.0, n + 1) ** -0.5, []
    for _ in range(r):
        items, answers = rng.standard_normal((n, d)) / np.sqrt(d), rng.integers(3, size=n)
        matrix = (items * q[:, None]).T @ np.eye(3)[answers]  # (d, 3)
        seen.append(((items @ matrix).argmax(axis=1) != answers).mean())
    ours = [mistakes(q, d, 3, rng).mean() for _ in range(r)]
    assert abs(np.mean(seen) - np.mean(ours)) < 6 * np.sqrt((np.var(seen) + np.var(ours)) / r)
