"""Loops in which keeping all data is not enough: a family with stray rows, a sampler that stops early, a share of real rows that falls.

The family, for u = 2⁻ʲ and j = 1, 2, …: a share 1 − u/2 of the rows uniform on [0, 1 − u], u/2 stray on [2 − 2u, 2 − u]; and the
same members with half of their mass within e^−exp(2ʲ) of one stray point. The truth is uniform on [0, 1], the limit j → ∞.
"""

import numpy as np


def levels(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return u = 2⁻ʲ of the levels j = 1 … 60, (60,), and the probability of each at the fit to n real rows (ours).

    The likelihood falls with j, so the fit takes the least j with 1 − u at or above the largest row.
    """
    u = 2.0 ** -np.arange(1, 61)
    return u, (1 - u) ** n - np.maximum(1 - 2 * u, 0.0) ** n


def first_error(n: int) -> float:
    """Return the mean total variation distance of the first fit to the truth, which is u: of order 1/n (ours)."""
    u, probability = levels(n)
    return float(probability @ u)


def collapsed(n: int, fits, hazard=None) -> np.ndarray:
    """Return the probability that a loop of n rows a round has collapsed by the fits t, all data kept (ours).

    One stray row is enough, 1 − (1 − u/2)ⁿ⁽ᵗ⁻¹⁾; hazard: other exponents over n in place of t − 1.
    """
    u, probability = levels(n)
    rounds = np.asarray(fits, float) - 1 if hazard is None else np.asarray(hazard, float)
    return probability @ (1 - (1 - u[:, None] / 2) ** (n * rounds))


def fresh_share(keep, share: float, n_fits: int) -> np.ndarray:
    """Return what is left of a mode at fits 1 … n_fits: c = keep·(α + (1 − α)c), c = 1 before (ours; Khelifa 2026, 2606.13796).

    keep: the factor of one sampling, e^(−mτ) for the Hermite moment of order m, a number or one a fit; share: α of new real rows.
    """
    left = [1.0]
    for factor in np.broadcast_to(keep, n_fits):
        left.append(factor * (share + (1 - share) * left[-1]))
    return np.array(left[1:])


def fresh_share_limit(keep, share: float):
    """Return the limit of fresh_share, α·keep/(1 − (1 − α)·keep), that is Σ α(1 − α)ᵏ keepᵏ⁺¹ (ours; Khelifa 2026)."""
    keep = np.asarray(keep, float)
    return share * keep / (1 - (1 - share) * keep)


def kept_all(keep: float, n_fits: int) -> np.ndarray:
    """Return what is left of a mode at fits 1 … n_fits under accumulate: keep·∏_{j≤t}(1 − (1 − keep)/j), j from 2 (ours)."""
    shrink = 1 - (1 - keep) / np.arange(1, n_fits + 1)
    shrink[0] = 1.0
    return keep * np.cumprod(shrink)


def table_error(shares: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return E‖q − p‖² of a table fitted to N rows of the mixture a·p + (1 − a)·q, over 1 − ‖p‖², after each round (ours).

    R = (1 − a)²(1 − 1/N)R + 1/N; shares: a (T,) with a = 1 at first; sizes: N (T,) (the setting of Bakshi 2026, 2602.10531).
    """
    errors, error = [], 0.0
    for a, n in zip(shares, sizes, strict=True):
        error = (1 - a) ** 2 * (1 - 1 / n) * error + 1 / n
        errors.append(error)
    return np.array(errors)
