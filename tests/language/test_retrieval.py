"""Characters that answer questions: beds and their damage, both kinds of retrieval against plain second ways, the writers."""

import json
import math
from collections import Counter

import bm25s
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from collapse_utils.language import questions, retrieval
from collapse_utils.language.questions import load
from collapse_utils.language.writers import KeywordFit, PromptedFit
from collapse_utils.loop import feedback_loop, follow
from collapse_utils.regimes import accumulate, replace
from collapse_utils.theory import tails
from collapse_utils.training import Recipe

ROWS = [
    (f"what is {x} {y}", f"{x} is explained here")
    for x in ("apples", "pears", "plums")
    for y in ["alpha", "beta", "gamma", "delta"]
]


@pytest.fixture(scope="module")
def docs():
    return load("python-docs")


@pytest.fixture
def character(docs, seed):
    return docs.character(6, 8, 5, np.random.default_rng(seed))


def words(character, array):
    return [[character.text(question) for question in answer] for answer in array.swapaxes(0, 1)]


def test_python_s_help_makes_characters_without_leaks(docs, character, seed):
    assert character.users.shape[:2] == (8, 6)
    assert character.test.shape[:2] == (5, 6)
    assert len(docs.answers) > 60
    once = docs.questions.drop_duplicates("question", keep=False).set_index("question")["passage"]
    for users, test in zip(words(character, character.users), words(character, character.test), strict=True):
        asked, judged = ({once[q] for q in part if q in once.index} for part in (users, test))
        assert len(asked) > 2
        assert not asked & judged
    again = docs.character(6, 8, 5, np.random.default_rng(seed))
    assert (again.test == character.test).all()


def test_no_sentence_is_both_read_and_asked(docs):
    """The same four words may stand in two sentences, but seldom do."""
    texts = [f" {' '.join(questions.content_words(text))} " for text in docs.answers]
    asked = [(a, q) for a, q in zip(docs.questions["answer"], docs.questions["question"]) if len(q.split()) == questions.LENGTH]
    assert len(asked) > 1500
    assert np.mean([f" {q} " in texts[a] for a, q in asked]) < 0.05


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_is_read_with_its_own_columns(tmp_path, kind):
    frame = pd.DataFrame(ROWS, columns=["Q", "A"])
    file = tmp_path / f"faq.{kind}"
    frame.to_csv(file, index=False) if kind == "csv" else frame.to_json(file, orient="records", lines=True)
    bed = load(str(file), "Q", "A")
    assert bed.answers == ["apples is explained here", "pears is explained here", "plums is explained here"]
    assert bed.questions["question"].tolist() == [q for q, _ in ROWS]
    made = bed.character(3, 2, 2, np.random.default_rng(0))
    assert made.users.shape[:2] == made.test.shape[:2] == (2, 3)
    assert sorted({w for row in words(made, made.read) for q in row for w in q.split()}) == [
        "apples",
        "explained",
        "pears",
        "plums",
    ]


def test_questions_may_come_in_lists_and_answers_by_key(tmp_path):
    file = tmp_path / "faq.jsonl"
    rows = [{"id": 1, "question": ["one way", "two ways"], "answer": "yes"}, {"id": 2, "question": "three", "answer": "yes"}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    bed = load(str(file), key="id")
    assert bed.answers == ["yes", "yes"]
    assert bed.questions["answer"].tolist() == [0, 0, 1]


GOOD = "id,question,answer\n1,how old,ten\n2,how tall,six feet\n"
DAMAGE = {
    "an empty question": (".csv", GOOD + '1,"",ten\n', "line 4: a question must hold a word; got ''"),
    "no word": (".csv", GOOD + "1,?!,ten\n", r"line 4: a question must hold a word; got '\?!'"),
    "a line break before": (".csv", 'id,question,answer\n1,"how\nold",ten\n2,,six\n', "line 4: a question must hold a word; got ''"),
    "an empty answer": (".csv", GOOD + "3,how wide,\n", "line 4: the answer must be a text; got ''"),
    "a duplicate id": (".csv", GOOD + "1,how wide,nine\n", "line 4: id '1' must name one answer; on line 2 it names another"),
    "a single answer": (".csv", "\n".join(GOOD.split("\n")[:2]), "at least two answers; got 1"),
    "no such column": (".csv", GOOD.replace("question", "query"), "question is not among id, query, answer"),
    "too many fields": (".csv", GOOD + "3,how,wide,is,it\n", "is no table .*line 4"),
    "nothing": (".csv", "", "is no table"),
    "another format": (".txt", GOOD, "must be a .csv or .jsonl; got 'faq.txt'"),
    "no object": (".jsonl", '\n{"id": 1}\n[1]\n', "line 3, is no JSON object"),
    "an answer without questions": (".jsonl", '{"id": 1, "question": [], "answer": "ten"}', "line 1: every answer must have a question; 'ten'"),
    "a question that is a number": (".jsonl", '{"id": 1, "question": [7], "answer": "ten"}', "line 1: a question must hold a word; got 7"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_with_its_line_and_value(tmp_path, damage):
    ending, content, said = DAMAGE[damage]
    file = tmp_path / f"faq{ending}"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load(str(file), key="id")


def test_what_cannot_be_drawn_is_refused(tmp_path, docs):
    with pytest.raises(OSError, match="python-docs or the path of a .csv or .jsonl file; got 'nowhere.csv'"):
        load("nowhere.csv")
    file = tmp_path / "faq.csv"
    file.write_bytes(GOOD.encode() + b"3,\xff,b\n")
    with pytest.raises(ValueError, match="must be UTF-8"):
        load(str(file))
    with pytest.raises(ValueError, match=r"300 answers of python-docs must have 2 \+ 2 questions each; \d+ have"):
        docs.character(300, 2, 2, np.random.default_rng(0))


def test_the_look_up_is_the_library_s_question_by_question(character):
    known, asked = character.users, character.test
    library = bm25s.BM25(method="lucene")
    documents = [character.text(q).split() for q in known.reshape(-1, known.shape[2])]
    library.index(documents, show_progress=False)
    scores = [library.get_scores(character.text(q).split()) for q in asked.reshape(-1, asked.shape[2])]
    found = retrieval.retrieve(known, asked).ravel()
    assert (found == [s.argmax() % 6 if s.max() > 0 else -1 for s in scores]).all()
    assert (found == -1).any() == (np.max(scores, axis=1) == 0).any()


def test_bm25_is_lucene_s_formula(character):
    known = character.users
    documents = [[w for w in q if w] for q in known.reshape(-1, known.shape[2])]
    length = np.mean(list(map(len, documents)))
    holds = Counter(w for document in documents for w in set(document))
    index = retrieval.bm25(known, int(known.max())).toarray()
    for j, document in enumerate(documents):
        for w, times in Counter(document).items():
            idf = math.log(1 + (len(documents) - holds[w] + 0.5) / (holds[w] + 0.5))
            assert np.isclose(index[w - 1, j], idf * times / (times + 1.5 * (0.25 + 0.75 * len(document) / length)), rtol=1e-5)


def test_the_classifier_is_scikit_learn_s_on_texts(character):
    known, asked = character.users, character.test
    vectors = TfidfVectorizer(analyzer=str.split)
    taught = vectors.fit_transform([character.text(q) for q in known.reshape(-1, known.shape[2])])
    model = LogisticRegression(max_iter=1000).fit(taught, np.tile(np.arange(6), len(known)))
    new = vectors.transform([character.text(q) for q in asked.reshape(-1, asked.shape[2])])
    found, plain = retrieval.classify(known, asked).ravel(), np.where(new.sum(axis=1).A1 > 0, model.predict(new), -1)
    assert (found == plain).mean() > 0.95  # float32 here


def test_a_weight_of_two_is_a_question_twice(character):
    known, asked = character.users, character.test
    doubled = np.concatenate([known, known[:3]])
    weights = np.where(np.arange(8) < 3, 2.0, 1.0)
    assert (retrieval.classify(known, asked, weights) == retrieval.classify(known, asked)).mean() < 1
    assert (retrieval.classify(known, asked, weights) == retrieval.classify(doubled, asked)).mean() > 0.8  # the idf differs


def test_shares_become_weights_or_are_refused():
    weights = retrieval.shared([100, 4], [0.5, 0.5])
    assert np.isclose(weights.mean(), 1)
    assert np.isclose(weights[:100].sum(), weights[100:].sum())
    for shares, said in (([0.5, 0.4], "got 0.5 \\+ 0.4 = 0.9"), ([1.5, -0.5], "none negative"), ([1.0], "2 groups")):
        with pytest.raises(ValueError, match=said):
            retrieval.shared([100, 4], shares)


def test_real_questions_are_counted_between_their_scores():
    scores = np.array([[0.1, 0.3, 0.2, 0.7]] * 4)  # the dip is noise: 0.3 is reached at the second count
    found = retrieval.equivalent(np.array([0.05, 0.3, 0.5, 0.8]), scores, (1, 2, 4, 16), 100)
    assert found[0] == 1
    assert 2 <= found[1] <= 4
    assert np.isclose(found[2], 8)
    assert found[3] == 100


def test_characters_of_one_word_questions_follow_the_exact_sum(seed):
    p, counts = np.arange(1.0, 31) ** -1.2, [1, 4, 20]
    p, rng = p / p.sum(), np.random.default_rng(seed)
    q = tails.conditioned(p, np.ones(30), np.arange(30) < 6)
    errors = np.array([retrieval.one_word_errors(p, q, counts, rng) for _ in range(300)])
    law = tails.unseen(counts, p, np.ones(30), q)
    assert (np.abs(errors.mean(axis=0) - law) < 5 * errors.std(axis=0) / np.sqrt(300)).all()
    assert (np.abs(errors.mean(axis=0)[:2] - tails.unseen(counts[:2], p, np.ones(30))) > 0.02).all()


def test_words_are_counted_by_answer():
    assert retrieval.distinct(np.array([[[1, 2], [3, 0]], [[2, 4], [3, 3]]])) == 2


def test_the_macro_f_score_counts_answers_alike():
    found = np.array([[0, 1, 2], [0, 0, -1]])
    assert np.isclose(retrieval.macro_f1(found), (0.8 + 2 / 3 + 2 / 3) / 3)


def test_a_writer_asks_with_the_most_frequent_words_of_each_answer(character, seed):
    read, rng = character.read, np.random.default_rng(seed)
    written = KeywordFit(len(character.words), 3)(read, rng).sample(500, rng)
    for a in range(6):
        counts = np.bincount(read[:, a][read[:, a] > 0])
        used, times = np.unique(written[:, a], return_counts=True)
        assert len(used) == 3
        assert counts[used].min() >= np.sort(counts)[-3]
        assert np.allclose(times / times.sum(), counts[used] / counts[used].sum(), atol=0.06)
    with pytest.raises(ValueError, match="answer number 1 has none"):
        KeywordFit(9)(np.array([[[1, 2], [0, 0]]]), rng)


def test_the_loop_loses_words_and_keeps_them(character, seed):
    def distinct(g):
        return np.array([[len(np.unique(g.model.sample(40, np.random.default_rng(1))))]])

    fit = KeywordFit(len(character.words))
    ends = [
        follow(feedback_loop(fit, character.users, mix, np.random.default_rng(seed)), distinct, 6)[0, [0, -1], 0]
        for mix in (replace, accumulate)
    ]
    assert ends[0][1] < 0.75 * ends[0][0]
    assert ends[1][1] > 0.9 * ends[1][0]


def test_a_transformer_learns_whose_questions_are_whose(seed):
    rng = np.random.default_rng(seed)
    read = np.stack([rng.integers(1, 5, (40, 3)), rng.integers(5, 9, (40, 3))], axis=1).astype(np.int32)
    written = PromptedFit("llama-tiny", 8, Recipe(rate=1e-2, epochs=10, batch=16))(read, rng).sample(50, rng)
    assert written.shape == (50, 2, 3)
    assert ((written[:, 0] >= 1) & (written[:, 0] < 5)).mean() > 0.9
    assert (written[:, 1] >= 5).mean() > 0.9
