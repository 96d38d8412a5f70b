"""Generators and downstream models: exact laws against simulation, and against the paper's proportional limit."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import claims, feedback_loop
from collapse_utils.moments import relative
from collapse_utils.regimes import accumulate, replace, replace_multiple, size_matched
from collapse_utils.solvable.linear import FixedDesign, FreshDesign, gaussian, risk
from collapse_utils.theory import downstream as theory, linear, ridge, universality

Z = 5.7  # two-sided 1e-6, a few columns


def chain(design, truth, n_rows, n_fits, rng, mix=replace, draw=None):
    loop = feedback_loop(design.fit, design.real(truth, n_rows, rng), mix, rng, draw)
    return np.stack([risk(g.model.w, truth) for g in islice(loop, n_fits)], axis=1)


def agrees(samples, predicted):
    return np.abs(samples.mean(axis=0) - predicted) < Z * samples.std(axis=0) / np.sqrt(len(samples)) + 1e-12


def test_the_paper_is_the_large_limit():
    for phi, phi0 in ((0.3, 0.5), (0.06, 0.25)):
        d = 10**7
        exact = theory.downstream_risk(3, d, round(d / phi), 0.1, round(d / phi0), 0.2)
        assert exact == pytest.approx(0.01 * phi / (1 - phi) + 3 * 0.04 * phi0 / (1 - phi0), rel=1e-5)
        assert theory.null_generation(25.0, d, round(d / phi0)) == pytest.approx(25 * (1 / phi0 - 1), rel=1e-5)
    assert theory.downstream_risk(4, 8, 10**15, 1.0, 40, 1.0) == pytest.approx(4 * linear.first_risk(8, 40, 1.0))
    assert theory.null_generation(5.0, 8, 40) * linear.first_risk(8, 40, 1.0) == pytest.approx(5.0)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="n_samples must be at least d \\+ 2 = 12; got 11"):
        theory.downstream_risk(1, 10, 11, 1.0, 20, 1.0)
    with pytest.raises(ValueError, match="generator_samples must be at least"):
        theory.downstream_risk(1, 10, 20, 1.0, 11, 1.0)


@pytest.mark.parametrize("shared", [True, False])
def test_the_floor_of_generators(shared, seed):
    """Generator risk n σ0² d/(T0−d−1), on a shared and on fresh designs; rejects the proportional limit d/(T0−d)."""
    d, rows, r, rng = 6, 14, 8000, np.random.default_rng(seed)
    fixed, fresh = FixedDesign(rng.standard_normal((r, rows, d)), gaussian(1.0)), FreshDesign(d, r, gaussian(1.0), gaussian(1.0))
    design = fixed if shared else fresh
    risks = chain(design, rng.standard_normal((r, d)), rows, 3, rng)
    n = np.arange(1, 4)
    assert agrees(risks, theory.downstream_risk(n, d, 10**15, 0.0, rows, 1.0)).all()
    assert not agrees(risks, n * d / (rows - d) / 1.5).any()


def test_growing_sizes_are_below_the_harmonic_law(seed):
    d, rows, r, rng = 6, 14, 3000, np.random.default_rng(seed)
    design = FreshDesign(d, r, gaussian(1.0), gaussian(1.0))
    risks = chain(design, np.zeros((r, d)), rows, 5, rng, replace_multiple, size_matched(rows))
    n = np.arange(1, 6)
    assert agrees(risks, theory.growing_risk(n, d, rows)).all()
    assert not agrees(risks, linear.first_risk(d, rows, 1.0) * linear.replace_multiple(n))[2:].any()
    large = theory.growing_risk(n, 5, 10**8) / theory.growing_risk(1, 5, 10**8)
    np.testing.assert_allclose(large, linear.replace_multiple(n), rtol=1e-6)


def test_noiseless_chains_jump_once_or_forget_at_a_rate(seed):
    """Each law is the other's rival from n = 2 on: the swapped arm is rejected."""
    d, rows, r, rng = 20, 8, 1500, np.random.default_rng(seed)
    truth = rng.standard_normal((r, d))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    n = np.arange(1, 5)
    shared = chain(FixedDesign(rng.standard_normal((r, rows, d)), gaussian(0.0)), truth, rows, 4, rng)
    fresh = chain(FreshDesign(d, r, gaussian(1.0), gaussian(0.0)), truth, rows, 4, rng)
    np.testing.assert_allclose(shared, shared[:, :1] * np.ones(4), atol=1e-9)  # one jump, replicate by replicate
    assert agrees(shared, theory.shared_design_bias(n, d, rows)).all()
    assert agrees(fresh, theory.fresh_design_bias(n, d, rows)).all()
    assert not agrees(shared, theory.fresh_design_bias(n, d, rows))[1:].any()
    assert not agrees(fresh, theory.shared_design_bias(n, d, rows))[1:].any()
    assert theory.fresh_design_bias(3, 10, 20) == theory.shared_design_bias(3, 10, 20) == 0  # enough rows: nothing is lost


def test_a_wide_fixed_design_gives_the_minimum_norm_fit(seed):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((3, 4, 9)), rng.standard_normal((3, 9))
    fitted = FixedDesign(x, gaussian(0.0))
    expected = np.stack([np.linalg.pinv(a) @ a @ b for a, b in zip(x, w, strict=True)])
    np.testing.assert_allclose(fitted.fit(fitted.real(w, 4, rng), rng).w, expected, atol=1e-9)


def test_the_subsampled_mean_has_its_limit_and_its_exact_variance(seed):
    n = np.arange(1, 31)
    np.testing.assert_allclose(universality.mean_subsample(n, 10**7), linear.accumulate_subsample(n), rtol=1e-5)
    rng, m, r = np.random.default_rng(seed), 4, 40_000
    theta, pool, paths = np.zeros(r), np.empty((0, r)), []
    for _ in range(10):  # a second way, without the loop
        pool = np.concatenate([pool, theta + rng.standard_normal((m, r))])
        theta = np.take_along_axis(pool, rng.random(pool.shape).argsort(axis=0)[:m], axis=0).mean(axis=0)
        paths.append(m * theta**2)
    paths = np.stack(paths, axis=1)
    assert agrees(paths, universality.mean_subsample(n[:10], m)).all()
    assert not agrees(paths, linear.accumulate(n[:10]) + 1 - 1 / n[:10])[8:].any()


def test_the_maximum_has_its_own_path(seed):
    """Exact at 5 rows a batch under both regimes; rejects the inverse-square path of regular estimators."""
    rng, m, r, n = np.random.default_rng(seed), 5, 60_000, np.arange(1, 6)
    top = rng.random((m, r)).max(axis=0)
    last, kept, replaced = top * (1 + 1 / m), [], []
    for k in n:
        theta = top * (1 + 1 / (k * m))
        kept.append((theta - 1) ** 2)
        replaced.append((last - 1) ** 2)
        top = np.maximum(top, theta * rng.random((m, r)).max(axis=0))
        last = last * rng.random((m, r)).max(axis=0) * (1 + 1 / m)
    kept, replaced = np.stack(kept, axis=1), np.stack(replaced, axis=1)
    assert agrees(kept, universality.maximum_accumulate(n, m)).all()
    assert agrees(replaced[:, :3], universality.maximum_replace(n[:3], m)).all()
    assert not agrees(kept, universality.maximum_accumulate(1, m) * linear.accumulate(n))[1:].any()
    limit = universality.maximum_accumulate(np.array([1, 3000]), 10**4)
    assert 1.25 < limit[1] / limit[0] < 1.30


def test_real_and_last_in_the_loop(seed):
    from collapse_utils.regimes import real_and_last

    r, rng, n = 40_000, np.random.default_rng(seed), np.arange(1, 6)
    design = FixedDesign(np.ones((r, 2, 1)), gaussian(np.sqrt(2)))  # the mean of two rows: first risk 1
    assert agrees(chain(design, np.zeros((r, 1)), 2, 5, rng, real_and_last), universality.real_and_last(n)).all()
    assert not agrees(chain(design, np.zeros((r, 1)), 2, 5, rng, accumulate), universality.real_and_last(n))[4:].any()


def test_swapped_arms_fail(seed):
    """Each claim judged with the other arm's run comes out as fails, with its own as holds."""
    d, rows, r, rng, n = 20, 8, 800, np.random.default_rng(seed), np.arange(1, 5)
    truth = rng.standard_normal((r, d))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    shared = chain(FixedDesign(rng.standard_normal((r, rows, d)), gaussian(0.0)), truth, rows, 4, rng)
    fresh = chain(FreshDesign(d, r, gaussian(1.0), gaussian(0.0)), truth, rows, 4, rng)
    jump, rate = theory.shared_design_bias(n, d, rows), theory.fresh_design_bias(n, d, rows)
    assert claims.equal("DEM-5", shared, jump, rate).verdict == "holds"
    assert claims.equal("DEM-5", fresh, jump, rate).verdict == "fails"
    assert claims.equal("DEM-6", fresh, rate, jump).verdict == "holds"
    assert claims.equal("DEM-6", shared, rate, jump).verdict == "fails"
    design = FixedDesign(rng.standard_normal((1, 30, 12)) * np.ones((r, 1, 1)), gaussian(1.0))
    unit = np.trace(np.linalg.inv(design.x[0].T @ design.x[0]))
    kept, replaced = (chain(design, np.zeros((r, 12)), 30, 8, rng, mix) / unit for mix in (accumulate, replace))
    n = np.arange(1, 9)
    assert claims.equal("DEY-1b", replaced, n, linear.replace_multiple(n)).verdict == "holds"
    assert claims.equal("DEY-1b", kept, n, linear.replace_multiple(n)).verdict == "fails"
    assert claims.equal("DEY-2b", kept, linear.accumulate(n), universality.real_and_last(n)).verdict != "fails"
    assert claims.equal("DEY-2b", replaced, linear.accumulate(n), universality.real_and_last(n)).verdict == "fails"
    assert claims.equal("DEY-2a", relative(replaced), linear.accumulate(n), universality.real_and_last(n)).verdict == "fails"


def test_what_is_passed_on_is_the_mixture_term_at_share_one(seed):
    s, n, penalty, rows = np.random.default_rng(seed).uniform(0.1, 2, 20), 35, 0.1, 45
    kappa, shift = ridge.effective_penalty(s, n, penalty), theory.generator_shift(s, rows, 0.0, 1.0)
    printed = theory.passed_on(s, n, kappa, rows)
    assert printed == pytest.approx(ridge.ridge(s, n, penalty, 1.0, 1.0, 1.0, shift).mixture)
