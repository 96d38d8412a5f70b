"""Gaussians retrained on real and own rows: n_real real ones in every round, fresh or the same, and n_synthetic of the last model.

The real law has unit variance per coordinate; ddof and bias are those of theory.gaussian, n = 1, 2, … counts model fits.
Setting: Alemohammad et al. (2023), 2307.01850; Bertrand et al. (2023), 2310.00429. The laws are ours.
"""

import numpy as np
from scipy.optimize import brentq

from collapse_utils.theory.gaussian import Path


def fresh(n_fits: int, n_first: int, n_real: int, n_synthetic: int, ddof: int = 1, bias: float = 1.0) -> Path:
    """New real rows in every round, n_first at fit 1. With N rows, p = n_real/N, q = 1 − p, V = E σ²_n and A = E μ²_n:

    A' = (p + qλV)/N + q²A,   (N − ddof)V' = n_real − 1 + q + (n_synthetic − q)λV + p·n_synthetic·A.
    """
    matrix, source = _step(n_real, n_synthetic, ddof, bias, 1.0)
    return Path(*_path(np.array([1 / n_first, (n_first - 1) / (n_first - ddof)]), matrix, source, n_fits)[::-1])


def fixed(n_fits: int, n_real: int, n_synthetic: int, ddof: int = 1, bias: float = 1.0) -> Path:
    """The same real rows in every round, alone at fit 1: with A the squared distance from their mean, the error is 1/n_real + A.

    A' = qλV/N + q²A,   (N − ddof)V' = n_real − 1 + (n_synthetic − q)λV + p·n_synthetic·A.
    """
    matrix, source = _step(n_real, n_synthetic, ddof, bias, 0.0)
    distance, variance = _path(np.array([0.0, (n_real - 1) / (n_real - ddof)]), matrix, source, n_fits)
    return Path(variance, distance + 1 / n_real)


def fresh_limit(n_real: int, n_synthetic: int, ddof: int = 1, bias: float = 1.0) -> Path:
    """The fixed point of fresh, one number each: the first rows are not in it."""
    matrix, source = _step(n_real, n_synthetic, ddof, bias, 1.0)
    error, variance = np.linalg.solve(np.eye(2) - matrix, source)
    return Path(variance, error)


def stationary(synthetic: np.ndarray, same: bool = False) -> np.ndarray:
    """Limit of the squared error of the mean for large N at a share q of own rows, over that of N real rows, or of the n_real same.

    1/(1 − q²) with fresh real rows; with the same ones (1 + 2q)/(1 + q), in units of one over their number.
    """
    q = np.asarray(synthetic, float)
    return (1 + 2 * q) / (1 + q) if same else 1 / (1 - q**2)


def distance(n_real: float, d: int) -> float:
    """E W₂² between N(0, I_d) and the fit of n real rows, for n ≫ d: (d + d(d+1)/4)/n."""
    return (d + d * (d + 1) / 4) / n_real


def fresh_distance(n_real: float, n_synthetic: float, d: int, bias: float = 1.0) -> float:
    """Limit of E W₂² with fresh real rows, for n_real ≫ d: with V = p/(1 − λq), d(1 − √V)² + d·A + d(d+1)/4·Φ·V^(−3/2).

    A = (p + qλV)/(N(1 − q²)) is the error of the mean, Φ = (p + qλ²V²)/(N(1 − λ²q²)) the variance of an off-diagonal covariance.
    """
    total = n_real + n_synthetic
    p, q = n_real / total, n_synthetic / total
    v = p / (1 - bias * q)
    mean = (p + q * bias * v) / (total * (1 - q**2))
    spread = (p + q * (bias * v) ** 2) / (total * (1 - (bias * q) ** 2))
    return d * (1 - v**0.5) ** 2 + d * mean + d * (d + 1) / 4 * spread / v**1.5


def admissible(n_real: float, d: int, bias: float) -> float:
    """The most own rows a round with which the limit of E W₂² is not above that of the real rows alone, for n_real ≫ d.

    Infinite without bias. Raises ValueError unless 0 < bias ≤ 1.
    """
    if not 0 < bias <= 1:
        raise ValueError(f"admissible: bias must lie above 0 and be at most 1; got {bias}.")
    if bias == 1 or distance(n_real, d) >= d:
        return np.inf

    def gain(log_n):
        return fresh_distance(n_real, np.exp(log_n), d, bias) - distance(n_real, d)

    return float(np.exp(brentq(gain, 0.0, np.log(1e12))))


def admissible_limit(d: int, bias: float) -> float:
    """lim admissible for n_real → ∞: [4(2 − λ) + (d + 1)(1 + 3λ − 2λ²)/2]/(1 − λ)², near (d + 5)/(1 − λ)² for a small bias."""
    return (4 * (2 - bias) + (d + 1) * (1 + 3 * bias - 2 * bias**2) / 2) / (1 - bias) ** 2


def _step(n_real, n_synthetic, ddof, bias, new):
    """The linear map (A, V) → matrix (A, V) + source of one round; new is 1 for fresh real rows, 0 for the same."""
    total = n_real + n_synthetic
    p, q = n_real / total, n_synthetic / total
    scale = 1 / (total - ddof)
    matrix = np.array([[q**2, q * bias / total], [scale * p * n_synthetic, scale * (n_synthetic - q) * bias]])
    return matrix, np.array([new * p / total, scale * (n_real - 1 + new * q)])


def _path(state, matrix, source, n_fits):
    """(A, V) at fits 1 … n_fits: (2, n_fits)."""
    states = [state]
    for _ in range(n_fits - 1):
        states.append(matrix @ states[-1] + source)
    return np.transpose(states)
