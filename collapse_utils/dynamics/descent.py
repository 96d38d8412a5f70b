"""Descent on many small training sets at once, and its limit at a vanishing learning rate.

In least squares all that descent reads of a training set is quadratic: the loss of all rows, that of a batch, and the
trace of the gradients' covariance. Each is a Quadratic, and a run of descent is a list of them, one a step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Quadratic:
    """R functions ½θᵀMθ − m·θ of θ (R, d), up to constants: matrices M (R, d, d) and vectors m (R, d)."""

    matrix: np.ndarray
    vector: np.ndarray

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Return the values at θ, (R,)."""
        return np.vecdot(theta, np.matvec(self.matrix, theta) / 2 - self.vector)

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return the gradients at θ, (R, d)."""
        return np.matvec(self.matrix, theta) - self.vector

    def plus(self, other: "Quadratic", weight: float) -> "Quadratic":
        """Return the sum of this function and `weight` times another."""
        return Quadratic(self.matrix + weight * other.matrix, self.vector + weight * other.vector)


def loss(x: np.ndarray, e: np.ndarray) -> Quadratic:
    """Return the mean of ½(x·θ − e)² over the rows x (R, N, d) with labels e (R, N), for each of R training sets."""
    return Quadratic(x.mT @ x / x.shape[1], np.vecmat(e, x) / x.shape[1])


def covariance_trace(x: np.ndarray, e: np.ndarray) -> Quadratic:
    """Return Tr Ĉ of the rows' gradients x(x·θ − e), with N − 1, as a function of θ; x (R, N, d), e (R, N), N ≥ 2."""
    n, size = x.shape[1], np.vecdot(x, x)  # |x_a|², (R, N)
    if n < 2:
        raise ValueError(f"covariance_trace: a covariance needs at least 2 rows; got {n}.")
    whole = loss(x, e)
    second = Quadratic((size[..., None] * x).mT @ x / n, np.vecmat(size * e, x) / n)  # of ½ mean |g_a|²
    mean = Quadratic(whole.matrix @ whole.matrix, np.matvec(whole.matrix, whole.vector))  # of ½ |mean g_a|²
    difference = second.plus(mean, -1.0)
    return Quadratic(2 * n / (n - 1) * difference.matrix, 2 * n / (n - 1) * difference.vector)


def descend(steps: Iterable[Quadratic], start: np.ndarray, rate: float) -> np.ndarray:
    """Return θ (R, d) after one step θ ← θ − η∇f down each of the functions, from start (d,) or (R, d)."""
    theta = start
    for function in steps:
        theta = theta - rate * function.gradient(theta)
    return theta


@dataclass(frozen=True)
class LeastSquares:
    """Training sets of ℓ = ½(x·θ − e)², x ~ N(0, Λ), e ~ N(0, σ²), in the eigenbasis of Λ, and descent from one start.

    eigenvalues (d,) of Λ, start (d,) from the truth, noise = σ.
    """

    eigenvalues: np.ndarray
    start: np.ndarray
    noise: float

    @property
    def truth(self) -> Quadratic:
        """The expected loss, less its value at the truth."""
        return Quadratic(np.diag(self.eigenvalues), np.zeros(len(self.start)))

    @property
    def slope(self) -> np.ndarray:
        """The gradient of the expected loss at the start, (d,)."""
        return self.eigenvalues * self.start

    def draw(self, r: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return r training sets of n rows: x (r, n, d) and e (r, n)."""
        x = rng.standard_normal((r, n, len(self.start))) * np.sqrt(self.eigenvalues)
        return x, self.noise * rng.standard_normal((r, n))

    def widening(self, x, e, steps: Sequence[Quadratic], rate: float) -> float:
        """Return the mean growth of test minus train loss by some steps of descent.

        Less ηT ∇L·(∇L_A − ∇L), which is zero in the mean and most of the noise.
        """
        whole, theta = loss(x, e), descend(steps, self.start, rate)
        chance = rate * len(steps) * (whole.gradient(self.start) - self.slope) @ self.slope
        grown = [function(theta) - function(self.start) for function in (self.truth, whole)]
        return float(np.mean(grown[0] - grown[1] - chance))

    def repeated(self, x, e, n_batches: int, n_passes: int, reshuffled: bool, rate: float) -> float:
        """Return the mean test loss after M passes over S batches at rate η/M, less that after one pass at η.

        reshuffled: later passes cut the N rows across the batches of the first; N must be S².
        """
        if x.shape[1] != n_batches**2:
            raise ValueError(f"repeated: needs {n_batches**2} rows, as many in a batch as batches; got {x.shape[1]}.")
        batches = [loss(x[:, i::n_batches], e[:, i::n_batches]) for i in range(n_batches)]
        across = [loss(*part) for part in zip(np.split(x, n_batches, axis=1), np.split(e, n_batches, axis=1))]
        later = (across if reshuffled else batches) * (n_passes - 1)
        many, once = descend(batches + later, self.start, rate / n_passes), descend(batches, self.start, rate)
        return float(np.mean(self.truth(many) - self.truth(once)))


def rising_noise(rate: float, n_batches: int, batch: int, theta: float = 1.0, nodes: int = 12) -> float:
    """Return E[L_GD − L_SGD] after S steps on ℓ = ½θ² + e φ(θ), φ' = exp(−θ), e ~ N(0, 1): C = exp(−2θ) grows on the way.

    By Gauss–Hermite quadrature over the S batches' mean labels, nodes^S points.
    """
    z, weights = np.polynomial.hermite_e.hermegauss(nodes)
    means = np.stack(np.meshgrid(*[z / np.sqrt(batch)] * n_batches)).reshape(n_batches, -1)
    chance = np.prod(np.meshgrid(*[weights / weights.sum()] * n_batches), axis=0).ravel()
    ends = []
    for labels in (np.broadcast_to(means.mean(axis=0), means.shape), means):
        t = np.full(means.shape[1], theta)
        for e in labels:
            t = t - rate * (t + e * np.exp(-t))
        ends.append(chance @ t**2 / 2)
    return float(ends[0] - ends[1])


def extrapolated(rates: np.ndarray, values: np.ndarray, within: float = 0.5) -> np.ndarray:
    """Return the limits at zero rate (…) of values (…, k) at k rates, by the polynomial of degree k − 1 through them.

    Raises ValueError where a value at the largest rate is further than `within` from its limit: the expansion in the rate
    does not reach so far.
    """
    rates, values = np.asarray(rates, float), np.asarray(values, float)
    others = [np.delete(rates, i) for i in range(len(rates))]
    limit = values @ [np.prod(rest / (rest - rate)) for rate, rest in zip(rates, others)]  # Lagrange's weights at zero
    off = np.abs(values[..., rates.argmax()] - limit).max()
    if not off <= within:
        raise ValueError(
            f"extrapolated: rates must lie where the expansion holds within {within:g}; at {rates.max():g} it is off by {off:.3g}:"
            f" take rates below about {rates.max() * within / off:.2g}."
        )
    return limit


def reach(rates: np.ndarray, ratios: np.ndarray, within: float = 0.15) -> float:
    """Return the largest of the ascending rates (k,) up to which all measured-to-predicted ratios (k,) are within that of one.

    Raises ValueError where even the smallest rate is outside.
    """
    good = np.logical_and.accumulate(np.abs(np.asarray(ratios) - 1) <= within)
    if not good[0]:
        raise ValueError(
            f"reach: the smallest rate must be within {within:g} of the expansion; {rates[0]:g} is off by {abs(ratios[0] - 1):.3g}:"
            " take smaller rates."
        )
    return float(rates[good.sum() - 1])
