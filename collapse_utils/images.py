"""Images by name or by path, as float32 in [0, 1], with a held-out part that is fixed by the data set."""

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from collapse_utils import corpora

NAMED = {"digits": (1, 8, 8, 16.0), "mnist": (1, 28, 28, 255.0), "cifar10": (3, 32, 32, 255.0)}  # shape, brightest pixel
PICTURES = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True)
class Images:
    """Training and held-out images (N, C, H, W) with their classes (N,), and the SHA-256 of all."""

    train: np.ndarray
    train_class: np.ndarray
    test: np.ndarray
    test_class: np.ndarray
    sha256: str


def load(name: str, n: int) -> Images:
    """Return at most n training images of a data set, and a quarter as many held out (every fifth of the data set).

    name: digits, which scikit-learn carries; mnist or cifar10, read from $COLLAPSE_DATA; or the path of an .npz file with
    `images` and `labels`, of a folder with idx files, or of a folder with one folder of pictures for each class.
    Raises ValueError or OSError, with the file's name, for what cannot be read.
    """
    if name in NAMED:
        *shape, brightest = NAMED[name]
        x, y = corpora.load(name)
        x = (x.reshape(-1, *shape) / brightest).astype(np.float32)  # (N, C, H, W)
    else:
        x, y = _read(Path(os.path.expandvars(name)))
    if x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3] or x.shape[2] < 8:
        raise ValueError(f"images: must be square, of 8 pixels or more, with 1 or 3 channels; got {x.shape[1:]} in {name}.")
    if len(x) != len(y) or len(np.unique(y)) < 2:
        found = f"{len(x)} images and {len(y)} labels of {len(np.unique(y))} classes"
        raise ValueError(f"images: must have a label each, of two classes or more; got {found} in {name}.")
    held = np.arange(len(x)) % 5 == 4
    train, test = np.flatnonzero(~held)[:n], np.flatnonzero(held)[: max(1, n // 4)]
    y = np.unique(y, return_inverse=True)[1]  # classes 0, 1, …
    digest = hashlib.sha256(np.ascontiguousarray(x).tobytes() + np.asarray(y, "<i8").tobytes()).hexdigest()
    return Images(x[train], y[train], x[test], y[test], digest)


def thin(x: np.ndarray, y: np.ndarray, rare: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the images x in which class `rare` is thinned at random to a share of the rest, the order being kept."""
    of_class = np.flatnonzero(y == rare)
    keep = round(share / (1 - share) * (len(y) - len(of_class)))
    if not 0 < keep <= len(of_class):
        raise ValueError(f"thin: a share of {share} needs 1 to {len(of_class)} images of class {rare}; got {keep}.")
    dropped = rng.permutation(of_class)[keep:]
    return np.delete(x, dropped, axis=0)


def _read(path: Path):
    if path.is_file() and path.suffix == ".npz":
        return _archive(path)
    if not path.is_dir():
        raise OSError(f"images: must be {', '.join(NAMED)}, an .npz file or a folder; got {str(path)!r}, which is neither.")
    pairs = sorted(file for file in path.iterdir() if "images-idx3-ubyte" in file.name)
    if pairs:
        labels = [file.with_name(file.name.replace("images-idx3", "labels-idx1")) for file in pairs]
        x = np.concatenate([idx(file, 3) for file in pairs])
        return (x[:, None] / 255).astype(np.float32), np.concatenate([idx(file, 1) for file in labels])
    return _pictures(path)


def idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the bytes of an idx file (LeCun's format), gzipped or not. Raises OSError unless it is one, complete."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise OSError(f"images: {path} must be a readable idx file; got {type(error).__name__}; replace the file.") from None
    if raw[:4] != bytes([0, 0, 8, dimensions]):
        raise OSError(f"images: {path} must begin with the idx magic number 0000080{dimensions}; got {raw[:4].hex()}.")
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    if len(raw) != 4 + 4 * dimensions + int(np.prod(shape, dtype=np.int64)):
        raise OSError(
            f"images: {path} must hold {tuple(map(int, shape))} bytes; got {len(raw) - 4 - 4 * dimensions}; replace the file."
        )
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _archive(path: Path):
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["images"], stored["labels"]
    except Exception as error:  # a damaged archive can break in any reader
        raise OSError(f"images: {path} must be an .npz file with `images` and `labels`; got {error}.") from None
    if x.dtype == np.uint8:
        x = x / 255
    elif x.dtype.kind != "f" or not (np.isfinite(x).all() and x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"images: {path} must hold bytes, or floats from 0 to 1; got {x.dtype}.")
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2) if x.ndim == 4 and x.shape[3] in (1, 3) else x  # (N, C, H, W)
    return x.astype(np.float32), y


def _pictures(path: Path):
    from PIL import Image

    files = sorted(file for file in path.glob("*/*") if file.suffix.lower() in PICTURES)
    if not files:
        raise OSError(f"images: {path} must have one folder of pictures for each class; got none.")
    found = []
    for file in files:
        try:
            with Image.open(file) as picture:
                rows = np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA", "I;16") else "RGB"))
        except Exception as error:  # a damaged picture can break in any reader
            raise OSError(
                f"images: {file} must be a readable picture; got {type(error).__name__}; remove or replace it."
            ) from None
        if found and rows.shape != found[0].shape:
            raise ValueError(f"images: {file} must be {found[0].shape} like the first picture; got {rows.shape}.")
        found.append(rows)
    x = np.stack(found) / np.float32(255)
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)  # (N, C, H, W)
    order = np.random.default_rng(0).permutation(len(files))  # a folder is sorted by class; the held-out part must not be
    return x[order].astype(np.float32), np.array([file.parent.name for file in files])[order]
