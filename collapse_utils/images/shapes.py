"""Point sets with and without holes: circle, sphere, torus, double cone, a punctured paraboloid, and events of three particles."""

import numpy as np

WINDOW = (0.285, 0.315)  # of s₁₂/s, around the resonance
RESONANCE, RELATIVE_WIDTH = 0.3, 0.01  # its s₁₂/s, and its width over its mass


def sphere(n: int, rng: np.random.Generator, dimension: int = 2, radius: float = 1.0) -> np.ndarray:
    """Return n uniform points of a sphere of a dimension, 1 for the circle, about the origin: (n, dimension + 1)."""
    if not radius > 0:
        raise ValueError(f"sphere: radius must be above 0; got {radius}.")
    x = rng.standard_normal((n, dimension + 1))
    return radius * x / np.linalg.norm(x, axis=1, keepdims=True)


def torus(n: int, rng: np.random.Generator, radius: float = 1.0, tube: float = 0.4) -> np.ndarray:
    """Return n points, uniform by area, of a torus with a tube around a circle of a radius: (n, 3)."""
    if not radius > tube > 0:
        raise ValueError(f"torus: the tube's radius must be above 0 and below the radius {radius}; got {tube}.")
    angle = rng.uniform(0, 2 * np.pi, (4 * n + 100, 2))
    kept = rng.uniform(0, radius + tube, len(angle)) < radius + tube * np.cos(angle[:, 1])
    a, b = angle[kept][:n].T
    far = radius + tube * np.cos(b)
    return np.stack([far * np.cos(a), far * np.sin(a), tube * np.sin(b)], axis=1)


def double_cone(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n points, uniform by area, of the cones x² + y² = z², |z| ≤ 1, which meet in one point: (n, 3)."""
    angle, z = rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.uniform(0, 1, n)) * rng.choice([-1, 1], n)
    return np.stack([z * np.cos(angle), z * np.sin(angle), z], axis=1)


def paraboloid(n: int, rng: np.random.Generator, hole: float = 0.2, rim: float = 2.0) -> np.ndarray:
    """Return n points of z = (x² + y²)/4 over a ring, uniform in (x, y), between the hole and the rim: (n, 3)."""
    if not 0 <= hole < rim:
        raise ValueError(f"paraboloid: the hole must be at least 0 and below the rim {rim}; got {hole}.")
    angle, square = rng.uniform(0, 2 * np.pi, n), rng.uniform(hole**2, rim**2, n)
    return np.stack([np.sqrt(square) * np.cos(angle), np.sqrt(square) * np.sin(angle), square / 4], axis=1)


def three_body(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n events of three massless particles at rest together, energy 1, flat in phase space: momenta (n, 9).

    Isotropic momenta of independent energies are boosted to their rest frame and scaled (RAMBO; Kleiss, Stirling, Ellis 1986).
    """
    energy = -np.log(1 - rng.random((n, 3))) - np.log(1 - rng.random((n, 3)))
    q = energy[..., None] * sphere(3 * n, rng).reshape(n, 3, 3)
    total, all_energy = q.sum(axis=1), energy.sum(axis=1)
    mass = np.sqrt(all_energy**2 - (total**2).sum(axis=1))
    at_rest = _boosted(q, energy, -total / mass[:, None], all_energy / mass)
    return (at_rest / mass[:, None, None]).reshape(n, 9)


def resonance(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n events in which particles 1 and 2 come from one narrow resonance, isotropic throughout: momenta (n, 9)."""
    mass = np.sqrt(RESONANCE) * (1 + RELATIVE_WIDTH / 2 * rng.standard_cauchy(n))
    mass = np.where((mass > 0.3) & (mass < 0.8), mass, np.sqrt(RESONANCE))  # far tails are cut
    third = (1 - mass**2)[:, None] / 2 * sphere(n, rng)
    half = mass[:, None] / 2 * sphere(n, rng)
    pair, energy = np.stack([half, -half], axis=1), np.repeat(mass[:, None] / 2, 2, axis=1)
    pair = _boosted(pair, energy, -third / mass[:, None], (1 + mass**2) / (2 * mass))
    return np.concatenate([pair, third[:, None]], axis=1).reshape(n, 9)


def pair_mass(events: np.ndarray) -> np.ndarray:
    """Return s₁₂/s of events (…, 9): the squared mass of particles 1 and 2 over that of all, 1 − 2E₃ (massless, s = 1)."""
    return 1 - 2 * np.linalg.norm(events[..., 6:], axis=-1)


def in_window(events: np.ndarray) -> np.ndarray:
    """Return which events (…, 9) have s₁₂/s in WINDOW, (…)."""
    found = pair_mass(events)
    return (found > WINDOW[0]) & (found < WINDOW[1])


def _boosted(q, energy, b, gamma):
    """Momenta q (n, k, 3) with energies (n, k), boosted by b = γv (n, 3)."""
    along = np.einsum("nki,ni->nk", q, b)
    return q + (energy + along / (1 + gamma)[:, None])[..., None] * b[:, None]
