"""Linear chains: the shortcut equals stacking, and the theory equals exact expectations."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import claims, feedback_loop
from collapse_utils.moments import Moments, collect, of, replicate
from collapse_utils.regimes import accumulate, accumulate_subsample, mixture, replace, replace_multiple, size_matched
from collapse_utils.rows import Ensemble
from collapse_utils.solvable.linear import FixedDesign, FreshDesign, gaussian, pool_shift, risk, student
from collapse_utils.theory import linear as theory

D, T = 6, 30


def design(rng, replicates=4, penalty=0.0):
    return FixedDesign(rng.standard_normal((replicates, T, D)), gaussian(1.0), penalty)


def explicit(x, data, penalty):
    """Ridge on the rows of every replicate, one numpy.linalg.lstsq each."""
    row, y = data.rows
    fits = []
    for r in range(len(x)):
        rows, labels = x[r][row[:, r]], y[:, r]
        extra = np.sqrt(len(labels) * penalty) * np.eye(x.shape[2])
        fits.append(np.linalg.lstsq(np.vstack([rows, extra]), np.concatenate([labels, np.zeros(len(extra))]), rcond=None)[0])
    return np.stack(fits)


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("mix", [replace, accumulate, accumulate_subsample])
def test_the_closed_structure_equals_stacked_least_squares(mix, penalty, seed):
    rng = np.random.default_rng(seed)
    law = design(rng, penalty=penalty)
    truth = rng.standard_normal((4, D))
    for g in islice(feedback_loop(law.fit, law.real(truth, T, rng), mix, rng), 4):
        np.testing.assert_allclose(g.model.w, explicit(law.x, g.data, penalty), rtol=0, atol=1e-9)


def test_shuffled_rows_give_the_same_fit(seed):
    rng = np.random.default_rng(seed)
    law = design(rng)
    data = law.real(rng.standard_normal((4, D)), 2 * T, rng)
    order = rng.permutation(2 * T)
    shuffled = Ensemble(tuple(column[order] for column in data.rows))
    np.testing.assert_allclose(law.fit(data, rng).w, law.fit(shuffled, rng).w, atol=1e-10)


def test_minimum_norm_fit_interpolates_with_fewer_rows_than_features(seed):
    rng = np.random.default_rng(seed)
    law = FreshDesign(D, 3, gaussian(1.0), gaussian(1.0))
    data = law.real(rng.standard_normal((3, D)), 4, rng)
    w = law.fit(data, rng).w
    x, y = data.rows
    np.testing.assert_allclose(np.einsum("nrd,rd->nr", x, w), y, atol=1e-9)
    np.testing.assert_allclose(w[0], np.linalg.lstsq(x[:, 0], y[:, 0], rcond=None)[0], atol=1e-9)


def test_sample_refuses_part_of_a_design(seed):
    rng = np.random.default_rng(seed)
    with pytest.raises(ValueError, match="multiple of the design's 30 rows; got 31"):
        design(rng).real(np.zeros((4, D)), 31, rng)


def test_student_noise_has_the_stated_standard_deviation(seed):
    z = student(2.0, 12.0)(np.random.default_rng(seed), (400_000,))
    assert abs(z.var() - 4.0) < 5 * 4.0 * np.sqrt((3 + 6 / 8 - 1) / 400_000)  # the unscaled law has variance 4.8


def test_closed_forms_at_known_points():
    n = np.arange(1, 200_001)
    np.testing.assert_allclose(theory.accumulate([1, 2, 3]), [1, 1.25, 1.25 + 1 / 9])
    np.testing.assert_allclose(theory.replace_multiple([1, 2, 3]), [1, 1.5, 1.5 + 1 / 3])
    assert 0 < theory.ACCUMULATE_BOUND - theory.accumulate(n)[-1] < 1e-5
    assert abs(np.pi**2 / 2 - 2 - theory.accumulate_subsample(n)[-1]) < 1e-4
    np.testing.assert_allclose(theory.accumulate_fresh([1, 2], 32, 100), [1, 1 + 67 / (2 * 167)])
    np.testing.assert_allclose(theory.accumulate_fresh(n[:50], 2, 10**9), theory.accumulate(n[:50]), rtol=1e-7)
    with pytest.raises(ValueError, match="at least d \\+ 2 = 34; got 33"):
        theory.first_risk(32, 33, 1.0)


def test_ridge_laws_are_exact_for_one_eigenvalue(seed):
    """Against the recursion of mean and variance by hand; without penalty they are the plain laws."""
    g, lam, noise, n = 0.7, 0.2, 0.5, np.arange(1, 8)
    h, a = g / (g + lam), np.sqrt(g) / (g + lam)
    mean, var, path = 1.0, 0.0, []
    for _ in n:
        mean, var = h * mean, h**2 * var + noise**2 * a**2
        path.append((1 - mean) ** 2 + var)
    np.testing.assert_allclose(theory.ridge_replace(n, [g], lam, noise), path)
    eigenvalues = np.random.default_rng(seed).uniform(0.5, 2, 5)
    first = noise**2 * (1 / eigenvalues).sum()
    np.testing.assert_allclose(theory.ridge_replace(n, eigenvalues, 0.0, noise), first * n)
    np.testing.assert_allclose(theory.ridge_accumulate(n, eigenvalues, 0.0, noise), first * theory.accumulate(n))


def risks(mix, n_replicates, seed, draw=None, fits=6, d=D, rows=T):
    def experiment(r, rng):
        law = FixedDesign(rng.standard_normal((r, rows, d)), gaussian(1.0))
        truth = rng.standard_normal((r, d))
        loop = feedback_loop(law.fit, law.real(truth, rows, rng), mix, rng, draw)
        return {"risk": np.stack([risk(g.model.w, truth) for g in islice(loop, fits)], axis=1)}

    return replicate(experiment, n_replicates, np.random.default_rng(seed))["risk"]


N = np.arange(1, 7)
UNIT = theory.first_risk(D, T, 1.0)


@pytest.mark.parametrize(
    ("id_", "mix", "draw", "law"),
    [
        ("GER-1", replace, None, theory.replace),
        ("GER-2a", accumulate, None, theory.accumulate),
        ("GER-3", replace_multiple, size_matched(T), theory.replace_multiple),
    ],
)
def test_the_laws_and_the_swapped_arms(id_, mix, draw, law, seed):
    """Each arm agrees with its own law; fed into another arm's claim it fails."""
    moments = risks(mix, 1500, seed, draw)
    for other in (theory.replace, theory.accumulate, theory.replace_multiple):
        verdict = claims.equal(id_, moments, UNIT * other(N), UNIT * (other(N) + 1.0), at=N).verdict
        assert verdict == ("holds" if other is law else "fails")


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_mixture_of_many_rows_follows_its_law(share, seed):
    seen, unit = risks(mixture(share), 1500, seed, d=2, rows=300), theory.first_risk(2, 300, 1.0)
    law = theory.mixture(N, share)
    np.testing.assert_allclose(theory.mixture(N, 0), N)
    assert theory.mixture(10**4, share) == pytest.approx(1 + (1 - share**2) / (share * (2 - share)))
    assert (np.abs(seen.mean / unit - law) < 5 * seen.se / unit).all()
    forgotten = 1 + (1 - share) ** 2 * (law - 1)  # the real rows as if drawn once and for all
    assert (np.abs(seen.mean / unit - forgotten) > 5 * seen.se / unit)[2:].all()


def test_moments_stream_exactly(seed):
    samples = np.random.default_rng(seed).standard_normal((1000, 3)) + 1e3
    streamed = Moments()
    for part in np.array_split(samples, 7):
        streamed.add(part)
    np.testing.assert_allclose(streamed.mean, samples.mean(0), rtol=1e-13)
    np.testing.assert_allclose(streamed.se, samples.std(0, ddof=1) / np.sqrt(1000), rtol=1e-10)
    with pytest.raises(ValueError, match="as many replicates"):
        streamed.beside(Moments())


def test_the_pool_of_accumulate_shifts_by_its_law(seed):
    d, rows, fits = 4, 40, np.arange(2, 7)
    seen = of(collect(pool_shift(d, rows, fits, 0.5), 4000, np.random.default_rng(seed)))
    law = theory.first_risk(d, rows, 0.5) * theory.pool_shift(fits)
    np.testing.assert_allclose(theory.pool_shift(fits), [((1 / np.arange(1, n) - 1 / n) ** 2).sum() for n in fits])
    assert (np.abs(seen.mean - law) < 6 * seen.se).all()
    assert (np.abs(seen.mean - 1.2 * law) > 6 * seen.se).all()
    assert theory.pool_shift(10**5) == pytest.approx(theory.ACCUMULATE_BOUND, rel=1e-3)


def test_labelled_rows_are_the_real_ones_side_by_side():
    law, w = FreshDesign(3, 2, gaussian(1.0), gaussian(0.0)), np.ones((2, 3))
    x, y = law.labelled(w, 5, np.random.default_rng(1))
    real = law.real(w, 5, np.random.default_rng(1)).rows
    np.testing.assert_array_equal(x, real[0].swapaxes(0, 1))
    np.testing.assert_allclose(y, x.sum(axis=2))
