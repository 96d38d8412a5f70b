"""Second moments of kernel density estimates in the loop. n = 1, 2, … counts model fits."""

import numpy as np


def replace(n, moment: float, h: float):
    """E‖x‖² under the n-th density with constant bandwidth: m + d·h²·n, exactly, for every sample size (ours).

    moment is m, the true second moment; h is √d times the bandwidth in d dimensions. Each generation adds h² to
    the expected square of a row, since rows are chosen blindly (Kazdan 2024, 2410.16713, Thm 5 states the divergence).
    """
    return moment + h**2 * np.asarray(n, float)


def accumulate(n, moment: float, bandwidths):
    """E‖x‖² under the n-th density of the accumulated pool (ours; cf. Kazdan 2024, 2410.16713, Thm 6 and 7):

        m + h_n² + Σ_{k<n} h_k²/(k+1),

    bandwidths h_1, h_2, … (√d times the bandwidth in d dimensions), at least max(n) of them.
    """
    squares = np.asarray(bandwidths, float) ** 2
    k = np.arange(1, len(squares) + 1)
    pool = np.concatenate([[0.0], np.cumsum(squares / (k + 1))])[:-1]
    return (moment + pool + squares)[np.asarray(n) - 1]


def shrinking_limit(moment: float, c: float, n_rows: int, terms: int = 1_000_000) -> float:
    """lim E‖x‖² under accumulate with h_k = c(k·n_rows)^(−1/5): m + c²·n_rows^(−2/5)·Σ_k k^(−2/5)/(k+1) (ours).

    The tail of the series beyond `terms` is added as its integral, (5/2)·terms^(−2/5).
    """
    k = np.arange(1, terms + 1, dtype=float)
    series = (k**-0.4 / (k + 1)).sum() + 2.5 * terms**-0.4
    return moment + c**2 * n_rows**-0.4 * series
