"""Many loops on one table: seeds × regimes × shares of real data, measured at every fit against held-out real rows."""

import contextlib
import difflib
import importlib.metadata
import itertools
import platform
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_utils import feedback_loop, parallel, regimes as known, store
from collapse_utils.practice import models
from collapse_utils.practice.frames import Columns, Frame
from collapse_utils.practice.measures import GROUPS, Reference, available
from collapse_utils.practice.start import Start

REGIMES = ("replace", "accumulate", "accumulate_subsample", "real_and_last")
KEYS = ["regime", "share", "seed", "fit", "measure", "column", "value"]
LIBRARIES = ("collapse-utils", "numpy", "scipy", "pandas", "scikit-learn")
AT_THE_ENDS = {"classifier"}  # groups that cost more than a fit: measured at the first and the last
SEEN = {"categories", "neighbours", "start"}  # groups that compare with the rows that the loop began with
LEAST = {"n_fits": 1, "n_seeds": 2, "seed": 0, "n_compared": 10}  # of fewer rows a distance says nothing
NULL = "real"  # in place of a regime: real rows against real rows


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
    frame: Frame,
    model: str | Callable,
    *,
    regimes: Sequence[str | Callable] = ("replace", "accumulate"),
    shares: Sequence[float] = (),
    n_fits: int = 10,
    n_seeds: int = 10,
    measures: Sequence[str] = GROUPS,
    target: str = "",
    seed: int = 0,
    folder: Path | str = "",
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
    n_compared: int = 1000,
    fits: Sequence[int] = (),
) -> Study:
    """Run the loop on a random half of the rows of frame, n_seeds times under every regime, and under mixture at every share.

    model: a name of models.MODELS, `package.module:function`, or fit(table, rng) itself. measures: groups of measures.MEASURES, of the
    rows that fit n hands on, against the other half; fits: at these alone. target: the column for usefulness. folder: where finished
    work is kept, so that a killed study goes on; progress(done, jobs) is told of jobs that ended.
    Raises ValueError in one sentence for what cannot be run, before anything is fitted.
    """
    arms = _arms(regimes, shares)
    _check(frame, measures, target, n_fits=n_fits, n_seeds=n_seeds, seed=seed, n_compared=n_compared)
    task = Task(frame, model, n_fits, tuple(measures), target, seed, n_compared, tuple(fits))
    models.rehearse(models.build(model, frame.columns), frame.rows, np.random.default_rng(seed))
    settings = task.settings | {"regimes": [_name(mix) for mix in regimes], "shares": list(shares), "n_seeds": n_seeds}
    jobs = [(mix, share, s) for mix, share in arms for s in range(n_seeds)] + [(NULL, np.nan, s) for s in range(n_seeds)]
    with _workplace(folder, settings, progress is not None) as place, _watched(place, len(jobs), progress):
        run = replace(task, folder=str(place or ""), keep=bool(folder)).run
        tables = parallel.each(run, jobs, processes)
    table, null = (pd.concat(part, ignore_index=True) for part in (tables[:-n_seeds], tables[-n_seeds:]))
    return Study(table, null[["seed", "measure", "column", "value"]], settings, frame.columns)


@dataclass(frozen=True)
class Task:
    """What the jobs of a study have in common."""

    frame: Frame
    model: str | Callable
    n_fits: int
    measures: tuple[str, ...]
    target: str
    seed: int
    n_compared: int
    fits: tuple[int, ...] = ()
    folder: str = ""
    keep: bool = False

    @property
    def settings(self) -> dict:
        """What identifies the study, JSON."""
        versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}
        frame = {
            "data": self.frame.name,
            "sha256": self.frame.sha256,
            "rows": len(self.frame.rows),
            "notes": list(self.frame.notes),
        }
        given = {name: getattr(self, name) for name in ("n_fits", "target", "seed", "n_compared")} | {"fits": list(self.fits)}
        return {**frame, "model": _name(self.model), "measures": list(self.measures), **given, "versions": versions}

    def run(self, mix: str | Callable, share: float, s: int) -> pd.DataFrame:
        """Return the rows of one loop of the table, or of the null; from the folder where they are there already."""
        name = f"{_name(mix)}-{share:g}-{s:04d}"
        path = Path(self.folder) / "done" / f"{name}.parquet"
        if self.folder and path.exists():
            return _kept_table(path)
        rows = self._null(s) if mix == NULL else self._loop(mix, share, s, Path(self.folder) / "loops" / name)
        table = pd.DataFrame([(_name(mix), share, s, *row) for row in rows], columns=KEYS)
        if self.folder:
            scratch = path.with_suffix(".part")
            table.to_parquet(scratch, index=False)
            scratch.rename(path)
        return table

    def _halves(self, s: int) -> tuple[np.ndarray, np.ndarray]:
        """Real rows to learn from and real rows held out, as many."""
        order, half = np.random.default_rng([self.seed, s]).permutation(len(self.frame.rows)), len(self.frame.rows) // 2
        return self.frame.rows[order[:half]], self.frame.rows[order[half : 2 * half]]

    def _loop(self, mix: str | Callable, share: float, s: int, folder: Path) -> list[tuple]:
        train, held_out = self._halves(s)
        measure, rng, found = self._measured(train, held_out, s), np.random.default_rng([self.seed, s, 2]), []
        fit = models.build(self.model, self.frame.columns)
        regime = known.mixture(share) if mix == "mixture" else mix if callable(mix) else getattr(known, mix)
        with _kept(fit, folder if self.keep else None, {"sha256": self.frame.sha256}) as kept:
            for g in itertools.islice(feedback_loop(kept, train, regime, rng), self.n_fits):
                ends, looked = g.t in (0, self.n_fits - 1), not self.fits or g.t + 1 in self.fits
                groups = [group for group in self.measures if looked and (ends or group not in AT_THE_ENDS)]
                rows = g.model.sample(len(train), rng)
                found += [(g.t + 1, *value) for value in measure(rows, groups, g.t)] if groups else []
        shutil.rmtree(folder, ignore_errors=True)
        return found

    def _measured(self, train: np.ndarray, held_out: np.ndarray, s: int) -> Callable:
        """measure(rows, groups, t): (measure, column, value) of sampled rows, with random numbers of their own."""
        numbers = self.frame.columns.numbers
        if self.measures == ("start",) and numbers.any():  # needs no held-out rows, and costs less than a fit
            start = Start(train[:, numbers])
            return lambda rows, groups, t=0: start.measure(rows[:, numbers]) if groups else []
        rng = np.random.default_rng([self.seed, s, 1])
        reference = Reference(train, held_out, self.frame.columns, self.target, self.n_compared, rng)
        return lambda rows, groups, t=0: reference.measure(rows, groups, np.random.default_rng([self.seed, s, 3, t]))

    def _null(self, s: int) -> list[tuple]:
        """Real rows in the place of sampled ones: those learned from, or the held-out ones where a measure asks what was seen."""
        train, held_out = self._halves(s)
        half, measure = len(train) // 2, self._measured(train, held_out, s)
        found = measure(train, [group for group in self.measures if group not in SEEN])
        found += measure(held_out, [group for group in self.measures if group in SEEN and group != "neighbours"])
        if "neighbours" in self.measures:
            found += self._measured(train[:half], held_out[:half], s)(held_out[half:], ["neighbours"])
        return [(0, *value) for value in found]


class Once:
    """A model that is fitted when rows are first asked for, and gives the same rows whenever it is asked again."""

    def __init__(self, fit: Callable, data: Any):
        self._fit, self._data, self._rows = fit, data, None

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n rows, those of the first call, which must have asked for as many."""
        if self._rows is None:
            self._rows = self._fit(self._data, rng).sample(n, rng)
        return self._rows


@contextlib.contextmanager
def _kept(fit: Callable, folder: Path | None, settings: dict) -> Iterator[Callable]:
    """fit for a loop of which each model is sampled once; with a folder the samples, all that a loop needs, survive a kill."""
    if folder is None:
        yield lambda data, rng: Once(fit, data)
        return
    newest = {}

    def begin(data, rng):
        newest["data"] = data
        return kept(data, rng)

    with store.resumable(
        folder, lambda data, rng: Once(fit, data), settings, lambda model, path: None, lambda path: Once(fit, newest["data"])
    ) as kept:
        yield begin


@contextlib.contextmanager
def _workplace(folder: Path | str, settings: dict, watched: bool) -> Iterator[Path | None]:
    """The folder of a study, locked and of these settings; one for the time of the study where it is watched; or none."""
    with contextlib.ExitStack() as stack:
        if not folder and not watched:
            yield None
            return
        if folder:
            place = Path(folder).expanduser()
            stack.enter_context(store.resumable(place, lambda data, rng: None, settings))
        else:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (place / "done").mkdir(exist_ok=True)
        yield place


@contextlib.contextmanager
def _watched(place: Path | None, jobs: int, progress: Callable | None) -> Iterator[None]:
    """Tell progress of the jobs whose tables are there, twice a second and at the end."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def done():
        return sum(1 for _ in (place / "done").glob("*.parquet"))

    def watch():
        while not ended.wait(0.5):
            progress(done(), jobs)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        progress(done(), jobs)


def _arms(regimes: Sequence, shares: Sequence[float]) -> list[tuple]:
    """(regime, share) of every loop; refuses what is no regime and no share."""
    for mix in regimes:
        if not callable(mix) and mix not in REGIMES:
            raise ValueError(f"regimes: must be among {', '.join(REGIMES)}, or functions mix(history, rng); got {mix!r}.")
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"shares: each is a share of real rows between 0 and 1; got {share}.")
    arms = [(mix, np.nan) for mix in regimes] + [("mixture", float(share)) for share in shares]
    if not arms:
        raise ValueError("study: must have a regime or a share of real rows; got neither.")
    names = [(_name(mix), share) for mix, share in arms]
    if len(set(map(str, names))) < len(names):
        raise ValueError(f"study: every regime and share must be given once; got {names}.")
    return arms


def _check(frame: Frame, measures: Sequence[str], target: str, **counts: int) -> None:
    for name, least in LEAST.items():
        if counts[name] < least:
            raise ValueError(f"study: {name} must be at least {least}; got {counts[name]}.")
    if strange := [measure for measure in measures if measure not in GROUPS]:
        raise ValueError(f"measures: must be among {', '.join(GROUPS)}; got {strange[0]!r}.")
    if target and target not in (names := frame.columns.names):
        near = difflib.get_close_matches(target, names, n=1, cutoff=0)[0]
        raise ValueError(f"target: must be one of the {len(names)} columns; got {target!r}; did you mean {near!r}?")
    if not available(frame.columns, len(frame.rows), measures, target):
        raise ValueError(f"measures: must be some that these rows have values of; got {', '.join(measures) or 'none'}.")


def _kept_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError):  # of pyarrow
        raise ValueError(f"study: {path} is damaged; remove it and run again: the other loops are kept.") from None


def _name(thing: str | Callable) -> str:
    return thing if isinstance(thing, str) else getattr(thing, "__name__", type(thing).__name__)
