"""The ten tensors of the neural tangent kernel at initialisation, by forward recursions over whole ensembles, one input.

H is the NTK, dH its first and ddI, ddII its second derivatives along the training flow; ensemble averages of their entries,
times the width, are the tensors A, B, D, F (of H), P, Q (of dH) and R, S, T, U (of ddI, ddII) of Roberts, Yaida & Hanin (2022,
2106.10165) and Day, Kahn & Roberts (2023, 2310.07765). Everything in float64; layers count from 1; rates λ_b and λ_W/n.
Networks run side by side; of ddI and ddII only the sums that are averaged are made, from Jacobians between the layers.
"""

from functools import cache
from pathlib import Path

import numpy as np

from collapse_utils.initialisation.correlators import off_diagonal, pairs

CHUNKS = (256, 32, 8)  # networks side by side at order 1, 2, 3: arrays that stay in cache beat long ones
SIDE = 2  # of these in second


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
    chunk, parts = _chunk(networks, width, len(x), depth, order, budget), []
    for start in range(0, networks, chunk):
        count = min(chunk, networks - start)
        shifts = None if biases is None else biases(count)
        weights = draw(count)
        layers, states = [], []
        for state in forward(act, np.asarray(x, float), weights, rates_b, rate_w, order, slip, shifts):
            layers.append(_statistics(*state))
            states += [state] * (order > 2)
        found = {key: np.stack([layer[key] for layer in layers], 1) for key in layers[0]}
        parts.append(found | (second(act, weights[1:], states, rate_w) if order > 2 else {}))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _chunk(networks, width, inputs, depth, order, budget):
    """How many networks run side by side; refuses what does not fit into the budget, in bytes."""
    each = 8 * (3 * width * (inputs + depth * width) + (8 * width**2, 12 * width**3, 12 * width**3)[order - 1])
    each += 8 * (order > 2) * depth * width**2 * (2 * width + 30)  # dH, and what _source makes, for every layer
    if each + 8 * 13 * networks * depth > budget:
        raise MemoryError(
            f"tensors: {networks} networks of width {width} at order {order} must fit into memory, one of them takes {each / 2**30:.3g} GiB; "
            f"got a budget of {budget / 2**30:.3g} GiB."
        )
    return max(1, min(networks, budget // each, CHUNKS[order - 1]))


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


def forward(act, x, layers, rates_b, rate_w: float = 1.0, order: int = 2, slip: bool = False, biases=None):
    """Yield (z, H, dH) of each layer of the networks: z_a, H_ab, dH_abc, (R, …) in the order of their indices; dH None at order 1.

    X_kb = Σ_μ λ ∂z_k ∂z'_b and E_kbc = Σ λλ ∂²z_k ∂z'_b ∂z'_c over the parameters below carry every contraction.
    """
    head, *rest = layers
    r, n, n0 = head.shape
    eye = np.eye(n)
    z = head @ x
    H = np.broadcast_to((rates_b[0] + rate_w * (x @ x) / n0) * eye, (r, n, n))
    dH = np.zeros((r, n, n, n)) if order > 1 else None
    yield z, H, dH
    for layer, (W, rate_b) in enumerate(zip(rest, rates_b[1:], strict=True), 1):
        rate = rate_w / n
        s, s1 = act.f(z), act.d1(z)
        M = W * s1[:, None, :]
        X = H @ M.swapaxes(1, 2)  # (R, k, b)
        if order > 1:
            E = M[:, None] @ dH @ M.swapaxes(1, 2)[:, None]  # (R, k, b, c)
            dH = _first(W, X, E, H, s, s1, act.d2(z), rate, slip)
        H = (rate_b + rate * (s**2).sum(1))[:, None, None] * eye + M @ X
        z = np.matmul(W, s[..., None])[..., 0] + (0.0 if biases is None else biases[:, layer])
        yield z, H, dH


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


def second(act, weights, states, rate_w: float = 1.0) -> dict[str, np.ndarray]:
    """Return R, S, T, U, the means over i ≠ j of ddI_iijj, ddII_iijj, ddII_ijij, ddII_ijji after each layer, (R, depth) each.

    states are what forward yields, weights the W (R, n, n) between them. Both tensors obey T' = MMMM T + source, and a source is a
    short sum of products of matrices and dH: its sums at a later layer need the Jacobian J between the two, and no array of n⁴
    numbers. From the last layer back one product each gives J (R, T, n, n) for the T layers from the source's own on.
    """
    (r, n), depth = states[0][0].shape, len(states)
    found, eye, room = np.zeros((4, r, depth)), np.eye(n), np.empty((SIDE, n * (n + 1) // 2, depth * n))
    for group in (slice(start, start + SIDE) for start in range(0, r, SIDE)):
        J = np.empty((min(SIDE, r - group.start), 0, n, n))
        for layer in range(depth - 1, 0, -1):
            J = np.concatenate([np.broadcast_to(eye, (len(J), 1, n, n)), J], 1)
            below = (weights[layer - 1][group], *(array[group] for array in states[layer - 1]))
            J, sums = _source(act, J, *below, rate_w / n, room[: len(J)])
            found[:, group, layer:] += sums
    return dict(zip("RSTU", found / (n * (n - 1)), strict=True))


def _source(act, J, W, z, H, dH, rate, room):
    """Return JM, which is J of the layer before, and what a layer's source adds to the four sums over i ≠ j, (4, R, T).

    ddI gets Σ_k W_ak [σ'''_k X_kb X_kc X_kd + σ''_k Σ₃ E_kbc X_kd] + Σ₃ δ_ab Q_cd, where Σ₃ runs over the three ways to choose one
    of b, c, d. ddII gets Y_ac·H·Y_bd + Y_ac·F_bd + F_ac·Y_bd + δ_ab Z_cd with Y_ack = W_ak σ''_k X_kc + δ_ac t_k, t = λ_W/n σσ',
    and F_ack = Σ M_al M_cm dH_lkm. Here A = JWσ'', B = JXᵀ, P = JJᵀ; y, E, F have i = j; `whole` sums run over all i, j.
    """
    s, s1, s2, s3 = act.f(z), act.d1(z), act.d2(z), act.d3(z)
    JW, t, n = J @ W[:, None], rate * s * s1, z.shape[1]
    back, A = JW * s1[:, None, None], JW * s2[:, None, None]
    B, P, both = back @ H[:, None], J @ J.swapaxes(2, 3), np.stack([dH, dH.swapaxes(1, 2)], 1)  # dH_klm, dH_lkm: (R, 2, k, l, m)
    products = np.concatenate([A, B], 3).swapaxes(2, 3) @ np.concatenate([A, B, back], 3)
    AA, AB, U = (products[..., :n, i : i + n] for i in (0, n, 2 * n))
    BB, V = products[..., n:, n : 2 * n], products[..., n:, 2 * n :]
    E, F = _squares(back, both, room)
    triples, (whole, diagonal) = 2 * _triples(U, V, both), _matrices(J, P, _labels(W, s, s1, s2, H, both, t, rate))
    p, product, steep, square = np.einsum("rtii->rti", P), A * B, JW * s3[:, None, None] * B, B**2
    y = product + p[..., None] * t[:, None, None]
    yH, Ht = y @ H[:, None], np.matmul(H, t[..., None])[..., 0]
    same = (diagonal * p).sum(3)  # (3, R, T), of Q, Z and N
    apart, across = p.sum(2) * diagonal.sum(3) - same, whole - same  # Σ P_ii Q_jj and Σ P_ij Q_ij over i ≠ j
    shared = 2 * ((A * (P @ B)).sum(2) * Ht[:, None]).sum(2) + (t * Ht).sum(1)[:, None] * (P**2).sum((2, 3)) + 2 * whole[2]
    less = _dot(y, yH) + 2 * _dot(y, F)
    R = (steep.sum(2) * square.sum(2) + product.sum(2) * E.sum(2)).sum(2) - _dot(steep, square) - 3 * _dot(product, E)
    R += triples[0] + apart[0] + 2 * across[0]
    S = _dot(H[:, None] * AA, BB) + shared + triples[1] - less + apart[1]
    T = (y.sum(2) * (yH + 2 * F).sum(2)).sum(2) - less + across[1]
    U = _dot(H[:, None] * AB, AB.swapaxes(2, 3)) + shared + triples[2] - less + across[1]
    return back, np.stack([R, S, T, U])


def _labels(W, s, s1, s2, H, both, t, rate):
    """Return Q, Z and N, (3, R, n, n).

    Q_cd = λ_W/n Σ_j σ_j [σ''_j X_jc X_jd + σ'_j E_jcd], Z_cd = λ_W/n Σ_j σ'_j² X_jc X_jd, N_ac = Σ_k t_k F_ack.
    """
    r, n, _ = W.shape
    M = W * s1[:, None]
    X, summed = H @ M.swapaxes(1, 2), (t[:, None, None] @ both.reshape(r, 2, n, n * n)).reshape(r, 2, n, n)
    E, N = (M[:, None] @ summed @ M[:, None].swapaxes(2, 3)).swapaxes(0, 1)
    Q, Z = (X.swapaxes(1, 2) @ ((rate * weight)[..., None] * X) for weight in (s * s2, s1**2))
    return np.stack([Q + E, Z, N])


def _matrices(J, P, labels):
    """Return Σ_ij P_ij (JQJᵀ)_ij, (3, R, T), and the diagonals of JQJᵀ, (3, R, T, n), of three matrices Q (3, R, n, n)."""
    moved = J @ labels[:, :, None]
    return _dot(P @ J, moved), np.einsum("rtic,xrtic->xrti", J, moved)


def _squares(J, both, room):
    """Return Σ_lm J_il J_im dH_klm and Σ_lm J_il J_im dH_lkm, (R, T, i, k) each; room (R, n (n + 1)/2, T i or more) takes JJ, l ≤ m."""
    r, steps, n, _ = J.shape
    starts, pairs, once = _upper(n)
    rows, JJ = np.ascontiguousarray(J.reshape(r, steps * n, n).swapaxes(1, 2)), room[..., : steps * n]
    for m, start in enumerate(starts):
        np.multiply(rows[:, m : m + 1], rows[:, m:], out=JJ[:, start : start + n - m])
    flat = both.reshape(r, 2 * n, n, n)
    table = (flat + flat.swapaxes(2, 3)).reshape(r, 2 * n, n * n).take(pairs, axis=2) * once
    found = (table @ JJ).reshape(r, 2, n, steps, n)  # (R, 2, k, T, i)
    return np.ascontiguousarray(np.moveaxis(found, (1, 3, 4), (0, 2, 3)))


@cache
def _upper(n):
    """Of the pairs l ≤ m below n: where each l starts, their places l n + m in a matrix, and their weights, ½ where l = m."""
    left, right = np.triu_indices(n)
    return np.searchsorted(left, range(n)), left * n + right, np.where(left == right, 0.5, 1.0)


def _triples(U, V, both):
    """Return Σ U_kl V_km dH_klm, Σ U_kl V_km dH_lkm and Σ V_kl U_km dH_lkm, (3, R, T)."""
    one, two = both.swapaxes(0, 1)
    U, V = U.swapaxes(1, 2), V.swapaxes(1, 2)  # (R, k, T, n)
    moved = U @ np.concatenate([one, two, two.swapaxes(2, 3)], 3)
    return np.einsum("rktxm,rktm->xrt", moved.reshape(*U.shape[:3], 3, -1), V)


def _dot(a, b):
    """Sum the products of two arrays over the last two axes."""
    return np.einsum("...ik,...ik->...", a, b)


def _statistics(z, H, dH) -> dict[str, np.ndarray]:
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
    return found
