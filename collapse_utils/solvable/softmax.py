"""Softmax regression on images that labels its own images again: several runs at once, trained to the end or for some epochs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from collapse_utils.rows import Ensemble


def random_convolutions(images: np.ndarray, n_filters: int, rng: np.random.Generator) -> np.ndarray:
    """Return ReLU responses of images (N, h, w) to random 3 × 3 filters N(0, 1), averaged over 2 × 2 places: (N, features).

    h and w must be even; the number of features is (h/2 − 1)(w/2 − 1)·n_filters.
    """
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (1, 2))  # (N, h − 2, w − 2, 3, 3)
    n, h, w = windows.shape[:3]
    if h % 2 or w % 2:
        raise ValueError(f"random_convolutions: images must have even sides; got {h + 2} × {w + 2}.")
    response = np.maximum(windows.reshape(n, h, w, 9) @ rng.standard_normal((9, n_filters)), 0)
    return response.reshape(n, h // 2, 2, w // 2, 2, n_filters).mean(axis=(2, 4)).reshape(n, -1)


@dataclass(frozen=True)
class Softmax:
    """Softmax regression of R runs on features x (R, N, p) and K classes; a data set is an Ensemble of labels (n, R).

    Label i belongs to image i mod N, so a pool holds whole copies of the images. train(x, labels (R, n), K, rng) returns weights.
    """

    x: np.ndarray
    n_classes: int
    train: Callable

    def fit(self, data: Ensemble, rng) -> "SoftmaxModel":
        """Return the trained weights of every run."""
        return SoftmaxModel(self, self.train(self.x, data.rows.T, self.n_classes, rng))


@dataclass(frozen=True)
class SoftmaxModel:
    """Weights w (R, p, K)."""

    regression: Softmax
    w: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n labels of every run, whole copies of its images."""
        x = self.regression.x
        if n % x.shape[1]:
            raise ValueError(f"sample: n must be a multiple of the {x.shape[1]} images; got {n}.")
        edges = np.cumsum(softmax(x @ self.w, axis=2), axis=2)[..., :-1]  # (R, N, K − 1)
        draws = rng.random((n // x.shape[1], *x.shape[:2], 1)) > edges
        return Ensemble(draws.sum(axis=3).transpose(0, 2, 1).reshape(n, -1))

    def loss(self, x: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return the mean cross-entropy on rows x (R, M, p) whose classes have the shares (R, M, K), in nats: (R,)."""
        return -(shares * log_softmax(x @ self.w, axis=2)).sum(axis=2).mean(axis=1)


def frequencies(labels: np.ndarray, n_images: int, n_classes: int) -> np.ndarray:
    """Return how often every image has each label, as shares: labels (R, n) → (R, N, K)."""
    return np.eye(n_classes)[labels].reshape(len(labels), -1, n_images, n_classes).mean(axis=1)


def maximum(x: np.ndarray, labels: np.ndarray, n_classes: int, rng=None, penalty: float = 0.0) -> np.ndarray:
    """Return the maximum-likelihood weights (R, p, K), penalised by penalty/2·‖w‖², by L-BFGS from zero.

    Raises ValueError where the gradient does not come below 1e-6, or where all labels are certain, being separable.
    """
    found = []
    for rows, shares in zip(x, frequencies(labels, x.shape[1], n_classes), strict=True):

        def value(flat, rows=rows, shares=shares):
            w = flat.reshape(rows.shape[1], n_classes)
            logs = log_softmax(rows @ w, axis=1)
            gradient = rows.T @ (np.exp(logs) - shares) / len(rows) + penalty * w
            return -(shares * logs).sum() / len(rows) + penalty / 2 * (w**2).sum(), gradient.ravel()

        start = np.zeros(rows.shape[1] * n_classes)
        done = minimize(
            value, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-7, "ftol": 0, "maxiter": 5000, "maxfun": 10_000}
        )
        if done.fun < 1e-3 or np.abs(done.jac).max() > 1e-6:
            raise ValueError(
                f"maximum: labels must not be separable; got a loss of {done.fun:.1e} with gradient {np.abs(done.jac).max():.1e}: "
                "give more rows or a penalty."
            )
        found.append(done.x.reshape(-1, n_classes))
    return np.stack(found)


def epochs(optimiser: str, rate: float, n_epochs: int, batch: int = 128) -> Callable:
    """Return train(x, labels, K, rng) that passes n_epochs times over the pool in random batches, from zero, in float32.

    optimiser: "sgd", with momentum 0.9, or "adam". The pool of a later fit has more rows, and so takes more steps.
    """
    import torch

    rules = {"sgd": lambda w: torch.optim.SGD([w], lr=rate, momentum=0.9), "adam": lambda w: torch.optim.Adam([w], lr=rate)}

    def train(x, labels, n_classes, rng):
        rows, answers = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(labels.copy())
        w, certain = torch.zeros(len(x), n_classes, x.shape[2]), torch.eye(n_classes)
        descent, runs, n = rules[optimiser](w), torch.arange(len(x))[:, None], labels.shape[1]
        for _ in range(n_epochs):
            order = torch.as_tensor(rng.permuted(np.tile(np.arange(n), (len(x), 1)), axis=1))
            for chosen in order.split(batch, dim=1):
                seen = rows[runs, chosen % x.shape[1]]  # (R, batch, p)
                missed = torch.softmax(w @ seen.mT, dim=1) - certain[answers[runs, chosen]].mT  # (R, K, batch)
                w.grad = missed @ seen / chosen.shape[1]
                descent.step()
        return w.mT.numpy().astype(float)

    return train
