"""Rows: how many, joined, chosen. A data set is an array, a list, a tuple of these, an Ensemble of data sets, or a Summary."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ensemble:
    """R independent data sets of equal size, side by side: one loop then runs R replicates at once.

    rows: an array of shape (n, R, …) or a tuple of such arrays; axis 0 counts rows, axis 1 replicates.
    """

    rows: Any


class Summary(ABC):
    """A data set known by its sufficient statistics alone: what a fit reads of `n` rows (per replicate), in constant memory."""

    n: int

    @abstractmethod
    def join(self, other: "Summary") -> "Summary":
        """Return the summary of the rows of both."""

    def subset(self, n: int, rng: np.random.Generator) -> "Summary":
        """Return the summary of n of the rows, drawn without replacement: by its exact law given this one, where that is known."""
        raise ValueError(f"subset: {type(self).__name__} knows no law of a part of its rows; run this regime on rows.")


class History(list):
    """[D_0, S_1, …, S_t], whose rows all together stand in one place that grows: a row is copied about twice, not t times."""

    def __init__(self, parts: Sequence[Any] = ()):
        super().__init__(parts)
        self._pool, self._pooled, self._last = None, 0, None

    def pool(self) -> Any:
        """Return the rows of all parts in order, as concat does; what an earlier call returned stays as it is, and read-only.

        It is made anew where a regime has taken parts out.
        """
        if self._pooled and (len(self) < self._pooled or self[self._pooled - 1] is not self._last):
            self._pool, self._pooled = None, 0
        for part in self[self._pooled :]:
            self._pool = _grown(self._pool, part)
        self._pooled, self._last = len(self), self[-1]
        return _held(self._pool)


class Folded(History):
    """[D_0, S_1, …, S_t], of which D_0, S_t and the rows of all together are kept: constant memory where these are Summaries.

    Raises ValueError for data of another kind, and where a single generation in between is asked for.
    """

    def __init__(self, real: Summary):
        if not isinstance(real, Summary):
            raise ValueError(f"folded: must have summaries, which add up in constant memory; got {type(real).__name__}.")
        super().__init__([real])
        self._pool, self._newest, self._length = real, real, 1

    def append(self, part: Summary) -> None:
        """Take in S_{t+1}, and let go of S_t."""
        self._pool, self._newest, self._length = self._pool.join(part), part, self._length + 1

    def pool(self) -> Summary:
        """Return the summary of all rows so far."""
        return self._pool

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Summary:
        if index == 0 or index == -1:
            return self._newest if index else super().__getitem__(0)
        raise ValueError(f"folded: this regime reads generation {index}, which is not kept; pass it without folded(…).")

    def __iter__(self):
        raise ValueError("folded: this regime reads every generation, and they are not kept; pass it without folded(…).")


def folded(mix: Callable) -> Callable:
    """Return the regime mix on a history that is Folded, for a loop on summaries: its memory does not grow with the fits.

    Every regime of `collapse_utils.regimes` can be folded.
    """

    def fold(history, rng):
        kept = history[0] if isinstance(history[0], Folded) else Folded(history[0])
        for part in history[1:]:
            kept.append(part)
        history[:] = [kept]
        return mix(kept, rng)

    return fold


@dataclass
class _Column:
    """An array with room behind its n rows."""

    room: np.ndarray
    n: int


def _grown(pool: Any, part: Any) -> Any:
    """A pool with the rows of a part behind its own: of the part's type, its arrays being columns."""
    if isinstance(part, Ensemble):
        return Ensemble(_grown(pool and pool.rows, part.rows))
    if isinstance(part, tuple):
        return tuple(_grown(column, new) for column, new in zip(pool or (None,) * len(part), part, strict=True))
    if not (isinstance(part, np.ndarray) and isinstance(pool, _Column | None)):
        return part if pool is None else concat([pool, part])
    if pool is None:
        return _Column(part, len(part))
    n, kind = pool.n + len(part), np.result_type(pool.room, part)
    if n > len(pool.room) or kind != pool.room.dtype:
        room = np.empty_like(part, kind, shape=(max(n, 3 * pool.n // 2), *part.shape[1:]))
        room[: pool.n] = pool.room[: pool.n]
        pool = _Column(room, pool.n)
    pool.room[pool.n : n] = part
    return _Column(pool.room, n)


def _held(pool: Any) -> Any:
    """The rows of a pool: views of its columns."""
    if isinstance(pool, Ensemble):
        return Ensemble(_held(pool.rows))
    if isinstance(pool, tuple):
        return tuple(_held(column) for column in pool)
    if not isinstance(pool, _Column):
        return pool
    rows = pool.room[: pool.n]
    rows.flags.writeable = False
    return rows


def size(data: Any) -> int:
    """Return the number of rows of a data set (per replicate in an Ensemble)."""
    if isinstance(data, Summary):
        return data.n
    if isinstance(data, Ensemble):
        return size(data.rows)
    return size(data[0]) if isinstance(data, tuple) else len(data)


def concat(parts: Sequence[Any]) -> Any:
    """Return the rows of all parts in order, as the same type as the first part."""
    first = parts[0]
    if isinstance(parts, History):
        return parts.pool()
    if isinstance(first, Summary):
        return functools.reduce(type(first).join, parts)
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
    if isinstance(data, Summary):
        return data.subset(n, rng)
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
