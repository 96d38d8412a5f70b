"""Documents of a Markov chain drawn by their counts, against documents drawn letter by letter: equal in law."""

from itertools import islice, product

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp

from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate, replace
from collapse_utils.solvable import bigram, transitions
from collapse_utils.theory import markov

CHAINS, LETTERS, LENGTH, DOCUMENTS, FITS, ALARM = 6000, 3, 5, 6, 4, 1e-7
SOURCE = markov.source(LETTERS, 0.7, np.random.default_rng(1))


def truth(kind, length=LENGTH):
    model = bigram.truth(SOURCE, length, CHAINS)
    return transitions.Ngram.of(model) if kind is transitions else model


def chains(kind, mix, order, rng):
    """Excess loss, chance of the first letter and of a step, at every fit, (FITS, chains) each."""
    fit = transitions.counting(0.5, order) if kind is transitions else bigram.counting(LETTERS, 0.5, order)
    loop = feedback_loop(fit, truth(kind).sample(DOCUMENTS, rng), mix, rng)
    tables = [g.model.table for g in islice(loop, FITS)]
    return {
        "loss": np.array([markov.excess(SOURCE, table, LENGTH) for table in tables]),
        "first": np.array([table[:, 0, 0] for table in tables]),
        "joint": np.array([table[:, 1, 2] * table[:, 2, 1] for table in tables]),
    }


def apart(one, other):
    """Where the laws differ; the values are discrete, so that a grain of noise breaks ties alike in both."""
    grain = np.random.default_rng(0)
    return [
        name for name in one
        if any(ks_2samp(a + 1e-9 * grain.random(a.shape), b + 1e-9 * grain.random(b.shape)).pvalue < ALARM
               for a, b in zip(one[name], other[name], strict=True))
    ]  # fmt: skip


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("mix", [replace, accumulate])
def test_counted_documents_are_those_of_letters(mix, order, seed):
    rng = np.random.default_rng(seed)
    assert apart(chains(bigram, mix, order, rng), chains(transitions, mix, order, rng)) == []


def test_steps_drawn_apart_from_the_paths_are_seen(seed, monkeypatch):
    """The rival: each context is read as often as on average, and its letters are drawn from there."""
    rng = np.random.default_rng(seed)
    letters = chains(bigram, replace, 1, rng)

    def sample(model, n, rng):
        visits = np.round(n * markov.visits(model.table, model.length)).astype(int)
        return transitions.Transitions(n, model.length, rng.multinomial(visits, model.table))

    monkeypatch.setattr(transitions.Ngram, "sample", sample)
    assert "joint" in apart(letters, chains(transitions, replace, 1, rng))


def test_the_counts_of_two_documents_have_the_law_of_all_paths(seed):
    """Two documents of four letters from an alphabet of two: every pair of paths, summed up by its counts."""
    table, length = np.array([[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]), 4
    one = {}
    for path in product((1, 2), repeat=length):
        counts, chance, context = np.zeros((3, 2), int), 1.0, 0
        for letter in path:
            counts[context, letter - 1] += 1
            chance, context = chance * table[context, letter - 1], letter
        one[tuple(counts.ravel())] = one.get(tuple(counts.ravel()), 0.0) + chance
    law = {}
    for (a, p), (b, q) in product(one.items(), repeat=2):
        both = tuple(np.add(a, b))
        law[both] = law.get(both, 0.0) + p * q
    model = transitions.Ngram.of(bigram.truth(table, length, 40_000))
    drawn = [tuple(row) for row in model.sample(2, np.random.default_rng(seed)).counts.reshape(40_000, -1)]
    assert set(drawn) <= set(law)
    seen = np.array([drawn.count(key) for key in law])
    assert chisquare(seen, 40_000 * np.array(list(law.values()))).pvalue > ALARM
    assert chisquare(seen, np.full(len(law), 40_000 / len(law))).pvalue < ALARM


def test_letters_are_documents_of_one_letter(seed):
    rng = np.random.default_rng(seed)
    drawn = truth(transitions).sample(DOCUMENTS, rng)
    letters = drawn.letters()
    assert (letters.n, letters.length) == (DOCUMENTS * LENGTH, 1)
    unigram = transitions.counting(0.5, 0)
    assert np.array_equal(unigram(letters, rng).table, unigram(drawn, rng).table)


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    drawn = truth(transitions).sample(2, rng)
    said = {
        "Transitions: counts must be whole numbers from 0 on; got -1": lambda: transitions.Transitions(
            1, 1, np.array([[[-1, 2]]])
        ),
        "Transitions: counts must be whole numbers from 0 on; got 1.5": lambda: transitions.Transitions(
            1, 1, np.array([[[1.5, 2]]])
        ),
        "join: documents must be of one length; got 5 and 2 letters": lambda: drawn.join(truth(transitions, 2).sample(2, rng)),
        "counting: alpha must be positive .or 0 at order 0. and order 0 or 1; got 0.0 and 1": lambda: transitions.counting(0.0),
        "fit: this estimator needs rows, and Transitions keeps none": lambda: bigram.counting(LETTERS, 0.5)(drawn, rng),
        "subset: Transitions knows no law of a part of its rows": lambda: drawn.subset(1, rng),
    }
    for words, call in said.items():
        with pytest.raises(ValueError, match=words):
            call()
