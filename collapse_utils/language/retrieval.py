"""Retrieval characters: which of A answers a question gets, from questions whose answers are known, and how good that is.

Questions are arrays (n, A, L) of word numbers, 0 being no word (see questions); answers found are arrays (n, A), −1 for none.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csc_array, csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

BATCH = 1024  # questions whose scores are held at once


def counts(questions: np.ndarray, words: int) -> csr_array:
    """Return how often each question (n, A, L) uses each word 1 … words: (nA, words), float32."""
    flat = questions.reshape(-1, questions.shape[2])
    row, column = np.nonzero(flat)
    found = csr_array((np.ones(len(row), np.float32), (row, flat[row, column] - 1)), shape=(len(flat), words))
    found.sum_duplicates()
    return found


def classify(known: np.ndarray, asked: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the answers (m, A) that logistic regression on TF-IDF gives to questions asked (m, A, L), taught by known (n, A, L).

    weights (n,): of the known questions, see shared. A question without a known word gets no answer, −1.
    """
    n, n_answers, _ = known.shape
    words = int(max(known.max(), asked.max()))
    idf, new = TfidfTransformer(), counts(asked, words)
    taught = idf.fit_transform(counts(known, words))
    weight = None if weights is None else np.repeat(weights, n_answers)
    model = LogisticRegression(max_iter=1000).fit(taught, np.tile(np.arange(n_answers), n), weight)
    seen = new @ np.isin(np.arange(1, words + 1), known).astype(float) > 0
    return np.where(seen, model.predict(idf.transform(new)), -1).reshape(asked.shape[:2])


def retrieve(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the answers (m, A) of the known questions (n, A, L) that score highest by BM25 for those asked (m, A, L).

    A question without a known word gets no answer, −1; of equal scores the first known question wins. The scores of BATCH
    questions at a time are one product of sparse matrices.
    """
    words, n_answers = int(max(known.max(), asked.max())), known.shape[1]
    index, new = bm25(known, words), counts(asked, words)
    found = np.empty(new.shape[0], int)
    for start in range(0, len(found), BATCH):
        scores = (new[start : start + BATCH] @ index).toarray()  # (b, nA)
        best = scores.argmax(axis=1)
        found[start : start + BATCH] = np.where(scores[np.arange(len(best)), best] > 0, best % n_answers, -1)
    return found.reshape(asked.shape[:2])


def bm25(known: np.ndarray, words: int) -> csr_array:
    """Return what each word adds to the BM25 score of each known question (n, A, L): (words, nA), as bm25s computes it.

    Lucene's variant (Lù 2024, 2407.03618), k1 = 1.5, b = 0.75; a score is the sum over the words that are asked.
    """
    with warnings.catch_warnings(action="ignore"):  # its progress bars miss widgets
        import bm25s
    ids = [(row[row > 0] - 1).tolist() for row in known.reshape(-1, known.shape[2])]
    library = bm25s.BM25(method="lucene")
    library.index((ids, {str(i): i for i in range(words)}), show_progress=False)
    columns = [library.scores[name] for name in ("data", "indices", "indptr")]
    return csc_array(tuple(columns), shape=(len(ids), words)).T.tocsr()


def one_word_errors(
    p: np.ndarray, q: np.ndarray, counts: Sequence[int], rng: np.random.Generator, n_answers: int = 3
) -> np.ndarray:
    """Return the share of wrong answers, (k,), of a character with questions of one word after so many of them, counts (k,).

    It looks up. Each answer has V words of its own, which the test asks by p (V,) and a writer has asked by q (V,); the
    questions of a smaller count are among those of a larger one.
    """
    first = len(p) * np.arange(n_answers)[:, None]
    asked = first + np.arange(1, len(p) + 1)[:, None, None]  # (V, A, 1): every word of every answer
    known = first + 1 + rng.choice(len(p), (max(counts), n_answers, 1), p=q)
    return np.array([p @ (retrieve(known[:n], asked) != np.arange(n_answers)).mean(axis=1) for n in counts])


def macro_f1(found: np.ndarray) -> float:
    """Return the macro F-score of answers found (m, A) where column a asks for answer a: the mean over answers of their F-scores."""
    m, n_answers = found.shape
    truth, labels = np.tile(np.arange(n_answers), m), np.arange(n_answers)
    return float(f1_score(truth, found.ravel(), labels=labels, average="macro", zero_division=0))


def equivalent(reached: np.ndarray, scores: np.ndarray, counts: Sequence[int], most: float) -> np.ndarray:
    """Return how many real questions have the scores reached (r,), at least the first of counts (k,), by the scores (r, k) of these.

    Between two counts it is interpolated in the logarithm; a dip in the scores is taken to be noise. Where no count has the
    score: most.
    """
    rising, logs = np.maximum.accumulate(scores, axis=1), np.log(counts)
    found = np.exp([np.interp(score, row, logs) for score, row in zip(reached, rising, strict=True)])
    return np.where(reached > rising[:, -1], most, found)


def distinct(questions: np.ndarray) -> float:
    """Return the number of different words among the questions (n, A, L) of an answer, in the mean over the answers."""
    return float(np.mean([len(np.unique(part[part > 0])) for part in questions.swapaxes(0, 1)]))


def shared(counts: Sequence[int], shares: Sequence[float]) -> np.ndarray:
    """Return the weights (Σ counts,) of questions in groups of these sizes, so that each group has its share of the whole weight.

    The mean weight is 1. Raises ValueError unless there is one share a group, none negative, and they sum to 1.
    """
    if len(counts) != len(shares) or min(shares) < 0 or not np.isclose(sum(shares), 1):
        said = " + ".join(f"{share:g}" for share in shares)
        raise ValueError(
            f"shared: {len(counts)} groups must have as many shares, none negative, that sum to 1; got {said} = {sum(shares):g}."
        )
    return sum(counts) * np.repeat(np.divide(shares, counts), counts)
