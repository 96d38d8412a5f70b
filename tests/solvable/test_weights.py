"""Weights and filters: summaries against weighted fits and rejected rows, loops against their laws, and what is refused."""

from itertools import islice

import numpy as np
import pytest
from scipy.stats import ks_2samp

from collapse_utils import feedback_loop
from collapse_utils.regimes import replace
from collapse_utils.solvable import summaries
from collapse_utils.solvable.summaries import Moments, Normal
from collapse_utils.solvable.weights import Filtered, counting, filtered, standard, weighted
from collapse_utils.theory import weights as law

N, CHAINS = 12, 60_000


def test_weighted_normal_equations_are_weighted_least_squares(seed):
    rng = np.random.default_rng(seed)
    (x, y), (z, v) = [(rng.standard_normal((n, 3)), rng.standard_normal(n)) for n in (8, 20)]
    parts = [Normal(len(a), (a.T @ a)[None], (a.T @ b)[None]) for a, b in ((x, y), (z, v))]
    joined = counting(parts[0], 0.7).join(counting(parts[1], 0.3))
    found = summaries.FreshDesign(3, 1, 1.0).fit(joined, rng).w[0]
    root = np.sqrt(np.repeat([0.7 / 8, 0.3 / 20], [8, 20]))
    rows, labels = np.concatenate([x, z]), np.concatenate([y, v])
    assert np.allclose(found, np.linalg.lstsq(rows * root[:, None], labels * root)[0])
    assert joined.n == 1.0


def test_weighted_moments_are_those_of_repeated_rows(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((4, 1)), rng.standard_normal((6, 1))
    parts = [Moments(len(p), p.mean(axis=0), len(p) * p.var(axis=0)) for p in (a, b)]
    joined = counting(parts[0], 12).join(counting(parts[1], 6))
    repeated = np.concatenate([a, a, a, b])  # each row of a counts three
    assert np.allclose(joined.mean, repeated.mean())
    assert np.allclose(joined.squares, 18 * repeated.var())


@pytest.mark.parametrize(("weight", "ratio"), [(0.3, 1), (law.GOLDEN, 1), (0.5, 3)])
def test_the_loop_has_the_error_of_the_law(weight, ratio, seed):
    rng = np.random.default_rng(seed)
    truth = standard(CHAINS)
    for fresh in (True, False):
        mix = weighted(weight, (lambda g: truth.sample(N, g)) if fresh else None)
        loop = feedback_loop(filtered(), truth.sample(N, rng), mix, rng, lambda t: ratio * N)
        errors = np.array([N * g.model.mean**2 for g in islice(loop, 30)])
        expected = law.path(weight, 30, ratio) if fresh else law.fixed_limit(weight, ratio)
        found, noise = errors.mean(axis=1), errors.std(axis=1) / np.sqrt(CHAINS)
        assert (np.abs(found - expected) < 6 * noise)[-1 if not fresh else slice(None)].all()
        other = law.limit(weight, ratio) if not fresh else law.fixed_limit(weight, ratio)
        assert abs(found[-1] - other) > 6 * noise[-1]


def test_a_weight_may_change_from_round_to_round(seed):
    rng, own = np.random.default_rng(seed), law.greedy(5)
    truth = standard(CHAINS)
    mix = weighted(lambda t: own[t], lambda g: truth.sample(N, g))
    errors = np.array([N * g.model.mean**2 for g in islice(feedback_loop(filtered(), truth.sample(N, rng), mix, rng), 5)])
    assert (np.abs(errors.mean(axis=1) - own) < 6 * errors.std(axis=1) / np.sqrt(CHAINS)).all()


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_beyond_its_range_is_refused(weight):
    with pytest.raises(ValueError, match=f"between 0 and 1; got {weight}"):
        weighted(weight)


def rejected(mean, pull, centre, n, chains, rng):
    """Mean and squares of n rows of each chain that passed, row by row."""
    tau2, kept = 1 / pull - 1, np.empty((n, chains))
    due = np.ones((n, chains), bool)
    while due.any():
        y = mean + rng.standard_normal((n, chains))
        passes = due & (rng.random((n, chains)) < np.exp(-((y - centre) ** 2) / (2 * tau2)))
        kept[passes] = y[passes]
        due &= ~passes
    return kept.mean(axis=0), n * kept.var(axis=0)


@pytest.mark.parametrize(("pull", "centre"), [(0.3, 0.9), (0.7, None)])
def test_rows_that_pass_are_those_that_rejection_keeps(pull, centre, seed):
    rng, chains, n = np.random.default_rng(seed), 4000, 5
    model = Filtered(np.full(chains, 0.4), pull, centre)
    found = model.sample(n, rng)
    expected = rejected(0.4, pull, 0.4 if centre is None else centre, n, chains, rng)
    assert ks_2samp(found.mean, expected[0]).pvalue > 1e-7
    assert ks_2samp(found.squares, expected[1]).pvalue > 1e-7
    plain = Filtered(model.mean).sample(n, rng)
    assert ks_2samp(plain.squares, expected[1]).pvalue < 1e-7


def test_a_chain_of_checked_rows_has_the_error_of_the_law(seed):
    rng, pull, centre, first = np.random.default_rng(seed), 0.4, 0.3, 3
    loop = feedback_loop(filtered(pull, centre), standard(CHAINS).sample(first, rng), replace, rng, lambda t: N)
    errors = N * np.array([g.model.mean for g in islice(loop, 7)]) ** 2
    expected = law.verified_error(pull, centre * np.sqrt(N), 6, N / first)
    noise = errors.std(axis=1) / np.sqrt(CHAINS)
    assert (np.abs(errors.mean(axis=1) - expected) < 6 * noise).all()
    assert abs(errors[-1].mean() - law.verified_error(pull, 0.0, 6, N / first)[-1]) > 6 * noise[-1]


@pytest.mark.parametrize("pull", [-0.1, 1.0])
def test_a_pull_beyond_its_range_is_refused(pull):
    with pytest.raises(ValueError, match=f"below 1; got {pull}"):
        filtered(pull)
