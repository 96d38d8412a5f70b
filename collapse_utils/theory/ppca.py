"""Probabilistic PCA, the linear autoencoder: its bound, its likelihood, and its path in the loop to leading order in 1/n.

The model is N(μ, WWᵀ + s²I) with W (d, k); `values` are the k kept eigenvalues of its covariance, `noise` is s².
"""

import numpy as np


def drift(values: np.ndarray, noise: float, d: int) -> np.ndarray:
    """Return b (k + 1,): n times the mean change of the kept eigenvalues and of the noise at the first fit (ours).

    b_i = λ_i(−1 + Σ_{j≠i} λ_j/(λ_i − λ_j)), j over all d (Lawley 1956 and the divisor n); b_s = −s²(1 + Σ_i λ_i/(λ_i − s²)).
    """
    values = np.asarray(values, float)
    gaps = values[:, None] - values
    np.fill_diagonal(gaps, np.inf)
    pushed = (values / gaps).sum(axis=1) + (d - len(values)) * noise / (values - noise)
    return np.append(values * (pushed - 1), -noise * (1 + (values / (values - noise)).sum()))


def growth(regime: str, n_fits: int) -> np.ndarray:
    """Return c_t (n_fits,), the variance of a linear estimate at fit t over that of the first fit (ours).

    replace: t. accumulate: Σ_{r≤t} r⁻² (Gerstgrasser 2024, 2404.01413, Theorem 2). real_and_last: 1 + (1 − 4^{1−t})/3.
    """
    t = np.arange(1, n_fits + 1.0)
    laws = {"replace": t, "accumulate": np.cumsum(t**-2), "real_and_last": 1 + (1 - 4.0 ** (1 - t)) / 3}
    if regime not in laws:
        raise ValueError(f"growth: regime must be one of {', '.join(laws)}; got {regime!r}.")
    return laws[regime]


def n_free(d: int, k: int) -> int:
    """Return the number of free parameters: mean, loadings up to a rotation of the latent space, noise."""
    return d + d * k - k * (k - 1) // 2 + 1


def excess(truth: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return KL(N(0, truth) ‖ N(mean, covariance)) in nats, (…): the test loss of the model less the entropy.

    ½[tr(M⁻¹C) + μᵀM⁻¹μ − d + ln det M − ln det C]; truth (d, d), mean (…, d), covariance (…, d, d).
    """
    inverse = np.linalg.inv(covariance)
    quadratic = np.einsum("...ij,ji->...", inverse, truth) + np.einsum("...i,...ij,...j->...", mean, inverse, mean)
    return (quadratic - len(truth) + np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(truth)[1]) / 2


def encoder(loadings: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the best encoder q(z|x) = N(A x, V): the posterior, V = s²(WᵀW + s²I)⁻¹, A = VWᵀ/s² (Tipping, Bishop 1999)."""
    inner = noise * np.linalg.inv(loadings.T @ loadings + noise * np.eye(loadings.shape[1]))
    return inner @ loadings.T / noise, inner


def kl_to_prior(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return KL(N(m, V) ‖ N(0, I)) = ½[tr V + mᵀm − k − ln det V] in nats, (…); mean (…, k), variance (k, k)."""
    return ((mean**2).sum(axis=-1) + np.trace(variance) - len(variance) - np.linalg.slogdet(variance)[1]) / 2


def elbo(x: np.ndarray, loadings: np.ndarray, noise: float, map_: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the bound of centred rows x (…, d) under the encoder q(z|x) = N(A x, V), in nats, (…).

    E_q ln p(x|z) − KL(q ‖ N(0, I)), with E‖x − Wz‖² = ‖x − WAx‖² + tr(WVWᵀ) (Kingma, Welling 2014, 1312.6114, Eq. 3).
    """
    code = x @ map_.T  # (…, k)
    missed = ((x - code @ loadings.T) ** 2).sum(axis=-1) + np.trace(loadings @ variance @ loadings.T)
    return -(x.shape[-1] * np.log(2 * np.pi * noise) + missed / noise) / 2 - kl_to_prior(code, variance)


def means_path(values: np.ndarray, noise: float, n_fits: int, regime: str) -> np.ndarray:
    """Return the variances (n_fits, k) of the training data along kept directions when samples are decoder means (ours).

    The model keeps (a − s²)₊ of a variance a: replace a_{t+1} = (a_t − s²)₊, accumulate a_{t+1} = (t a_t + (a_t − s²)₊)/(t + 1),
    real_and_last a_{t+1} = (a_1 + (a_t − s²)₊)/2; the limit of many rows, the noise s² being fixed.
    """
    path = [np.asarray(values, float)]
    for t in range(1, n_fits):
        kept = np.maximum(path[-1] - noise, 0)
        steps = {"replace": kept, "accumulate": (t * path[-1] + kept) / (t + 1), "real_and_last": (path[0] + kept) / 2}
        path.append(steps[regime])
    return np.array(path)
