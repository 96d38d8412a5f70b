"""Descent on a finite sample: what reusing rows does to the expected loss, to second order in the learning rate.

C is the covariance of the gradients of single rows at a fixed point, L the expected loss, H its Hessian; N rows in S
disjoint batches of b = N/S. Sources: Roberts 2021 (arXiv 2104.04874) for the gap and the sign of the advantage; the
prefactors are derived here: two steps whose batches share a sample add E[H_a g_a] − Hg = ½∇Tr C for it.
"""

import numpy as np
from scipy.special import lambertw

PEAK = float(-0.5 - np.real(lambertw(-0.5 * np.exp(-0.5), -1)))  # u = HηT of the most overfitted direction: eᵘ = 1 + 2u


def trace(theta, eigenvalues, noise: float):
    """Tr C of least squares, ℓ = ½(x·θ − e)² with x ~ N(0, Λ), e ~ N(0, σ²): trΛ (θᵀΛθ + σ²) + θᵀΛ²θ.

    theta: (…, d) from the truth, in the eigenbasis; eigenvalues: (d,) of Λ; noise = σ. Returns (…).
    """
    theta, eigenvalues = np.asarray(theta, float), np.asarray(eigenvalues, float)
    return eigenvalues.sum() * (theta**2 @ eigenvalues + noise**2) + theta**2 @ eigenvalues**2


def trace_gradient(theta, eigenvalues):
    """∇Tr C of least squares at theta (…, d): 2 trΛ Λθ + 2 Λ²θ, (…, d)."""
    eigenvalues = np.asarray(eigenvalues, float)
    return 2 * (eigenvalues.sum() + eigenvalues) * eigenvalues * np.asarray(theta, float)


def gap(rate, steps, trace, n):
    """What T steps add to the expected gap between test and train loss, to first order: η T Tr C/N (Roberts 2021)."""
    return np.asarray(rate) * steps * trace / n


def drift(rate, n_batches: int, n: int, trace_gradient):
    """E[θ_GD − θ_SGD] after S steps each, to second order: η² S(S−1)/(4N) ∇Tr C."""
    return np.asarray(rate) ** 2 * n_batches * (n_batches - 1) / (4 * n) * trace_gradient


def penalty(rate, n_batches: int, n: int):
    """The weight of Tr Ĉ in a full-batch loss that imitates S batches: η(S−1)/(4N)."""
    return np.asarray(rate) * (n_batches - 1) / (4 * n)


def passes(rate, n_passes: int, n: int, batch: int, curved, trace_gradient):
    """E[θ after M passes at rate η/M] − E[θ after one pass at η], to second order: η²(1−1/M) N/(2b) [H∇L + ∇Tr C/(2b)].

    curved: H∇L (d,). The same for batches kept and reshuffled: what counts is how often steps share a sample.
    """
    shared = np.asarray(curved) + np.asarray(trace_gradient) / (2 * batch)
    return np.asarray(rate) ** 2 * (1 - 1 / n_passes) * n / (2 * batch) * shared


def one_pass(theta, eigenvalues, noise: float, rate: float, n_batches: int, batch: int) -> np.ndarray:
    """Exact E[θ_i²] (d,) of least squares after one pass over S fresh batches of b rows at rate η.

    From E[A] = Λ and E[A M A] = ΛMΛ + (ΛMΛ + Λ tr(ΛM))/b for the batch's second moment A, with M diagonal in mean.
    """
    lam, m = np.asarray(eigenvalues, float), np.asarray(theta, float) ** 2
    for _ in range(n_batches):
        again = lam**2 * m * (1 + 1 / batch) + lam * (lam @ m) / batch
        m = m * (1 - 2 * rate * lam) + rate**2 * (again + noise**2 * lam / batch)
    return m


def overfitting(curvature, covariance, n: int, rate: float, steps: int):
    """E L(θ_T) − L(θ*) of descent from the true minimum along a direction of curvature H: C/(2NH) (1 − (1−ηH)^T)².

    Raises ValueError where |1 − ηH| ≥ 1: there descent does not converge.
    """
    h = np.asarray(curvature, float)
    if not ((h > 0) & (rate * h < 2)).all():
        raise ValueError(f"overfitting: curvatures must lie between 0 and 2/rate = {2 / rate:g}; got {h.min():g} to {h.max():g}.")
    return covariance / (2 * n * h) * (1 - (1 - rate * h) ** steps) ** 2
