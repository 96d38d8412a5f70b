"""Fluctuations of a deep network at initialisation: four-point vertex and tensors of the NTK, for Gaussian and Haar weights.

At leading order in 1/n, in places the next one, in the notation of `criticality`: ⟨f⟩_K is the mean of f(z) over z ~ N(0, K).
Haar weights are √C_W times a uniformly distributed orthogonal matrix. One input throughout; layers count from 1; all in float64.
"""

from math import comb

import numpy as np

from collapse_utils.theory.criticality import Activation, average, chi_parallel, critical
from collapse_utils.theory.quadrature import NODES, WEIGHTS


def vertex(
    act: Activation, k1: float, depth: int, ensemble: str, first: str | None = None, c_w: float | None = None, c_b: float = 0.0
):
    """Return V/K² of layers 1 … depth at leading order in 1/n, V = n·Cov(z_i², z_j²), square layers: (depth,).

    V' = χ∥²V + C_W²[⟨σ⁴⟩ − s⟨σ²⟩²], s = 1 for Gaussian weights, 3 for Haar (Day et al. 2023, 2310.07765); V^(1) = 0 or
    −2K². `first` is the ensemble of the first layer where it differs (mixed0); c_w is the critical one by default. A bias
    of variance c_b from the second layer on enters by K' = C_b + C_W⟨σ²⟩ alone (ours, for Haar).
    """
    c_w, sources = critical(act).c_w if c_w is None else c_w, {"gaussian": 1.0, "haar": 3.0}
    k, v, path = float(k1), {"gaussian": 0.0, "haar": -2.0}[first or ensemble] * k1**2, []
    for _ in range(depth):
        path.append(v / k**2)
        second, fourth = (average(lambda z, p=p: act.f(z) ** p, k) for p in (2, 4))
        v = chi_parallel(act, k, c_w) ** 2 * v + c_w**2 * (fourth - sources[ensemble] * second**2)
        k = c_b + c_w * second
    return np.array(path)


def spread(act: Activation) -> float:
    """Return ν = 3A₄/A₂² − 1 of a scale-invariant activation: linear 2, ReLU 5 (Roberts et al. 2022, 2106.10165, 5.4.1)."""
    second, fourth = (average(lambda z, p=p: act.f(z) ** p, 1.0) for p in (2, 4))
    return float(fourth / second**2 - 1)


def vertex_scale_invariant(nu: float, n, depth: int, ensemble: str) -> np.ndarray:
    """Return V/K² of layers 1 … depth, exact at every width n, for critical scale-invariant activations: (depth,).

    |z|² is a product of independent factors, so with ℓ' = ℓ − 1: Gaussian n[(1 + ν/n)^ℓ' − 1];
    Haar n[n/(n+2)·((n+ν)/(n+2))^ℓ' − 1] (ours; ν = 2, linear: Roberts et al. 2022, 2106.10165, Eq. 3.28).
    """
    steps = np.arange(depth)
    if ensemble == "gaussian":
        return n * ((1 + nu / n) ** steps - 1)
    return n * (n / (n + 2) * ((n + nu) / (n + 2)) ** steps - 1)


def tangent(
    act: Activation,
    k1: float,
    rates_b,
    rate_w: float,
    ensemble: str,
    first: str | None = None,
    c_w: float | None = None,
    c_b: float = 0.0,
) -> dict[str, np.ndarray]:
    """Return {"K", "H", "V", "A", "B", "D", "F"} of layers 1 … len(rates_b), leading order in 1/n, square layers.

    H is the mean NTK Θ' = λ_b + ⟨y⟩, y = λ_W σ² + C_W Θ σ'² (Roberts et al. 2022, 2106.10165, Eq. 8.12), the same for both
    ensembles. With ∂ = d⟨y⟩/dK and s = 0 for Gaussian, 1 for Haar weights (ours; s = 0: Roberts et al. 2022, Section 8.3)
    V' = χ∥²V + C_W²(⟨σ⁴⟩ − (1+2s)⟨σ²⟩²),  D' = C_W Cov(σ², y) + χ∥(∂V + χ⊥D),  A' = Var y + ∂²V + 2∂χ⊥D + χ⊥²A,
    B' = χ⊥²B + C_W²Θ²(⟨σ'⁴⟩ − s⟨σ'²⟩²),  F' = χ∥²F + C_W²Θ(⟨σ²σ'²⟩ − s⟨σ²⟩⟨σ'²⟩), all but V from zero; returned over
    K², Θ², Θ², ΘK, ΘK.
    """
    c_w, s = critical(act).c_w if c_w is None else c_w, {"gaussian": 0.0, "haar": 1.0}[ensemble]
    k, h, a, b, d, f = float(k1), rates_b[0] + rate_w * k1 / c_w, 0.0, 0.0, 0.0, 0.0
    v, rows = {"gaussian": 0.0, "haar": -2.0}[first or ensemble] * k**2, []
    for rate in [*rates_b[1:], 0.0]:
        rows.append((k, h, v / k**2, a / h**2, b / h**2, d / (h * k), f / (h * k)))
        mean = lambda g, k=k: float(average(g, k))  # noqa: E731
        size, slope = mean(lambda z: act.f(z) ** 2), mean(lambda z: act.slope(z) ** 2)
        along, across = float(chi_parallel(act, k, c_w)), c_w * slope
        y = lambda z, h=h: rate_w * act.f(z) ** 2 + c_w * h * act.slope(z) ** 2  # noqa: E731
        y_mean, y_k = mean(y), mean(lambda z, k=k, y=y: y(z) * (z**2 - k)) / (2 * k**2)
        covariance = mean(lambda z, y=y: act.f(z) ** 2 * y(z)) - size * y_mean
        a = mean(lambda z, y=y: y(z) ** 2) - y_mean**2 + y_k**2 * v + 2 * y_k * across * d + across**2 * a
        d = c_w * covariance + along * (y_k * v + across * d)
        b = across**2 * b + (c_w * h) ** 2 * (mean(lambda z: act.slope(z) ** 4) - s * slope**2)
        f = along**2 * f + c_w**2 * h * (mean(lambda z: (act.f(z) * act.slope(z)) ** 2) - s * size * slope)
        v = along**2 * v + c_w**2 * (mean(lambda z: act.f(z) ** 4) - (1 + 2 * s) * size**2)
        k, h = c_b + c_w * size, rate + y_mean
    return dict(zip("KHVABDF", np.array(rows).T, strict=True))


def tangent_shift(act: Activation, k1: float, rates_b, rate_w: float, c_w: float, c_b: float = 0.0) -> np.ndarray:
    """Return κ_H of layers 1 … len(rates_b): the mean NTK of Gaussian networks is Θ(1 + κ_H/n) to first order: (depth,) (ours).

    With κ, θ the shifts of K and Θ times n, g = ⟨σ²⟩, p = ⟨σ'²⟩ and derivatives in K: κ' = C_W(gₖκ + ½gₖₖV) and
    θ' = λ_W κ'/C_W + C_W[pθ + Θ(pₖκ + ½pₖₖV) + (D + 2F)pₖ]; both stay zero where gₖₖ = pₖ = 0 (scale-invariant).
    """
    found = tangent(act, k1, rates_b, rate_w, "gaussian", c_w=c_w, c_b=c_b)
    kappa, theta, path = 0.0, 0.0, []
    for k, h, v, d, f in zip(*(found[q] for q in "KHVDF"), strict=True):
        path.append(theta / h)
        g, p = (_derivatives(lambda z, s=s: s(z) ** 2, k, 2) / k ** np.arange(3) for s in (act.f, act.slope))
        grown = g[1] * kappa + g[2] / 2 * v * k**2
        theta = rate_w * grown + c_w * (p[0] * theta + h * (p[1] * kappa + p[2] / 2 * v * k**2) + (d + 2 * f) * h * k * p[1])
        kappa = c_w * grown
    return np.array(path)


def _derivatives(f, k, top: int) -> np.ndarray:
    """Kᵖ dᵖ⟨f⟩/dKᵖ = 2⁻ᵖ⟨f(z) He₂ₚ(z/√K)⟩ for p = 0 … top: no derivative of f is needed, kinks do no harm."""
    values = f(np.sqrt(k) * NODES) * WEIGHTS
    return np.array([np.polynomial.hermite_e.hermeval(NODES, np.eye(2 * p + 1)[2 * p]) @ values / 2**p for p in range(top + 1)])


def _square(d) -> np.ndarray:
    """Kᵖ dᵖ/dKᵖ of G² from those of G (Leibniz)."""
    return np.array([sum(comb(p, i) * d[i] * d[p - i] for i in range(p + 1)) for p in range(len(d))])


def _layer_law(act: Activation, k, n, c_w, law: str):
    """Mean G, variance h/n and third cumulant t/n² of K' = C_W|σ|²/n given K, with Kᵖ-scaled derivatives of G and h.

    Gaussian z: independent neurons. Haar z lies on a sphere; Gaussian z is Haar z times an independent radius ρ^(1/2), ρ ~ χ²ₙ/n,
    and E_ρ = 1 + A/n + B/n² + … (A = K²∂², B = ⁴⁄₃K³∂³ + ½K⁴∂⁴) is inverted order by order.
    """
    g, g4, g6 = (c_w**p * _derivatives(lambda z, p=p: act.f(z) ** (2 * p), k, 4) for p in (1, 2, 3))
    h = g4 - _square(g)
    t = g6[0] - 3 * g4[0] * g[0] + 2 * g[0] ** 3
    if law == "gaussian":
        return g, h, t
    inverse = lambda d: 2 * d[2] + 8 / 3 * d[3] + d[4] / 2  # noqa: E731  # A² − B
    h1 = h[:3] - 2 * np.array(
        [g[1] ** 2, 2 * g[1] ** 2 + 2 * g[1] * g[2], 2 * g[1] ** 2 + 8 * g[1] * g[2] + 2 * g[2] ** 2 + 2 * g[1] * g[3]]
    )
    second = -h[2] + inverse(_square(g)) - g[2] ** 2 - 2 * g[0] * inverse(g)
    t -= 6 * g[1] * h1[1] + 8 * g[1] ** 3 + 12 * g[1] ** 2 * g[2]
    return g - np.array([g[2], 0, 0, 0, 0]) / n, h1 + np.array([second, 0, 0]) / n, t


def vertex_next(act: Activation, k1: float, n: int, depth: int, ensemble: str, first: str | None = None) -> np.ndarray:
    """Return V/K² of layers 1 … depth with its first correction in 1/n, square layers, C_b = 0, critical: (depth,).

    Mean m, variance c₂ and third cumulant c₃ of the scalar Markov chain K^(ℓ) = C_W|σ(z^(ℓ-1))|²/n, to relative order 1/n
    (ours). Gaussian V/K² = n c₂/m², Haar n[n/(n+2)·(1 + c₂/m²) − 1]. The first order is vertex().
    """
    c_w, m, c2, c3, path = critical(act).c_w, float(k1), 0.0, 0.0, []
    for layer in range(depth):
        law = (first or ensemble) if layer == 0 else ensemble
        path.append(n * (c2 / m**2 if law == "gaussian" else n / (n + 2) * (1 + c2 / m**2) - 1))
        g, h, t = _layer_law(act, m, n, c_w, law)
        x2, x3 = c2 / m**2, c3 / m**3
        c3 = t / n**2 + 3 * g[1] * h[1] * x2 / n + g[1] ** 3 * x3 + 3 * g[1] ** 2 * g[2] * x2**2
        c2 = (h[0] + h[2] * x2 / 2) / n + g[1] ** 2 * x2 + g[1] * g[2] * x3 + (g[2] ** 2 / 2 + g[1] * g[3]) * x2**2
        m = g[0] + g[2] * x2 / 2
    return np.array(path)
