"""Sites on a torus: neighbours, and pairs of sites that shifts and turns carry into each other."""

import numpy as np


def links(side: int) -> np.ndarray:
    """Return the pairs of neighbours on a square of side × side sites whose opposite edges are joined: (2·side², 2), each once.

    Raises ValueError for a side below 3, where two sites would be joined twice.
    """
    if side < 3:
        raise ValueError(f"links: side must be at least 3; got {side}.")
    sites = np.arange(side**2).reshape(side, side)
    pairs = [np.stack([sites, np.roll(sites, -1, axis)], axis=-1).reshape(-1, 2) for axis in (0, 1)]
    return np.sort(np.concatenate(pairs), axis=1)


def classes(pairs: np.ndarray, side: int, turns: bool = False) -> int:
    """Return how many pairs (k, 2) of sites remain different when shifts, and quarter turns if asked, make pairs alike."""
    sites = np.arange(side**2).reshape(side, side)
    turned = [np.rot90(sites, k) for k in range(4 if turns else 1)]
    maps = [np.roll(grid, shift, (0, 1)).ravel() for grid in turned for shift in np.ndindex(side, side)]
    ends = np.sort(np.array(maps)[:, pairs], axis=-1)  # (maps, k, 2)
    return len(np.unique((ends[..., 0] * side**2 + ends[..., 1]).min(axis=0)))
