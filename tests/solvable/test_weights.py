"""Weighted regimes: summaries against weighted least squares on rows, the loop against its law, and what is refused."""

from itertools import islice

import numpy as np
import pytest

from collapse_utils import feedback_loop
from collapse_utils.solvable import summaries
from collapse_utils.solvable.summaries import Gaussian, Moments, Normal
from collapse_utils.solvable.weights import counting, weighted
from collapse_utils.theory import weights as law

N, CHAINS = 12, 60_000


def mean_fit(data, rng):
    return Gaussian(data.mean, np.ones_like(data.mean))


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
    truth = Gaussian(np.zeros(CHAINS), np.ones(CHAINS))
    for fresh in (True, False):
        mix = weighted(weight, (lambda g: truth.sample(N, g)) if fresh else None)
        loop = feedback_loop(mean_fit, truth.sample(N, rng), mix, rng, lambda t: ratio * N)
        errors = np.array([N * g.model.mean**2 for g in islice(loop, 30)])
        expected = law.path(weight, 30, ratio) if fresh else law.fixed_limit(weight, ratio)
        found, noise = errors.mean(axis=1), errors.std(axis=1) / np.sqrt(CHAINS)
        assert (np.abs(found - expected) < 6 * noise)[-1 if not fresh else slice(None)].all()
        other = law.limit(weight, ratio) if not fresh else law.fixed_limit(weight, ratio)
        assert abs(found[-1] - other) > 6 * noise[-1]


def test_a_weight_may_change_from_round_to_round(seed):
    rng, own = np.random.default_rng(seed), law.greedy(5)
    truth = Gaussian(np.zeros(CHAINS), np.ones(CHAINS))
    mix = weighted(lambda t: own[t], lambda g: truth.sample(N, g))
    errors = np.array([N * g.model.mean**2 for g in islice(feedback_loop(mean_fit, truth.sample(N, rng), mix, rng), 5)])
    assert (np.abs(errors.mean(axis=1) - own) < 6 * errors.std(axis=1) / np.sqrt(CHAINS)).all()


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_beyond_its_range_is_refused(weight):
    with pytest.raises(ValueError, match=f"between 0 and 1; got {weight}"):
        weighted(weight)
