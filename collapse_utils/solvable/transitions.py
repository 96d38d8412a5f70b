"""Counting models of letters with data sets known by their counts: documents of a Markov chain, all drawn at once.

As in `summaries`: what `bigram` fits to letters is fitted here to how often each letter followed each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from collapse_utils.solvable import bigram
from collapse_utils.solvable.summaries import Statistics


@dataclass(frozen=True)
class Transitions(Statistics):
    """n documents of `length` letters in R chains: how often letter j was read in context c, (R, K + 1, K); context 0 is the start."""

    n: int
    length: int
    counts: np.ndarray

    def join(self, other: "Transitions") -> "Transitions":
        """Return the counts of the documents of both."""
        self.meet(other)
        if self.length != other.length:
            raise ValueError(f"join: documents must be of one length; got {self.length} and {other.length} letters.")
        return Transitions(self.n + other.n, self.length, self.counts + other.counts)

    def letters(self) -> "Transitions":
        """Return the letters without their contexts, as documents of one letter: all that a unigram model reads."""
        counts = np.zeros_like(self.counts)
        counts[:, 0] = self.counts.sum(axis=1)
        return Transitions(self.n * self.length, 1, counts)


@dataclass(frozen=True)
class Ngram:
    """`bigram.Ngram`, R tables (R, K + 1, K), whose samples are Transitions."""

    table: np.ndarray
    length: int

    @classmethod
    def of(cls, model: bigram.Ngram) -> Self:
        """Return a model of `bigram` as one whose samples are Transitions."""
        return cls(model.table, model.length)

    def sample(self, n: int, rng: np.random.Generator) -> Transitions:
        """Return the counts of n documents of the chains.

        The documents that have come to a letter move on independently, so that they split up by a multinomial law: exact at
        every position, and its cost does not depend on n.
        """
        counts = np.zeros(self.table.shape, np.int64)
        here = counts[:, 0] = rng.multinomial(n, self.table[:, 0])  # documents by their last letter, (R, K)
        for _ in range(self.length - 1):
            moved = rng.multinomial(here, self.table[:, 1:])  # (R, K, K)
            counts[:, 1:] += moved
            here = moved.sum(axis=1)
        return Transitions(n, self.length, counts)


def counting(alpha: float, order: int = 1) -> Callable[[Transitions, np.random.Generator], Ngram]:
    """Return fit(data, rng) of the table q(j|c) = (N_cj + α)/(N_c + Kα) to Transitions, as `bigram.counting` to letters.

    order 0 forgets the context. Raises ValueError unless order is 0 or 1 and α > 0; α = 0 needs order 0.
    """
    bigram.counting(1, alpha, order)  # refuses what it refuses there

    def fit(data: Transitions, rng: np.random.Generator) -> Ngram:
        counts = data.counts if order else np.broadcast_to(data.counts.sum(axis=1, keepdims=True), data.counts.shape)
        return Ngram((counts + alpha) / (counts.sum(axis=-1, keepdims=True) + counts.shape[-1] * alpha), data.length)

    return fit
