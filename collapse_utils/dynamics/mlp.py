"""Many multilayer perceptrons trained side by side by full-batch gradient descent: one batched matrix product a layer.

Weights are Gaussian or Haar; a layer of R networks is one array (R, n_out, n_in). Biases start at zero and are trained.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from collapse_utils.initialisation import weights as ensembles
from collapse_utils.moments import pseudo_values

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "linear": nn.Identity}
IN_PLACE = {"tanh": torch.tanh_, "relu": torch.relu_, "linear": lambda z: z}
SLOPE = {"tanh": lambda h: 1 - h.square(), "relu": lambda h: (h > 0).to(h.dtype), "linear": torch.ones_like}  # by σ's value
TOGETHER = 2**24  # bytes of activations that are trained together on a CPU: enough to amortise calls, little enough for its cache


@dataclass(frozen=True)
class Networks:
    """R networks of one shape: weights (R, n_out, n_in) and biases (R, 1, n_out) of each layer, and the activation's name."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: str = "tanh"

    def __len__(self) -> int:
        return len(self.weights[0])

    def take(self, index) -> "Networks":
        """Return the networks of an index or slice, as views where it is a slice."""
        return Networks(tuple(w[index] for w in self.weights), tuple(b[index] for b in self.biases), self.activation)

    def copy(self) -> "Networks":
        """Return the networks with tensors of their own."""
        return Networks(tuple(w.clone() for w in self.weights), tuple(b.clone() for b in self.biases), self.activation)


@dataclass(frozen=True)
class History:
    """Losses and mean diagonal NTK (R, k) of each network at the recorded epochs (k,), and the networks at the end."""

    epochs: np.ndarray
    train: np.ndarray
    test: np.ndarray
    kernel: np.ndarray
    last: Networks

    def reached(self, threshold: float) -> np.ndarray:
        """Return the first recorded epoch of each network with test loss ≤ threshold; infinity where there is none, (R,)."""
        below = self.test <= threshold
        return np.where(below.any(axis=1), self.epochs[below.argmax(axis=1)], np.inf)

    def minimum(self) -> np.ndarray:
        """Return the index, among the recorded epochs, of each network's smallest test loss, (R,)."""
        return self.test.argmin(axis=1)


def initial(
    n: int,
    widths: Sequence[int],
    rng,
    ensemble: str = "haar",
    first: str | None = None,
    c_w=1.0,
    activation="tanh",
    dtype=torch.float32,
    device="cpu",
) -> Networks:
    """Return n Networks with layers widths[0] → … → widths[-1], weights as weights.networks draws them, biases 0.

    ensemble: gaussian or haar, the same numbers from the same rng, so that the two are paired; `first` that of the first layer
    where it differs; layers that are not square are semi-orthogonal. c_w: 1 is critical for tanh (and linear), 2 for ReLU.
    Raises ValueError without a hidden layer, for a hidden width below 2 and for an unknown activation.
    """
    if len(widths) < 3:
        raise ValueError(f"initial: depth must be at least one hidden layer, widths (in, hidden, …, out); got {list(widths)}.")
    if min(widths[1:-1]) < 2:
        raise ValueError(f"initial: every hidden width must be at least 2; got {list(widths)}.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"initial: activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    drawn = ensembles.networks(ensemble, widths, n, rng, c_w, first, "semi-orthogonal")
    weights = tuple(torch.as_tensor(w, dtype=dtype, device=device).contiguous() for w in drawn)
    return Networks(weights, tuple(torch.zeros(n, 1, b, dtype=dtype, device=device) for b in widths[1:]), activation)


def module(networks: Networks, r: int) -> nn.Sequential:
    """Return network r as an ordinary torch module with parameters of its own."""
    layers = []
    for w, b in zip(networks.weights, networks.biases):
        linear = nn.Linear(*w.mT.shape[1:], device="meta")  # no weights drawn in vain
        linear.weight, linear.bias = nn.Parameter(w[r].clone()), nn.Parameter(b[r, 0].clone())
        layers += [linear, ACTIVATIONS[networks.activation]()]
    return nn.Sequential(*layers[:-1])


def predict(networks: Networks, x: Tensor) -> Tensor:
    """Return the outputs (R, N, O) of all networks on the inputs x (N, n_in)."""
    return _forward(networks, x)[-1]


def loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared error over inputs and outputs: (…, N, O) and (N, O) to (…)."""
    return (outputs - y).square().mean(dim=(-2, -1))


def train(networks: Networks, data, test, rate, epochs: int, every: int = 1, batch=None, ntk=False, strict=True) -> History:
    """Train copies of all networks by full-batch gradient descent on the mean squared error.

    θ ← θ − η ∂L/∂θ, L = mean over inputs and outputs of (f − y)²; with ntk=True weights move with η/n_in (the rates of
    the NTK parameterisation). data, test: pairs (x (N, n_in), y (N, O)); rate: a number or one per network (R,).
    Recorded before training, every `every` epochs and at the end: losses, and kernel_means on `batch` where it is given.
    Raises ValueError for shapes or types that disagree, FloatingPointError at a loss that is not finite (strict=False:
    records it), MemoryError where not even one network fits.
    """
    _check(networks, data, test, epochs)
    rates = torch.as_tensor(rate, dtype=networks.weights[0].dtype, device=networks.weights[0].device).expand(len(networks))
    marks = np.unique([*range(0, epochs, every), epochs])
    last, recorded = networks.copy(), np.full((3, len(networks), len(marks)), np.nan)
    step = _together(networks, len(data[0]), len(test[0]))
    for start in range(0, len(networks), step):
        part = slice(start, start + step)
        _train(last.take(part), data, test, rates[part, None, None], marks, ntk, batch, recorded[:, part])
    if strict and not np.isfinite(recorded[:2]).all():
        _, r, k = min(np.argwhere(~np.isfinite(recorded[:2])), key=lambda at: at[2])
        raise FloatingPointError(
            f"train: the loss must stay finite; got {recorded[:2, r, k].max()} at epoch {marks[k]} in network {r}"
            f" with rate {float(rates[r]):g}; take a smaller rate."
        )
    return History(marks, *recorded, last)


def kernel_means(networks: Networks, x: Tensor) -> np.ndarray:
    """Return each network's mean diagonal NTK on a batch, (1/NO) Σ_i Σ_a |∂f_a(x_i)/∂θ|², (R,).

    By backpropagated signals, without Jacobians: |∂f_a/∂W|² = |h|²|δ_a|² for one input.
    """
    outputs = networks.weights[-1].shape[1]
    step = _together(networks, 2 * outputs * len(x), 0)
    return np.concatenate([_kernel_means(networks.take(slice(i, i + step)), x) for i in range(0, len(networks), step)])


def log_spread_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return jackknife pseudo-values of log[(s_a/m_a)/(s_b/m_b)], s spread and m mean over samples a and b (R,): (R,).

    Their mean is the estimate, less its bias of order 1/R; their spread over √R its standard error (Quenouille, Tukey).
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    for x in (a, b):
        if len(x) < 3 or not (x > 0).all() or x.std() == 0:
            raise ValueError(f"log_spread_ratio: needs at least 3 positive samples that differ; got {x[:3]} of {len(x)}.")
    return np.subtract(*(pseudo_values(x, lambda mean, spread: np.log(spread / mean)) for x in (a, b)))


def _kernel_means(networks, x):
    states = _forward(networks, x)
    r, n, outputs = states[-1].shape
    signal = torch.eye(outputs, dtype=x.dtype, device=x.device)[:, None].expand(r, outputs, n, outputs)  # δ = ∂f_a/∂z
    total = 0.0
    for i in range(len(networks.weights) - 1, -1, -1):
        size = signal.square().sum(-1).mean(1)  # (R, N)
        total = total + ((states[i].square().sum(-1) + 1) * size).mean(-1)  # (R,)
        if i:
            below = (signal.reshape(r, outputs * n, -1) @ networks.weights[i]).reshape(r, outputs, n, -1)
            signal = below * SLOPE[networks.activation](states[i])[:, None]
    return total.cpu().numpy().astype(float)


def _check(networks, data, test, epochs):
    """Raise one sentence for data that the networks cannot be trained on."""
    n_in, n_out, dtype = networks.weights[0].shape[2], networks.weights[-1].shape[1], networks.weights[0].dtype
    for x, y in (data, test):
        if x.shape != (len(x), n_in) or y.shape != (len(x), n_out):
            raise ValueError(
                f"train: inputs must be (N, {n_in}) and targets (N, {n_out}); got {tuple(x.shape)}, {tuple(y.shape)}."
            )
        if x.dtype != dtype or y.dtype != dtype:
            raise ValueError(f"train: inputs and targets must be {dtype}, as the networks are; got {x.dtype}, {y.dtype}.")
    if epochs < 1:
        raise ValueError(f"train: epochs must be at least 1; got {epochs}.")


def _train(last, data, test, rates, marks, ntk, batch, recorded):
    """Train `last` in place; write train loss, test loss and kernel (3, r, k)."""
    (x, y), k = data, 0
    scales = [1 / w.shape[2] if ntk else 1.0 for w in last.weights]
    states = _forward(last, x)
    room = {
        (i % 2, state.shape[2]): torch.empty_like(state) for i, state in enumerate(states) if i
    }  # two buffers a width, for signals
    for epoch in range(marks[-1] + 1):
        states = _forward(last, x, states) if epoch else states
        signal = torch.sub(states[-1], y, out=room[(len(states) - 1) % 2, y.shape[1]])  # (r, N, O)
        if epoch == marks[k]:
            recorded[0, :, k] = signal.square().mean((1, 2)).cpu()
            recorded[1, :, k] = loss(predict(last, test[0]), test[1]).cpu()
            if batch is not None:
                recorded[2, :, k] = _kernel_means(last, batch)
            k += 1
        if epoch == marks[-1]:
            return
        signal *= 2 / y.numel() * rates
        for i in range(len(last.weights) - 1, -1, -1):
            below = torch.bmm(signal, last.weights[i], out=room[i % 2, last.weights[i].shape[2]]) if i else None  # (r, N, n)
            last.weights[i].baddbmm_(signal.mT, states[i].expand(len(last), -1, -1), alpha=-scales[i])
            last.biases[i].sub_(signal.sum(1, keepdim=True))
            signal = _back(below, states[i], last.activation) if i else None


def _forward(networks, x, into=None):
    """The inputs (1, N, n_in), the activations (R, N, n) of each hidden layer, the outputs (R, N, O); written `into` such a list."""
    states = [x.expand(1, *x.shape)]
    for i, (w, b) in enumerate(zip(networks.weights, networks.biases)):
        z = torch.bmm(states[-1].expand(len(networks), -1, -1), w.mT, out=into and into[i + 1]).add_(b)  # (R, N, n)
        hidden = i < len(networks.weights) - 1
        states.append(IN_PLACE[networks.activation](z) if hidden else z)
    return states


def _back(signal, state, activation):
    """Multiply a signal by the activation's derivative, expressed by its value, in place."""
    if activation == "tanh":
        return torch.ops.aten.tanh_backward.grad_input(signal, state, grad_input=signal)
    return signal.mul_(state > 0) if activation == "relu" else signal


def _together(networks, n_train, n_test):
    """How many networks to run together: what stays in a CPU's cache, or all that a GPU's memory holds."""
    w = networks.weights[0]
    each = w.element_size() * (
        n_train * sum(v.shape[1] for v in networks.weights) + n_test * max(v.shape[1] for v in networks.weights)
    )
    free = torch.cuda.mem_get_info()[0] if w.is_cuda else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if each > free:
        raise MemoryError(
            f"train: one network's activations must fit into the free {free / 1e9:.3g} GB; got {each / 1e9:.3g} GB."
        )
    return max(1, int((free / 4 if w.is_cuda else TOGETHER) // each))
