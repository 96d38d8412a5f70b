"""Ridge on rows of which a share carries labels of another truth, many replicates at once (Dohmatob et al. 2024)."""

from collections.abc import Callable, Sequence

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


def at_penalty(penalty: float, weights: np.ndarray | None = None) -> Callable:
    """Return fit(x, y, rng), ridge at this penalty and with these weights of rows, as parts takes it."""
    return lambda x, y, rng: ridge(x, y, penalty, weights)


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


def error_given_rows(x: np.ndarray, n_synthetic: int, noise: float, quality: float) -> np.ndarray:
    """Return the error of least squares on rows x (R, n, d), averaged exactly over label noise and shift: (R,).

    σ² tr G⁻¹ + (c²/d)‖G⁻¹G₂‖², G the Gram matrix of all rows and G₂ that of the last n_synthetic, on an isotropic law with c² = quality.
    """
    gram, synthetic = (rows.swapaxes(1, 2) @ rows for rows in (x, x[:, x.shape[1] - n_synthetic :]))
    inverse = np.linalg.inv(gram)
    pulled = ((inverse @ synthetic) ** 2).sum(axis=(1, 2))
    return noise**2 * inverse.trace(axis1=1, axis2=2) + quality / x.shape[2] * pulled


def change_by_added(r: int, rng, d: int, n_real: int, n_added: int, noise: float, quality: float) -> np.ndarray:
    """Return the error of least squares with n_added synthetic rows less that without, (r,), by two fits that share the real rows.

    Isotropic rows, truth 0 (the error does not depend on it), a shift of c² = quality, random signs as in parts.
    """
    n = n_real + n_added
    x, y = rng.standard_normal((r, n, d)), noise * rng.standard_normal((r, n, 1))
    shift = np.sqrt(quality / d) * rng.choice([-1.0, 1.0], (r, d, 1))
    y = y + (x @ shift) * (np.arange(n) >= n_real)[:, None]
    mixed, alone = ridge(x, y, 0.0), ridge(x[:, :n_real], y[:, :n_real], 0.0)
    return (mixed**2).sum(axis=(1, 2)) - (alone**2).sum(axis=(1, 2))


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
