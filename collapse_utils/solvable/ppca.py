"""Probabilistic PCA in the loop: the linear autoencoder, fitted by maximum likelihood, many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


@dataclass(frozen=True)
class PPCA:
    """N(μ, UΛUᵀ + s²(I − UUᵀ)) for R replicates: mean (R, d), vectors U (R, d, k), values Λ (R, k), noise s² (R,).

    pixel_noise = False samples the means of the decoder alone, as image autoencoders do: the noise stays out.
    """

    mean: np.ndarray
    vectors: np.ndarray
    values: np.ndarray
    noise: np.ndarray
    pixel_noise: bool = True

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n rows for every replicate, (n, R, d)."""
        replicates, d, k = self.vectors.shape
        spread, noise = np.sqrt(self.values)[:, None], np.sqrt(self.noise)[:, None, None]
        if self.pixel_noise:  # s ε + U (√Λ − s) Uᵀε has the model's covariance
            rows = rng.standard_normal((replicates, n, d))
            rows = noise * rows + (rows @ self.vectors * (spread - noise)) @ self.vectors.swapaxes(1, 2)  # (R, n, d)
        else:
            code = rng.standard_normal((replicates, n, k)) * np.sqrt(self.values - self.noise[:, None])[:, None]
            rows = code @ self.vectors.swapaxes(1, 2)  # (R, n, d)
        return Ensemble((self.mean[:, None] + rows).swapaxes(0, 1))  # (n, R, d)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the model, (R, d, d)."""
        above = self.vectors * (self.values - self.noise[:, None])[:, None]
        return above @ self.vectors.swapaxes(1, 2) + self.noise[:, None, None] * np.eye(self.vectors.shape[1])


def truth(values: np.ndarray, noise: float, d: int, replicates: int) -> PPCA:
    """Return the source of every chain: centred, its kept directions being the first coordinates."""
    vectors = np.broadcast_to(np.eye(d, len(values)), (replicates, d, len(values)))
    return PPCA(np.zeros((replicates, d)), vectors, np.tile(values, (replicates, 1)), np.full(replicates, noise))


def spectrum(data: Ensemble) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean (R, d), eigenvalues (R, d), descending, and eigenvectors (R, d, d) of the covariance (divisor n) of rows."""
    rows = data.rows.swapaxes(0, 1)  # (R, n, d)
    mean = rows.mean(axis=1)
    centred = rows - mean[:, None]
    value, vector = np.linalg.eigh(centred.swapaxes(1, 2) @ centred / rows.shape[1])
    return mean, value[:, ::-1], vector[:, :, ::-1]


def fit(k: int, noise: float | None = None, pixel_noise: bool = True) -> Callable[[Ensemble, np.random.Generator], PPCA]:
    """Return fit(data, rng): the maximum-likelihood model with k latent units (Tipping, Bishop 1999).

    Kept eigenvalues as they are, s² the mean of the discarded ones; or a fixed noise, and kept eigenvalues not below it.
    The fit raises ValueError unless 1 ≤ k < d and there are more rows than dimensions.
    """

    def fit_spectrum(data: Ensemble, rng: np.random.Generator) -> PPCA:
        n, _, d = data.rows.shape
        if not 1 <= k < d < n:
            raise ValueError(f"fit: must have 1 ≤ latent units < dimensions < rows; got {k}, {d} and {n}.")
        mean, value, vector = spectrum(data)
        rest = value[:, k:].mean(axis=1) if noise is None else np.full(len(value), noise)
        return PPCA(mean, vector[:, :, :k], np.maximum(value[:, :k], rest[:, None]), rest, pixel_noise)

    return fit_spectrum
