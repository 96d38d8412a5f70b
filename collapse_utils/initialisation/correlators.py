"""Correlators of an ensemble of networks: means over pairs of neurons, and the normalised tensors that they estimate."""

import numpy as np


def pairs(x, y) -> np.ndarray:
    """Return the mean of x_i y_j over the pairs i ≠ j of the last axis: (…, n), (…, n) → (…)."""
    n = x.shape[-1]
    return (x.sum(-1) * y.sum(-1) - (x * y).sum(-1)) / (n * (n - 1))


def off_diagonal(T) -> np.ndarray:
    """Return the mean of T_ij over i ≠ j of the last two axes: (…, n, n) → (…)."""
    n = T.shape[-1]
    return (T.sum((-2, -1)) - np.einsum("...ii->...", T)) / (n * (n - 1))


EXPONENTS = {  # powers of Θ and of K in the denominator, and whether a disconnected part is subtracted
    "V": (0, 2, 1),
    "A": (2, 0, 1),
    "B": (2, 0, 0),
    "D": (1, 1, 1),
    "F": (1, 1, 0),
    "P": (2, 0, 0),
    "Q": (2, 0, 0),
    "R": (3, -1, 0),
    "S": (3, -1, 0),
    "T": (3, -1, 0),
    "U": (3, -1, 0),
}


def normalised(tensor: str, statistics: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Return samples (networks, depth) whose mean is the normalised tensor, with the spread of that estimate.

    X̃ = n[mean(x)/(Θᵃ Kᵇ) − c] with Θ and K the means over networks (Day et al. 2023, 2310.07765, released code); each
    sample carries its share of the error of Θ and K (delta method), so that a t-test on the samples is one on X̃.
    """
    a, b, c = EXPONENTS[tensor]
    x = statistics[tensor]
    level, shift = 1.0, 0.0
    for power, name in ((a, "H"), (b, "K")):
        if power:
            mean = statistics[name].mean(axis=0)
            level, shift = level * mean**power, shift + power * (statistics[name] - mean) / mean
    return n * ((x - x.mean(axis=0) * shift) / level - c)
