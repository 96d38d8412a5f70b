"""Kernel density estimates: likelihood against scikit-learn, and the exact second moments."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import claims, feedback_loop
from collapse_utils.moments import replicate
from collapse_utils.regimes import accumulate, replace
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import kde
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
    harmonic = np.cumsum(1 / np.arange(1, 6))
    np.testing.assert_allclose(theory.kernels_accumulate(np.arange(1, 6)), harmonic)
    assert abs(theory.kernels_limit(0.5) - 1) < 1e-6  # Σ 1/(k(k+1)) = 1
    late = theory.kernels_accumulate([10**5, 10**6], exponent=0.2)
    gap = theory.kernels_limit(0.2) - late
    assert gap[0] > gap[1] > 0
    with pytest.raises(ValueError, match="must be positive"):
        theory.kernels_limit(0.0)


def test_finite_sample_spread_tends_to_the_law_of_infinite_samples():
    n = np.arange(1, 30)
    np.testing.assert_allclose(theory.spread_replace(n, 10**9, 1.0, 0.5), 1 + 0.25 * n, rtol=1e-6)
    np.testing.assert_allclose(theory.spread_accumulate(n, 10**9, 1.0, 0.5), 1 + 0.25 * theory.kernels_accumulate(n), rtol=1e-6)
    assert abs(theory.spread_replace(10**6, 20, 1.0, 0.5) - 20 * 0.25) < 1e-9  # levels off; the second moment does not


def test_law_of_the_number_of_kernels():
    for n in (1, 2, 7, 40):
        law = theory.kernel_law(n)
        assert law.shape == (n + 1,)
        assert abs(law.sum() - 1) < 1e-12
        assert abs(law @ np.arange(n + 1) - theory.kernels_accumulate(n)) < 1e-12
    np.testing.assert_allclose(theory.kernel_law(3), [0, 1 / 3, 1 / 2, 1 / 6])  # 1·(1/2)(2/3), …, (1/2)(1/3)


def test_loss_floor_is_the_normal_cross_entropy_for_one_component():
    for j in (0, 3):
        variance = 1 + j * 0.25
        exact = 0.5 * np.log(2 * np.pi * variance) + 0.5 / variance
        assert abs(theory.loss_floor(np.eye(j + 1)[j], 0.5) - exact) < 1e-9


def test_weighted_likelihood_is_a_quadrature(seed):
    rng = np.random.default_rng(seed)
    model = kde.fit(lambda n: 0.5)(Ensemble(rng.standard_normal((30, 1, 1))), rng)
    grid = np.linspace(-6, 6, 61)[:, None, None]
    weights = np.exp(-(grid[:, 0, 0] ** 2) / 2)
    rows = rng.standard_normal((40_000, 1, 1))
    single = np.array([model.nll(chunk).item() for chunk in np.split(rows, 400)])
    assert abs(model.nll(grid, weights).item() - single.mean()) < 5.5 * single.std() / np.sqrt(400)  # equal weights miss by > 1
    with pytest.raises(ValueError, match="must be positive"):
        kde.fit(lambda n: 0.0)(Ensemble(rows), rng).nll(grid)


@pytest.mark.parametrize(("id_", "mix"), [("KAZ-3a", replace), ("KAZ-3b", accumulate)])
def test_the_laws_and_the_swapped_arms(id_, mix, seed):
    n = np.arange(1, 21)

    def chain(r, rng):
        loop = feedback_loop(kde.fit(lambda m: 0.8), Ensemble(rng.standard_normal((20, r, 1))), mix, rng)
        seen = [(g.model.second_moment(), g.model.variance()) for g in islice(loop, 20)]
        return dict(zip(("moment", "variance"), np.stack(seen, -1), strict=True))

    measured = replicate(chain, 3000, np.random.default_rng(seed))
    moments = measured["moment"]
    laws = {"KAZ-3a": 1 + 0.64 * n, "KAZ-3b": 1 + 0.64 * theory.kernels_accumulate(n)}
    for other, law in laws.items():
        assert claims.equal(id_, moments, law, law + 5, at=n).verdict == ("holds" if other == id_ else "fails")

    spread = {"KAZ-3a": theory.spread_replace, "KAZ-3b": theory.spread_accumulate}[id_](n, 20, 1.0, 0.8)
    assert claims.equal("KAZ-3c", measured["variance"], spread, laws[id_], at=n).verdict == "holds"
