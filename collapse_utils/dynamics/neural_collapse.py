"""Neural collapse of many networks side by side: the classical metrics, and networks whose features lie on a sphere."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from collapse_utils.dynamics import softmax
from collapse_utils.dynamics.mlp import IN_PLACE, Networks

CUT = 1e-6  # eigenvalues of Σ_B below this share of the largest are rounding: the rank is K − 1 at most


def features(networks: Networks, x: Tensor) -> Tensor:
    """Return the last hidden activations (R, N, p) of R networks on inputs of their own (R, N, n_in), or common ones (N, n_in)."""
    below = Networks(networks.weights[:-1], networks.biases[:-1], networks.activation)
    return IN_PLACE[networks.activation](softmax.logits(below, x))


def scatter(h: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class means less the global one (R, K, p), Σ_W and Σ_B (R, p, p), of features h (R, N, p) and labels y (R, N).

    Σ_W is the mean of the rows' squared deviations, Σ_B that over the classes that have rows, in float64; the others' means are
    the global one. Raises ValueError for fewer than two classes, by number or by labels, and fewer rows than classes.
    """
    h = np.asarray(h, float)
    if k < 2:
        raise ValueError(f"scatter: variability between classes needs at least 2 classes; got {k}.")
    if h.shape[1] < k:
        raise ValueError(f"scatter: needs at least as many rows as the {k} classes; got {h.shape[1]}.")
    member = (np.asarray(y)[..., None] == np.arange(k)).astype(float)  # (R, N, K)
    count = member.sum(axis=1)
    alive = (count > 0).sum(axis=1)
    if (alive < 2).any():
        raise ValueError(f"scatter: labels must be of at least 2 classes; got one class alone for network {int(alive.argmin())}.")
    means = member.mT @ h / np.maximum(count, 1)[..., None]  # (R, K, p)
    within = h - member @ means
    centred = np.where(count[..., None] > 0, means - h.mean(axis=1, keepdims=True), 0.0)
    return centred, within.mT @ within / h.shape[1], centred.mT @ centred / alive[:, None, None]


def variability(h: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Return NC1 = (1/K) Tr Σ_W Σ_B⁺ of features h (R, N, p) with labels y (R, N), (R,) (Papyan, Han and Donoho 2020).

    The pseudo-inverse cuts the spectrum of Σ_B at CUT: a plain one in float32 inverts its rounding. Raises as scatter does.
    """
    _, within, between = scatter(h, y, k)
    alive = [len(np.unique(labels)) for labels in y]
    return np.trace(within @ np.linalg.pinv(between, rcond=CUT, hermitian=True), axis1=1, axis2=2) / alive


def metrics(networks: Networks, x: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    """Return the four metrics of neural collapse of R networks on their rows x (R, N, n_in), y (R, N): {name: (R,)}.

    NC1; NC2 |WWᵀ/|WWᵀ| − (I − 11ᵀ/K)/√(K−1)|; NC3 |W/|W| − M/|M||², M the centred class means; NC4 the share of rows that
    the nearest class mean puts elsewhere; also the accuracy on these rows. Raises as scatter does.
    """
    h, w = features(networks, x).numpy().astype(float), networks.weights[-1].numpy().astype(float)
    k, labels = w.shape[1], y.numpy()
    centred, *_ = scatter(h, labels, k)
    etf = (np.eye(k) - 1 / k) / np.sqrt(k - 1)
    means = centred + h.mean(axis=1, keepdims=True)
    nearest = ((means**2).sum(axis=2)[:, None] - 2 * h @ means.mT).argmin(axis=2)  # |h − μ|² less |h|², (R, N, K)
    said = softmax.logits(networks, x).argmax(-1).numpy()
    return {
        "NC1": variability(h, labels, k),
        "NC2": np.linalg.norm(_scaled(w @ w.mT) - etf, axis=(1, 2)),
        "NC3": np.linalg.norm(_scaled(w) - _scaled(centred), axis=(1, 2)) ** 2,
        "NC4": (nearest != said).mean(axis=1),
        "accuracy": (said == labels).mean(axis=1),
    }


def _scaled(a):
    return a / np.linalg.norm(a, axis=(1, 2), keepdims=True)


def on_sphere(starts: Networks, w: Tensor, x: Tensor, y: Tensor, temperatures: Tensor, rate: float, batches: Tensor):
    """Return copies of networks and class weights (R, K, d) after descent on cross-entropy of cosines over temperatures (R,).

    The networks' outputs (R, N, d) are features and divided by their length, as are the weights; SGD with momentum 0.9 and
    weight decay 5e-4 for each batch of row numbers (T, b), its rate falling to zero as a cosine; x (R, N, n_in), y (R, N).
    """
    net, w = starts.copy(), w.clone()
    parameters = [p.requires_grad_() for p in (*net.weights, *net.biases, w)]
    descent = torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, len(batches))
    for rows in batches:
        h = directions(net, x[:, rows])
        scores = h @ functional.normalize(w, dim=-1).mT / temperatures[:, None, None]
        loss = functional.cross_entropy(scores.flatten(0, 1), y[:, rows].flatten(), reduction="sum") / len(rows)
        descent.zero_grad()
        loss.backward()
        descent.step()
        schedule.step()
    for p in parameters:
        p.requires_grad_(False)
    return net, functional.normalize(w, dim=-1)


def directions(networks: Networks, x: Tensor) -> Tensor:
    """Return the outputs of networks on x (R, N, n_in), or (N, n_in), divided by their length: (R, N, d)."""
    return functional.normalize(softmax.logits(networks, x), dim=-1)
