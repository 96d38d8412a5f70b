"""Greatest common divisors by a small transformer: pairs written in a base, learned from correct or from a model's answers.

The task of Charton (2024, 2308.15594) and of Dohmatob (2024, 2402.07043, App. G), at the size of a laptop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Answers = Callable[[np.ndarray], np.ndarray]  # pairs (n, 2) → classes (n,)


@dataclass(frozen=True)
class Task:
    """Pairs of numbers below base**digits; the classes are the divisors 1 … largest, and 0 for a larger one."""

    base: int = 12
    digits: int = 3
    largest: int = 100

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n pairs, uniform over those that are not held out, (n, 2)."""
        found = rng.integers(1, self.base**self.digits, (2 * n, 2))
        return found[~_held_out(found)][:n]

    def correct(self, pairs: np.ndarray) -> np.ndarray:
        """Return the classes of pairs, (n,): their greatest common divisors."""
        found = np.gcd(pairs[:, 0], pairs[:, 1])
        return np.where(found <= self.largest, found, 0)

    def exam(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n held-out pairs of each divisor, uniform among these, with replacement: (largest, n, 2)."""
        papers = []
        for k in range(1, self.largest + 1):
            pairs = k * rng.integers(1, -(-(self.base**self.digits) // k), (40 * n, 2))
            pairs = pairs[_held_out(pairs) & (np.gcd(pairs[:, 0], pairs[:, 1]) == k)]
            if not len(pairs):
                raise ValueError(f"exam: too few pairs below {self.base}**{self.digits} have the divisor {k}; use more digits.")
            papers.append(np.resize(pairs, (n, 2)))
        return np.stack(papers)


class Encoder(torch.nn.Module):
    """One pre-norm attention layer over the digits of both numbers, averaged, then a linear layer over the classes."""

    def __init__(self, task: Task, width: int = 32, heads: int = 4):
        super().__init__()
        self.digit = torch.nn.Embedding(task.base, width)
        self.place = torch.nn.Parameter(torch.randn(2 * task.digits, width) / 2)
        self.layer = torch.nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.read = torch.nn.Sequential(torch.nn.LayerNorm(width), torch.nn.Linear(width, task.largest + 1))
        self.register_buffer("powers", torch.tensor([task.base**i for i in range(task.digits)]), persistent=False)

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, largest + 1) of pairs (n, 2)."""
        digits = (pairs[:, :, None] // self.powers % self.digit.num_embeddings).flatten(1)  # (n, 2 digits)
        return self.read(self.layer(self.digit(digits) + self.place).mean(dim=1))


@dataclass(frozen=True)
class Student:
    """A trained encoder: calling it with pairs gives its answers; marks (times, largest) is its share right by divisor."""

    model: torch.nn.Module
    marks: np.ndarray

    def __call__(self, pairs: np.ndarray) -> np.ndarray:
        return _answers(self.model, pairs)


def learn(
    task: Task,
    answer: Answers,
    times: np.ndarray,
    exam: np.ndarray,
    rng: np.random.Generator,
    rate: float = 4e-3,
    batch: int = 64,
) -> Student:
    """Train an encoder from scratch on fresh pairs with these answers; it sits the exam after each of the times (examples).

    AdamW at a constant rate; the one examined, and returned, is the moving average of the weights over about 500 steps.
    Raises ValueError unless the times ascend from a batch on.
    """
    steps = np.asarray(times) // batch
    if not (len(steps) and steps[0] >= 1 and (np.diff(steps) > 0).all()):
        raise ValueError(f"learn: times must ascend by batches of {batch} at least; got {list(map(int, times))}.")
    torch.manual_seed(int(rng.integers(2**63)))
    model = Encoder(task)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.998))
    adam = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)
    marks = []
    for step in range(1, steps[-1] + 1):
        pairs = task.draw(batch, rng)
        F.cross_entropy(model(torch.from_numpy(pairs)), torch.from_numpy(answer(pairs))).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        averaged.update_parameters(model)
        if step in steps:
            marks.append([(_answers(averaged, paper) == k).mean() for k, paper in enumerate(exam, start=1)])
    return Student(averaged, np.array(marks))


def mixed(task: Task, teacher: Answers, share: float, rng: np.random.Generator) -> Answers:
    """Return answers of which each is the teacher's with probability `share`, and correct otherwise."""

    def answer(pairs):
        found, taught = task.correct(pairs), rng.random(len(pairs)) < share
        if taught.any():
            found[taught] = teacher(pairs[taught])
        return found

    return answer


def _answers(model: torch.nn.Module, pairs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(pairs)).argmax(dim=-1).numpy()


def _held_out(pairs: np.ndarray) -> np.ndarray:
    """About an eighth of all pairs, by a hash that mixes both numbers and favours no divisor."""
    return (pairs[:, 0] * 7919 + pairs[:, 1] * 104729) % 97 % 8 == 0
