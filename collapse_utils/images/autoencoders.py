"""Small autoencoders, one a seed, side by side in one model: every weight has the seed as its first axis."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from collapse_utils.rows import Ensemble


class Network(torch.nn.Module):
    """Tanh layers D → hidden → hidden → k → hidden → hidden → D for each of R seeds; the code and the output are linear.

    Weights and shifts start as those of torch.nn.Linear. Without shifts the network is odd, and on data that are their own
    mirror image it stays odd: an artefact, with two gaps on a circle.
    """

    def __init__(self, seeds: int, ambient: int, latent: int, hidden: int = 48):
        super().__init__()
        self.seeds, self.latent = seeds, latent
        sizes = [ambient, hidden, hidden, latent, hidden, hidden, ambient]
        self.weights = torch.nn.ParameterList(_uniform((seeds, a, b), a) for a, b in pairwise(sizes))
        self.shifts = torch.nn.ParameterList(_uniform((seeds, 1, b), a) for a, b in pairwise(sizes))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Return the codes (R, n, k) of points (R, n, D)."""
        return self._through(x, 0)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return points (R, n, D) at codes (R, n, k)."""
        return self._through(z, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what comes back of points (R, n, D)."""
        return self.decode(self.encode(x))

    def _through(self, x, start):
        for i in range(start, start + 3):
            x = torch.baddbmm(self.shifts[i], x, self.weights[i])
            x = torch.tanh(x) if i < start + 2 else x
        return x


@dataclass(frozen=True)
class Autoencoders:
    """Trained networks, and for each group of them, trained on equally many points, the codes (R, m, k) of these."""

    network: Network
    codes: tuple[torch.Tensor, ...]

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Return what comes back of points (n, D), or (R, n, D) where each network has its own: (R, n, D)."""
        with torch.inference_mode():
            parts = _each(x, self.network.seeds).split(4096, dim=1)
            return torch.cat([self.network(part) for part in parts], dim=1).double().numpy()

    def errors(self, x: np.ndarray) -> np.ndarray:
        """Return the distances (R, n) between points, as reconstruct takes them, and what comes back."""
        return np.linalg.norm(self.reconstruct(x) - x, axis=-1)

    def hardest(self, x: np.ndarray, back: Callable, steps: int = 60, rate: float = 0.01) -> np.ndarray:
        """Return the largest error (R,) of each network, uphill from points (R, n, D); back(x) takes points back to the set."""
        points = _each(x, self.network.seeds).clone().requires_grad_()
        adam, worst = torch.optim.Adam([points], lr=rate), torch.zeros(self.network.seeds)
        for _ in range(steps):
            on = back(points)
            errors = torch.linalg.vector_norm(self.network(on) - on, dim=-1)
            worst = torch.maximum(worst, errors.detach().amax(dim=1))
            (-errors.sum()).backward()
            adam.step()
            adam.zero_grad()
        return worst.double().numpy()

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Ensemble, ...]:
        """Return n points of each network, an Ensemble of (n, R, D) for each group: decoded draws from a kernel density of its codes.

        The kernel is Gaussian, along each axis of the code of Scott's width, the spread times m^(−1/(k + 4)) for m codes.
        """
        drawn = [_kernel(codes, n, rng) for codes in self.codes]
        with torch.inference_mode():
            found = self.network.decode(torch.cat(drawn)).transpose(0, 1).double().numpy()  # (n, R, D)
        ends = np.cumsum([len(codes) for codes in self.codes])[:-1]
        return tuple(Ensemble(part) for part in np.split(found, ends, axis=1))


def train(
    x: np.ndarray | Sequence[np.ndarray],
    latent: int,
    seeds: int,
    rng: np.random.Generator,
    steps: int | Sequence[int] = 1500,
    hidden: int = 48,
    batch: int = 64,
    rate: float = 1e-2,
) -> Autoencoders | list[Autoencoders]:
    """Train R = `seeds` autoencoders on points (n, D), or (R, n, D), by Adam on squared errors, its rate falling as a cosine to zero.

    Points may come in groups (R_1, n_1, D), (R_2, n_2, D), … of R networks in all.
    Where steps are several, in ascending order, returns one Autoencoders for each: all from one descent at a constant rate.
    Raises ValueError unless the latent size is at least 1 and at most the ambient one, and points are at least a batch.
    """
    groups = [_each(x, seeds)] if isinstance(x, np.ndarray) else [_each(part, len(part)) for part in x]
    ambient, n = groups[0].shape[-1], min(part.shape[1] for part in groups)
    if not 1 <= latent <= ambient:
        raise ValueError(f"train: the latent size must be at least 1 and at most the ambient dimension {ambient}; got {latent}.")
    if n < batch:
        raise ValueError(f"train: must have at least a batch of {batch} points; got {n}.")
    torch.manual_seed(int(rng.integers(2**62)))
    network = Network(seeds, ambient, latent, hidden)
    adam = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    stops, kept = np.atleast_1d(steps), []
    for step in range(1, stops[-1] + 1):
        if np.ndim(steps) == 0:
            adam.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / stops[-1])) / 2
        drawn = torch.cat([_draw(part, batch) for part in groups])
        ((network(drawn) - drawn) ** 2).sum(dim=(0, 2)).mean().backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        if step in stops:
            kept.append(_finished(network, groups))
    return kept if np.ndim(steps) else kept[0]


@dataclass(frozen=True)
class Fit:
    """fit(data, rng) for feedback_loop, on Ensembles of points (n_i, R_i, D), a tuple: one fresh autoencoder for each replicate."""

    latent: int
    steps: int = 1500

    def __call__(self, data: tuple[Ensemble, ...], rng: np.random.Generator) -> Autoencoders:
        groups = [part.rows.swapaxes(0, 1) for part in data]
        return train(groups, self.latent, sum(map(len, groups)), rng, self.steps)


def _finished(network, groups):
    """A copy of the networks with the codes of each group; shorter groups are gone round again and cut to length."""
    most = max(part.shape[1] for part in groups)
    padded = torch.cat([part[:, torch.arange(most) % part.shape[1]] for part in groups])
    with torch.no_grad():
        codes = network.encode(padded).split([len(part) for part in groups])
    return Autoencoders(copy.deepcopy(network), tuple(z[:, : part.shape[1]] for z, part in zip(codes, groups, strict=True)))


def _draw(x, n):
    return x[torch.arange(len(x))[:, None], torch.randint(x.shape[1], (len(x), n))]


def _kernel(codes, n, rng):
    r, m, k = codes.shape
    chosen = torch.from_numpy(rng.integers(0, m, (r, n, 1))).expand(-1, -1, k)
    noise = torch.from_numpy(rng.standard_normal((r, n, k), dtype=np.float32))
    return codes.gather(1, chosen) + codes.std(dim=1, keepdim=True) * m ** (-1 / (k + 4)) * noise


def _uniform(shape, fan_in):
    return torch.empty(shape).uniform_(-1, 1) / fan_in**0.5


def _each(x, seeds):
    x = torch.as_tensor(np.asarray(x), dtype=torch.float32)
    return x.expand(seeds, *x.shape) if x.ndim == 2 else x
