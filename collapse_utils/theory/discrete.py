"""A finite set of states resampled for ever, m rows a generation: the Wright-Fisher chain, followed backwards."""

import numpy as np


def ancestors(m: int) -> np.ndarray:
    """Return the matrix (m+1, m+1) of P(j rows have k distinct parents among m): j balls thrown into m boxes hit k of them."""
    table = np.zeros((m + 1, m + 1))
    table[0, 0] = 1.0
    k = np.arange(m + 1)
    for j in range(m):
        table[j + 1] = table[j] * k / m
        table[j + 1, 1:] += table[j, :-1] * (m - k[:-1]) / m
    return table


def absorption_time(p, m: int) -> float:
    """Exact mean number of resamplings until one state is left, from m rows drawn from p (K,) (ours):

        E τ = Σ_{j≥2} v_j (1 − Σ_i p_i^j),

    v_j the expected number of generations whose m rows descend from j rows of the first data set.
    """
    p, chain = np.asarray(p, float), ancestors(m)
    visits = np.linalg.solve((np.eye(m - 1) - chain[2:, 2:]).T, np.eye(m - 1)[-1]) if m > 1 else np.zeros(0)
    return float(visits @ _mixed(p, m)[2:])


def absorption_time_limit(p, m: int) -> float:
    """Mean absorption time for large m: −2m Σ_i (1−p_i) log(1−p_i) (Ewens 2004, the diffusion limit of Wright-Fisher)."""
    rest = 1 - np.asarray(p, float)
    return float(-2 * m * (rest * np.log(rest)).sum())


def unabsorbed(p, m: int, n_generations: int) -> np.ndarray:
    """P(more than one state is left) after 0, 1, …, n_generations resamplings of m rows drawn from p (K,), exact (ours).

    Σ_j P(A_t = j)(1 − Σ_i p_i^j) with A_t the number of rows of the first data set that have descendants.
    """
    return _ancestor_laws(m, n_generations) @ _mixed(np.asarray(p, float), m)


def survivors(m: int, n_generations: int) -> np.ndarray:
    """E share of m rows that have descendants after 0, 1, …, n_generations resamplings, exact (ours)."""
    return _ancestor_laws(m, n_generations) @ np.arange(m + 1) / m


def branching(n_generations: int) -> np.ndarray:
    """The limit of survivors for m → ∞: s_0 = 1, s_{k+1} = 1 − exp(−s_k) ~ 2/k (Kolmogorov 1938, critical branching)."""
    s = [1.0]
    for _ in range(n_generations):
        s.append(1 - np.exp(-s[-1]))
    return np.array(s)


def urn(n, m: int):
    """E[1 − Σ_i x_i²] of Pólya's urn with n·m rows, over that of the truth: m real rows, then copies one by one (Pólya 1930):

    (1 − 1/m) · m/(m+1) · (nm+1)/(nm).
    """
    total = np.asarray(n, float) * m
    return (m - 1) / (m + 1) * (total + 1) / total


def smoothed_diversity(p, n: int, alpha: float, n_fits: int) -> np.ndarray:
    """E Σ_j q_j(1−q_j) at fits 1 … n_fits under accumulate, q = (S + α)/(tn + Kα) counted from t·n draws of K states (ours).

    The shares are martingales, smoothing or not: given q the next n counts move q_j by a variance n q_j(1−q_j)/((t+1)n + Kα)²,
    so that each fit t ≥ 2 leaves the factor 1 − n/(tn + Kα)². p: (K,), the law of the first n draws.
    """
    p, prior = np.asarray(p, float), len(p) * alpha
    mean, spread = (n * p + alpha) / (n + prior), n * p * (1 - p) / (n + prior) ** 2
    factors = 1 - n / (np.arange(1, n_fits + 1) * n + prior) ** 2
    factors[0] = (mean * (1 - mean) - spread).sum()
    return np.cumprod(factors)


def _mixed(p, m):
    """P(j independent draws from p are not all of one state), j = 0 … m; 0 for j = 0."""
    alike = (p[:, None] ** np.arange(m + 1)).sum(axis=0)
    return np.where(np.arange(m + 1) > 0, 1 - alike, 0.0)


def _ancestor_laws(m, n_generations):
    """The law of the number of ancestors after 0, 1, …, n_generations resamplings, (n_generations + 1, m + 1)."""
    chain, laws = ancestors(m), [np.eye(m + 1)[m]]
    for _ in range(n_generations):
        laws.append(laws[-1] @ chain)
    return np.array(laws)
