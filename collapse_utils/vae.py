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

from collapse_utils.training import Recipe, order, train


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
        self.shape, sides, ladder = shape, [shape.side], [shape.channels, *shape.widths]
        down, up = [], []
        for a, b in pairwise(ladder):
            down += [nn.Conv2d(a, b, 3, 2, 1), nn.LeakyReLU(0.1)]
            sides.append((sides[-1] + 1) // 2)
        for i in range(len(ladder) - 1, 0, -1):
            extra = sides[i - 1] - (2 * sides[i] - 1)
            up += [nn.ConvTranspose2d(ladder[i], ladder[i - 1], 3, 2, 1, extra), nn.LeakyReLU(0.1)]
        inner = (ladder[-1], sides[-1], sides[-1])
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(math.prod(inner), 2 * shape.latent))
        self.up = nn.Sequential(nn.Linear(shape.latent, math.prod(inner)), nn.LeakyReLU(0.1), nn.Unflatten(1, inner), *up[:-1])

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of q(z|x), each (b, latent)."""
        return self.down(x).float().chunk(2, dim=1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Return the logits of the pixels' means, (b, C, H, W)."""
        return self.up(z).float()


def n_parameters(shape: Shape) -> int:
    """Return the number of parameters of a model."""
    with torch.device("meta"):
        return sum(p.numel() for p in Network(shape).parameters())


class Likelihood(NamedTuple):
    """p(x|z): gaussian with a fixed standard deviation `spread` of every pixel, or bernoulli; β weighs the divergence."""

    kind: str = "gaussian"
    spread: float = 0.15
    beta: float = 1.0

    def terms(self, network: Network, x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return reconstruction −E_q ln p(x|z), by one draw of z, and KL(q(z|x) ‖ N(0, I)), in nats an image, each (b,).

        Kingma, Welling 2014, 1312.6114, Eq. 10; ½ Σ (μ² + σ² − 1 − ln σ²).
        """
        mean, log_variance = network.encode(x)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        logits = network.decode(mean + torch.exp(log_variance / 2) * noise)
        if self.kind == "bernoulli":
            missed = F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)  # (b,)
        else:
            squares = ((torch.sigmoid(logits) - x) ** 2).flatten(1)  # (b, pixels)
            missed = squares.sum(1) / (2 * self.spread**2) + squares.shape[1] * math.log(2 * math.pi * self.spread**2) / 2
        return missed, (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2

    def squared(self, reconstruction: float, divergence: float, pixels: int) -> float:
        """Return the loss as mean squared error a pixel plus 2σ²β/pixels times the divergence, the units of Fig. 5 (ours)."""
        error = 2 * self.spread**2 / pixels * (reconstruction - pixels * math.log(2 * math.pi * self.spread**2) / 2)
        return error + 2 * self.spread**2 * self.beta / pixels * divergence


GAUSSIAN = Likelihood()


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
                    total += [float(term.double().sum()) for term in self.likelihood.terms(self.network, part, generator)]
        return dict(zip(("reconstruction", "divergence"), (total / len(x) / draws).tolist(), strict=True))

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses into a folder (safetensors)."""
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in self.network.state_dict().items()}, folder / "weights.safetensors")
        np.save(folder / "losses.npy", self.losses)

    def _batches(self, rows: np.ndarray):
        device = next(self.network.parameters()).device
        return (part.to(device) for part in torch.from_numpy(np.ascontiguousarray(rows)).split(self.batch))


@dataclass(frozen=True)
class Autoencoding:
    """fit(data, rng) for feedback_loop: a fresh autoencoder trained on images (n, C, H, W); load(folder) reads one back.

    temperature is that of the model's samples; checkpoint, a file, keeps the state of a fit that may be killed. A fit raises
    ValueError for images of another size, fewer of them than a batch, or more latent units than pixels.
    """

    shape: Shape
    recipe: Recipe
    likelihood: Likelihood = GAUSSIAN
    temperature: float = 1.0
    device: str = "cpu"
    checkpoint: Path | None = None

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> VAE:
        channels, side, _, latent = self.shape
        if rows.shape[1:] != (channels, side, side):
            raise ValueError(f"fit: images must be {(channels, side, side)}; got {rows.shape[1:]}.")
        if len(rows) < self.recipe.batch:
            raise ValueError(f"fit: must have at least a batch of {self.recipe.batch} images; got {len(rows)}.")
        if latent > channels * side**2:
            raise ValueError(f"fit: must have at most as many latent units as pixels, {channels * side**2}; got {latent}.")
        seed = int(rng.integers(2**62))
        steps, network = order(np.zeros(len(rows)), self.recipe, rng), self._fresh(seed)
        pixels = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        generator = torch.Generator(self.device)

        def batch(step):  # the noise of a step depends on its number alone: a resumed run has it again
            generator.manual_seed(seed + step)
            return steps[step]

        def loss(network, index):
            missed, divergence = self.likelihood.terms(network, pixels[torch.from_numpy(index).to(self.device)], generator)
            return (missed + self.likelihood.beta * divergence).sum(), len(index)

        losses = train(network, loss, batch, len(steps), self.recipe, self.checkpoint, key=f"{seed}")
        if self.checkpoint:
            Path(self.checkpoint).unlink(missing_ok=True)
        return VAE(network.eval(), self.likelihood, self.temperature, losses)

    def load(self, folder: Path) -> VAE:
        """Return the model that VAE.save wrote."""
        from safetensors.torch import load_file

        network = self._fresh(0)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        return VAE(network.eval(), self.likelihood, self.temperature, np.load(folder / "losses.npy"))

    def _fresh(self, seed: int) -> Network:
        torch.manual_seed(seed)
        return Network(self.shape).to(self.device)
