"""Dohmatob, Feng, Kempe (2024): least squares at the end of a chain of least-squares generators, Gaussian features.

n counts generator fits (n = 0 labels by the truth). The finite-size forms are exact; d/(T − d − 1) tends to the
paper's ϕ/(1 − ϕ), ϕ = d/T.
"""

import numpy as np


def downstream_risk(n, d: int, n_samples, noise: float, generator_samples: int, generator_noise: float):
    """E‖ŵ − w0‖²_Σ = σ²d/(T−d−1) + n σ0²d/(T0−d−1) (Dohmatob 2024, 2402.07712, Thm 4.1, at finite size: ours).

    T = n_samples downstream rows with noise σ, T0 = generator_samples rows a generator with noise σ0.
    Raises ValueError for fewer than d + 2 rows, where it is infinite.
    """
    for name, rows in (("n_samples", n_samples), ("generator_samples", generator_samples)):
        if np.min(rows) < d + 2:
            raise ValueError(f"downstream_risk: {name} must be at least d + 2 = {d + 2}; got {np.min(rows)}.")
    own = noise**2 * d / (np.asarray(n_samples, float) - d - 1)
    return own + np.asarray(n, float) * generator_noise**2 * d / (generator_samples - d - 1)


def growing_risk(n, d: int, n_samples: int):
    """Risk over noise variance when fit m has m·T fresh rows: Σ_{m≤n} d/(mT−d−1) (Dohmatob 2024, 2402.07712, Remark 4.2).

    The paper's H_n·d/T is its limit T ≫ d; the finite-size sum is ours. n ≥ 1, T = n_samples ≥ d + 2.
    """
    n = np.asarray(n)
    return np.cumsum(d / (np.arange(1, int(n.max()) + 1) * n_samples - d - 1.0))[n - 1]


def shared_design_bias(n, d: int, n_samples: int):
    """E‖ŵ_n − w0‖²/‖w0‖² = 1 − min(T0/d, 1) for all n ≥ 1: no noise, one design (Dohmatob 2024, 2402.07712, Thm 4.8)."""
    return np.full(np.shape(n), 1 - min(n_samples / d, 1.0))


def fresh_design_bias(n, d: int, n_samples: int):
    """E‖ŵ_n − w0‖²/‖w0‖² = 1 − min(T0/d, 1)ⁿ: no noise, independent designs (Dohmatob 2024, 2402.07712, Thm 4.9)."""
    return 1 - min(n_samples / d, 1.0) ** np.asarray(n, float)


def null_generation(snr: float, d: int, n_samples: int) -> float:
    """The n at which the chain is as bad as predicting zero: SNR0 (T0−d−1)/d → SNR0 (1/ϕ0 − 1) (ours, from Thm 4.1).

    Dohmatob (2024, 2402.07712, after Thm 4.1) prints SNR0/(1/ϕ0 − 1); snr = ‖w0‖²_Σ/σ0².
    """
    return snr * (n_samples - d - 1) / d


def generator_shift(eigenvalues, n_samples: int, kappa: float, noise: float):
    """Eigenvalues (d,) of the covariance of ŵ0 − E ŵ0 for one generator: σ0²λ(λ+κ0)⁻²/(T0 − df2(κ0)).

    Its least-squares or least-norm fit to T0 = n_samples rows with noise σ0; κ0 = kappa is the effective penalty at λ = 0, 0
    for T0 > d (Dohmatob 2024, 2402.07712, Thm 4.6, in our reading). n generators on independent designs with T0 > d, or
    on one shared design, have n times it. Raises ValueError where T0 equals the number of features.
    """
    eigenvalues = np.asarray(eigenvalues, float)
    left = n_samples - (eigenvalues**2 / (eigenvalues + kappa) ** 2).sum()
    if left <= 0:
        raise ValueError(f"generator_shift: n_samples must exceed the degrees of freedom {n_samples - left:g}; got {n_samples}.")
    return noise**2 * eigenvalues / (eigenvalues + kappa) ** 2 / left


def passed_on(eigenvalues, n: int, kappa: float, generator_samples: int) -> float:
    """ρ: what ridge on n rows passes on of one generator's noise, per σ0², independent designs (Dohmatob 2024, 2402.07712, Eqs. 14-23).

    As printed, [df2 + κ² tr(Σ+κ)⁻² df2/(T − df2)]/(T0 − d), T = n, T0 = generator_samples > d, κ = kappa the effective penalty.
    """
    s = np.asarray(eigenvalues, float)
    df2, trace = (s**2 / (s + kappa) ** 2).sum(), (1 / (s + kappa) ** 2).sum()
    return (df2 + kappa**2 * trace * df2 / (n - df2)) / (generator_samples - len(s))
