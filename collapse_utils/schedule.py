"""Denoising diffusion: the noise schedule, the weights of its loss, and both samplers; for arrays and tensors alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """x_k = α_k x_0 + σ_k ε with σ_k² = 1 − α_k², k = 0 … K: alpha (K + 1,) falls from nearly 1 to nearly 0."""

    alpha: np.ndarray

    def __post_init__(self):
        if not (np.diff(self.alpha) < 0).all() or not 0 < self.alpha[-1] < self.alpha[0] < 1:
            raise ValueError(f"schedule: α must fall, between 1 and 0; got {self.alpha[0]:.4g} … {self.alpha[-1]:.4g}.")

    @property
    def sigma(self) -> np.ndarray:
        """The noise levels σ_k, (K + 1,)."""
        return np.sqrt(1 - self.alpha**2)

    @property
    def steps(self) -> int:
        """K, the number of steps from k = K to k = 0."""
        return len(self.alpha) - 1

    @property
    def snr(self) -> np.ndarray:
        """The ratio of signal to noise α_k²/σ_k², (K + 1,)."""
        return self.alpha**2 / self.sigma**2

    @property
    def weights(self) -> np.ndarray:
        """γ_k = ½(SNR_{k−1}/SNR_k − 1), k = 1 … K: the variational weights of ‖ε − ε̂‖² (Xu 2022, 2203.02923, Prop. 3)."""
        return (self.snr[:-1] / self.snr[1:] - 1) / 2

    def every(self, steps: int) -> "Schedule":
        """Return the schedule with fewer steps, evenly spaced in k, both ends kept; steps must divide K."""
        if not 1 <= steps <= self.steps or self.steps % steps:
            raise ValueError(f"schedule: the steps must divide {self.steps}; got {steps}.")
        return Schedule(self.alpha[:: self.steps // steps])

    def spaced(self, n: int) -> list[int]:
        """Return n levels k, evenly spaced over 1 … K, the last one K."""
        return np.linspace(self.steps / n, self.steps, n).round().astype(int).tolist()


def polynomial(steps: int, precision: float = 1e-5) -> Schedule:
    """Return α_k² = (1 − 2s)(1 − (k/K)²)² + s with s the precision (Hoogeboom 2022, 2203.17003, App. B)."""
    return Schedule(np.sqrt((1 - 2 * precision) * (1 - (np.arange(steps + 1) / steps) ** 2) ** 2 + precision))


def sigmoid(steps: int, least: float = 1e-7, most: float = 2e-3) -> Schedule:
    """Return α_k² = ∏_{j≤k}(1 − β_j), β rising as a sigmoid over [−6, 6] (Xu 2022, 2203.02923, released configuration).

    α has one entry for each β: K = steps − 1.
    """
    beta = least + (most - least) / (1 + np.exp(-np.linspace(-6, 6, steps)))
    return Schedule(np.sqrt(np.cumprod(1 - beta)))


def angular(steps: int, margin: float = 1e-3) -> Schedule:
    """Return α_k = cos θ_k with angles evenly spaced between margin and π/2 − margin (ours; near Nichol 2021's cosine)."""
    return Schedule(np.cos(np.linspace(margin, np.pi / 2 - margin, steps + 1)))


def sample(denoise: Callable, x: Any, schedule: Schedule, eta: float, fresh: Callable[[], Any] | None = None) -> Any:
    """Return samples of the data, from noise x: K steps and a last one to σ = 0 (Song 2021, 2010.02502, Eq. 12).

        x̂ = (x − σ_k ε̂)/α_k,   x ← α_s x̂ + √(σ_s² − ς²) ε̂ + ς z,   ς² = η² (σ_s/σ_k)² (1 − α_k²/α_s²)

    denoise(x, k) is ε̂ at step k of the schedule; fresh() draws z like x. eta = 1 is ancestral, eta = 0 deterministic.
    Raises ValueError unless 0 ≤ eta ≤ 1.
    """
    if not 0 <= eta <= 1 or (eta > 0 and fresh is None):
        raise ValueError(f"sample: eta must lie between 0 and 1, with fresh() to draw noise where it is not 0; got {eta}.")
    alpha, sigma = np.append(1.0, schedule.alpha).tolist(), np.append(0.0, schedule.sigma).tolist()
    for k in range(schedule.steps, -1, -1):
        a, s, b, r = alpha[k + 1], sigma[k + 1], alpha[k], sigma[k]
        spread = eta * r / s * (1 - (a / b) ** 2) ** 0.5
        guess = denoise(x, k)
        x = (b / a) * (x - s * guess) + (r**2 - spread**2) ** 0.5 * guess
        if spread > 0:
            x = x + spread * fresh()
    return x


def evaluate(error: Callable, schedule: Schedule, steps: int = 50) -> Any:
    """Return the mean of error(k) over `steps` levels k = 1 … K, evenly spaced: the test loss, every weight being 1.

    error(k) is the mean of ‖ε − ε̂‖² a coordinate at level k of the schedule.
    """
    return np.mean([error(k) for k in schedule.spaced(steps)], axis=0)
