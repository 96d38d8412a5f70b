"""Images for networks that are trained in full batches: shuffled rows, centred and scaled, with one-hot targets."""

import numpy as np
import torch

from collapse_utils import tables


def split(corpus: str, n_train: int, n_test: int, rng: np.random.Generator, device="cpu"):
    """Return (train, test, hashes): pairs of float32 tensors, images (n, pixels) and targets (n, 10), and the files' SHA-256.

    Shuffled by rng; the test rows are official ones, of digits, which has none, the next of the same shuffle. Pixels are centred by
    the training rows' mean and scaled to mean square one over all of theirs. Raises ValueError where a corpus has too few rows.
    """
    images, labels = tables.load(corpus)
    rows = rng.permutation(len(labels))
    if corpus == "digits":
        held, held_labels, held_rows = images, labels, rows[n_train:]
    else:
        held, held_labels = tables.load(corpus, "test")
        held_rows = rng.permutation(len(held_labels))
    rows, held_rows = rows[:n_train], held_rows[:n_test]
    if (len(rows), len(held_rows)) != (n_train, n_test):
        had = f"{len(labels)} and {len(held_labels)}"
        raise ValueError(f"n_train, n_test: {corpus} must have that many rows; got {n_train}, {n_test} of {had}.")
    mean, scale = images[rows].mean(axis=0), np.sqrt(images[rows].var(axis=0).mean())

    def prepared(pixels, digits):
        arrays = (pixels - mean) / scale, np.eye(10)[digits.astype(int)]
        return tuple(torch.as_tensor(array, dtype=torch.float32, device=device) for array in arrays)

    parts = {corpus: "train"} if corpus == "digits" else {corpus: "train", f"{corpus}, test": "test"}
    hashes = {name: tables.sha256(corpus, part) for name, part in parts.items()}
    return prepared(images[rows], labels[rows]), prepared(held[held_rows], held_labels[held_rows]), hashes


def brightness(corpus: str, n: int, rng: np.random.Generator, n_test: int = 2000, dtype=torch.float64):
    """Return (x, y) of n training rows and of up to n_test others, drawn by rng: pixels from 0 to 1 (n, pixels), class numbers (n,).

    Raises ValueError where the corpus has no row left to test on.
    """
    images, labels = tables.load(corpus)
    if not 1 <= n < len(images):
        raise ValueError(f"brightness: rows must be at least 1 and fewer than the {len(images)} of {corpus}; got {n}.")
    rows = rng.permutation(len(images))[: n + n_test]
    x, y = torch.as_tensor(images[rows] / images.max(), dtype=dtype), torch.as_tensor(labels[rows].astype(int))
    return (x[:n], y[:n]), (x[n:], y[n:])
