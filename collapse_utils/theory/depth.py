"""Laws in depth: deep linear networks exactly, the angle between two inputs under ReLU, fluctuations with skip connections.

Gaussian weights of variance C_W/n, no biases, layers count from 1. K is the mean square of a preactivation.
"""

import numpy as np

from collapse_utils.theory.quadrature import NODES, WEIGHTS


def linear_moment(m: int, n, depth):
    """Return G_2m/G_2^m of layer `depth` of a linear network, exact (Roberts et al. 2022, 2106.10165, Eqs. 3.24, 3.42 to 3.46).

    E z^2m = (2m − 1)!! G_2m and G_2m/G_2^m = Π_{s=1}^{m−1} (1 + 2s/n)^(depth−1); tends to e^(m(m−1)r) for depth = r n → ∞.
    """
    s = np.arange(1, m)
    return np.exp((np.asarray(depth) - 1) * np.log1p(2 * s / np.asarray(n, float)[..., None]).sum(-1))


def norm_variance(n, depth):
    """Return Var(|z|²/n)/K² of layer `depth` of a linear network, exact (Roberts et al. 2022, 2106.10165, Eq. 3.33).

    (2/n) G_4/G_2² + G_4/G_2² − 1 = (1 + 2/n)^depth − 1, to leading order 2 depth/n.
    """
    four = linear_moment(2, n, depth)
    return 2 / np.asarray(n, float) * four + four - 1


def angle(psi, depth: int) -> np.ndarray:
    """Return the angle between two inputs of equal norm in layers 1 … depth of a wide critical ReLU network: (depth, …).

    cos ψ' = [sin ψ + (π − ψ) cos ψ]/π, ψ ≃ 3π/ℓ (Roberts et al. 2022, 2106.10165, Section 5.5; Cho & Saul 2009, Eq. 6).
    """
    path = [np.asarray(psi, float)]
    for _ in range(depth - 1):
        psi = path[-1]
        half = (psi * np.cos(psi) - np.sin(psi)) / (2 * np.pi) + np.sin(psi / 2) ** 2  # sin²(ψ'/2), no cancellation near 1
        path.append(2 * np.arcsin(np.sqrt(half)))
    return np.array(path)


def skip_slope(nu: float, gamma):
    """Return ν(γ) = (1 − γ²)[ν(1 − γ²) + 4γ²], the growth of V/K² per layer with skips γ (Roberts et al. 2022, App. B).

    For scale-invariant activations (ν = 2 linear, 5 ReLU), critical C_W = (1 − γ²)/A₂; known through a peer implementation.
    """
    g2 = np.asarray(gamma) ** 2
    return (1 - g2) * (nu * (1 - g2) + 4 * g2)


def skip_vertex(f, gamma: float, c_w: float, k1: float, depth: int, odd: bool = True) -> np.ndarray:
    """Return V/K² of layers 1 … depth of z' = γz + Wσ(z), leading order in 1/n: (depth,) (ours).

    With g = ⟨σ²⟩, g' = dg/dK, t = ⟨zσ²⟩/K and p = γ² + C_W g': K' = γ²K + C_W g, Y' = γpY + γC_W K t,
    V' = p²V + 2C_W t p Y + 4γ²C_W K²g' + C_W²(⟨σ⁴⟩ − g²). Y = n E z_i z_j² vanishes for odd σ; odd=False keeps it.
    """
    k, v, y, path = float(k1), 0.0, 0.0, []
    for _ in range(depth):
        path.append(v / k**2)
        square = f(np.sqrt(k) * NODES) ** 2
        g, slope = square @ WEIGHTS, square * (NODES**2 - 1) @ WEIGHTS / (2 * k)
        t = 0.0 if odd else square * NODES @ WEIGHTS / np.sqrt(k)
        p, source = gamma**2 + c_w * slope, 4 * gamma**2 * c_w * k**2 * slope + c_w**2 * (square**2 @ WEIGHTS - g**2)
        v, y, k = p**2 * v + 2 * c_w * t * p * y + source, gamma * p * y + gamma * c_w * k * t, gamma**2 * k + c_w * g
    return np.array(path)
