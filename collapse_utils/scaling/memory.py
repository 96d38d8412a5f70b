"""Associative memories: pairs of an item and its answer, summed into one matrix of fixed width (Dohmatob et al. 2024)."""

import numpy as np


def overlaps(n: int, d: int, rng) -> np.ndarray:
    """Return G = ZZᵀ/d, (n, n), for Z (n, d) of independent standard normals: a Wishart matrix, by Bartlett's (1933) factor.

    Takes n² numbers whatever the width d. Raises ValueError unless n ≤ d.
    """
    if n > d:
        raise ValueError(f"overlaps: the width d must be at least the number n of items; got d = {d}, n = {n}.")
    factor = np.tril(rng.standard_normal((n, n)), -1)
    factor[np.arange(n), np.arange(n)] = np.sqrt(rng.chisquare(d - np.arange(n)))
    return factor @ factor.T / d


def mistakes(weights: np.ndarray, d: int, n_classes: int, rng) -> np.ndarray:
    """Return which items a memory M = Σ qᵢ eᵢ u_{y(i)}ᵀ of width d answers wrongly, (n,) of bool; weights q (n,).

    Answers y are drawn from n_classes; item embeddings e are N(0, 1/d), those of answers orthonormal; the answer to
    item i is argmax_y eᵢᵀMu_y (Dohmatob 2024, 2402.07043, Sec. 5).
    """
    answers = rng.integers(n_classes, size=len(weights))
    scores = (overlaps(len(weights), d, rng) * weights) @ np.eye(n_classes)[answers]  # (n, classes)
    return scores.argmax(axis=1) != answers
