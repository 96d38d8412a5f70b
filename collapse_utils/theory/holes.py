"""Holes and the networks that cannot fill them: a circle through one latent unit, and the bars of a circle with a gap.

A closed set of dimension n cannot pass through n latent units unharmed: a continuous encoder makes two far points one, or the
decoder leaves the set. On a circle of radius r through one unit the damage is an arc of width w, in radians, the gap.
"""

import numpy as np


def swept_error(width, radius: float = 1.0):
    """Return w·r²/π, the mean squared error of a circle whose gap is swept backwards at a steady rate (ours).

    While the input crosses the gap, of width w in radians, the output runs through the other 2π − w. The angle between them is
    uniform on (0, 2π): a mean square of 2r² inside the gap, which is a share w/2π of the circle.
    """
    return np.asarray(width) * radius**2 / np.pi


def swept_share(level: float, radius: float = 1.0) -> float:
    """Return 1 − (2/π)·asin(level/2r), the share of a swept gap in which the error exceeds a level, 0 ≤ level ≤ 2r (ours)."""
    if not 0 <= level <= 2 * radius:
        raise ValueError(f"swept_share: level must lie between 0 and the diameter {2 * radius:g}; got {level}.")
    return 1 - 2 / np.pi * np.arcsin(level / (2 * radius))


def ring_bar(width, radius: float = 1.0, filtration: str = "rips"):
    """Return the length of the bar of a densely covered circle with a gap of width w, in diameters: (…) (ours).

    It is born when the gap's ends are joined, at the chord 2r·sin(w/2). It dies at √3·r in the Rips complex, when an
    equilateral triangle fits, and at 2r in the alpha complex, when balls of that diameter meet in the middle.
    """
    if not radius > 0:
        raise ValueError(f"ring_bar: radius must be above 0; got {radius}.")
    death = {"rips": np.sqrt(3), "alpha": 2.0}[filtration] * radius
    return np.maximum(death - 2 * radius * np.sin(np.asarray(width) / 2), 0.0)


def largest_spacing(n: int) -> float:
    """Return 2π·H_n/n, the expected largest of the n arcs between n independent uniform points of a circle (Rényi 1953)."""
    return float(2 * np.pi * (1 / np.arange(1, n + 1)).sum() / n)
