"""Hutter's model: nodes against plain sums, laws against simulation at parameters of their own, genealogies."""

from itertools import islice

import numpy as np
import pytest
from scipy.special import zeta
from scipy.stats import binom

from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate, accumulate_subsample, mixture, replace, replace_multiple, size_matched
from collapse_utils.theory import discrete, tails as law


class Memory:
    def __init__(self, rows):
        self.rows = rows

    def sample(self, n, rng):
        return self.rows[rng.integers(len(self.rows), size=n)]


def errors(mix, beta, size, last, rng, draw=None):
    items, rows = np.unique(rng.zipf(beta, size).astype(float), return_inverse=True)
    mass = items**-beta / zeta(beta)
    loop = islice(feedback_loop(lambda data, rng: Memory(data), rows, mix, rng, draw), last + 1)
    return [1 - mass[np.unique(g.data)].sum() for g in loop]


def far(samples, predicted):
    """Distance of the mean from the prediction, in standard errors; shape of predicted."""
    samples = np.asarray(samples)
    return (samples.mean(axis=0) - predicted) / (samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


@pytest.mark.parametrize("beta", [1.2, 1.5, 2.7])
def test_nodes_sum_like_ten_million_ranks(beta):
    rank, p, weight = law.zipf(beta, breaks=[123_456])
    assert abs(weight @ p - 1) < 1e-9
    assert abs(weight @ np.where(rank > 123_456, p, 0) / (zeta(beta, 123_457) / zeta(beta)) - 1) < 1e-9
    plain = np.arange(1.0, 1e6 + 1) ** -beta / zeta(beta)
    rest = law.zipf(beta, exact=1_000_000)
    for t in (10, 1e3, 1e7):
        reference = plain @ np.exp(t * np.log1p(-plain)) + rest[2][10**6 :] @ (rest[1] * np.exp(t * np.log1p(-rest[1])))[10**6 :]
        assert abs(law.unseen(t, p, weight) / reference - 1) < 1e-7


def test_unseen_keeps_shape_and_its_ends():
    _, p, weight = law.zipf(1.7)
    assert law.unseen([[1, 10], [100, 1000]], p, weight).shape == (2, 2)
    assert law.unseen(0, p, weight) == pytest.approx(1)
    assert law.unseen(1e12, p, weight, np.where(p == p, 1.0, 0.0)) == 0  # a certain item is seen, without NaN
    cut = law.conditioned(p, weight, p > p[9])
    assert weight @ cut == pytest.approx(1)
    assert law.unseen(1e9, p, weight, cut) == pytest.approx(zeta(1.7, 10) / zeta(1.7))


def test_rows_for_is_the_inverse_of_unseen():
    _, p, weight = law.zipf(1.7)
    for rows in (0.5, 1, 30, 1e4):
        assert law.rows_for(law.unseen(rows, p, weight), p, weight) == pytest.approx(rows, rel=1e-7)
    with pytest.raises(ValueError, match="must lie between 0 and 1; got 2"):
        law.rows_for(2.0, np.array([0.5, 0.5]), np.ones(2))


def test_a_narrowed_law_is_ahead_after_one_row_and_behind_in_the_end(seed):
    for p in np.sort(np.random.default_rng(seed).dirichlet(np.full(30, 0.3), 20))[:, ::-1]:
        for k in (1, 5, 20):
            q, one = law.conditioned(p, np.ones(30), np.arange(30) < k), np.ones(30)
            assert law.unseen(1, p, one, q) <= law.unseen(1, p, one) + 1e-15
            assert law.unseen(1e9, p, one, q) == pytest.approx(p[k:].sum())


@pytest.mark.parametrize(("beta", "breaks"), [(1.0, ()), (0.5, ()), (np.nan, ()), (1.5, [0]), (1.5, [1e19])])
def test_a_law_outside_the_theory_is_refused(beta, breaks):
    with pytest.raises(ValueError, match="zipf: .*got"):
        law.zipf(beta, breaks)


def test_simulated_learners_follow_the_exact_sum_at_any_exponent(seed):
    rng = np.random.default_rng(seed)
    beta, size, k = rng.uniform(1.35, 2.5), int(rng.integers(300, 3000)), int(rng.integers(20, 200))
    rank, p, weight = law.zipf(beta)
    samples = [errors(replace, beta, size, 0, rng) for _ in range(400)]
    assert abs(far(samples, law.unseen(size, p, weight))) < 6
    assert abs(far(samples, law.clean_constant(beta) * size ** (1 - beta))) > 6  # the exponent of a rank, not of a sample
    cut = law.conditioned(p, weight, rank <= k)
    share = cut[:k] / cut[:k].sum()
    rows = rng.multinomial(size, share, size=400)
    assert abs(far([1 - p[:k][row > 0].sum() for row in rows], law.unseen(size, p, weight, cut))) < 6


def test_the_n_fold_law_at_any_exponent_and_size(seed):
    rng = np.random.default_rng(seed)
    beta, size, last = rng.uniform(1.35, 2.2), int(rng.integers(1500, 5000)), 12
    _, p, weight = law.zipf(beta)
    samples = np.array([errors(replace, beta, size, last, rng) for _ in range(500)])
    mean, variance = law.ancestors(last, size)
    h = 1e-3 * mean
    clean, up, down = (law.unseen(a, p, weight) for a in (mean, mean + h, mean - h))
    expected = clean + (up + down - 2 * clean) / h**2 * variance / 2
    assert np.abs(far(samples, expected)).max() < 6.5
    linear = expected[0] + np.arange(last + 1) * (expected[1] - expected[0])
    assert np.abs(far(samples, linear)).max() > 10
    upper = [weight @ (p * np.exp(-size * s * p)) for s in discrete.branching(last)]
    assert (clean <= expected).all()
    assert (expected <= upper).all()


@pytest.mark.parametrize(("size", "last"), [(50, 3), (300, 12), (300, 60)])
def test_ancestors_against_the_exact_chain(size, last):
    law_of_count, chain = np.eye(size + 1)[size], discrete.ancestors(size)
    for _ in range(last):
        law_of_count = law_of_count @ chain
    mean = law_of_count @ np.arange(size + 1)
    variance = law_of_count @ np.arange(size + 1) ** 2 - mean**2
    ours = [moment[-1] for moment in law.ancestors(last, size)]
    assert ours[0] == pytest.approx(mean, rel=0.05 * (last / size) ** 2 + 1e-5)
    assert ours[1] == pytest.approx(variance, rel=0.5 * last / size)
    naive = size * discrete.branching(last)[-1]  # without the finite size
    assert abs(ours[0] - mean) < abs(naive - mean)


def test_sizes_reduce_to_survival_and_to_the_one_step_law():
    s = discrete.branching(40)
    assert law.effective_size([7.0] * 41) == pytest.approx(7 * s[40])
    assert law.effective_size([10.0, 1e9]) == pytest.approx(10)
    assert law.effective_size([1e9, 10.0]) == pytest.approx(10, rel=1e-6)
    far_out = discrete.branching(10_000)[-1]
    assert 1 / far_out == pytest.approx(5000 + np.log(10_000) / 6 + 0.9, abs=0.05)  # stable to ten thousand generations


def test_regimes_keep_the_share_that_theory_says(seed):
    rng = np.random.default_rng(seed)
    beta, size, last, p_real = rng.uniform(1.4, 2.0), 2000, 6, rng.uniform(0.05, 0.6)
    _, p, weight = law.zipf(beta)
    s = discrete.branching(last)
    shares = {
        accumulate: np.ones(last + 1),
        accumulate_subsample: law.survival_subsample(last),
        mixture(round(p_real * size) / size): law.survival_mixture(last, round(p_real * size) / size),
    }
    for mix, kept in shares.items():
        samples = np.array([errors(mix, beta, size, last, rng) for _ in range(150)])
        band = 0.003 * law.unseen(size * kept, p, weight)
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        assert (np.abs(samples.mean(axis=0) - law.unseen(size * kept, p, weight)) < 6.5 * error + band).all()
        assert np.abs(far(samples, law.unseen(size * s, p, weight))).max() > 8  # replace is another law
    samples = np.array([errors(replace_multiple, beta, size, last, rng, size_matched(size)) for _ in range(100)])
    kept = np.array([law.effective_size(size * np.arange(1, k + 2)) for k in range(last + 1)])
    assert np.abs(far(samples, law.unseen(kept, p, weight))).max() < 7


def test_limits_of_the_regimes():
    assert law.survival_subsample(2000)[-1] == pytest.approx(0.5005, abs=5e-4)
    assert (np.diff(law.survival_subsample(200)) < 0).all()
    assert law.survival_mixture(500, 1e-12)[500] == pytest.approx(discrete.branching(500)[500], rel=1e-6)
    assert law.survival_mixture(500, 1 - 1e-12)[500] == pytest.approx(1)
    assert law.survival_mixture(0, 0.5).tolist() == [1.0]


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (10, 0.3), (10, 0.5), (1000, 1e-4), (1000, 0.9), (10**6, 0.25)])
def test_mean_absolute_deviation_of_a_binomial(n, p):
    k = np.arange(n + 1)
    exact = binom.pmf(k, n, p) @ np.abs(k / n - p)
    assert law.absolute_deviation(n, p) == pytest.approx(exact, rel=1e-8)
