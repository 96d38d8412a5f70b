"""Ridge on mixtures: closed forms against each other, against simulation at parameters of their own, at their limits."""

import numpy as np
import pytest

from collapse_utils.moments import collect, of, replicate
from collapse_utils.scaling.ridge import (
    Isotropic,
    errors,
    parts,
    power_law,
    projected_ridge,
    ridge,
    ridge_path,
)
from collapse_utils.theory import downstream as demystified, ridge as strong


def spectrum(rng, d):
    return rng.uniform(0.3, 1.5, d) * np.arange(1, d + 1.0) ** -rng.uniform(0, 1.2)


def far(moments, predicted, band=0.0):
    """Largest distance of the means from the prediction, in standard errors, after an allowance."""
    gap = np.abs(moments.mean - predicted) - band * np.abs(predicted)
    return (gap / np.maximum(moments.se, 1e-300)).max()


def test_the_error_given_rows_averages_to_the_exact_one(seed):
    d, n, synthetic, rng = 6, 20, 8, np.random.default_rng(seed)
    seen = Isotropic(d, 0.5, 0.8).given(rng.standard_normal((40_000, n, d)), synthetic)
    exact, swapped = (strong.unpenalised(d, n, k / n, 0.5, 0.8) for k in (synthetic, n - synthetic))
    assert abs(seen.mean() - exact) < 6 * seen.std() / 200
    assert abs(seen.mean() - swapped) > 6 * seen.std() / 200


def test_the_crossing_and_the_floor_are_measured_where_theory_has_them():
    rng = np.random.default_rng(3)
    law, rows = Isotropic(20, 0.5, 0.05), strong.hurt_size(0.3, 0.5, 0.05)
    seen = np.array([law.crossing(1.15 * rows, 0.3, 40, rng) for _ in range(8)])  # from a guess that is wrong
    assert abs(seen.mean() / rows - 1) < 0.04
    rows = strong.floor_size(0.2, 0.5, 0.05)
    at = np.mean([law.at(rows, 0.2, rng) for _ in range(8)])
    assert abs(at / strong.isotropic(rows, 0.2, 0.5, 0.05) - 1) < 0.04


def test_spectra_have_mean_one_and_their_decay():
    s = power_law(50, 1.5)
    assert s.mean() == pytest.approx(1)
    assert s[7] / s[1] == pytest.approx(4**-1.5)
    np.testing.assert_array_equal(power_law(4, 0.0), np.ones(4))


def test_added_rows_change_the_error_by_the_difference_of_the_exact_ones(seed):
    d, real, added, rng = 5, 30, 40, np.random.default_rng(seed)
    change = Isotropic(d, 0.5, 0.2).added(real, added)(20_000, rng)
    gain = strong.unpenalised(d, real + added, added / (real + added), 0.5, 0.2) - strong.unpenalised(d, real, 0.0, 0.5, 0.2)
    slack = 6 * change.std() / np.sqrt(len(change))
    assert abs(change.mean() - gain) < slack
    assert abs(gain) > slack


def test_a_path_of_ridge_is_one_fit_a_penalty(seed):
    rng = np.random.default_rng(seed)
    x, y, penalties = rng.standard_normal((3, 40, 7)), rng.standard_normal((3, 40)), np.array([1e-3, 0.1, 2.0])
    one_by_one = np.concatenate([ridge(x, y[..., None], penalty) for penalty in penalties], axis=2)
    np.testing.assert_allclose(ridge_path(x, y, penalties), one_by_one, atol=1e-12)


@pytest.mark.parametrize("m", [np.inf, 700, 150, 149.5, 12])
@pytest.mark.parametrize("n", [12, 150, 151, 10_000])
@pytest.mark.parametrize("penalty", [1e-9, 1e-3, 10.0])
def test_the_effective_penalty_solves_its_equation(n, m, penalty):
    s = spectrum(np.random.default_rng(7), 150)
    kappa = strong.effective_penalty(s, n, penalty, m)
    df1 = (s / (s + kappa)).sum()
    assert df1 < min(m, n, 150) * (1 + 1e-12)
    assert kappa * (1 - df1 / m) * (1 - df1 / n) == pytest.approx(penalty, rel=2e-3 if penalty < 1e-6 else 1e-6)


def test_the_effective_penalty_at_its_edges():
    s = np.ones(100)
    assert strong.effective_penalty(s, 200, 0.0) == 0
    assert strong.effective_penalty(s, 50, 0.0) == pytest.approx(1.0)  # df1 = n
    assert strong.effective_penalty(s, 40, 0.0, 30) == pytest.approx(100 / 30 - 1)  # df1 = m
    assert strong.effective_penalty(np.ones(100_000), 10, 0.0) == pytest.approx(9999)  # d far above n
    assert strong.effective_penalty(s, 101, 0.0) == 0  # ϕ → 1 from below
    near = [strong.ridge(s, n, 1e-8, 0.01, 1.0, 0.3, 0.01).error for n in (99, 101)]
    assert np.isfinite(near).all()
    around = [strong.projected(s, 60, m, 1e-6, 0.01, 1.0, 0.3, 0.01).error for m in (59.9, 60, 60.1)]
    assert np.isfinite(around).all()
    assert around[1] > 0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: strong.effective_penalty([1.0, 0.0], 5, 0.1), "eigenvalues"),
        (lambda: strong.effective_penalty([1.0, np.nan], 5, 0.1), "eigenvalues"),
        (lambda: strong.effective_penalty(np.ones(5), np.inf, 0.1), "n must be finite"),
        (lambda: strong.effective_penalty(np.ones(5), 5, 0.0), "infinite"),
        (lambda: strong.effective_penalty(np.ones(5), 9, -1.0), "penalty"),
        (lambda: strong.ridge(np.ones(5), 9, 0.1, 1.0, 1.0, 1.2, 1.0), "share"),
        (lambda: strong.projected(np.ones(50), 9, 9, 0.0, 1.0, 1.0, 0.2, 1.0), "infinite"),
        (lambda: strong.unpenalised(20, 21, 0.5, 1.0, 1.0), r"at least d \+ 2"),
        (lambda: strong.isotropic(1.0, 0.1, 1.0, 1.0), "rows per feature"),
        (lambda: strong.hurt_size(0.0, 1.0, 1.0), "share"),
        (lambda: strong.hurt_size(0.1, 1.0, 0.0), "quality"),
        (lambda: demystified.generator_shift(np.ones(5), 5, 0.0, 1.0), "n_samples"),
        (lambda: ridge(np.ones((1, 3, 2)), np.ones((1, 3, 1)), -0.1), "penalty"),
    ],
)
def test_outside_the_domain_there_is_a_sentence(call, word):
    with pytest.raises(ValueError, match=f"{word}.*got"):
        call()


def test_printed_and_simplified_mixture_terms_agree():
    rng = np.random.default_rng(3)
    for _ in range(50):
        s, shift = spectrum(rng, 30), rng.random(30)
        n, penalty, share = rng.integers(3, 90), 10 ** rng.uniform(-4, 1), rng.random()
        ours = strong.ridge(s, n, penalty, 1.0, 1.0, share, shift).mixture
        assert ours == pytest.approx(strong.ridge_as_printed(s, n, penalty, share, shift), rel=1e-10)


def test_wide_projections_are_no_projections():
    s = spectrum(np.random.default_rng(5), 80)
    plain, wide = (
        f(*a)
        for f, a in (
            (strong.ridge, (s, 50, 0.02, 0.3, 0.7, 0.4, 0.2)),
            (strong.projected, (s, 50, 1e9, 0.02, 0.3, 0.7, 0.4, 0.2)),
        )
    )
    assert np.allclose(plain, wide, rtol=1e-6)


def test_ridge_on_a_mixture_at_any_spectrum(seed):
    rng = np.random.default_rng(seed)
    d, share, penalty, noise = 90, rng.uniform(0.2, 0.8), 10 ** rng.uniform(-3, -1), rng.uniform(0.2, 1)
    s, truth, shift = spectrum(rng, d), rng.random(d), rng.random(d)
    n = int(rng.choice([50, 130, 400]))
    share = round(share * n) / n
    moments = replicate(parts(s, truth, noise, shift, n, [share], lambda x, y, _: ridge(x, y, penalty)), 500, rng, chunk=50)
    law = strong.ridge(s, n, penalty, truth, noise, share, shift)
    assert far(moments["mixture"], law.mixture, 0.03) < 6
    assert far(moments["error"], law.error, 0.03) < 6
    assert far(moments["bias"], law.bias, 0.03) < 6
    assert far(moments["variance"], law.variance, 0.03) < 6
    if 0.3 < share < 0.7 and n < 200:  # a target that only moves, without the coin flip
        assert far(moments["mixture"], law.mixture - law.coin, 0.03) > 6
    several = strong.ridge(s, n, penalty, truth, noise, np.array([0.0, share]), shift)
    np.testing.assert_allclose(several.mixture, [0.0, law.mixture])
    np.testing.assert_allclose(several.coin, [0.0, share * (1 - share) * law.variance / noise**2 * (shift * s).sum()])
    alike = collect(errors(s, n, penalty, truth, noise, [share], shift), 500, np.random.default_rng(seed), chunk=50)
    assert far(of(alike), law.error, 0.03) < 6


def test_projections_at_any_width(seed):
    rng = np.random.default_rng(seed)
    d, n, penalty = 100, 140, 0.02
    m = int(rng.choice([40, 110, 260]))
    s, truth, shift = spectrum(rng, d), rng.random(d), rng.random(d)
    run = parts(s, truth, 0.4, shift, n, [0.0, 0.5], lambda x, y, g: projected_ridge(x, y, penalty, m, g))
    moments = replicate(run, 400, rng, chunk=50)
    law = [strong.projected(s, n, m, penalty, truth, 0.4, share, shift) for share in (0.0, 0.5)]
    assert far(moments["error"], [p.error for p in law], 0.04) < 6
    assert far(moments["mixture"], [p.mixture for p in law], 0.04) < 6
    unprojected = [strong.ridge(s, n, penalty, truth, 0.4, share, shift).error for share in (0.0, 0.5)]
    if m == 40:
        assert far(moments["error"], unprojected, 0.04) > 6


def test_the_exact_form_at_few_features(seed):
    rng = np.random.default_rng(seed)
    d, noise, c2 = int(rng.integers(2, 9)), rng.uniform(0.3, 1), rng.uniform(0.5, 3)
    n1, n2 = int(rng.integers(d, 2 * d)), int(rng.integers(d + 4, d + 8))
    n = n1 + n2
    seen = of(collect(Isotropic(d, noise, c2).errors(n, [n2 / n]), 20_000, rng, chunk=2000))
    assert far(seen, strong.unpenalised(d, n, n2 / n, noise, c2)) < 6
    assert far(seen, strong.isotropic(n / d, n2 / n, noise, c2)) > 6  # the limit is no law of small sizes
    whole = strong.unpenalised(d, n, 1.0, noise, c2)
    assert whole == pytest.approx(noise**2 * d / (n - d - 1) + c2)  # all rows shifted: the shift is learned
    wide = strong.unpenalised(50_000, 500_000, 0.6, noise, c2)
    assert wide == pytest.approx(strong.isotropic(10, 0.6, noise, c2), rel=1e-3)


def test_hurt_size_is_where_dropping_the_rows_changes_nothing():
    rng = np.random.default_rng(11)
    for _ in range(50):
        share, noise, c2 = rng.uniform(0.001, 0.95), rng.uniform(0.2, 2), rng.uniform(0.05, 3)
        size = strong.hurt_size(share, noise, c2)
        assert size > 1 / (1 - share)
        assert strong.isotropic(size, share, noise, c2) == pytest.approx(strong.isotropic((1 - share) * size, 0.0, noise, c2))
        assert strong.isotropic(2 * size, share, noise, c2) > strong.isotropic(2 * (1 - share) * size, 0.0, noise, c2)
    assert strong.floor_size(0.1, 0.5, 0.25) == pytest.approx(100)


def test_fits_solve_their_normal_equations():
    rng = np.random.default_rng(2)
    x, y, weights = rng.standard_normal((3, 12, 5)), rng.standard_normal((3, 12, 2)), rng.random(12)
    for w in (None, weights):
        kept = np.ones(12) if w is None else w
        fitted = ridge(x, y, 0.3, w)
        gradient = np.einsum("rnd,n,rnk->rdk", x, kept, x @ fitted - y) / 12 + 0.3 * fitted
        assert np.abs(gradient).max() < 1e-12
    wide = x.swapaxes(1, 2)  # 5 rows, 12 features
    assert np.allclose(
        ridge(wide, y[:, :5], 0.3),
        np.linalg.solve(wide.swapaxes(1, 2) @ wide / 5 + 0.3 * np.eye(12), wide.swapaxes(1, 2) @ y[:, :5] / 5),
    )
    assert np.allclose(ridge(wide, y[:, :5], 0.0), np.linalg.pinv(wide) @ y[:, :5])
    f = projected_ridge(wide, y[:, :5], 0.0, 4, rng)
    assert np.linalg.matrix_rank(np.concatenate(list(f), axis=1)) <= 6
    assert f.shape == (3, 12, 2)


@pytest.mark.parametrize("ratio", [0.4, 1.7])
def test_generator_shift_on_both_sides_of_the_threshold(ratio, seed):
    rng = np.random.default_rng(seed)
    d, r = 80, 300
    s, rows = spectrum(rng, d), round(ratio * 80)
    x = np.sqrt(s) * rng.standard_normal((r, rows, d))
    noise = 0.7 * rng.standard_normal((r, rows, 1))
    delta = (np.linalg.pinv(x) @ noise)[..., 0]
    law = demystified.generator_shift(s, rows, strong.effective_penalty(s, rows, 0.0), 0.7)
    seen = (delta**2 * s).sum(axis=1)
    assert abs(seen.mean() - (law * s).sum()) < 0.04 * (law * s).sum() + 6 * seen.std() / np.sqrt(r)
    first = (delta[:, :40] ** 2 * s[:40]).sum(axis=1)
    assert abs(first.mean() - (law * s)[:40].sum()) < 0.04 * (law * s).sum() + 6 * first.std() / np.sqrt(r)
