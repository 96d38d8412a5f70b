"""Ridge on rows of which a share carries labels of another truth, many replicates at once (Dohmatob et al. 2024)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


def ridge(x: np.ndarray, y: np.ndarray, penalty: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Return (XᵀX/n + λ)⁻¹XᵀY/n for every replicate and label column: x (R, n, d), y (R, n, k) → (R, d, k).

    weights (n,) multiply the rows' squared errors. Solved with n × n matrices where n < d (the limit λ → 0 is the
    interpolator of least norm). Raises ValueError for a negative penalty.
    """
    if penalty < 0:
        raise ValueError(f"ridge: penalty must be at least 0; got {penalty}.")
    n, d = x.shape[1:]
    if weights is not None:
        x, y = x * np.sqrt(weights)[:, None], y * np.sqrt(weights)[:, None]
    transposed = x.swapaxes(1, 2)  # (R, d, n)
    if n < d:
        return transposed @ np.linalg.solve(x @ transposed + n * penalty * np.eye(n), y)
    return np.linalg.solve(transposed @ x + n * penalty * np.eye(d), transposed @ y)


def ridge_path(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Return the ridge weights at every penalty (k,), from one eigendecomposition a replicate: x (R, n, d), y (R, n) → (R, d, k)."""
    n, transposed = x.shape[1], x.swapaxes(1, 2)  # (R, d, n)
    values, basis = np.linalg.eigh(transposed @ x / n)
    along = basis.swapaxes(1, 2) @ (transposed @ y[..., None] / n)  # (R, d, 1)
    return basis @ (along / (values[..., None] + penalties))


def projected_ridge(x: np.ndarray, y: np.ndarray, penalty: float, m: int, rng) -> np.ndarray:
    """Return the weights Sᵀv̂ of ridge on m random projections, f(x) = vᵀSx with S ~ N(0, 1/m): (R, d, k).

    One S (m, d) a replicate, drawn from rng; x (R, n, d), y (R, n, k). Raises as ridge does.
    """
    s = rng.standard_normal((len(x), m, x.shape[2])) / np.sqrt(m)
    return s.swapaxes(1, 2) @ ridge(x @ s.swapaxes(1, 2), y, penalty)


def power_law(d: int, decay: float) -> np.ndarray:
    """Return the eigenvalues λ_i ∝ i^−decay of d features, (d,), of mean 1: tr Σ = d."""
    scales = np.arange(1, d + 1.0) ** -decay
    return d * scales / scales.sum()


def parts(scales, truth, noise: float, shift, n: int, shares: Sequence[float], fit: Callable) -> Callable:
    """Return experiment(r, rng): bias, variance, mixture and error (r, len(shares)) of fits to mixed rows.

    x ~ N(0, diag(scales)); w1 and δ have variances truth and shift, numbers or (d,), and random signs: the error is
    quadratic in them, so that only second moments count. The first round(p₂n) rows are synthetic, y = x·(w1 + δ) + ε. fit(x, y, rng) → (R, d, k) must be linear in the labels y (R, n, k): it is
    given x·w1, ε and the shifted part of each share as columns, so that the parts add up to the fit of the sum.
    """
    root, d = np.sqrt(scales), len(scales)
    synthetic = np.arange(n)[:, None] < np.round(np.asarray(shares) * n)  # (n, s)

    def experiment(r: int, rng) -> dict[str, np.ndarray]:
        x = root * rng.standard_normal((r, n, d))
        w, delta = (np.sqrt(v) * rng.choice([-1.0, 1.0], (r, d)) for v in (truth, shift))
        clean, moved = (x @ v[:, :, None] for v in (w, delta))  # (r, n, 1)
        y = np.concatenate([clean, noise * rng.standard_normal((r, n, 1)), moved * synthetic], axis=2)  # (r, n, 2 + s)
        fitted = root[:, None] * fit(x, y, rng)
        miss, stray, pulled = fitted[..., :1] - (root * w)[..., None], fitted[..., 1:2], fitted[..., 2:]  # (r, d, ·)
        columns = {"bias": miss, "variance": stray, "mixture": pulled, "error": miss + stray + pulled}
        return {name: (v**2).sum(axis=1) for name, v in columns.items()}

    return experiment


def errors(scales, n: int, penalty: float, truth, noise: float, shares: Sequence[float], shift) -> Callable:
    """Return experiment(r, rng): the error (r, len(shares)) of ridge, as parts has it, with the arguments of its theory."""
    run = parts(scales, truth, noise, shift, n, shares, lambda x, y, rng: ridge(x, y, penalty))
    return lambda r, rng: run(r, rng)["error"]


@dataclass(frozen=True)
class Isotropic:
    """Least squares on rows x ~ N(0, I) of d features, some with labels of a shifted truth: noise is σ, quality c² = E‖δ‖²."""

    d: int
    noise: float
    quality: float

    def errors(self, n: int, shares: Sequence[float]) -> Callable:
        """Return experiment(r, rng): errors (r, len(shares)) of fits to n rows, as the function of that name has them."""
        return errors(np.ones(self.d), n, 0.0, 1 / self.d, self.noise, shares, self.quality / self.d)

    def given(self, x: np.ndarray, n_synthetic: int) -> np.ndarray:
        """Return the error on rows x (R, n, d), averaged exactly over label noise and shift: (R,).

        σ² tr G⁻¹ + (c²/d)‖G⁻¹G₂‖², G the Gram matrix of all rows and G₂ that of the last n_synthetic.
        """
        gram, synthetic = (rows.swapaxes(1, 2) @ rows for rows in (x, x[:, x.shape[1] - n_synthetic :]))
        inverse = np.linalg.inv(gram)
        pulled = ((inverse @ synthetic) ** 2).sum(axis=(1, 2))
        return self.noise**2 * inverse.trace(axis1=1, axis2=2) + self.quality / self.d * pulled

    def at(self, rows: float, share: float, rng) -> float:
        """Return the error given one random design of `rows` rows per feature."""
        n = round(rows * self.d)
        return self.given(rng.standard_normal((1, n, self.d)), round(share * n))[0]

    def crossing(self, near: float, share: float, r: int, rng) -> float:
        """Return n/d where the fit does as well without its synthetic rows, measured on r designs; near is a guess.

        The zero of the line through n·(error with them − without), nearly linear in n, at 0.7 and 1.3 times the guess.
        """
        sizes, change = np.round(np.array([0.7, 1.3]) * near * self.d).astype(int), []
        for n in sizes:
            x, n_synthetic = rng.standard_normal((r, n, self.d)), round(share * n)
            change.append(n * (self.given(x, n_synthetic) - self.given(x[:, : n - n_synthetic], 0)).mean())
        slope = (change[1] - change[0]) / (sizes[1] - sizes[0])
        return (sizes[0] - change[0] / slope) / self.d

    def added(self, n_real: int, n_added: int) -> Callable:
        """Return experiment(r, rng): the error with n_added synthetic rows less that without, (r,), by two fits that share the real rows.

        The truth is 0 (the error does not depend on it), the shift has random signs as in parts.
        """

        def experiment(r: int, rng) -> np.ndarray:
            x = rng.standard_normal((r, n_real + n_added, self.d))
            y = self.noise * rng.standard_normal((*x.shape[:2], 1))
            y[:, n_real:] += x[:, n_real:] @ (np.sqrt(self.quality / self.d) * rng.choice([-1.0, 1.0], (r, self.d, 1)))
            mixed, alone = ridge(x, y, 0.0), ridge(x[:, :n_real], y[:, :n_real], 0.0)
            return (mixed**2).sum(axis=(1, 2)) - (alone**2).sum(axis=(1, 2))

        return experiment
