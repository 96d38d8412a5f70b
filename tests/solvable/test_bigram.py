"""Counting models of a known source: exact laws against enumeration, against simulation, and rivals that they reject."""

import itertools
from itertools import islice

import numpy as np
import pytest
from scipy.stats import binom, t as student

from collapse_utils import claims, feedback_loop
from collapse_utils.regimes import accumulate, replace, replace_multiple, size_matched
from collapse_utils.rows import Ensemble
from collapse_utils.solvable.bigram import Ngram, counting, truth
from collapse_utils.theory import markov as theory

LENGTH, ALPHA = 4, 0.5
ALARM = 1e-6


def table(seed, k=3):
    return theory.source(k, 1.0, np.random.default_rng(seed))


def documents(a, length):
    """Every document with its probability."""
    for letters in itertools.product(range(1, a.shape[1] + 1), repeat=length):
        context = (0, *letters[:-1])
        yield letters, np.prod([a[c, j - 1] for c, j in zip(context, letters, strict=True)])


def test_entropy_visits_and_excess_by_enumeration(seed):
    a, b = table(seed), table(seed + 1)
    law = list(documents(a, LENGTH))
    other = dict(documents(b, LENGTH))
    assert np.isclose(theory.entropy(a, LENGTH) * LENGTH, -sum(p * np.log(p) for _, p in law))
    assert np.isclose(theory.excess(a, b, LENGTH) * LENGTH, sum(p * np.log(p / other[x]) for x, p in law))
    assert np.isclose(theory.visits(a, LENGTH).sum(), LENGTH)
    steps = a[1:]
    assert np.allclose(a[0] @ steps, a[0])
    rate = -(a[0][:, None] * steps * np.log(steps)).sum()
    assert abs(theory.entropy(a, 4000) - rate) < 1e-3


def test_losses_of_documents_by_enumeration(seed):
    a, b = table(seed), table(seed + 1)
    letters, law = zip(*documents(a, LENGTH), strict=True)
    rows = Ensemble(np.repeat(np.array(letters, np.uint16)[:, None], 2, axis=1))
    losses = Ngram(np.stack([a, b]), LENGTH).losses(rows)  # (documents, 2)
    assert np.allclose(losses[:, 0], -np.log(law) / LENGTH)
    assert np.isclose(law @ losses[:, 0], theory.entropy(a, LENGTH))
    assert np.isclose(law @ (losses[:, 1] - losses[:, 0]), theory.excess(a, b, LENGTH))


def test_the_first_excess_is_the_sum_over_all_data_sets(seed):
    """Two documents of three letters over two letters: 64 data sets, each fitted and weighed by its probability."""
    a, length, n = table(seed, 2), 3, 2
    total, fit = 0.0, counting(2, ALPHA)
    for chosen in itertools.product(documents(a, length), repeat=n):
        rows = np.array([letters for letters, _ in chosen])[:, None, :]
        model = fit(Ensemble(rows), None)
        total += np.prod([p for _, p in chosen]) * theory.excess(a, model.table[0], length)
    exact = theory.first_excess(a, a, n, length, ALPHA)
    assert np.isclose(exact, total, rtol=1e-10)
    stacked = theory.first_excess(a, np.stack([a, table(seed + 1, 2)]), n, length, ALPHA)
    assert np.isclose(stacked[0], exact)
    assert not np.isclose(stacked[1], exact)


def test_the_excess_after_reading_another_language_is_the_sum_over_all_its_data_sets(seed):
    """Two documents of three letters out of three: 729 data sets, fitted side by side, drawn from b and judged on a."""
    a, b = table(seed), table(seed + 1)
    letters, law = zip(*documents(b, 3), strict=True)
    pairs = np.array(list(itertools.product(range(len(letters)), repeat=2)))  # (729, 2)
    model = counting(3, ALPHA)(Ensemble(np.array(letters, np.uint16)[pairs.T]), None)
    total = np.array(law)[pairs].prod(axis=1) @ theory.excess(a, model.table, 3)
    assert np.isclose(theory.first_excess(a, b, 2, 3, ALPHA), total, rtol=1e-10)
    assert not np.isclose(theory.first_excess(a, a, 2, 3, ALPHA), total, rtol=1e-3)


@pytest.mark.parametrize("order", [0, 1])
def test_counts_of_steps_are_those_of_a_loop_over_letters(order, seed):
    rows = np.random.default_rng(seed).integers(1, 4, (6, 2, LENGTH), dtype=np.uint16)
    model = counting(3, ALPHA, order)(Ensemble(rows), None)
    for replicate in range(2):
        counts = np.zeros((4, 3))
        for document in rows[:, replicate].tolist():
            for context, letter in zip([0, *document[:-1]], document, strict=True):
                counts[context if order else slice(None), letter - 1] += 1
        assert np.allclose(model.table[replicate], (counts + ALPHA) / (counts.sum(axis=1, keepdims=True) + 3 * ALPHA))


def test_binomial_probabilities_are_scipy_s_at_the_ends_too():
    q = np.array([[0.0, 1e-9, 0.3], [0.5, 1 - 1e-9, 1.0]])
    for n in (1, 20, 700):
        assert np.allclose(theory._binomial(n, q), binom.pmf(np.arange(n + 1), n, q[..., None]), rtol=1e-9, atol=1e-300)


def test_many_documents_lose_half_a_nat_a_parameter(seed):
    """K² − 1 free parameters: the excess of a document tends to (K² − 1)/(2n) in nats (Wilks; Rissanen 1986)."""
    a, n = np.vstack([[0.4, 0.6], [[0.3, 0.7], [0.6, 0.4]]]), 4000
    assert abs(theory.first_excess(a, a, n, 3, 1.0) * 3 * 2 * n / 3 - 1) < 0.01


REGIMES = {"replace": replace, "accumulate": accumulate, "replace_multiple": replace_multiple}


def unigram_chains(regime, p, n, fits, r, seed):
    """Excess of r chains of unigram models, (r, fits)."""
    rng, draw = np.random.default_rng(seed), size_matched(n) if regime == "replace_multiple" else None
    real = truth(np.broadcast_to(p, (len(p) + 1, len(p))), 1, r).sample(n, rng)
    loop = feedback_loop(counting(len(p), ALPHA, order=0), real, REGIMES[regime], rng, draw)
    return np.stack([p @ np.log(p) - np.log(g.model.table[:, 0]) @ p for g in islice(loop, fits)], axis=1)


def agrees(samples, predicted):
    k, n = samples.shape[1], len(samples)
    z = np.abs(samples.mean(0) - predicted) / samples.std(0, ddof=1) * np.sqrt(n)
    return bool((z < student.isf(ALARM / 2 / k, n - 1)).all())


@pytest.mark.parametrize("regime", REGIMES)
def test_unigram_chains_follow_the_exact_law_and_not_another_regime_s(regime, seed):
    p, n, fits = np.array([0.5, 0.3, 0.15, 0.05]), 40, 6
    laws = {name: theory.count_chain(p, n, ALPHA, name, fits) for name in REGIMES}
    samples = unigram_chains(regime, p, n, fits, 20_000, seed)
    assert agrees(samples, laws[regime])
    assert not any(agrees(samples, law) for name, law in laws.items() if name != regime)
    assert not agrees(samples, laws[regime][0] * np.arange(1, fits + 1))


@pytest.mark.parametrize("regime", ["replace", "accumulate"])
def test_without_smoothing_a_lost_letter_never_returns(regime, seed):
    p, n, fits = np.array([0.6, 0.25, 0.1, 0.05]), 15, 6
    rng = np.random.default_rng(seed)
    real = truth(np.broadcast_to(p, (5, 4)), 1, 20_000).sample(n, rng)
    loop = feedback_loop(counting(4, 0.0, order=0), real, REGIMES[regime], rng)
    gone = np.stack([g.model.table[:, 0] == 0 for g in islice(loop, fits)], axis=1)  # (r, fits, K)
    assert (gone[:, 1:] >= gone[:, :-1]).all()
    law = theory.lost_letters(p, n, regime, fits)
    assert agrees(
        gone.mean(axis=-1)[:, :1] if regime == "accumulate" else gone.mean(axis=-1), law[:1] if regime == "accumulate" else law
    )
    assert np.allclose(theory.lost_letters(p, n, "accumulate", fits), ((1 - p) ** n).mean())
    assert np.isclose(theory.lost_letters(p, n, "replace", 400)[-1], 3 / 4)
    assert regime == "accumulate" or not agrees(gone.mean(axis=-1), law[0])


def test_bigram_chains_follow_the_conditional_law_in_every_generation(seed):
    """E[excess of fit t+1 | fit t] under replace; growth by the first error each time is rejected."""
    a, n, length = table(seed % 7, 3), 12, 5
    rng = np.random.default_rng(seed)
    real = truth(a, length, 6000).sample(n, rng)
    tables = [g.model.table for g in islice(feedback_loop(counting(3, ALPHA), real, replace, rng), 4)]
    lost = np.stack([theory.excess(a, q, length) for q in tables], axis=1)
    first = theory.first_excess(a, a, n, length, ALPHA)
    assert agrees(lost[:, :1], first)
    predicted = np.stack([theory.first_excess(a, q, n, length, ALPHA) for q in tables[:-1]], axis=1)
    assert agrees(lost[:, 1:] - predicted, 0.0)
    assert not agrees(lost[:, 1:] - lost[:, :-1], first)


def test_impossible_models_are_refused():
    for alpha, order in ((0, 2), (0, 1), (-1, 0), (float("nan"), 0)):
        with pytest.raises(
            ValueError, match=rf"alpha must be positive \(or 0 at order 0\) and order 0 or 1; got {alpha} and {order}"
        ):
            counting(3, alpha, order=order)


def test_whether_the_size_matters_can_come_out_in_every_way():
    """GER-13g with the rival's factor of twelve: rises alike, a rise of twelve times the other, and four seeds too noisy for either."""
    noise, rise = np.array([-1.0, 1.0, 2.0, -2.0]), 5.0

    def verdict(larger, spread):
        return claims.equal("GER-13g", larger + spread * noise, [rise], [12 * rise]).verdict

    assert verdict(rise, 0.5) == "holds"
    assert verdict(12 * rise, 0.5) == "fails"
    assert verdict(6 * rise, 10) == "inconclusive"
