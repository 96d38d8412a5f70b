"""Least squares trained on its own labels: the linear model of Gerstgrasser et al. (2024), many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapse_utils.loop import feedback_loop, follow
from collapse_utils.regimes import accumulate
from collapse_utils.rows import Ensemble
from collapse_utils.solvable.design import Design

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def gaussian(scale: float) -> Noise:
    """Return a sampler of independent N(0, scale²) noise."""
    return lambda rng, shape: scale * rng.standard_normal(shape)


def student(scale: float, dof: float) -> Noise:
    """Return a sampler of Student-t noise with dof > 2 degrees of freedom, scaled to standard deviation `scale`."""
    return lambda rng, shape: scale * np.sqrt((dof - 2) / dof) * rng.standard_t(dof, shape)


@dataclass(frozen=True)
class FixedDesign(Design):
    """R fixed designs X (R, T, d), reused by every generation; a data set is an Ensemble of (row numbers, labels).

    penalty is λ in ridge's (XᵀX/n + λI)⁻¹Xᵀy/n, n the number of rows fitted. Where every row has as many labels, the fit
    depends on them through their means alone: exact, and used.
    """

    noise: Noise
    penalty: float = 0.0

    def real(self, w, n: int, rng) -> Ensemble:
        """Return D_0: n rows (whole copies of the design) labelled by the true weights w (R, d) plus noise."""
        return FixedDesignModel(self, w).sample(n, rng)

    def fit(self, data: Ensemble, rng) -> "FixedDesignModel":
        """Return the least-squares (or ridge) model of every replicate."""
        total, counts = self.totals(data)  # (T, R)
        copies = counts[0, 0]
        if (counts == copies).all():
            return FixedDesignModel(self, np.matvec(self._inverse_gram, self._moment(total / copies)))
        gram = self._gram(counts.T[..., None]) + len(data.rows[1]) * self.penalty * np.eye(self.x.shape[2])
        return FixedDesignModel(self, np.linalg.solve(gram, self._moment(total)[..., None])[..., 0])

    def _gram(self, weights=1.0):
        return (self.x * weights).transpose(0, 2, 1) @ self.x  # (R, d, d)

    def _moment(self, labels):
        return np.matmul(labels.T[:, None], self.x)[:, 0]  # (R, d)

    @cached_property
    def _inverse_gram(self):
        if self.x.shape[1] < self.x.shape[2] and self.penalty == 0:  # the minimum-norm solution
            return np.linalg.pinv(self._gram(), rcond=1e-10, hermitian=True)
        return np.linalg.inv(self._gram() + self.x.shape[1] * self.penalty * np.eye(self.x.shape[2]))


@dataclass(frozen=True)
class FixedDesignModel:
    """Weights w (R, d) on a fixed design."""

    design: FixedDesign
    w: np.ndarray

    def sample(self, n: int, rng) -> Ensemble:
        """Return n labelled rows for every replicate: n/T copies of the design, each with fresh noise, row by row."""
        copies, mean = self.design.copies(n), np.matvec(self.design.x, self.w).T  # (T, R)
        return self.design.labelled(np.tile(mean, (copies, 1)) + self.design.noise(rng, (n, mean.shape[1])))


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

    def labelled(self, w, n: int, rng) -> tuple[np.ndarray, np.ndarray]:
        """Return the same rows as arrays x (R, n, d), y (R, n), for fits of another kind."""
        return _side_by_side(self.real(w, n, rng))

    def fit(self, data: Ensemble, rng) -> "FreshDesignModel":
        """Return the least-squares model of every replicate; the minimum-norm one where rows are fewer than features."""
        x, y = _side_by_side(data)
        if x.shape[1] < self.d:
            return FreshDesignModel(self, np.matvec(np.linalg.pinv(x), y))
        gram = x.transpose(0, 2, 1) @ x
        return FreshDesignModel(self, np.linalg.solve(gram, np.matvec(x.transpose(0, 2, 1), y)[..., None])[..., 0])


@dataclass(frozen=True)
class FreshDesignModel:
    """Weights w (R, d); sampling draws new covariates."""

    design: FreshDesign
    w: np.ndarray

    def sample(self, n: int, rng) -> Ensemble:
        """Return n new rows (x, y) for every replicate."""
        x = self.design.covariates(rng, (n, self.design.replicates, self.design.d))
        return Ensemble((x, np.einsum("nrd,rd->nr", x, self.w) + self.design.noise(rng, x.shape[:2])))


def pool_shift(d: int, rows: int, fits: np.ndarray, noise: float) -> Callable:
    """Return experiment(r, rng): ‖p₂δ̄‖² of the pool that each of the fits 2, 3, … under accumulate is trained on, (r, len(fits)).

    p₂δ̄ is the mean shift of the labels in the pool, real ones and all: (1/n) Σ_{i<n} (ŵ_i − w*). r fixed designs of `rows` rows.
    """

    def experiment(r: int, rng) -> np.ndarray:
        design = FixedDesign(rng.standard_normal((r, rows, d)), gaussian(noise))
        truth = np.zeros((r, d))  # so the weights of a fit are its shift
        loop = feedback_loop(design.fit, design.real(truth, rows, rng), accumulate, rng)
        shifts = follow(loop, lambda generation: generation.model.w, len(fits))
        return ((np.cumsum(shifts, axis=1) / fits[:, None]) ** 2).sum(axis=2)

    return experiment


def risk(w, truth, scales=None):
    """Return ‖w − w*‖²_Σ of shape (R,), the excess test error; scales (d,) is the diagonal of Σ, ones by default."""
    return ((w - truth) ** 2 * (1.0 if scales is None else scales)).sum(axis=-1)


def _side_by_side(data: Ensemble):
    """The rows and labels of every replicate, (R, n, d) and (R, n)."""
    return tuple(rows.swapaxes(0, 1) for rows in data.rows)
