"""Molecule diffusion in the loop: conformers drawn for every slot of the real data, by an equivariant denoiser of the graph."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from collapse_utils import store, training
from collapse_utils.molecules.conformers import MoleculeError, Molecules
from collapse_utils.molecules.denoiser import Denoiser, centred
from collapse_utils.schedule import Schedule, polynomial, sample
from collapse_utils.training import Recipe, order, sha256, train

RECIPE = Recipe(rate=2e-2, batch=64, decay=0.0)
LEVELS = polynomial(1000)
Rows = tuple[np.ndarray, np.ndarray]  # molecule (n,), places (n, N, 3) in Å
Batch = tuple[torch.Tensor, tuple[torch.Tensor, ...]]  # places, and features, edges and mask


@dataclass(frozen=True)
class Graphs:
    """The molecules of a data set as tensors; scale is the root mean square coordinate of the real places, in Å."""

    molecules: Molecules
    scale: float
    device: str = "cpu"

    @cached_property
    def columns(self) -> tuple[torch.Tensor, ...]:
        """Features, edges and mask of all molecules, sharing the memory of the arrays: (M, N, a), (M, N, N, e), (M, N, 1)."""
        m = self.molecules
        there = (m.numbers > 0)[..., None].astype(np.float32)
        return tuple(torch.from_numpy(array) for array in (m.features, m.edges, there))

    @cached_property
    def atoms(self) -> np.ndarray:
        """The number of atoms of every molecule, (M,)."""
        return (self.molecules.numbers > 0).sum(axis=1)

    def tensors(self, owner: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return features (B, n, a), edges (B, n, n, e), mask (B, n, 1), cut to the largest molecule of the batch."""
        index, n = torch.from_numpy(np.asarray(owner, np.int64)), int(self.atoms[owner].max())
        atoms, edges, mask = (column.index_select(0, index).to(self.device) for column in self.columns)
        return atoms[:, :n], edges[:, :n, :n], mask[:, :n]

    def batch(self, rows: Rows) -> Batch:
        """Return places (B, n, 3) in the network's unit and the graph that tensors makes of their molecules."""
        graph = self.tensors(rows[0])
        return torch.from_numpy(rows[1]).to(self.device)[:, : graph[2].shape[1]] / self.scale, graph

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
    batch: int = 256  # conformers at once, in sampling and testing

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """Return rows: molecule (n,) of the slots, which are the real data's, and places (n, N, 3) in Å."""
        return self.draw(self.slots[:n], rng)

    def draw(self, owner: np.ndarray, rng: np.random.Generator) -> Rows:
        """Return one conformer for each entry of owner, batched by size. Raises MoleculeError for one that is no number."""
        places = np.zeros((len(owner), self.graphs.molecules.numbers.shape[1], 3), np.float32)
        by_size = np.argsort(self.graphs.atoms[owner], kind="stable")
        for part in np.split(by_size, range(self.batch, len(owner), self.batch)):
            made = self._reverse(owner[part], rng)
            places[part, : made.shape[1]] = made
        self.graphs.check((owner, places), "sampled coordinates")
        return owner, places

    def _reverse(self, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        graph, coarse = self.graphs.tensors(owner), self.schedule.every(self.steps)
        noise = iter(torch.from_numpy(self._noise(owner, rng)).to(self.graphs.device))
        with torch.inference_mode():

            def fresh():
                return centred(next(noise), graph[2])

            made = sample(denoiser(self.network, coarse, graph), fresh(), coarse, self.eta, fresh)
            return (self.graphs.scale * made).cpu().numpy()

    def _noise(self, owner: np.ndarray, rng: np.random.Generator, group: int = 64) -> np.ndarray:
        """What the sampler needs for all its steps, (1 + steps, B, n, 3), drawn a group at a time: `batch`, of whole groups, changes nothing."""
        sizes, draws = self.graphs.atoms[owner], 1 + self.steps * (self.eta > 0)
        noise = np.zeros((draws, len(owner), sizes.max(), 3), np.float32)
        for start in range(0, len(owner), group):
            part = sizes[start : start + group]
            drawn = rng.standard_normal((draws, len(part), part.max(), 3), dtype=np.float32)
            noise[:, start : start + group, : part.max()] = drawn
        return noise

    def levels(self, rows: Rows, steps: int = 50, draws: int = 1) -> np.ndarray:
        """Return the mean of ‖ε − ε̂‖²/3(n − 1) over rows at `steps` evenly spaced levels, (steps,); 1 is a guess of no noise.

        The noise is the same for every model, so that models are compared on common random numbers.
        """
        generator, n = torch.Generator().manual_seed(0), len(rows[0])
        parts = np.split(np.arange(n), range(self.batch, n, self.batch))
        with torch.inference_mode():

            def error(batch, k):
                return float(errors(self.network, self.schedule, batch, np.full(len(batch[0]), k), generator).double().sum())

            sums = np.zeros(steps)
            for part in parts:
                batch = self.graphs.batch((rows[0][part], rows[1][part]))
                sums += [sum(error(batch, k) for _ in range(draws)) for k in self.schedule.spaced(steps)]
        return sums / (draws * n)

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses into a folder (safetensors)."""
        training.save(self.network, self.losses, folder)


def denoiser(network: Denoiser, schedule: Schedule, graph: tuple[torch.Tensor, ...]) -> Callable:
    """Return denoise(x, k) for sample: the network's guess of the noise at level k of a schedule, for one batch of graphs."""

    def denoise(x, k):
        sigma = torch.full((len(x),), schedule.sigma[k], dtype=x.dtype, device=x.device)
        return network(x, sigma, *graph)

    return denoise


def errors(network: Denoiser, schedule: Schedule, batch: Batch, k: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Return ‖ε − ε̂‖²/3(n − 1) of every row (B,) at levels k (B,), the noise being free of the centre of mass."""
    x, (atoms, edges, mask) = batch
    alpha = schedule.alpha[k]
    alpha, sigma = (torch.from_numpy(v.astype(np.float32)).to(x.device) for v in (alpha, np.sqrt(1 - alpha**2)))
    noise = centred(torch.randn(x.shape, generator=generator, device=generator.device).to(x.device), mask)
    guess = network(alpha[:, None, None] * x + sigma[:, None, None] * noise, sigma, atoms, edges, mask)
    return (noise - guess.float()).square().sum((1, 2)) / (3 * (mask.sum((1, 2)) - 1))


def turned(network: Denoiser, graph: tuple[torch.Tensor, ...], rng: np.random.Generator) -> dict[str, float]:
    """Return the largest deviations of ε̂ over its largest value, in the network's precision, for random places.

    moved: a turned and shifted input against the turned output; mirrored: the mirror image's; still: the output as it was
    against the turned one, what a network that heeds no turn has.
    """
    like = network.atoms.weight
    atoms, edges, mask = (t.to(like) for t in graph)
    x = torch.from_numpy(rng.standard_normal((*mask.shape[:2], 3))).to(like) * mask
    turn = torch.from_numpy(Rotation.random(rng=rng).as_matrix()).to(like)
    sigma = torch.linspace(0.05, 0.95, len(x)).to(like)
    with torch.inference_mode():
        plain, moved, mirrored = (network(one, sigma, atoms, edges, mask) for one in (x, x @ turn + 3 * mask, -x))
    pairs = {"moved": (moved, plain @ turn), "mirrored": (mirrored, -plain), "still": (plain, plain @ turn)}
    return {name: float((one - other).abs().max() / plain.abs().max()) for name, (one, other) in pairs.items()}


def turned_samples(model: Diffusion, graph: tuple[torch.Tensor, ...], rng: np.random.Generator) -> tuple[float, float]:
    """Return how far in Å samples from turned noise are from turned samples, and turned samples from the samples; double precision."""
    network, schedule = copy.deepcopy(model.network).double(), model.schedule.every(model.steps)
    graph = tuple(t.to(network.atoms.weight) for t in graph)
    noise = torch.from_numpy(rng.standard_normal((model.steps + 1, *graph[2].shape[:2], 3))).to(graph[2].device) * graph[2]
    turn = torch.from_numpy(Rotation.random(rng=rng).as_matrix()).to(noise.device)

    def made(noise):
        fresh = iter(noise)
        return sample(denoiser(network, schedule, graph), next(fresh), schedule, model.eta, lambda: next(fresh))

    with torch.inference_mode():
        plain, again = (model.graphs.scale * made(one) for one in (noise, noise @ turn))
    return tuple(float((one - plain @ turn).abs().max()) for one in (again, plain))


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
        batches, network = order(self.graphs.atoms[rows[0]], recipe, rng), self._fresh(seed)
        generator = torch.Generator()

        def loss(network, index, step):
            generator.manual_seed(seed + step)  # the noise of a step depends on its number alone: a resumed run has it again
            spread = (torch.rand(len(index), generator=generator) + torch.arange(len(index))) / len(index)  # one level a stratum
            k = (spread * (self.schedule.steps + 1)).long().clamp(max=self.schedule.steps).numpy()
            batch = self.graphs.batch((rows[0][index], rows[1][index]))
            return errors(network, self.schedule, batch, k, generator).sum(), len(index)

        key = f"{seed} {sha256(rows[0])} {sha256(rows[1])}"
        losses = train(network, loss, batches, recipe, self.checkpoint, key=key)
        return self.model(network, losses)

    def kept(self, keep: str, name: str, settings: dict, known: tuple[Rows, Diffusion] | None = None) -> AbstractContextManager:
        """Yield this fit, its models and their samples kept in keep/name, with a checkpoint, or as it is where keep is empty.

        known: a data set, by its identity, and the model of it, which is then not trained again.
        """
        fit = replace(self, checkpoint=Path(keep).expanduser() / name / "state.pt") if keep else self

        def fitted(data: Rows, rng: np.random.Generator) -> Diffusion:
            return known[1] if known and data is known[0] else fit(data, rng)

        return store.kept(keep, name, fitted, settings, save=Diffusion.save, load=self.load)

    def load(self, folder: Path) -> Diffusion:
        """Return the model that Diffusion.save wrote."""
        network = self._fresh(0)
        return self.model(network, training.load(network, folder))

    def model(self, network: Denoiser, losses: np.ndarray | None = None) -> Diffusion:
        """Return the model of a trained network, with this fit's sampler."""
        return Diffusion(network.eval(), self.graphs, self.slots, self.schedule, self.steps, self.eta, losses)

    def _fresh(self, seed: int) -> Denoiser:
        torch.manual_seed(seed)
        m = self.graphs.molecules
        return Denoiser(m.features.shape[-1], m.edges.shape[-1], self.hidden, self.layers).to(self.graphs.device)
