"""The discrete chain: exact laws against Markov chains that share no code with them, and against the loop."""

from itertools import islice

import numpy as np
import pytest
from scipy.stats import binom

from collapse_utils import claims, feedback_loop
from collapse_utils.moments import replicate
from collapse_utils.regimes import accumulate, accumulate_subsample, mixture, replace
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import discrete, kde
from collapse_utils.theory import discrete as theory, gaussian


def wright_fisher(m):
    """The transition matrix of the number of copies of one of two states, and the law of a first sample's copies."""
    k = np.arange(m + 1)
    return binom.pmf(k[None], m, k[:, None] / m), lambda p: binom.pmf(k, m, p)


@pytest.mark.parametrize("m", [1, 2, 5, 12])
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_two_states_equal_the_fundamental_matrix(m, p):
    """Forwards, by (I − Q)⁻¹ of the binomial chain, what the theory counts backwards."""
    chain, start = wright_fisher(m)
    times = np.zeros(m + 1)
    times[1:-1] = np.linalg.solve(np.eye(m - 1) - chain[1:-1, 1:-1], np.ones(m - 1))
    assert abs(theory.absorption_time([p, 1 - p], m) - start(p) @ times) < 1e-9


@pytest.mark.parametrize("m", [2, 7])
def test_two_states_are_unabsorbed_as_the_powers_of_the_chain_say(m):
    chain, start = wright_fisher(m)
    forwards = [start(0.3) @ np.linalg.matrix_power(chain, t) for t in range(9)]
    expected = [1 - law[0] - law[-1] for law in forwards]
    np.testing.assert_allclose(theory.unabsorbed([0.3, 0.7], m, 8), expected, atol=1e-12)


def test_the_tail_sums_to_the_mean_and_decays_by_one_part_in_m():
    p = [0.5, 0.3, 0.2]
    tail = theory.unabsorbed(p, 9, 600)
    assert abs(tail.sum() - theory.absorption_time(p, 9)) < 1e-9
    assert abs(tail[301] / tail[300] - (1 - 1 / 9)) < 1e-9


def test_parents_are_counted_like_balls_in_boxes():
    table, j = theory.ancestors(9), np.arange(10)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(table @ j, 9 * (1 - (1 - 1 / 9) ** j))


def test_absorption_times_approach_the_diffusion_limit():
    p = np.full(10, 0.1)
    gaps = [1 - theory.absorption_time(p, m) / theory.absorption_time_limit(p, m) for m in (10, 40, 160)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] < 0.012
    assert abs(theory.absorption_time_limit(p, 1) - 18 * np.log(10 / 9)) < 1e-12


def test_survivors_tend_to_the_branching_process():
    s = theory.branching(20_000)
    assert s[1] == 1 - np.exp(-1)
    assert abs(s[-1] * 20_000 / 2 - 1) < 2e-3
    gaps = [np.abs(theory.survivors(m, 10) / s[:11] - 1).max() for m in (50, 500)]
    assert 8 < gaps[0] / gaps[1] < 12  # first order in 1/m
    np.testing.assert_allclose(theory.survivors(8, 2)[1], 1 - (7 / 8) ** 8)


def test_a_smoothed_pool_keeps_the_diversity_of_the_product():
    """Exact, by the chain of the counts of each state; without smoothing it is the product of the Gaussian pool."""
    p, n, alpha, fits = np.array([0.6, 0.3, 0.1]), 6, 0.5, 5
    law, path = binom.pmf(np.arange(n + 1), n, p[:, None]), []  # (K, counts)
    for t in range(1, fits + 1):
        q = (np.arange(t * n + 1) + alpha) / (t * n + 3 * alpha)
        path.append((law @ (q * (1 - q))).sum())
        moved = np.zeros((3, (t + 1) * n + 1))
        for count, share in enumerate(q):
            moved[:, count : count + n + 1] += law[:, count, None] * binom.pmf(np.arange(n + 1), n, share)
        law = moved
    assert np.allclose(theory.smoothed_diversity(p, n, alpha, fits), path, rtol=1e-12)
    pool = theory.smoothed_diversity(p, n, 0.0, 9) / (1 - (p**2).sum())
    assert np.allclose(pool, gaussian.accumulate(9, n, 0).variance, rtol=1e-12)


def test_polyas_urn_follows_its_recursion():
    m, diversity, total = 6, 1 - 1 / 6, 6
    for n in (1, 2, 3):
        assert abs(theory.urn(n, m) - diversity) < 1e-12
        for _ in range(m):
            diversity, total = diversity * (1 - 1 / (total + 1) ** 2), total + 1


def chain(mix, m, n_fits, states=4):
    """Follow 1 − Σ x_i² of the training data of r chains over a uniform alphabet, over its true value, (r, n_fits)."""

    def experiment(r, rng):
        loop = feedback_loop(kde.fit(lambda rows: 0.0), Ensemble(rng.integers(states, size=(m, r))), mix, rng)
        shares = (np.stack([(g.data.rows == i).mean(axis=0) for i in range(states)]) for g in islice(loop, n_fits))
        return {"diversity": np.stack([1 - (x**2).sum(axis=0) for x in shares], axis=1) / (1 - 1 / states)}

    return experiment


def test_diversity_is_the_variance_of_the_gaussian_chain_and_swapped_arms_fail(seed):
    """The claim of accumulate, fed with replace, fails; every regime's diversity has the Gaussian law of divisor m."""
    n, m = np.arange(1, 16), 10
    regimes = {replace: (), accumulate: (), accumulate_subsample: (), mixture(0.2): (2,)}
    names = ("replace", "accumulate", "accumulate_subsample", "mixture")
    rng = np.random.default_rng(seed)
    for (mix, extra), name in zip(regimes.items(), names, strict=True):
        run = replicate(chain(mix, m, 15), 4000, rng)["diversity"]
        law = getattr(gaussian, name)(15, m, *extra, 0).variance
        assert (np.abs(run.mean - law) < 5.7 * run.se).all(), name
        wrong = getattr(gaussian, name)(15, m, *extra, 1).variance  # the divisor m − 1 is to be rejected
        assert (np.abs(run.mean - wrong) > 5.7 * run.se).any(), name
        verdict = claims.equal("KAZ-10c", run, gaussian.accumulate(15, m, 0).variance, theory.urn(n, m), at=n).verdict
        assert verdict == ("holds" if name == "accumulate" else "fails"), name


def test_times_of_the_loop_and_a_swapped_arm(seed):
    """Chains of the loop have the exact mean time; rows from a pool, which are never absorbed, do not."""
    rng = np.random.default_rng(seed)
    p, m, horizon = [0.6, 0.4], 6, 120  # P(unabsorbed at the horizon) < 1e-9
    for mix, agrees in ((replace, True), (accumulate, False)):
        real = Ensemble((rng.random((m, 2000)) < p[0]).astype(int))
        mixed = np.zeros(2000)
        for g in islice(feedback_loop(kde.fit(lambda rows: 0.0), real, mix, rng), horizon):
            mixed += (g.data.rows != g.data.rows[0]).any(axis=0)
        surprise = (mixed.mean() - theory.absorption_time(p, m)) / (mixed.std() / np.sqrt(2000))
        assert (abs(surprise) < 5.7) == agrees


def test_letters_are_counted_as_they_were_drawn(seed):
    rows, p = discrete.letters([0.1, 0.0, 0.9], 50, 3000, np.random.default_rng(seed)).rows, np.array([0.1, 0.0, 0.9])
    found = discrete.counts(rows, 3)
    assert found.shape == (3000, 3)
    assert (found == [np.bincount(column, minlength=3) for column in rows.T]).all()
    assert (np.abs(found.mean(axis=0) - 50 * p) <= 5.7 * np.sqrt(50 * p * (1 - p) / 3000)).all()


def test_absorption_takes_the_exact_time_and_is_a_fair_lottery(seed):
    """Letters that the chain of another size or a rival lottery, won in proportion to p², would not give."""
    p, m, r = np.array([0.2, 0.3, 0.5]), 12, 6000
    time, winner = discrete.absorption(p, m, r, np.random.default_rng(seed))
    error = time.std() / np.sqrt(r)
    assert abs(time.mean() - theory.absorption_time(p, m)) < 5.7 * error < abs(time.mean() - theory.absorption_time(p, m + 2))
    won, spread = np.bincount(winner, minlength=3) / r, np.sqrt(p * (1 - p) / r)
    assert (np.abs(won - p) < 5.7 * spread).all()
    assert (np.abs(won - p**2 / (p**2).sum()) > 5.7 * spread).any()


def test_letters_go_extinct_in_the_exact_time_of_the_last(seed):
    p, m, r = np.array([0.05, 0.25, 0.7]), 9, 4000
    time = discrete.extinction(p, m, r, np.random.default_rng(seed))
    ordered, never = np.sort(time, axis=1), (1 - p) ** m
    assert (ordered[:, 2] - ordered[:, 1] >= 1).all()
    surprise = (ordered[:, 1].mean() - theory.absorption_time(p, m)) / (ordered[:, 1].std() / np.sqrt(r))
    assert abs(surprise) < 5.7
    assert (np.abs((time == 0).mean(axis=0) - never) < 5.7 * np.sqrt(never * (1 - never) / r) + 1e-9).all()
