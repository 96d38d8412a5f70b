"""Infinitely wide networks at initialisation: the kernel from layer to layer, and where it neither grows nor shrinks.

z^(1) = W x, z^(ℓ+1) = b + W σ(z^(ℓ)), W of variance C_W/n; ⟨f⟩_K is the mean of f(z) over z ~ N(0, K). One input
throughout; layers count from 1; all in float64. How networks of finite width fluctuate stands in `fluctuations`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, expit

from collapse_utils.theory.quadrature import NODES, WEIGHTS

SCAN = np.geomspace(1e-3, 200.0, 241)  # kernels over which susceptibilities are compared


@dataclass(frozen=True)
class Activation:
    """σ and its derivative."""

    name: str
    f: Callable
    slope: Callable


@dataclass(frozen=True)
class Critical:
    """A critical initialisation: variances of bias and weight, the fixed kernel K* (nan: any) and the class."""

    c_b: float
    c_w: float
    k: float
    kind: str


def _gelu_slope(z):
    return (1 + erf(z / np.sqrt(2))) / 2 + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS = {
    a.name: a
    for a in [
        Activation("linear", lambda z: z, np.ones_like),
        Activation("relu", lambda z: np.maximum(z, 0.0), lambda z: (z > 0) * 1.0),
        Activation("tanh", np.tanh, lambda z: np.cosh(np.clip(z, -300, 300)) ** -2.0),
        Activation("sin", np.sin, np.cos),
        Activation("gelu", lambda z: z * (1 + erf(z / np.sqrt(2))) / 2, _gelu_slope),
        Activation("swish", lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z))),
        Activation("sigmoid", expit, lambda z: expit(z) * expit(-z)),
        Activation("softplus", lambda z: np.logaddexp(0.0, z), expit),
        Activation("square", np.square, lambda z: 2 * z),
    ]
}


def average(f, k):
    """Return ⟨f⟩_K for kernels k of any shape, by quadrature in float64 (relative error about 1e-12)."""
    return f(np.sqrt(np.asarray(k, float))[..., None] * NODES) @ WEIGHTS


def kernel_map(act: Activation, k, c_w: float, c_b: float = 0.0):
    """Return K' = C_b + C_W ⟨σ²⟩_K, the kernel of the next layer (Roberts et al. 2022, 2106.10165, Eq. 5.4)."""
    return c_b + c_w * average(lambda z: act.f(z) ** 2, k)


def chi_parallel(act: Activation, k, c_w: float = 1.0):
    """Return χ∥ = C_W/(2K²) ⟨σ²(z² − K)⟩_K = dK'/dK (Roberts et al. 2022, 2106.10165, Ch. 5)."""
    k = np.asarray(k, float)
    values = act.f(np.sqrt(k)[..., None] * NODES) ** 2
    return c_w / (2 * k) * (values @ (WEIGHTS * (NODES**2 - 1)))


def chi_perp(act: Activation, k, c_w: float = 1.0):
    """Return χ⊥ = C_W ⟨σ'²⟩_K, the gain of small differences (Roberts et al. 2022, 2106.10165, Ch. 5)."""
    return c_w * average(lambda z: act.slope(z) ** 2, k)


def susceptibility_ratio(act: Activation, k):
    """Return χ⊥/χ∥, which no weight variance changes; infinite where χ∥ ≤ 1e-9 χ⊥ is lost to rounding (sin at large K)."""
    across, along = chi_perp(act, k), chi_parallel(act, k)
    return np.where(along > 1e-9 * across, across / np.maximum(along, 1e-9 * across), np.inf)


def decay(act: Activation) -> float:
    """Return a₁ of K' = K + a₁K² + … at C_W = 1/σ'(0)², C_b = 0; for K* = 0, K ≃ 1/(−a₁ℓ) (Roberts et al. 2022, 5.3.3)."""
    c_w, k = act.slope(np.zeros(1))[0] ** -2.0, np.array([1e-3, 2e-3])
    first, second = (kernel_map(act, k, c_w) - k) / k**2
    return float(2 * first - second)  # the next order in K cancels


def critical(act: Activation) -> Critical:
    """Return where χ∥ = χ⊥ = 1 at a fixed kernel (Roberts et al. 2022, 2106.10165, Sections 5.2 to 5.3.4).

    The ratio χ⊥/χ∥ does not depend on C_W: one for every K (scale-invariant), one at some K > 0 (half-stable), or one
    at K → 0 only (K* = 0, which needs σ(0) = 0 and decay < 0). Raises ValueError where none of the three is the case.
    """
    scan = susceptibility_ratio(act, SCAN) - 1
    if np.abs(scan).max() < 1e-9:
        return Critical(0.0, float(1 / chi_perp(act, 1.0)), np.nan, "scale-invariant")
    for i in np.flatnonzero(scan[:-1] * scan[1:] < 0):
        k = brentq(lambda k: susceptibility_ratio(act, k) - 1, SCAN[i], SCAN[i + 1], xtol=1e-13, rtol=1e-14)
        c_w = float(1 / chi_perp(act, k))
        if (c_b := float(k - kernel_map(act, k, c_w))) >= 0:
            return Critical(c_b, c_w, k, "half-stable")
    zero = np.zeros(1)
    if act.f(zero)[0] == 0 and act.slope(zero)[0] != 0 and decay(act) < 0:
        return Critical(0.0, float(act.slope(zero)[0] ** -2.0), 0.0, "K* = 0")
    raise ValueError(
        f"critical: the activation must have a critical point; got {act.name!r}, whose susceptibilities never agree."
    )


def kernels(act: Activation, k1: float, depth: int, c_w: float, c_b: float = 0.0) -> np.ndarray:
    """Return K^(1), …, K^(depth), the kernel map iterated from k1: (depth,)."""
    path = [float(k1)]
    for _ in range(depth - 1):
        path.append(float(kernel_map(act, path[-1], c_w, c_b)))
    return np.array(path)
