"""The denoiser on pairs of atoms against the usual list of edges, samples by batches against one by one, embedding in parallel."""

import copy
import os
import time

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from collapse_utils.molecules import conformers, diffusion as molecules
from collapse_utils.molecules.denoiser import RADII, STEP, Denoiser, centred
from collapse_utils.parallel import each
from collapse_utils.training import Recipe, optimizer, order

pytestmark = pytest.mark.usefixtures("one_thread")
BATCH, STEPS, ROUNDS = 64, 10, 8


@pytest.fixture(scope="module")
def known():
    return conformers.load("enumerated", 300, 4, 7)


class Sparse(torch.nn.Module):
    """The same network on a list of edges without padding: gather both ends, join, first map, add up by index_add_; autograd.

    Its weights are those of a Denoiser; the three parts of the first map stand side by side in one matrix.
    """

    def __init__(self, pairs: Denoiser):
        super().__init__()
        self.atoms, self.level = copy.deepcopy(pairs.atoms), copy.deepcopy(pairs.level)
        self.first, self.layers = torch.nn.ModuleList(), copy.deepcopy(pairs.layers)
        for layer in self.layers:
            parts = (layer.receiver, layer.sender, layer.pair)
            joined = torch.nn.Linear(sum(part.in_features for part in parts), layer.receiver.out_features)
            joined.weight.data = torch.cat([part.weight.data for part in parts], 1)
            joined.bias.data = layer.receiver.bias.data.clone()
            self.first.append(joined)
            del layer.receiver, layer.sender, layer.pair

    def forward(self, x, sigma, atoms, edges, ends, owner, sizes):
        """x (A, 3) and atoms (A, a) of all molecules in a row; edges (E, e); ends (2, E); owner (A,) molecule; sizes (B, 1)."""

        def middle(y):
            return y - (torch.zeros(len(sizes), 3).index_add_(0, owner, y) / sizes)[owner]

        x, sigma = middle(x), sigma[owner, None]
        alpha = torch.sqrt(1 - sigma**2)
        ratio = torch.log(sigma / alpha)
        angles = ratio / 4 * torch.arange(1, 5)
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], -1)
        (i, j), h, y = ends, self.atoms(atoms) + self.level(waves), x
        for first, layer in zip(self.first, self.layers, strict=True):
            between = y[i] - y[j]
            reach = torch.sqrt((between**2).sum(-1, keepdim=True) + 1e-8)
            near = torch.exp(-0.5 * (reach / STEP - torch.arange(RADII)).clamp(-8, 8) ** 2)
            m = silu(layer.message(silu(first(torch.cat([h[i], h[j], near, edges], -1)))))
            y = y + torch.zeros_like(y).index_add_(0, i, between / (reach + 1) * layer.move(m))
            if layer.update is not None:
                h = h + layer.update(torch.cat([h, torch.zeros_like(h).index_add_(0, i, m)], -1))
        return sigma * x + alpha * middle(y - x)


def batch(known, owner):
    """One batch in both forms: (padded, list of edges), noise levels and targets drawn once."""
    graph = molecules.Graphs(known[0], 1.1).tensors(owner)
    torch.manual_seed(0)
    x, sigma = centred(torch.randn(*graph[2].shape[:2], 3), graph[2]), torch.linspace(0.05, 0.95, len(owner))
    there = graph[2][..., 0] > 0
    number = torch.cumsum(there.flatten(), 0).reshape(there.shape) - 1
    pairs = there[:, :, None] & there[:, None] & ~torch.eye(there.shape[1], dtype=torch.bool)
    b, i, j = torch.nonzero(pairs, as_tuple=True)
    sparse = (x[there], sigma, graph[0][there], graph[1][pairs], torch.stack([number[b, i], number[b, j]]),
              torch.nonzero(there)[:, 0], there.sum(1, keepdim=True).float())  # fmt: skip
    return (x, sigma, *graph), sparse, there


@pytest.mark.parametrize(("hidden", "hydrogens"), [(32, False), (64, False), (32, True)])
def test_pairs_against_a_list_of_edges(benchmark, hidden, hydrogens):
    """Training steps a second of processor time on a padded batch, as training makes them, over the list of edges."""
    known = conformers.load("enumerated", 300, 4, 7, hydrogens)
    sizes = molecules.Graphs(known[0], 1.1).atoms[known[1][0]]
    rows = order(sizes, Recipe(batch=BATCH), np.random.default_rng(0))[5]
    dense_inputs, sparse_inputs, there = batch(known, known[1][0][rows])
    torch.manual_seed(0)
    dense = Denoiser(18, 7, hidden, 2)
    sparse = Sparse(dense)
    with torch.inference_mode():
        both = dense(*dense_inputs)[there], sparse(*sparse_inputs)
    assert (both[0] - both[1]).abs().max() / both[0].abs().max() < 1e-5

    def train(network, inputs):
        adam = optimizer(network, Recipe(decay=0.0))
        for _ in range(STEPS):
            network(*inputs).pow(2).sum().backward()
            adam.step()
            adam.zero_grad()

    seconds = {}
    for _ in range(ROUNDS):  # in turns, so that both meet the same other work on the machine
        for name, network, inputs in (("edges", sparse, sparse_inputs), ("pairs", dense, dense_inputs)):
            started = time.process_time()
            train(network, inputs)
            seconds[name] = min(seconds.get(name, np.inf), time.process_time() - started)
    benchmark.pedantic(train, (dense, dense_inputs), rounds=1)
    ratio = seconds["edges"] / seconds["pairs"]
    benchmark.extra_info["ratio"] = round(ratio, 2)
    kind = "with hydrogens" if hydrogens else "heavy atoms"
    print(f"\n{kind}, hidden {hidden}: {STEPS / seconds['pairs']:.0f} steps/s, {ratio:.2f} times the edge list (wanted: 1.5)")


def test_sampling_by_batches_against_one_by_one(benchmark, known):
    """Seconds a molecule one by one (40 of them) over those of 1,000 at once, 50 ancestral steps."""
    slots = np.resize(np.arange(len(known[0].names)), 1000)
    train = molecules.DiffusionFit(molecules.Graphs(known[0], 1.1), known[1][0], 5)
    model, rng = train(known[1], np.random.default_rng(0)), np.random.default_rng(0)
    model.draw(slots[:64], rng)
    started = time.perf_counter()
    benchmark.pedantic(model.draw, (slots, rng), rounds=1)
    together = (time.perf_counter() - started) / 1000
    started = time.perf_counter()
    for slot in slots[:40]:
        model.draw(np.array([slot]), rng)
    alone = (time.perf_counter() - started) / 40
    benchmark.extra_info["ratio"] = round(alone / together, 1)
    print(f"\n{1 / together:.0f} conformers/s, {alone / together:.1f} times one by one (wanted: 10)")


def test_embedding_in_parallel(benchmark, known):
    """The time of ETKDGv3 and MMFF94 in one process over that in one process a core; start and imports are left out."""
    cores = os.cpu_count()
    jobs = [(name, 6) for name in known[0].names[:240]]

    def part(jobs):
        conformers.embed(*jobs[0])  # imports RDKit
        started = time.perf_counter()
        for job in jobs:
            conformers.embed(*job)
        return time.perf_counter() - started

    alone = part(jobs)
    apart = max(benchmark.pedantic(each, (part, [(jobs[k::cores],) for k in range(cores)], cores), rounds=1))
    ratio = alone / apart
    benchmark.extra_info["ratio"] = round(ratio, 2)
    print(f"\n{6 * len(jobs) / apart:.0f} conformers/s on {cores} cores, {ratio:.2f} times one (wanted: {0.8 * cores:.1f})")
