"""A language whose truth is known: a first-order Markov source, and what counting models of it lose, exactly.

A source is a table (K + 1, K): row 0 the law of a document's first letter, row c that of the letter after letter c. A
document has `length` letters; losses are in nats per letter.
"""

import numpy as np
from scipy.stats import binom


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
    is p_0 (P∘Z)^{L−1} 1 with z in the entries counted; n-th power, inverse Fourier transform. read: (…, K + 1, K).
    """
    k, m = table.shape[1], n * (length - 1) + 1
    nodes = np.exp(-2j * np.pi * np.arange(m // 2 + 1) / m)
    weight = visits(table, length)[:, None] * table / length
    counts = np.arange(n + 1)
    first = np.einsum("...jn,n->...j", _binomial(n, read[..., 0, :]), np.log(counts + alpha)) - np.log(n + k * alpha)
    total = (weight[0] * (np.log(table[0]) - first)).sum(axis=-1)
    for c in range(k):
        marked = np.ones((k + 1, k, k), complex)[:, None] + np.zeros((len(nodes), 1, 1))  # (K + 1, m, K, K)
        for j in range(k):
            marked[j, :, c, j] = nodes
        marked[k, :, c, :] = nodes[:, None]  # the last one counts every letter after c
        law = np.broadcast_to(read[..., None, None, 0, :], (*read.shape[:-2], k + 1, len(nodes), k)).astype(complex)
        step = read[..., None, None, 1:, :] * marked
        for _ in range(length - 1):
            law = np.einsum("...i,...ij->...j", law, step)
        pmf = np.fft.irfft(law.sum(axis=-1) ** n, m, axis=-1)  # (…, K + 1, m)
        ln_q = pmf[..., :k, :] @ np.log(np.arange(m) + alpha) - (pmf[..., k, :] @ np.log(np.arange(m) + k * alpha))[..., None]
        total = total + (weight[c + 1] * (np.log(table[c + 1]) - ln_q)).sum(axis=-1)
    return total


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
            for s, row in enumerate(step):
                law[:, s : s + n + 1] += moved[:, s, None] * row
        else:
            law = law @ step


def _binomial(n: int, q: np.ndarray) -> np.ndarray:
    """The probabilities of 0 … n successes for each q, (*q.shape, n + 1)."""
    return binom.pmf(np.arange(n + 1), n, np.asarray(q)[..., None])
