"""The model that stops early: its Hermite moments against their law, and the right model where it does not stop."""

import numpy as np
from numpy.polynomial.hermite_e import hermeval

from collapse_utils.solvable.early_stopping import EarlyStopped


def test_each_hermite_moment_is_multiplied_by_its_own_factor(seed):
    rng = np.random.default_rng(seed)
    rows = rng.gamma(2, 0.7, (5, 1)) - 1
    drawn = EarlyStopped(rows, 0.3).sample(400_000, rng).rows
    for order in range(1, 5):
        series = np.eye(5)[order]
        found, expected = hermeval(drawn, series), np.exp(-0.3 * order) * hermeval(rows, series).mean()
        noise = found.std() / np.sqrt(len(drawn))
        assert abs(found.mean() - expected) < 6 * noise
        assert abs(found.mean() - hermeval(rows, series).mean()) > 6 * noise


def test_a_model_that_does_not_stop_early_resamples_each_data_set(seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((4, 3))
    drawn = EarlyStopped(rows, 0.0).sample(200, rng).rows
    assert all(set(np.unique(drawn[:, k])) == set(rows[:, k]) for k in range(3))
