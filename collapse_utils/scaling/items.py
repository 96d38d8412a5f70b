"""Hutter's learner: items drawn from a Zipf law, and what has not been seen of it (Hutter 2021, 2102.04074)."""

import numpy as np
from scipy.special import zeta


def draw(beta: float, n: int, rng, cut: float = np.inf, real: float = 0.0) -> np.ndarray:
    """Return n items of the law p_i = i^{-β}/ζ(β), those beyond the rank `cut` drawn again: whole numbers as floats, (n,).

    real is the probability that an item comes from the whole law instead.
    """
    if real:
        return np.where(rng.random(n) < real, draw(beta, n, rng), draw(beta, n, rng, cut))
    items = rng.zipf(beta, n).astype(float)
    while (beyond := items > cut).any():
        items[beyond] = rng.zipf(beta, beyond.sum()).astype(float)
    return items


def unseen(items: np.ndarray, beta: float) -> float:
    """Return the mass under p_i = i^{-β}/ζ(β) of all items that are not among these: the learner's test error."""
    return 1 - (np.unique(items) ** -beta).sum() / zeta(beta)
