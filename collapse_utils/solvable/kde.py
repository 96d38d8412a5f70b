"""Kernel density estimates in the loop; with bandwidth zero, resampling of the data themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


def fit(bandwidth: Callable[[int], float]) -> Callable:
    """Return fit(data, rng) → KernelDensity for an Ensemble of N rows, with normal kernels of width bandwidth(N)."""
    return lambda data, rng: KernelDensity(data.rows, bandwidth(len(data.rows)))


@dataclass(frozen=True)
class KernelDensity:
    """R densities, each an equal mixture of normals N(x_i, h² I) at its training points: (N, R, d).

    With h = 0 it is the empirical law of the points, which may then be labels of discrete states, (N, R).
    """

    points: np.ndarray
    h: float

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n new rows for every replicate: a training point drawn with replacement, plus h times a standard normal."""
        chosen = rng.integers(len(self.points), size=(n, self.points.shape[1]))
        rows = self.points[chosen, np.arange(self.points.shape[1])]  # (n, R, d) or (n, R)
        return Ensemble(rows + self.h * rng.standard_normal(rows.shape) if self.h else rows)

    def second_moment(self) -> np.ndarray:
        """E‖x‖² under each density, (R,): the mean square of the points plus d·h²."""
        return np.einsum("nrd,nrd->r", self.points, self.points) / len(self.points) + self.points.shape[2] * self.h**2

    def variance(self) -> np.ndarray:
        """E‖x − E x‖² under each density, (R,): the second moment less the square of the mean."""
        return self.second_moment() - (self.points.mean(axis=0) ** 2).sum(axis=-1)

    def nll(self, test: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the mean negative log-likelihood, nats per row, (R,), of test rows (T, R, d) with weights (T,), or equal ones.

        Raises ValueError for h = 0, which has no density.
        """
        from scipy.spatial.distance import cdist

        if not self.h > 0:
            raise ValueError(f"nll: the bandwidth must be positive; got {self.h}.")
        constant = np.log(len(self.points)) + self.points.shape[2] * np.log(self.h * np.sqrt(2 * np.pi))
        losses = []
        for r in range(test.shape[1]):
            exponent = cdist(test[:, r], self.points[:, r], "sqeuclidean") / (2 * self.h**2)  # (T, N)
            nearest = exponent.min(axis=1)
            kernels = np.exp(nearest[:, None] - exponent).sum(axis=1)
            losses.append(np.average(constant + nearest - np.log(kernels), weights=weights))
        return np.array(losses)
