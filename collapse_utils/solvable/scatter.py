"""Gaussians in d dimensions and probabilistic PCA, with data sets known by their mean and their scatter matrix.

As in `summaries`: the models are those of `gaussian` and `ppca`, but for what they sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from collapse_utils.solvable import gaussian, ppca
from collapse_utils.solvable.summaries import Statistics


@dataclass(frozen=True)
class Scatter(Statistics):
    """n rows of R chains in d dimensions by their mean (R, d) and a root S (R, k, d) of their scatter, SᵀS = Σ (x − x̄)(x − x̄)ᵀ.

    A triangular root keeps a determinant that is far too small for SᵀS.
    """

    n: int
    mean: np.ndarray
    root: np.ndarray

    def join(self, other: "Scatter") -> "Scatter":
        """Return the summary of the rows of both; the root is the triangle of those of both and of the step between the means."""
        if not isinstance(other, Scatter) or self.mean.shape != other.mean.shape:
            self.meet(other)
        n, step = self.n + other.n, other.mean - self.mean
        between = step[:, None] * np.sqrt(self.n * other.n / n)
        stacked = np.concatenate([self.root, other.root, between], axis=1)
        return Scatter(n, self.mean + step * (other.n / n), np.linalg.qr(stacked, mode="r"))


def wishart(free: int, replicates: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return roots T (R, min(free, k), k), upper triangular, of Wishart matrices TᵀT with `free` degrees of freedom (Bartlett 1933)."""
    root = np.triu(rng.standard_normal((replicates, min(free, k), k)), 1)
    diagonal = np.arange(min(free, k))
    root[:, diagonal, diagonal] = np.sqrt(rng.chisquare(free - diagonal, (replicates, len(diagonal))))
    return root


class Sampler:
    """What the two models share: their samples are Scatter, drawn from a factor F of the covariance FᵀF."""

    @classmethod
    def of(cls, model: object) -> Self:
        """Return a model of `gaussian` or `ppca` as one whose samples are Scatter."""
        return cls(**vars(model))

    def drawn(self, factor: np.ndarray, n: int, rng: np.random.Generator) -> Scatter:
        """Return the summary of n rows of N(mean, FᵀF), F (R, k, d): mean and scatter are independent."""
        replicates, k, _ = factor.shape
        noise = rng.standard_normal((replicates, 1, k)) / np.sqrt(n)
        return Scatter(n, self.mean + (noise @ factor)[:, 0], wishart(n - 1, replicates, k, rng) @ factor)


@dataclass(frozen=True)
class Gaussian(Sampler, gaussian.Gaussian):
    """`gaussian.Gaussian` in d dimensions, whose samples are Scatter."""

    def sample(self, n: int, rng: np.random.Generator) -> Scatter:
        """Return the summary of n rows; the factors of a chain multiply, so that no spread is lost beside another."""
        return self.drawn(np.sqrt(self.bias) * self.factor, n, rng)


def gaussian_fit(ddof: int, bias: float = 1.0) -> Callable[[Scatter, np.random.Generator], Gaussian]:
    """Return fit(data, rng) on Scatter: mean and covariance, the scatter divided by n − ddof; ValueError where that is not positive."""

    def fit(data: Scatter, rng: np.random.Generator) -> Gaussian:
        if data.n <= max(ddof, 1) or not np.diagonal(data.root, axis1=1, axis2=2).all():
            raise ValueError(
                f"fit: a spread needs at least two rows and must stay above zero; got {data.n} rows: shorten the chain."
            )
        return Gaussian(data.mean, data.root / np.sqrt(data.n - ddof), bias)

    return fit


@dataclass(frozen=True)
class PPCA(Sampler, ppca.PPCA):
    """`ppca.PPCA`, whose samples are Scatter."""

    def sample(self, n: int, rng: np.random.Generator) -> Scatter:
        """Return the summary of n rows, with pixel noise or of the decoder's means alone."""
        s, kept = np.sqrt(self.noise)[:, None, None], self.vectors.swapaxes(1, 2)  # (R, k, d)
        if not self.pixel_noise:
            return self.drawn(np.sqrt(self.values - self.noise[:, None])[..., None] * kept, n, rng)
        above = self.vectors @ ((np.sqrt(self.values)[..., None] - s) * kept)
        return self.drawn(s * np.eye(kept.shape[2]) + above, n, rng)


def ppca_fit(k: int, noise: float | None = None, pixel_noise: bool = True) -> Callable[[Scatter, np.random.Generator], PPCA]:
    """Return fit(data, rng) on Scatter: the maximum-likelihood model with k latent units, as `ppca.fit` on rows."""

    def fit(data: Scatter, rng: np.random.Generator) -> PPCA:
        d = data.mean.shape[1]
        if not 1 <= k < d < data.n:
            raise ValueError(f"fit: must have 1 ≤ latent units < dimensions < rows; got {k}, {d} and {data.n}.")
        value, vector = np.linalg.eigh(data.root.swapaxes(1, 2) @ data.root / data.n)
        value, vector = value[:, ::-1], vector[:, :, ::-1]
        rest = value[:, k:].mean(axis=1) if noise is None else np.full(len(value), noise)
        return PPCA(data.mean, vector[:, :, :k], np.maximum(value[:, :k], rest[:, None]), rest, pixel_noise)

    return fit


def distance(model: gaussian.Gaussian) -> np.ndarray:
    """Return W₂² between N(0, I_d) and each of R Gaussians, (R,): ‖μ‖² + Σ(s − 1)² with s² the eigenvalues of Σ (Gelbrich 1990)."""
    roots = np.linalg.svd(model.factor, compute_uv=False)
    missing = model.mean.shape[1] - roots.shape[1]
    return (model.mean**2).sum(axis=1) + ((roots - 1) ** 2).sum(axis=1) + missing
