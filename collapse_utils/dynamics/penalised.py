"""Multilayer perceptrons with a Jacobian penalty, many side by side, and their loop: its gradient without double backpropagation.

Of R = ½|vᵀJ|² the gradient needs one more pass down, for the signals of v, and one up, along g = ∇_x v·z (after
"cyclopropagation", Hoffman, Roberts, Yaida 2019, arXiv 1908.02729); the way back down is shared with the loss.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from collapse_utils.dynamics import jacobians, relabelling
from collapse_utils.dynamics.mlp import IN_PLACE, SLOPE, Networks
from collapse_utils.rows import Ensemble

CURVE = {"tanh": lambda h: -2 * h * (1 - h.square()), "relu": torch.zeros_like, "linear": torch.zeros_like}  # σ'' by σ's value


def gradient(networks: Networks, x: Tensor, v: Tensor, curved: bool = True) -> list[Tensor]:
    """Return the gradient of ½ Σ |vᵀJ|² over all rows with respect to the weights and biases, in turn, layer by layer.

    x (R, N, inputs); v (R, N, C), one vector a row. Summed over the C basis vectors it is that of ½ Σ ‖J‖². curved=False
    leaves out the term in σ''.
    """
    steps = list(_backward(networks, _states(networks, x), v, 1.0, torch.zeros_like(v), curved))
    return [part for pair in steps[::-1] for part in pair]


def descend(networks: Networks, x, y, rate: float, batches: Tensor, penalty: float, generator=None) -> Networks:
    """Return copies of the networks after one step of descent a batch on cross-entropy + (λ/2) mean ‖J‖², one direction a row.

    x (R, N, inputs), y (R, N), batches (T, B) row numbers; penalty = λ. Raises ValueError for labels of one class or fewer rows
    than classes, FloatingPointError where the weights do not stay finite.
    """
    classes = networks.weights[-1].shape[1]
    jacobians.check(y, classes)
    last = networks.copy()
    for rows in batches:
        own, labels = x[:, rows], y[:, rows]
        states = _states(last, own)
        z = torch.baddbmm(last.biases[-1], states[-1], last.weights[-1].mT)
        error = z.softmax(-1).scatter_add_(-1, labels[..., None], z.new_full((*labels.shape, 1), -1.0))
        v = jacobians.directions(z, 1, generator)[0]
        steps = list(_backward(last, states, v, penalty * classes, error))[::-1]
        for (of_weight, of_bias), w, b in zip(steps, last.weights, last.biases):
            w.sub_(of_weight, alpha=rate / len(rows))
            b.sub_(of_bias, alpha=rate / len(rows))
    if not all(w.isfinite().all() for w in last.weights):
        raise FloatingPointError(
            f"descend: the weights must stay finite; got NaN or infinity at rate {rate:g}; take a smaller one."
        )
    return last


def squared_norm(networks: Networks, x: Tensor) -> Tensor:
    """Return the mean of ‖J‖² over the inputs x (R, N, inputs), exactly, for each network, (R,)."""
    states, total = _states(networks, x), 0.0
    c = networks.weights[-1].shape[1]
    for k in range(c):
        v = x.new_zeros(c)
        v[k] = 1.0
        total = total + _down(networks, states, v.expand(*x.shape[:2], c))[1].square().sum(-1).mean(-1)
    return total


def entropy(z: Tensor) -> Tensor:
    """Return the mean entropy of the softmax of logits (R, N, C), in nats, (R,): that of a label drawn for a row."""
    p = z.log_softmax(-1)
    return -(p.exp() * p).sum(-1).mean(-1)


def temperature(z: Tensor, nats: Tensor, low: float = 0.01, high: float = 100.0) -> Tensor:
    """Return τ (R,) at which softmax(z/τ) of logits (R, N, C) has the mean entropy `nats` (R,), by bisection of log τ.

    Raises ValueError where no τ between low and high has it.
    """
    ends = [entropy(z / end) for end in (low, high)]
    if ((nats < ends[0]) | (nats > ends[1])).any():
        raise ValueError(f"temperature: the entropy must lie between {ends[0].max():.3g} and {ends[1].min():.3g}; got {nats}.")
    a, b = (torch.full_like(nats, float(np.log(end))) for end in (low, high))
    for _ in range(50):
        mid = (a + b) / 2
        cold = entropy(z / mid.exp()[:, None, None]) < nats
        a, b = torch.where(cold, mid, a), torch.where(cold, b, mid)
    return ((a + b) / 2).exp()


def cooled(networks: Networks, tau: Tensor) -> Networks:
    """Return the networks with their logits divided by temperatures τ (R,): the last layer's weights and biases are."""
    parts = ((*own[:-1], own[-1] / tau[:, None, None]) for own in (networks.weights, networks.biases))
    return Networks(*parts, networks.activation)


@dataclass(frozen=True)
class Learner(relabelling.Learner):
    """R networks with one start for all fits, trained with a Jacobian penalty λ; without one as their parent class does."""

    penalty: float = 0.0

    def fit(self, data: Ensemble, rng: np.random.Generator) -> relabelling.Labeller:
        """Return the networks after stochastic gradient descent on the data from the start."""
        if not self.penalty:
            return super().fit(data, rng)
        order = relabelling.batches(len(data.rows[0]), self.steps, self.batch, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        last = descend(self.starts, *relabelling.tensors(data), self.rate, order, self.penalty, generator)
        return relabelling.Labeller(last, data.rows[0], self.sampled)


def _states(networks, x):
    """The inputs and the hidden activations, (R, N, ·) each."""
    states = [x]
    for w, b in zip(networks.weights[:-1], networks.biases[:-1]):
        states.append(IN_PLACE[networks.activation](torch.baddbmm(b, states[-1], w.mT)))
    return states


def _down(networks, states, v):
    """Signals of v·z at each layer's outputs, and at its inputs before the slope of the activation there; the last is ∇_x v·z."""
    at, below = [v], None
    before = []
    for i in range(len(states) - 1, -1, -1):
        below = at[-1] @ networks.weights[i]
        before.append(below)
        if i:
            at.append(below * SLOPE[networks.activation](states[i]))
    return (at[::-1], before[::-1]), below


def _backward(networks, states, v, weight, error, curved=True):
    """Gradients (weights, biases), from the last layer down, of a loss with the signal `error` at z, plus weight · ½ Σ |vᵀJ|²."""
    act = networks.activation
    (at, before), along = _down(networks, states, v)
    tangents, sources = [weight * along], [None]
    for i in range(1, len(states)):
        u = tangents[-1] @ networks.weights[i - 1].mT
        sources.append(curved * CURVE[act](states[i]) * before[i] * u)
        tangents.append(SLOPE[act](states[i]) * u)
    signal = error
    for i in range(len(states) - 1, -1, -1):
        yield torch.cat([signal, at[i]], 1).mT @ torch.cat([states[i], tangents[i]], 1), signal.sum(1, keepdim=True)
        if i:
            signal = signal @ networks.weights[i] * SLOPE[act](states[i]) + sources[i]
