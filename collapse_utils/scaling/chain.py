"""A chain of generators: linear models, each fitted to labels of the one before (Dohmatob et al. 2024, 2402.07712)."""

from collections.abc import Sequence

import numpy as np

from collapse_utils.loop import feedback_loop, follow
from collapse_utils.regimes import replace


def generators(design, truth: np.ndarray, rows: int, at: Sequence[int], rng) -> np.ndarray:
    """Return the weights after each of `at` generators, ascending, (k, R, d); the first is fitted to labels of truth (R, d).

    design is a FixedDesign, whose rows all generators share, or a FreshDesign, which draws `rows` new ones for each.
    """
    loop = feedback_loop(design.fit, design.real(truth, rows, rng), replace, rng)
    return follow(loop, lambda generation: generation.model.w, at).swapaxes(0, 1)
