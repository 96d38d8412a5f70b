"""Conformers as sticks, coloured by the lengths of their bonds."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from collapse_utils import plot
from collapse_utils.molecules.quality import superpose

TINT = LinearSegmentedColormap.from_list("length", [plot.COLOURS["accumulate"], "0.6", plot.COLOURS["replace"]])


def sticks(ax, places: np.ndarray, bonds: np.ndarray, real: np.ndarray) -> None:
    """Draw conformers (c, n, 3) one below the other, each turned onto the first real one, which lies in the plane of the page.

    bonds (n, n); real (k, n, 3) in Å. A bond a fifth shorter than the mean real one is in the colour of accumulate, one a fifth
    longer in that of replace, a right one grey. The bar is of one Å.
    """
    ends = np.argwhere(np.triu(bonds))
    flat = np.linalg.svd(real[0] - real[0].mean(axis=0))[2]
    onto = (real[0] - real[0].mean(axis=0)) @ (flat * [[1], [1], [np.linalg.det(flat)]]).T  # not mirrored
    usual, gap = _lengths(real, ends).mean(axis=0), 1.3 * np.ptp(onto[:, 1]) + 1
    for row, frame in enumerate(superpose(places, onto)):
        for pair, ratio in zip(ends, _lengths(frame, ends) / usual, strict=True):
            style = {"color": TINT((ratio - 0.8) / 0.4), "linewidth": 2.5, "marker": "o"}
            ax.plot(frame[pair, 0], frame[pair, 1] - row * gap, **style)
    low, left = -len(places) * gap + gap / 2, onto[:, 0].min()
    ax.plot([left, left + 1], [low, low], color="0.4", linewidth=2)
    plot.note(ax, "1 Å", (left + 0.5, low), (0, -3), ha="center", va="top")
    ax.set_aspect("equal")
    ax.set_axis_off()


def _lengths(places: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.linalg.norm(places[..., ends[:, 0], :] - places[..., ends[:, 1], :], axis=-1)
