"""What is measured of sampled rows against held-out real ones: by column, by pairs, at the tails, by use, and for privacy."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from collapse_utils.practice import distances
from collapse_utils.practice.frames import Columns
from collapse_utils.practice.start import Start

LEVELS = {"tail_mass_1": 0.01, "tail_mass_01": 0.001}  # beyond the real quantiles of 1 % and 0.1 % on either side
MOST = 10_000  # rows that a classifier or a regression learns from, and that neighbours are looked for among


class Measure(NamedTuple):
    """A measure: its group (what a study is asked for), what it is, its value for equal laws, whether it is one a column."""

    group: str
    words: str
    same: float
    columns: bool = False


MEASURES = {
    "energy_distance": Measure("energy", "energy distance, in standard deviations", 0),
    "mmd": Measure("mmd", "squared maximum mean discrepancy, Gaussian kernel of the median distance", 0),
    "classifier_auc": Measure("classifier", "AUC of boosted trees that tell sampled rows from real ones", 0.5),
    "classifier_accuracy": Measure("classifier", "accuracy of the same", 0.5),
    "marginal_distance": Measure("marginals", "Kolmogorov–Smirnov distance of a number, total variation of a category", 0, True),
    "correlation_largest": Measure("correlations", "largest change of a correlation", 0),
    "correlation_mean": Measure("correlations", "mean absolute change of the correlations", 0),
    "tail_mass_1": Measure("tails", "rows beyond the real 1 % quantiles, over what the real rows have", 1, True),
    "tail_mass_01": Measure("tails", "rows beyond the real 0.1 % quantiles, over what the real rows have", 1, True),
    "lost_categories": Measure("categories", "categories of the training rows that no longer occur", 0, True),
    "real_test_loss": Measure("usefulness", "loss on real rows after training on sampled ones", np.nan),
    "nearest_neighbour_ratio": Measure("neighbours", "distance to the nearest training row over that to a held-out one", 1),
    "copied_rows": Measure("neighbours", "share of rows that equal a training row", np.nan),
    "strange_rows": Measure("neighbours", "share of rows further from the real ones than 99 % of real rows are", 0.01),
    "mean_shift": Measure("moments", "distance of the means, in real standard deviations", 0, True),
    "variance_ratio": Measure("moments", "variance over the real one", 1, True),
    "drift": Measure(
        "start", "squared distance of the mean from that of the first rows, in their covariance, a dimension", np.nan
    ),
    "scale": Measure("start", "mean variance along the directions of the first rows, over theirs", 1),
    "log_volume": Measure("start", "change of the logarithm of the covariance's determinant since the first rows", 0),
}
GROUPS = tuple(dict.fromkeys(measure.group for measure in MEASURES.values()))


def needs(measure: str) -> str:
    """Return what a measure takes that not every table has, in words; "" where any will do."""
    if measure in LEVELS:
        return f"numbers and {1 / LEVELS[measure]:.0f} held-out rows"
    numbers = dict.fromkeys(("mean_shift", "variance_ratio"), "a column of numbers")
    return {"real_test_loss": "a target", "lost_categories": "a column of categories", **numbers}.get(measure, "")


def available(columns: Columns, n_rows: int, groups: Sequence[str], target: str = "") -> set[str]:
    """Return the measures that a study of n_rows rows in all, half of them held out, has values of, for the groups asked."""
    numbers, held_out = columns.numbers, n_rows // 2
    none = {"usefulness": not target, "categories": numbers.all()} | dict.fromkeys(
        ("moments", "start", "tails"), not numbers.any()
    )
    asked = {name for name, measure in MEASURES.items() if measure.group in groups and not none.get(measure.group)}
    return asked - {name for name, level in LEVELS.items() if held_out * level < 1}


def marginals(real: np.ndarray, rows: np.ndarray, columns: Columns) -> np.ndarray:
    """Return the distance of every column's law, (d,): Kolmogorov–Smirnov of numbers, total variation of categories, in [0, 1]."""
    found = []
    for x, y, kind, known in zip(real.T, rows.T, columns.kinds, columns.categories, strict=True):
        if kind == "number":
            x, y = np.sort(x), np.sort(y)
            found.append(max(np.abs(distances.below(x, at) - distances.below(y, at)).max() for at in (x, y)))
        else:
            found.append(np.abs(shares(x, len(known)) - shares(y, len(known))).sum() / 2)
    return np.array(found)


def shares(codes: np.ndarray, n_known: int) -> np.ndarray:
    """Return the share of rows in each of n_known categories, (n_known,)."""
    return np.bincount(codes.astype(int), minlength=n_known) / len(codes)


def correlations(real: np.ndarray, points: np.ndarray, owner: np.ndarray) -> tuple[float, float]:
    """Return the largest and the mean absolute change of a correlation between coordinates (n, k) of two columns.

    A coordinate without spread is correlated with none; (0, 0) where there is one column only. owner: `Coordinates.owner`.
    """
    change = np.abs(_correlation(points) - _correlation(real))[np.not_equal.outer(owner, owner)]
    return (float(change.max()), float(change.mean())) if len(change) else (0.0, 0.0)


def tail_mass(real: np.ndarray, rows: np.ndarray, level: float) -> np.ndarray:
    """Return for numbers (n, d), (m, d) the share of rows beyond the real quantiles level and 1 − level, over the real share: (d,).

    1 for rows of the same law, 0 where the tails are gone; the real share is 2·level up to ties. Raises ValueError where fewer
    real rows than 1/level make the quantiles.
    """
    if len(real) * level < 1 - 1e-9:
        raise ValueError(f"tail_mass: the quantile {level:g} needs at least {1 / level:.0f} real rows; got {len(real)}.")
    low, high = np.quantile(real, [level, 1 - level], axis=0)
    beyond, nominal = (((part < low) | (part > high)).mean(axis=0) for part in (rows, real))
    return np.divide(beyond, nominal, out=np.ones_like(beyond), where=nominal > 0)


def lost_categories(train: np.ndarray, rows: np.ndarray, n_known: int) -> int:
    """Return how many of the categories that occur in train (n,) do not occur in rows (m,); codes 0 … n_known − 1."""
    return int(((shares(train, n_known) > 0) & (shares(rows, n_known) == 0)).sum())


def train_on_synthetic_test_on_real(
    rows: np.ndarray, test: np.ndarray, coordinates: distances.Coordinates, target: str, learner: Any = None
) -> float:
    """Return the loss on real rows test (m, d) of what learns from rows (n, d) to predict the column target from the others.

    A category: the share of wrong answers, of logistic regression. A number: the mean squared error over the variance of
    the real one, of ridge regression; 1 is what the real mean would give. learner: an estimator in place of these.
    Raises ValueError for a target that is no column, or the only one.
    """
    columns = coordinates.columns
    if target not in columns.names:
        raise ValueError(f"target: must be one of the columns {', '.join(map(repr, columns.names))}; got {target!r}.")
    j = columns.names.index(target)
    inputs = coordinates.owner != j
    if not inputs.any():
        raise ValueError(f"target: {target!r} must have other columns to be predicted from; got a table of one column.")
    x, of = (coordinates(part)[:, inputs] for part in (rows, test))
    y, truth = rows[:, j], test[:, j]
    if columns.kinds[j] == "category":
        said = _learner("category", learner).fit(x, y).predict(of) if (y != y[0]).any() else np.full(len(truth), y[0])
        return float((said != truth).mean())
    scale = coordinates.scale[j]  # the penalty knows no unit
    said = _learner("number", learner).fit(x, y / scale).predict(of) * scale
    return float(((said - truth) ** 2).mean() / (truth.var() or 1))


def nearest_neighbour_ratio(to_train: np.ndarray, to_held_out: np.ndarray) -> float:
    """Return the median over rows of the distance (n,) to the nearest training row over that to the nearest of as many held-out rows.

    1 for fresh rows whatever their law, by exchange; 0 where most are copies of training rows, less than 1 where a model remembers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.median(np.where(to_train == to_held_out, 1.0, to_train / to_held_out)))


def copied(rows: np.ndarray, train: np.ndarray) -> float:
    """Return the share of rows (n, d) that equal a row of train (m, d), in every column."""
    known = {row.tobytes() for row in np.ascontiguousarray(train) + 0.0}  # −0 is 0
    return float(np.mean([row.tobytes() in known for row in np.ascontiguousarray(rows) + 0.0]))


class Reference:
    """Held-out real rows with what only depends on them, for samples to be measured against.

    train, held_out: real rows (n, d), the first those that the loop begins with; target: the column to be predicted ("" for none).
    Pairwise distances, neighbours and the classifier compare at most n_compared rows of either, drawn by rng once.
    """

    def __init__(self, train, held_out, columns: Columns, target: str, n_compared: int, rng: np.random.Generator):
        self.train, self.held_out = (distances.finite(part, columns) for part in (train, held_out))
        self.columns, self.target, self.n_compared = columns, target, n_compared
        self.number = columns.numbers
        self.coordinates = distances.Coordinates.of(self.held_out, columns)
        self.points = self.coordinates(_drawn(self.held_out, MOST, rng))
        self.compared = distances.Points(self.points[:n_compared])
        self.bandwidth = distances.median_bandwidth(self.points)
        n = min(len(self.train), len(self.points))
        self.near = self.coordinates(_drawn(self.train, n, rng)), self.points[:n]
        self.far = np.quantile(distances.nearest(self.near[0][:n_compared], self.near[1]), 0.99)
        self.spread = self.held_out.std(axis=0)

    def measure(self, rows: np.ndarray, groups: Sequence[str], rng: np.random.Generator) -> list[tuple[str, str, float]]:
        """Return (measure, column, value) of sampled rows (n, d) for the groups asked; the column is "" where it is one number.

        Left out is what the held-out rows are too few for: a tail without a row, a classifier of fewer than ten.
        Raises ValueError for another group and for rows that are not of the columns.
        """
        if unknown := [group for group in groups if group not in GROUPS]:
            raise ValueError(f"measures: must be among {', '.join(GROUPS)}; got {unknown[0]!r}.")
        rows = distances.finite(rows, self.columns)
        points = self.coordinates(_drawn(rows, MOST, rng))
        return [found for group in groups for found in getattr(self, f"_{group}")(rows, points, rng)]

    def _energy(self, rows, points, rng):
        one = points.shape[1] == 1  # exactly, of all rows
        return [("energy_distance", "", distances.energy_distance(self.points, points) if one else self._distances(points)[0])]

    def _mmd(self, rows, points, rng):
        return [("mmd", "", self._distances(points)[1])]

    def _distances(self, points):
        """Both distances of a sample, which come from one pass, kept for the one that is asked second."""
        if getattr(self, "_last", (None,))[0] is not points:
            pair = distances.two_sample(self.compared, distances.Points(points[: self.n_compared]), self.bandwidth)
            self._last = points, pair
        return self._last[1]

    def _classifier(self, rows, points, rng):
        sampled = points[: self.n_compared]
        if min(len(sampled), len(self.compared.points)) < 10:
            return []
        auc, accuracy = distances.classifier_two_sample(self.compared.points, sampled, rng)
        return [("classifier_auc", "", auc), ("classifier_accuracy", "", accuracy)]

    def _marginals(self, rows, points, rng):
        return self._named("marginal_distance", marginals(self.held_out, rows, self.columns), self.columns.names)

    def _correlations(self, rows, points, rng):
        largest, mean = correlations(self.points, points, self.coordinates.owner)
        return [("correlation_largest", "", largest), ("correlation_mean", "", mean)]

    def _tails(self, rows, points, rng):
        names, held, of = np.array(self.columns.names)[self.number], self.held_out[:, self.number], rows[:, self.number]
        fit = [name for name, level in LEVELS.items() if len(held) * level >= 1]
        return [row for name in fit for row in self._named(name, tail_mass(held, of, LEVELS[name]), names)]

    def _categories(self, rows, points, rng):
        places = np.flatnonzero(~self.number)
        lost = [lost_categories(self.train[:, j], rows[:, j], len(self.columns.categories[j])) for j in places]
        return self._named("lost_categories", lost, [self.columns.names[j] for j in places])

    def _usefulness(self, rows, points, rng):
        if not self.target:
            return []
        test, drawn = _drawn(self.held_out, MOST, rng), _drawn(rows, MOST, rng)
        return [("real_test_loss", "", train_on_synthetic_test_on_real(drawn, test, self.coordinates, self.target))]

    def _neighbours(self, rows, points, rng):
        to_train, to_held = (distances.nearest(points[: self.n_compared], part) for part in self.near)
        found = nearest_neighbour_ratio(to_train, to_held), copied(rows, self.train), float((to_held > self.far).mean())
        return [(name, "", value) for name, value in zip(("nearest_neighbour_ratio", "copied_rows", "strange_rows"), found)]

    def _moments(self, rows, points, rng):
        names, unit = np.array(self.columns.names)[self.number], np.where(self.spread > 0, self.spread, 1)
        shift = np.abs(rows.mean(axis=0) - self.held_out.mean(axis=0)) / unit
        ratio = np.where(self.spread > 0, rows.var(axis=0) / unit**2, 1 + rows.var(axis=0))
        return [*self._named("mean_shift", shift[self.number], names), *self._named("variance_ratio", ratio[self.number], names)]

    def _start(self, rows, points, rng):
        return self.start.measure(rows[:, self.number]) if self.number.any() else []

    @cached_property
    def start(self) -> Start:
        """The first rows' numbers, from which drift is counted."""
        return Start(self.train[:, self.number])

    @staticmethod
    def _named(measure, values, names):
        return [(measure, str(name), float(value)) for name, value in zip(names, values, strict=True)]


def _drawn(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the rows, in random order."""
    return rows[rng.permutation(len(rows))[:most]]


def _correlation(points: np.ndarray) -> np.ndarray:
    """The correlations (k, k) of points (n, k); 0 with what has no spread."""
    gap = points - points.mean(axis=0)
    norm = np.sqrt((gap**2).sum(axis=0))
    gap = np.divide(gap, norm, out=np.zeros_like(gap), where=norm > 1e-9 * np.sqrt(len(points)))
    return gap.T @ gap


def _learner(kind: str, learner: Any) -> Any:
    """A new estimator: the given one, or the linear one of the kind."""
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression, Ridge

    if learner is not None:
        return clone(learner)
    return LogisticRegression(max_iter=300) if kind == "category" else Ridge(1.0)
