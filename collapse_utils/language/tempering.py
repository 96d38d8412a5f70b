"""A learner that makes no mistakes, in a loop that samples word by word at a temperature: the law of its documents, exactly.

A law holds ln p of every document of three words, (V, V, V).
"""

import numpy as np
from scipy.special import log_softmax, logsumexp


def colder(law: np.ndarray, tau: float) -> np.ndarray:
    """Return the law of documents that are sampled word by word at temperature τ from the model with this law."""
    pairs, first = logsumexp(law, axis=2), logsumexp(law, axis=(1, 2))
    return log_softmax(law / tau, 2) + log_softmax(pairs / tau, 1)[..., None] + log_softmax(first / tau)[:, None, None]


def perfect_learner(word: np.ndarray, tau: float, n_fits: int) -> dict[str, np.ndarray]:
    """Return what the n-th model loses on real documents of three independent words, ln p given, in nats per word: (n_fits,).

    replace, accumulate: the losses. document, context: the least q_n/p of a document, and of a word in its context, where the
    pool holds everything.
    """
    real = word[:, None, None] + word[:, None] + word
    alone, pool, found = real, real, []
    for n in range(1, n_fits + 1):
        lost = [-(np.exp(real) * law).sum() / 3 for law in (alone, pool)]
        found.append([*lost, np.exp((pool - real).min()), np.exp((log_softmax(pool, 2) - word).min())])
        alone, pool = colder(alone, tau), np.logaddexp(np.log(n) + pool, colder(pool, tau)) - np.log(n + 1)
    return dict(zip(("replace", "accumulate", "document", "context"), np.transpose(found), strict=True))
