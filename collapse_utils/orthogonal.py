"""Deep networks at initialisation, Gaussian and Haar weights: whole ensembles at once, one input, float64.

A network is W^(1), …, W^(L) and an activation, z^(1) = W^(1)x, z^(ℓ+1) = b + W^(ℓ+1)σ(z^(ℓ)). Random numbers are drawn
network by network, so that the chunk in which an ensemble is run changes speed and memory, never the numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

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
        lambda z: _logistic(z) * (1 - 2 * expit(z)) * (2 + z * (1 - 2 * expit(z)))
        + _logistic(z) * (1 - 2 * expit(z) - 2 * z * _logistic(z)),
    ),
}


def activation(name: str) -> Activation:
    """Return the activation of that name; ValueError names the known ones."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    return ACTIVATIONS[name]


def haar(normals) -> np.ndarray:
    """Return uniformly distributed semi-orthogonal matrices of the shape of the standard normals (…, m, k).

    Rows are orthonormal where m ≤ k, columns where m ≥ k. The Q of a QR factorisation, its columns multiplied by the
    signs of R's diagonal: without them Q depends on the routine's convention and is not uniform (Mezzadri 2007, math-ph/0609050).
    """
    wide = normals.shape[-2] < normals.shape[-1]
    q, r = np.linalg.qr(normals.swapaxes(-1, -2) if wide else normals)
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return q.swapaxes(-1, -2) if wide else q


def weights(ensemble: str, normals, c_w: float, rectangular: str | None = None) -> np.ndarray:
    """Return weight matrices (…, n_out, n_in) of an ensemble from standard normals of that shape.

    gaussian: variance C_W/n_in. haar: √C_W times a uniform orthogonal matrix; a layer that is not square needs
    rectangular="semi-orthogonal", √(C_W max(1, n_out/n_in)) times a uniform semi-orthogonal matrix. Both scale the mean
    of (Wx)_i² to C_W|x|²/n_in. Raises ValueError for another ensemble or a rectangular Haar layer without the rule.
    """
    n_out, n_in = normals.shape[-2:]
    if ensemble == "gaussian":
        return np.sqrt(c_w / n_in) * normals
    if ensemble != "haar":
        raise ValueError(f"weights: the ensemble must be gaussian or haar; got {ensemble!r}.")
    if n_out != n_in and rectangular != "semi-orthogonal":
        raise ValueError(
            f"weights: a Haar layer that is not square needs rectangular='semi-orthogonal'; got {n_out} × {n_in} and {rectangular!r}."
        )
    return np.sqrt(c_w * max(1.0, n_out / n_in)) * haar(normals)


def preactivations(
    ensemble: str, name: str, normals, k1: float, c_w: float, c_b: float = 0.0, first: str | None = None, biases=None
):
    """Yield z (R, n) of each layer, one input, square layers, from standard normals (R, L, n): exact, without a matrix.

    Given s² = |σ(z)|², a Gaussian layer gives √(C_W s²/n) g and a Haar layer √(C_W s²) g/|g|: both ensembles are invariant
    under rotations, and each layer is new. k1 = C_W|x|²/n is the first kernel; `first` the ensemble of the first layer
    where it differs (mixed0); `biases`, standard normals like the first, are needed where C_b > 0.
    """
    act, (_, depth, n) = activation(name), normals.shape
    size2 = np.full(len(normals), n * k1)
    for layer in range(depth):
        g, law = normals[:, layer], (first or ensemble) if layer == 0 else ensemble
        scale = np.sqrt(size2 / (n if law == "gaussian" else (g**2).sum(1)))
        z = scale[:, None] * g  # (R, n)
        if biases is not None and layer:
            z = z + np.sqrt(c_b).astype(z.dtype) * biases[:, layer]
        yield z
        size2 = (c_w * (act.f(z) ** 2).sum(1)).astype(z.dtype)


def pairs(x, y) -> np.ndarray:
    """Return the mean of x_i y_j over the pairs i ≠ j of the last axis: (…, n), (…, n) → (…)."""
    n = x.shape[-1]
    return (x.sum(-1) * y.sum(-1) - (x * y).sum(-1)) / (n * (n - 1))


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
        raise MemoryError(f"ensemble: {need / 2**30:.3g} GiB must fit into {budget / 2**30:.3g} GiB; got {networks} networks of width {n}.")


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

    Sampled without matrices, in chunks; normalised("V", …) turns the two into the vertex. dtype float32 is refused where
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


EXPONENTS = {  # powers of Θ and of K in the denominator, and whether a disconnected part is subtracted
    "V": (0, 2, 1),
    "A": (2, 0, 1),
    "B": (2, 0, 0),
    "D": (1, 1, 1),
    "F": (1, 1, 0),
    "P": (2, 0, 0),
    "Q": (2, 0, 0),
    "R": (3, -1, 0),
    "S": (3, -1, 0),
    "T": (3, -1, 0),
    "U": (3, -1, 0),
}


def normalised(tensor: str, statistics: dict[str, np.ndarray], n: int) -> np.ndarray:
    """Return samples (networks, depth) whose mean is the normalised tensor, with the spread of that estimate.

    X̃ = n[mean(x)/(Θᵃ Kᵇ) − c] with Θ and K the means over networks (Day et al. 2023, 2310.07765, released code); each
    sample carries its share of the error of Θ and K (delta method), so that a t-test on the samples is one on X̃.
    """
    a, b, c = EXPONENTS[tensor]
    x = statistics[tensor]
    level, shift = 1.0, 0.0
    for power, name in ((a, "H"), (b, "K")):
        if power:
            mean = statistics[name].mean(axis=0)
            level, shift = level * mean**power, shift + power * (statistics[name] - mean) / mean
    return n * ((x - x.mean(axis=0) * shift) / level - c)


def tensors(
    ensemble: str,
    name: str,
    x,
    width: int,
    depth: int,
    networks: int,
    rng,
    rates_b,
    rate_w: float = 1.0,
    c_w: float = 1.0,
    first: str | None = None,
    rectangular: str | None = None,
    order: int = 3,
    slip: bool = False,
    budget: int = BUDGET,
) -> dict[str, np.ndarray]:
    """Return per network and layer what normalised() turns into V, A, B, D, F, P, …, U: {name: (networks, depth)}.

    order 1 goes up to the NTK H (V, A, B, D, F), 2 to its first derivative dH (P, Q), 3 to the second, ddH (R, S, T, U);
    Day et al. (2023, 2310.07765), released code. x (n_0,) is the input, rates_b (depth,) and rate_w the learning rates
    λ_b, λ_W; slip=True repeats the released code's index slip in dH. Raises MemoryError where one network exceeds the
    budget (bytes); the number of networks run side by side follows from it and changes no number.
    """
    act, n0 = activation(name), len(x)
    check_shape(width, depth, networks, 13 * networks * depth)
    each = 8 * (3 * width * (n0 + depth * width) + (8 * width**2, 12 * width**3, 8 * width**4)[order - 1])
    if each > budget:
        raise MemoryError(
            f"tensors: one network of width {width} needs {each / 2**30:.3g} GiB at order {order}; got a budget of {budget / 2**30:.3g} GiB."
        )
    chunk, parts = max(1, min(networks, budget // each, (256, 32, 4)[order - 1])), []
    for start in range(0, networks, chunk):
        normals = rng.standard_normal((min(chunk, networks - start), width * (n0 + (depth - 1) * width)))
        head = normals[:, : width * n0].reshape(-1, width, n0)
        rest = normals[:, width * n0 :].reshape(-1, depth - 1, width, width)
        head = weights(first or ensemble, head, c_w, rectangular)
        layers = _forward(act, np.asarray(x, float), head, weights(ensemble, rest, c_w), rates_b, rate_w, order, slip)
        parts.append([_statistics(*layer) for layer in layers])
    return {key: np.stack([np.concatenate([part[i][key] for part in parts]) for i in range(depth)], 1) for key in parts[0][0]}


def _forward(act, x, head, rest, rates_b, rate_w, order, slip):
    """Yield (z, H, dH, ddI, ddII) of each layer; ddI is laid out (R, b, c, d, a), ddII (R, a, c, b, d).

    X_kb = Σ_μ λ ∂z_k ∂z'_b and E_kbc = Σ λλ ∂²z_k ∂z'_b ∂z'_c over the parameters below carry every contraction.
    """
    r, n, n0 = head.shape
    eye = np.eye(n)
    z = head @ x
    H = np.broadcast_to((rates_b[0] + rate_w * (x @ x) / n0) * eye, (r, n, n))
    dH = np.zeros((r, n, n, n)) if order > 1 else None
    ddI, ddII = (np.zeros((r, n, n, n, n)) for _ in range(2)) if order > 2 else (None, None)
    yield z, H, dH, ddI, ddII
    for layer in range(rest.shape[1]):
        W, rate = rest[:, layer], rate_w / n
        s, s1, s2, s3 = act.f(z), act.d1(z), act.d2(z), act.d3(z)
        M = W * s1[:, None, :]
        X = H @ M.swapaxes(1, 2)  # (R, k, b)
        if order > 1:
            E = M[:, None] @ dH @ M.swapaxes(1, 2)[:, None]  # (R, k, b, c)
        if order > 2:
            ddI = _second_one(ddI, W, M, X, E, s, s1, s2, s3, rate)
            ddII = _second_two(ddII, W, M, X, H, dH, s, s1, s2, rate)
        if order > 1:
            dH = _first(W, X, E, H, s, s1, s2, rate, slip)
        H = (rates_b[layer + 1] + rate * (s**2).sum(1))[:, None, None] * eye + M @ X
        z = np.matmul(W, s[..., None])[..., 0]
        yield z, H, dH, ddI, ddII


def _rotate(T, M):
    """Contract the first index of T (R, n, n, …) with the second of M (R, n, n) and put it last: a BLAS call, no copy."""
    shape = T.shape
    out = T.reshape(shape[0], shape[1], -1).swapaxes(1, 2) @ M.swapaxes(1, 2)
    return out.reshape(shape[0], *shape[2:], M.shape[1])


def _first(W, X, E, H, s, s1, s2, rate, slip):
    """dH'_abc = Σ_k W_ak [σ'_k E_kbc + σ''_k X_kb X_kc] + λ_W/n [δ_ab (σσ'·X)_c + δ_ac (σσ'·X)_b]."""
    r, n, _ = X.shape
    inner = s1[:, :, None, None] * E + (s2[:, :, None] * X)[..., None] * X[:, :, None, :]
    out = (W @ inner.reshape(r, n, n * n)).reshape(r, n, n, n)
    new = rate * np.matmul((s * s1)[:, None], X)[:, 0]  # (R, c)
    other = rate * np.matmul(W, (s * np.matmul(H, (s1**2)[..., None])[..., 0])[..., None])[..., 0] if slip else new
    np.einsum("raac->rac", out)[...] += new[:, None, :]
    np.einsum("raba->rab", out)[...] += other[:, None, :]
    return out


def _second_one(ddI, W, M, X, E, s, s1, s2, s3, rate):
    """ddI'_abcd = Σ_k W_ak [σ'_k (MMM ddI)_kbcd + σ'''_k X_kb X_kc X_kd + σ''_k Σ₃ E_kbc X_kd] + λ_W/n Σ₃ δ_ab Q_cd.

    Q_cd = Σ_j σ_j [σ''_j X_jc X_jd + σ'_j E_jcd]; Σ₃ runs over the three ways to choose one of b, c, d.
    """
    XX = X[..., None] * X[:, :, None, :]  # (R, k, b, c)
    T = _rotate(_rotate(_rotate(ddI, M), M), M)  # (R, k, b, c, d)
    T *= s1[:, :, None, None, None]
    part = s2[:, :, None, None] * E + (s3 / 3)[:, :, None, None] * XX
    T += part[..., None] * X[:, :, None, None, :]
    T += part[:, :, :, None, :] * X[:, :, None, :, None]
    T += part[:, :, None, :, :] * X[:, :, :, None, None]
    out = _rotate(T, W)  # (R, b, c, d, a)
    Q = rate * (np.einsum("rj,rjcd->rcd", s * s2, XX) + np.einsum("rj,rjcd->rcd", s * s1, E))
    np.einsum("racda->racd", out)[...] += Q[:, None]
    np.einsum("rbada->rabd", out)[...] += Q[:, None]
    np.einsum("rbcaa->rabc", out)[...] += Q[:, None]
    return out


def _second_two(ddII, W, M, X, H, dH, s, s1, s2, rate):
    """ddII'_abcd = (MMMM ddII)_abcd + Y_ac·H·Y_bd + Y_ac·F_bd + F_ac·Y_bd + δ_ab λ_W/n Σ_j σ'_j² X_jc X_jd.

    Y_ack = W_ak σ''_k X_kc + δ_ac λ_W/n σ_kσ'_k and F_ack = Σ M_al M_cm dH_lkm; laid out (R, a, c, b, d).
    """
    r, n, _ = X.shape
    Y = (W * s2[:, None, :])[:, :, None, :] * X.swapaxes(1, 2)[:, None]  # (R, a, c, k)
    np.einsum("raak->rak", Y)[...] += rate * (s * s1)[:, None, :]
    half = M[:, None] @ dH.swapaxes(2, 3)  # (R, l, c, k)
    F = (M @ half.reshape(r, n, n * n)).reshape(r, n * n, n)
    Y = Y.reshape(r, n * n, n)
    out = _rotate(_rotate(_rotate(_rotate(ddII, M), M), M), M).reshape(r, n * n, n * n)
    out += np.concatenate([Y, F], 2) @ np.concatenate([Y @ H + F, Y], 2).swapaxes(1, 2)
    out = out.reshape(r, n, n, n, n)
    same = rate * (X * (s1**2)[..., None]).swapaxes(1, 2) @ X  # (R, c, d)
    np.einsum("racad->racd", out)[...] += same[:, None]
    return out


def _off_diagonal(T):
    """Mean of T_ij over i ≠ j: (R, n, n) → (R,)."""
    n = T.shape[-1]
    return (T.sum((1, 2)) - np.einsum("rii->r", T)) / (n * (n - 1))


def _statistics(z, H, dH, ddI, ddII) -> dict[str, np.ndarray]:
    """The numbers of one layer that are averaged over networks, each already averaged over neurons or pairs: (R,) each."""
    square, diagonal = z**2, np.einsum("rii->ri", H)
    found = {
        "K": square.mean(1),
        "H": diagonal.mean(1),
        "V": pairs(square, square),
        "A": pairs(diagonal, diagonal),
        "B": _off_diagonal(H**2),
        "D": pairs(square, diagonal),
        "F": _off_diagonal(H * z[:, :, None] * z[:, None, :]),
    }
    if dH is not None:
        found["P"] = _off_diagonal(np.einsum("rijj->rij", dH) * z[:, :, None])
        found["Q"] = _off_diagonal(np.einsum("riij->rij", dH) * z[:, None, :])
    if ddI is not None:
        found["R"] = _off_diagonal(np.einsum("rijji->rij", ddI))
        found["S"] = _off_diagonal(np.einsum("rijij->rij", ddII))
        found["T"] = _off_diagonal(np.einsum("riijj->rij", ddII))
        found["U"] = _off_diagonal(np.einsum("rijji->rij", ddII))
    return found
