"""The ten tensors of the neural tangent kernel at initialisation, by forward recursions over whole ensembles, one input.

H is the NTK, dH its first and ddI, ddII its second derivatives along the training flow; ensemble averages of their entries,
times the width, are the tensors A, B, D, F (of H), P, Q (of dH) and R, S, T, U (of ddI, ddII) of Roberts, Yaida & Hanin (2022,
2106.10165) and Day, Kahn & Roberts (2023, 2310.07765). Everything in float64; layers count from 1; rates λ_b and λ_W/n.
Up to dH networks run side by side; the arrays of n⁴ numbers go network by network through a core's cache.
"""

from pathlib import Path

import numpy as np
import torch

from collapse_utils.initialisation.correlators import off_diagonal, pairs

CHUNKS = (256, 32, 4)  # networks side by side at order 1, 2, 3: arrays that stay in cache beat long ones


def tensors(
    act,
    draw,
    x,
    networks: int,
    rates_b,
    rate_w: float = 1.0,
    order: int = 3,
    slip: bool = False,
    biases=None,
    budget: int | None = None,
) -> dict[str, np.ndarray]:
    """Return per network and layer what correlators.normalised() turns into V, A, …, U: {name: (networks, depth)}.

    order 1 goes up to the NTK (V, A, B, D, F), 2 to dH (P, Q), 3 to ddH (R, S, T, U). act has f, d1, d2, d3; draw(r) gives the
    weights [(r, n, n_0), (r, n, n), …] of r networks; x (n_0,) the input; rates_b (depth,). slip=True repeats the released code's
    index slip in dH. biases(r), where there are any at the start: (r, depth, n), the first layer's unused. budget: bytes, half of
    the free memory by default; how many networks it holds changes no number.
    """
    depth, budget = len(rates_b), _free_memory() // 2 if budget is None else budget
    _check(networks, depth, order)
    width = draw(0)[0].shape[1]
    if width < 2:
        raise ValueError(f"tensors: the width must be at least 2, the tensors need pairs of neurons; got {width}.")
    each = 8 * (3 * width * (len(x) + depth * width) + (8 * width**2, 12 * width**3, 8 * width**4)[order - 1])
    if each + 8 * 13 * networks * depth > budget:
        raise MemoryError(
            f"tensors: {networks} networks of width {width} at order {order} must fit into memory, one of them takes {each / 2**30:.3g} GiB; "
            f"got a budget of {budget / 2**30:.3g} GiB."
        )
    chunk, parts = max(1, min(networks, budget // each, CHUNKS[order - 1])), []
    for start in range(0, networks, chunk):
        count = min(chunk, networks - start)
        shifts = None if biases is None else biases(count)
        layers = forward(act, np.asarray(x, float), draw(count), rates_b, rate_w, order, slip, shifts)
        parts.append([_statistics(*layer) for layer in layers])
    return {key: np.stack([np.concatenate([part[i][key] for part in parts]) for i in range(depth)], 1) for key in parts[0][0]}


def _check(networks, depth, order):
    for name, value, least in (("depth", depth, 1), ("number of networks", networks, 2)):
        if value < least:
            raise ValueError(f"tensors: the {name} must be at least {least}; got {value}.")
    if order not in (1, 2, 3):
        raise ValueError(f"tensors: the order must be 1 (NTK), 2 (dNTK) or 3 (ddNTK); got {order!r}.")


def _free_memory() -> int:
    """Bytes that the kernel says it can give; 4 GiB where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 * 2**30


def forward(act, x, layers, rates_b, rate_w: float = 1.0, order: int = 3, slip: bool = False, biases=None):
    """Yield (z, H, dH, ddI, ddII) of each layer of the networks; None beyond the order.

    z_a, H_ab, dH_abc, ddI_abcd, each (R, …) in the order of its indices, and ddII_abcd laid out (R, a, c, b, d).

    X_kb = Σ_μ λ ∂z_k ∂z'_b and E_kbc = Σ λλ ∂²z_k ∂z'_b ∂z'_c over the parameters below carry every contraction.
    """
    head, *rest = layers
    r, n, n0 = head.shape
    eye = np.eye(n)
    z = head @ x
    H = np.broadcast_to((rates_b[0] + rate_w * (x @ x) / n0) * eye, (r, n, n))
    dH = np.zeros((r, n, n, n)) if order > 1 else None
    ddI, ddII = (np.zeros((r, n, n, n, n)) for _ in range(2)) if order > 2 else (None, None)
    yield z, H, dH, ddI, ddII
    for layer, (W, rate_b) in enumerate(zip(rest, rates_b[1:], strict=True), 1):
        rate = rate_w / n
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
        H = (rate_b + rate * (s**2).sum(1))[:, None, None] * eye + M @ X
        z = np.matmul(W, s[..., None])[..., 0] + (0.0 if biases is None else biases[:, layer])
        yield z, H, dH, ddI, ddII


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

    Q_cd = Σ_j σ_j [σ''_j X_jc X_jd + σ'_j E_jcd]; Σ₃ runs over the three ways to choose one of b, c, d. No index ever moves:
    each product contracts one of them in place.
    """
    r, n, _ = X.shape
    XX = X[..., None] * X[:, :, None, :]  # (R, k, b, c)
    source = s2[:, :, None, None] * E + (s3 / 3)[:, :, None, None] * XX
    steep = s1[:, :, None, None] * M[:, None]  # (R, k, b, l)
    repeated = np.broadcast_to(X[:, :, None, :], (r, n, n, n)).copy()
    out, one, two = np.empty_like(ddI), *torch.empty(2, n**4, dtype=torch.float64)
    for T, new, w, m, x, part, first, twice in zip(*map(torch.from_numpy, (ddI, out, W, M, X, source, steep, repeated))):
        torch.bmm(first, T.view(n, n, n * n), out=one.view(n, n, n * n))  # b
        torch.bmm(m.expand(n * n, n, n), one.view(n * n, n, n), out=two.view(n * n, n, n))  # c
        torch.mm(two.view(-1, n), m.T, out=one.view(-1, n))  # d
        one.view(n, n * n, n).baddbmm_(part.view(n, n * n, 1), x.view(n, 1, n))
        one.view(n * n, n, n).baddbmm_(twice.view(n * n, n, 1), part.view(n * n, 1, n))
        one.view(n, n, n * n).baddbmm_(x.view(n, n, 1), part.view(n, 1, n * n))
        torch.mm(w, one.view(n, -1), out=new.view(n, -1))  # a
    Q = rate * (np.einsum("rj,rjcd->rcd", s * s2, XX) + np.einsum("rj,rjcd->rcd", s * s1, E))
    np.einsum("raacd->racd", out)[...] += Q[:, None]
    np.einsum("rabad->rabd", out)[...] += Q[:, None]
    np.einsum("rabca->rabc", out)[...] += Q[:, None]
    return out


def _second_two(ddII, W, M, X, H, dH, s, s1, s2, rate):
    """ddII'_abcd = (MMMM ddII)_abcd + Y_ac·H·Y_bd + Y_ac·F_bd + F_ac·Y_bd + δ_ab λ_W/n Σ_j σ'_j² X_jc X_jd.

    Y_ack = W_ak σ''_k X_kc + δ_ac λ_W/n σ_kσ'_k and F_ack = Σ M_al M_cm dH_lkm; laid out (R, a, c, b, d). With G = YH/2 + F
    the middle terms are YGᵀ + GYᵀ, one product.
    """
    r, n, _ = X.shape
    Y = (W * s2[:, None, :])[:, :, None, :] * X.swapaxes(1, 2)[:, None]  # (R, a, c, k)
    np.einsum("raak->rak", Y)[...] += rate * (s * s1)[:, None, :]
    half = M[:, None] @ dH.swapaxes(2, 3)  # (R, l, c, k)
    F = (M @ half.reshape(r, n, n * n)).reshape(r, n * n, n)
    Y = Y.reshape(r, n * n, n)
    G = Y @ (H / 2) + F
    left, right = np.concatenate([Y, G], 2), np.concatenate([G, Y], 2)  # (R, ac, 2n)
    out, one = np.empty_like(ddII), torch.empty(n**4, dtype=torch.float64)
    for T, new, m, y, g in zip(*map(torch.from_numpy, (ddII, out, M, left, right))):
        torch.mm(m, T.view(n, -1), out=one.view(n, -1))  # a
        torch.bmm(m.expand(n, n, n), one.view(n, n, n * n), out=new.view(n, n, n * n))  # c
        torch.bmm(m.expand(n * n, n, n), new.view(n * n, n, n), out=one.view(n * n, n, n))  # b
        torch.mm(one.view(-1, n), m.T, out=new.view(-1, n))  # d
        new.view(n * n, n * n).addmm_(y, g.T)
    same = rate * (X * (s1**2)[..., None]).swapaxes(1, 2) @ X  # (R, c, d)
    np.einsum("racad->racd", out)[...] += same[:, None]
    return out


def _statistics(z, H, dH, ddI, ddII) -> dict[str, np.ndarray]:
    """The numbers of one layer that are averaged over networks, each already averaged over neurons or pairs: (R,) each."""
    square, diagonal = z**2, np.einsum("rii->ri", H)
    found = {
        "K": square.mean(1),
        "H": diagonal.mean(1),
        "V": pairs(square, square),
        "A": pairs(diagonal, diagonal),
        "B": off_diagonal(H**2),
        "D": pairs(square, diagonal),
        "F": off_diagonal(H * z[:, :, None] * z[:, None, :]),
    }
    if dH is not None:
        found["P"] = off_diagonal(np.einsum("rijj->rij", dH) * z[:, :, None])
        found["Q"] = off_diagonal(np.einsum("riij->rij", dH) * z[:, None, :])
    if ddI is not None:
        found["R"] = off_diagonal(np.einsum("riijj->rij", ddI))
        found["S"] = off_diagonal(np.einsum("rijij->rij", ddII))
        found["T"] = off_diagonal(np.einsum("riijj->rij", ddII))
        found["U"] = off_diagonal(np.einsum("rijji->rij", ddII))
    return found
