"""Softmax networks in the feedback loop: the same start at every fit, and the same inputs labelled again by the last fit."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from collapse_utils.dynamics import softmax
from collapse_utils.dynamics.mlp import Networks
from collapse_utils.rows import Ensemble


def tensors(data: Ensemble) -> tuple[Tensor, ...]:
    """Return inputs and labels of a data set with rows (N, R, …), networks first: (R, N, n_in) and (R, N)."""
    return tuple(torch.tensor(part).movedim(1, 0) for part in data.rows)  # copies: a pool's rows are read-only


def data(x: Tensor, y: Tensor) -> Ensemble:
    """Return inputs (R, N, n_in) and labels (R, N) as a data set of the loop, rows first."""
    return Ensemble((x.movedim(1, 0).numpy(), y.movedim(1, 0).numpy()))


def batches(n: int, steps: int, batch: int, rng: np.random.Generator) -> Tensor:
    """Return the row numbers of each step's batch, (steps, batch): a new permutation of the n rows every epoch."""
    epochs = [rng.permutation(n) for _ in range(-(-steps * batch // n))]
    return torch.as_tensor(np.concatenate(epochs)[: steps * batch].reshape(steps, batch))


@dataclass(frozen=True)
class Learner:
    """R networks with one start for all fits, trained for so many steps; sampled: label by a draw, else the likeliest class."""

    starts: Networks
    rate: float
    steps: int
    batch: int
    sampled: bool = True

    def fit(self, data: Ensemble, rng: np.random.Generator) -> "Labeller":
        """Return the networks after stochastic gradient descent on the data from the start."""
        order = batches(len(data.rows[0]), self.steps, self.batch, rng)
        return Labeller(softmax.descend(self.starts, *tensors(data), self.rate, order), data.rows[0], self.sampled)


@dataclass(frozen=True)
class Labeller:
    """Fitted networks, and the inputs (N, R, n_in) that they label."""

    networks: Networks
    inputs: np.ndarray
    sampled: bool

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return the first n inputs with labels drawn from the softmax (by the Gumbel trick), or its most probable class."""
        scores = softmax.logits(self.networks, torch.tensor(self.inputs[:n]).movedim(1, 0))
        noise = torch.as_tensor(rng.gumbel(size=scores.shape)) if self.sampled else 0.0
        return Ensemble((self.inputs[:n], (scores + noise).argmax(-1).T.numpy()))
