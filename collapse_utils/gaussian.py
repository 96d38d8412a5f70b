"""The simplest generative model in the loop: a Gaussian, fitted by its moments, many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.data import Ensemble

_ROUNDING = 1e-12  # the smallest spread, relative to the mean, that a fit in float64 can still resolve


@dataclass(frozen=True)
class Gaussian:
    """N(μ, Σ) for R replicates: mean (R,) and factor σ (R,), or mean (R, d) and factor F (R, k, d) with Σ = FᵀF.

    bias is λ: samples come from N(μ, λΣ); 1 is honest sampling, less than 1 trades diversity for typicality.
    """

    mean: np.ndarray
    factor: np.ndarray
    bias: float = 1.0

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n rows for every replicate, (n, R) or (n, R, d)."""
        scale = np.sqrt(self.bias)
        if self.mean.ndim == 1:
            return Ensemble(self.mean + scale * self.factor * rng.standard_normal((n, *self.mean.shape)))  # (n, R)
        noise = rng.standard_normal((len(self.mean), n, self.factor.shape[1]))  # (R, n, k)
        return Ensemble((self.mean[:, None] + scale * (noise @ self.factor)).swapaxes(0, 1))  # (n, R, d)

    @property
    def variance(self) -> np.ndarray:
        """tr Σ / d, the mean variance of a coordinate, (R,)."""
        return self.factor**2 if self.mean.ndim == 1 else (self.factor**2).sum(axis=(1, 2)) / self.mean.shape[1]

    @property
    def log_determinant(self) -> np.ndarray:
        """log det Σ, (R,); −∞ where fewer than d + 1 rows were fitted."""
        if self.mean.ndim == 1:
            return 2 * np.log(self.factor)
        if self.factor.shape[1] < self.mean.shape[1]:
            return np.full(len(self.mean), -np.inf)
        return 2 * np.log(np.abs(np.diagonal(self.factor, axis1=1, axis2=2))).sum(axis=1)

    @property
    def error(self) -> np.ndarray:
        """‖μ‖²/d, the squared error of the mean for a centred truth, per coordinate, (R,)."""
        return self.mean**2 if self.mean.ndim == 1 else (self.mean**2).mean(axis=1)


def standard(replicates: int, d: int | None = None) -> Gaussian:
    """Return the truth of every chain: N(0, 1) for d = None, with rows (n, R), or N(0, I_d), with rows (n, R, d)."""
    if d is None:
        return Gaussian(np.zeros(replicates), np.ones(replicates))
    return Gaussian(np.zeros((replicates, d)), np.broadcast_to(np.eye(d), (replicates, d, d)))


def fit(ddof: int, bias: float = 1.0) -> Callable[[Ensemble, np.random.Generator], Gaussian]:
    """Return fit(data, rng): mean and covariance of every replicate, sums of squares divided by their count less ddof.

    ddof = 0 is the biased (maximum-likelihood) estimator, 1 the unbiased one; bias is λ of the model's samples.
    The fit raises ValueError for fewer than two rows, and where the spread has shrunk to the rounding of its rows.
    """
    if ddof not in (0, 1) or not 0 < bias <= 1:
        raise ValueError(f"fit: ddof must be 0 or 1 and bias in (0, 1]; got {ddof} and {bias}.")

    def fit_moments(data: Ensemble, rng: np.random.Generator) -> Gaussian:
        rows = data.rows
        if len(rows) < 2:
            raise ValueError(f"fit: a variance needs at least two rows; got {len(rows)}.")
        mean = rows.mean(axis=0)  # (R,) or (R, d)
        centred = rows - mean
        if rows.ndim == 2:
            factor = np.sqrt(np.einsum("nr,nr->r", centred, centred) / (len(rows) - ddof))  # (R,)
            spread = factor
        else:
            factor = np.linalg.qr(centred.swapaxes(0, 1), mode="r") / np.sqrt(len(rows) - ddof)  # (R, k, d)
            rank = min(len(rows) - 1, rows.shape[2])
            spread = np.abs(np.diagonal(factor, axis1=1, axis2=2)[:, :rank])  # (R, rank)
        if spread.min() <= _ROUNDING * np.abs(mean).max():
            raise ValueError(f"fit: the spread must stay above rounding; got {spread.min():.1e}: shorten the chain.")
        return Gaussian(mean, factor, bias)

    return fit_moments
