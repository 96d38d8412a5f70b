"""Real rows with a weight of their own, and rows that a verifier let pass: errors of an estimated mean in the loop.

Errors are mean squares over σ²/n, the error of one sample of n real rows; fit 1 is on real data alone. They need second
moments only, and hold for regular models with many rows.
"""

import numpy as np

GOLDEN = (np.sqrt(5) - 1) / 2  # reciprocal of the golden ratio: the best weight for as many synthetic as real rows (He 2025)


def path(weight, n_fits: int, ratio: float = 1.0) -> np.ndarray:
    """Return the error at fits 1 … n_fits with new real rows in every round: e = w² + (1 − w)²(e + 1/k), e = 1 at first (ours).

    weight: w of the real part, a number or one a round (n_fits − 1,); ratio: k synthetic rows a real one.
    """
    errors = [1.0]
    for w in np.broadcast_to(weight, n_fits - 1):
        errors.append(w**2 + (1 - w) ** 2 * (errors[-1] + 1 / ratio))
    return np.array(errors)


def limit(weight, ratio=1.0):
    """Return the limit of path, [w² + (1 − w)²/k]/[1 − (1 − w)²], 0 < w ≤ 1 (ours; the setting of He 2025, 2502.18049)."""
    weight = np.asarray(weight, float)
    return (weight**2 + (1 - weight) ** 2 / ratio) / (1 - (1 - weight) ** 2)


def fixed_limit(weight, ratio=1.0):
    """Return the limit where the real rows are the same in every round: 1 + (1 − w)²/(k[1 − (1 − w)²]), 0 < w ≤ 1 (ours)."""
    rest = (1 - np.asarray(weight, float)) ** 2
    return 1 + rest / (ratio * (1 - rest))


def best(ratio=1.0):
    """Return the weight with the least limit, the root of kw² + w = 1; the limit there is the weight itself (ours)."""
    ratio = np.asarray(ratio, float)
    return 2 / (1 + np.sqrt(1 + 4 * ratio))


def greedy(n_fits: int) -> np.ndarray:
    """Return the best weight of each round, which is also its error, at fits 1 … n_fits and k = 1: F₁/F₂, F₃/F₄, … (ours)."""
    fibonacci = [1, 1]
    while len(fibonacci) < 2 * n_fits:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    return np.array(fibonacci[0 : 2 * n_fits : 2]) / np.array(fibonacci[1 : 2 * n_fits : 2])


def verified_mean(pull: float, n_rounds: int) -> np.ndarray:
    """Return how far the mean estimate has gone from the truth to the verifier's centre after 0 … n_rounds: 1 − (1 − κ)ᵗ (ours)."""
    return 1 - (1 - pull) ** np.arange(n_rounds + 1)


def verified_variance(pull: float, n_rounds: int, first: float = 1.0) -> np.ndarray:
    """Return the variance of the estimate after 0 … n_rounds of rows that a verifier let pass (ours).

    V = (1 − κ)²V + 1 − κ from `first`: a row y passes with probability exp(−(y − c)²/2τ²), κ = σ²/(σ² + τ²).
    """
    variance = [first]
    for _ in range(n_rounds):
        variance.append((1 - pull) ** 2 * variance[-1] + 1 - pull)
    return np.array(variance)


def verified_error(pull: float, offset: float, n_rounds: int, first: float = 1.0) -> np.ndarray:
    """Return the squared error after 0 … n_rounds: (offset·verified_mean)² + verified_variance (ours).

    offset: distance of the verifier's centre from the truth, over σ/√n.
    """
    return (offset * verified_mean(pull, n_rounds)) ** 2 + verified_variance(pull, n_rounds, first)


def verified_limit(pull):
    """Return the limit of verified_variance, (1 − κ)/(κ(2 − κ)), 0 < κ ≤ 1: below 1 from κ = (3 − √5)/2 on (ours)."""
    pull = np.asarray(pull, float)
    return (1 - pull) / (pull * (2 - pull))
