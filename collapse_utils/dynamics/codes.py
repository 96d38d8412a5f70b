"""Codes on the sphere: class weights and class features of unit length that minimise cross-entropy, from many starts at once.

A code is a pair (W, H) of weights and features, (S, K, d) each, of S starts, K classes and d dimensions. What is minimised is
τ log of the cross-entropy of the logits W·h_k/τ: the same minimisers, and a limit at τ → 0, the hard-max problem
max_{k, j≠k} (w_j − w_k)·h_k (Jiang et al. 2023, 2310.05351).
"""

from collections.abc import Iterable

import numpy as np
from scipy.optimize import minimize, nnls

LIMIT = 0.6  # the longest step of a point, in radians


def starts(s: int, k: int, d: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return s codes of k classes in d dimensions, weights and features (s, k, d) each uniform on the sphere.

    Raises ValueError for one class alone or fewer than two dimensions.
    """
    if k < 2 or d < 2:
        raise ValueError(f"starts: a code needs at least 2 classes and 2 dimensions; got {k} and {d}.")
    return _unit(rng.standard_normal((s, k, d))), _unit(rng.standard_normal((s, k, d)))


def loss(w: np.ndarray, h: np.ndarray, temperature: float) -> np.ndarray:
    """Return the cross-entropy in nats of features h (S, K, d) with weights w (S, K, d): the mean over classes, (S,)."""
    return _surplus(w, h, temperature)[0].mean(axis=1)


def descend(w: np.ndarray, h: np.ndarray, temperature: float, tolerance: float = 1e-7, steps: int = 2000, held: bool = False):
    """Return the codes (W, H) where descent of τ log cross-entropy ends, start by start.

    Barzilai–Borwein steps along the sphere (Wen and Yin 2013), each start with a step of its own, until its gradient is below
    the tolerance, or after so many steps; held: the weights stay. Raises ValueError for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"descend: the temperature must be positive; got {temperature}.")
    x, free = np.concatenate([w, h], axis=1), np.repeat([not held, True], w.shape[1])[:, None]  # (S, 2K, d), (2K, 1)
    left, done = np.arange(len(x)), x.copy()
    value, slope = _value(x, temperature, free)
    rate, best = np.full(len(x), temperature), np.repeat(value[:, None], 8, axis=1)  # the last eight values
    for step in range(steps):
        size = np.abs(slope).max(axis=(1, 2))
        going = size > tolerance
        if not going.all():
            done[left[~going]] = x[~going]
            x, value, slope, rate, best, left, size = (a[going] for a in (x, value, slope, rate, best, left, size))
        if not len(left):
            break
        rate = np.minimum(rate, LIMIT / size)
        tried = _unit(x - rate[:, None, None] * slope)
        new, steeper = _value(tried, temperature, free)
        fine = new <= best.max(axis=1) + 1e-15
        moved, bent = tried - x, steeper - slope
        along = np.maximum(np.abs((moved * bent).sum(axis=(1, 2))), 1e-300)
        guess = (moved**2).sum(axis=(1, 2)) / along if step % 2 else along / np.maximum((bent**2).sum(axis=(1, 2)), 1e-300)
        rate = np.where(fine, np.clip(guess, 1e-3 * temperature, 1e3), rate / 4)
        x, slope = np.where(fine[:, None, None], tried, x), np.where(fine[:, None, None], steeper, slope)
        value = np.where(fine, new, value)
        best[:, step % 8] = value
    done[left] = x
    return np.split(done, 2, axis=1)


def anneal(w: np.ndarray, h: np.ndarray, temperatures: Iterable[float], **how):
    """Return the codes after descent at each temperature in turn, each from where the last one ended."""
    for temperature in temperatures:
        w, h = descend(w, h, temperature, **how)
    return w, h


def margin(w: np.ndarray) -> float:
    """Return the one-against-rest margin of weights w (K, d): the least distance of a w_k from the convex hull of the others.

    The nearest point of a hull by non-negative least squares: min |Pu|² + (1 − Σu)², rescaled to Σu = 1, is exact.
    """
    found = []
    for k in range(len(w)):
        rest = (np.delete(w, k, axis=0) - w[k]).T  # (d, K − 1)
        u, _ = nnls(np.vstack([rest, np.ones(rest.shape[1])]), np.append(np.zeros(len(rest)), 1.0))
        found.append(np.linalg.norm(rest @ u) / u.sum())
    return min(found)


def closest(w: np.ndarray) -> np.ndarray:
    """Return the largest cosine of two different weights, w (…, K, d) of unit length: (…)."""
    return (w @ w.mT - 3 * np.eye(w.shape[-2])).max(axis=(-2, -1))


def _unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _surplus(w, h, temperature):
    """Cross-entropy of each class, (S, K), and exp of the logits less the own one, (S, K, K), zero on the diagonal."""
    scores = h @ w.mT / temperature  # (S, K, K), row k of feature k
    k = np.arange(scores.shape[-1])
    terms = np.exp(scores - scores[:, k, k, None])
    terms[:, k, k] = 0.0
    return np.log1p(terms.sum(axis=-1)), terms


def _value(x, temperature, free):
    """τ log cross-entropy (S,) of W over H, and its gradient along the sphere (S, 2K, d), of the points that are free."""
    w, h = np.split(x, 2, axis=1)
    single, terms = _surplus(w, h, temperature)
    total = single.sum(axis=1)
    share = terms * (np.exp(-single) / total[:, None])[..., None]  # (S, K, K): minus τ ∂/∂(own score) on the diagonal
    k = np.arange(share.shape[-1])
    share[:, k, k] = -share.sum(axis=-1)
    slope = np.concatenate([share.mT @ h, share @ w], axis=1)
    slope -= (slope * x).sum(axis=-1, keepdims=True) * x
    return temperature * np.log(total / w.shape[1]), free * slope


def hard_max(w: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Return weights (K, d) of a local solution of the hard-max problem, min max_{k, j≠k} (w_j − w_k)·h_k, near a code (K, d).

    By sequential quadratic programming with a bound t on all K(K − 1) terms and unit length as constraints: a second way to the
    limit of cross-entropy at temperature zero.
    """
    k, d = w.shape
    own, other = np.nonzero(~np.eye(k, dtype=bool))
    rows, points = np.arange(len(own)), np.arange(2 * k)

    def room(v):
        x = v[:-1].reshape(2, k, d)
        return v[-1] - ((x[0, other] - x[0, own]) * x[1, own]).sum(axis=1)

    def room_slope(v):
        x, out = v[:-1].reshape(2, k, d), np.zeros((len(own), 2, k, d))
        out[rows, 0, other], out[rows, 0, own], out[rows, 1, own] = -x[1, own], x[1, own], x[0, own] - x[0, other]
        return np.column_stack([out.reshape(len(own), -1), np.ones(len(own))])

    def length_slope(v):
        out = np.zeros((2 * k, 2 * k, d))
        out[points, points] = 2 * v[:-1].reshape(2 * k, d)
        return np.column_stack([out.reshape(2 * k, -1), np.zeros(2 * k)])

    start, last = np.append(np.stack([w, h]).ravel(), 0.0), np.append(np.zeros(2 * k * d), 1.0)
    start[-1] = -room(start).min()
    limits = [
        {"type": "ineq", "fun": room, "jac": room_slope},
        {"type": "eq", "fun": lambda v: (v[:-1].reshape(2 * k, d) ** 2).sum(axis=1) - 1, "jac": length_slope},
    ]
    options = {"maxiter": 300, "ftol": 1e-13}
    found = minimize(lambda v: v[-1], start, jac=lambda v: last, constraints=limits, method="SLSQP", options=options)
    return _unit(found.x[: k * d].reshape(k, d))
