"""Variational autoencoders in the loop: convolutional, of one dial from 8 × 8 to the paper's own size, pretrained from scratch."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from collapse_utils import training
from collapse_utils.images.convolution import THIN, Down, Linear, Up
from collapse_utils.theory import ppca
from collapse_utils.training import Recipe, order, sha256, train


class Shape(NamedTuple):
    """Channels and side of the images, channels of the convolutions (mirrored in the decoder), latent units."""

    channels: int
    side: int
    widths: tuple[int, ...]
    latent: int


def shape(channels: int, side: int) -> Shape:
    """Return the model for images of a size; at 3 × 64 × 64 that of Gerstgrasser 2024, 2404.01413, App. D."""
    if side <= 16:
        return Shape(channels, side, (16, 32), 8)
    return Shape(channels, side, (32, 64), 20) if side < 64 else Shape(channels, side, (32, 64, 128, 256, 512), 128)


class Network(nn.Module):
    """Encoder: strided 3 × 3 convolutions and one linear layer; decoder: its mirror image."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape, sides, channels = shape, [shape.side], [shape.channels, *shape.widths]
        down, up = [], []
        for a, b in pairwise(channels):
            down += [Down(a, b, sides[-1]), nn.LeakyReLU(0.1, inplace=True)]
            sides.append((sides[-1] + 1) // 2)
        for i in range(len(channels) - 1, 0, -1):
            up += [Up(channels[i], channels[i - 1], sides[i - 1]), nn.LeakyReLU(0.1, inplace=True)]
        inner = (channels[-1], sides[-1], sides[-1])
        self.down = nn.Sequential(*down, nn.Flatten(-3), Linear(math.prod(inner), 2 * shape.latent))
        self.up = nn.Sequential(
            Linear(shape.latent, math.prod(inner)), nn.LeakyReLU(0.1, inplace=True), nn.Unflatten(-1, inner), *up[:-1]
        )

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return mean and log variance of the code, (b, latent) each, and the logits of a draw of it, (b, C, H, W)."""
        mean, log_variance = self.encode(x)
        return mean, log_variance, self.decode(mean + torch.exp(log_variance / 2) * noise)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of q(z|x), each (b, latent)."""
        return self.down(x).float().chunk(2, dim=-1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return the logits of the pixels' means, (b, C, H, W)."""
        return self.up(z).float()


def together(networks: list[Network]) -> Network:
    """Return networks of one shape as one, its weights theirs side by side, (R, …): for images (R, b, C, H, W), on a CPU."""
    stacked, whole = torch.func.stack_module_state(networks)[0], Network(networks[0].shape)
    for name, weight in stacked.items():
        layer, _, kind = name.rpartition(".")
        setattr(whole.get_submodule(layer), kind, nn.Parameter(weight.detach()))
    return whole


def n_parameters(shape: Shape) -> int:
    """Return the number of parameters of a model."""
    with torch.device("meta"):
        return sum(p.numel() for p in Network(shape).parameters())


def n_operations(shape: Shape) -> int:
    """Return the floating-point operations of a training step for an image: three times those of the passes forward."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Network(shape)(torch.zeros(1, shape.channels, shape.side, shape.side), torch.zeros(1, shape.latent))
    return 3 * counter.get_total_flops()


def room(shape: Shape, n_rows: int, n_fits: int) -> int:
    """Return the bytes on disk of a run: the weights and n_rows samples of every fit, and the state of one."""
    weights, pixels = n_parameters(shape), shape.channels * shape.side**2
    return 4 * (n_fits * (weights + n_rows * pixels) + 3 * weights)


class Likelihood(NamedTuple):
    """p(x|z): gaussian with a fixed standard deviation `spread` of every pixel, or bernoulli; β weighs the divergence."""

    kind: str = "gaussian"
    spread: float = 0.15
    beta: float = 1.0

    def terms(self, network: nn.Module, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return reconstruction −E_q ln p(x|z), by one draw of z, and KL(q(z|x) ‖ N(0, I)), in nats an image, each (…, b).

        Kingma, Welling 2014, 1312.6114, Eq. 10; ½ Σ (μ² + σ² − 1 − ln σ²). noise: standard normal, (…, b, latent).
        """
        mean, log_variance, logits = network(x, noise)
        if self.kind == "bernoulli":
            missed = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(-3).sum(-1)  # (…, b)
        else:
            squares = ((torch.sigmoid(logits) - x) ** 2).flatten(-3)  # (…, b, pixels)
            missed = squares.sum(-1) / (2 * self.spread**2) + squares.shape[-1] * math.log(2 * math.pi * self.spread**2) / 2
        return missed, (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1) / 2

    def squared(self, reconstruction: float, divergence: float, pixels: int) -> float:
        """Return the loss as mean squared error a pixel plus 2σ²β/pixels times the divergence, the units of Fig. 5 (ours)."""
        error = 2 * self.spread**2 / pixels * (reconstruction - pixels * math.log(2 * math.pi * self.spread**2) / 2)
        return error + 2 * self.spread**2 * self.beta / pixels * divergence


GAUSSIAN = Likelihood()
FIGURE_5 = {  # test losses of Gerstgrasser 2024, 2404.01413, Fig. 5, on CelebA, read off to 0.00002
    "replace": [0.01952, 0.01995, 0.02120, 0.02271, 0.02464, 0.02625, 0.02766, 0.02877, 0.02986, 0.03045],
    "accumulate": [0.01953, 0.01927, 0.01938, 0.01950, 0.01966, 0.01974, 0.01984, 0.01994, 0.02004, 0.02015],
}


def variances(x: np.ndarray, latent: int, spread: float = GAUSSIAN.spread) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances of images (n, C, H, W) along their principal axes, and those that a linear decoder keeps, (k,)."""
    values = np.linalg.eigvalsh(np.cov(x.reshape(len(x), -1).T))[::-1]
    return values, values[:latent][values[:latent] > spread**2]


def linear_losses(x: np.ndarray, latent: int, n_fits: int, regime: str, spread: float = GAUSSIAN.spread) -> np.ndarray:
    """Return the loss (n_fits,) of a linear decoder in nats an image (n, C, H, W), by the bias of decoder means alone (ours).

    ½[d ln 2πσ² + Σ_{i>k} λ_i/σ² + Σ_{i≤k}(ln a_i/σ² + λ_i/a_i)], λ_i the variances of x, a_i from ppca.means_path.
    """
    (values, kept), noise = variances(x, latent, spread), spread**2
    a = np.maximum(ppca.means_path(kept, noise, n_fits, regime), noise)  # (n_fits, k)
    rest = len(values) * math.log(2 * math.pi * noise) + (values.sum() - kept.sum()) / noise
    return (rest + (np.log(a / noise) + kept / a).sum(axis=1)) / 2


@dataclass
class VAE:
    """A trained model: sample(n, rng) returns decoder means (n, C, H, W); losses (steps,) of its training."""

    network: Network
    likelihood: Likelihood
    temperature: float = 1.0
    losses: np.ndarray | None = None
    batch: int = 512

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n images in [0, 1] float32 (n, C, H, W): the means of the decoder at codes z ~ N(0, τ²I)."""
        return self.show(self.temperature * rng.standard_normal((n, self.network.shape.latent), dtype=np.float32))

    def show(self, codes: np.ndarray) -> np.ndarray:
        """Return the decoder's means at codes (n, latent)."""
        with torch.inference_mode():
            parts = [torch.sigmoid(self.network.decode(part)).cpu() for part in self._batches(codes)]
        return torch.cat(parts).numpy()

    def codes(self, x: np.ndarray) -> np.ndarray:
        """Return the encoder's means (n, latent) of images."""
        with torch.inference_mode():
            return torch.cat([self.network.encode(part)[0].cpu() for part in self._batches(x)]).numpy()

    def score(self, x: np.ndarray, draws: int = 8) -> dict[str, float]:
        """Return mean `reconstruction` and `divergence` of held-out images, in nats an image, over draws of the code.

        The draws are the same for every model, so that models are compared on common random numbers.
        """
        device = next(self.network.parameters()).device
        generator, total = torch.Generator(device).manual_seed(0), np.zeros(2)
        with torch.inference_mode():
            for _ in range(draws):
                for part in self._batches(x):
                    noise = torch.randn((len(part), self.network.shape.latent), generator=generator, device=device)
                    total += [float(term.double().sum()) for term in self.likelihood.terms(self.network, part, noise)]
        return dict(zip(("reconstruction", "divergence"), (total / len(x) / draws).tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses into a folder (safetensors)."""
        training.save(self.network, self.losses, folder)

    def _batches(self, rows: np.ndarray):
        device = next(self.network.parameters()).device
        return (part.to(device) for part in torch.tensor(rows).split(self.batch))


def mosaic(sheets: list[np.ndarray]) -> np.ndarray:
    """Return sets of images (n, C, H, W), one a column, as one picture with a pixel between images, for imshow."""
    columns = [np.concatenate(np.pad(x.transpose(0, 2, 3, 1), [(0, 0), (0, 1), (0, 1), (0, 0)])) for x in sheets]
    return np.concatenate(columns, axis=1).squeeze()


@dataclass(frozen=True)
class Seeds:
    """Models of several seeds in one loop; a data set is then a tuple of data sets, one for each."""

    models: tuple[VAE, ...]

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return n images of every model."""
        return tuple(model.sample(n, rng) for model in self.models)

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses of all into a folder (safetensors)."""
        for i, model in enumerate(self.models):
            training.save(model.network, model.losses, folder, f"seed{i}")


@dataclass(frozen=True)
class VAEFit:
    """fit(data, rng) for feedback_loop: a fresh autoencoder trained on images (n, C, H, W); load(folder) reads it back.

    On a tuple of data sets it trains one autoencoder for each, with seeds of their own, and returns Seeds: on a CPU and with
    few channels all at once. temperature is that of the samples; checkpoint, a file, keeps the state of a fit that may be
    killed. A fit raises ValueError for images of another size, fewer of them than a batch, more latent units than pixels, or
    several seeds with a recipe that would mix them.
    """

    shape: Shape
    recipe: Recipe
    likelihood: Likelihood = GAUSSIAN
    temperature: float = 1.0
    device: str = "cpu"
    checkpoint: Path | None = None

    def __call__(self, data: np.ndarray | tuple[np.ndarray, ...], rng: np.random.Generator) -> VAE | Seeds:
        sets = data if isinstance(data, tuple) else (data,)
        for rows in sets:
            self._check(rows)
        if len(sets) > 1 and (self.recipe.clip < math.inf or self.recipe.decay):
            raise ValueError(
                f"fit: several seeds must have clip = inf and decay = 0; got {self.recipe.clip} and {self.recipe.decay}."
            )
        seeds = [int(rng.integers(2**62)) for _ in sets]
        steps = order(np.zeros(len(sets[0])), self.recipe, rng)
        jobs = list(zip(sets, seeds, strict=True))
        at_once = self.device == "cpu" and max(self.shape.channels, *self.shape.widths[:-1]) < THIN
        groups = [jobs] if at_once else [[job] for job in jobs]
        models = [model for group in groups for model in self._train(group, steps)]
        return Seeds(tuple(models)) if isinstance(data, tuple) else models[0]

    def _check(self, rows: np.ndarray) -> None:
        channels, side, _, latent = self.shape
        if rows.shape[1:] != (channels, side, side):
            raise ValueError(f"fit: images must be {(channels, side, side)}; got {rows.shape[1:]}.")
        if len(rows) < self.recipe.batch:
            raise ValueError(f"fit: must have at least a batch of {self.recipe.batch} images; got {len(rows)}.")
        if latent > channels * side**2:
            raise ValueError(f"fit: must have at most as many latent units as pixels, {channels * side**2}; got {latent}.")

    def _train(self, jobs: list, steps: list[np.ndarray]) -> list[VAE]:
        """Train networks at once, each on its own images (n, C, H, W) and from its own seed: the models."""
        networks = [self._fresh(seed) for _, seed in jobs]
        trained = together(networks) if len(jobs) > 1 else networks[0]
        pixels = torch.stack([torch.tensor(rows) for rows, _ in jobs]).to(self.device)  # (R, n, C, H, W)
        generator = torch.Generator(self.device)

        def draw(seed, size):
            return torch.randn((size, self.shape.latent), generator=generator.manual_seed(seed), device=self.device)

        def loss(network, index, step):  # the noise of a step depends on its number alone: a resumed run has it again
            x = pixels[:, torch.from_numpy(index).to(self.device)]
            noise = torch.stack([draw(seed + step, len(index)) for _, seed in jobs])
            missed, divergence = self.likelihood.terms(network, *((x, noise) if len(jobs) > 1 else (x[0], noise[0])))
            return (missed + self.likelihood.beta * divergence).sum(), len(index)  # summed over seeds: each has its own gradient

        key = f"{[(seed, sha256(rows)) for rows, seed in jobs] if self.checkpoint else ''} {self.likelihood}"
        losses = train(trained, loss, steps, self.recipe, self.checkpoint, key=key) / len(jobs)
        if len(jobs) > 1:
            for i, network in enumerate(networks):
                network.load_state_dict({name: weight[i] for name, weight in trained.state_dict().items()})
        return [VAE(network.eval(), self.likelihood, self.temperature, losses) for network in networks]

    def load(self, folder: Path) -> VAE | Seeds:
        """Return what save wrote."""
        several = len(list(folder.glob("seed*.npy")))
        models = [self._read(folder, f"seed{i}") for i in range(several)]
        return Seeds(tuple(models)) if several else self._read(folder, "model")

    def _read(self, folder: Path, name: str) -> VAE:
        network = self._fresh(0)
        losses = training.load(network, folder, name)
        return VAE(network.eval(), self.likelihood, self.temperature, losses)

    def _fresh(self, seed: int) -> Network:
        torch.manual_seed(seed)
        return Network(self.shape).to(self.device)
