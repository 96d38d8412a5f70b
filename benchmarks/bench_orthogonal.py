"""The ten tensors for 200 networks against einsum translations, one network at a time, in the same run.

Three peers, timed on few networks and scaled up to 200: the recursions as printed, one einsum a term with every factor an
operand, the order of contraction left to einsum; the same with common factors taken out by hand; and that with einsum's
default order (n^8 operations, so at width 8 and six layers). And the vertex without matrices against matrices.
"""

import time
from functools import partial

import numpy as np
import pytest

from collapse_utils.initialisation.correlators import normalised
from collapse_utils.initialisation.propagation import activation, two_point
from collapse_utils.initialisation.tensors import tensors
from collapse_utils.initialisation.weights import networks, weights

NETWORKS = 200
TANH = activation("tanh")


def plain(x, layers, rates_b, e):
    """z, H, dH, ddI, ddII of the last layer of one network, one einsum a term, M = Wσ' and shared sums taken out by hand."""
    n, one = len(layers[0]), np.eye(len(layers[0]))
    z, H = layers[0] @ x, (rates_b[0] + x @ x / len(x)) * one
    dH, ddI, ddII = np.zeros((n,) * 3), np.zeros((n,) * 4), np.zeros((n,) * 4)
    for W, rate_b in zip(layers[1:], rates_b[1:], strict=True):
        s, s1, s2, s3, r = np.tanh(z), TANH.d1(z), TANH.d2(z), TANH.d3(z), 1 / n
        M = W * s1
        down = r * (e("j,j,cm,dp,jm,jp->cd", s, s2, M, M, H, H) + e("j,j,ck,dl,jkl->cd", s, s1, M, M, dH))
        newI = e("ai,bj,ck,dl,ijkl->abcd", M, M, M, M, ddI) + e("ak,k,bl,cm,dp,kl,km,kp->abcd", W, s3, M, M, M, H, H, H)
        newI += e("ak,k,bl,cm,dp,klm,kp->abcd", W, s2, M, M, M, dH, H) + e("ak,k,bl,cm,dp,klp,km->abcd", W, s2, M, M, M, dH, H)
        newI += e("ak,k,bl,cm,dp,kmp,kl->abcd", W, s2, M, M, M, dH, H)
        newI += e("ab,cd->abcd", one, down) + e("ac,bd->abcd", one, down) + e("ad,bc->abcd", one, down)
        newII = e("ai,bj,ck,dl,ijkl->abcd", M, M, M, M, ddII)
        newII += e("ak,k,cm,km,kl,bl,l,dp,lp->abcd", W, s2, M, H, H, W, s2, M, H)
        newII += r * e("ak,k,cm,km,kl,bd,l,l->abcd", W, s2, M, H, H, one, s, s1)
        newII += r * e("ac,k,k,kl,bl,l,dp,lp->abcd", one, s, s1, H, W, s2, M, H)
        newII += r * r * e("ac,k,k,kl,bd,l,l->abcd", one, s, s1, H, one, s, s1)
        newII += e("ak,k,cm,km,bl,dp,lkp->abcd", W, s2, M, H, M, M, dH) + r * e("ac,k,k,bl,dp,lkp->abcd", one, s, s1, M, M, dH)
        newII += e("bk,k,dm,km,al,cp,lkp->abcd", W, s2, M, H, M, M, dH) + r * e("bd,k,k,al,cp,lkp->abcd", one, s, s1, M, M, dH)
        newII += r * e("ab,k,k,cm,km,dp,kp->abcd", one, s1, s1, M, H, M, H)
        newH3 = e("ak,bl,cm,klm->abc", M, M, M, dH) + e("ak,k,bl,cm,kl,km->abc", W, s2, M, M, H, H)
        newH3 += r * (e("ab,cm,km,k,k->abc", one, M, H, s, s1) + e("ac,bm,km,k,k->abc", one, M, H, s, s1))
        H = (rate_b + r * s @ s) * one + e("ak,bl,kl->ab", M, M, H)
        z, dH, ddI, ddII = W @ s, newH3, newI, newII
    return z, H, dH, ddI, ddII


# Every term of the recursions with its factors as operands: s0, s1, s2, s3 are σ and its derivatives, 1 the unit matrix; a
# rate λ/n stands in front of a term for each of its unit matrices.
PRINTED = {
    "H": ["ak,bl,k,l,kl->ab: W W s1 s1 H"],
    "dH": [
        "ak,bl,cm,k,l,m,klm->abc: W W W s1 s1 s1 dH",
        "ak,bl,cm,k,l,m,kl,km->abc: W W W s2 s1 s1 H H",
        "ab,cm,k,k,m,km->abc: 1 W s1 s0 s1 H",
        "ac,bl,k,k,l,kl->abc: 1 W s1 s0 s1 H",
    ],
    "ddI": [
        "ak,bl,cm,dp,k,l,m,p,klmp->abcd: W W W W s1 s1 s1 s1 ddI",
        "ak,bl,cm,dp,k,l,m,p,kl,km,kp->abcd: W W W W s3 s1 s1 s1 H H H",
        "ak,bl,cm,dp,k,l,m,p,klm,kp->abcd: W W W W s2 s1 s1 s1 dH H",
        "ak,bl,cm,dp,k,l,m,p,klp,km->abcd: W W W W s2 s1 s1 s1 dH H",
        "ak,bl,cm,dp,k,l,m,p,kmp,kl->abcd: W W W W s2 s1 s1 s1 dH H",
        *(
            f"{one},{x}m,{y}p,k,k,m,p,km,kp->abcd: 1 W W s0 s2 s1 s1 H H"
            for one, x, y in (("ab", "c", "d"), ("ac", "b", "d"), ("ad", "b", "c"))
        ),
        *(
            f"{one},{x}m,{y}p,k,k,m,p,kmp->abcd: 1 W W s0 s1 s1 s1 dH"
            for one, x, y in (("ab", "c", "d"), ("ac", "b", "d"), ("ad", "b", "c"))
        ),
    ],
    "ddII": [
        "ak,bl,cm,dp,k,l,m,p,klmp->abcd: W W W W s1 s1 s1 s1 ddII",
        "ak,bl,cm,dp,k,l,m,p,kl,km,lp->abcd: W W W W s2 s2 s1 s1 H H H",
        "ak,bl,cm,dp,k,l,m,p,km,lkp->abcd: W W W W s2 s1 s1 s1 H dH",
        "ak,bl,cm,dp,k,l,m,p,lp,klm->abcd: W W W W s1 s2 s1 s1 H dH",
        "ac,bd,k,k,l,l,kl->abcd: 1 1 s0 s1 s0 s1 H",
        "ab,cm,dp,k,k,m,p,km,kp->abcd: 1 W W s1 s1 s1 s1 H H",
        "ac,bl,dp,k,k,l,p,kl,lp->abcd: 1 W W s0 s1 s2 s1 H H",
        "bd,ak,cm,l,l,k,m,kl,km->abcd: 1 W W s0 s1 s2 s1 H H",
        "ac,bl,dp,k,k,l,p,lkp->abcd: 1 W W s0 s1 s1 s1 dH",
        "bd,ak,cm,l,l,k,m,klm->abcd: 1 W W s0 s1 s1 s1 dH",
    ],
}


def printed(x, layers, rates_b, e):
    """What plain() returns, from the terms as they are printed."""
    n = len(layers[0])
    z, one = layers[0] @ x, np.eye(n)
    state = {"H": (rates_b[0] + x @ x / n) * one, "dH": np.zeros((n,) * 3), "ddI": np.zeros((n,) * 4), "ddII": np.zeros((n,) * 4)}
    for W, rate_b in zip(layers[1:], rates_b[1:], strict=True):
        known = {"W": W, "1": one, "s0": np.tanh(z), "s1": TANH.d1(z), "s2": TANH.d2(z), "s3": TANH.d3(z)} | state
        new = dict.fromkeys(state, 0.0)
        for name, terms in PRINTED.items():
            for term in terms:
                indices, factors = term.split(": ")
                new[name] = new[name] + e(indices, *map(known.get, factors.split())) / n ** factors.split().count("1")
        state = new | {"H": new["H"] + (rate_b + known["s0"] @ known["s0"] / n) * one}
        z = W @ known["s0"]
    return z, *state.values()


@pytest.mark.parametrize(
    ("translate", "width", "depth", "optimize", "count"),
    [(printed, 20, 30, True, 1), (plain, 20, 30, True, 2), (plain, 8, 6, False, 1)],
    ids=["as printed", "factors taken out", "default order, width 8"],
)
def test_ten_tensors_speed_ratio(benchmark, translate, width, depth, optimize, count):
    """`count` networks are timed one by one and scaled up to 200; ours run at a share of the rate of a large matrix product."""
    rates, x, e = 1 / np.arange(1, depth + 1), np.linspace(0, 1, width), partial(np.einsum, optimize=optimize)

    def ours():
        rng = np.random.default_rng(0)
        return tensors(TANH, lambda r: networks("haar", [width] * (depth + 1), r, rng), x, NETWORKS, rates)

    drawn = networks("haar", [width] * (depth + 1), count, np.random.default_rng(0))
    started = time.perf_counter()
    peer = [translate(x, [w[i] for w in drawn], rates, e) for i in range(count)]
    peer_time = (time.perf_counter() - started) / count * NETWORKS
    found = benchmark.pedantic(ours, rounds=1)
    ratio = peer_time / benchmark.stats.stats.min
    work = (depth - 1) * width**3 * (6 * width + depth * (width + 19))  # products only: of each layer, of each two layers
    share = NETWORKS * work / benchmark.stats.stats.min / peak()
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\nten tensors of {NETWORKS} networks (width {width}, depth {depth}): {ratio:.1f} times faster than one by one, "
          f"at {share:.0%} of the rate of a large matrix product")  # fmt: skip
    off = ~np.eye(width, dtype=bool)
    for i, (_, _, dH, ddI, ddII) in enumerate(peer):
        entries = {"R": e("iijj->ij", ddI), "S": e("iijj->ij", ddII), "T": e("ijij->ij", ddII), "U": e("ijji->ij", ddII)}
        for name, entry in entries.items():
            assert abs(entry[off].mean() / found[name][i, -1] - 1) < 1e-8, name
        assert np.abs(dH - dH.swapaxes(1, 2)).max() < 1e-12


def peak():
    """Multiplications and additions a second of a float64 matrix product, 1024 × 1024."""
    square, times = np.random.default_rng(0).standard_normal((1024, 1024)), []
    for _ in range(3):
        started = time.perf_counter()
        square @ square
        times.append(time.perf_counter() - started)
    return 2 * 1024**3 / min(times)


def test_vertex_without_matrices_speed_ratio(benchmark):
    """The vertex of 500 Haar networks of width 100 and depth 10: one number a layer against matrices."""
    n, depth, count = 100, 10, 500
    rng, started = np.random.default_rng(0), time.perf_counter()
    z, square, four = np.full((count, n), 1.0), [], []
    for layer in range(depth):
        w = weights("haar", rng.standard_normal((count, n, n)), 1.0)
        z = np.matmul(w, (np.tanh(z) if layer else z)[..., None])[..., 0]
        s = z**2
        square.append(s.mean(1))
        four.append((s.sum(1) ** 2 - (s**2).sum(1)) / (n * (n - 1)))
    peer = normalised("V", {"K": np.stack(square, 1), "V": np.stack(four, 1)}, n)
    peer_time = time.perf_counter() - started
    found = benchmark.pedantic(lambda: normalised("V", two_point("haar", "tanh", n, depth, count, rng), n), rounds=3)
    ratio = peer_time / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\nvertex of {count} Haar networks of width {n}: {ratio:.0f} times faster than with matrices")
    gap, error = peer.mean(0) - found.mean(0), np.sqrt((peer.var(0) + found.var(0)) / count)
    assert (np.abs(gap) < 6 * error + 1e-9).all()
