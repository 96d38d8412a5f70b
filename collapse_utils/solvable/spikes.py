"""A consistent family whose maximum likelihood one stray synthetic row ruins; the family is described in `theory.irregular`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


@dataclass(frozen=True)
class Spiked:
    """One member of the family in each of R runs: u = 2⁻ʲ (R,) and its spike (R,), NaN where it has none."""

    u: np.ndarray
    spike: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n rows of each run; a row of a spike is the spike itself, which is as wide as rounding or less."""
        shape = (n, len(self.u))
        rows = (1 - self.u) * rng.random(shape)
        stray = rng.random(shape) < self.u / 2
        rows[stray] = (2 - self.u * (1 + rng.random(shape)))[stray]
        on_spike = (rng.random(shape) < 0.5) & ~np.isnan(self.spike)
        return Ensemble(np.where(on_spike, self.spike, rows))

    def distance(self) -> np.ndarray:
        """Return the total variation distance to the truth, uniform on [0, 1]: u, or ½ + u/4 with a spike, (R,)."""
        return np.where(np.isnan(self.spike), self.u, 0.5 + self.u / 4)


def fit(spikes: bool = True) -> Callable:
    """Return fit(data, rng), the exact maximum likelihood in the family, or in its part without spikes.

    Rows of several batches must come in their order: the first stray row is then one that no other outnumbers.
    """

    def fit(data: Ensemble, rng: np.random.Generator) -> Spiked:
        rows = data.rows  # (N, R)
        stray = rows > 1
        top = np.where(stray, 0.0, rows).max(axis=0)
        u = 2.0 ** -np.maximum(np.ceil(-np.log2(1 - top)), 1)
        first = np.take_along_axis(rows, stray.argmax(axis=0)[None], axis=0)[0]
        gain = (rows == first).sum(axis=0) * (np.exp(np.minimum(1 / u, 700)) + np.log(2))  # log likelihood over that without
        better = spikes & stray.any(axis=0) & (gain > len(rows) * np.log(2))
        return Spiked(u, np.where(better, first, np.nan))

    return fit


def truth(runs: int) -> Callable:
    """Return sample(n, rng): n rows of the uniform law on [0, 1] for each run."""
    return lambda n, rng: Ensemble(rng.random((n, runs)))
