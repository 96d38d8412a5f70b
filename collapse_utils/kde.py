"""Kernel density estimates in the loop; with bandwidth zero, resampling of the data themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.data import Ensemble


def fit(bandwidth: Callable[[int], float]) -> Callable:
    """Return fit(data, rng) → KernelDensity for an Ensemble of rows (n, R, d), with Gaussian kernels of width bandwidth(n)."""
    return lambda data, rng: KernelDensity(data.rows, bandwidth(len(data.rows)))


@dataclass(frozen=True)
class KernelDensity:
    """R densities, each an equal mixture of normals N(x_i, h² I) at its training points (n, R, d)."""

    points: np.ndarray
    h: float

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n new rows for every replicate: a training point drawn with replacement, plus h times a standard normal."""
        chosen = rng.integers(len(self.points), size=(n, self.points.shape[1]))
        rows = self.points[chosen, np.arange(self.points.shape[1])]  # (n, R, d)
        return Ensemble(rows + self.h * rng.standard_normal(rows.shape) if self.h else rows)

    def second_moment(self) -> np.ndarray:
        """Return E‖x‖² under each density, (R,): the mean square of the points plus d·h²."""
        return (self.points**2).sum(axis=-1).mean(axis=0) + self.points.shape[-1] * self.h**2

    def nll(self, test: np.ndarray) -> np.ndarray:
        """Return the mean negative log-likelihood in nats, (R,), of test rows (m, R, d)."""
        from scipy.spatial.distance import cdist
        from scipy.special import logsumexp

        d = self.points.shape[-1]
        constant = np.log(len(self.points)) + d * np.log(self.h * np.sqrt(2 * np.pi))
        squares = (cdist(test[:, r], self.points[:, r], "sqeuclidean") for r in range(test.shape[1]))
        return np.array([constant - logsumexp(-s / (2 * self.h**2), axis=1).mean() for s in squares])
