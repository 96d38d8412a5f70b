"""Deep networks at initialisation, Gaussian and Haar weights: whole ensembles at once, one input, float64.

A network is W^(1), …, W^(L) and an activation, z^(1) = W^(1)x, z^(ℓ+1) = b + W^(ℓ+1)σ(z^(ℓ)). No matrix is drawn here; the chunk
in which an ensemble is run changes speed and memory, never the numbers. Networks with matrices stand in `weights`, the
tensors of the neural tangent kernel in `tensors`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

from collapse_utils.initialisation.correlators import pairs

BUDGET = 2**30  # bytes that one chunk of networks may take


@dataclass(frozen=True)
class Activation:
    """σ and its first three derivatives (almost everywhere, for ReLU)."""

    f: Callable
    d1: Callable
    d2: Callable
    d3: Callable


def _normal(z):
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _sech2(z):
    return 1 - np.tanh(z) ** 2


def _logistic(z):
    s = expit(z)
    return s * (1 - s)


ACTIVATIONS = {
    "linear": Activation(lambda z: z, np.ones_like, np.zeros_like, np.zeros_like),
    "relu": Activation(lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0), np.zeros_like, np.zeros_like),
    "tanh": Activation(
        np.tanh,
        _sech2,
        lambda z: -2 * np.tanh(z) * _sech2(z),
        lambda z: (6 * np.tanh(z) ** 2 - 2) * _sech2(z),
    ),
    "sin": Activation(np.sin, np.cos, lambda z: -np.sin(z), lambda z: -np.cos(z)),
    "gelu": Activation(
        lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
        lambda z: (1 + erf(z / np.sqrt(2))) / 2 + z * _normal(z),
        lambda z: (2 - z**2) * _normal(z),
        lambda z: (z**3 - 4 * z) * _normal(z),
    ),
    "swish": Activation(
        lambda z: z * expit(z),
        lambda z: expit(z) + z * _logistic(z),
        lambda z: _logistic(z) * (2 + z * (1 - 2 * expit(z))),
        lambda z: (
            _logistic(z) * (1 - 2 * expit(z)) * (2 + z * (1 - 2 * expit(z)))
            + _logistic(z) * (1 - 2 * expit(z) - 2 * z * _logistic(z))
        ),
    ),
}


def activation(name: str) -> Activation:
    """Return the activation of that name; ValueError names the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    return ACTIVATIONS[name]


def preactivations(
    ensemble: str, name: str, normals, k1: float, c_w: float, c_b: float = 0.0, first: str | None = None, biases=None
):
    """Yield z (R, n) of each layer, one input, square layers, from standard normals (R, L, n): exact, without a matrix.

    Given s² = |σ(z)|², a Gaussian layer gives √(C_W s²/n) g and a Haar layer √(C_W s²) g/|g|: both ensembles are invariant
    under rotations, and each layer is new. k1 = C_W|x|²/n is the first kernel; `first` the ensemble of the first layer
    where it differs (mixed0); `biases`, standard normals like the first, are needed where C_b > 0.
    """
    act, (_, depth, n) = activation(name), normals.shape
    if not {ensemble, first} <= {"gaussian", "haar", None}:
        raise ValueError(f"preactivations: the ensemble must be gaussian or haar; got {ensemble!r} and first={first!r}.")
    if c_b > 0 and biases is None:
        raise ValueError(f"preactivations: biases of variance C_b need their own standard normals; got C_b = {c_b} and none.")
    size2 = np.full(len(normals), n * k1)
    for layer in range(depth):
        g, law = normals[:, layer], (first or ensemble) if layer == 0 else ensemble
        scale = np.sqrt(size2 / (n if law == "gaussian" else (g**2).sum(1)))
        z = scale[:, None] * g  # (R, n)
        if biases is not None and layer:
            z = z + np.sqrt(c_b).astype(z.dtype) * biases[:, layer]
        yield z
        size2 = (c_w * (act.f(z) ** 2).sum(1)).astype(z.dtype)


def check_shape(n: int, depth: int, networks: int, numbers: int, dtype=np.float64, budget: int = 16 * BUDGET):
    """Raise one clear sentence for an ensemble that cannot be measured: width, depth, precision, memory.

    numbers: how many the run keeps in memory at once beyond one chunk. A connected correlator is a difference of order 1/n
    of numbers of order 1, with rounding errors up to nε: refused below a signal-to-noise 1/(n²ε) of 100.
    """
    if n < 2:
        raise ValueError(f"ensemble: the width must be at least 2, correlators need pairs of neurons; got {n}.")
    if depth < 1:
        raise ValueError(f"ensemble: the depth must be at least 1; got {depth}.")
    if networks < 2:
        raise ValueError(f"ensemble: at least 2 networks are needed for a standard error; got {networks}.")
    if (ratio := 1 / (n**2 * np.finfo(dtype).eps)) < 100:
        raise ValueError(
            f"ensemble: cancellation leaves a signal-to-noise ratio of {ratio:.1f}, below 100, at width {n} in {np.dtype(dtype)}; use float64."
        )
    if (need := 8 * numbers) > budget:
        raise MemoryError(
            f"ensemble: {need / 2**30:.3g} GiB must fit into {budget / 2**30:.3g} GiB; got {networks} networks of width {n}."
        )


def two_point(
    ensemble: str,
    name: str,
    n: int,
    depth: int,
    networks: int,
    rng,
    k1: float = 1.0,
    c_w: float = 1.0,
    c_b: float = 0.0,
    first: str | None = None,
    dtype=np.float64,
) -> dict[str, np.ndarray]:
    """Return per network and layer the means over neurons of z² and over pairs of z_i²z_j²: {"K", "V"}: (networks, depth).

    Sampled without matrices, in chunks; correlators.normalised("V", …) turns the two into the vertex. dtype float32 is refused where
    cancellation leaves no signal.
    """
    check_shape(n, depth, networks, 2 * networks * depth, dtype)
    chunk, parts = max(1, min(networks, BUDGET // (64 * depth * n), 256)), []
    for start in range(0, networks, chunk):
        shape = (min(chunk, networks - start), 1 if c_b == 0 else 2, depth, n)
        normals = rng.standard_normal(shape, dtype)
        layers = preactivations(ensemble, name, normals[:, 0], k1, c_w, c_b, first, normals[:, 1] if c_b else None)
        squares = [z**2 for z in layers]
        parts.append(np.stack([[s.mean(1) for s in squares], [pairs(s, s) for s in squares]]))  # (2, L, R)
    kernel, four = np.concatenate(parts, axis=-1).swapaxes(1, 2)
    return {"K": kernel, "V": four}


def skip_two_point(f: Callable, n: int, gamma: float, c_w: float, depth: int, networks: int, rng) -> dict[str, np.ndarray]:
    """Return two_point's {"K", "V"} (networks, depth) of Gaussian networks with skips, z' = γz + Wσ(z), W of variance C_W/n.

    f is σ; the first layer is standard normal. Given z, the next layer is γz plus independent normals of variance C_W|σ(z)|²/n.
    """
    z, found = rng.standard_normal((networks, n)), {"K": [], "V": []}
    for layer in range(depth):
        if layer:
            spread = np.sqrt(c_w / n * (f(z) ** 2).sum(1))[:, None]
            z = gamma * z + spread * rng.standard_normal((networks, n))
        found["K"].append((z**2).mean(1))
        found["V"].append(pairs(z**2, z**2))
    return {name: np.stack(values, 1) for name, values in found.items()}
