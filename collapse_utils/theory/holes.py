"""Holes and the networks that cannot fill them: a circle through one latent unit, and the bars of a circle with a gap.

A closed set of dimension n cannot pass through n latent units unharmed: a continuous encoder makes two far points one, or the
decoder leaves the set. On a circle of radius r through one unit the damage is an arc of width w, in radians, the gap.
"""

import numpy as np


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
