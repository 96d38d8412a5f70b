"""Training under a kernel that does not move, in closed form: what the empirical NTK at the start predicts."""

import numpy as np


def path(kernel, start, target, rate, times, cross=None, start_cross=None) -> np.ndarray:
    """Return the outputs at the given times under a frozen kernel, on the training rows, or elsewhere by `cross`.

    f_t − y = (1 − aΘ)^t (f_0 − y),  f*_t = f*_0 − Θ* Θ⁻¹ [1 − (1 − aΘ)^t] (f_0 − y), a = 2η/k for the mean of k squared
    errors (Lee et al. 2019, arXiv 1902.06720, eqs. 8–11, there for the flow). kernel: (k, k) symmetric, k = inputs ×
    outputs; start, target: (k,); times: epochs; cross: (m, k), start_cross: (m,). Result: (len(times), k), or
    (len(times), m) with cross. Raises ValueError for shapes that disagree and for a rate that diverges.
    """
    kernel, residual = np.asarray(kernel, float), np.asarray(start, float) - target
    if kernel.shape != (*residual.shape, *residual.shape) or residual.ndim != 1:
        raise ValueError(f"path: the kernel must be k × k for k outputs; got {kernel.shape} and {residual.shape}.")
    values, vectors = np.linalg.eigh(kernel)
    values = np.maximum(values, 0.0)  # rounding
    a, times = 2 * rate / len(values), np.asarray(times, float)[:, None]
    if a * values[-1] >= 2:
        raise ValueError(f"path: the rate must stay below {len(values) / values[-1]:.3g} for descent to converge; got {rate:g}.")
    residual = vectors.T @ residual
    gone = 1 - (1 - a * values) ** times  # (T, k)
    if cross is None:
        return target + ((1 - gone) * residual) @ vectors.T
    small = values < 1e-12 * values[-1]  # there (1 − (1 − aλ)^t)/λ is a t
    moved = np.where(small, a * times, gone / np.where(small, 1.0, values))
    return np.asarray(start_cross, float) - (moved * residual) @ (np.asarray(cross, float) @ vectors).T


def largest_rate(kernel) -> float:
    """Return the rate η = k / λ_max from which descent under a frozen kernel (k, k) no longer converges: 2η/k · λ_max = 2."""
    return len(kernel) / float(np.linalg.eigvalsh(kernel)[-1])
