"""Many loops on one table: seeds × regimes × shares of real data, measured at every fit against held-out real rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from collapse_utils.practice.frames import Columns

MEASURES = (
    "energy",
    "mmd",
    "classifier",
    "marginals",
    "correlations",
    "tails",
    "categories",
    "usefulness",
    "neighbours",
    "moments",
)


@dataclass(frozen=True)
class Study:
    """What came out. table: one row a value, with the columns below; null: the same measures of real rows against real rows.

    table: regime, share (NaN but for mixture), seed, fit (1 is the fit on real data), measure, column ("" where it is one number
    for all), value. null: seed, measure, column, value. settings: JSON, with data, model, versions and what study was given.
    columns: what the columns of the table mean.
    """

    table: pd.DataFrame
    null: pd.DataFrame
    settings: dict
    columns: Columns


def study(
    frame,
    model: str | Callable,
    *,
    regimes: Sequence[str] = ("replace", "accumulate"),
    shares: Sequence[float] = (),
    n_fits: int = 10,
    n_seeds: int = 10,
    measures: Sequence[str] = MEASURES,
    target: str = "",
    seed: int = 0,
    folder: Path | str = "",
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
    n_compared: int = 1000,
) -> Study:
    """Run the loop on a random half of the rows of frame, n_seeds times under every regime, and under mixture at every share.

    model: a name of models.MODELS, `package.module:function`, or fit(data, rng) itself; measures: names of MEASURES, each on the
    sample that fit n hands on, against the other half. target: the column for usefulness (default: the last). folder: where
    finished work is kept, so that a killed study goes on; progress(done, jobs) is called as jobs end.
    Raises ValueError in one sentence for what cannot be run, before anything is fitted.
    """
    raise NotImplementedError
