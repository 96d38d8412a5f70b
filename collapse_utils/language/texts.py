"""Text corpora through one loader: embedded in CPython, official files (see mirror), or any UTF-8 file or folder.

Documents, not positions, are split into train, validation and test; documents that share a passage stay together.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from collapse_utils import mirror
from collapse_utils.language.tokens import MARK

PASSAGE = 24  # words in a row that make two documents share a passage
STORIES = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/f54c09fd23315a6f9c86f9dc80f725de7d8f9c64/"
OFFICIAL = {  # name → file in the mirror, its digest, and where it is published
    "tinystories": (
        "tinystories/TinyStories-train-first2316.txt",
        "sha256:ba02237f5747a07d420cb7329f721fdc51b6f5c35a81788b9c4bb871e15ff30a",
        None,
    ),
    "tinystories-full": (
        "tinystories/TinyStories-train.txt",
        "sha256:c5cf5e22ff13614e830afbe61a99fbcbe8bcb7dd72252b989fa1117a368d401f",
        STORIES + "TinyStories-train.txt",
    ),
    "novels": (
        "novels/100_english_novels.zip",
        "sha256:95ff2eb0c9d4c6839e8d58a493a45aeb9578d03b94a5906d582ab75af3507b0f",
        None,
    ),
}


@dataclass(frozen=True)
class Corpus:
    """Documents by split, and the SHA-256 of all of them, for the run card."""

    name: str
    train: list[str]
    validation: list[str]
    test: list[str]
    sha256: str


@dataclass(frozen=True)
class Samples:
    """What the models of several loops write, fit by fit, for a page: {title: texts}, folded but for the first title."""

    written: Mapping[str, Sequence[str]]
    most: int = 240  # characters of a text

    def _repr_html_(self) -> str:
        blocks = []
        for title, fits in self.written.items():
            texts = (escape(" ".join(text.split())[: self.most]) for text in fits)
            shown = "".join(f"<p><b>Fit {n}.</b> {text}</p>" for n, text in enumerate(texts, start=1))
            blocks.append(f"<details{'' if blocks else ' open'}><summary>{escape(title)}</summary>{shown}</details>")
        style = "overflow-wrap: anywhere; font-size: 0.9em"  # no formulas: a text may hold dollars
        return f'<div class="mathjax_ignore tex2jax_ignore" style="{style}">{"".join(blocks)}</div>'


def load(source: str) -> Corpus:
    """Return a corpus split by document: about 80 % train, 10 % validation, 10 % test of the characters.

    source: python-docs (the topics of the running CPython's `pydoc_data`); tinystories (its first 2,316 stories),
    tinystories-full or novels, by way of `mirror.fetch`; several of these joined by +; or the path of a UTF-8 file
    (documents separated by <|endoftext|>, else by blank lines) or of a folder of *.txt files, a document each; $NAMES and ~
    in a path are filled in. The split follows from the texts alone. Raises ValueError for text that cannot be used,
    OSError for files that are missing or damaged.
    """
    found = _documents(source)
    documents = sorted({text for raw in found if (text := _clean(raw))})
    if len(documents) < 10:
        raise ValueError(
            f"texts: {source} must hold at least 10 different documents, to be split; got {len(documents)}; "
            "separate them by <|endoftext|> or blank lines, or name a folder of files."
        )
    digest = hashlib.sha256("\0".join(documents).encode()).hexdigest()
    train, validation, test = _split(documents)
    if not (train and validation and test):
        raise ValueError(f"texts: {source} must split into three parts; its {len(documents)} documents share their passages.")
    return Corpus(source, train, validation, test, digest)


def _documents(source: str) -> list[str]:
    if source == "python-docs":
        from pydoc_data.topics import topics

        return list(topics.values())
    if len(parts := source.split("+")) > 1 and all(part in ("python-docs", *OFFICIAL) for part in parts):
        return [document for part in parts for document in _documents(part)]
    if source in OFFICIAL:
        return _official(source)
    path = Path(os.path.expandvars(source)).expanduser()
    if path.is_dir():
        return [_decode(file.read_bytes(), file) for file in sorted(path.rglob("*.txt"))]
    if path.is_file():
        return _separate(_decode(path.read_bytes(), path))
    raise OSError(
        f"texts: the corpus must be python-docs, {', '.join(OFFICIAL)}, or the path of a file or folder; got {source!r}."
    )


def _official(source: str) -> list[str]:
    path = mirror.fetch(source, *OFFICIAL[source])
    if path.suffix != ".zip":
        return _separate(_decode(path.read_bytes(), path))
    with zipfile.ZipFile(path) as archive:
        return [_decode(archive.read(name), name) for name in sorted(archive.namelist()) if name.endswith(".txt")]


def _decode(content: bytes, name) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"texts: {name} must be UTF-8; got byte {content[error.start]:#04x} at {error.start}; convert it."
        ) from None


def _separate(content: str) -> list[str]:
    return content.split(MARK) if MARK in content else re.split(r"\n\s*\n", content.replace("\r\n", "\n"))


def _clean(document: str) -> str:
    return document.replace("\r\n", "\n").strip()


def _split(documents: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Fill test, then validation, with whole groups in the order of their hashes, up to a tenth of the characters each."""
    groups = sorted(_groups(documents), key=lambda group: hashlib.sha256(group[0].encode()).digest())
    room = sum(map(len, documents)) / 10
    parts: list[list[str]] = [[], [], []]  # test, validation, train
    filled, largest = [0, 0, 0], 1.5 * room
    for group in groups:
        length = sum(map(len, group))
        i = next((i for i in (0, 1) if filled[i] < room and filled[i] + length <= largest), 2)
        parts[i] += group
        filled[i] += length
    return parts[2], parts[1], parts[0]


def _groups(documents: list[str]) -> list[list[str]]:
    """Documents joined where they share a passage of PASSAGE words (hashed; linked through third ones too)."""
    words: dict[str, int] = {}
    keys, owners = [], []
    power = np.random.default_rng(0).integers(1, 2**63, PASSAGE, dtype=np.uint64) | np.uint64(1)
    code = np.random.default_rng(1).integers(0, 2**63, 1 << 20, dtype=np.uint64)
    for i, document in enumerate(documents):
        ids = np.array([words.setdefault(word, len(words)) for word in document.split()], np.int64)
        if len(ids) >= PASSAGE:
            mixed = code[ids % len(code)] * (ids.astype(np.uint64) * np.uint64(2) + np.uint64(1))
            hashes = np.zeros(len(ids) - PASSAGE + 1, np.uint64)
            for k in range(PASSAGE):
                hashes += mixed[k : k + len(hashes)] * power[k]
            keys.append(np.unique(hashes))
            owners.append(np.full(len(keys[-1]), i))
    if not keys:
        return [[document] for document in documents]
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    shared = np.flatnonzero(key[1:] == key[:-1])
    links = coo_array((np.ones(len(shared)), (owner[shared], owner[shared + 1])), shape=(len(documents), len(documents)))
    found: dict[int, list[str]] = {}
    for group, document in zip(connected_components(links, directed=False)[1], documents, strict=True):
        found.setdefault(group, []).append(document)
    return list(found.values())
