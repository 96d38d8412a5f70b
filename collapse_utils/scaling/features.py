"""Random features of Gaussian latents, drawn by the laws of small matrices: Maloney, Roberts, Sully (2022), 2210.16859; loops are ours.

The set-up is that of theory.scaling_laws. Nothing here draws features: what a fit reads of them is a Wishart matrix of the smaller
count, drawn by its triangular root (Bartlett 1933), or one chi-squared number.
"""

from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble
from collapse_utils.scaling.memory import overlaps
from collapse_utils.scaling.ridge import ridge


def unlearned(eigenvalues: np.ndarray, count: int, rng) -> np.ndarray:
    """Return tr Λ(I − P_k) for the projectors P_k on the first k = 1 … count of random rows √λ g: (count,), one draw.

    Over 2M it is the loss of k rows without ridge and noise and with unlimited features, averaged over the truth. Raises
    ValueError for count beyond the latents.
    """
    basis, _ = _narrow(eigenvalues, count, rng)
    return eigenvalues.sum() - np.cumsum(eigenvalues @ basis**2)


def losses(eigenvalues: np.ndarray, n_features: int, n_rows: int, penalties, rng) -> np.ndarray:
    """Return signal and noise part of the loss at ridge penalties (k,), averaged over truth, noise and test rows: (2, k), one draw.

    With m = min(N, T), M×m = QR the rows (or the features on whitened latents), W Wishart(max) and H = (W + γM(RRᵀ)⁻¹)⁻¹, all m×m:
    signal = [‖Λ^½Q(1 − WH)‖² + ρ(1 + tr HWH)]/2M, ρ = tr Λ(1 − QQᵀ), whichever count is the smaller (ours). Noise: ½ tr HWH
    for N < T, ½[‖Λ^½QWJ‖² + ρ tr JᵀWJ] with J = HR⁻ᵀ for T ≤ N. Raises ValueError for counts beyond the latents, penalties below 0.
    """
    latents, m, most = len(eigenvalues), min(n_features, n_rows), max(n_features, n_rows)
    _require(most <= latents, f"features and rows must be at most the {latents} latents", (n_features, n_rows))
    _require(np.min(penalties) >= 0, "the ridge penalty must be at least 0", np.min(penalties))
    basis, upper = _narrow(eigenvalues, m, rng)
    inner = basis.T * eigenvalues @ basis  # QᵀΛQ
    rest = eigenvalues.sum() - inner.trace()
    wishart, inverse = most * overlaps(m, most, rng), np.linalg.inv(upper)
    parts = []
    for penalty in np.ravel(penalties):
        h = np.linalg.inv(wishart + penalty * latents * inverse.T @ inverse)
        missed, gain = np.eye(m) - wishart @ h, (h @ wishart * h).sum()
        signal = (inner * (missed @ missed.T)).sum() + rest * (1 + gain)
        noise = gain
        if n_rows <= n_features:
            j = h @ inverse.T
            learned = wishart @ j
            noise = (inner * (learned @ learned.T)).sum() + rest * (j * learned).sum()
        parts.append([signal / (2 * latents), noise / 2])
    return np.transpose(parts)


@dataclass(frozen=True)
class Students:
    """R students of Gaussian rows with variances (d,) or (R, d); a data set is an Ensemble of (x, y) rows.

    fit minimises ‖Xw − y‖² + penalty·‖w‖²; without a penalty and with fewer rows than d it interpolates with the least norm.
    features: random features of its own that every interpolator has, drawn anew and integrated out. noise: of its labels.
    """

    variances: np.ndarray
    replicates: int
    noise: float = 0.0
    penalty: float = 0.0
    features: float = np.inf

    def fit(self, data: Ensemble, rng) -> "Student":
        """Return the students of labelled rows, one a replicate. Raises ValueError for a penalty below 0 or too few features."""
        _require(self.penalty >= 0, "the ridge penalty must be at least 0", self.penalty)
        x, y = (part.swapaxes(0, 1) for part in data.rows)
        n = y.shape[1]
        _require(self.features > n, f"features must exceed the {n} rows of an interpolator", self.features)
        if np.isinf(self.features):
            return Student(self, ridge(x, y[..., None], self.penalty / n)[..., 0])
        free = rng.standard_normal((self.replicates, x.shape[2]))  # what random features add off the rows
        seen = np.stack([y, np.matvec(x, free)], axis=-1)
        weights, off = np.moveaxis(ridge(x, seen, 0.0), -1, 0)
        length = np.linalg.norm(weights, axis=1) / np.sqrt(rng.chisquare(self.features - n + 1, self.replicates))
        return Student(self, weights + length[:, None] * (free - off))


@dataclass(frozen=True)
class Student:
    """Weights w (R, d); `extra` is the variance (R,) that labels have besides the students' own noise."""

    of: Students
    w: np.ndarray
    extra: np.ndarray | float = 0.0

    def sample(self, n: int, rng) -> Ensemble:
        """Return n new rows (x, y) for every replicate."""
        x = rng.standard_normal((n, self.of.replicates, self.w.shape[1]))
        x *= np.sqrt(self.of.variances)
        y = np.einsum("nrd,rd->nr", x, self.w)
        spread = np.sqrt(self.of.noise**2 + self.extra) * np.ones(self.of.replicates)
        return Ensemble((x, y + spread * rng.standard_normal(y.shape) if spread.any() else y))


def projected(eigenvalues: np.ndarray, n_features: int, replicates: int, rng, chunk: int = 5000):
    """Return variances (R, N), best weights (R, N) and unresolved variance (R,) of random truths on N fixed random features.

    In the eigenbasis of the features' covariance UΛUᵀ: there a loop with fixed features needs no latents any more. Drawn
    by `chunk` latents at a time. Raises ValueError for more features than latents.
    """
    latents, found = len(eigenvalues), []
    _require(n_features <= latents, f"features must be at most the {latents} latents", n_features)
    for _ in range(replicates):
        covariance, moment, power = np.zeros((n_features, n_features)), np.zeros(n_features), 0.0
        for lam in np.split(eigenvalues, range(chunk, latents, chunk)):
            u, w = (rng.standard_normal(shape) / np.sqrt(latents) for shape in ((n_features, len(lam)), len(lam)))
            covariance += u * lam @ u.T
            moment += u @ (lam * w)
            power += lam @ w**2
        values, basis = np.linalg.eigh(covariance)
        best = basis.T @ moment / values
        found.append((values, best, max(power - values @ best**2, 0.0)))
    return tuple(np.array(part) for part in zip(*found))


def _narrow(eigenvalues, count, rng):
    """Q (M, m) and R (m, m) of random rows √λ g (m, M), transposed."""
    _require(1 <= count <= len(eigenvalues), f"the smaller count must lie between 1 and the {len(eigenvalues)} latents", count)
    return np.linalg.qr(np.sqrt(eigenvalues)[:, None] * rng.standard_normal((len(eigenvalues), count)))


def _require(condition, rule, value):
    if not condition:
        raise ValueError(f"features: {rule}; got {value}.")
