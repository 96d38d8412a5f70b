"""Writers of synthetic questions: models that read questions (n, A, L) of A answers and write others, for the feedback loop."""

from dataclasses import dataclass

import numpy as np

from collapse_utils.language.tokens import cut
from collapse_utils.language.transformer import LanguageFit, LanguageModel
from collapse_utils.training import Recipe


@dataclass(frozen=True)
class Keywords:
    """A writer that draws each word by itself: shares (A, V) of the words 1 … V for each answer, n_words of `length` in use."""

    shares: np.ndarray
    n_words: int
    length: int

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n questions for each answer, (n, A, length)."""
        found = np.zeros((n, len(self.shares), self.length), np.int32)
        for a, share in enumerate(self.shares):
            found[:, a, : self.n_words] = 1 + rng.choice(len(share), (n, self.n_words), p=share)
        return found


@dataclass(frozen=True)
class KeywordFit:
    """fit(questions, rng) for feedback_loop: counts each answer's words and keeps the `most` frequent, or all (None).

    It will ask as many words at a time as it has read in the mean. Of words that are equally frequent those with lower numbers
    are kept. Raises ValueError for an answer without words.
    """

    words: int  # V
    most: int | None = None

    def __call__(self, questions: np.ndarray, rng: np.random.Generator) -> Keywords:
        _, n_answers, length = questions.shape
        counts = np.zeros((n_answers, self.words + 1))
        np.add.at(counts, (np.arange(n_answers)[None, :, None], questions), 1)
        counts = counts[:, 1:]
        if not (totals := counts.sum(axis=1)).all():
            raise ValueError(f"KeywordFit: every answer must have words; answer number {int(totals.argmin())} has none.")
        n_words = round(counts.sum() / questions.any(axis=2).sum())
        if self.most is not None:
            order = np.argsort(-counts, axis=1, kind="stable")
            np.put_along_axis(counts, order[:, self.most :], 0, axis=1)
        return Keywords(counts / counts.sum(axis=1, keepdims=True), n_words, length)


@dataclass(frozen=True)
class Prompted:
    """A transformer that writes after a token that names the answer; words are its tokens 1 … V, answers those behind them."""

    model: LanguageModel
    words: int
    n_answers: int

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n questions for each answer, (n, A, length); tokens that are no words count as none."""
        rows = [self.model.sample(n, rng, (self.words + 1 + a,))[:, 1:-1] for a in range(self.n_answers)]
        found = np.stack(rows, axis=1).astype(np.int32)
        return np.where(found <= self.words, found, 0)


@dataclass(frozen=True)
class PromptedFit:
    """fit(questions, rng) for feedback_loop: a fresh transformer of this size, trained on questions behind their answers' tokens."""

    size: str
    words: int  # V
    recipe: Recipe
    temperature: float = 1.0

    def __call__(self, questions: np.ndarray, rng: np.random.Generator) -> Prompted:
        _, n_answers, length = questions.shape
        pairs = ((a, question[question > 0]) for one in questions for a, question in enumerate(one))
        rows = cut([[self.words + 1 + a, *words] for a, words in pairs if len(words)], length + 2)
        fit = LanguageFit(self.size, self.words + n_answers + 1, length + 2, self.recipe, self.temperature)
        return Prompted(fit(rows, rng), self.words, n_answers)
