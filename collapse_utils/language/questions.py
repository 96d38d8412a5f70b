"""Questions and their answers: the topics of Python's own help, or any file of them, as characters to be taught and tested.

Questions are arrays (n, A, L) of word numbers, uint16: n questions for each of A answers, of at most L words; 0 is no word.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

LENGTH = 4  # words of a question that is a piece of a text
LONGEST = 32  # words of a question that are read


@dataclass(frozen=True)
class Character:
    """What a retrieval character is made of, once its answers are chosen: arrays of questions (n, A, L).

    read: pieces of the answers' texts, for a writer to read, rows of zeros behind the shorter ones; users: real questions to learn from; test: others, to be judged
    by. Word number i is words[i − 1].
    """

    words: list[str]
    read: np.ndarray
    users: np.ndarray
    test: np.ndarray

    def text(self, question: np.ndarray) -> str:
        """Return a question (L,) as words."""
        return " ".join(self.words[i - 1] for i in question if i)


@dataclass(frozen=True)
class Bed:
    """Answers (texts) and a table of questions: its columns are the number of the answer, the passage, and the question."""

    name: str
    answers: list[str]
    questions: pd.DataFrame
    sha256: str

    def character(self, n_answers: int, n_users: int, n_test: int, rng: np.random.Generator) -> Character:
        """Draw a character: n_answers of the answers, n_test real questions of each for the test, n_users others to learn from.

        Questions of one passage are not parted; texts are read in pieces of LENGTH words. Raises ValueError where too few
        answers have so many questions.
        """
        groups = {a: group for a, group in self.questions.groupby("answer") if len(group) >= n_users + n_test}
        parts = {a: found for a in rng.permutation(list(groups)) if (found := _split(groups[a], n_users, n_test, rng))}
        if len(parts) < n_answers:
            raise ValueError(
                f"questions: {n_answers} answers of {self.name} must have {n_users} + {n_test} questions each; {len(parts)} have; "
                "ask for fewer answers or questions."
            )
        chosen = list(parts)[:n_answers]
        read = [_pieces(content_words(self.answers[a])) for a in chosen]
        real = [[[content_words(question) for question in part] for part in parts[a]] for a in chosen]
        return _numbered(read, [users for users, _ in real], [test for _, test in real])


def load(source: str, question: str = "question", answer: str = "answer", key: str = "") -> Bed:
    """Return questions and answers: `python-docs`, or a file .csv, or .jsonl with an object a line; $NAMES and ~ are filled in.

    python-docs: an answer is a topic of CPython's help; of its sentences every third one is the answer's text, the others cut
    into pieces of LENGTH words are the questions that people asked. In a file the columns (in .jsonl: names) question and answer
    hold texts, and key, where given, says which answers are the same; in .jsonl a question may be a list of questions. Raises
    ValueError for a file that cannot be used, with the line and the value, and OSError for one that is not there.
    """
    if source == "python-docs":
        return _bed(source, *_documentation())
    path = Path(os.path.expandvars(source)).expanduser()
    if not path.is_file():
        raise OSError(f"questions: the source must be python-docs or the path of a .csv or .jsonl file; got {source!r}.")
    return _bed(path.name, *_grouped(path.name, _read(path, [question, answer, *([key] if key else [])]), question, answer, key))


def content_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without numbers and without scikit-learn's English stop words.

    A text of stop words alone, as "Who are you?", keeps them.
    """
    words = re.findall(r"[^\W\d_]{2,}", text.lower())
    return [word for word in words if word not in ENGLISH_STOP_WORDS] or words


def _bed(name: str, answers: list[str], rows: list[tuple[int, int, str]]) -> Bed:
    content = json.dumps([answers, rows]).encode()
    return Bed(name, answers, pd.DataFrame(rows, columns=["answer", "passage", "question"]), hashlib.sha256(content).hexdigest())


def _documentation() -> tuple[list[str], list[tuple[int, int, str]]]:
    """Topics by name; a sentence that stands in several of them belongs to the shortest."""
    from pydoc_data.topics import topics

    found = {name: _sentences(text) for name, text in sorted(topics.items())}
    owner: dict[str, str] = {}
    for name in sorted(found, key=lambda name: (len(found[name]), name)):
        for sentence in found[name]:
            owner.setdefault(sentence, name)
    own = {name: [s for s in sentences if owner[s] == name] for name, sentences in found.items()}
    own = {name: sentences for name, sentences in own.items() if len(sentences) > 1}
    asked = [(a, sentence) for a, sentences in enumerate(own.values()) for i, sentence in enumerate(sentences) if i % 3]
    rows = [(a, i, " ".join(piece)) for i, (a, sentence) in enumerate(asked) for piece in _pieces(content_words(sentence))]
    return [" ".join(sentences[::3]) for sentences in own.values()], rows


def _sentences(text: str) -> list[str]:
    """The different sentences of a topic's prose; paragraphs that hold grammar, code or tables are left out."""
    prose = [part for part in re.split(r"\n\s*\n", text) if not re.search(r"::=|>>>|[=*+|-]{4,}", part)]
    parts = [s for part in prose for s in re.split(r"(?<=[.!?:;])\s+(?=[A-Z\"“'(])", " ".join(part.split()))]
    return list(dict.fromkeys(part for part in parts if re.search(r"[.!?:;]$", part)))


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A file's columns as texts, NaN where a value is missing, with the line on which each row begins as index."""
    kinds = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
    if path.suffix not in kinds:
        raise ValueError(f"questions: the file must be a .csv or .jsonl; got {path.name!r}.")
    try:
        frame = kinds[path.suffix](path)
    except UnicodeDecodeError as error:
        raise ValueError(f"questions: {path.name} must be UTF-8; {error.reason} at byte {error.start}; convert it.") from None
    if missing := [column for column in columns if column not in frame]:
        raise ValueError(
            f"questions: {path.name} must have the columns {', '.join(columns)}; {', '.join(missing)} is not among "
            f"{', '.join(map(str, frame.columns)) or 'none'}."
        )
    return frame[list(columns)]


def _csv(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"questions: {path.name} is no table ({' '.join(str(error).split())}); mend it.") from None
    breaks = sum(frame[column].fillna("").str.count("\n") for column in frame) if len(frame.columns) else 0
    frame.index = 2 + np.arange(len(frame)) + np.r_[0, np.cumsum(breaks)[:-1]].astype(int) if len(frame) else frame.index
    return frame[(frame.fillna("") != "").any(axis=1)]


def _json_lines(path: Path) -> pd.DataFrame:
    lines = {i: line for i, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1) if line.strip()}
    for i, line in lines.items():
        try:
            if not isinstance(json.loads(line), dict):
                raise ValueError("no object")
        except ValueError as error:
            raise ValueError(f"questions: {path.name}, line {i}, is no JSON object ({error}); got {line[:60]!r}.") from None
    return pd.DataFrame([json.loads(line) for line in lines.values()], index=list(lines))


def _grouped(
    name: str, frame: pd.DataFrame, question: str, answer: str, key: str
) -> tuple[list[str], list[tuple[int, int, str]]]:
    """Answers and rows of a table: one answer a key, or a different text where there is no key."""
    answers: dict[str, tuple[str, int, int]] = {}  # key → text, number, line
    passages: dict[str, int] = {}  # a question asked twice is one passage
    rows = []
    for line, row in zip(frame.index, frame.to_dict("records"), strict=True):
        text, asked = row[answer], row[question]
        where = f"questions: {name}, line {line}"
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{where}: the answer must be a text; got {text!r}.")
        named = str(row[key]) if key else text
        known = answers.setdefault(named, (text, len(answers), line))
        if known[0] != text:
            raise ValueError(f"{where}: {key} {named!r} must name one answer; on line {known[2]} it names another.")
        if isinstance(asked, list) and not asked:
            raise ValueError(f"{where}: every answer must have a question; {text[:60]!r} has none.")
        for one in asked if isinstance(asked, list) else [asked]:
            if not isinstance(one, str) or not content_words(one):
                raise ValueError(f"{where}: a question must hold a word; got {one!r}.")
            rows.append((known[1], passages.setdefault(one.strip().lower(), len(passages)), one))
    if len(answers) < 2:
        raise ValueError(f"questions: {name} must hold at least two answers; got {len(answers)}.")
    return [text for text, _, _ in answers.values()], rows


def _split(group: pd.DataFrame, n_users: int, n_test: int, rng) -> tuple[list[str], list[str]] | None:
    """n_users and n_test questions of an answer, from different passages, in random order; None where there are too few."""
    passages = [part["question"].tolist() for _, part in group.groupby("passage")]
    test, users = [], []
    for i in rng.permutation(len(passages)):
        (test if len(test) < n_test else users).extend(passages[i])
    return ([users[i] for i in rng.permutation(len(users))[:n_users]], test[:n_test]) if len(users) >= n_users else None


def _pieces(words: list[str]) -> list[list[str]]:
    """Words in pieces of LENGTH; fewer make one piece, a rest is left out."""
    return [words[i : i + LENGTH] for i in range(0, len(words) - LENGTH + 1, LENGTH)] or [words] * bool(words)


def _numbered(*parts: list[list[list[str]]]) -> Character:
    """Questions in words, [answer][question][word] for each part, as arrays (n, A, L)."""
    words = sorted({word for part in parts for answer in part for question in answer for word in question})
    number = {word: i for i, word in enumerate(words, start=1)}
    length = min(LONGEST, max(len(question) for part in parts for answer in part for question in answer))
    arrays = [np.zeros((max(map(len, part)), len(part), length), np.int32) for part in parts]
    for array, part in zip(arrays, parts, strict=True):
        for a, answer in enumerate(part):
            for i, question in enumerate(answer):
                array[i, a, : len(question[:length])] = [number[word] for word in question[:length]]
    return Character(words, *arrays)
