"""Gradients from compressed activations: their noise, the bound that keeps it, and one pass of descent with it.

A layer's weight gradient is G = δᵀa: signals δ (M, K) and stored inputs a (M, D) of M rows, which are images times
positions in a convolution, D its fan-in. Stored with independent errors of mean zero and rms ε on what is not zero
(ε = b/√3 for errors uniform on ±b), G gets a noise of mean zero. The law is ours; the worst case is that of AC-GC
(Evans & Aamodt 2021), from its code.
"""

import numpy as np


def spread(signal, kept, error):
    """Standard deviation of each entry of the noise, (K, D): ε (Σ_m δ_mk² 1[a_md ≠ 0])^½ of signals (M, K), kept (M, D)."""
    return error * np.sqrt(np.square(signal, dtype=float).T @ np.asarray(kept, float))


def kurtosis(signal, kept):
    """E z⁴ of each entry over its spread, for uniform errors: 3 − (6/5) Σ δ⁴1 / (Σ δ²1)², (K, D); 3 where nothing is kept."""
    squares, kept = np.square(signal, dtype=float).T, np.asarray(kept, float)
    total = squares @ kept
    return 3 - 1.2 * np.divide(squares**2 @ kept, total**2, out=np.zeros_like(total), where=total > 0)


def bound(noise, power, share, fan_in):
    """The bound b with E‖ΔG‖² = noise²: noise √(3/(R D ‖δ‖²)), for a power ‖δ‖², a share R of nonzero inputs, fan-in D."""
    return noise * np.sqrt(3 / (share * fan_in * power))


def worst_case(noise, power, positions, fan_in):
    """The rms error that AC-GC allows for the same noise: noise / √(2 N H W · D ‖δ‖²), N H W the positions of the input."""
    return noise / np.sqrt(2 * positions * fan_in * power)


def width(error, largest):
    """Bits of a value that AC-GC stores with that rms error, for values up to `largest`: trunc(log₂(largest/error) − 1) + 1, 2 to 16."""
    return np.clip(np.trunc(np.log2(largest / error) - 1), 1, 15) + 1


def more_trace(theta, eigenvalues, noise: float, error: float):
    """What inputs with errors of rms ε add to Tr C of least squares: d ε² (θᵀΛθ + σ²)."""
    eigenvalues = np.asarray(eigenvalues, float)
    return len(eigenvalues) * error**2 * (np.square(theta) @ eigenvalues + noise**2)


def one_pass(mean, square, eigenvalues, noise: float, rate: float, n_batches: int, batch: int, error: float = 0.0):
    """Exact E θ and E θ² (d,) of least squares after one pass over fresh batches, from a start with these moments.

    As descent.one_pass, with gradients x̃(x·θ − e) of stored inputs x̃ = x + ε: each step adds η² ε² (λ·Eθ² + σ²)/b to each E θ².
    """
    lam, m = np.asarray(eigenvalues, float), np.asarray(square, float)
    for _ in range(n_batches):
        residual = lam @ m + noise**2
        m = m * (1 - 2 * rate * lam) + rate**2 * (lam**2 * m + (lam**2 * m + (lam + error**2) * residual) / batch)
    return mean * (1 - rate * lam) ** n_batches, m


def loop(start, eigenvalues, noise: float, rate: float, n_batches: int, batch: int, error: float, n_fits: int, real: bool):
    """Expected excess test loss ½ Σ λ E θ² at fits 1 … n, (n,): each fit one pass from the same start, θ from the truth.

    Labels come from the last fit plus noise, on new inputs; real: after one pass over as many new real rows.
    """
    lam, start = np.asarray(eigenvalues, float), np.asarray(start, float)
    pass_over = (lam, noise, rate, n_batches, batch, error)
    first = one_pass(start, start**2, *pass_over)
    begin, (mean, square), losses = first if real else (start, start**2), first, [lam @ first[1] / 2]
    for _ in range(n_fits - 1):
        cross = begin[0] * mean - square  # of the last fit with where this one begins, seen from the last
        left, again = one_pass(begin[0] - mean, begin[1] - 2 * begin[0] * mean + square, *pass_over)
        mean, square = mean + left, square + 2 * (1 - rate * lam) ** n_batches * cross + again
        losses.append(lam @ square / 2)
    return np.array(losses)
