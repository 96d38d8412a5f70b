"""Questions for language models against counting by hand; the trigram; documentation as text."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from collapse_utils.language import docstrings, texts
from collapse_utils.language.tokens import cut
from collapse_utils.pruning import evaluation as exams, layers as pruning
from collapse_utils.pruning.forks import lacking
from shipped.trigram import KneserNey
from tests.pruning import architectures

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", ".", "a", "house"]


@pytest.fixture(scope="module")
def tokenizer():
    """A word a token; 0 begins a text; no padding token."""
    vocabulary = {"<s>": 0, **{word: i + 1 for i, word in enumerate(WORDS)}, "?": len(WORDS) + 1}
    found = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>", unk_token="?", model_max_length=32)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, bos_token_id=0, eos_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def logp(model, row):
    """ln p of each token of a row after its first, one forward pass."""
    with torch.inference_mode():
        share = torch.log_softmax(model(input_ids=torch.as_tensor([row])).logits[0, :-1].double(), -1)
    return share[range(len(row) - 1), row[1:]].numpy()


def test_windows_hold_every_token_once(tokenizer):
    documents = ["the cat sat on the mat .", "a dog ran", "the"]
    ids, mask = exams.windows(documents, tokenizer, 5)
    rows = [row[:count].tolist() for row, count in zip(ids, mask.sum(1), strict=True)]
    assert rows == [[0, 1, 2, 4, 6], [0, 1, 7, 8], [0, 9, 3, 5]]  # a single left-over token predicts nothing
    picked, there = exams.pick(documents * 9, tokenizer, 5, 6)
    assert picked.shape == (6, 5)
    assert there.all()
    one, two = (exams.pick([" ".join(WORDS)] * 4 + ["a dog ran on"], tokenizer, 5, 99, k, 2)[0] for k in (0, 1))
    assert len(one) + len(two) == len(exams.pick([" ".join(WORDS)] * 4 + ["a dog ran on"], tokenizer, 5, 99)[0])
    with pytest.raises(ValueError, match="between 2 and 32; got 33"):
        exams.windows(documents, tokenizer, 33)


def test_likelihood_is_the_sum_over_scored_tokens(model, seed):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 12, length).tolist() for length in (9, 4, 6, 2, 9)]
    ids, mask = exams.padded(rows)
    total, first = exams.likelihood(model, ids, mask, batch=2)
    assert np.allclose(total, [logp(model, row).sum() for row in rows], atol=1e-4)
    scored = mask & (np.arange(9) >= 3)
    some, _ = exams.likelihood(model, ids, mask, scored, batch=3)
    assert np.allclose(some, [logp(model, row)[2:].sum() for row in rows], atol=1e-4)
    nats, counts = exams.losses(model, ids, mask)
    assert np.allclose(nats, -total, atol=1e-4)
    assert counts.tolist() == [8, 3, 5, 1, 8]
    with torch.inference_mode():
        best = [model(input_ids=torch.as_tensor([row])).logits[0, :-1].argmax(-1).tolist() == row[1:] for row in rows]
    assert first.tolist() == best
    row = [1]
    for _ in range(5):  # the model's own words are its first choice
        with torch.inference_mode():
            row.append(int(model(input_ids=torch.as_tensor([row])).logits[0, -1].argmax()))
    assert exams.likelihood(model, *exams.padded([row]))[1].all()


def test_cloze_has_one_right_answer_and_chance_is_a_quarter(model, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 12, (400, 12))
    mask = np.ones_like(ids, bool)
    mask[:3, 9:] = False
    questions = exams.cloze(ids, mask, 6, 4, 4, rng)
    assert questions.shape == (397, 4, 10)
    assert (questions[:, 0] == ids[3:, :10]).all()
    assert (questions[:, :, :6] == questions[:, :1, :6]).all()
    assert not (questions[:, 1:, 6:] == questions[:, :1, 6:]).all(-1).any(axis=1).sum() > 5  # others' words, chance hits apart
    scores = exams.choose(model, questions[:20], 6)
    assert np.allclose(scores[3], [logp(model, row)[5:].sum() for row in questions[3].tolist()], atol=1e-4)
    hits = exams.right(exams.choose(model, questions, 6)).mean()
    assert abs(hits - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 397)  # on random text; a rival that reads the answer has 1
    assert not exams.right(np.zeros((3, 4))).any()
    with pytest.raises(ValueError, match="at least 4 rows of 40"):
        exams.cloze(ids, mask, 30, 10, 4, rng)


PACKS = {"llama": True, "gpt2": True, "mistral": False, "lfm2": True, "qwen3_next": False, "mamba": False, "bloom": False}


@pytest.mark.parametrize("name", PACKS)
def test_choices_are_scored_alike_whatever_a_model_remembers(name, seed):
    """Side by side in a row; keys and values; sliding windows, states of linear attention, nothing: as if each were read whole."""
    model = architectures.build(name)
    questions = np.random.default_rng(seed).integers(1, architectures.VOCABULARY, (5, 3, 12))
    questions[..., :8] = questions[:, :1, :8]
    scored = np.broadcast_to(np.arange(12) >= 8, (15, 12)).copy()
    whole, _ = exams.likelihood(model, questions.reshape(15, 12), np.ones((15, 12), bool), scored)
    assert np.allclose(exams.choose(model, questions, 8, batch=2), whole.reshape(5, 3), rtol=1e-4, atol=1e-4)
    assert exams._packs(model, questions[:1], 8) == PACKS[name]
    if PACKS[name]:
        kept = [(0, 1, 4, 5), (0, 1, 2, 3, 5)]
        cut = exams.cut_choices(model, [lacking(6, layers) for layers in kept], questions, 8)
        alone = [exams.choose(pruning.prune(model, layers), questions, 8) for layers in kept]
        assert np.allclose(cut, alone, rtol=1e-4, atol=1e-4)


def test_blimp_and_lambada_are_read_as_they_are_published(model, tokenizer, tmp_path, monkeypatch):
    pairs = [
        {"sentence_good": "the cat sat .", "sentence_bad": "sat the cat ."},
        {"sentence_good": "a dog ran", "sentence_bad": "ran a dog"},
    ]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in ("data/x.jsonl", "data/y.jsonl"):
            archive.writestr(name, "\n".join(map(json.dumps, pairs)))
        archive.writestr("__MACOSX/data/._x.jsonl", b"\xb0\x00")  # as in the official file
    (tmp_path / "l.jsonl").write_text('{"text": "the cat sat on the mat"}\n{"text": "a dog ran"}\n')
    digest = {name: "sha256:" + hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("b.zip", "l.jsonl")}
    monkeypatch.setattr(exams, "OFFICIAL", {"blimp": ("b.zip", digest["b.zip"]), "lambada": ("l.jsonl", digest["l.jsonl"])})
    monkeypatch.delenv("COLLAPSE_DATA", raising=False)
    with pytest.raises(OSError, match=r"set COLLAPSE_DATA to the folder with b\.zip"):
        exams.blimp(model, tokenizer)
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    sides = [[logp(model, [0, *tokenizer(pair[side])["input_ids"]]).sum() for side in pair] for pair in pairs]
    assert exams.blimp(model, tokenizer, 2).tolist() == [[good > bad for good, bad in sides]] * 2
    nats, first = exams.lambada(model, tokenizer)
    ends = [logp(model, [0, *tokenizer(text)["input_ids"]])[-1] for text in ("the cat sat on the mat", "a dog ran")]
    assert np.allclose(nats, np.negative(ends), atol=1e-4)
    assert first.shape == (2,)
    table = exams.official(model, tokenizer, 2).set_index("exam")
    rate = np.mean([good > bad for good, bad in sides])
    assert np.allclose(table["mean"], [rate, first.mean(), nats.mean()])
    k = first.sum()  # of Beta(k + 1, 3 − k)
    wanted = [np.sqrt(2 * rate * (1 - rate)) / 2, np.sqrt((k + 1) * (3 - k) / 80), np.abs(nats[0] - nats[1]) / 2]
    assert np.allclose(table.se, wanted)
    (tmp_path / "l.jsonl").write_text("{}")
    with pytest.raises(OSError, match="must have the official SHA-256"):
        exams.lambada(model, tokenizer)


def test_documentation_is_read_without_importing_and_without_examples():
    (text,) = docstrings.read(["numpy/linalg/_linalg.py"])
    assert "Compute the determinant" in text
    assert ">>>" not in text
    assert docstrings.sha256([text]) == docstrings.sha256(docstrings.read(["numpy/linalg/_linalg.py"]))
    assert "numpy/linalg/_linalg.py" in docstrings.names()
    with pytest.raises(OSError, match="must be installed; got another version of numpy"):
        docstrings.read(["numpy/nothing.py"])


def test_the_corpus_of_a_decoder_is_what_it_has_not_seen_and_keeps_a_path_to_itself(tmp_path, monkeypatch):
    card = json.loads((Path(__file__).parents[2] / "shipped/deep-thin/card.json").read_text())
    monkeypatch.setattr(docstrings, "read", lambda names: [f"text of {name}" for name in names])
    found = docstrings.corpus("docstrings")
    assert found.validation == [f"text of {name}" for name in card["validation"]]
    assert found.test == [f"text of {name}" for name in card["held out"]]
    assert (found.train, found.name) == ([], "docstrings, unseen")
    assert found.sha256 == docstrings.sha256(found.validation + found.test)
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"document {i}", encoding="utf-8")
    own = docstrings.corpus(str(tmp_path))
    assert (own.name, own.test) == ("text by path", texts.load(str(tmp_path)).test)
    assert docstrings.corpus("python-docs") == texts.load("python-docs")


def test_the_trigram_is_a_law_and_knows_its_source(seed):
    """Sums to one in seen and unseen contexts; on a Markov source of order two it nears the entropy, a bigram cannot."""
    rng, v = np.random.default_rng(seed), 5
    law = rng.dirichlet(np.full(v - 1, 0.3), (v, v))  # tokens 1 … 4 after each pair
    rows = np.zeros((400, 50), np.uint16)
    nats = 0.0
    for row in rows:
        pair = (0, 0)
        for t in range(50):
            p = law[pair]
            row[t] = 1 + rng.choice(v - 1, p=p)
            nats -= np.log(p[row[t] - 1])
            pair = (pair[1], int(row[t]))
    model = KneserNey(rows[:350], v)
    for u, w in [(0, 0), (1, 2), (4, 4), (0, 3)]:
        assert np.isclose(model.probability(np.full(v, u), np.full(v, w), np.arange(v)).sum(), 1)
    total, counts = model.loss(rows[350:])
    assert counts.tolist() == [50] * 50
    own = model.loss(rows[:350])
    assert own[0].sum() / own[1].sum() < nats / 400 / 50 + 0.05
    assert total.sum() / counts.sum() < nats / 400 / 50 + 0.1
    by_hand = KneserNey(cut([[1, 2, 1, 2, 1, 3]], 7), 4)
    d = by_hand.discounts
    # c(1 2 1) = 2 of c(1 2) = 2; left neighbours of (2 1): one kind; kinds after 2: one
    bigram = lambda w, context, seen, kinds, lower: max(seen - d[1], 0) / context + d[1] * kinds / context * lower  # noqa: E731
    left = by_hand.uni_count
    uni = (max(left[1] - d[0], 0) + d[0] * (left > 0).sum() / 4) / left.sum()
    lower = bigram(1, 1, 1, 1, uni)
    assert np.isclose(by_hand.probability(*np.array([[1], [2], [1]]))[0], (2 - d[2]) / 2 + d[2] / 2 * lower)


def test_rows_of_the_shipped_text_belong_to_no_training_document():
    card = json.loads((Path(__file__).parents[2] / "shipped/deep-thin/card.json").read_text())
    assert not set(card["held out"]) & set(card["validation"])
    held, other = docstrings.read(card["held out"][:40]), docstrings.read(card["validation"][:40])
    passages = [
        {tuple(words[i : i + texts.PASSAGE]) for words in (d.split(),) for i in range(len(words) - texts.PASSAGE + 1)}
        for d in held
    ]
    mine = set().union(*passages)
    for document in other:
        words = document.split()
        assert not any(tuple(words[i : i + texts.PASSAGE]) in mine for i in range(len(words) - texts.PASSAGE + 1))
