"""A finite set of states resampled for ever: the Wright-Fisher chain and its relatives."""

import numpy as np


def ancestors(m: int) -> np.ndarray:
    """Return the matrix (m+1, m+1) of P(j rows have k distinct parents among m), the occupancy law of j balls in m boxes."""
    table = np.zeros((m + 1, m + 1))
    table[0, 0] = 1.0
    k = np.arange(m + 1)
    for j in range(m):
        table[j + 1] = table[j] * k / m
        table[j + 1, 1:] += table[j, :-1] * (m - k[:-1]) / m
    return table


def absorption_time(p, m: int) -> float:
    """Exact mean number of resamplings until one state is left, from m rows drawn from p (K,) (ours).

    E T = Σ_j v_j (1 − Σ_i p_i^j), v_j the expected number of generations in which all m rows descend from j rows of
    the first data set: they are of one state exactly if those j are.
    """
    p, chain = np.asarray(p, float), ancestors(m)
    visits = np.linalg.solve((np.eye(m - 1) - chain[2:, 2:]).T, np.eye(m - 1)[-1]) if m > 1 else np.zeros(0)
    j = np.arange(2, m + 1)
    return float(visits @ (1 - (p[:, None] ** j).sum(axis=0)))


def absorption_time_limit(p, m: int) -> float:
    """Mean absorption time for large m: −2m Σ_i (1−p_i) log(1−p_i) (diffusion limit of the Wright-Fisher chain)."""
    rest = 1 - np.asarray(p, float)
    return float(-2 * m * (rest * np.log(rest)).sum())


def survival(n_generations: int) -> np.ndarray:
    """P(a single row has descendants after 0, 1, … generations) for m → ∞: s_0 = 1, s_{k+1} = 1 − exp(−s_k) ~ 2/k.

    The critical Poisson branching process (Kolmogorov 1938); shape (n_generations + 1,).
    """
    s = [1.0]
    for _ in range(n_generations):
        s.append(1 - np.exp(-s[-1]))
    return np.array(s)


def diversity_accumulate(n, m: int):
    """E[1 − Σ_i x_i²] of the pool under accumulate, in units of the true diversity: ∏_{k≤n}(1 − 1/(m k²)) (ours).

    The same product as the variance of the accumulated Gaussian chain (Kazdan 2024, 2410.16713, Lemma 3); its limit
    is sin(π/√m)/(π/√m).
    """
    k = np.arange(1, int(np.max(n)) + 1)
    return np.cumprod(1 - 1 / (m * k**2.0))[np.asarray(n) - 1]
