"""A solvable model of scaling laws, alone and in the loop: Maloney, Roberts, Sully (2022), 2210.16859; its loop is ours.

Latents x ~ N(0, diag λ) with λ_I = I^{-(1+α)}, I = 1 … M; labels y = w·x + ε with w_I ~ (0, 1/M) and Var ε = σ²; N features
u·x with u ~ N(0, 1/M); T rows; ridge is ‖Φθ − y‖² + γ‖θ‖². The loss is half the mean squared error against w·x,
a part without noise (signal) plus σ² times a part of the noise. eigenvalues (M,) are λ.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.optimize.elementwise import find_root

from collapse_utils.theory import ridge


def spectrum(latents: int, alpha: float) -> np.ndarray:
    """Return λ_I = I^{-(1+α)}, (latents,). Raises ValueError unless α > 0."""
    _require(alpha > 0, "the spectral exponent alpha must be above 0, or the variances have no sum", alpha)
    return np.arange(1.0, latents + 1) ** -(1 + alpha)


def spectral_scale(eigenvalues, count) -> np.ndarray:
    """Return Δ with Σ_I λ_I/(λ_I + Δ) = count, of the shape of count. Raises ValueError unless 0 < count < M."""
    lam, count = np.asarray(eigenvalues, float), np.asarray(count, float)
    inside = count.size and count.min() > 0 and count.max() < len(lam)
    _require(inside, f"the smaller count must lie between 0 and the {len(lam)} latents", count)

    def excess(log_scale, count):
        return (lam / (lam + np.exp(log_scale)[..., None])).sum(axis=-1) - count

    bracket = np.log(lam.min() * (len(lam) / count - 1)) - 1e-9, np.log(lam.sum() / count) + 1e-9
    return np.exp(find_root(excess, bracket, args=(count,)).x)


def power_law_scale(alpha: float, count):
    """Return Δ for M → ∞: [π/(1+α) / sin(π/(1+α)) / count]^{1+α}, so that the loss falls like count^{-α}."""
    _require(alpha > 0, "the spectral exponent alpha must be above 0", alpha)
    angle = np.pi / (1 + alpha)
    return (angle / np.sin(angle) / np.asarray(count, float)) ** (1 + alpha)


def ridgeless(eigenvalues, n_features, n_rows) -> tuple[np.ndarray, np.ndarray]:
    """Return signal and noise part of the loss without ridge for large counts (MRS-1 and MRS-5; this form is ours):

    m Δ_m/(2M)/(1 − m/max), m = min(N, T); noise ½N/(T−N) for N < T, ½[T/(N−T) + q/(T−q)] for T < N, q = Σ(λ/(λ+Δ))².
    Broadcasts over both counts. Raises as spectral_scale does, and ValueError for equal counts, where both are infinite.
    """
    n, t = np.broadcast_arrays(np.asarray(n_features, float), np.asarray(n_rows, float))
    _require((n != t).all(), "features and rows must differ in number without a ridge penalty (the loss is infinite)", n[n == t])
    lam, least, most = np.asarray(eigenvalues, float), np.minimum(n, t), np.maximum(n, t)
    scale = spectral_scale(lam, least)
    q = ((lam / (lam + scale[..., None])) ** 2).sum(axis=-1)
    unresolved = np.where(t < n, q / (least - q), 0.0)
    return least * scale / (2 * len(lam)) / (1 - least / most), (least / (most - least) + unresolved) / 2


def finite(n_features, n_rows):
    """Return L(N,T)/L(m,∞) without ridge and noise, (max − 1)/(max − m − 1): exact at every size (ours)."""
    least, most = np.minimum(n_features, n_rows), np.maximum(n_features, n_rows)
    _require(np.min(most - least) > 1, "the counts must differ by two at least", (n_features, n_rows))
    return (most - 1) / (most - least - 1)


def penalised(eigenvalues, n_features: int, n_rows: int, penalty: float, noise: float = 0.0) -> float:
    """Return the loss with ridge penalty γ and noise σ (MRS-7; a case of ridge.projected, with penalty γM/(NT) there)."""
    lam = np.asarray(eigenvalues, float)
    _require(penalty >= 0, "the ridge penalty must be at least 0", penalty)
    _require(
        max(n_features, n_rows) <= len(lam), f"features and rows must be at most the {len(lam)} latents", (n_features, n_rows)
    )
    scaled = penalty * len(lam) / (n_features * n_rows)
    return ridge.projected(lam, n_rows, n_features, scaled, 1 / len(lam), noise, 0.0, 0.0).error / 2


def optimal(eigenvalues, n_features: int, n_rows: int, noise: float = 0.0) -> tuple[float, float]:
    """Return the ridge penalty γ at which `penalised` is least, and the loss there."""

    def loss(log_penalty):
        return penalised(eigenvalues, n_features, n_rows, np.exp(log_penalty), noise)

    found = minimize_scalar(loss, bounds=(np.log(1e-12), np.log(10)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x)), float(found.fun)


def equal_counts(alpha: float) -> float:
    """Return ρ(α) = L*(N,N)/L(N,∞) at the best penalty, N ≪ M (ours): min over t of t^{-α}/[(1+α)(1−t)(1−(α−1)/(α+1)·t)]; ρ(1) = 2."""
    _require(alpha > 0, "the spectral exponent alpha must be above 0", alpha)

    def cost(t):
        return t**-alpha / ((1 + alpha) * (1 - t) * (1 - (alpha - 1) / (alpha + 1) * t))

    return float(minimize_scalar(cost, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10}).fun)


def rectified(covariance: np.ndarray) -> np.ndarray:
    """Return the covariance (N, N) of ReLU(h) for h ~ N(0, covariance): √(ss')/2π·[sin θ + (π−θ) cos θ − 1] (Cho, Saul 2009)."""
    scale = np.sqrt(np.diagonal(covariance))
    cosine = np.clip(covariance / np.outer(scale, scale), -1, 1)
    angle = np.arccos(cosine)
    return np.outer(scale, scale) / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * cosine - 1)


def relearned(eigenvalues, n_rows: int, own, cross, features: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Return E v² and E v·w of a student v, given those of its teacher in every latent direction, (M,) each (ours).

    The student interpolates n_rows labels of the teacher, has the least norm, and `features` random features of its own:
    own' = f² own + (1−f)² λ s + (1−f) Σ f own/(N − T − 1), cross' = f cross; f = λ/(λ+Δ), Σf = T,
    s = Σ own λ/(λ+Δ)²/(T − Σf²). Right up to relative order 1/T. Raises as spectral_scale does, and unless N > T + 1.
    """
    return _step(*_kept(eigenvalues, n_rows, features), own, cross)


def chain(eigenvalues, n_rows: int, fits: int, features: float = np.inf) -> np.ndarray:
    """Return the loss after 1 … fits students under replace, each taught by the last, without noise: (fits,) (ours).

    ½ Σ λ (own − 2 cross + 1/M) by `relearned`; for unlimited features it grows like n^{α/(1+α)} over its first value.
    """
    lam = np.asarray(eigenvalues, float)
    kept, losses = _kept(lam, n_rows, features), []
    own = cross = np.full(len(lam), 1 / len(lam))
    for _ in range(fits):
        own, cross = _step(*kept, own, cross)
        losses.append(lam @ own - 2 * (lam @ cross) + lam.mean())
    return np.array(losses) / 2


def taught(eigenvalues, n_rows: int, penalty: float, share: float, teacher_rows: int) -> float:
    """Return the loss of ridge on the latents, a share of its labels from an interpolator of teacher_rows rows (ours; SMC-1's form).

    penalty λ is added to XᵀX/n. Tends to share² times the teacher's loss. Raises as ridge.two_sources does, and ValueError
    unless there are at least as many rows as the teacher had.
    """
    lam = np.asarray(eigenvalues, float)
    _require(n_rows >= teacher_rows, f"rows must be at least the teacher's {teacher_rows}", n_rows)
    truth = np.full(len(lam), 1 / len(lam))
    own, cross = relearned(lam, teacher_rows, truth, truth)
    second = np.stack([np.stack([truth, cross], -1), np.stack([cross, own], -1)], -1)
    kappa = ridge.effective_penalty(lam, n_rows, penalty)
    return ridge.two_sources(lam, n_rows, kappa, share, second, np.zeros((2, 2))) / 2


def best_taught(eigenvalues, n_rows: int, share: float, teacher_rows: int) -> tuple[float, float]:
    """Return the ridge penalty λ at which `taught` is least, and the loss there."""

    def loss(log_penalty):
        return taught(eigenvalues, n_rows, np.exp(log_penalty), share, teacher_rows)

    found = minimize_scalar(loss, bounds=(np.log(1e-12), np.log(1)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


def _kept(eigenvalues, n_rows, features):
    """What a step needs of the spectrum: f, what one unit of s adds, what s weighs, what one unit of norm adds."""
    lam = np.asarray(eigenvalues, float)
    _require(features > n_rows + 1, f"features must exceed the {n_rows} rows by two at least", features)
    scale = spectral_scale(lam, n_rows)
    f = lam / (lam + scale)
    return f, lam * (1 - f) ** 2, f**2 / lam / (n_rows - (f**2).sum()), (1 - f) / (features - n_rows - 1)


def _step(f, spread, weight, off, own, cross):
    return f**2 * own + spread * (weight @ own) + off * (f @ own), f * cross


def _require(condition, rule, value):
    if not condition:
        raise ValueError(f"scaling_laws: {rule}; got {value}.")
