"""An interpolated Kneser–Ney trigram over token rows: the yardstick that a trained decoder must pass."""

import numpy as np

from collapse_utils.language.tokens import END, counted


class KneserNey:
    """Trigram with interpolated absolute discounting of continuation counts (Chen and Goodman 1999, Sec. 2.7).

    p(w|uv) = max(c(uvw) − D₃, 0)/c(uv) + λ(uv) p(w|v), the lower orders from the numbers of different left neighbours,
    the unigram mixed with the uniform law; D = n₁/(n₁ + 2n₂) order by order (½ where n₁ = 0). Rows read END, END before their first token.
    """

    def __init__(self, rows: np.ndarray, vocabulary: int):
        self.v = vocabulary
        u, v, w = self._triples(rows)
        code = (u * self.v + v) * self.v + w
        self.tri, self.tri_count = np.unique(code, return_counts=True)
        bigram = self.tri % self.v**2  # one for each different left neighbour of (v, w)
        self.bi, self.bi_count = np.unique(bigram, return_counts=True)
        self.uni_count = np.bincount(self.bi % self.v, minlength=self.v)
        self.discounts = [self._discount(counts) for counts in (self.uni_count, self.bi_count, self.tri_count)]
        self.tri_context = self._contexts(self.tri // self.v, self.tri_count)
        self.bi_context = self._contexts(self.bi // self.v, self.bi_count)

    def probability(self, u, v, w) -> np.ndarray:
        """Return p(w|u, v) for arrays of tokens."""
        d1, d2, d3 = self.discounts
        used = (self.uni_count > 0).sum()
        p = (np.maximum(self.uni_count[w] - d1, 0) + d1 * used / self.v) / self.uni_count.sum()
        p = self._interpolate(v * self.v + w, v, self.bi, self.bi_count, self.bi_context, d2, p)
        return self._interpolate((u * self.v + v) * self.v + w, u * self.v + v, self.tri, self.tri_count, self.tri_context, d3, p)

    def loss(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the summed loss of each row in nats and its number of tokens, (N,) each."""
        nats, row = -np.log(self.probability(*self._triples(rows))), np.nonzero(counted(rows))[0]
        return np.bincount(row, nats, len(rows)), np.bincount(row, minlength=len(rows))

    def _triples(self, rows):
        mask, rows = counted(rows), rows.astype(np.int64)
        before = np.pad(rows, ((0, 0), (2, 0)), constant_values=END)
        return before[:, :-2][mask], before[:, 1:-1][mask], rows[mask]

    @staticmethod
    def _discount(counts):
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        return once / (once + 2 * twice) if once else 0.5

    @staticmethod
    def _contexts(context, counts):
        """Sorted contexts, how often each was seen, and with how many different successors."""
        unique, where, kinds = np.unique(context, return_inverse=True, return_counts=True)
        return unique, np.bincount(where, counts), kinds

    @staticmethod
    def _interpolate(code, context, codes, counts, contexts, discount, lower):
        i, unique = np.minimum(np.searchsorted(codes, code), len(codes) - 1), contexts[0]
        seen = np.where(codes[i] == code, counts[i], 0)
        j = np.minimum(np.searchsorted(unique, context), len(unique) - 1)
        known = unique[j] == context
        total, kinds = np.where(known, contexts[1][j], 1), np.where(known, contexts[2][j], 0)
        return np.where(known, (np.maximum(seen - discount, 0) + discount * kinds * lower) / total, lower)
