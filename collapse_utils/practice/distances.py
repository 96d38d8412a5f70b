"""How far sampled rows are from real ones: two-sample distances, in blocks of bounded memory.

Rows are arrays (n, d) as `frames.Columns` explains them. What is pairwise compares points: a number over its standard
deviation in the real rows, a category as a corner of a simplex, so that two rows which differ in one category alone
are at distance 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from collapse_utils.practice.frames import Columns, check

BLOCK = 256, 256  # pairs at a time: what a core's cache holds


@dataclass(frozen=True)
class Coordinates:
    """The map of rows to points: centre and scale (d,) of the real rows, 0 and 1 for categories."""

    columns: Columns
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, real: np.ndarray, columns: Columns) -> "Coordinates":
        """Return the map that real rows (n, d) define; a number without spread keeps its unit."""
        real, number = finite(real, columns), columns.numbers
        spread = real.std(axis=0)
        return cls(columns, np.where(number, real.mean(axis=0), 0), np.where(number & (spread > 0), spread, 1))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the points (n, k), k = numbers + categories of all columns."""
        rows, parts = finite(rows, self.columns), []
        for j, (kind, known) in enumerate(zip(self.columns.kinds, self.columns.categories, strict=True)):
            if kind == "number":
                parts.append(((rows[:, j] - self.centre[j]) / self.scale[j])[:, None])
            else:
                parts.append((rows[:, j, None] == np.arange(len(known))) / np.sqrt(2))
        return np.hstack(parts)

    @property
    def owner(self) -> np.ndarray:
        """The column (k,) that each coordinate belongs to."""
        widths = [len(known) or 1 for known in self.columns.categories]
        return np.repeat(np.arange(len(widths)), widths)


def finite(rows: np.ndarray, columns: Columns) -> np.ndarray:
    """Return rows (n, d), n ≥ 1, as float64; raises ValueError, with column and value, for what is no rows of these columns."""
    rows = np.asarray(rows, float)
    if not len(rows):
        raise ValueError(f"measures: must have at least one row of {len(columns.names)} columns; got none.")
    return check(rows, columns, "measures")


class Points:
    """A sample (n, k) with what only depends on it: sums over its own pairs, once."""

    def __init__(self, points: np.ndarray):
        self.points = np.ascontiguousarray(points, float)

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared norms (n,)."""
        return np.einsum("ij,ij->i", self.points, self.points)

    def within(self, bandwidth: float) -> tuple[float, float]:
        """Return the means over all ordered pairs, those of a point with itself included, of distance and kernel."""
        if bandwidth not in self._within:
            n, (distance, kernel) = len(self.points), _sums(self, self, bandwidth, below=True)
            self._within[bandwidth] = 2 * distance / n**2, (2 * kernel + n) / n**2
        return self._within[bandwidth]

    @cached_property
    def _within(self) -> dict[float, tuple[float, float]]:
        return {}


def two_sample(x: Points, y: Points, bandwidth: float) -> tuple[float, float]:
    """Return energy distance and squared MMD of two samples, from one pass over their pairs.

        E = 2 E|X − Y| − E|X − X'| − E|Y − Y'|                        (Székely & Rizzo 2013, J. Stat. Plan. Inference 143)
        MMD² = E k(X, X') + E k(Y, Y') − 2 E k(X, Y),  k = exp(−|x − y|²/2h²)     (Gretton 2012, JMLR 13, Eq. 5)

    Both over all pairs, so that neither is negative; equal samples have 0. h: bandwidth. Raises ValueError unless h > 0.
    """
    if not 0 < bandwidth < np.inf:
        raise ValueError(f"two_sample: the bandwidth must be a finite number above 0; got {bandwidth}.")
    pairs = len(x.points) * len(y.points)
    (distance, kernel), (xx, kxx), (yy, kyy) = _sums(x, y, bandwidth), x.within(bandwidth), y.within(bandwidth)
    return max(2 * distance / pairs - xx - yy, 0.0), max(kxx + kyy - 2 * kernel / pairs, 0.0)


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Return the energy distance of points (n, k) and (m, k), as two_sample does; in one dimension exactly, by sorting."""
    if x.shape[1] == 1:
        both = np.sort(np.concatenate([x, y]), axis=0)[:, 0]
        gap = below(np.sort(x[:, 0]), both[:-1]) - below(np.sort(y[:, 0]), both[:-1])
        return float(2 * gap**2 @ np.diff(both))  # 2 ∫ (F − G)²
    return two_sample(Points(x), Points(y), 1.0)[0]


def median_bandwidth(points: np.ndarray, most: int = 1000) -> float:
    """Return the median distance between two different ones of the first rows, at most `most` (Gretton 2012, §8); 1 if it is 0."""
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(points[:most]))) or 1.0 if len(points) > 1 else 1.0


def below(ordered: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the share of values, sorted, that are at most each of `at`: the empirical distribution function."""
    return np.searchsorted(ordered, at, side="right") / len(ordered)


def nearest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the distance (n,) of each of the points x (n, k) to the nearest of y (m, k); exactly 0 for a copy."""
    from sklearn.metrics import pairwise_distances_argmin

    found = pairwise_distances_argmin(x, y)  # in blocks
    return np.sqrt(((x - y[found]) ** 2).sum(axis=1))  # without the cancellation of |x|² + |y|² − 2 x·y


def classifier_two_sample(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, folds: int = 3) -> tuple[float, float]:
    """Return the cross-validated AUC and accuracy of boosted trees that tell points x (n, k) from y (m, k).

    0.5 both where the samples are of one law (Lopez-Paz & Oquab 2017, 1610.06545); of the larger sample as many rows are
    drawn as the smaller has. Raises ValueError for fewer than 2 rows a fold.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n = min(len(x), len(y))
    if n < 2 * folds:
        raise ValueError(f"classifier_two_sample: {folds} folds need at least {2 * folds} rows of both samples; got {n}.")
    both = np.concatenate([part[rng.choice(len(part), n, replace=False)] for part in (x, y)])
    label, seed = np.repeat([0, 1], n), int(rng.integers(2**31))
    trees = HistGradientBoostingClassifier(
        max_iter=30, max_leaf_nodes=8, min_samples_leaf=max(2, min(20, n // 10)), early_stopping=False, random_state=seed
    )
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    chance = cross_val_predict(trees, both, label, cv=cut, method="predict_proba")[:, 1]
    return float(roc_auc_score(label, chance)), float(((chance > 0.5) == label).mean())


def _sums(x: Points, y: Points, bandwidth: float, below: bool = False) -> tuple[float, float]:
    """Sums of distance and kernel over all pairs, or, with below, over those of x with an earlier one of itself."""
    distance = kernel = 0.0
    for rows, blocks in _blocks(x, y):
        for places, squared in blocks:
            if below and places.start >= rows.stop:
                break
            if below and places.stop > rows.start:
                squared = squared[np.arange(rows.start, rows.stop)[:, None] > np.arange(places.start, places.stop)]
            squared = squared.astype(np.float32)  # its error of 1e-7 a pair averages out
            distance += float(np.sqrt(squared).sum(dtype=float))
            squared *= np.float32(-0.5 / bandwidth**2)
            kernel += float(np.exp(squared, out=squared).sum(dtype=float))
    return distance, kernel


def _blocks(x: Points, y: Points) -> Iterator[tuple[slice, Iterator[tuple[slice, np.ndarray]]]]:
    """Squared distances, block by block: for each stretch of x the stretches of y, with (rows, places) each."""
    left = np.column_stack([-2 * x.points, x.squares, np.ones(len(x.points))])
    right = np.ascontiguousarray(np.column_stack([y.points, np.ones(len(y.points)), y.squares]).T)

    def along(rows):
        for j in range(0, right.shape[1], BLOCK[1]):
            squared = left[rows] @ right[:, j : j + BLOCK[1]]
            yield slice(j, j + squared.shape[1]), np.maximum(squared, 0, out=squared)

    for i in range(0, len(left), BLOCK[0]):
        rows = slice(i, min(i + BLOCK[0], len(left)))
        yield rows, along(rows)
