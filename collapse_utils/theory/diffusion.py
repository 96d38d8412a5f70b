"""Diffusion whose every part is known: best denoisers, their losses, what the samplers make, and the loop around them.

Throughout x = α x_0 + σ ε with α² + σ² = 1, and ε̂(x) = E[ε | x]. `alpha` of a schedule is (K + 1,), k = 0 … K.
"""

import numpy as np
from scipy.optimize import elementwise
from scipy.special import digamma, ndtr


def gaussian_noise(x: np.ndarray, alpha: float, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return E[ε|x] = σ(x − αm)/(α²v + σ²) for x_0 ~ N(m, v), of the shape of x (Ho 2020, 2006.11239, Eq. 9, made explicit)."""
    return np.sqrt(1 - alpha**2) * (x - alpha * mean) / (alpha**2 * variance + 1 - alpha**2)


def gaussian_loss(alpha: np.ndarray, mean: np.ndarray, variance: np.ndarray, truth: float = 1.0) -> np.ndarray:
    """Return E(ε − ε̂)² of the denoiser of N(m, v) on data N(0, truth): (1 − eσ)² + e²α²(truth + m²), e = σ/(α²v + σ²).

    With m = 0, v = truth it is the least loss, α²v/(α²v + σ²) (ours).
    """
    sigma = np.sqrt(1 - alpha**2)
    e = sigma / (alpha**2 * variance + sigma**2)
    return (1 - e * sigma) ** 2 + e**2 * alpha**2 * (truth + mean**2)


def modes_noise(x: np.ndarray, alpha: float, mode: float, variance: float) -> np.ndarray:
    """Return E[ε|x] = σ(x − αa tanh(αax/w))/w, w = α²v + σ², for x_0 from ½N(−a, v) + ½N(a, v) (ours)."""
    wide = alpha**2 * variance + 1 - alpha**2
    return np.sqrt(1 - alpha**2) * (x - alpha * mode * np.tanh(alpha * mode * x / wide)) / wide


def modes_loss(alpha: np.ndarray, mode: float, variance: float) -> np.ndarray:
    """Return the least loss 1 − E ε̂² for the two modes ±a, of the shape of alpha, by quadrature; at most 1 (ours)."""
    alpha = np.asarray(alpha, float)[..., None]
    z = np.linspace(-12, 12, 4001)  # the mirror image of a mode has the same ε̂², so one mode is enough
    x = alpha * mode + np.sqrt(alpha**2 * variance + 1 - alpha**2) * z
    guess = modes_noise(x, alpha, mode, variance)
    return 1 - (guess**2 * np.exp(-(z**2) / 2)).sum(axis=-1) * (z[1] - z[0]) / np.sqrt(2 * np.pi)


def modes_quantile(z: np.ndarray, mode: float, variance: float) -> np.ndarray:
    """Return F⁻¹(Φ(z)) for the two modes: where the deterministic sampler takes noise z as steps get fine (Song 2021).

    The flow of a one-dimensional law keeps the order of points, so that it must be the map of quantiles.
    """
    spread = np.sqrt(variance)

    def gap(x, z):
        return (ndtr((x - mode) / spread) + ndtr((x + mode) / spread)) / 2 - ndtr(z)

    reach = mode + 12 * spread
    return elementwise.find_root(gap, (-reach, reach), args=(z,)).x


def deterministic_factor(alpha: np.ndarray) -> float:
    """Return the variance of a deterministic sample over that of the Gaussian data: ∏_k cos²(θ_k − θ_{k−1}) (ours).

    α_k = cos θ_k, with a last step to θ = 0; the data being scaled to variance 1.
    """
    return float(np.prod(np.cos(np.diff(np.arccos(np.append(1.0, alpha)))) ** 2))


def ancestral_factor(alpha: np.ndarray) -> float:
    """Return the same for the ancestral sampler: 1 − Σ_k (α_{k−1}² − α_k²)²/σ_k², a last step to α = 1 included (ours)."""
    square = np.append(1.0, alpha**2)
    return float(1 - (np.diff(square) ** 2 / (1 - square[1:])).sum())


def path(regime: str, factor: float, n: int, n_fits: int, real: float = 0.5) -> np.ndarray:
    """Return E v_t (n_fits,), the mean variance of the training data (divisor n) at fit t, exactly (ours).

    The truth is N(0, 1), each model draws n rows of variance factor·v_t about the mean it was fitted to; real is the share
    of real rows under mixture. Raises ValueError for a regime that is not known.
    """
    laws = {"replace": _replace, "accumulate": _accumulate, "accumulate_subsample": _subsample, "mixture": _mixture}
    if regime not in laws:
        raise ValueError(f"path: regime must be one of {', '.join(laws)}; got {regime!r}.")
    return np.array(laws[regime](factor, n, n_fits, real))


def _replace(factor, n, n_fits, real):
    return (1 - 1 / n) * (factor * (1 - 1 / n)) ** np.arange(n_fits)


def _accumulate(factor, n, n_fits, real):
    t = np.arange(1, n_fits)
    return (1 - 1 / n) * np.cumprod(np.append(1.0, (t + factor * (1 - 1 / (n * (t + 1)))) / (t + 1)))


def _mixture(factor, n, n_fits, real):
    kept = round(real * n)
    share, made = kept / n, n - kept
    old, found = 1 / n, [1 - 1 / n]  # E m_t², E v_t
    for _ in range(n_fits - 1):
        fresh = factor * found[-1] / made if made else 0.0
        square = share + (1 - share) * (old + factor * found[-1])
        old = (share**2 / kept if kept else 0.0) + 2 * share * (1 - share) / n + (1 - share) ** 2 * (old + fresh)
        found.append(square - old)
    return found


def _subsample(factor, n, n_fits, real):
    square, mean, found = 1.0, 1 / n, []  # of the pool: E of the mean square, E of the squared mean
    for t in range(1, n_fits + 1):
        rows = n * t
        spread = rows / (rows - 1) * (square - mean)
        chosen, made = mean + spread * (1 / n - 1 / rows), factor * spread * (n - 1) / n
        found.append(spread * (n - 1) / n)
        square = (t * square + chosen + made) / (t + 1)
        mean = (t**2 * mean + 2 * t * mean + chosen + made / n) / (t + 1) ** 2
    return found


def log_path(factor: float, n: int, n_fits: int) -> np.ndarray:
    """Return E ln v_t under replace (n_fits,): t(ψ((n−1)/2) + ln(2/n)) + (t−1) ln factor, exactly (ours)."""
    t = np.arange(1, n_fits + 1)
    return t * (digamma((n - 1) / 2) + np.log(2 / n)) + (t - 1) * np.log(factor)


def shell_mean(x: np.ndarray, alpha: float, length: float) -> np.ndarray:
    """Return E[r|x] = ℓ L(κ) x/|x|, κ = αℓ|x|/σ², L(κ) = coth κ − 1/κ, for r uniform on a sphere of radius ℓ; x (…, 3) (ours)."""
    reach = np.linalg.norm(x, axis=-1, keepdims=True)  # (…, 1)
    return length * langevin(alpha * length * reach / (1 - alpha**2)) * x / reach


def shell_noise(x: np.ndarray, alpha: float, length: float) -> np.ndarray:
    """Return E[ε|x] = (x − α E[r|x])/σ for r uniform on a sphere of radius ℓ, x (…, 3): the best predictor of the raw noise (ours)."""
    return (x - alpha * shell_mean(x, alpha, length)) / np.sqrt(1 - alpha**2)


def langevin(kappa: np.ndarray) -> np.ndarray:
    """Return L(κ) = coth κ − 1/κ, the mean cosine to the axis of a direction with density ∝ e^{κ cos}, in [0, 1)."""
    kappa = np.maximum(np.asarray(kappa, float), 1e-12)
    return np.where(kappa < 1e-3, kappa / 3, 1 / np.tanh(np.maximum(kappa, 1e-3)) - 1 / np.maximum(kappa, 1e-3))


def shell_length(alpha: float, length: float) -> float:
    """Return E|E[r|x]|/ℓ, the mean relative length of the best one-step estimate of a bond, by quadrature (ours)."""
    sigma, centre = np.sqrt(1 - alpha**2), alpha * length
    reach = np.linspace(1e-9, centre + 12 * sigma, 20001)
    density = reach * (np.exp(-((reach - centre) ** 2) / (2 * sigma**2)) - np.exp(-((reach + centre) ** 2) / (2 * sigma**2)))
    return float((density * langevin(centre * reach / sigma**2)).sum() / density.sum())
