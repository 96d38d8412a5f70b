"""The solvable model of scaling laws: closed forms against limits of one another, quadrature and what they refuse."""

import numpy as np
import pytest
from scipy.integrate import quad

from collapse_utils.theory import ridge, scaling_laws as law


def test_the_scale_solves_its_equation_for_every_count_at_once():
    lam = law.spectrum(900, 0.7)
    counts = np.array([[0.5, 3.0], [77.0, 880.0]])
    scale = law.spectral_scale(lam, counts)
    assert scale.shape == (2, 2)
    np.testing.assert_allclose((lam / (lam + scale[..., None])).sum(axis=-1), counts, rtol=1e-9)
    np.testing.assert_allclose(scale[1, 0], ridge.effective_penalty(lam, 77, 0.0), rtol=1e-8)


@pytest.mark.parametrize("alpha", [0.6, 1.3, 2.4])
def test_the_scale_of_an_endless_spectrum_is_an_integral(alpha):
    scale = law.power_law_scale(alpha, 12)
    total, _ = quad(lambda t: np.exp(t) / (1 + scale * np.exp((1 + alpha) * t)), -40, 40, limit=400)
    assert total == pytest.approx(12, rel=1e-6)


@pytest.mark.parametrize(("n", "t"), [(60, 90), (90, 60), (30, 300)])
def test_the_ridgeless_form_is_the_limit_of_the_general_one(n, t):
    lam = law.spectrum(500, 1.2)
    signal, noise = law.ridgeless(lam, n, t)
    assert law.penalised(lam, n, t, 1e-12) == pytest.approx(float(signal), rel=1e-3)
    assert law.penalised(lam, n, t, 1e-12, 0.5) - signal == pytest.approx(0.25 * float(noise), rel=1e-3)


def test_features_and_rows_are_exchanged_at_every_penalty_and_not_under_noise():
    lam = law.spectrum(300, 0.8)
    for penalty in (1e-6, 1e-3, 1.0):
        assert law.penalised(lam, 40, 90, penalty) == pytest.approx(law.penalised(lam, 90, 40, penalty), rel=1e-9)
    assert law.penalised(lam, 40, 90, 1e-6, 1.0) < 0.5 * law.penalised(lam, 90, 40, 1e-6, 1.0)


def test_the_best_penalty_is_best_and_equal_counts_cost_their_factor():
    lam = law.spectrum(6000, 1.0)
    penalty, least = law.optimal(lam, 100, 100)
    assert penalty == pytest.approx(np.pi**2 / 24000, rel=0.1)
    assert least < min(law.penalised(lam, 100, 100, penalty * by) for by in (0.8, 1.25))
    assert law.equal_counts(1.0) == pytest.approx(2, rel=1e-8)
    assert law.equal_counts(2.0) == pytest.approx(2.87, abs=0.01)
    alone = 100 * law.spectral_scale(lam, 100) / 12000
    assert least / alone == pytest.approx(2, rel=0.02)


def test_rectified_gaussians_have_their_covariance(seed):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((3, 3))
    rows = np.maximum(rng.standard_normal((400_000, 3)) @ mixing.T, 0)
    np.testing.assert_allclose(law.rectified(mixing @ mixing.T), np.cov(rows.T), atol=0.03 * np.trace(mixing @ mixing.T))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_the_chain_begins_at_the_law_and_grows_with_its_exponent(alpha):
    lam = law.spectrum(100_000, alpha)
    losses = law.chain(lam, 300, 400)
    assert losses[0] == pytest.approx(300 * law.spectral_scale(lam, 300) / 200_000, rel=1e-8)
    slope = np.log(losses[399] / losses[49]) / np.log(8)
    assert slope == pytest.approx(alpha / (1 + alpha), abs=0.03)
    assert (law.chain(lam, 300, 5, features=600) > losses[:5]).all()


def test_a_taught_law_ends_at_the_teacher_s_floor():
    lam = law.spectrum(400, 1.0)
    teacher = law.chain(lam, 20, 1)[0]
    for share in (0.3, 1.0):
        assert law.taught(lam, 10**7, 1e-9, share, 20) == pytest.approx(share**2 * teacher, rel=1e-3)
    assert law.taught(lam, 60, 1e-9, 0.0, 20) == pytest.approx(law.chain(lam, 60, 1)[0], rel=1e-3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda lam: law.spectrum(9, 0.0), "alpha must be above 0.*got 0.0"),
        (lambda lam: law.power_law_scale(-1, 3), "alpha must be above 0.*got -1"),
        (lambda lam: law.equal_counts(0), "alpha must be above 0; got 0"),
        (lambda lam: law.spectral_scale(lam, 50), "between 0 and the 50 latents; got 50"),
        (lambda lam: law.ridgeless(lam, 60, 70), "between 0 and the 50 latents; got 60"),
        (lambda lam: law.ridgeless(lam, 20, 20), "must differ in number"),
        (lambda lam: law.finite(20, 21), "must differ by two"),
        (lambda lam: law.penalised(lam, 60, 20, 1.0), r"at most the 50 latents; got \(60, 20\)"),
        (lambda lam: law.penalised(lam, 10, 20, -1.0), "penalty must be at least 0; got -1.0"),
        (lambda lam: law.chain(lam, 20, 2, features=21), "features must exceed the 20 rows.*got 21"),
        (lambda lam: law.taught(lam, 10, 0.1, 0.5, 20), "at least the teacher's 20; got 10"),
    ],
)
def test_what_has_no_law_is_refused(call, says):
    with pytest.raises(ValueError, match=f"^scaling_laws: .*{says}"):
        call(law.spectrum(50, 1.0))
