"""Diffusion: schedules against published ends, weights and samplers against closed forms, the loop against its exact path."""

from functools import partial
from itertools import islice

import numpy as np
import pytest
from scipy.special import ndtr

from collapse_utils import claims, feedback_loop, regimes, schedule as diffusion
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import gaussian_diffusion
from collapse_utils.theory import diffusion as theory

SCHEDULES = {
    "angular": diffusion.angular(20),
    "polynomial": diffusion.polynomial(1000).every(20),
    "sigmoid": diffusion.sigmoid(5001).every(20),
}
SAMPLERS = {0.0: theory.deterministic_factor, 1.0: theory.ancestral_factor}


def test_published_ends_of_the_schedules():
    """GeoDiff's configurations: ᾱ_T and the range of noise in units of the data; EDM's precision."""
    for schedule, last, most in ((diffusion.sigmoid(5000), 6.71e-3, 12.17), (diffusion.sigmoid(1000, 1e-7, 9e-3), 1.09e-2, 9.52)):
        assert schedule.alpha[-1] ** 2 == pytest.approx(last, rel=2e-3)
        assert schedule.sigma[-1] / schedule.alpha[-1] == pytest.approx(most, rel=1e-3)
    edm = diffusion.polynomial(1000)
    assert edm.sigma[0] == pytest.approx(3.16e-3, rel=1e-3)
    assert edm.alpha[500] ** 2 == pytest.approx(0.5625, rel=1e-4)


def test_bad_schedules_are_named():
    with pytest.raises(ValueError, match="schedule: α must fall, between 1 and 0; got 0.2 … 0.9"):
        diffusion.Schedule(np.array([0.2, 0.9]))
    with pytest.raises(ValueError, match="schedule: the steps must divide 20; got 7"):
        diffusion.angular(20).every(7)
    with pytest.raises(ValueError, match="sample: eta must lie between 0 and 1, with fresh"):
        diffusion.sample(lambda x, k: x, np.zeros(1), diffusion.angular(3), 1.0)


def bound(schedule, v, weights):
    """The variational bound of −ln p for N(0, v) and its best denoiser, in nats."""
    loss, a, s = theory.gaussian_loss(schedule.alpha, 0.0, v, v), schedule.alpha, schedule.sigma
    prior = (a[-1] ** 2 * v + s[-1] ** 2 - 1 - 2 * np.log(s[-1])) / 2
    return prior + (weights * loss[1:]).sum() + np.log(2 * np.pi * (s[0] / a[0]) ** 2) / 2 + loss[0] / 2


@pytest.mark.parametrize("v", [0.2, 1.0, 3.0])
def test_the_weights_make_the_loss_a_bound_that_closes_as_one_over_the_steps(v):
    entropy = np.log(2 * np.pi * np.e * v) / 2
    gaps = [bound(s, v, s.weights) - entropy for s in (diffusion.polynomial(4000), diffusion.polynomial(8000))]
    assert 0 < gaps[1] < gaps[0] < 0.2
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.1)
    flat = diffusion.polynomial(4000)
    assert abs(bound(flat, v, np.ones(4000)) - entropy) > 100  # the rival: every weight 1


def test_the_weights_are_the_divergence_of_two_gaussians():
    """γ_k (ε − ε̂)² = KL of the two conditional laws of x_{k−1}, whose means differ by that error and whose variance is ς²."""
    s = diffusion.angular(12)
    for k in range(1, 13):
        a, b, r, q = s.alpha[k], s.alpha[k - 1], s.sigma[k - 1], s.sigma[k]
        spread = (r / q) ** 2 * (1 - (a / b) ** 2)
        shift = -(b / a) * q + np.sqrt(r**2 - spread)  # of the mean for a unit change of ε̂
        assert s.weights[k - 1] == pytest.approx(shift**2 / (2 * spread))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", SAMPLERS)
def test_factors_by_the_sampler_s_own_matrix(name, eta):
    """A linear sampler is a matrix: feed it unit vectors in place of each draw, and sum the squares."""
    schedule = SCHEDULES[name]
    draws = schedule.steps + 1  # the first, and one a step but for the last
    rows = iter(np.eye(draws))
    made = diffusion.sample(lambda x, k: schedule.sigma[k] * x, next(rows), schedule, eta, lambda: next(rows))
    assert (made**2).sum() == pytest.approx(SAMPLERS[eta](schedule.alpha), abs=1e-12)
    assert abs((made**2).sum() - SAMPLERS[1 - eta](schedule.alpha)) > 0.02


def test_the_leading_order_of_both_factors():
    off = []
    for steps in (400, 800):
        alpha = diffusion.angular(steps, 1e-6).alpha
        assert 1 - theory.deterministic_factor(alpha) == pytest.approx(np.pi**2 / 4 / steps, rel=0.01)
        off.append(1 - (1 - theory.ancestral_factor(alpha)) / (np.pi**2 / 2 / steps))
    assert 0 < off[1] < 0.6 * off[0] < 0.02


def test_denoisers_are_conditional_means(seed):
    """Regression of the noise on x, in bins, against both closed forms."""
    rng, alpha = np.random.default_rng(seed), 0.7
    n, mode, v = 400_000, 1.5, 0.3
    noise, centre = rng.standard_normal(n), rng.choice([-mode, mode], n)
    x0 = centre + np.sqrt(v) * rng.standard_normal(n)
    for data, guess in (
        (x0 - centre + 0.4, lambda x: theory.gaussian_noise(x, alpha, 0.4, v)),
        (x0, lambda x: theory.modes_noise(x, alpha, mode, v)),
    ):
        x = alpha * data + np.sqrt(1 - alpha**2) * noise
        gap, group = noise - guess(x), np.searchsorted(np.quantile(x, np.linspace(0, 1, 21)[1:-1]), x)
        for i in range(20):
            part = gap[group == i]
            assert abs(part.mean()) < 5.8 * part.std() / len(part) ** 0.5
        wrong = noise - theory.gaussian_noise(x, alpha, 0.0, v + mode**2)  # the rival: as much variance, another law
        assert max(abs(wrong[group == i].mean()) / wrong[group == i].std() * 140 for i in range(20)) > 6


def test_losses_at_their_ends(seed):
    rng = np.random.default_rng(seed)
    alpha = np.array([0.1, 0.6, 0.95])
    assert np.allclose(theory.modes_loss(alpha, 1e-9, 0.7), theory.gaussian_loss(alpha, 0.0, 0.7, 0.7), atol=1e-8)
    assert np.allclose(theory.gaussian_loss(alpha, 0.0, 0.7, 0.7), alpha**2 * 0.7 / (alpha**2 * 0.7 + 1 - alpha**2))
    assert (theory.gaussian_loss(alpha, 0.3, 0.7) > theory.gaussian_loss(alpha, 0.0, 1.0)).all()
    assert np.allclose(theory.gaussian_loss(alpha, 0.0, 1e-12), alpha**2 / (1 - alpha**2))  # nothing left: SNR
    x0 = rng.standard_normal(200_000)
    for a in alpha:
        noise = rng.standard_normal(200_000)
        error = (noise - theory.gaussian_noise(a * x0 + np.sqrt(1 - a**2) * noise, a, 0.3, 0.7)) ** 2
        assert abs(error.mean() - theory.gaussian_loss(a, 0.3, 0.7)) < 5.5 * error.std() / 200_000**0.5


def test_quantiles_and_the_samplers_agree_on_two_modes(seed):
    rng, mode, v = np.random.default_rng(seed), 2.0, 0.16
    z = np.linspace(-3, 3, 301)
    place = theory.modes_quantile(z, mode, v)
    assert np.allclose((ndtr((place - mode) / 0.4) + ndtr((place + mode) / 0.4)) / 2, ndtr(z), atol=1e-9)
    gaps = []
    for steps in (100, 400):
        schedule = diffusion.angular(steps)

        def guess(x, k, alpha=schedule.alpha):
            return theory.modes_noise(x, alpha[k], mode, v)

        gaps.append(np.abs(diffusion.sample(guess, z, schedule, 0.0) - place).mean())
        drawn = diffusion.sample(guess, rng.standard_normal(20_000), schedule, 1.0, lambda: rng.standard_normal(20_000))
    assert gaps[1] < 0.5 * gaps[0] < 0.05
    grid = np.sort(drawn)
    law = (ndtr((grid - mode) / 0.4) + ndtr((grid + mode) / 0.4)) / 2
    distance = np.abs(law - (np.arange(20_000) + 0.5) / 20_000).max()
    assert distance < 2.75 / 20_000**0.5 + 0.01  # Kolmogorov at 1e-6, and the bias of 400 steps
    rival = np.abs(ndtr(grid / np.sqrt(mode**2 + v)) - (np.arange(20_000) + 0.5) / 20_000).max()
    assert rival > 0.1


def variances(regime, eta, seed, n=20, n_fits=6, replicates=2000):
    rng, fit = np.random.default_rng(seed), gaussian_diffusion.fit(SCHEDULES["angular"], eta)
    loop = feedback_loop(fit, Ensemble(rng.standard_normal((n, replicates))), regime, rng)
    return np.stack([g.model.variance for g in islice(loop, n_fits)], axis=1)


@pytest.mark.parametrize("eta", SAMPLERS)
@pytest.mark.parametrize("name", ["replace", "accumulate", "accumulate_subsample", "mixture"])
def test_the_loop_follows_its_exact_path_and_a_swapped_arm_fails(name, eta, seed):
    regime = regimes.mixture(0.5) if name == "mixture" else getattr(regimes, name)
    found, factor = variances(regime, eta, seed), SAMPLERS[eta](SCHEDULES["angular"].alpha)
    rule = {"kind": "equal", "false_alarm": 1e-6}
    laws = {other: theory.path(other, factor, 20, 6) for other in ("replace", "accumulate", "mixture", name)}
    if name == "replace":
        found, laws = np.log(found), {other: np.log(law) for other, law in laws.items()} | {name: theory.log_path(factor, 20, 6)}
    evidence = {"n": len(found), "mean": found.mean(0), "se": found.std(0, ddof=1) / len(found) ** 0.5, "rival": np.full(6, 9.0)}
    assert claims.decide(rule, evidence | {"predicted": laws[name]})[0] == "holds"
    swapped = "accumulate" if name == "replace" else "replace"
    assert claims.decide(rule, evidence | {"predicted": laws[swapped]})[0] == "fails"


def test_ends_of_the_paths():
    f, n = 0.8, 40
    assert np.allclose(theory.path("mixture", f, n, 9, real=0.0), theory.path("replace", f, n, 9))
    assert np.allclose(theory.path("mixture", f, n, 9, real=1.0), 1 - 1 / n)
    assert theory.path("mixture", f, 10**7, 60)[-1] == pytest.approx(0.5 / (1 - 0.5 * f), rel=1e-5)
    for name in ("replace", "accumulate", "accumulate_subsample", "mixture"):
        assert np.allclose(theory.path(name, 1.0, 10**9, 9), 1, atol=1e-7)
    far = theory.path("accumulate", f, n, 4000)
    assert np.log(far[-1] / far[999]) / np.log(4) == pytest.approx(f - 1, rel=2e-3)
    with pytest.raises(ValueError, match="path: regime must be one of .*; got 'mix'"):
        theory.path("mix", f, n, 3)


def test_the_best_guess_of_a_bond(seed):
    """L(κ) against the mean cosine by quadrature; the shortened bond against draws; samples of the right length."""
    grid = np.linspace(-1, 1, 100_001)
    for kappa in (1e-4, 0.5, 3.0, 30.0):
        weight = np.exp(kappa * (grid - 1))
        assert theory.langevin(kappa) == pytest.approx((grid * weight).sum() / weight.sum(), rel=1e-3, abs=1e-7)
    rng, alpha = np.random.default_rng(seed), 0.6
    bond = rng.standard_normal((100_000, 3))
    bond /= np.linalg.norm(bond, axis=1, keepdims=True)
    noise = rng.standard_normal(bond.shape)
    x = alpha * bond + 0.8 * noise
    along = (bond * x).sum(1) / np.linalg.norm(x, axis=1)
    assert abs(along.mean() - theory.shell_length(alpha, 1.0)) < 5.5 * along.std() / 100_000**0.5
    assert np.abs(((bond - theory.shell_mean(x, alpha, 1.0)) * x).mean(0)).max() < 5.5 / 100_000**0.5
    left = (noise - theory.shell_noise(x, alpha, 1.0)) * x  # a conditional mean leaves what is orthogonal to x
    assert (np.abs(left.mean(0)) < 5.5 * left.std(0) / 100_000**0.5).all()


def test_rows_without_spread_are_named():
    with pytest.raises(ValueError, match="fit: rows must vary; got a replicate with spread 0.0"):
        gaussian_diffusion.fit(SCHEDULES["angular"], 1.0)(Ensemble(np.ones((5, 2))), np.random.default_rng(0))


def test_known_denoisers_sample_and_err_as_their_laws_say(seed):
    rng, schedule = np.random.default_rng(seed), SCHEDULES["angular"]
    guess = partial(theory.gaussian_noise, mean=0.0, variance=1.0)
    seen = gaussian_diffusion.sampled(guess, schedule, 1.0, rng.standard_normal(100_000), rng)
    law = theory.ancestral_factor(schedule.alpha)
    assert abs(seen.var() - law) < 6 * law * np.sqrt(2 / 100_000)
    levels = np.array([2, schedule.steps])
    noise, clean = rng.standard_normal((2, 100_000))
    squares = gaussian_diffusion.squared_errors(guess, clean, schedule, levels, noise)
    loss = theory.gaussian_loss(schedule.alpha[levels], 0.0, 1.0)
    assert (np.abs(squares.mean(axis=0) - loss) < 6 * squares.std(axis=0) / np.sqrt(100_000)).all()


def test_raw_bonds_are_short_along_the_noisy_ones_and_turned_ones_are_not(seed):
    rng, schedule = np.random.default_rng(seed), SCHEDULES["angular"]
    level = schedule.steps // 2
    raw, turned = gaussian_diffusion.bond_targets(schedule, [level], 40_000, rng).T
    law = theory.shell_length(schedule.alpha[level], 1.0)
    np.testing.assert_allclose(turned, 1.0)
    assert abs(raw.mean() - law) < 6 * raw.std() / 200
    assert law < 0.97
