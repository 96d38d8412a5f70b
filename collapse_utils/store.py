"""A store that makes a heavy loop resumable: finished fits and samples are kept, and a rerun continues behind them."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


class StoreError(RuntimeError):
    """A store that belongs to another run, is in use, is damaged, or lies on a full disk."""


@contextlib.contextmanager
def resumable(
    folder: Path | str, fit: Callable, settings: dict, save: Callable | None = None, load: Callable | None = None, room: int = 0
) -> Iterator[Callable]:
    """Yield a fit for feedback_loop that keeps every model and every sample in folder, and reads back what is there.

    The loop, its regime and its generator stay as they are: a step read back also restores the state of rng, so that a
    killed and resumed loop is bit-identical to an uninterrupted one. save(model, path) and load(path) store a model in
    a folder (default: its arrays, see save_arrays); settings (JSON) identify the run; room is what it will need, in bytes.
    Raises StoreError where the folder holds a run with other settings, another process uses it, or the disk is too small.
    """
    folder = Path(folder)
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"store: {folder} is in use by another process; wait for it or choose another folder.") from None
        _identify(folder, settings)
        for scratch in folder.glob(".*-partial"):
            shutil.rmtree(scratch)
        _check_room(folder, room)
        yield _Fit(folder, fit, save or save_arrays, load or load_arrays)


def kept(keep: str, name: str, fit: Callable, settings: dict, **how: Any) -> contextlib.AbstractContextManager[Callable]:
    """Yield the fit that keeps its work in the folder keep/name, as resumable does, or, where keep is empty, fit itself."""
    return resumable(Path(keep).expanduser() / name, fit, settings, **how) if keep else contextlib.nullcontext(fit)


def save_arrays(content: Any, path: Path) -> None:
    """Write an array or a tuple of arrays into the folder path."""
    arrays = content if isinstance(content, tuple) else (content,)
    for i, array in enumerate(arrays):
        with (path / f"{i:03d}.npy").open("wb") as stream:
            np.save(stream, np.asarray(array), allow_pickle=False)
    (path / "layout.json").write_text(json.dumps({"tuple": isinstance(content, tuple)}))


def load_arrays(path: Path) -> Any:
    """Read back what save_arrays wrote, bit for bit."""
    arrays = tuple(np.load(file, allow_pickle=False) for file in sorted(path.glob("*.npy")))
    return arrays if json.loads((path / "layout.json").read_text())["tuple"] else arrays[0]


class _Fit:
    """fit(data, rng), with the t-th call kept as step t."""

    def __init__(self, folder: Path, fit: Callable, save: Callable, load: Callable):
        self.folder, self.fit, self.save, self.load, self.t = folder, fit, save, load, 0

    def __call__(self, data: Any, rng: np.random.Generator) -> Any:
        t, self.t = self.t, self.t + 1
        model = _step(self.folder / f"{t:04d}-model", lambda: self.fit(data, rng), rng, self.save, self.load)
        return _Model(model, self.folder / f"{t + 1:04d}-sample")


class _Model:
    """A fitted model whose sample is kept; every other attribute is the model's own."""

    def __init__(self, model: Any, path: Path):
        self._model, self._path = model, path

    def sample(self, n: int, rng: np.random.Generator) -> Any:
        """Return the model's sample of n rows, computed once."""
        return _step(self._path, lambda: self._model.sample(n, rng), rng, save_arrays, load_arrays)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _step(path: Path, compute: Callable, rng: np.random.Generator, save: Callable, load: Callable) -> Any:
    """Return what is stored at path with rng as it was then; else compute it, and store both, complete or not at all."""
    if path.exists():
        try:
            content = load(path)
            rng.bit_generator.state = json.loads((path / "rng.json").read_text())
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"store: {path} is damaged ({error}); remove that folder and those after it, and rerun.") from None
        return content
    content = compute()
    scratch = path.with_name(f".{path.name}-partial")
    with _disk(path):
        scratch.mkdir()
        try:
            save(content, scratch)
            (scratch / "rng.json").write_text(json.dumps(rng.bit_generator.state))
            for file in scratch.iterdir():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
            scratch.rename(path)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    return content


def _identify(folder: Path, settings: dict) -> None:
    """Write the settings of a new store; refuse a store with others."""
    path, text = folder / "settings.json", json.dumps(settings, sort_keys=True)
    if not path.exists():
        with _disk(path):
            scratch = path.with_suffix(".partial")
            scratch.write_text(text)
            scratch.rename(path)
    stored = path.read_text()
    if stored != text:
        raise StoreError(f"store: {folder} holds another run, with settings {stored}; got {text}; choose another folder.")


def _check_room(folder: Path, room: int) -> None:
    """Refuse a disk that has no room for the bytes of a run, those already kept apart."""
    kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if (free := shutil.disk_usage(folder).free) < room - kept:
        raise StoreError(
            f"store: {folder} must have {room / 1e9:.3g} GB free for this run; got {(free + kept) / 1e9:.3g} GB; "
            "choose another folder or a smaller run."
        )


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turn a disk error into one sentence."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"store: cannot write {path} ({error.strerror}); free some space and rerun, finished steps are kept."
        ) from error
