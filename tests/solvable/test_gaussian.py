"""The Gaussian chain: exact laws against simulation and against one another, and the fit's own properties."""

from itertools import islice

import numpy as np
import pytest
from scipy.stats import norm, t

from collapse_utils import claims, feedback_loop, regimes
from collapse_utils.moments import replicate
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import gaussian
from collapse_utils.theory import gaussian as theory, linear

M, FITS, N_REAL = 8, 6, 2
ARMS = {
    "replace": (regimes.replace, lambda ddof, bias: theory.replace(FITS, M, ddof, bias)),
    "accumulate": (regimes.accumulate, lambda ddof, bias: theory.accumulate(FITS, M, ddof, bias)),
    "accumulate_subsample": (regimes.accumulate_subsample, lambda ddof, bias: theory.accumulate_subsample(FITS, M, ddof, bias)),
    "mixture": (regimes.mixture(N_REAL / M), lambda ddof, bias: theory.mixture(FITS, M, N_REAL, ddof)),
}


def chains(mix, ddof, bias=1.0, d=None, m=M, fits=FITS):
    def experiment(r, rng):
        real = gaussian.standard(r, d).sample(m, rng)
        models = [g.model for g in islice(feedback_loop(gaussian.fit(ddof, bias), real, mix, rng), fits)]
        names = ("variance", "error", "log_determinant")
        return {name: np.stack([getattr(model, name) for model in models], axis=1) for name in names}

    return experiment


def surprise(moments, predicted):
    """The largest |z| over columns and the level that it may not pass at a false alarm of 1e-6."""
    return np.abs((moments.mean - predicted) / moments.se).max(), t.isf(0.5e-6 / len(predicted), moments.n - 1)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(("arm", "bias"), [*((arm, 1.0) for arm in ARMS), *((arm, 0.7) for arm in ARMS if arm != "mixture")])
def test_every_regime_follows_its_exact_law(arm, ddof, bias, seed):
    """At n ≤ 6 fits raw means are calibrated; the rival is the law of the other divisor."""
    mix, law = ARMS[arm]
    run = replicate(chains(mix, ddof, bias), 40_000, np.random.default_rng(seed), chunk=2000)
    for name in ("variance", "error"):
        z, level = surprise(run[name], getattr(law(ddof, bias), name))
        assert z < level
    z, level = surprise(run["variance"], law(1 - ddof, bias).variance)
    assert z > level


@pytest.mark.parametrize("arm", ARMS)
def test_laws_hold_per_coordinate_in_any_dimension(arm, seed):
    mix, law = ARMS[arm]
    run = replicate(chains(mix, 1, d=2), 8000, np.random.default_rng(seed), chunk=2000)
    for name in ("variance", "error"):
        z, level = surprise(run[name], getattr(law(1, 1.0), name))
        assert z < level
    other = ARMS["accumulate" if arm != "accumulate" else "replace"][1](1, 1.0).error  # swapped arms must be noticed
    z, level = surprise(run["error"], other)
    assert z > level


@pytest.mark.parametrize(("fed", "verdict"), [("accumulate", "holds"), ("replace", "fails"), ("accumulate_subsample", "fails")])
def test_a_swapped_arm_fails_the_claim(fed, verdict, seed):
    """KAZ-1a is about accumulate, divisor M; 8,000 chains of another regime in its place must be caught."""
    run = replicate(chains(ARMS[fed][0], 0), 8000, np.random.default_rng(seed), chunk=2000)
    laws = [np.concatenate(theory.accumulate(FITS, M, ddof)) for ddof in (0, 1)]
    assert claims.equal("KAZ-1a", run["variance"].beside(run["error"]), *laws).verdict == verdict


@pytest.mark.parametrize(("d", "ddof"), [(None, 0), (None, 1), (3, 0), (3, 1)])
def test_log_determinant_is_a_random_walk_of_known_drift_and_spread(d, ddof, seed):
    """Mean and variance, 25 fits; the rival is d independent univariate chains (for d = 1, the leading order −n/(M−1))."""
    run = replicate(chains(regimes.replace, ddof, d=d, fits=25), 20_000, np.random.default_rng(seed), chunk=2000)
    mean, variance = theory.log_determinant(25, M, ddof, d or 1)
    z, level = surprise(run["log_determinant"], mean)
    assert z < level
    n = np.arange(1, 26)
    leading = -n / (M - 1) + (n * np.log(1 - 1 / M) if ddof == 0 else 0)
    rival = 3 * theory.log_determinant(25, M, ddof)[0] if d else leading
    assert surprise(run["log_determinant"], rival)[0] > level
    ratio = run["log_determinant"].m2 / (run["log_determinant"].n - 1) / variance
    assert np.abs(ratio - 1).max() < 0.1  # s.e. of the ratio ≤ √(2 + excess kurtosis ≤ 1)/√20,000 = 0.012


def test_deviation_and_distance(seed):
    """E σ_n and E W₂² of a replace chain; the rival of the distance is the printed 3n/(2M)."""
    m, fits = 12, 24
    run = replicate(
        lambda r, rng: (lambda x: {"w": 2 - 2 * np.exp(x / 2), "s": np.exp(x / 2)})(
            chains(regimes.replace, 1, m=m, fits=fits)(r, rng)["log_determinant"]
        ),
        40_000,
        np.random.default_rng(seed),
        chunk=2000,
    )
    n = np.arange(1, fits + 1)
    z, level = surprise(run["s"], theory.deviation(fits, m, 1))
    assert z < level
    assert surprise(run["w"], theory.distance(fits, m, 1) - n / m)[0] < level
    assert surprise(run["w"], 1.5 * n / m - n / m)[0] > level


@pytest.mark.parametrize("m", [2, 5, 40])
def test_biased_fits_conserve_the_second_moment(m):
    laws = [theory.replace(50, m, 0), theory.accumulate(50, m, 0), theory.accumulate_subsample(50, m, 0)]
    laws += [theory.mixture(50, m, n_real, 0) for n_real in range(m + 1)]
    for law in laws:
        np.testing.assert_allclose(law.variance + law.error, 1.0, atol=1e-12)
    assert theory.replace(50, m, 1).error[-1] == pytest.approx(50 / m)


def test_accumulate_is_the_sine_product():
    n = np.arange(1, 2001)
    np.testing.assert_allclose(theory.accumulate(2000, 7, 0).variance, np.cumprod(1 - 1 / (7 * n**2)), rtol=1e-12)
    assert theory.accumulate(2000, 7, 0).variance[-1] == pytest.approx(theory.accumulate_limit(7), rel=1e-4)
    assert theory.accumulate_limit(1) == pytest.approx(0, abs=1e-15)
    assert theory.accumulate_limit(4) == pytest.approx(2 / np.pi)


def test_large_batches_give_the_constants_of_the_linear_model():
    n, m = np.arange(1, 101), 10**8
    for regime, law in ((theory.accumulate, linear.accumulate), (theory.accumulate_subsample, linear.accumulate_subsample)):
        for ddof in (0, 1):
            np.testing.assert_allclose(regime(100, m, ddof).error * m, law(n), rtol=1e-5)


def test_unbiased_subsample_creeps_like_a_power():
    variance = theory.accumulate_subsample(20_000, 5, 1).variance
    assert np.log(variance[-1] / variance[1999]) / np.log(10) == pytest.approx(1 / 5, rel=0.01)
    biased = theory.accumulate_subsample(20_000, 5, 0).variance
    assert biased[-1] == pytest.approx(biased[1999], rel=0.001)


def test_bias_drains_the_pool_like_a_power():
    variance = theory.accumulate(20_000, 10, 1, bias=0.8).variance
    assert np.log(variance[-1] / variance[1999]) / np.log(10) == pytest.approx(-0.2, rel=0.01)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("fresh", [False, True])
def test_mixture_endpoints_and_fixed_point(ddof, fresh):
    law, limit = theory.mixture(2000, 10, 3, ddof, fresh), theory.mixture_limit(10, 3, ddof, fresh)
    assert (law.variance[-1], law.error[-1]) == pytest.approx(limit)
    only_real = theory.mixture(5, 10, 10, ddof, fresh)
    np.testing.assert_allclose(only_real.error, 0.1)
    np.testing.assert_allclose(only_real.variance, 9 / (10 - ddof))
    np.testing.assert_allclose(theory.mixture(5, 10, 0, ddof), theory.replace(5, 10, ddof))


def test_fresh_mixture(seed):
    """New real rows in each generation; the rival is the law of a fixed real data set."""
    m, n_real, fits = 10, 3, 15

    def experiment(r, rng):
        truth = gaussian.standard(r)
        mix = regimes.fresh_real_and_last(lambda rng: truth.sample(n_real, rng))
        loop = feedback_loop(gaussian.fit(1), truth.sample(m, rng), mix, rng, draw=lambda t: m - n_real)
        return {"error": np.stack([g.model.error for g in islice(loop, fits)], axis=1)}

    run = replicate(experiment, 20_000, np.random.default_rng(seed), chunk=2000)["error"]
    z, level = surprise(run, theory.mixture(fits, m, n_real, 1, fresh=True).error)
    assert z < level
    assert surprise(run, theory.mixture(fits, m, n_real, 1).error)[0] > level


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("n", [4, 30])
def test_fit_is_numpys_mean_and_covariance(n, ddof, seed):
    """Also with fewer rows than features, where the covariance is singular."""
    rows = np.random.default_rng(seed).standard_normal((n, 5, 6)) @ np.random.default_rng(1).standard_normal((6, 6)) + 3
    model = gaussian.fit(ddof)(Ensemble(rows), None)
    for r in range(5):
        covariance = np.cov(rows[:, r].T, ddof=ddof)
        np.testing.assert_allclose(model.factor[r].T @ model.factor[r], covariance, atol=1e-10)
        np.testing.assert_allclose(model.mean[r], rows[:, r].mean(0))
        np.testing.assert_allclose(model.variance[r], np.trace(covariance) / 6)
        if n > 6:
            np.testing.assert_allclose(model.log_determinant[r], np.linalg.slogdet(covariance)[1])
        else:
            assert model.log_determinant[r] == -np.inf
    flat = gaussian.fit(ddof)(Ensemble(rows[..., 0]), None)
    np.testing.assert_allclose(flat.variance, rows[..., 0].var(axis=0, ddof=ddof))
    np.testing.assert_allclose(flat.error, rows[..., 0].mean(0) ** 2)


def test_samples_have_the_fitted_law(seed):
    """Mahalanobis distances of 4,000 rows and their covariance under bias 0.5; unbiased sampling is the rival."""
    rng = np.random.default_rng(seed)
    factor = np.array([[[2.0, 1.0], [0.0, 0.5]]])
    rows = gaussian.Gaussian(np.array([[1.0, -1.0]]), factor, bias=0.5).sample(4000, rng).rows[:, 0]
    white = (rows - [1.0, -1.0]) @ np.linalg.inv(factor[0])
    squares = (white**2).sum()  # 0.5·χ² with 8,000 degrees of freedom
    z = (squares / 0.5 - 8000) / np.sqrt(16000)
    assert abs(z) < norm.isf(0.5e-6) + 0.5
    assert abs((squares - 8000) / np.sqrt(16000)) > 20
    assert abs((white[:, 0] * white[:, 1]).sum() / (0.5 * np.sqrt(4000))) < 5.5


@pytest.mark.parametrize(("d", "m"), [(None, 5), (3, 7), (4, 6)])
def test_a_chain_may_shrink_far_below_the_rounding_of_its_mean(d, m, seed):
    """120 fits, the spread ends below 1e-15 of the mean; the logarithm is on its law, and the rows alone would be refused."""
    fits = 120
    run = replicate(chains(regimes.replace, 0, 0.5, d, m, fits), 4000, np.random.default_rng(seed), chunk=400)["log_determinant"]
    mean, variance = theory.log_determinant(fits, m, 0, d or 1, bias=0.5)
    z, level = surprise(run, mean)
    assert z < level
    assert mean[-1] < -2 * 15 * np.log(10)
    assert np.abs(run.m2 / (run.n - 1) / variance - 1).max() < 0.15  # s.e. of the ratio ≤ √3/√4,000 = 0.027

    def as_rows(history, rng):
        return Ensemble(history[-1].rows)

    with pytest.raises(ValueError, match="shorten the chain"):
        chains(as_rows, 0, 0.5, d, m, fits)(400, np.random.default_rng(seed))


@pytest.mark.parametrize("d", [None, 3])
def test_drawn_rows_have_the_moments_of_their_rows(d, seed):
    rng = np.random.default_rng(seed)
    model = gaussian.fit(1, bias=0.6)(Ensemble(rng.standard_normal((9, 5, d) if d else (9, 5)) + 2), rng)
    drawn = model.sample(8, rng)
    ours, theirs = (gaussian.fit(1)(data, rng) for data in (drawn, Ensemble(drawn.rows)))
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12)
    np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-12)
    np.testing.assert_allclose(ours.log_determinant, theirs.log_determinant, atol=1e-12)


def test_errors_say_what_must_hold():
    with pytest.raises(ValueError, match="ddof must be 0 or 1"):
        gaussian.fit(2)
    with pytest.raises(ValueError, match="at least two rows"):
        gaussian.fit(0)(Ensemble(np.zeros((1, 3))), None)
    with pytest.raises(ValueError, match="shorten the chain"):
        gaussian.fit(0)(Ensemble(1e6 + 1e-9 * np.ones((4, 3))), None)
    with pytest.raises(ValueError, match="shorten the chain"):  # below any number
        chains(regimes.replace, 0, 1e-9, fits=100)(4, np.random.default_rng(0))
    with pytest.raises(ValueError, match="must exceed d = 4"):
        theory.log_determinant(3, 4, 0, d=4)
