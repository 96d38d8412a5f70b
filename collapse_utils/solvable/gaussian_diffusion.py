"""A diffusion model of a Gaussian in the loop: the linear denoiser, whose fit, loss and samples are known, many replicates at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble
from collapse_utils.schedule import Schedule, sample


@dataclass(frozen=True)
class GaussianDenoiser:
    """R fitted models: data were scaled by mean (R,) and spread (R,); the best linear denoiser of scaled rows is σ_k x.

    eta = 1 samples ancestrally, eta = 0 deterministically.
    """

    mean: np.ndarray
    spread: np.ndarray
    schedule: Schedule
    eta: float

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n rows for every replicate, (n, R), by the sampler of the schedule, scaled back."""
        shape = (n, len(self.mean))
        sigma = self.schedule.sigma
        rows = sample(
            lambda x, k: sigma[k] * x, rng.standard_normal(shape), self.schedule, self.eta, lambda: rng.standard_normal(shape)
        )
        return Ensemble(self.mean + self.spread * rows)

    @property
    def variance(self) -> np.ndarray:
        """The variance of the training data, (R,)."""
        return self.spread**2


def fit(schedule: Schedule, eta: float) -> Callable[[Ensemble, np.random.Generator], GaussianDenoiser]:
    """Return fit(data, rng): the denoiser a + bx of least squared error over all noise, on scaled rows (n, R).

    Scaled to mean 0 and variance 1 (divisor n), E[εx] = σ and E[x²] = 1, hence a = 0 and b = σ_k at every level.
    """

    def fit_rows(data: Ensemble, rng: np.random.Generator) -> GaussianDenoiser:
        mean, spread = data.rows.mean(axis=0), data.rows.std(axis=0)
        if not (spread > 0).all():
            raise ValueError(f"fit: rows must vary; got a replicate with spread {spread.min()}.")
        return GaussianDenoiser(mean, spread, schedule, eta)

    return fit_rows


def sampled(guess: Callable, schedule: Schedule, eta: float, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return samples of the data from noise x, of its shape, by a denoiser that is known: guess(x, α) is E[ε|x] at that level."""
    return sample(lambda x, k: guess(x, schedule.alpha[k]), x, schedule, eta, lambda: rng.standard_normal(np.shape(x)))


def squared_errors(guess: Callable, clean: np.ndarray, schedule: Schedule, levels, noise: np.ndarray) -> np.ndarray:
    """Return (ε − ε̂)² at every level, (n, len(levels)), of rows clean (n,) drowned in noise (n,); guess as in sampled."""
    alpha, sigma = schedule.alpha[levels, None], schedule.sigma[levels, None]
    return ((noise - guess(alpha * clean + sigma * noise, alpha)) ** 2).T


def bond_targets(schedule: Schedule, levels, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return how long the target of a denoiser of bonds is along the noisy bond, over its length, (n, 2 len(levels)).

    Bonds of length 1 and random direction in space. At every level: the raw bond, then the bond turned to lie along the noisy one.
    """
    bond, targets = _unit(rng.standard_normal((n, 3))), []
    for k in levels:
        along = _unit(schedule.alpha[k] * bond + schedule.sigma[k] * rng.standard_normal(bond.shape))
        targets += [(bond * along).sum(axis=1), (along * along).sum(axis=1)]
    return np.column_stack(targets)


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)
