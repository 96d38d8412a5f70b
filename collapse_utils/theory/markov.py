"""A language whose truth is known: a first-order Markov source, and what counting models of it lose, exactly.

A source is a table (K + 1, K): row 0 the law of a document's first letter, row c that of the letter after letter c. A
document has `length` letters; losses are in nats per letter.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import gammaln, xlog1py, xlogy


def source(n_letters: int, concentration: float, rng: np.random.Generator) -> np.ndarray:
    """Return a table with rows from a Dirichlet law, the first letter being drawn from the stationary law."""
    steps = rng.dirichlet(np.full(n_letters, concentration), n_letters)
    return np.vstack([stationary(steps), steps])


def stationary(steps: np.ndarray) -> np.ndarray:
    """Return the law π with π = π·steps of a transition matrix (K, K)."""
    k = len(steps)
    return np.linalg.lstsq(np.vstack([steps.T - np.eye(k), np.ones(k)]), np.append(np.zeros(k), 1.0), rcond=None)[0]


def visits(table: np.ndarray, length: int) -> np.ndarray:
    """Return how often each context is read in a document on average, (…, K + 1); they sum to length."""
    law, found = table[..., 0, :], np.zeros(table.shape[:-1])
    found[..., 0] = 1.0
    for _ in range(length - 1):
        found[..., 1:] += law
        law = np.einsum("...i,...ij->...j", law, table[..., 1:, :])
    return found


def entropy(table: np.ndarray, length: int) -> float:
    """Return the entropy of a document in nats per letter; its limit for long documents is the entropy rate.

    H = (1/L) Σ_c v_c H(p(·|c)), v_c the mean number of visits of context c (Shannon 1948, §7).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = -np.nansum(table * np.log(table), axis=-1)
    return float(visits(table, length) @ rows / length)


def excess(table: np.ndarray, model: np.ndarray, length: int) -> np.ndarray:
    """Return the excess loss of models (…, K + 1, K) on the source: (1/L) Σ_c v_c KL(p(·|c) ‖ q(·|c)), (…)."""
    weight = visits(table, length)[:, None] * table / length
    return (weight * (np.log(table) - np.log(model))).sum(axis=(-2, -1))


def first_excess(table: np.ndarray, read: np.ndarray, n: int, length: int, alpha: float) -> np.ndarray:
    """Exact mean excess on the source `table` of the bigram counts of n documents drawn from the models `read` (ours).

    q(j|c) = (N_cj + α)/(N_c + Kα), so E ln q needs the laws of N_cj and N_c. Their generating function over one document
    is p_0 (P∘Z)^{L−1} 1 with z in the entries counted; it is taken to the n-th power at roots of unity. read: (…, K + 1, K).
    """
    k, m = table.shape[1], next_fast_len(n * (length - 1) + 1, real=True)
    weight, counts = visits(table, length)[:, None] * table / length, np.arange(m)
    first = _binomial(n, read[..., 0, :]) @ np.log(np.arange(n + 1) + alpha) - np.log(n + k * alpha)
    pmf = irfft(rfft(_document_counts(read, length), m) ** n, m)  # (…, K, K + 1, m): what one document has, n times
    later = pmf[..., :k, :] @ np.log(counts + alpha) - (pmf[..., k, :] @ np.log(counts + k * alpha))[..., None]
    return (weight * (np.log(table) - np.concatenate([first[..., None, :], later], axis=-2))).sum(axis=(-2, -1))


def count_chain(p: np.ndarray, n: int, alpha: float, regime: str, n_fits: int) -> np.ndarray:
    """Exact mean excess, in nats per letter, of a unigram model q_j = (S_j + α)/(M + Kα) at fits 1 … n_fits (ours).

    Each count is a Markov chain of its own: replace S' ~ Bin(n, q); replace_multiple S' ~ Bin(t·n, q); accumulate
    S' = S + Bin(n, q), M = t·n, the urn with smoothing. p: (K,), the law of the n letters of D_0.
    """
    p = np.asarray(p, float)
    return np.array([p @ (np.log(p) - law @ np.log(q)) for law, q in _count_laws(p, n, alpha, regime, n_fits)])


def lost_letters(p: np.ndarray, n: int, regime: str, n_fits: int) -> np.ndarray:
    """Exact mean share of the letters that have no count at fits 1 … n_fits without smoothing; none ever returns (ours).

    Zero is an absorbing state of each count: replace Bin(n, S/n); accumulate keeps what the real data had, (1 − p_j)^n.
    """
    return np.array([law[:, 0].mean() for law, _ in _count_laws(np.asarray(p, float), n, 0.0, regime, n_fits)])


def _document_counts(read, length):
    """The law of the steps from c to j in a document, and last from c to any letter: (…, K, K + 1, length).

    A polynomial in z for each pair: at a step its shares move by the matrix P, and those of the pair gain a power of z.
    """
    steps, k = read[..., 1:, :], read.shape[-1]
    law = np.zeros((*read.shape[:-2], k, k + 1, length, k))  # by pair (c, j), number of steps and letter read last
    law[..., 0, :] = read[..., None, None, 0, :]
    for _ in range(length - 1):
        gained = -np.diff(np.einsum("...cjlc->...cjl", law), axis=-1, prepend=0.0)
        law = (law.reshape(*read.shape[:-2], -1, k) @ steps).reshape(law.shape)
        law[..., k, :, :] += gained[..., k, :, None] * steps[..., None, :]
        pair = np.einsum("...cjlj->...cjl", law[..., :k, :, :])  # a view
        pair += gained[..., :k, :] * steps[..., None]
    return law.sum(axis=-1)


def _count_laws(p, n, alpha, regime, n_fits):
    """The law of each count (K, M + 1) and the estimate q (M + 1,) at each fit; M the letters read."""
    law = _binomial(n, p)
    for t in range(1, n_fits + 1):
        read = n if regime == "replace" else t * n
        if t == 1 or read > n:  # under replace every step is the first
            q = (np.arange(read + 1) + alpha) / (read + len(p) * alpha)
            step = _binomial(read + n if regime == "replace_multiple" else n, q)
        yield law, q
        if regime == "accumulate":
            moved, law = law, np.zeros((len(p), read + n + 1))
            for new, share in enumerate(step.T):
                law[:, new : new + read + 1] += moved * share
        else:
            law = law @ step


def _binomial(n: int, q: np.ndarray) -> np.ndarray:
    """The probabilities of 0 … n successes for each q, (*q.shape, n + 1); logarithms take a sixth of the time of scipy.stats."""
    k, q = np.arange(n + 1), np.asarray(q)[..., None]
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, q) + xlog1py(n - k, -q))
