"""Paths of estimators in the loop, each a multiple of the first risk. n = 1, 2, … counts model fits."""

import numpy as np


def real_and_last(n):
    """Risk of a linear estimator fitted to D_0 ∪ S_t, both of equal size, over the first risk: 1 + (1 − 4^{1−n})/3 (ours).

    From e_n = (E_1 + e_{n−1} + E_n)/2: the real noise stays, that of older batches halves at each step. Tends to 4/3.
    """
    return 1 + (1 - 4.0 ** (1 - np.asarray(n, float))) / 3


def mean_subsample(n, n_samples: int):
    """Variance of the mean under accumulate-subsample over its first variance, exact for every sample size (ours).

    With B_j the batch means, P_k their mean over the pool of k batches and m = n_samples rows:
        V_k = Var P_k + (1 − 1/k) E S_k²/m,  E S_k² = [k(m−1) + m Σ_j E(B_j − P_k)²]/(km − 1),
    and the next batch mean has variance V_k + 1/m, covariance Cov(P_k, B_j) with its elders. Unit noise. Limit m → ∞:
    theory.linear.accumulate_subsample.
    """
    n, m = np.asarray(n), n_samples
    last = int(n.max())
    cov, path = np.zeros((last + 1, last + 1)), np.zeros(last)
    cov[0, 0] = 1 / m
    for k in range(1, last + 1):
        pool = cov[:k, :k].mean()
        spread = k * (m - 1) + m * (np.trace(cov[:k, :k]) - k * pool)
        path[k - 1] = pool + (1 - 1 / k) * spread / (k * m - 1) / m if k * m > 1 else pool
        cov[k, :k] = cov[:k, k] = cov[:k, :k].mean(axis=0)
        cov[k, k] = path[k - 1] + 1 / m
    return path[n - 1] * m


def maximum_replace(n, n_samples: int):
    """E(θ̂_n/θ − 1)² under replace for U(0, θ) and θ̂ = (1 + 1/m)·max: (1 + 1/(m(m+2)))ⁿ − 1 (ours), m = n_samples.

    θ̂_n/θ is a product of n independent factors of mean 1. Over its first value it tends to n as m grows.
    """
    return np.expm1(np.asarray(n, float) * np.log1p(1 / (n_samples * (n_samples + 2))))


def maximum_accumulate(n, n_samples: int):
    """E(θ̂_n/θ − 1)² under accumulate for U(0, θ) and θ̂_k = c_k·max of the pool, c_k = 1 + 1/(km), exact (ours).

    The maximum grows by independent factors max(1, c_k V), V the maximum of m = n_samples uniforms, so that
        E max(1, cV)^p = c^{−m} + m/(m+p)·(c^p − c^{−m}).
    """
    n, m = np.asarray(n), n_samples
    c = 1 + 1 / (m * np.arange(1, int(n.max()) + 1, dtype=float))
    moment = [np.cumprod(np.r_[m / (m + p), (c**-m + m / (m + p) * (c**p - c**-m))[:-1]]) * c**p for p in (1, 2)]
    return (moment[1] - 2 * moment[0] + 1)[n - 1]
