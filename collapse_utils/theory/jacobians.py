"""Laws of the input-output Jacobian: the error of its norm estimated from random directions, and its norm in a linear loop.

Source: Hoffman, Roberts, Yaida 2019 (arXiv 1908.02729) for one direction; orthonormal directions and the loop are ours.
"""

import numpy as np


def estimate_variance(gram, n: int = 1, orthonormal: bool = True):
    """Variance of (C/n) Σ_μ |v_μᵀJ|² over n random unit vectors v_μ in C dimensions, from A = JJᵀ (…, C, C).

    One vector (Hoffman 2019, appendix): V = 2C/(C+2) Tr A² − 2/(C+2) (Tr A)². n independent ones: V/n. n orthonormal ones, whose
    covariances sum to zero over a whole basis: V/n · (C−n)/(C−1) (ours). Raises ValueError for n beyond 1 … C.
    """
    gram = np.asarray(gram, float)
    c = gram.shape[-1]
    if not 1 <= n <= c:
        raise ValueError(f"estimate_variance: directions must number 1 to {c}, one for each class at most; got {n}.")
    square, trace = (gram**2).sum(axis=(-2, -1)), np.trace(gram, axis1=-2, axis2=-1)
    one = (2 * c * square - 2 * trace**2) / (c + 2)
    return one / n * ((c - n) / (c - 1) if orthonormal else 1.0)


def norm_replace(n, eigenvalues, size: float, penalty: float, noise: float):
    """E‖J_n‖² of a linear model with penalty ½λ‖J‖² under replace, given the design (ours), in the eigenbasis of XᵀX/T:

        Σ_g (s/d) h²ⁿ + (σ²/T) g/(g+λ)² Σ_{k<n} h²ᵏ,   h = g/(g+λ),

    for true weights of squared length s in a random direction. λ = 0 is s + nu with u = (σ²/T) Σ_g 1/g.
    eigenvalues (…, d); noise is σ/√T; n counts fits, n = 1 on real labels. Returns (…, len(n)).
    """
    n, g = np.atleast_1d(n), np.asarray(eigenvalues, float)[..., None, :]
    h, gain = g / (g + penalty), noise**2 * g / (g + penalty) ** 2
    powers = h ** (2 * np.arange(int(n.max()) + 1)[:, None])  # (…, max n + 1, d)
    return (size / g.shape[-1] * powers[..., n, :] + gain * np.cumsum(powers, axis=-2)[..., n - 1, :]).sum(axis=-1)


def norm_accumulate(n, eigenvalues, size: float, noise: float):
    """E‖J_n‖² of least squares under accumulate given the design: s + u Σ_{i≤n} i⁻²; arguments as in norm_replace."""
    n = np.atleast_1d(n)
    sums = np.cumsum(1.0 / np.arange(1, int(n.max()) + 1) ** 2)[n - 1]
    return size + (noise**2 / np.asarray(eigenvalues, float)).sum(axis=-1)[..., None] * sums
