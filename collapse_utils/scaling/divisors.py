"""Greatest common divisors by a small transformer: pairs written in a base, learned from correct or from a model's answers.

The task of Charton (2024, 2308.15594) and of Dohmatob (2024, 2402.07043, App. G), at the size of a laptop.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

Answers = Callable[[np.ndarray], np.ndarray]  # pairs (…, 2) → classes (…)


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
        """Return the classes (…) of pairs (…, 2): their greatest common divisors."""
        found = np.gcd(pairs[..., 0], pairs[..., 1])
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


class Encoders(torch.nn.Module):
    """Networks side by side: one pre-norm attention layer over the digits of both numbers, averaged, then a linear layer.

    Sizes and first weights are those of torch.nn's Embedding, TransformerEncoderLayer and Linear. Every weight has the network as
    its first axis. What comes before the attention depends on a digit and its place alone, and is made once for each of these.
    """

    def __init__(self, task: Task, n_networks: int = 1, width: int = 32, heads: int = 4):
        super().__init__()
        self.base, self.split = task.base, (heads, width // heads)
        weights = {
            "digit": torch.randn(n_networks, 1, task.base, width),
            "place": torch.randn(n_networks, 2 * task.digits, 1, width) / 2,
            "scale": torch.ones(n_networks, 3, 1, width),
            "shift": torch.zeros(n_networks, 3, 1, width),
            **_linear("project", n_networks, width, 3 * width, (1.5 / width) ** 0.5, 0.0),
            **_linear("mix", n_networks, width, width, width**-0.5, 0.0),
            **_linear("up", n_networks, width, 4 * width),
            **_linear("down", n_networks, 4 * width, width),
            **_linear("read", n_networks, width, task.largest + 1),
        }
        self.shapes = {name: value.shape[1:] for name, value in weights.items()}
        self.flat = torch.nn.Parameter(torch.cat([value.flatten(1) for value in weights.values()], dim=1))
        self.register_buffer("powers", torch.tensor([task.base**i for i in range(task.digits)]), persistent=False)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return views of all weights by name, (networks, …) each."""
        parts = self.flat.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {name: part.unflatten(1, shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Return the logits (networks, n, largest + 1) of pairs (networks, n, 2)."""
        (r, n, _), w = pairs.shape, self.weights()
        tokens = (w["digit"] + w["place"]).flatten(1, 2)  # (networks, places × base, width)
        count, width = tokens.shape[1:]
        first = torch.arange(r)[:, None, None] * count + torch.arange(0, count, self.base)
        where = first + (pairs[..., None] // self.powers % self.base).flatten(2)  # (networks, n, places)
        table = torch.cat([_normed(w, 0, "project", tokens), tokens], dim=2).flatten(0, 1)
        *qkv, x = F.embedding(where.flatten(0, 1), table).unflatten(2, (4, *self.split)).unbind(2)  # (networks × n, places, …)
        mixed = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in qkv)).transpose(1, 2)
        x = x.reshape(r, -1, width) + _apply(w, "mix", mixed.reshape(r, -1, width))
        x = x + _apply(w, "down", torch.relu_(_normed(w, 1, "up", x)))
        return _normed(w, 2, "read", x.view(r, n, -1, width).mean(dim=2))


@dataclass(frozen=True)
class Students:
    """Trained networks; marks (students, times, largest) are their shares right by divisor.

    Calling them with pairs (…, 2), divided evenly among them in their order, gives their answers (…).
    """

    model: torch.nn.Module
    marks: np.ndarray

    def __call__(self, pairs: np.ndarray) -> np.ndarray:
        return _answers(self.model, pairs.reshape(len(self.marks), -1, 2)).reshape(pairs.shape[:-1])


def learn(
    task: Task,
    answer: Answers,
    times: np.ndarray,
    exam: np.ndarray,
    rng: np.random.Generator,
    n_students: int = 1,
    rate: float = 4e-3,
    batch: int = 64,
) -> Students:
    """Train networks from scratch, each on fresh pairs with these answers; they sit the exam after each of the times (examples).

    answer takes pairs (students, n, 2). AdamW at a constant rate; those examined, and returned, are the moving averages of the
    weights over about 500 steps. Raises ValueError unless the times ascend from a batch on.
    """
    steps = np.asarray(times) // batch
    if not (len(steps) and steps[0] >= 1 and (np.diff(steps) > 0).all()):
        raise ValueError(f"learn: times must ascend by batches of {batch} at least; got {list(map(int, times))}.")
    torch.manual_seed(int(rng.integers(2**63)))
    model = Encoders(task, n_students)
    averaged = copy.deepcopy(model).requires_grad_(False)
    adam = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0, fused=True)
    papers, marks = np.broadcast_to(exam.reshape(-1, 2), (n_students, exam[..., 0].size, 2)), []
    for step, (pairs, labels) in enumerate(_batches(task, answer, steps[-1], n_students, batch, rng), start=1):
        (F.cross_entropy(model(pairs).flatten(0, 1), labels.flatten(), reduction="sum") / batch).backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        averaged.flat.lerp_(model.flat.detach(), 0.002)
        if step in steps:
            right = _answers(averaged, papers).reshape(-1, *exam.shape[:2]) == np.arange(1, len(exam) + 1)[:, None]
            marks.append(right.mean(axis=2))
    return Students(averaged, np.stack(marks, axis=1))


def _batches(task, answer, steps, n_students, batch, rng, side_by_side=50):
    """Yield pairs (students, batch, 2) and their labels (students, batch), answered for many steps at once."""
    for start in range(0, steps, side_by_side):
        n = min(side_by_side, steps - start) * batch
        pairs = task.draw(n_students * n, rng).reshape(n_students, n, 2)
        labels = torch.from_numpy(answer(pairs))
        yield from zip(torch.from_numpy(pairs).split(batch, dim=1), labels.split(batch, dim=1), strict=True)


def mixed(task: Task, teacher: Answers, share: float | Sequence[float], rng: np.random.Generator) -> Answers:
    """Return answers of which each is the teacher's with probability `share`, and correct otherwise.

    Several shares are those of several students: the answers are then to pairs (students, n, 2). Raises ValueError for a teacher
    of several networks.
    """
    if len(getattr(teacher, "marks", ())) > 1:
        raise ValueError(f"mixed: the teacher must be one network; got {len(teacher.marks)}.")

    def answer(pairs):
        found, taught = task.correct(pairs), rng.random(pairs.shape[:-1]) < np.asarray(share)[..., None]
        if taught.any():
            found[taught] = teacher(pairs[taught])
        return found

    return answer


def _linear(name, count, n_in, n_out, bound=None, bias=None):
    """Weights (count, n_in, n_out) and biases (count, 1, n_out) of linear layers, uniform up to the bounds, 1/√n_in without one."""
    bound, bias = (n_in**-0.5 if largest is None else largest for largest in (bound, bias))
    shapes = {name: (n_in, n_out, bound), f"{name} bias": (1, n_out, bias)}
    return {key: torch.empty(count, a, b).uniform_(-largest, largest) for key, (a, b, largest) in shapes.items()}


def _apply(weights, name, x):
    return torch.baddbmm(weights[f"{name} bias"], x, weights[name])


def _normed(weights, i, name, x):
    """The linear layer after layer normalisation i, whose scale and shift go into its weights."""
    steep, scale, shift = weights[name], weights["scale"][:, i], weights["shift"][:, i]
    bias = torch.baddbmm(weights[f"{name} bias"], shift, steep)
    return torch.baddbmm(bias, F.layer_norm(x, x.shape[-1:]), scale.mT * steep)


def _answers(model: torch.nn.Module, pairs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        parts = torch.tensor(pairs).split(256, dim=1)  # arrays that stay in cache
        return torch.cat([model(part).argmax(dim=-1) for part in parts], dim=1).numpy()


def _held_out(pairs: np.ndarray) -> np.ndarray:
    """About an eighth of all pairs, by a hash that mixes both numbers and favours no divisor."""
    return (pairs[:, 0] * 7919 + pairs[:, 1] * 104729) % 97 % 8 == 0
