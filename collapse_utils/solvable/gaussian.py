"""The simplest generative model in the loop: a Gaussian, fitted by its moments, many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble, size

_ROUNDING = 1e-12  # the smallest spread, relative to the mean, that rows in float64 can still resolve


@dataclass(frozen=True)
class Gaussian:
    """N(μ, Σ) for R replicates: mean (R,) and factor σ (R,), or mean (R, d) and factor F (R, k, d) with Σ = FᵀF.

    bias is λ: samples come from N(μ, λΣ); 1 is honest sampling, less than 1 trades diversity for typicality.
    """

    mean: np.ndarray
    factor: np.ndarray
    bias: float = 1.0

    def sample(self, n: int, rng: np.random.Generator) -> "Drawn":
        """Return n rows for every replicate, (n, R) or (n, R, d)."""
        scale = np.sqrt(self.bias)
        if self.mean.ndim == 1:
            noise = rng.standard_normal((n, *self.mean.shape))  # (n, R)
            return Drawn(self.mean + scale * self.factor * noise, noise, self)
        noise = rng.standard_normal((len(self.mean), n, self.factor.shape[1]))  # (R, n, k)
        rows = self.mean[:, None] + scale * (noise @ self.factor)
        return Drawn(rows.swapaxes(0, 1), noise.swapaxes(0, 1), self)  # (n, R, d) and (n, R, k)

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


@dataclass(frozen=True)
class Drawn(Ensemble):
    """What one Gaussian drew, μ + √λ·noise·F: its moments follow from those of the noise, however small the spread beside μ.

    noise: (n, R), or (n, R, k) in d dimensions. A regime that adds other rows returns a plain Ensemble.
    """

    noise: np.ndarray
    source: Gaussian


def standard(replicates: int, d: int | None = None) -> Gaussian:
    """Return the truth of every chain: N(0, 1) for d = None, with rows (n, R), or N(0, I_d), with rows (n, R, d)."""
    if d is None:
        return Gaussian(np.zeros(replicates), np.ones(replicates))
    return Gaussian(np.zeros((replicates, d)), np.broadcast_to(np.eye(d), (replicates, d, d)))


def fit(ddof: int, bias: float = 1.0) -> Callable[[Ensemble, np.random.Generator], Gaussian]:
    """Return fit(data, rng): mean and covariance of every replicate, sums of squares divided by their count less ddof.

    ddof = 0 is the biased (maximum-likelihood) estimator, 1 the unbiased one; bias is λ of the model's samples.
    Rows that are all of one Gaussian are fitted as its noise, and then moved: exact however often they shrink. The fit raises
    ValueError for fewer than two rows, and where the spread has shrunk to the rounding of other rows, or of any number.
    """
    if ddof not in (0, 1) or not 0 < bias <= 1:
        raise ValueError(f"fit: ddof must be 0 or 1 and bias in (0, 1]; got {ddof} and {bias}.")

    def fit_moments(data: Ensemble, rng: np.random.Generator) -> Gaussian:
        if size(data) < 2:
            raise ValueError(f"fit: a variance needs at least two rows; got {size(data)}.")
        if isinstance(data, Drawn):
            mean, factor = _moved(data.source, *_moments(data.noise, ddof))
            least = np.finfo(float).tiny
        else:
            mean, factor = _moments(data.rows, ddof)
            least = _ROUNDING * np.abs(mean).max()
        rank = min(size(data) - 1, mean.shape[-1])
        spread = factor if mean.ndim == 1 else np.abs(np.diagonal(factor, axis1=1, axis2=2)[:, :rank])  # (R,) or (R, rank)
        if spread.min() <= least:
            raise ValueError(f"fit: the spread must stay above rounding; got {spread.min():.1e}: shorten the chain.")
        return Gaussian(mean, factor, bias)

    return fit_moments


def _moments(rows: np.ndarray, ddof: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (R,) and factor (R,) of rows (n, R); mean (R, d) and factor (R, min(n, d), d), upper triangular, of rows (n, R, d)."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    if rows.ndim == 2:
        return mean, np.sqrt(np.einsum("nr,nr->r", centred, centred) / (len(rows) - ddof))
    return mean, np.linalg.qr(centred.swapaxes(0, 1), mode="r") / np.sqrt(len(rows) - ddof)


def _moved(source: Gaussian, mean: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments of what a Gaussian drew, from those of its noise; triangular factors multiply on their diagonals."""
    scale = np.sqrt(source.bias)
    if mean.ndim == 1:
        return source.mean + scale * source.factor * mean, scale * source.factor * factor
    return source.mean + scale * (mean[:, None] @ source.factor)[:, 0], scale * (factor @ source.factor)
