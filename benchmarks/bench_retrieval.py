"""Ten thousand questions over a thousand answers: BM25 by one sparse product, against scikit-learn's cosine question by question."""

import time

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import cosine_similarity

from collapse_utils.language import retrieval

N_ANSWERS, N_QUESTIONS, LOOPED = 1000, 10_000, 500  # the loop is timed on some questions and scaled up
WORDS, TOPIC, LENGTH = 5000, 40, 6  # words of the language and of an answer, and of a question


def data(rng, n_answers=N_ANSWERS, n_questions=N_QUESTIONS):
    """One known question an answer, (1, A, TOPIC), and questions asked, (m, A, LENGTH): an answer's words by Zipf's law."""
    share = 1 / np.arange(1.0, WORDS + 1)
    topics = np.stack([rng.choice(WORDS, TOPIC, replace=False, p=share / share.sum()) + 1 for _ in range(n_answers)])
    picked = rng.integers(TOPIC, size=(n_questions // n_answers, n_answers, LENGTH))
    return topics[None].astype(np.int32), np.take_along_axis(topics[None], picked, axis=2).astype(np.int32)


def looped(known, asked):
    """The answers of a loop of cosine_similarity on TF-IDF, one question at a time, and the seconds of a question."""
    idf = TfidfTransformer()
    rows = idf.fit_transform(retrieval.counts(known, WORDS))
    new = idf.transform(retrieval.counts(asked, WORDS))[:LOOPED]
    started = time.perf_counter()
    found = [cosine_similarity(new[[i]], rows).argmax() for i in range(new.shape[0])]
    return np.array(found), (time.perf_counter() - started) / new.shape[0]


def test_speed_ratio(benchmark):
    """Index and answers of ours, answers alone of the loop."""
    known, asked = data(np.random.default_rng(0))
    plain, each = looped(known, asked)
    found = benchmark.pedantic(retrieval.retrieve, (known, asked), rounds=3)
    ratio = each * N_QUESTIONS / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\n{N_QUESTIONS} questions over {N_ANSWERS} answers: {ratio:.1f} times faster than a loop of cosine_similarity")
    truth = np.tile(np.arange(N_ANSWERS), len(asked))
    assert (found.ravel() == truth).mean() > 0.9
    assert (plain == truth[:LOOPED]).mean() > 0.9
