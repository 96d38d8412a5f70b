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


def pool_shift(n):
    """E‖p₂δ̄‖² of the pool under accumulate in units of the first risk, n ≥ 2: Σ_{j<n} (1/j − 1/n)² → π²/6 (ours).

    p₂δ̄ is the mean shift of the labels that fit n is trained on, real ones and all.
    """
    n = np.asarray(n, float)
    return accumulate(n - 1) - 2 * replace_multiple(n - 1) / n + (n - 1) / n**2


def replace_multiple(n):
    """Risk under replace-multiple in units of the first risk: H_n = Σ_{i≤n} 1/i (Gerstgrasser 2024, 2404.01413, Eq. 11)."""
    return _partial_sums(n, lambda i: 1.0 / i)


def accumulate_subsample(n):
    """Risk under accumulate-subsample in units of the first risk, for T ≫ d: M_n + 1 − 1/n → π²/2 − 2 (ours).

    M_n = 1 + Σ_{k=2}^n (2 − 1/(k−1))/k² is the variance of the pool's mean; 1 − 1/n is added by the subsample.
    """
    pool = _partial_sums(n, lambda i: np.where(i > 1, (2 - 1 / np.maximum(i - 1, 1)) / i**2, 1.0))
    return pool + 1 - 1 / np.asarray(n, float)


def mixture(n, share: float):
    """Risk under mixture(p) of least squares in units of the first risk, for T ≫ d, p = share of real rows (ours):

        1 + (1 − p²) Σ_{k≤n−2} (1−p)^{2k}  →  1 + (1 − p²)/(p(2 − p)).

    ŵ_n − ŵ_1 = p·s_n + (1−p)(ŵ_{n−1} − ŵ_1 + g_n): the drawn real rows miss their mean by Var s_n = 1/p − 1, the
    (1−p)T synthetic labels by Var g_n = 1/(1−p). p = 0 is replace, p = 1 the first fit.
    """
    return _partial_sums(n, lambda i: np.where(i > 1, (1 - share**2) * (1 - share) ** (2.0 * np.maximum(i - 2, 0)), 1.0))


def accumulate_fresh(n, d: int, n_samples: int):
    """Risk under accumulate with new covariates in every batch, in units of the first risk (ours):

        Σ_{i≤n} (T−d−1)/(i(iT−d−1)),

    because ŵ_n − w* = Σ_i G_i⁻¹X_iᵀE_i with G_i the pooled Gram matrix, and the i batches in it are exchangeable.
    """
    return _partial_sums(n, lambda i: (n_samples - d - 1) / (i * (i * n_samples - d - 1)))


def ridge_replace(n, eigenvalues, penalty: float, noise: float):
    """Risk of ridge under replace given the design, w* ~ N(0, I) (ours), in the eigenbasis of XᵀX/T:

        Σ_g (1 − hⁿ)² + (σ²/T)·g/(g+λ)²·Σ_{k<n} h^{2k},   h = g/(g+λ).

    eigenvalues (…, d) of XᵀX/T; noise is σ/√T. Returns (…, len(n)).
    """
    n = np.asarray(n)
    g = np.asarray(eigenvalues)[..., None, :]
    h, gain = g / (g + penalty), noise**2 * g / (g + penalty) ** 2
    powers = np.arange(int(n.max()))[:, None]
    variance = np.cumsum(gain * h ** (2 * powers), axis=-2)[..., n - 1, :]
    return ((1 - h ** n[:, None]) ** 2 + variance).sum(axis=-1)


def ridge_accumulate(n, eigenvalues, penalty: float, noise: float):
    """Risk of ridge under accumulate given the design, w* ~ N(0, I) (ours), from ŵ_n = (1 − (1−h)/n)ŵ_{n−1} + A E_n/n.

    The first fit is h w* + A E_1; the mean then decays like n^{h−1}. Arguments and result as in ridge_replace.
    """
    n = np.asarray(n)
    g = np.asarray(eigenvalues)
    h, gain = g / (g + penalty), noise**2 * g / (g + penalty) ** 2
    mean, variance, path = h, gain, [((1 - h) ** 2 + gain).sum(axis=-1)]
    for k in range(2, int(n.max()) + 1):
        keep = 1 - (1 - h) / k
        mean, variance = keep * mean, keep**2 * variance + gain / k**2
        path.append(((1 - mean) ** 2 + variance).sum(axis=-1))
    return np.stack(path, axis=-1)[..., n - 1]


def _partial_sums(n, term):
    """Σ_{i=1}^n term(i) for every entry of n (integers ≥ 1)."""
    n = np.asarray(n)
    i = np.arange(1, int(n.max()) + 1, dtype=float)
    return np.cumsum(term(i))[n.astype(int) - 1]
