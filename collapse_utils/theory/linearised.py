"""Training under a kernel that does not move, in closed form: what the empirical NTK at the start predicts."""

import numpy as np


def path(kernel, start, target, rate, times, law="descent", cross=None, start_cross=None):
    """Return the outputs at the given times under a frozen kernel, on the training rows, or elsewhere by `cross`.

    f_t − y = (1 − aΘ)^t (f_0 − y),  f*_t = f*_0 − Θ* Θ⁻¹ [1 − (1 − aΘ)^t] (f_0 − y), a = 2η/k for the mean of k squared
    errors (Lee et al. 2019, arXiv 1902.06720, eqs. 8–11; there the flow, exp(−aΘt), law="flow").
    kernel: (k, k) symmetric, k = inputs × outputs; start, target: (k,); times: epochs; cross: (m, k), start_cross: (m,).
    Result: (len(times), k), or (len(times), m) with cross. Raises ValueError for descent with a rate that diverges.
    """
    values, vectors = np.linalg.eigh(np.asarray(kernel, float))
    values = np.maximum(values, 0.0)  # rounding
    a = 2 * rate / len(values)
    if law == "descent" and a * values[-1] >= 2:
        raise ValueError(f"path: the rate must stay below {len(values) / values[-1]:.3g} for descent to converge; got {rate:g}.")
    residual = vectors.T @ (np.asarray(start, float) - target)
    decay = 1 - a * values if law == "descent" else np.exp(-a * values)
    left = decay ** np.asarray(times, float)[:, None] if law == "flow" else decay ** np.asarray(times)[:, None]  # (T, k)
    if cross is None:
        return target + (left * residual) @ vectors.T
    small = values < 1e-12 * values[-1]
    slow = a * np.asarray(times, float)[:, None] * np.ones_like(values)
    moved = np.where(small, slow, (1 - left) / np.where(small, 1.0, values))  # (1 − (1 − aλ)^t)/λ, a t where λ = 0
    return np.asarray(start_cross, float) - (moved * residual) @ (np.asarray(cross, float) @ vectors).T


def largest_rate(kernel):
    """Return the rate η = k / λ_max at which descent under a frozen kernel (k, k) stops converging: 2η/k · λ_max = 2."""
    return len(kernel) / float(np.linalg.eigvalsh(kernel)[-1])
