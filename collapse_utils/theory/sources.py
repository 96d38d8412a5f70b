"""Ridge on two labellings of the same inputs whose moments are known, as `ridge` has it but for any pair of labels."""

import numpy as np


def two_sources(eigenvalues, n: float, kappa: float, share: float, second, rest) -> float:
    """Test error on labels y₁ of ridge fitted to y₁, with probability p₂ = share to y₂ instead, y_s = x·w_s + e_s (ours):

    E = Σλ mᵀMm + u[p₁R₁₁ + p₂R₂₂ + Σλ(lᵀMl + p₁p₂δᵀMδ)] + R₁₁, u = df2/(n − df2), m = aλ/(λ+κ) − (1, 0), l = aκ/(λ+κ),
    a = (p₁, p₂), δ = (−1, 1); from the equivalent of strong.ridge (Dohmatob 2024, 2410.04840, Thm 1) for any w₁ and w₂.
    second (d, 2, 2) is M, the products w_s w_t in each eigendirection, and rest (2, 2) is R, the means of e_s e_t, both summed over
    outputs; kappa is strong.effective_penalty(eigenvalues, n, λ). R₁₁ is what no linear model can fit.
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
