"""The perfect learner: by enumeration of a tiny language, and its known limits."""

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax

from collapse_utils.language import tempering


def test_a_colder_law_is_that_of_every_document_sampled_word_by_word(seed):
    law = log_softmax(np.random.default_rng(seed).normal(size=(2, 2, 2)).ravel()).reshape(2, 2, 2)
    p, tau = np.exp(law), 0.4
    for a, b, c in itertools.product(range(2), repeat=3):
        first, second, third = p.sum((1, 2)), p[a].sum(1) / p[a].sum(), p[a, b] / p[a, b].sum()
        by_hand = np.prod([q[i] ** (1 / tau) / (q ** (1 / tau)).sum() for q, i in ((first, a), (second, b), (third, c))])
        assert np.isclose(np.exp(tempering.colder(law, tau)[a, b, c]), by_hand)


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_two_words_lose_what_the_chapter_says(tau):
    """0.8 and 0.2 squared in every round; at temperature 1 nothing is ever lost."""
    word = np.log([0.8, 0.2])
    halved = tempering.perfect_learner(word, 0.5, 3)["replace"]
    assert np.allclose(halved, [0.5004, 0.6156, 1.1129], atol=1e-3)
    found = tempering.perfect_learner(word, tau, 4)
    assert (np.ptp(found["replace"]) < 1e-12) == (tau == 1)
    assert (found["document"] >= (1 - 1e-12) / np.arange(1, 5)).all()
    assert (found["context"] < 0.9 * found["document"]).any() == (tau < 1)
