"""Molecule diffusion in the loop: conformers drawn for every slot of the real data, by an equivariant denoiser of the graph."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collapse_utils import training
from collapse_utils.molecules.conformers import MoleculeError, Molecules
from collapse_utils.molecules.denoiser import Denoiser, centred
from collapse_utils.schedule import Schedule, polynomial, sample
from collapse_utils.training import Recipe, order, sha256, train

RECIPE = Recipe(rate=2e-2, batch=64, decay=0.0)
LEVELS = polynomial(1000)
Rows = tuple[np.ndarray, np.ndarray]  # molecule (n,), places (n, N, 3) in Å


@dataclass(frozen=True)
class Graphs:
    """The molecules of a data set as tensors; scale is the root mean square coordinate of the real places, in Å."""

    molecules: Molecules
    scale: float
    device: str = "cpu"

    def tensors(self, owner: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return features (B, n, a), edges (B, n, n, e), mask (B, n, 1), cut to the largest molecule of the batch."""
        m = self.molecules
        n = int((m.numbers[owner] > 0).sum(axis=1).max())
        arrays = m.features[owner, :n], m.edges[owner, :n, :n], (m.numbers[owner, :n] > 0)[..., None].astype(np.float32)
        return tuple(torch.from_numpy(array).to(self.device) for array in arrays)

    def sizes(self, owner: np.ndarray) -> np.ndarray:
        """Return the number of atoms, (B,)."""
        return (self.molecules.numbers[owner] > 0).sum(axis=1)

    def check(self, rows: Rows, what: str) -> None:
        """Raise MoleculeError, with the name of the molecule, where a coordinate is no number."""
        broken = np.flatnonzero(~np.isfinite(rows[1]).all(axis=(1, 2)))
        if len(broken):
            name = self.molecules.names[rows[0][broken[0]]]
            raise MoleculeError(f"molecules: {what} must be numbers; got others for {name} ({len(broken)} conformers).")


@dataclass
class Diffusion:
    """A trained model: sample(n, rng) draws a conformer for each of the first n slots; losses (steps,) of its training."""

    network: Denoiser
    graphs: Graphs
    slots: np.ndarray
    schedule: Schedule
    steps: int
    eta: float
    losses: np.ndarray | None = None
    batch: int = 64

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """Return rows: molecule (n,) of the slots, which are the real data's, and places (n, N, 3) in Å."""
        return self.draw(self.slots[:n], rng)

    def draw(self, owner: np.ndarray, rng: np.random.Generator) -> Rows:
        """Return one conformer for each entry of owner, batched by size. Raises MoleculeError for one that is no number."""
        places = np.zeros((len(owner), self.graphs.molecules.numbers.shape[1], 3), np.float32)
        by_size = np.argsort(self.graphs.sizes(owner), kind="stable")
        for part in np.split(by_size, range(self.batch, len(owner), self.batch)):
            made = self._reverse(owner[part], rng)
            places[part, : made.shape[1]] = made
        self.graphs.check((owner, places), "sampled coordinates")
        return owner, places

    def _reverse(self, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        graph, coarse = self.graphs.tensors(owner), self.schedule.every(self.steps)
        with torch.inference_mode():

            def fresh():
                noise = rng.standard_normal((*graph[2].shape[:2], 3), dtype=np.float32)
                return centred(torch.from_numpy(noise).to(self.graphs.device), graph[2])

            made = sample(denoiser(self.network, coarse, graph), fresh(), coarse, self.eta, fresh)
            return (self.graphs.scale * made).cpu().numpy()

    def levels(self, rows: Rows, steps: int = 50, draws: int = 1) -> np.ndarray:
        """Return the mean of ‖ε − ε̂‖²/3(n − 1) over rows at `steps` evenly spaced levels, (steps,); 1 is a guess of no noise.

        The noise is the same for every model, so that models are compared on common random numbers.
        """
        generator, n = torch.Generator().manual_seed(0), len(rows[0])
        parts = np.split(np.arange(n), range(self.batch, n, self.batch))

        def error(part, k):
            batch = rows[0][part], rows[1][part]
            found = errors(self.network, self.graphs, self.schedule, batch, np.full(len(part), k), generator)
            return float(found.double().sum())

        with torch.inference_mode():
            sums = [sum(error(part, k) for _ in range(draws) for part in parts) for k in self.schedule.spaced(steps)]
        return np.array(sums) / (draws * n)

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses into a folder (safetensors)."""
        training.save(self.network, self.losses, folder)


def denoiser(network: Denoiser, schedule: Schedule, graph: tuple[torch.Tensor, ...]) -> Callable:
    """Return denoise(x, k) for sample: the network's guess of the noise at level k of a schedule, for one batch of graphs."""

    def denoise(x, k):
        sigma = torch.full((len(x),), schedule.sigma[k], dtype=x.dtype, device=x.device)
        return network(x, sigma, *graph)

    return denoise


def errors(network: Denoiser, graphs: Graphs, schedule: Schedule, rows: Rows, k: np.ndarray, generator: torch.Generator) -> Any:
    """Return ‖ε − ε̂‖²/3(n − 1) of every row (B,) at levels k (B,), the noise being free of the centre of mass."""
    atoms, edges, mask = graphs.tensors(rows[0])
    n, device = mask.shape[1], graphs.device
    alpha, sigma = (torch.from_numpy(v[k].astype(np.float32)).to(device) for v in (schedule.alpha, schedule.sigma))
    x = centred(torch.from_numpy(np.ascontiguousarray(rows[1][:, :n])).to(device) / graphs.scale, mask)
    noise = centred(torch.randn(x.shape, generator=generator, device=generator.device).to(device), mask)
    guess = network(alpha[:, None, None] * x + sigma[:, None, None] * noise, sigma, atoms, edges, mask)
    return ((noise - guess.float()) ** 2).sum((1, 2)) / (3 * (mask.sum((1, 2)) - 1))  # (B,)


@dataclass(frozen=True)
class DiffusionFit:
    """fit(data, rng) for feedback_loop: a fresh denoiser trained for n_steps on rows; load(folder) reads one back.

    slots (n,), the molecules of the real data, are what a model samples for; steps and eta are the sampler's; checkpoint, a file,
    keeps the state of a fit that may be killed. A fit raises MoleculeError for coordinates that are no numbers, or too few rows.
    """

    graphs: Graphs
    slots: np.ndarray
    n_steps: int
    recipe: Recipe = RECIPE
    hidden: int = 32
    layers: int = 2
    schedule: Schedule = LEVELS
    steps: int = 50
    eta: float = 1.0
    checkpoint: Path | None = None

    def __call__(self, rows: Rows, rng: np.random.Generator) -> Diffusion:
        self.graphs.check(rows, "training coordinates")
        if len(rows[0]) < self.recipe.batch:
            raise MoleculeError(f"fit: must have at least a batch of {self.recipe.batch} conformers; got {len(rows[0])}.")
        seed = int(rng.integers(2**62))
        recipe = replace(self.recipe, epochs=self.n_steps * self.recipe.batch / len(rows[0]))
        batches, network = order(self.graphs.sizes(rows[0]), recipe, rng), self._fresh(seed)
        generator = torch.Generator()

        def loss(network, index, step):
            generator.manual_seed(seed + step)  # the noise of a step depends on its number alone: a resumed run has it again
            spread = (torch.rand(len(index), generator=generator) + torch.arange(len(index))) / len(index)  # one level a stratum
            k = (spread * (self.schedule.steps + 1)).long().clamp(max=self.schedule.steps).numpy()
            found = errors(network, self.graphs, self.schedule, (rows[0][index], rows[1][index]), k, generator)
            return found.sum(), len(index)

        key = f"{seed} {sha256(rows[0])} {sha256(rows[1])}"
        losses = train(network, loss, batches, recipe, self.checkpoint, key=key)
        return self._model(network, losses)

    def load(self, folder: Path) -> Diffusion:
        """Return the model that Diffusion.save wrote."""
        network = self._fresh(0)
        return self._model(network, training.load(network, folder))

    def _model(self, network: Denoiser, losses: np.ndarray) -> Diffusion:
        return Diffusion(network.eval(), self.graphs, self.slots, self.schedule, self.steps, self.eta, losses)

    def _fresh(self, seed: int) -> Denoiser:
        torch.manual_seed(seed)
        m = self.graphs.molecules
        return Denoiser(m.features.shape[-1], m.edges.shape[-1], self.hidden, self.layers).to(self.graphs.device)
