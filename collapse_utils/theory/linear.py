"""Least squares in the loop. n = 1, 2, … counts model fits (n = 1 is the fit on real data: generation n − 1)."""

import numpy as np


def first_risk(d: int, n_samples: int, noise: float) -> float:
    """E‖ŵ_1 − w*‖²_Σ = σ²d/(T−d−1), for any covariance Σ (Gerstgrasser 2024, 2404.01413, Eq. 3; inverse Wishart).

    d features, T = n_samples rows ≥ d + 2, noise = σ. Raises ValueError for fewer rows, where it is infinite.
    """
    if n_samples < d + 2:
        raise ValueError(f"first_risk: n_samples must be at least d + 2 = {d + 2}; got {n_samples}.")
    return noise**2 * d / (n_samples - d - 1)


def replace(n):
    """Risk under replace in units of the first risk: n (Gerstgrasser 2024, 2404.01413, Eq. 9; Dohmatob 2024)."""
    return np.asarray(n, float)


def accumulate(n):
    """Risk under accumulate in units of the first risk: Σ_{i≤n} i⁻² (Gerstgrasser 2024, 2404.01413, Thm 2)."""
    return _partial_sums(n, lambda i: 1.0 / i**2)


ACCUMULATE_BOUND = np.pi**2 / 6  # lim_{n→∞} accumulate(n): Euler's sum of inverse squares


def replace_multiple(n):
    """Risk under replace-multiple in units of the first risk: H_n = Σ_{i≤n} 1/i (Gerstgrasser 2024, 2404.01413, Eq. 11)."""
    return _partial_sums(n, lambda i: 1.0 / i)


def accumulate_subsample(n):
    """Risk under accumulate-subsample in units of the first risk, for T ≫ d: M_n + 1 − 1/n → π²/2 − 2 (ours).

    M_n = 1 + Σ_{k=2}^n (2 − 1/(k−1))/k² is the variance of the pool's mean; 1 − 1/n is added by the subsample.
    """
    pool = _partial_sums(n, lambda i: np.where(i > 1, (2 - 1 / np.maximum(i - 1, 1)) / i**2, 1.0))
    return pool + 1 - 1 / np.asarray(n, float)


SUBSAMPLE_LIMIT = np.pi**2 / 2 - 2  # lim_{n→∞} accumulate_subsample(n)


def _partial_sums(n, term):
    """Σ_{i=1}^n term(i) for every entry of n (integers ≥ 1)."""
    n = np.asarray(n)
    i = np.arange(1, int(n.max()) + 1, dtype=float)
    return np.cumsum(term(i))[n.astype(int) - 1]
