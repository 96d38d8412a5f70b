"""Counting couplings: how many an energy of N spins has, what examples teach of them, what a student of few of them keeps.

An energy E(s) = Σ_S c_S ∏_{i∈S} s_i of N spins s_i = ±1 has M = 2^N products, orthogonal over all configurations. A student
fits P of them by least squares of least norm; m examples are configurations drawn without replacement.
"""

from math import comb

import numpy as np

RELU = (6.0, 60.0)  # second and third moment of 2·max(g, 0)², g ~ N(0, 1), whose mean is one


def couplings(n_spins: int, most: int | None = None) -> int:
    """Return Σ_{j=2}^{k} C(N, j), the interactions of at most k = `most` of N spins (Roberts 2021, 2104.00008, Section 1.2).

    Without `most` of any number of them, 2^N − N − 1. Raises ValueError unless 2 ≤ k ≤ N.
    """
    most = n_spins if most is None else most
    if not 2 <= most <= n_spins:
        raise ValueError(f"couplings: most must lie between 2 and the {n_spins} spins; got {most}.")
    return sum(comb(n_spins, j) for j in range(2, most + 1))


def unseen_error(rank, n_parameters: int, n_examples, n_configurations: int):
    """Return E(Ê − E)²/E E² on the unseen of M configurations: (1 − r/P)/(1 − m/M), for P independent couplings (ours).

    r of the m < M examples are independent: the least-norm fit knows the part of the couplings in their span, errs by P − r
    in the sum of squares over all configurations, and by nothing where it has seen.
    """
    return (1 - np.asarray(rank) / n_parameters) / (1 - np.asarray(n_examples) / n_configurations)


def cumulants(width, depth: int, leading: bool = False, moments: tuple[float, float] = RELU):
    """Return κ₄/K² and κ₆/K³ of one output of a network of `depth` hidden layers of `width` neurons, at every width (ours).

    Given the last kernel S the output is N(0, S), so κ₄ = 3 Var S and κ₆ = 15 κ₃(S); at criticality S/K is a product of
    L = `depth` independent means of n variables of mean one, whose second and third moments u are given (scale-invariant σ).
    leading: only the orders 1/n and 1/n², 3νL/n and 15[(u₃ − 3u₂ + 2)L + 3ν²L(L − 1)]/n² with ν = u₂ − 1.
    """
    n, nu, skew = np.asarray(width, float), moments[0] - 1, moments[1] - 3 * moments[0] + 2
    if leading:
        return 3 * nu * depth / n, 15 * (skew * depth + 3 * nu**2 * depth * (depth - 1)) / n**2
    m2, m3 = (1 + nu / n) ** depth, (1 + 3 * nu / n + skew / n**2) ** depth
    return 3 * (m2 - 1), 15 * (m3 - 3 * m2 + 2)


def first_loss(beyond: float, n_parameters: int, n_configurations: int, trace):
    """Return τ²(1 + (M·T − P)/(M − P)): what the teacher has beyond the student's P products, and what it spoils of these (ours).

    τ² = `beyond` is the mean square of that part, its couplings independent with one variance; T = E tr (XᵀX)⁻¹ of the rows of
    the first fit. Seen on them it is noise of covariance τ²/(M − P)·(M·I − XXᵀ). Nothing is spoiled by all M rows, T = P/M.
    """
    return beyond * (1 + (n_configurations * np.asarray(trace) - n_parameters) / (n_configurations - n_parameters))


def drift(traces, noise: float, kept: bool):
    """Return σ² Σ_{i≤n} w_i T_i, what label noise adds up to fits n = 1 … k; T_i = E tr G_i⁻¹ of the rows of fit i, (k,) (ours).

    w_i is 1 under replace, and 1/i where all rows are kept (accumulate): one of i batches that are alike is new.
    """
    weights = 1 / np.arange(1, len(traces) + 1) if kept else 1.0
    return noise**2 * np.cumsum(weights * np.asarray(traces))


def students(traces, beyond: float, noise: float, n_parameters: int, n_configurations: int, kept: bool):
    """Return first_loss + drift, the error of fits 1 … k, and what it would be if each fit lost what is beyond again (ours).

    The second counts what is beyond as label noise of every fit, of the variance that it has at the first.
    """
    lost = first_loss(beyond, n_parameters, n_configurations, traces[0])
    again = np.hypot(noise, np.sqrt((lost - beyond) / traces[0]))
    return lost + drift(traces, noise, kept), beyond + drift(traces, again, kept)


def forgetting(n, share: float):
    """Return 1 − (m/P)ⁿ: the squared error over the teacher's square after n noise-free fits to fewer examples than P (ours).

    Each fit projects onto the span of its m new rows, whose mean is m/P times the identity (exact for all M products).
    """
    return 1 - share ** np.asarray(n)
