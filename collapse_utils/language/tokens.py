"""Token rows, the data of the language chapters: one row a document, or a piece of one that fits the context.

A row holds its tokens and, where the document ends inside it, the end-of-text token END; what follows its first END is
padding (also END) and never counts. A model reads END before the first token, so that a row is a sample of p(row).
"""

import os
from collections.abc import Sequence

import numpy as np

END = 0
MARK = "<|endoftext|>"  # stands for END where documents are text


class Rows:
    """Arrays of token rows, joined without a copy: numpy.concatenate of Rows is a view of their parts.

    With D_0 as Rows the regimes of the loop keep histories of arrays, memory-mapped ones too, and copy nothing.
    Indexing by an int, a slice or an array of ints returns an array; shape is (N, L).
    """

    def __init__(self, *parts: np.ndarray):
        widths = {part.shape[1:] for part in parts}
        if len(widths) != 1 or len(next(iter(widths))) != 1:
            raise ValueError(f"Rows: parts must be arrays (n, L) of one length L; got {[part.shape for part in parts]}.")
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and their length, (N, L)."""
        return len(self), self.parts[0].shape[1]

    @property
    def dtype(self) -> np.dtype:
        """The integer type of the tokens."""
        return self.parts[0].dtype

    def __getitem__(self, index):
        index = np.arange(len(self))[index]
        flat = np.atleast_1d(index)
        found = np.empty((len(flat), self.shape[1]), self.dtype)
        part = np.searchsorted(self._ends, flat, side="right")
        for i in np.unique(part):
            chosen = part == i
            found[chosen] = self.parts[i][flat[chosen] - (self._ends[i - 1] if i else 0)]
        return found if np.ndim(index) else found[0]

    def __array__(self, dtype=None, copy=None):
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)

    def __array_function__(self, function, types, args, kwargs):
        if function is not np.concatenate:
            return NotImplemented
        return Rows(*(part for joined in args[0] for part in (joined.parts if isinstance(joined, Rows) else (joined,))))


def cut(documents: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Return documents (lists of token numbers) as rows (N, length), uint16, END after each document's last token.

    A document longer than a row is cut into pieces, each a row of its own.
    """
    pieces = [
        ids[start : start + length]
        for ids in ([*document, END] for document in documents)
        for start in range(0, len(ids), length)
    ]
    rows = np.full((len(pieces), length), END, np.uint16)
    for row, piece in zip(rows, pieces, strict=True):
        row[: len(piece)] = piece
    return rows


def lengths(rows, chunk: int = 65536) -> np.ndarray:
    """Return how many tokens of each row count, its first END included: (N,), computed in chunks."""
    parts = (rows[start : start + chunk] for start in range(0, len(rows), chunk))
    return np.concatenate([np.where((p == END).any(axis=1), (p == END).argmax(axis=1) + 1, p.shape[1]) for p in parts])


def counted(rows: np.ndarray) -> np.ndarray:
    """Return the mask of the tokens that count, (N, L)."""
    return np.arange(rows.shape[1]) < lengths(rows)[:, None]


def by_frequency(rows: np.ndarray, vocabulary: int) -> dict[str, np.ndarray]:
    """Return masks (V,) of tokens: frequent, the commonest that make half of the text, and rare, the rarest that make a tenth."""
    count = np.bincount(rows[counted(rows)], minlength=vocabulary)
    order = np.argsort(-count, kind="stable")
    share = np.empty(vocabulary)
    share[order] = count[order].cumsum() / count.sum()
    return {"frequent": share <= 0.5, "rare": share > 0.9}


def diversity(rows: np.ndarray, vocabulary: int) -> dict[str, float]:
    """Return coverage, the share of the vocabulary in use, and distinct, the different triples of tokens among all triples."""
    mask = counted(rows)
    triples = np.stack([rows[:, :-2], rows[:, 1:-1], rows[:, 2:]], axis=-1)[mask[:, 2:]]
    return {
        "coverage": len(np.unique(rows[mask])) / vocabulary,
        "distinct": len(np.unique(triples, axis=0)) / len(triples),
    }


def tokenizer(documents: Sequence[str], vocabulary: int):
    """Return a byte-level BPE tokenizer (`tokenizers`) of exactly this vocabulary, trained on these documents.

    Token 0 is <|endoftext|>; the 256 bytes are always there, so that any text has tokens and decodes to itself.
    Raises ValueError for fewer than 257 or more than 65,536 tokens, or more than the documents support.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if not 257 <= vocabulary <= 65536:
        raise ValueError(f"tokenizer: the vocabulary must hold 257 to 65,536 tokens (256 bytes and {MARK}); got {vocabulary}.")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[MARK], initial_alphabet=sorted(alphabet), show_progress=False
    )
    found.train_from_iterator(documents, trainer)
    if found.get_vocab_size() < vocabulary:
        raise ValueError(
            f"tokenizer: these documents support {found.get_vocab_size()} tokens at most; got {vocabulary}; "
            "choose a smaller vocabulary or a larger corpus."
        )
    return found


def rows(documents: Sequence[str], tokenizer, context: int, most: int | None = None) -> np.ndarray:
    """Return documents as token rows (N, context), uint16; longer documents are cut into pieces (see cut).

    most: so many tokens in all at most, and so many characters of each document.
    """
    encoded = tokenizer.encode_batch([document[:most].replace(MARK, " ") for document in documents])
    found = cut([item.ids for item in encoded], context)
    return found if most is None else found[: max(1, np.searchsorted(lengths(found).cumsum(), most, side="right"))]


def text(row: np.ndarray, tokenizer) -> str:
    """Return a token row as text, up to its first end-of-text token."""
    ids = [int(token) for token in row]
    return tokenizer.decode(ids[: ids.index(END)] if END in ids else ids)
