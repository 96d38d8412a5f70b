"""Two-layer ReLU networks trained by gradient descent, many data sets and many labellings of each at once."""

from collections.abc import Callable

import numpy as np


def two_layers(x: np.ndarray, y: np.ndarray, width: int, n_steps: int, rate: float, rng) -> Callable:
    """Return predict(x) → (S, P, N, c) of S × P networks: S data sets x (S, n, k), each with P labellings y (S, P, n, c).

    Mean squared error, full-batch descent with momentum 0.9 in float32. First layers N(0, 1/k) from rng, one a data set and shared
    by its labellings; biases and second layers start at zero, so that an untrained network predicts 0.
    """
    import torch

    x, y = (torch.as_tensor(array, dtype=torch.float32) for array in (x, y))
    (s, _, k), (_, p, _, c) = x.shape, y.shape
    first = torch.as_tensor(rng.standard_normal((s, k, width)) / np.sqrt(k), dtype=torch.float32)
    first = first.repeat(1, 1, p).requires_grad_()  # (S, k, P·width)
    bias, second = torch.zeros(s, 1, p * width, requires_grad=True), torch.zeros(s, p, width, c, requires_grad=True)

    def output(x):
        hidden = torch.relu(x @ first + bias)  # (S, n, P·width)
        return hidden.unflatten(2, (p, width)).transpose(1, 2) @ second  # (S, P, n, c)

    descent = torch.optim.SGD([first, bias, second], lr=rate, momentum=0.9)
    for _ in range(n_steps):
        descent.zero_grad()
        ((output(x) - y) ** 2).sum(dim=3).mean(dim=2).sum().backward()
        descent.step()

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return output(torch.as_tensor(x, dtype=torch.float32)).numpy()

    return predict
