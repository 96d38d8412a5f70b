"""Rows: how many, joined, chosen. A data set is an array, a list, a tuple of these, or an Ensemble of data sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """R independent data sets of equal size, side by side: one loop then runs R replicates at once.

    rows: an array of shape (n, R, …) or a tuple of such arrays; axis 0 counts rows, axis 1 replicates.
    """

    rows: Any


def size(data: Any) -> int:
    """Return the number of rows of a data set (per replicate in an Ensemble)."""
    if isinstance(data, Ensemble):
        return size(data.rows)
    return size(data[0]) if isinstance(data, tuple) else len(data)


def concat(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts in order, as the same type as the first part."""
    first = parts[0]
    if isinstance(first, Ensemble):
        return Ensemble(concat([part.rows for part in parts]))
    if isinstance(first, tuple):
        return tuple(concat(columns) for columns in zip(*parts, strict=True))
    if isinstance(first, list):
        return [row for part in parts for row in part]
    return np.concatenate(parts) if len(parts) > 1 else first


def subset(data: Any, n: int, rng: np.random.Generator) -> Any:
    """Return n rows drawn without replacement; in an Ensemble, independently for each replicate.

    Raises ValueError where the data set has fewer than n rows.
    """
    total = size(data)
    if not 0 <= n <= total:
        raise ValueError(f"subset: n must lie between 0 and the data set's {total} rows; got {n}.")
    if isinstance(data, Ensemble):
        first = data.rows[0] if isinstance(data.rows, tuple) else data.rows
        keys = rng.random((total, first.shape[1]))  # (N, R)
        chosen = np.argpartition(keys, n - 1, axis=0)[:n] if 0 < n < total else np.argsort(keys, axis=0)[:n]
        return Ensemble(_take_each(data.rows, chosen))
    return _take(data, rng.permutation(total)[:n])


def _take(data: Any, index: np.ndarray) -> Any:
    if isinstance(data, tuple):
        return tuple(_take(column, index) for column in data)
    return [data[i] for i in index] if isinstance(data, list) else data[index]


def _take_each(rows: Any, index: np.ndarray) -> Any:
    if isinstance(rows, tuple):
        return tuple(_take_each(column, index) for column in rows)
    return rows[index, np.arange(index.shape[1])]  # (n, R, …)
