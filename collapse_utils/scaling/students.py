"""Students of inputs with more than one labelling: their moments for the theory of ridge, and two-layer networks."""

from collections.abc import Callable

import numpy as np


def random_features(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return m random ReLU features √(2/mk) max(0, Wx) of rows x (N, k), (N, m); weights W (m, k) are N(0, 1).

    Over weights their products are the arc-cosine kernel of degree 1, over k (Cho, Saul 2009), in the mean |x|²/k on the diagonal.
    """
    return np.maximum(x @ weights.T, 0) * np.sqrt(2 / weights.size)


def second_moments(z: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvalues (m,), second (m, 2, 2) and rest (2, 2) as theory.ridge.two_sources wants them, from rows.

    z (N, m) are features and labels (2, N, k) the real and the synthetic ones. Least squares on all N rows, its own estimation error
    R/(Nλ) subtracted from the products of weights: unbiased given the rows. Raises ValueError unless N > m.
    """
    n, m = z.shape
    if n <= m:
        raise ValueError(f"second_moments: rows must outnumber the {m} features; got {n}.")
    eigenvalues, basis = np.linalg.eigh(z.T @ z / n)
    scores = z @ basis
    w = scores.T @ labels / (n * eigenvalues[:, None])  # (2, m, k)
    residual = (labels - scores @ w).reshape(2, -1)
    rest = residual @ residual.T / (n - m)
    return eigenvalues, np.einsum("aik,bik->iab", w, w) - rest / (n * eigenvalues[:, None, None]), rest


def two_layers(x: np.ndarray, y: np.ndarray, width: int, n_steps: int, rate: float, rng) -> Callable:
    """Return predict(x) → (S, P, N, c) of S × P networks: S data sets x (S, n, k), each with P labellings y (S, P, n, c).

    Mean squared error, full-batch descent with momentum 0.9 in float32. First layers N(0, 1/k) from rng, one a data set and shared
    by its labellings; biases and second layers start at zero, so that an untrained network predicts 0.
    """
    import torch

    x, y = (torch.as_tensor(array, dtype=torch.float32) for array in (x, y))
    (s, _, k), (_, p, _, c) = x.shape, y.shape
    first = torch.as_tensor(rng.standard_normal((s, k, width)) / np.sqrt(k), dtype=torch.float32)
    first = first[:, None].repeat(1, p, 1, 1).requires_grad_()  # (S, P, k, width)
    bias, second = torch.zeros(s, p, 1, width, requires_grad=True), torch.zeros(s, p, width, c, requires_grad=True)

    def output(x):
        return torch.relu(x[:, None] @ first + bias) @ second  # (S, P, n, c)

    descent = torch.optim.SGD([first, bias, second], lr=rate, momentum=0.9)
    for _ in range(n_steps):
        descent.zero_grad()
        ((output(x) - y) ** 2).sum(dim=3).mean(dim=2).sum().backward()
        descent.step()

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return output(torch.as_tensor(x, dtype=torch.float32)).numpy()

    return predict
