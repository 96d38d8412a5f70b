"""Least squares trained on its own labels: the linear model of Gerstgrasser et al. (2024), many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapse_utils.data import Ensemble

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def gaussian(scale: float) -> Noise:
    """Return a sampler of independent N(0, scale²) noise."""
    return lambda rng, shape: scale * rng.standard_normal(shape)


def student(scale: float, dof: float) -> Noise:
    """Return a sampler of Student-t noise with dof > 2 degrees of freedom, scaled to standard deviation `scale`."""
    return lambda rng, shape: scale * np.sqrt((dof - 2) / dof) * rng.standard_t(dof, shape)


@dataclass(frozen=True)
class FixedDesign:
    """R fixed designs X (R, T, d), reused by every generation; a data set is an Ensemble of (row numbers, labels).

    penalty is ridge's λ in (XᵀX + λI)⁻¹; the fit of n equal copies of X uses that they have the closed form
    ŵ = X⁺·(mean of the label copies), which is exact (for ridge with the penalty λ/n).
    """

    x: np.ndarray
    noise: Noise
    penalty: float = 0.0

    def real(self, w, rng) -> Ensemble:
        """Return D_0: one label for every row, from the true weights w (R, d) plus noise."""
        return FixedDesignModel(self, w).sample(self.x.shape[1], rng)

    def fit(self, data: Ensemble, rng) -> "FixedDesignModel":
        """Return the least-squares (or ridge) model of every replicate."""
        row, y = data.rows  # (n, R)
        n_rows, replicates = self.x.shape[1], self.x.shape[0]
        copies, left = divmod(len(y), n_rows)
        whole = left == 0 and (row.reshape(copies, n_rows, -1) == np.arange(n_rows, dtype=row.dtype)[:, None]).all()
        if whole:
            total = y.reshape(copies, n_rows, replicates).sum(axis=0)  # (T, R)
            return FixedDesignModel(self, self._solve(total.T, copies))
        cell = row * replicates + np.arange(replicates)
        counts, total = (
            np.bincount(cell.ravel(), weights, n_rows * replicates).reshape(n_rows, replicates) for weights in (None, y.ravel())
        )
        return FixedDesignModel(self, self._solve_weighted(total.T, counts.T))

    @cached_property
    def _gram(self) -> np.ndarray:
        return self.x.transpose(0, 2, 1) @ self.x  # (R, d, d)

    @cached_property
    def _inverse_gram(self) -> np.ndarray:
        return np.linalg.inv(self._gram)  # (R, d, d)

    def _solve(self, total, copies):
        moment = np.matmul(total[:, None], self.x)[:, 0]  # (R, d)
        if self.penalty == 0:
            return np.matmul(self._inverse_gram, moment[..., None])[..., 0] / copies
        gram = copies * self._gram + self.penalty * np.eye(self.x.shape[2])
        return np.linalg.solve(gram, moment[..., None])[..., 0]

    def _solve_weighted(self, total, counts):
        moment = np.matmul(total[:, None], self.x)[:, 0]  # (R, d)
        gram = (self.x * counts[..., None]).transpose(0, 2, 1) @ self.x
        gram = gram + self.penalty * np.eye(self.x.shape[2])
        return np.linalg.solve(gram, moment[..., None])[..., 0]


@dataclass(frozen=True)
class FixedDesignModel:
    """Weights w (R, d) on a fixed design."""

    design: FixedDesign
    w: np.ndarray

    def sample(self, n: int, rng) -> Ensemble:
        """Return n labelled rows for every replicate: n/T copies of the design, each with fresh noise, row by row."""
        replicates, n_rows, _ = self.design.x.shape
        if n % n_rows:
            raise ValueError(f"sample: n must be a multiple of the design's {n_rows} rows; got {n}.")
        mean = np.matmul(self.design.x, self.w[..., None])[..., 0].T  # (T, R)
        row = np.broadcast_to(np.arange(n_rows, dtype=np.int32)[:, None], (n_rows, replicates))
        y = np.tile(mean, (n // n_rows, 1)) + self.design.noise(rng, (n, replicates))
        return Ensemble((np.tile(row, (n // n_rows, 1)), y))


@dataclass(frozen=True)
class FreshDesign:
    """Covariates drawn anew by `covariates(rng, shape)` for every batch; a data set is an Ensemble of (x, y) rows."""

    d: int
    replicates: int
    covariates: Noise
    noise: Noise

    def real(self, w, n: int, rng) -> Ensemble:
        """Return D_0: n rows labelled by the true weights w (R, d) plus noise."""
        return FreshDesignModel(self, w).sample(n, rng)

    def fit(self, data: Ensemble, rng) -> "FreshDesignModel":
        """Return the least-squares model of every replicate; the minimum-norm one where rows are fewer than features."""
        x, y = (rows.swapaxes(0, 1) for rows in data.rows)  # (R, n, d), (R, n)
        if x.shape[1] < self.d:
            return FreshDesignModel(self, np.matmul(np.linalg.pinv(x), y[..., None])[..., 0])
        gram = x.transpose(0, 2, 1) @ x
        return FreshDesignModel(self, np.linalg.solve(gram, np.matmul(y[:, None], x)[:, 0][..., None])[..., 0])


@dataclass(frozen=True)
class FreshDesignModel:
    """Weights w (R, d); sampling draws new covariates."""

    design: FreshDesign
    w: np.ndarray

    def sample(self, n: int, rng) -> Ensemble:
        """Return n new rows (x, y) for every replicate."""
        x = self.design.covariates(rng, (n, self.design.replicates, self.design.d))
        return Ensemble((x, np.einsum("nrd,rd->nr", x, self.w) + self.design.noise(rng, x.shape[:2])))


def risk(w, truth, scales=None):
    """Return ‖w − w*‖²_Σ of shape (R,), the excess test error; scales (d,) is the diagonal of Σ, ones by default."""
    return ((w - truth) ** 2 * (1.0 if scales is None else scales)).sum(axis=-1)
