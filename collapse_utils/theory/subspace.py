"""Where descent happens: a solvable model of softmax regression, and what mini-batch noise puts into the gradient.

The model: k orthonormal inputs μ_c, one a class, weights from zero, no bias, full batches. All classes have the same
probability p of their own label, and all of the Hessian is known (Gur-Ari, Roberts and Dyer 2018, arXiv 1812.04754, §3, for
k = 2; any k is ours).
"""

import numpy as np


def random_overlap(eigenvalues):
    """cos(w, Hw) of a vector of random signs in an eigenbasis of k eigenvalues: Σλ/√(k Σλ²) (there, Eq. 3)."""
    values = np.asarray(eigenvalues, float)
    return values.sum() / np.sqrt(len(values) * (values**2).sum())


def class_eigenvalues(p, k: int) -> tuple:
    """The Hessian's two levels: p(1−p)/(k−1), k times, where the gradient is, and (1−p)/(k(k−1)), k(k−2) times."""
    p = np.asarray(p, float)
    return p * (1 - p) / (k - 1), (1 - p) / (k * (k - 1))


def late_eigenvalue(rate, steps):
    """The top level after many steps, whatever k is: 1/(ηt) (Eq. 8 for k = 2)."""
    return 1 / (np.asarray(rate) * steps)


def late_gradient(rate, steps):
    """|∂L/∂θ_c| of two classes after many steps, in units of |μ_2 − μ_1|: 1/(2ηt); Eq. 7 prints 2/(ηt)."""
    return 1 / (2 * np.asarray(rate) * steps)


def noise_energy(rate, batch, eigenvalues, variances):
    """The mean square of the full gradient along directions in which batch noise is in balance: ηλC/(b(2 − ηλ)).

    θ' = (1 − ηλ)θ − ηξ, Var ξ = C/b, has the variance ηC/(bλ(2 − ηλ)), and g = λθ. eigenvalues λ, variances C of the
    rows' gradients along the directions (k,). Raises ValueError unless 0 < ηλ < 2, beyond which there is no balance.
    """
    pull = np.asarray(rate, float) * np.asarray(eigenvalues, float)
    if not ((pull > 0) & (pull < 2)).all():
        worst = pull.flat[np.abs(pull - 1).argmax()]
        raise ValueError(
            f"noise_energy: rate times curvature must lie between 0 and 2; got {worst:.3g}; take directions of positive "
            f"curvature and a rate below {2 / np.max(eigenvalues):.2g}."
        )
    return pull * np.asarray(variances, float) / (np.asarray(batch) * (2 - pull))


def top_fraction(noise, drift):
    """f_top where noise puts an energy into the top directions and descent itself one into the others: A/(A + G)."""
    return np.asarray(noise) / (np.asarray(noise) + drift)
