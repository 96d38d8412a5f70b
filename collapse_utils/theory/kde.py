"""Kernel density estimates in the loop. n = 1, 2, … counts model fits (n = 1 is the fit on real data).

A row drawn from a density is a training point, chosen blindly, plus a kernel. With κ_n the mean number of kernels in a
row of the n-th density and v the trace of the data's covariance, E‖x − μ‖² = v + d·h²·κ_n for every sample size (ours).
"""

import numpy as np


def kernels_accumulate(n, exponent: float = 0.0):
    """κ_n under accumulate, bandwidths h_k = h·k^−a, in units of h² (ours; Kazdan 2024, 2410.16713, Thm 6 and 7):

        κ_n = n^−2a + Σ_{k<n} k^−2a/(k+1),

    exponent = a; the harmonic number H_n at a = 0. A fixed-size random subset of the pool has the same κ_n.
    """
    k = np.arange(1, int(np.max(n)) + 1, dtype=float)
    squares = k ** (-2 * exponent)
    before = np.cumsum(squares / (k + 1)) - squares / (k + 1)
    return (squares + before)[np.asarray(n) - 1]


def kernels_limit(exponent: float, terms: int = 1_000_000) -> float:
    """lim κ_n under accumulate with h_k = h·k^−a: Σ_k k^−2a/(k+1), finite for every a > 0 (ours).

    The tail beyond `terms` is added by its integral, to relative order 1/terms. Raises ValueError unless exponent = a > 0.
    """
    if not exponent > 0:
        raise ValueError(f"kernels_limit: the exponent must be positive, at 0 the series diverges; got {exponent}.")
    k = np.arange(1, terms + 1, dtype=float)
    return float((k ** (-2 * exponent) / (k + 1)).sum() + (terms + 0.5) ** (-2 * exponent) / (2 * exponent))


def spread_replace(n, n_rows: int, variance: float, h: float):
    """E of the n-th density's variance about its own mean under replace (ours): c^n·v + M·h²(1 − c^n), c = 1 − 1/M.

    M = n_rows, v = variance; in d dimensions v is the trace of the covariance and h is √d bandwidths.
    """
    keep = (1 - 1 / n_rows) ** np.asarray(n, float)
    return keep * variance + n_rows * h**2 * (1 - keep)


def spread_accumulate(n, n_rows: int, variance: float, h: float):
    """E of the n-th density's variance about its own mean under accumulate, V_n = B_n + h² (ours), with

        B_n = B_{n−1}(1 − 1/(M n²)) + (h²/n)(1 − 1/(M n)),   B_1 = v(1 − 1/M).

    Arguments as in spread_replace.
    """
    pool, path = variance * (1 - 1 / n_rows), []
    for k in range(1, int(np.max(n)) + 1):
        if k > 1:
            pool = pool * (1 - 1 / (n_rows * k**2)) + h**2 / k * (1 - 1 / (n_rows * k))
        path.append(pool + h**2)
    return np.array(path)[np.asarray(n) - 1]


def kernel_law(n: int) -> np.ndarray:
    """P(a row of the n-th density under accumulate has 0, 1, …, n kernels), (n + 1,): a depth in a recursive tree (ours).

    One kernel for sure and, independently for k = 2 … n, one more with probability 1/k.
    """
    law = np.array([0.0, 1.0])
    for k in range(2, n + 1):
        law = np.append(law * (1 - 1 / k), 0.0) + np.append(0.0, law / k)
    return law


def loss_floor(law, h: float) -> float:
    """Test loss on N(0, 1), nats per row, of infinitely many rows of which a share law[j] has j kernels (ours):

        −∫ φ(x) log Σ_j law[j] N(x; 0, 1 + j·h²) dx,   by the trapezoid rule on ±10.

    By Jensen's inequality the expected loss of a density of finitely many such rows is larger.
    """
    x, step = np.linspace(-10, 10, 401, retstep=True)
    variance = 1 + np.arange(len(law)) * h**2
    density = (np.asarray(law) * np.exp(-(x[:, None] ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)).sum(axis=1)
    return float(-(np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) * np.log(density)).sum() * step)
