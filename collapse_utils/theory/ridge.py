"""Ridge on real and synthetic rows: Dohmatob et al. (2024), Strong Model Collapse, 2410.04840. All noise is Gaussian.

Rows x ~ N(0, Σ), labels x·w + ε with w = w1 in the real rows and w1 + δ in a share p₂ of synthetic rows, Var ε = σ²;
w1 ~ (0, Γ) and δ ~ (0, Δ) independent; the error is E‖ŵ − w1‖²_Σ. Everything is written in the eigenbasis of Σ:
eigenvalues (d,) of Σ, and the diagonals there of Γ (truth) and Δ (shift), arrays (d,) or numbers. df_k = tr Σᵏ(Σ+κ)⁻ᵏ.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq


class Parts(NamedTuple):
    """The three parts of a test error: bias B, variance V, mixture term ζ, and what of ζ the coin flip adds, p₁p₂u tr ΔΣ."""

    bias: float
    variance: float
    mixture: float
    coin: float

    @property
    def error(self) -> float:
        """B + V + ζ."""
        return self.bias + self.variance + self.mixture


def effective_penalty(eigenvalues, n: float, penalty: float, m: float = np.inf) -> float:
    """κ ≥ 0 with λ = κ(1 − df1/m)(1 − df1/n) and df1 ≤ min(m, n) (Dohmatob 2024, 2410.04840, Thm 1: m = ∞; m < ∞ ours).

    n rows, m random projections. Solved as z(κ) + s(κ) = min(m, n), both sides monotone: s is the smaller of m − z and
    n − z as a function of λ/κ. κ = 0 for λ = 0 and d < min(m, n). Raises ValueError outside the domain.
    """
    eigenvalues = np.asarray(eigenvalues, float)
    d, least = len(eigenvalues), min(m, n)
    _require(np.isfinite(eigenvalues).all() and eigenvalues.min() > 0, "eigenvalues must be positive", eigenvalues.min())
    _require(np.isfinite(n) and least >= 1, "n must be finite, and n and m at least 1", (n, m))
    _require(np.isfinite(penalty) and penalty >= 0, "penalty must be finite and at least 0", penalty)
    if penalty == 0:
        _require(d != least, f"penalty must be positive where min(m, n) equals the {d} features (the error is infinite)", penalty)
        if d < least:
            return 0.0

    def excess(log_kappa):
        kappa = np.exp(log_kappa)
        return _slack(penalty / kappa, n, m) - (least - d) - (kappa / (eigenvalues + kappa)).sum()

    low = max(penalty, eigenvalues.min() * (d / least - 1))
    high = penalty + eigenvalues.sum() * (1 / m + 1 / n)
    return float(np.exp(brentq(excess, np.log(low) - 1e-6, np.log(high) + 1e-6, xtol=1e-14, rtol=1e-14)))


def ridge(eigenvalues, n: float, penalty: float, truth, noise: float, share, shift) -> Parts:
    """B, V, ζ of ridge on n rows, a share p₂ of them synthetic (Dohmatob 2024, 2410.04840, Thm 1; this form of ζ is ours):

    B = κ² tr ΓΣ(Σ+κ)⁻²(1+u), V = σ²u, u = df2/(n − df2),
    ζ = p₂²[tr ΔΣ³(Σ+κ)⁻² + uκ² tr ΔΣ(Σ+κ)⁻²] + p₁p₂u tr ΔΣ, an array where share is one.
    Raises as effective_penalty does, and for 0 ≤ p₂ ≤ 1 broken.
    """
    _require(np.min(share) >= 0 and np.max(share) <= 1, "share must lie between 0 and 1", share)
    s = np.asarray(eigenvalues, float)
    kappa = effective_penalty(s, n, penalty)
    shrunk = kappa**2 * s / (s + kappa) ** 2
    u = _inflation(s, kappa, n, np.inf, penalty)
    learned = (shift * s**3 / (s + kappa) ** 2).sum() + u * (shift * shrunk).sum()
    flips = share * (1 - share) * u * (shift * s).sum()
    return Parts((truth * shrunk).sum() * (1 + u), noise**2 * u, share**2 * learned + flips, flips)


def ridge_as_printed(eigenvalues, n: float, penalty: float, share: float, shift) -> float:
    """ζ as printed: p₂²(1+p₁u) tr ΔΣ³(Σ+κ)⁻² + p₂u tr ΔΣ(p₁Σ+κ)²(Σ+κ)⁻² (Dohmatob 2024, 2410.04840, Thm 1)."""
    s, real = np.asarray(eigenvalues, float), 1 - share
    kappa = effective_penalty(s, n, penalty)
    u = _inflation(s, kappa, n, np.inf, penalty)
    first = share**2 * (1 + real * u) * (shift * s**3 / (s + kappa) ** 2).sum()
    return first + share * u * (shift * s * (real * s + kappa) ** 2 / (s + kappa) ** 2).sum()


def projected(eigenvalues, n: float, m: float, penalty: float, truth, noise: float, share: float, shift) -> Parts:
    """B, V, ζ of ridge on m Gaussian projections (Dohmatob 2024, 2410.04840, Thm 2; the closed form is ours):

    z = df1, q = df2, A = [q(m−2z)+z²]/[n(m−q)], V = σ²A/(1−A), κ' = κ(1−z/m),
    B(C) = (1−A)⁻¹ Σᵢ λᵢCᵢ[κ/(λᵢ+κ) − κ'·m/(m−q)·λᵢ/(λᵢ+κ)²],
    ζ = p₂²[B(Δ) + 2 tr ΔΣ²(Σ+κ)⁻¹ − tr ΔΣ] + p₁p₂ tr(ΔΣ)·A/(1−A). Raises as effective_penalty does.
    """
    _require(0 <= share <= 1, "share must lie between 0 and 1", share)
    s = np.asarray(eigenvalues, float)
    kappa = effective_penalty(s, n, penalty, m)
    z, q = (s / (s + kappa)).sum(), (s**2 / (s + kappa) ** 2).sum()
    below_m = m - z if kappa == 0 else _slack(penalty / kappa, n, m) + max(m - n, 0)
    u = _inflation(s, kappa, n, m, penalty)  # A/(1 − A), so that 1/(1 − A) = 1 + u
    spread = kappa / (s + kappa) - kappa * below_m / (m - q) * s / (s + kappa) ** 2

    def bias(c):
        return (1 + u) * (s * c * spread).sum()

    learned = bias(shift) + 2 * (shift * s**2 / (s + kappa)).sum() - (shift * s).sum()
    flips = share * (1 - share) * u * (shift * s).sum()
    return Parts(bias(truth), noise**2 * u, share**2 * learned + flips, flips)


def unpenalised(d: int, n, share, noise: float, quality: float):
    """The exact error of least squares on n rows, n₂ = p₂n of them synthetic, any Σ, at finite size (ours):

    σ²d/(n−d−1) + c²·[(n−1)a − b]/[d(n−d−1)], a = E tr U², b = E(tr U)², U the matrix beta variable of (n₂, n₁) rows,
    (n²+n)a + nb = n₂d(n₂+d+1), 2na + n²b = n₂²d² + 2n₂d; c² = quality = tr ΣΔ. Its limit is Dohmatob 2024, 2410.04840, Cor. 1.
    """
    n = np.asarray(n, float)
    n_synthetic = np.asarray(share, float) * n
    _require(np.min(n) >= d + 2, f"rows must be at least d + 2 = {d + 2}", np.min(n))
    first, second = n_synthetic * d * (n_synthetic + d + 1), n_synthetic**2 * d**2 + 2 * n_synthetic * d
    determinant = (n**2 + n) * n**2 - 2 * n**2
    a = (n**2 * first - n * second) / determinant
    b = ((n**2 + n) * second - 2 * n * first) / determinant
    return (noise**2 * d + quality * ((n - 1) * a - b) / d) / (n - d - 1)


def isotropic(rows, share, noise: float, quality: float):
    """σ²ϕ/(1−ϕ) + (p₂² + p₁p₂ϕ/(1−ϕ))c², ϕ = d/n < 1, rows = n/d, c² = tr ΣΔ (Dohmatob 2024, 2410.04840, Cor. 1)."""
    rows, share = np.asarray(rows, float), np.asarray(share, float)
    _require(np.min(rows) > 1, "rows per feature must exceed 1", np.min(rows))
    u = 1 / (rows - 1)
    return noise**2 * u + (share**2 + share * (1 - share) * u) * quality


def hurt_size(share, noise: float, quality):
    """n/d beyond which least squares does better without the synthetic rows (ours): the root N > 1/p₁ of

    p₁p₂c²N² − [σ² − p₁²c² + p₂(1+p₁)c²]N + (p₂−p₁)c² = 0, where isotropic(N, p₂) = isotropic(p₁N, 0).
    To first order (σ²/p₁ − p₁c²)/(p₂c²). 0 < share < 1, quality > 0.
    """
    p2 = np.asarray(share, float)
    _require(np.min(p2) > 0 and np.max(p2) < 1, "share must lie strictly between 0 and 1", share)
    _require(np.min(quality) > 0, "quality must be positive", quality)
    p1 = 1 - p2
    a, b, c = p1 * p2 * quality, noise**2 + (p2 * (1 + p1) - p1**2) * quality, (p2 - p1) * quality
    return (b + np.sqrt(b**2 - 4 * a * c)) / (2 * a)


def floor_size(share, noise: float, quality):
    """n/d at which the floor p₂²c² equals the variance σ²d/n: σ²/(p₂²c²) (ours, from Dohmatob 2024, 2410.04840, Eq. 12)."""
    return noise**2 / (np.asarray(share, float) ** 2 * quality)


def weighted(rows: float, weight: float, share: float, noise: float, quality: float) -> float:
    """Error of least squares that gives the real rows the total weight a, the synthetic ones 1 − a (ours), rows = n/d > 1:

    m²c² + τ², with leverages ωγ/(1+ωγ) of mean d/n, v = ω/(1+ωγ), m = E[bv]/E v (b = 1 in synthetic rows),
    τ² = (d/n) E[v²((b−m)²c² + σ² + τ²)]/(E v)². Its limit n → ∞ is (1−a)²c² (Dohmatob 2024, 2410.04840, Cor. 2).
    """
    _require(rows > 1, "rows per feature must exceed 1", rows)
    _require(0 < weight < 1 and 0 < share < 1, "weight and share must lie strictly between 0 and 1", (weight, share))
    p, b = np.array([1 - share, share]), np.array([0.0, 1.0])
    omega = np.array([weight, 1 - weight]) / p
    gamma = np.exp(brentq(lambda t: p @ (1 / (1 + np.exp(-t) / omega)) - 1 / rows, -60, 60, xtol=1e-13))
    v = omega / (1 + omega * gamma)
    m = p @ (b * v) / (p @ v)
    gain = p * v**2 / (rows * (p @ v) ** 2)
    tau = gain @ ((b - m) ** 2 * quality + noise**2) / (1 - gain.sum())
    return m**2 * quality + tau


def iterated_fixed(share, relabelling: float = 1.0):
    """Limit of iterated mixing over real-only σ²d/n₁ for a fixed real part, n ≫ d: 1 + r p₂/(1+p₂) (ours; Cor. 3 has no constant).

    relabelling r is the noise variance of the synthetic labels over that of the real ones: (1+2p₂)/(1+p₂) for r = 1.
    """
    share = np.asarray(share, float)
    return 1 + relabelling * share / (1 + share)


def iterated_fresh(share):
    """Limit of iterated mixing over real-only σ²d/n₁ when every round draws new real rows, n ≫ d: 1/(1+p₂) (ours)."""
    return 1 / (1 + np.asarray(share, float))


def two_sources(eigenvalues, n: float, kappa: float, share: float, second, rest) -> float:
    """Test error on labels y₁ of ridge fitted to y₁, with probability p₂ = share to y₂ instead, y_s = x·w_s + e_s (ours):

    E = Σλ mᵀMm + u[p₁R₁₁ + p₂R₂₂ + Σλ(lᵀMl + p₁p₂δᵀMδ)] + R₁₁, u = df2/(n − df2), m = aλ/(λ+κ) − (1, 0), l = aκ/(λ+κ),
    a = (p₁, p₂), δ = (−1, 1); from the equivalent of ridge (Dohmatob 2024, 2410.04840, Thm 1) for any w₁ and w₂.
    second (d, 2, 2) is M, the products w_s w_t in each eigendirection, and rest (2, 2) is R, the means of e_s e_t, both summed over
    outputs; kappa is effective_penalty(eigenvalues, n, λ). R₁₁ is what no linear model can fit.
    Raises ValueError unless 0 ≤ share ≤ 1 and df2 < n.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"two_sources: share must lie between 0 and 1; got {share}.")
    s, second, rest = (np.asarray(values, float) for values in (eigenvalues, second, rest))
    df2, mix = (s**2 / (s + kappa) ** 2).sum(), np.array([1 - share, share])
    if df2 >= n:
        raise ValueError(f"two_sources: kappa must be large enough that df2 is below n = {n}; got df2 = {df2}.")
    learned = (s / (s + kappa))[:, None] * mix  # (d, 2)

    def quadratic(c):
        return np.einsum("i,ia,iab,ib->", s, c, second, c)

    flips = mix.prod() * quadratic(np.tile([-1.0, 1.0], (len(s), 1)))
    noise = mix @ rest.diagonal() + flips + quadratic(mix - learned)
    return float(quadratic(learned - [1.0, 0.0]) + df2 / (n - df2) * noise + rest[0, 0])


def _slack(ratio, n, m):
    """min(m, n) − df1, from (m − df1)(n − df1) = mn·λ/κ; ratio = λ/κ."""
    if np.isinf(m):
        return n * ratio
    product, gap = m * n * ratio, abs(m - n)
    return 2 * product / (gap + np.sqrt(gap**2 + 4 * product)) if product > 0 else 0.0


def _inflation(s, kappa, n, m, penalty):
    """A/(1−A), as a quotient of sums of non-negative terms: the factor from label noise to error."""
    z, q = (s / (s + kappa)).sum(), (s**2 / (s + kappa) ** 2).sum()
    gap = kappa * (s / (s + kappa) ** 2).sum()  # df1 − df2
    slack = min(m, n) - z if kappa == 0 else _slack(penalty / kappa, n, m)
    below_n = slack + max(n - m, 0)
    if np.isinf(m):
        return q / (below_n + gap)
    below_m = slack + max(m - n, 0)
    rest = below_m * below_n + gap * (below_m + below_n)  # n(m − q)(1 − A)
    _require(rest > 0, "penalty must be positive where m equals n and both are below d (the error is infinite)", penalty)
    return (q * below_m + z * gap) / rest


def _require(condition, rule, value):
    if not condition:
        raise ValueError(f"strong: {rule}; got {value}.")
