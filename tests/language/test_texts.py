"""Text corpora: known contents, a split without leaks, rows that decode to the text, one sentence for each kind of damage."""

import os
from pathlib import Path

import numpy as np
import pytest

from collapse_utils.language import texts, tokens
from collapse_utils.language.tokens import END, MARK, Rows, counted, cut, lengths
from collapse_utils.regimes import accumulate, accumulate_subsample, mixture, replace
from collapse_utils.rows import History, concat, size, subset

MIRROR = os.environ.get("COLLAPSE_DATA", "")
needs_mirror = pytest.mark.skipif(
    not (MIRROR and (Path(MIRROR) / texts.OFFICIAL["tinystories"][0]).is_file()), reason="COLLAPSE_DATA holds no tinystories"
)


def passages(documents, n):
    """Every run of n words, a plain second way beside the hashes of the loader."""
    words = [document.split() for document in documents]
    return {tuple(w[i : i + n]) for w in words for i in range(len(w) - n + 1)}


def story(rng, n=60):
    return " ".join(f"w{i}" for i in rng.integers(5000, size=n))


@pytest.fixture
def folder(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for i in range(40):
        (tmp_path / f"{i:02d}.txt").write_text(story(rng), encoding="utf-8")
    return tmp_path


def no_leak(corpus):
    for a, b in ((corpus.train, corpus.test), (corpus.train, corpus.validation), (corpus.validation, corpus.test)):
        assert not set(a) & set(b)
        assert not passages(a, texts.PASSAGE) & passages(b, texts.PASSAGE)


def test_the_embedded_corpus_splits_by_document_without_leaks():
    corpus = texts.load("python-docs")
    characters = np.array([sum(map(len, part)) for part in (corpus.train, corpus.validation, corpus.test)])
    assert 0.7 < characters[0] / characters.sum() < 0.85
    assert (characters[1:] / characters.sum() > 0.08).all()
    no_leak(corpus)
    assert texts.load("python-docs").sha256 == corpus.sha256


@needs_mirror
def test_the_mirrored_stories_split_without_leaks():
    corpus = texts.load("tinystories")
    assert len(corpus.train) + len(corpus.validation) + len(corpus.test) == 2316
    no_leak(corpus)


def test_a_shared_passage_keeps_documents_together(folder, seed):
    """Twenty documents quote the same sentence: they end on one side. Without it they would be spread."""
    rng = np.random.default_rng(seed + 1)
    spread = texts.load(str(folder))
    assert any(document in spread.test for document in map(Path.read_text, sorted(folder.glob("*.txt"))))
    quote = story(rng, texts.PASSAGE)
    for file in sorted(folder.glob("*.txt"))[:20]:
        file.write_text(file.read_text() + "\n" + quote, encoding="utf-8")
    corpus = texts.load(str(folder))
    sides = [any(quote in document for document in part) for part in (corpus.train, corpus.validation, corpus.test)]
    assert sum(sides) == 1
    no_leak(corpus)


def test_files_and_folders_by_path(folder, tmp_path, monkeypatch):
    documents = [file.read_text() for file in sorted(folder.glob("*.txt"))]
    marked, blank = tmp_path / "marked", tmp_path / "blank"
    marked.write_text(f"\n{MARK}\n".join(documents))
    blank.write_text("\r\n\r\n".join(documents))
    expected = texts.load(str(folder))
    monkeypatch.setenv("TEXTS", str(tmp_path))
    for path in (marked, blank, "$TEXTS/marked"):
        corpus = texts.load(str(path))
        assert corpus.test == expected.test
        assert corpus.sha256 == expected.sha256


def test_rows_decode_to_the_documents_whatever_their_characters(folder):
    corpus = texts.load(str(folder))
    odd = ["naïve — “quotes” 中文 🙂 \x00", "x" * 500, f"a {MARK} inside is a space"]
    tokenizer = tokens.tokenizer(corpus.train, 300)
    rows = tokens.rows([*corpus.test, *odd], tokenizer, 64)
    assert rows.dtype == np.uint16
    assert rows.max() < 300
    whole, text = [], ""
    for row in rows:
        text += tokens.text(row, tokenizer) if END in row else tokenizer.decode(row.tolist(), skip_special_tokens=False)
        if END in row:
            whole.append(text)
            text = ""
    assert [w for w in whole if "�" not in w][: len(corpus.test)] == corpus.test
    assert lengths(rows).sum() == counted(rows).sum()


def test_the_tokenizer_sees_the_training_documents_only(folder):
    corpus = texts.load(str(folder))
    a = tokens.tokenizer(corpus.train, 290).to_str()
    assert tokens.tokenizer(corpus.train, 290).to_str() == a
    assert tokens.tokenizer([*corpus.train, "zzzz zzzz zzzz " * 100], 290).to_str() != a


def test_unusable_text_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "latin").write_bytes("déjà vu\n\n".encode("latin-1") * 20)
    (tmp_path / "empty").write_text("")
    (tmp_path / "one").write_text("a single paragraph")
    with pytest.raises(ValueError, match=r"latin must be UTF-8; got byte 0xe9 at 1"):
        texts.load(str(tmp_path / "latin"))
    for name, n in (("empty", 0), ("one", 1)):
        with pytest.raises(ValueError, match=rf"{name} must hold at least 10 different documents.*got {n};"):
            texts.load(str(tmp_path / name))
    with pytest.raises(OSError, match="must be python-docs, tinystories, tinystories-full, novels, or the path"):
        texts.load("no-such-corpus")
    with pytest.raises(ValueError, match="257 to 65,536 tokens.*got 100"):
        tokens.tokenizer(["abc"], 100)
    with pytest.raises(ValueError, match=r"support 2\d\d tokens at most; got 5000"):
        tokens.tokenizer(["ab ab ab ab"], 5000)


def test_a_document_longer_than_the_context_is_cut_into_pieces():
    rows = cut([[5, 6, 7, 8, 9], [3], [4, 4, 4]], 3)
    assert rows.tolist() == [[5, 6, 7], [8, 9, END], [3, END, END], [4, 4, 4], [END, END, END]]
    assert lengths(rows).tolist() == [3, 3, 2, 3, 1]
    assert counted(rows).sum() == 12  # nine tokens and three ends


def test_rows_join_without_a_copy_and_serve_every_regime(seed):
    rng = np.random.default_rng(seed)
    parts = [rng.integers(1, 99, (n, 5)).astype(np.uint16) for n in (7, 4, 9)]
    real = Rows(parts[0])
    joined = concat([real, *parts[1:]])
    assert isinstance(joined, Rows)
    assert all(a is b for a, b in zip(joined.parts, parts, strict=True))
    assert size(joined) == 20
    whole = np.concatenate(parts)
    index = rng.permutation(20)
    assert (joined[index] == whole[index]).all()
    assert (joined[3:15] == whole[3:15]).all()
    assert (joined[-1] == whole[-1]).all()
    assert (np.asarray(joined) == whole).all()
    assert accumulate([real, *parts[1:]], rng).parts[2] is parts[2]
    assert replace([real, *parts[1:]], rng) is parts[2]
    drawn = accumulate_subsample([real, *parts[1:]], rng)
    assert {tuple(row) for row in drawn} <= {tuple(row) for row in whole}
    assert size(drawn) == 7
    assert size(mixture(0.5)([real, parts[1]], rng)) == 7
    assert len(subset(joined, 20, rng)) == 20
    with pytest.raises(ValueError, match="one length L"):
        Rows(parts[0], parts[1][:, :4])


def test_rows_stop_at_so_many_tokens_and_characters_of_a_document():
    documents = ["abc " * 50, "x" * 30, "tail"]
    bytes_alone = tokens.tokenizer(documents, 257)
    plain = tokens.rows(documents, bytes_alone, 8)
    assert tokens.lengths(plain).sum() == 201 + 31 + 5
    few = tokens.rows(documents, bytes_alone, 8, 60)
    assert 52 < tokens.lengths(few).sum() <= 60
    assert (few[:7] == plain[:7]).all()
    assert len(tokens.rows(documents, bytes_alone, 8, 3)) == 1
    pairs = tokens.tokenizer(documents, 260)  # a token holds several characters
    assert [tokens.text(row, pairs) for row in tokens.rows(["abc " * 500, "tail"], pairs, 40, 60)] == ["abc " * 15, "tail"]


def test_frequent_tokens_make_half_of_the_text_and_diversity_counts_what_is_written():
    rows = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 3, 0], [1, 1, 5, 4, 0, 9, 9, 9, 9, 9]], np.uint16)  # 15 tokens count
    groups = tokens.by_frequency(rows, 10)
    assert groups["frequent"].nonzero()[0].tolist() == [1]  # 7 of 15
    assert groups["rare"].nonzero()[0].tolist() == [4, 5, 6, 7, 8, 9]  # beyond 13 of 15
    found = tokens.diversity(rows, 10)
    assert found["coverage"] == 6 / 10
    triples = [(1, 1, 1)] * 3 + [(1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 3), (2, 3, 0)] + [(1, 1, 5), (1, 5, 4), (5, 4, 0)]
    assert found["distinct"] == len(set(triples)) / len(triples)


def test_samples_on_a_page_are_escaped_shortened_and_folded_but_for_the_first():
    html = texts.Samples({"a < b": ["one\n two", "x" * 9], "c": ["<i>"]}, most=7)._repr_html_()
    assert html.count("<details") == 2
    assert html.count(" open>") == 1
    for part in ("a &lt; b", "<b>Fit 1.</b> one two", "<b>Fit 2.</b> xxxxxxx<", "&lt;i&gt;"):
        assert part in html


def test_a_history_of_rows_and_arrays_is_pooled_without_a_copy():
    parts = [np.full((3, 4), k, np.uint16) for k in range(3)]
    history = History([Rows(parts[0])])
    for k in (1, 2):
        history.append(parts[k])
        assert (np.asarray(history.pool()) == np.concatenate(parts[: k + 1])).all()
    assert all(a is b for a, b in zip(history.pool().parts, parts, strict=True))
