"""Kernel density estimates: likelihood against scikit-learn, and the exact second moments."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import claims, feedback_loop, kde
from collapse_utils.data import Ensemble
from collapse_utils.metrics import replicate
from collapse_utils.regimes import accumulate, replace
from collapse_utils.theory import kde as theory


def test_likelihood_equals_scikit_learns(seed):
    from sklearn.neighbors import KernelDensity

    rng = np.random.default_rng(seed)
    points, test = rng.standard_normal((40, 2, 3)), rng.standard_normal((25, 2, 3))
    ours = kde.fit(lambda n: 0.4)(Ensemble(points), rng).nll(test)
    theirs = [-KernelDensity(bandwidth=0.4).fit(points[:, r]).score(test[:, r]) / 25 for r in range(2)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_samples_have_the_density_s_second_moment(seed):
    rng = np.random.default_rng(seed)
    model = kde.fit(lambda n: 0.7)(Ensemble(rng.standard_normal((5, 4, 2))), rng)
    sampled = (model.sample(200_000, rng).rows ** 2).sum(-1)
    error = sampled.std(0) / np.sqrt(len(sampled))
    assert (np.abs(sampled.mean(0) - model.second_moment()) < 5.5 * error).all()  # without d·h² it is off by 0.98


def test_bandwidth_zero_resamples_the_rows_themselves(seed):
    rng = np.random.default_rng(seed)
    model = kde.fit(lambda n: 0.0)(Ensemble(rng.integers(5, size=(6, 3, 1))), rng)
    for r in range(3):
        assert set(model.sample(50, rng).rows[:, r, 0]) <= set(model.points[:, r, 0])


def test_laws_at_known_points():
    n = np.arange(1, 5)
    np.testing.assert_allclose(theory.replace(n, 1.0, 0.5), [1.25, 1.5, 1.75, 2.0])
    harmonic = 1 + np.array([0, 1 / 2, 1 / 2 + 1 / 3, 1 / 2 + 1 / 3 + 1 / 4])
    np.testing.assert_allclose(theory.accumulate(n, 1.0, np.full(4, 0.5)), 1 + 0.25 * harmonic)
    limit = theory.shrinking_limit(1.0, 1.0, 20)
    assert abs(theory.shrinking_limit(1.0, 1.0, 20, terms=10_000) - limit) < 1e-4
    long = theory.accumulate([100_000], 1.0, (np.arange(1, 100_001) * 20.0) ** -0.2)
    assert 0 < limit - long[0] < 0.02


@pytest.mark.parametrize(("id_", "mix"), [("KAZ-3a", replace), ("KAZ-3b", accumulate)])
def test_the_laws_and_the_swapped_arms(id_, mix, seed):
    n = np.arange(1, 21)

    def chain(r, rng):
        loop = feedback_loop(kde.fit(lambda m: 0.8), Ensemble(rng.standard_normal((20, r, 1))), mix, rng)
        return {"moment": np.stack([g.model.second_moment() for g in islice(loop, 20)], 1)}

    moments = replicate(chain, 3000, np.random.default_rng(seed))["moment"]
    laws = {"KAZ-3a": theory.replace(n, 1.0, 0.8), "KAZ-3b": theory.accumulate(n, 1.0, np.full(20, 0.8))}
    for other, law in laws.items():
        assert claims.equal(id_, moments, law, law + 5, at=n).verdict == ("holds" if other == id_ else "fails")
