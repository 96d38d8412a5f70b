"""Learning a law with a power-law tail: Hutter's model with a cut, narrowed or resampled tail, as exact sums."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, gamma, zeta

_LAST = 1e18  # ranks beyond it are one node


def zipf(beta: float, breaks=(), exact: int = 10_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes (rank, p, weight), each (m,), with Σ_i f(i) = Σ weight·f(rank) for the law p_i = i^{-β}/ζ(β).

    Every rank up to `exact` is a node; a later stretch a..b is ∫ f from a−½ to b+½ by 16 Gauss-Legendre nodes an octave,
    relative error about exact^-2 for f smooth on it; ranks past 1e18 are one node with their mass (Hurwitz zeta).
    breaks: ranks after which f jumps. Raises ValueError unless β > 1 and the breaks lie between 1 and 1e18.
    """
    if not beta > 1:
        raise ValueError(f"zipf: the tail exponent beta must exceed 1, or the law has no sum; got {beta}.")
    if any(not 1 <= k < _LAST for k in breaks):
        raise ValueError(f"zipf: breaks must be ranks from 1 to {_LAST:g}; got {list(breaks)}.")
    octaves = exact * 2.0 ** np.arange(np.ceil(np.log2(_LAST / exact)))
    edges = np.unique(np.concatenate([octaves, [_LAST], [k for k in breaks if k > exact]])) + 0.5
    x, w = np.polynomial.legendre.leggauss(16)
    half, middle = np.diff(np.log(edges)) / 2, np.log(edges[1:] * edges[:-1]) / 2
    later = np.exp(middle[:, None] + half[:, None] * x).ravel()
    head, tail = np.arange(1.0, exact + 1), zeta(beta, _LAST)
    rank = np.concatenate([head, later, [_LAST]])
    weight = np.concatenate([np.ones(exact), (half[:, None] * w).ravel() * later, [tail * _LAST**beta]])
    return rank, rank**-beta / zeta(beta), weight


def unseen(counts, p, weight, q=None) -> np.ndarray:
    """Test error Σ_i p_i (1−q_i)^T of a learner that knows what it has seen in T rows of q (Dohmatob 2024, 2402.07043, Eq. 9).

    counts: T, any shape, need not be integers; p, weight: nodes (m,) as from zipf; q (m,), p by default. Shape of counts.
    """
    counts = np.asarray(counts, float)
    with np.errstate(divide="ignore"):
        miss = np.log1p(-(p if q is None else q))  # (m,)
    each = [weight @ (p * np.exp(np.where(miss < 0, t * miss, 0.0))) for t in counts.ravel()]
    return np.array(each).reshape(counts.shape)[()]


def rows_for(error: float, p, weight, most: float = 1e15) -> float:
    """Return the rows T with which a learner of the law p has this test error, the inverse of unseen; T need not be an integer.

    Raises ValueError unless the error lies below that of no rows, the mass of p, and above that of `most` rows.
    """
    low, high = unseen(most, p, weight), unseen(0.0, p, weight)
    if not low < error < high:
        raise ValueError(f"rows_for: the error must lie between {low:.3g} and {high:.3g}; got {error}.")
    return float(np.expm1(brentq(lambda t: unseen(np.expm1(t), p, weight) - error, 0.0, np.log1p(most), xtol=1e-12)))


def conditioned(p, weight, where) -> np.ndarray:
    """Return the law p (m,) given that the item lies in `where` (m,) of bool: zero outside, summing to one."""
    return np.where(where, p, 0.0) / (weight @ np.where(where, p, 0.0))


def clean_constant(beta: float) -> float:
    """lim E(T)·T^c with c = 1 − 1/β: Γ(c)/(β ζ(β)^{1/β}), Hutter's law with its constant (ours: Σ p e^{-Tp} as an integral)."""
    c = 1 - 1 / beta
    return float(gamma(c) / (beta * zeta(beta) ** (1 / beta)))


def effective_size(sizes) -> float:
    """Rows of D_0 that rows of the last generation descend from, if generation k resamples sizes[k] rows of k−1 (ours).

    A_n = T_n, A_{k−1} = T_{k−1} (1 − exp(−A_k/T_{k−1})): A_k balls in T_{k−1} boxes, for large T. All sizes equal to T
    give T·s_n with s_{k+1} = 1 − e^{−s_k}. The test error after n generations is the clean one at A_0 rows.
    """
    size = float(sizes[-1])
    for boxes in reversed(sizes[:-1]):
        size = boxes * -np.expm1(-size / boxes)
    return size


def ancestors(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, each (n+1,), of the number of rows of D_0 with descendants after 0 … n resamplings of `size` rows.

    Occupancy of `size` boxes (Johnson, Kotz 1977), iterated; right up to relative order 1/size in both (ours).
    """
    mean, variance, keep = [float(size)], [0.0], np.log1p(-1 / size)
    for _ in range(n):
        a, v = mean[-1], variance[-1]
        empty, pairs = np.exp(a * keep), np.exp(a * np.log1p(-2 / size)) if size > 2 else 0.0
        mean.append(size * (1 - empty * (1 + keep**2 * v / 2)))
        variance.append(empty**2 * v + size * (size - 1) * pairs + size * empty - size**2 * empty**2)
    return np.array(mean), np.array(variance)


def survival_subsample(n: int) -> np.ndarray:
    """P(a row of D_0 has a copy in the training data) after 0 … n generations of accumulate-subsample, many rows (ours).

    A pool row of generation j−1 is drawn with probability 1/j and then has Poisson(1) copies: backwards from
    f = 1 − 1/(n+1), f ← f·(1 − (1 − e^{−(1−f)})/j). Shape (n+1,); bounded away from zero.
    """
    survival = [1.0]
    for last in range(1, n + 1):
        lost = 1 - 1 / (last + 1)
        for j in range(last, 0, -1):
            lost *= 1 + np.expm1(lost - 1) / j
        survival.append(1 - lost)
    return np.array(survival)


def survival_mixture(n: int, p: float) -> np.ndarray:
    """The same for mixture(p), a share p of D_0 in every generation: 1 − (1−p)(1−r_n) ∏_{k<n} (1 − p·r_k) (ours).

    r_0 = 1, r_{k+1} = 1 − exp(−r_k (1−p)): the line of one drawn row. Shape (n+1,), its first entry 1.
    """
    line = [1.0]
    for _ in range(n):
        line.append(-np.expm1(-(1 - p) * line[-1]))
    line = np.array(line)
    between = np.concatenate([[1.0], np.cumprod(1 - p * line[1:])])[: max(n, 1)]  # ∏_{1≤k<n}, for n = 1, 2, …
    return np.concatenate([[1.0], 1 - (1 - p) * (1 - line[1:]) * between]) if n else np.ones(1)


def absolute_deviation(n: float, p) -> np.ndarray:
    """E|N/n − p| of a binomial count N of n draws: 2 p^v (1−p)^{n−v+1}/(n B(v, n−v+1)), v = ⌊np⌋ + 1 (De Moivre 1730); shape of p."""
    p = np.asarray(p, float)
    v = np.floor(n * p) + 1
    return 2 / n * np.exp(v * np.log(p) + (n - v + 1) * np.log1p(-p) - betaln(v, n - v + 1))
