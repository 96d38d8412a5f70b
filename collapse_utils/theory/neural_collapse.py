"""Neural collapse: codes of class weights on the unit sphere in the solved cases, and what wrong labels do to collapsed features.

A code is K unit vectors w_k in d dimensions, K − 1 ≥ d ≥ 2; its margin is min_k dist(w_k, conv of the others). For
d + 1 < K ≤ 2d the codes here are m = K − d regular simplices, of sizes a_1 + … + a_m = K, in dimensions of their own:
a_i − 1 each, orthogonal to one another, so that all have margin one.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq


def best_margin(k: int, d: int) -> float:
    """Return the largest margin of k classes in d dimensions, where it is known (Jiang et al. 2023, 2310.05351).

    1 − cos(2π/k) for d = 2, k/(k − 1) for k ≤ d + 1, one for k ≤ 2d. Raises ValueError beyond, and for one class alone.
    """
    if k < 2 or d < 2:
        raise ValueError(f"best_margin: needs at least 2 classes and 2 dimensions; got {k} and {d}.")
    if k <= d + 1:
        return k / (k - 1)
    if d == 2:
        return float(1 - np.cos(2 * np.pi / k))
    if k > 2 * d:
        raise ValueError(
            f"best_margin: no closed form beyond 2d = {2 * d} classes in {d} dimensions; got {k}: search for the code."
        )
    return 1.0


def families(k: int, d: int) -> list[tuple[int, ...]]:
    """Return the sizes of k − d orthogonal simplices that hold k classes in d dimensions, each ascending, the least even first.

    Raises ValueError unless d + 2 ≤ k ≤ 2d.
    """
    if not d + 2 <= k <= 2 * d:
        raise ValueError(f"families: orthogonal simplices need between d + 2 = {d + 2} and 2d = {2 * d} classes; got {k}.")
    return _partitions(k, k - d, 2)


def simplices_loss(sizes: Sequence[int], temperature):
    """Return the cross-entropy in nats of orthogonal simplices of these sizes, features equal to weights (ours).

    (1/K) Σ_i a_i log(1 + (a_i − 1)e^{−a_i/((a_i − 1)τ)} + (K − a_i)e^{−1/τ}).
    """
    k, t = sum(sizes), np.asarray(temperature, float)
    terms = (a * np.log1p((a - 1) * np.exp(-a / ((a - 1) * t)) + (k - a) * np.exp(-1 / t)) for a in sizes)
    return sum(terms) / k


def critical_temperature(cold: Sequence[int], hot: Sequence[int]) -> float:
    """Return τ at which orthogonal simplices of these two lists of sizes have the same cross-entropy (ours).

    cold: the less even list, which has fewer pairs of orthogonal points. Raises ValueError for lists that are the same, or not
    of the same number of classes and of simplices.
    """
    if sorted(cold) == sorted(hot) or (sum(cold), len(cold)) != (sum(hot), len(hot)):
        raise ValueError(
            f"critical_temperature: needs two different lists of as many simplices and classes; got {tuple(cold)}, {tuple(hot)}."
        )
    return float(brentq(lambda t: simplices_loss(cold, t) / simplices_loss(hot, t) - 1, 0.1, 2.0))


def frame(sizes: Sequence[int]) -> np.ndarray:
    """Return the eigenvalues of Σ w wᵀ of orthogonal simplices, ascending, (d,): a/(a − 1), a − 1 times each.

    The frame is tight where all are K/d.
    """
    return np.sort(np.concatenate([np.full(a - 1, a / (a - 1)) for a in sizes]))


def relabelled(variability, wrong, k: int):
    """Return NC1 = (1/K) Tr Σ_W Σ_B⁻¹ after a share `wrong` of the labels has moved to any other class, features kept (ours).

    With equal classes the centred class means shrink by s = 1 − wrong·K/(K − 1): Σ_B → s²Σ_B and Σ_W → Σ_W + (1 − s²)Σ_B,
    hence (NC1 + (K − 1)/K·(1 − s²))/s². For many rows a class, features of rank K − 1.
    """
    s = 1 - np.asarray(wrong, float) * k / (k - 1)
    return (np.asarray(variability) + (k - 1) / k * (1 - s**2)) / s**2


def _partitions(k, m, least):
    """The ways to write k as m whole numbers from `least` on, ascending, in lexicographic order."""
    if m == 1:
        return [(k,)]
    return [(a, *rest) for a in range(least, k // m + 1) for rest in _partitions(k - a, m - 1, a)]
