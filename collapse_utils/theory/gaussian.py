"""The Gaussian chain, exact for every sample size. n = 1, 2, … counts model fits (n = 1 is the fit on real data).

The real law has unit variance per coordinate; M = n_samples rows a generation; ddof = 0 divides sums of squares by
their count (biased), ddof = 1 by the count less one; bias is λ in sampling from N(μ, λΣ). All hold in any dimension,
per coordinate, and need second moments only, unless they say otherwise.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, polygamma


class Path(NamedTuple):
    """E of the fitted variance and of the squared error of the fitted mean, per coordinate, at n = 1 … n_fits."""

    variance: np.ndarray
    error: np.ndarray


def replace(n_fits: int, n_samples: int, ddof: int, bias: float = 1.0) -> Path:
    """E σ²_n = cⁿλⁿ⁻¹ and E(μ_n−μ_0)² = Σ_{k≤n} (cλ)ᵏ⁻¹/M, with c = 1 − 1/M or 1 (ours; Kazdan 2024, 2410.16713, §2.1)."""
    shrink = _shrink(n_samples, ddof)
    batch = (shrink * bias) ** np.arange(n_fits)  # variance of the rows of batch n
    return Path(shrink * batch, np.cumsum(batch) / n_samples)


def accumulate(n_fits: int, n_samples: int, ddof: int, bias: float = 1.0) -> Path:
    """For ddof = 0, λ = 1: E σ²_n = ∏_{k≤n}(1 − 1/(Mk²)) (Kazdan 2024, 2410.16713, Thm 1, Lemma 3); the others ours.

    nB_n = (n−1)B_{n−1} + b_n(1 − 1/(nM)) for the pool's variance B (divisor nM), b_n being batch n's variance.
    """
    variance, error, pool, batch, drift = [], [], 0.0, 1.0, 0.0
    for n in range(1, n_fits + 1):
        pool = ((n - 1) * pool + batch * (1 - 1 / (n * n_samples))) / n
        drift += batch / (n_samples * n**2)
        variance.append(pool * n * n_samples / (n * n_samples - ddof))
        error.append(drift)
        batch = bias * variance[-1]
    return Path(np.array(variance), np.array(error))


def accumulate_limit(n_samples: int) -> float:
    """lim E σ²_n under accumulate, ddof = 0: sin(π/√M)/(π/√M), Euler's product (Kazdan 2024, 2410.16713, Cor. 4)."""
    return float(np.sinc(1 / np.sqrt(n_samples)))


def accumulate_subsample(n_fits: int, n_samples: int, ddof: int, bias: float = 1.0) -> Path:
    """M rows drawn without replacement from the pool of n batches (ours; tends to theory.linear's sum for M → ∞).

    With s_n the pool's variance (divisor nM − 1) and b = λ·c·s_n the next batch's:
    ((n+1)M − 1)s_{n+1} = (nM − 1)s_n + (M − 1)b + n/(n+1)·(b + (1 − 1/n)s_n).
    """
    shrink, variance, error = _shrink(n_samples, ddof), [], []
    pool, drift = 1.0, 1 / n_samples
    for n in range(1, n_fits + 1):
        subsampling = (1 - 1 / n) * pool
        variance.append(shrink * pool)
        error.append(drift + subsampling / n_samples)
        batch = bias * shrink * pool
        drift += (batch + subsampling) / (n_samples * (n + 1) ** 2)
        squares = (n * n_samples - 1) * pool + (n_samples - 1) * batch + n / (n + 1) * (batch + subsampling)
        pool = squares / ((n + 1) * n_samples - 1)
    return Path(np.array(variance), np.array(error))


def mixture(n_fits: int, n_samples: int, n_real: int, ddof: int, fresh: bool = False) -> Path:
    """n_real of the M rows are real, the others from the last model; the real ones drawn from D_0, or fresh (ours).

    With p = n_real/M, q = 1 − p, V = E σ²_n, A the mean's squared distance from the mean of D_0 (fresh: from the truth)
    and f = q (fresh: 1): A' = (pf + qV)/M + q²A and V' = κ[q(1 − 1/M)V + pqA + p − 1/M + qf/M], κ = 1 or M/(M−1).
    """
    matrix, source = _mixture_step(n_samples, n_real, ddof, fresh)
    states = [np.array([1 / n_samples if fresh else 0.0, _shrink(n_samples, ddof)])]
    for _ in range(n_fits - 1):
        states.append(matrix @ states[-1] + source)
    distance, variance = np.array(states).T
    return Path(variance, distance + (0 if fresh else 1 / n_samples))


def mixture_limit(n_samples: int, n_real: int, ddof: int, fresh: bool = False) -> Path:
    """The fixed point of mixture's recursion, one number each (ours); M·error → 1 + q(1+p)/(1−q²) for M → ∞, D_0 fixed."""
    matrix, source = _mixture_step(n_samples, n_real, ddof, fresh)
    distance, variance = np.linalg.solve(np.eye(2) - matrix, source)
    return Path(variance, distance + (0 if fresh else 1 / n_samples))


def log_determinant(n_fits: int, n_samples: int, ddof: int, d: int = 1, bias: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of log det Σ_n under replace, Gaussian rows: a sum of log χ²_{M−i}, i ≤ d (Bartlett; ours).

    mean = n Σ_i [ψ((M−i)/2) + log 2 − log(M−ddof)] + (n−1)d log λ, variance = n Σ_i ψ'((M−i)/2).
    Raises ValueError unless M > d.
    """
    if n_samples <= d:
        raise ValueError(f"log_determinant: n_samples must exceed d = {d}; got {n_samples}.")
    n, half = np.arange(1, n_fits + 1), (n_samples - np.arange(1, d + 1)) / 2
    step = (digamma(half) + np.log(2) - np.log(n_samples - ddof)).sum()
    return n * step + (n - 1) * d * np.log(bias), n * polygamma(1, half).sum()


def deviation(n_fits: int, n_samples: int, ddof: int) -> np.ndarray:
    """E σ_n = aⁿ under replace, Gaussian rows, d = 1: a = √(2/(M−ddof)) Γ(M/2)/Γ((M−1)/2) (mean of the χ law; ours)."""
    log_a = 0.5 * np.log(2 / (n_samples - ddof)) + gammaln(n_samples / 2) - gammaln((n_samples - 1) / 2)
    return np.exp(log_a * np.arange(1, n_fits + 1))


def distance(n_fits: int, n_samples: int, ddof: int) -> np.ndarray:
    """E W₂²(N(0,1), N(μ_n, σ²_n)) = E μ²_n + E σ²_n + 1 − 2 E σ_n under replace, d = 1, exact (ours).

    Its leading order for ddof = 1 is 3n/(2M) (Shumailov 2024, 2305.17493, Eq. 4).
    """
    variance, error = replace(n_fits, n_samples, ddof)
    return error + variance + 1 - 2 * deviation(n_fits, n_samples, ddof)


def _shrink(n_samples: int, ddof: int) -> float:
    """E of the variance of M independent rows of unit variance: 1 − 1/M for ddof = 0, 1 for ddof = 1."""
    return (n_samples - 1) / (n_samples - ddof)


def _mixture_step(n_samples, n_real, ddof, fresh):
    """The linear map (A, V) → matrix (A, V) + source of one generation of mixture."""
    p, scale = n_real / n_samples, n_samples / (n_samples - ddof)
    q = 1 - p
    f = 1.0 if fresh else q
    matrix = np.array([[q**2, q / n_samples], [scale * p * q, scale * q * (1 - 1 / n_samples)]])
    return matrix, np.array([p * f / n_samples, scale * (p - 1 / n_samples + q * f / n_samples)])
