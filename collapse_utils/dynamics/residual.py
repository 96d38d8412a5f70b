"""A small residual network for 8 × 8 pictures, trained from activations that are stored compressed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_utils import tables
from collapse_utils.dynamics import compression
from collapse_utils.dynamics.compression import Saved
from collapse_utils.theory import compressed as law

LAYERS = 5  # convolutions with a stored input; that of the first is the picture


class Residual(nn.Module):
    """Six convolutions of 3 × 3 and ReLU, two of them with a skip, one with stride 2, then means and ten scores."""

    def __init__(self, channels: int, seed: int):
        super().__init__()
        c, d = channels, 2 * channels
        sizes = [(1, c, 1), (c, c, 1), (c, c, 1), (c, d, 2), (d, d, 1), (d, d, 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(n, m, 3, stride, padding=1) for n, m, stride in sizes)
        self.last = nn.Linear(d, 10)
        generator = torch.Generator().manual_seed(seed)
        for layer in (*self.convolutions, self.last):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (N, 10) of pictures (N, 1, 8, 8)."""
        first, *layers = self.convolutions
        x = F.relu(first(x))
        x = F.relu(x + layers[1](F.relu(layers[0](x))))
        x = F.relu(layers[2](x))
        x = F.relu(x + layers[4](F.relu(layers[3](x))))
        return self.last(x.mean((2, 3)))


def loss(model: Residual, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross-entropy of pictures (N, 1, 8, 8) with labels (N,)."""
    return F.cross_entropy(model(x), y)


class Watch:
    """Running geometric means, over about 1/(1 − memory) steps, of ‖G‖²/‖δ‖² of the layers with a stored input, (LAYERS,)."""

    def __init__(self, model: Residual, memory: float = 0.8):
        self.model, self.memory, self.steps = model, memory, 0
        self.ratio, self._power = np.ones(LAYERS), np.zeros(LAYERS)
        self.fan_in, self.positions = np.zeros(LAYERS), np.zeros(LAYERS)
        for i, layer in enumerate(model.convolutions[1:]):
            self.fan_in[i] = layer.weight[0].numel()
            layer.register_full_backward_hook(lambda _, __, signals, i=i: self._see(i, signals[0]))

    def _see(self, i: int, signal: Tensor) -> None:
        self._power[i] = signal.square().sum()
        self.positions[i] = signal.numel() / signal.shape[1]

    def update(self) -> None:
        """Take in the gradients and signals of the last backward pass; a layer without a signal keeps its mean."""
        square = np.array([float(layer.weight.grad.square().sum()) for layer in self.model.convolutions[1:]])
        alive, weight = (square > 0) & (self._power > 0), 1 - self.memory if self.steps else 1.0
        self.ratio[alive] *= (square[alive] / self._power[alive] / self.ratio[alive]) ** weight
        self.steps += 1


@dataclass
class Arm:
    """A way to store: bound(watch, i, share) of the i-th input, of which a share is not zero, or width(…) in bits; a codec.

    Without either, activations are stored as they are. settings: size and bound or width of all that was stored.
    """

    bound: Callable | None = None
    width: Callable | None = None
    codec: str = "dithered"
    settings: list = field(default_factory=list)

    @property
    def typical(self) -> float:
        """The mean of all widths, or the geometric mean of all bounds, weighted by the sizes of the tensors; 0 of none."""
        if not self.settings:
            return 0.0
        sizes, values = np.transpose(self.settings)
        return float(np.average(values, weights=sizes) if self.width else np.exp(np.average(np.log(values), weights=sizes)))

    def store(self, watch: Watch, seed: int, i: int, x: np.ndarray):
        """Return the i-th activation packed, or None; the last one is read by a rectifier alone, and its signs will do."""
        if watch.steps == 0 or (self.bound is None and self.width is None):
            return None
        if i == LAYERS:
            return compression.pack(x, 1.0, "signs")
        if self.width is not None:
            found = self.width(watch, i, x)
            self.settings.append((x.size, found))
            return compression.levels(x, found, True)
        found = self.bound(watch, i, max(np.count_nonzero(x), 1) / x.size)
        self.settings.append((x.size, found))
        return compression.pack(x, found, self.codec, seed + i)


def adaptive(noise: float, codec: str = "dithered") -> Arm:
    """Return the arm whose bounds keep the noise of each layer's gradient at a share of the gradient's running size."""

    def bound(watch, i, share):
        return law.bound(noise * np.sqrt(watch.ratio[i]), 1.0, share, watch.fan_in[i])

    return Arm(bound, codec=codec)


def guaranteed(noise: float) -> Arm:
    """Return AC-GC's arm: for the same noise in the worst case, a fixed rate of whole bits, zeros removed."""

    def width(watch, i, x):
        error = law.worst_case(noise * np.sqrt(watch.ratio[i]), 1.0, watch.positions[i], watch.fan_in[i])
        return int(law.width(error, float(x.max())))

    return Arm(width=width)


@dataclass(frozen=True)
class Stored:
    """A convolution as the theory sees it: its signals δ (M, K), its input (N, C, H, W), the stride."""

    signal: np.ndarray
    input: np.ndarray
    stride: tuple[int, int]

    def patches(self, values: np.ndarray) -> np.ndarray:
        """Return values like the input as rows (M, D), one a position of the output."""
        return F.unfold(torch.from_numpy(values), 3, padding=1, stride=self.stride).mT.flatten(0, 1).numpy()

    def product(self, values: np.ndarray) -> np.ndarray:
        """Return δᵀ times the patches, (K, D): the weight gradient for the input, its noise for errors of the input."""
        return self.signal.T @ self.patches(values)


def stored(model: Residual, x: Tensor, y: Tensor) -> list[Stored]:
    """Return the layers with a stored input, on pictures (N, 1, 8, 8) with labels (N,)."""
    seen: list = []
    layers = model.convolutions[1:]
    handles = [layer.register_forward_hook(lambda layer, a, z: seen.append((a[0], z, layer.stride))) for layer in layers]
    value = loss(model, x, y)
    for handle in handles:
        handle.remove()
    signals = torch.autograd.grad(value, [z for _, z, _ in seen])
    rows = [signal.flatten(2).mT.flatten(0, 1).numpy() for signal in signals]
    return [Stored(signal, a.detach().numpy(), stride) for signal, (a, _, stride) in zip(rows, seen, strict=True)]


def gradients(model: Residual, x: Tensor, y: Tensor, store: Callable | None = None) -> list[Tensor]:
    """Return the weight gradients of the layers with a stored input, from activations stored by store(i, x) or as they are."""
    with Saved(store or (lambda i, x: None), (x,)):
        value = loss(model, x, y)
    return list(torch.autograd.grad(value, [layer.weight for layer in model.convolutions[1:]]))


@dataclass
class Run:
    """A training run: final train loss, test accuracy in %, bits a value of the layers' inputs at each step, the arm's typical setting.

    At each look: noise (looks, 2, LAYERS), ‖ΔG‖² and ‖G‖² on the step's batch, and the network's state.
    """

    loss: float
    accuracy: float
    bits: np.ndarray
    typical: float
    noise: np.ndarray
    states: list

    @property
    def summary(self) -> dict[str, float]:
        """Loss, accuracy, mean bits and typical setting."""
        return {"loss": self.loss, "accuracy": self.accuracy, "bits": self.bits.mean(), "typical": self.typical}

    def held(self, asked: float) -> np.ndarray:
        """Return the rms noise over the rms gradient and over the share asked for, in four quarters of the looks, mean of layers."""
        off, exact = self.noise.reshape(4, -1, 2, LAYERS).sum(axis=1).swapaxes(0, 1)
        return np.sqrt(off / exact).mean(axis=1) / asked


def digits(n_train: int, rng: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
    """Return the training and the other digits, pictures (n, 1, 8, 8) and labels (n,), shuffled.

    One mean and one scale for all pixels, so that a background stays equal.
    """
    x, y = tables.load("digits")
    mixed = rng.permutation(len(y))
    x = torch.tensor((x - x.mean()) / x.std(), dtype=torch.float32).reshape(-1, 1, 8, 8)[mixed]
    y = torch.tensor(y.astype(int))[mixed]
    return [(x[:n_train], y[:n_train]), (x[n_train:], y[n_train:])]


def loaded(state: dict) -> Residual:
    """Return a network with this state."""
    model = Residual(len(state["convolutions.0.bias"]), 0)
    model.load_state_dict(state)
    return model


def freed(model: Residual, x: Tensor, y: Tensor, share: float, codec: str = "dithered") -> tuple[float, float]:
    """Return by what factors all saved bytes and those of activations fall, at a bound of a share of their standard deviation."""

    def saved(store):
        with Saved(store, (x,)) as found:
            loss(model, x, y)
        return found

    small = saved(lambda i, a: compression.pack(a, share * a[a != 0].std(), codec))
    return saved(lambda i, a: None).bytes / small.bytes, small.ratio


def train(
    arm: Arm, rows: tuple, held: tuple, channels: int, steps: int, batch: int, rate: float, seed: int, looks: tuple = ()
) -> Run:
    """Return a Run of a Residual trained by SGD with momentum 0.9 and a rate that falls to zero, activations stored by the arm.

    rows, held: pictures (N, 1, 8, 8) and labels (N,) to train on and to test on; looks: the steps at which noise is measured.
    """
    model, rng = Residual(channels, seed), np.random.default_rng(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = np.concatenate([rng.permutation(len(rows[1])) for _ in range(-(-steps * batch // len(rows[1])))])
    watch, bits, noise, states = Watch(model), [], [], []
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        part = rows[0][chosen], rows[1][chosen]
        store = partial(arm.store, watch, seed * 1_000_000 + 10 * step)
        if step in looks:
            exact, noisy = gradients(model, *part), gradients(model, *part, store)
            off = [a - b for a, b in zip(exact, noisy, strict=True)]
            noise.append([[float(g.square().sum()) for g in of] for of in (off, exact)])
            states.append({name: value.clone() for name, value in model.state_dict().items()})
        optimiser.zero_grad()
        with Saved(store, part[:1]) as saved:
            value = loss(model, *part)
        value.backward()
        watch.update()
        optimiser.step()
        schedule.step()
        read = [item for item in saved.stored if item.codec != "signs"]  # by convolutions
        bits.append(8 * sum(item.nbytes for item in read) / sum(np.prod(item.shape) for item in read) if read else 32.0)
    with torch.no_grad():
        accuracy = 100 * float((model(held[0]).argmax(1) == held[1]).float().mean())
        final = float(loss(model, *rows))
    return Run(final, accuracy, np.array(bits), arm.typical, np.array(noise).reshape(-1, 2, LAYERS), states)
