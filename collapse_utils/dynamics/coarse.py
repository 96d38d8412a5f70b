"""Least squares learned from inputs that are stored with errors: single steps, and students of the feedback loop."""

from dataclasses import dataclass

import numpy as np

from collapse_utils.dynamics.compression import dithered
from collapse_utils.dynamics.descent import LeastSquares, Quadratic
from collapse_utils.rows import Ensemble


def stored(x: np.ndarray, bound: float, rng: np.random.Generator) -> np.ndarray:
    """Return inputs x (…) as the backward pass finds them: rounded with dither, to within ± bound; as they are for a bound of 0."""
    if bound == 0:
        return x
    codes, dither = dithered(x, 2 * bound, int(rng.integers(2**40)))
    return codes * (2 * bound) - dither


def step(x: np.ndarray, e: np.ndarray, bound: float, rng: np.random.Generator) -> Quadratic:
    """Return the loss of the rows x (R, N, d) with labels e (R, N), as loss of descent does, with gradients from stored inputs."""
    kept = stored(x, bound, rng)
    return Quadratic(kept.mT @ x / x.shape[1], np.vecmat(e, kept) / x.shape[1])


def widened(bed: LeastSquares, rows: int, steps: int, rates: np.ndarray, bound: float, rng: np.random.Generator) -> list[float]:
    """Return the mean gap after full-batch steps on stored inputs, as the bed's widening, at each rate, over 4,000 training sets."""
    x, e = bed.draw(4000, rows, rng)
    run = [step(x, e, bound, rng) for _ in range(steps)]
    return [bed.widening(x, e, run, rate) for rate in rates]


@dataclass(frozen=True)
class Student:
    """Weights (R, d) from the truth, which label new inputs of a test bed with its noise."""

    bed: LeastSquares
    weights: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n labelled inputs for each of R students: (n, R, d) and (n, R)."""
        x, e = self.bed.draw(len(self.weights), n, rng)
        return Ensemble((x.swapaxes(0, 1), (np.vecdot(x, self.weights[:, None]) + e).T))


@dataclass(frozen=True)
class OnePass:
    """Learning by one pass of descent over the rows in order, in batches, from the bed's start, on stored inputs."""

    bed: LeastSquares
    rate: float
    batch: int
    bound: float

    def fit(self, data: Ensemble, rng: np.random.Generator) -> Student:
        """Return the student of rows (n, R, d) with labels (n, R)."""
        x, y = (part.swapaxes(0, 1) for part in data.rows)
        theta, kept = np.broadcast_to(self.bed.start, (len(x), x.shape[2])), stored(x, self.bound, rng)
        for i in range(0, x.shape[1], self.batch):
            now = slice(i, i + self.batch)
            off = np.vecdot(x[:, now], theta[:, None]) - y[:, now]
            theta = theta - self.rate / self.batch * np.vecmat(off, kept[:, now])
        return Student(self.bed, theta)
