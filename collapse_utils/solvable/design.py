"""A design that every generation labels anew: its rows stay, so a data set need only say which row each label belongs to."""

from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


@dataclass(frozen=True)
class Design:
    """T rows of features, x (…, T, d); a data set is an Ensemble of (row numbers, labels), (n, R) each."""

    x: np.ndarray

    def copies(self, n: int) -> int:
        """Return how many copies of the design make n rows. Raises ValueError unless n is a multiple of T."""
        copies, left = divmod(n, self.x.shape[-2])
        if left:
            raise ValueError(f"sample: n must be a multiple of the design's {self.x.shape[-2]} rows; got {n}.")
        return copies

    def labelled(self, labels: np.ndarray) -> Ensemble:
        """Return labels (n, R), those of whole copies of the design in order, with their row numbers."""
        numbers = np.tile(np.arange(self.x.shape[-2], dtype=np.int32), self.copies(len(labels)))
        return Ensemble((np.repeat(numbers[:, None], labels.shape[1], axis=1), labels))

    def totals(self, data: Ensemble) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of the labels and their number, by row of the design: (T, R) each."""
        (numbers, labels), rows, replicates = data.rows, self.x.shape[-2], data.rows[0].shape[1]
        copies, left = divmod(len(numbers), rows)
        if left == 0 and (numbers.reshape(copies, rows, -1) == np.arange(rows, dtype=numbers.dtype)[:, None]).all():
            return labels.reshape(copies, rows, -1).sum(axis=0, dtype=float), np.full((rows, replicates), float(copies))
        cells = (numbers * replicates + np.arange(replicates)).ravel()
        total, count = (np.bincount(cells, weights, rows * replicates) for weights in (labels.ravel(), None))
        return total.reshape(rows, -1), count.reshape(rows, -1)
