"""Holes of point clouds: bars of the alpha complex in the plane, of the Rips complex anywhere, and the widest gap of a ring.

The alpha complex comes from scipy's Delaunay triangulation, and its bars from two passes of union and find. gudhi's, which the
tests compare with, rests on CGAL under the GPL, and this package is under the MIT licence: nothing here imports it.
"""

import numpy as np
from scipy.spatial import Delaunay, QhullError


def rips_bars(points: np.ndarray, dimension: int = 1, landmarks: int | None = None) -> np.ndarray:
    """Return the bars (k, 2) of a Rips complex in one dimension, births and deaths as distances, the longest first.

    By ripser (Tralie, Saul, Bar-On 2018). landmarks: so many of the points, each the farthest from those before, stand for all.
    Raises ValueError for fewer points than a bar needs: four for a loop, six for a void.
    """
    from ripser import ripser

    n = _enough(points, 2 * dimension + 2, f"a bar of dimension {dimension}")
    bars = ripser(points, maxdim=dimension, n_perm=landmarks if landmarks and landmarks < n else None)["dgms"][dimension]
    return _longest_first(bars)


def alpha_bars(points: np.ndarray) -> np.ndarray:
    """Return the loops (k, 2) of points (n, 2) by the alpha complex, births and deaths as diameters of balls, the longest first.

    Loops of a planar complex are pieces of its complement, seen from large radii to small: the triangles that an edge parts are
    one piece as long as it is missing, and of two pieces that it parts the smaller one is born as a loop with it (Alexander's
    duality, Edelsbrunner and Harer 2010, V.4). Raises ValueError for fewer than three points, or points all on one line.
    """
    _enough(points, 3, "a loop")
    try:
        corners = Delaunay(points).simplices
    except QhullError:
        raise ValueError("alpha_bars: the points must not all lie on one line; add points beside it.") from None
    radius, faces, born = _filtration(points, corners)
    age = np.append(radius, np.inf)  # of the triangles, and of the outside
    root, bars = list(range(len(age))), []
    for edge in np.argsort(-born, kind="stable"):
        a, b = (_find(root, face) for face in faces[edge])
        if a != b:
            young, old = (a, b) if age[a] < age[b] else (b, a)
            root[young] = old
            if age[young] > born[edge]:
                bars.append((2 * born[edge], 2 * age[young]))
    return _longest_first(np.array(bars).reshape(-1, 2))


def longest(bars: np.ndarray) -> float:
    """Return the length of the longest of bars (k, 2); 0 where there is none."""
    return float((bars[:, 1] - bars[:, 0]).max()) if len(bars) else 0.0


def widest_gap(points: np.ndarray) -> np.ndarray:
    """Return the widest arc, in radians seen from the origin, that holds none of the points (…, n, 2): (…)."""
    return widest_arc(np.arctan2(points[..., 1], points[..., 0]))[0]


def widest_arc(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the widest arc that holds none of the angles (…, n) in radians, and its centre, (…) each."""
    _enough(np.atleast_1d(angles).T, 2, "a gap")
    angles = np.sort(angles % (2 * np.pi), axis=-1)
    arcs = np.diff(angles, axis=-1, append=angles[..., :1] + 2 * np.pi)
    i = arcs.argmax(axis=-1)[..., None]
    widest = np.take_along_axis(arcs, i, -1)
    return widest[..., 0], (np.take_along_axis(angles, i, -1) + widest / 2)[..., 0] % (2 * np.pi)


def _enough(points: np.ndarray, need: int, what: str) -> int:
    if len(points) < need:
        raise ValueError(f"bars: {what} needs at least {need} points; got {len(points)}.")
    return len(points)


def _longest_first(bars: np.ndarray) -> np.ndarray:
    return bars[np.argsort(bars[:, 0] - bars[:, 1], kind="stable")]


def _filtration(points, corners):
    """Radii (t,) of triangles, (e, 2) triangles at each edge (t stands for outside), and radii (e,) at which edges appear."""
    p = points[corners]  # (t, 3, 2)
    sides = np.roll(p, -1, axis=1) - np.roll(p, 1, axis=1)  # the one across each corner
    lengths = np.linalg.norm(sides, axis=2)
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])  # twice
    with np.errstate(divide="ignore"):
        radius = lengths.prod(axis=1) / (2 * area)
    squares = lengths**2
    blunt = squares > squares.sum(axis=1, keepdims=True) - squares  # the corner lies inside the edge's own circle
    ends = np.sort(np.stack([np.roll(corners, -1, 1), np.roll(corners, 1, 1)], -1), axis=-1).reshape(-1, 2)
    _, first, edge = np.unique(ends, axis=0, return_index=True, return_inverse=True)
    edge, owner = edge.ravel(), np.repeat(np.arange(len(corners)), 3)
    faces = np.full((len(first), 2), len(corners))
    faces[:, 0] = owner[first]
    other = np.setdiff1d(np.arange(len(edge)), first)
    faces[edge[other], 1] = owner[other]
    covered = np.zeros(len(first), bool)
    np.logical_or.at(covered, edge, blunt.ravel())
    around = np.append(radius, np.inf)[faces].min(axis=1)
    return radius, faces, np.where(covered, around, lengths.ravel()[first] / 2)


def _find(root: list, i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = root[i]
    return i
