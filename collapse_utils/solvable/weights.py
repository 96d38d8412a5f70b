"""Parts of the training data that count with a weight, by sufficient statistics."""

from collections.abc import Callable
from typing import Any

from collapse_utils.solvable.summaries import Moments, Normal


def counting(data: Moments | Normal, rows: float) -> Moments | Normal:
    """Return the summary of the same rows, which now count as `rows` rows in all: least squares with weights rows/n each."""
    weight = rows / data.n
    if isinstance(data, Normal):
        return Normal(rows, data.gram * weight, data.moment * weight)
    return Moments(rows, data.mean, data.squares * weight)


def weighted(weight: float | Callable[[int], float], sample_real: Callable[[Any], Any] | None = None) -> Callable:
    """Return the regime D_t = real rows, which count w in all, ∪ S_t, which counts 1 − w.

    weight is w, or w(t) of round t = 1, 2, …; sample_real(rng) draws new real rows every round, without it they are D_0.
    Raises ValueError unless 0 ≤ w ≤ 1.
    """
    if not callable(weight) and not 0 <= weight <= 1:
        raise ValueError(f"weighted: the weight of the real rows must lie between 0 and 1; got {weight}.")

    def mix(history, rng):
        w = weight(len(history) - 1) if callable(weight) else weight
        real = history[0] if sample_real is None else sample_real(rng)
        return counting(real, w).join(counting(history[-1], 1 - w))

    return mix
