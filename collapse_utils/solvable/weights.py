"""Means in the loop by sufficient statistics: parts of the data that count with a weight, and rows that must pass a filter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from collapse_utils.solvable.summaries import Gaussian, Moments, Normal


class Weighted:
    """A summary of rows that count with weights: n is the sum of these, any number that is not negative."""

    def __post_init__(self):
        if not self.n >= 0:
            raise ValueError(f"counting: rows must count as a number that is not negative; got {self.n}.")


class WeightedMoments(Weighted, Moments):
    """Moments of rows with weights."""


class WeightedNormal(Weighted, Normal):
    """Normal equations of rows with weights."""


def counting(data: Moments | Normal, rows: float) -> WeightedMoments | WeightedNormal:
    """Return the summary of the same rows, which now count as `rows` rows in all: least squares with weights rows/n each."""
    weight = rows / data.n
    if isinstance(data, Normal):
        return WeightedNormal(rows, data.gram * weight, data.moment * weight)
    return WeightedMoments(rows, data.mean, data.squares * weight)


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


def standard(chains: int) -> Gaussian:
    """Return the truth N(0, 1) of each chain."""
    return Gaussian(np.zeros(chains), np.ones(chains))


@dataclass(frozen=True)
class Filtered:
    """N(mean, 1) of R chains, mean (R,), that shows only rows which pass with probability exp(−(y − centre)²/2τ²).

    pull is κ = 1/(1 + τ²), 0 for no filter; centre None is the model's own mean. Rows that pass are N(mean + κ(centre − mean), 1 − κ).
    """

    mean: np.ndarray
    pull: float = 0.0
    centre: float | None = None

    def sample(self, n: int, rng: np.random.Generator) -> Moments:
        """Return the moments of n rows that have passed."""
        towards = 0.0 if self.centre is None else self.pull * (self.centre - self.mean)
        return Gaussian(self.mean + towards, np.full_like(self.mean, np.sqrt(1 - self.pull))).sample(n, rng)


def filtered(pull: float = 0.0, centre: float | None = None) -> Callable:
    """Return fit(data, rng) on Moments: the mean of the rows, whose own rows then have to pass a filter.

    Raises ValueError unless 0 ≤ pull < 1.
    """
    if not 0 <= pull < 1:
        raise ValueError(f"filtered: the pull must be at least 0 and below 1; got {pull}.")
    return lambda data, rng: Filtered(data.mean, pull, centre)
