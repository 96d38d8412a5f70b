"""Counting models of letters: unigrams and bigrams with additive smoothing, as a fit for feedback_loop."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


@dataclass(frozen=True)
class Ngram:
    """R bigram tables side by side, (R, K + 1, K): row 0 for the first letter, row c after letter c; letters are 1 … K."""

    table: np.ndarray
    length: int

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n documents of `length` letters for each replicate, rows (n, R, length)."""
        steps = self.table.cumsum(axis=-1)  # (R, K + 1, K)
        steps /= steps[..., -1:]
        rows = np.zeros((n, len(self.table), self.length), np.uint16)
        replicate, letter = np.arange(len(self.table)), np.zeros((n, len(self.table)), int)
        for t in range(self.length):
            letter = 1 + (rng.random(letter.shape)[..., None] >= steps[replicate, letter]).sum(axis=-1)  # (n, R)
            rows[..., t] = letter
        return Ensemble(rows)

    def losses(self, data: Ensemble) -> np.ndarray:
        """Return −ln p of each document of rows (n, R, length) in nats per letter, (n, R)."""
        rows = data.rows.astype(np.int64)
        return -np.log(self.table[np.arange(len(self.table))[:, None], _context(rows), rows - 1]).mean(axis=-1)


def truth(table: np.ndarray, length: int, replicates: int) -> Ngram:
    """Return the source of every chain: its table (K + 1, K), once for each replicate."""
    return Ngram(np.broadcast_to(table, (replicates, *table.shape)), length)


def counting(n_letters: int, alpha: float, order: int = 1) -> Callable:
    """Return fit(data, rng) of the table q(j|c) = (N_cj + α)/(N_c + Kα) to an Ensemble of rows (n, R, length).

    order 0 forgets the context: one law for all of them. Raises ValueError unless order is 0 or 1 and α > 0; α = 0 needs
    order 0, where no context can be without a count.
    """
    if order not in (0, 1) or not alpha >= 0 or (order and not alpha):
        raise ValueError(f"counting: alpha must be positive (or 0 at order 0) and order 0 or 1; got {alpha} and {order}.")

    def fit(data, rng):
        replicates, length = data.rows.shape[1:]
        first = np.arange(replicates) * (n_letters + 1) * n_letters  # of a replicate's cells
        counts = np.zeros(replicates * (n_letters + 1) * n_letters, int)
        for t in range(length):  # position by position: the memory is that of one letter a document
            context = data.rows[..., t - 1].astype(int) if order and t else 0
            cell = first + context * n_letters + data.rows[..., t] - 1
            counts += np.bincount(cell.ravel(), minlength=len(counts))
        counts = counts.reshape(replicates, n_letters + 1, n_letters)
        counts = counts if order else np.repeat(counts[:, :1], n_letters + 1, axis=1)
        return Ngram((counts + alpha) / (counts.sum(axis=-1, keepdims=True) + n_letters * alpha), length)

    return fit


def _context(rows: np.ndarray) -> np.ndarray:
    """The letter before each letter, 0 before the first."""
    return np.concatenate([np.zeros_like(rows[..., :1]), rows[..., :-1]], axis=-1)
