"""Time and memory of the heavy models against what makes them grow: the slopes that the page on costs shows."""

import json
import math
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers

from collapse_utils import feedback_loop, moments
from collapse_utils.dynamics import mlp
from collapse_utils.images import vae
from collapse_utils.initialisation.propagation import activation
from collapse_utils.initialisation.tensors import tensors
from collapse_utils.initialisation.weights import networks
from collapse_utils.language.transformer import LanguageFit
from collapse_utils.molecules.denoiser import Denoiser
from collapse_utils.pruning import evaluation, layers
from collapse_utils.pruning.forks import lacking
from collapse_utils.pruning.healing import heal
from collapse_utils.regimes import accumulate
from collapse_utils.scaling import divisors
from collapse_utils.solvable import gaussian, summaries
from collapse_utils.training import Recipe

RESULT, ROUNDS, VOCABULARY = Path(__file__).with_name("growth.json"), 3, 500


class Growth(NamedTuple):
    """A task in which one thing grows, and its sizes; prepare(size) returns the call that is measured."""

    model: str
    task: str
    grows: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Callable]


def rng():
    return np.random.default_rng(0)


def text(n_rows, context=64):
    """Random tokens: the arithmetic does not depend on what they say."""
    return rng().integers(1, VOCABULARY, (n_rows, context)).astype(np.uint16)


def reads(rows):
    return lambda: LanguageFit("llama-tiny", VOCABULARY, rows.shape[1], Recipe(rate=1e-2))(rows, rng())


def writes(n):
    model = reads(text(16))()
    return lambda: model.sample(n, rng())


def rounds(fit, real, n):
    return lambda: list(islice((None for _ in feedback_loop(fit, real, accumulate, rng())), n))


def language_rounds(n):
    return rounds(LanguageFit("llama-tiny", VOCABULARY, 64, Recipe(rate=1e-2)), text(32), n)


def pictures(n, seeds=1):
    recipe = Recipe(rate=2e-3, epochs=2, batch=64, decay=0.0, clip=math.inf)
    rows = rng().random((n, 1, 8, 8), np.float32)
    return lambda: vae.VAEFit(vae.shape(1, 8), recipe)((rows,) * seeds, rng())


def molecule(n_atoms, batch=16, steps=5):
    network = Denoiser(18, 7, 32, 2)
    x, mask = torch.randn(batch, n_atoms, 3), torch.ones(batch, n_atoms, 1)
    graph = torch.rand(batch, n_atoms, 18), torch.rand(batch, n_atoms, n_atoms, 7), mask

    def train():
        for _ in range(steps):
            network(x, torch.linspace(0.05, 0.95, batch), *graph).square().sum().backward()

    return train


def decoder(depth):
    shape = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "vocab_size": VOCABULARY}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape, num_hidden_layers=depth, pad_token_id=0)).eval()


def cuts(depth):
    model, ids = decoder(depth), text(4).astype(np.int64)
    gone = [range(i, i + n) for n in range(1, depth) for i in range(depth - n + 1)]
    kept = [lacking(depth, layers.without(depth, block)) for block in gone]
    return lambda: evaluation.cut_losses(model, kept, ids, np.ones_like(ids, bool))


def adapters(n_rows):
    model, ids = decoder(6), text(n_rows).astype(np.int64)
    return lambda: heal(model, ids, np.ones_like(ids, bool), "lora", Recipe(batch=4, decay=0.0))


def students(examples, together):
    task = divisors.Task()
    exam = task.exam(20, rng())
    return lambda: divisors.learn(task, task.correct, np.array([examples]), exam, rng(), together)


def perceptrons(n, width=20, depth=10):
    x, y = torch.randn(100, 16), torch.randn(100, 4)
    start = mlp.initial(n, [16, *[width] * depth, 4], rng())
    return lambda: mlp.train(start, (x, y), (x, y), 1e-3, 20, every=20)


def ten(width, depth):
    draw = lambda r: networks("haar", [width] * (depth + 1), r, rng())  # noqa: E731
    return lambda: tensors(activation("tanh"), draw, np.ones(width), 8, 1 / np.arange(1, depth + 1))


def chains(n_fits):
    return rounds(gaussian.fit(1), gaussian.standard(1000).sample(100, rng()), n_fits)


def moments_alone(n_fits):
    return rounds(summaries.gaussian_fit(1), summaries.Gaussian(np.zeros(1000), np.ones(1000)).sample(100, rng()), n_fits)


GROWTHS = (
    Growth("language model", "training", "rows of 64 tokens", (64, 128, 256, 512), lambda n: reads(text(n))),
    Growth(
        "language model", "training on as many tokens", "tokens a row", (64, 128, 256, 512), lambda n: reads(text(16384 // n, n))
    ),
    Growth("language model", "sampling", "rows of 64 tokens", (128, 256, 512, 1024), writes),
    Growth("language model", "accumulate", "fits", (3, 6, 12, 24), language_rounds),
    Growth("autoencoder, 8 × 8", "training", "images", (512, 1024, 2048, 4096), pictures),
    Growth("autoencoder, 8 × 8", "training side by side", "seeds", (2, 4, 8, 16), lambda n: pictures(512, n)),
    Growth("molecule denoiser", "training", "atoms", (8, 16, 32, 64), molecule),
    Growth("decoder, all its blocks cut", "losses", "layers", (3, 6, 12, 24), cuts),
    Growth("decoder, six layers", "healing by adapters", "rows of 64 tokens", (32, 64, 128, 256), adapters),
    Growth("divisors", "training", "examples", (3200, 6400, 12800, 25600), lambda n: students(n, 2)),
    Growth("divisors", "training side by side", "students", (2, 4, 8, 16), lambda n: students(3200, n)),
    Growth("perceptrons, ten layers", "training side by side", "networks", (25, 50, 100, 200), perceptrons),
    Growth("perceptrons", "training", "layers", (5, 10, 20, 40), lambda n: perceptrons(50, 20, n)),
    Growth("ten tensors of the NTK, ten layers", "eight networks", "width", (10, 20, 40, 60), lambda n: ten(n, 10)),
    Growth("ten tensors of the NTK, width 10", "eight networks", "layers", (10, 20, 40, 80), lambda n: ten(10, n)),
    Growth("Gaussian, rows kept", "accumulate, 1,000 chains", "fits", (20, 40, 80, 160), chains),
    Growth("Gaussian, moments kept", "accumulate, 1,000 chains", "fits", (250, 500, 1000, 2000), moments_alone),
)


def memory(name: str) -> float:
    """A line of the process's status in megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def measured(k: int, size: int) -> tuple[float, float]:
    """CPU seconds of a task, and its peak memory in megabytes above the start, what it is prepared from included."""
    torch.set_num_threads(1)
    growth = GROWTHS[k]
    growth.prepare(growth.sizes[0])()  # libraries are loaded, caches are warm
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, call = memory("VmRSS"), growth.prepare(size)
    started = time.process_time()
    call()
    return time.process_time() - started, memory("VmHWM") - before


def apart(k: int, size: int) -> tuple[float, float]:
    """measured in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(measured, k, size).result()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def test_growth(benchmark):
    """Four sizes of each task in a process of its own, one thread, the least of three rounds; growth.json keeps them for the page."""
    decoder(1)  # transformers is loaded once, before the processes fork
    found = benchmark.pedantic(
        lambda: [[[apart(k, size) for _ in range(ROUNDS)] for size in growth.sizes] for k, growth in enumerate(GROWTHS)], rounds=1
    )
    rows = []
    for growth, sizes in zip(GROWTHS, found, strict=True):
        seconds, megabytes = np.min(sizes, axis=1).T
        words = dict(zip(("model", "task", "grows", "sizes"), growth[:4], strict=True))
        rows.append(words | {"seconds": seconds.round(4).tolist(), "megabytes": megabytes.round(1).tolist()})
        (slope,) = moments.slopes(growth.sizes, seconds, log=True)
        print(f"\n{growth.model}, {growth.task}: {growth.grows} to the power {slope:.2f}", end="")
        assert slope > 0
    RESULT.write_text(json.dumps({"processor": processor(), "threads": 1, "growths": rows}, indent=1, ensure_ascii=False) + "\n")
