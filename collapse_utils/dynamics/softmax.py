"""Softmax networks of many seeds side by side, trained by stochastic gradient descent on cross-entropy: one backward pass.

The gradient of row a in a dense layer is δ_a h_aᵀ, so that its squared norm is |δ_a|²(|h_a|² + 1) with the bias
(Goodfellow 2015, arXiv 1510.01799): the trace of the gradients' covariance needs no gradient of a single row.
"""

import torch
from torch import Tensor

from collapse_utils.dynamics.mlp import IN_PLACE, SLOPE, Networks


def logits(networks: Networks, x: Tensor) -> Tensor:
    """Return the outputs (R, N, O) of R networks on inputs of their own (R, N, n_in), or on common ones (N, n_in)."""
    return _states(networks, x)[-1]


def cross_entropy(networks: Networks, x: Tensor, y: Tensor) -> Tensor:
    """Return each network's mean cross-entropy in nats, (R,); y: class numbers (R, N), or (N,) for all."""
    chosen = logits(networks, x).log_softmax(-1)
    return -chosen.gather(-1, y.expand(chosen.shape[:2])[..., None]).mean((1, 2))


def descend(networks: Networks, x: Tensor, y: Tensor, rate: float, batches: Tensor) -> Networks:
    """Return copies of the networks after one step of descent for each batch of rows; batches: row numbers (T, b).

    θ ← θ − η ∇L_batch, x (R, N, n_in) and y (R, N) each network's own rows. Raises ValueError for labels that are no class of
    the networks, of one class only, or fewer rows than classes, FloatingPointError where the weights do not stay finite.
    """
    _check(networks, x, y)
    last = networks.copy()
    for rows in batches:
        for (h, signal), w, b in zip(_signals(last, x[:, rows], y[:, rows]), last.weights[::-1], last.biases[::-1]):
            w.baddbmm_(signal.mT, h, alpha=-rate / len(rows))
            b.sub_(signal.sum(1, keepdim=True), alpha=rate / len(rows))
    if not all(w.isfinite().all() for w in last.weights):
        raise FloatingPointError(
            f"descend: the weights must stay finite; got NaN or infinity at rate {rate:g}; take a smaller one."
        )
    return last


def covariance_trace(networks: Networks, x: Tensor, y: Tensor) -> Tensor:
    """Return Tr Ĉ (R,) of the gradients of the N rows, with N − 1: (N/(N−1)) (mean |g_a|² − |mean g_a|²).

    x (R, N, n_in) and y (R, N). Raises ValueError for fewer than two rows.
    """
    n = x.shape[1]
    if n < 2:
        raise ValueError(f"covariance_trace: a covariance needs at least 2 rows; got {n}.")
    single, mean = 0.0, 0.0
    for h, signal in _signals(networks, x, y):
        single = single + (signal.square().sum(-1) * (h.square().sum(-1) + 1)).mean(-1)
        mean = mean + (signal.mT @ h / n).square().sum((1, 2)) + signal.mean(1).square().sum(-1)
    return n / (n - 1) * (single - mean)


def _states(networks, x):
    """The inputs, the hidden activations and the logits, (R, N, ·) each."""
    states = [x.expand(len(networks), *x.shape[-2:])]
    for i, (w, b) in enumerate(zip(networks.weights, networks.biases)):
        z = torch.baddbmm(b, states[-1], w.mT)
        states.append(IN_PLACE[networks.activation](z) if i < len(networks.weights) - 1 else z)
    return states


def _signals(networks, x, y):
    """Pairs from the last layer down: a layer's inputs h (R, N, n), and δ = ∂ℓ_a/∂(its outputs) of each row, (R, N, m)."""
    *states, out = _states(networks, x)
    signal = out.softmax(-1)
    signal.scatter_add_(-1, y[..., None], signal.new_full((*y.shape, 1), -1.0))
    for i in range(len(states) - 1, -1, -1):
        below = signal @ networks.weights[i] * SLOPE[networks.activation](states[i]) if i else None
        yield states[i], signal
        signal = below


def _check(networks, x, y):
    """Raise one sentence for rows and labels that the networks cannot be trained on."""
    classes, (r, n, _) = networks.weights[-1].shape[1], x.shape
    if y.shape != (r, n) or r != len(networks):
        raise ValueError(
            f"descend: needs rows and labels for each of {len(networks)} networks; got {tuple(x.shape)}, {tuple(y.shape)}."
        )
    if n < classes:
        raise ValueError(f"descend: needs at least as many rows as the {classes} classes; got {n}.")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"descend: labels must lie between 0 and {classes - 1}; got {int(y.min())} to {int(y.max())}.")
    if (y == y[:, :1]).all(1).any():
        raise ValueError(
            f"descend: labels must be of at least 2 classes; got class {int(y[(y == y[:, :1]).all(1)][0, 0])} alone."
        )
