"""Images by name or by path, as float32 in [0, 1], with a held-out part that is fixed by the data set."""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from collapse_utils import mirror, tables as corpora

NAMED = {"digits": (1, 8, 8, 16.0), "mnist": (1, 28, 28, 255.0), "cifar10": (3, 32, 32, 255.0)}  # shape, brightest pixel
FACES = {  # the aligned pictures of Liu 2015, 1411.7766, in Parquet files, at a fixed revision
    "repository": "flwrlabs/celeba",
    "revision": "2d738f56e0e7f925ea36ae7c808ea925264aacec",
    "folder": "img_align+identity+attr",
    "side": 64,
    "class": "Smiling",
}
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
    """Return at most n training images of a data set, and a quarter as many held out: its test part, or else every fifth.

    name: digits, which scikit-learn carries; mnist, cifar10 or celeba, official files (see mirror); or the path of an .npz
    file with `images` and `labels`, of a folder with idx files (those named t10k or test are the test part), or of a folder
    with one folder of pictures for each class. Raises ValueError or OSError, with the file's name, for what cannot be read.
    """
    if name in NAMED:
        *shape, brightest = NAMED[name]
        parts = [corpora.load(name, part) for part in (("train",) if name == "digits" else ("train", "test"))]
        parts = [((x.reshape(-1, *shape) / brightest).astype(np.float32), y) for x, y in parts]  # (N, C, H, W)
    elif name == "celeba":
        parts = [_faces("train", n), _faces("test", max(1, n // 4))]
    else:
        parts = _read(Path(os.path.expandvars(name)))
    for x, y in parts:
        if x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3] or x.shape[2] < 8:
            raise ValueError(f"images: must be square, of 8 pixels or more, with 1 or 3 channels; got {x.shape[1:]} in {name}.")
        if len(x) != len(y) or len(np.unique(y)) < 2:
            found = f"{len(x)} images and {len(y)} labels of {len(np.unique(y))} classes"
            raise ValueError(f"images: must have a label each, of two classes or more; got {found} in {name}.")
    names = np.unique(np.concatenate([y for _, y in parts]))
    parts = [(x, np.searchsorted(names, y)) for x, y in parts]  # classes 0, 1, …
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() + y.astype("<i8").tobytes() for x, y in parts)).hexdigest()
    if len(parts) == 1:
        (x, y), held = parts[0], np.arange(len(parts[0][0])) % 5 == 4
        parts = [(x[~held], y[~held]), (x[held], y[held])]
    (x, y), (test, test_y) = parts
    return Images(x[:n], y[:n], test[: max(1, n // 4)], test_y[: max(1, n // 4)], digest)


def thin(x: np.ndarray, y: np.ndarray, rare: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return the images x in which class `rare` is thinned at random to a share of the rest, the order being kept."""
    of_class = np.flatnonzero(y == rare)
    keep = round(share / (1 - share) * (len(y) - len(of_class)))
    if not 0 < keep <= len(of_class):
        raise ValueError(f"thin: a share of {share} needs 1 to {len(of_class)} images of class {rare}; got {keep}.")
    dropped = rng.permutation(of_class)[keep:]
    return np.delete(x, dropped, axis=0)


def _read(path: Path) -> list:
    """Images and labels of a path: all, or training and test part."""
    if path.is_file() and path.suffix == ".npz":
        return [_archive(path)]
    if not path.is_dir():
        known = ", ".join([*NAMED, "celeba"])
        raise OSError(f"images: must be {known}, an .npz file or a folder; got {str(path)!r}, which is neither.")
    pairs = sorted(file for file in path.iterdir() if "images-idx3-ubyte" in file.name)
    if not pairs:
        return [_pictures(path)]
    held = [file for file in pairs if "t10k" in file.name or "test" in file.name]
    groups = [[file for file in pairs if file not in held], held] if 0 < len(held) < len(pairs) else [pairs]
    return [
        (np.concatenate([corpora.idx(file, 3)[:, None] / np.float32(255) for file in group]), _labels(group)) for group in groups
    ]


def _labels(group: list[Path]) -> np.ndarray:
    return np.concatenate([corpora.idx(file.with_name(file.name.replace("images-idx3", "labels-idx1")), 1) for file in group])


def _faces(part: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first n faces of a part, the middle square at 64 × 64, and whether they smile, through Hugging Face datasets."""
    import datasets
    from PIL import Image

    datasets.disable_progress_bars()
    rows, source = f"{part}[:{n}]", FACES["repository"]
    try:
        first = mirror.fetch("celeba", f"celeba/{FACES['folder']}/{part}-00000-of-{19 if part == 'train' else 3:05d}.parquet")
        files, source = {part: str(first.parent / f"{part}-*.parquet")}, first.parent
        found = partial(datasets.load_dataset, "parquet", data_files=files)
    except OSError:
        if os.environ.get("COLLAPSE_DOWNLOAD") != "1":
            raise
        found = partial(datasets.load_dataset, FACES["repository"], FACES["folder"], revision=FACES["revision"])
    x, y, side = [], [], FACES["side"]
    try:
        for row in found(split=rows):
            picture = row["image"].convert("RGB")
            edge, (wide, high) = min(picture.size), picture.size
            left, top = (wide - edge) // 2, (high - edge) // 2
            picture = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BILINEAR)
            x.append(np.asarray(picture).transpose(2, 0, 1))  # (3, 64, 64)
            y.append(int(row[FACES["class"]]))
    except Exception as error:  # a missing column, a damaged picture, no network: each in a class of its own
        raise OSError(
            f"images: {source} must hold pictures and `{FACES['class']}`; got {type(error).__name__}: {error}."
        ) from None
    return np.stack(x) / np.float32(255), np.array(y)


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
