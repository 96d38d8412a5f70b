"""The shipped decoder: what it promises, loaded as the chapters load it; verdicts with the arms swapped."""

import json
import re
import shlex

import numpy as np
import pytest
import transformers

from collapse_utils import claims
from collapse_utils.language import docstrings, transformer as language
from collapse_utils.pruning import evaluation as exams, layers as pruning, pretrained
from shipped import deep_thin

FOLDER = pretrained.SHIPPED / "deep-thin"
CARD = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped():
    return pretrained.load("deep-thin")


def test_it_is_small_and_safe(shipped):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12e6
    assert not [file for file in FOLDER.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    model, _ = pretrained.load("deep-thin")
    assert sum(weight.numel() for weight in model.parameters()) == CARD["shape"]["parameters"]
    assert len(pruning.stack(model)) >= 12


def test_it_beats_the_trigram_by_a_tenth_of_a_nat():
    for found in CARD["judged, nats per token"].values():
        assert found["trigram"] - found["deep-thin"] >= 0.1
        assert found["error of the difference"] < 0.02


def test_every_middle_quarter_matters(shipped):
    """And the loss on held-out text is the card's: its rows are longer, so that they differ by a few hundredths."""
    model, tokenizer = shipped
    ids, mask = exams.pick(docstrings.read(CARD["held out"]), tokenizer, 128, 48)
    whole, counts = exams.losses(model, ids, mask)
    assert abs(whole.sum() / counts.sum() - CARD["judged, nats per token"]["docs test"]["deep-thin"]) < 0.3
    depth = len(pruning.stack(model))
    quarter = depth // 4
    for first in range(1, depth - quarter):
        nats, _ = exams.losses(pruning.prune(model, pruning.without(depth, range(first, first + quarter))), ids, mask)
        rise = (nats - whole) / counts.mean()
        assert rise.mean() > rise.std(ddof=1) / np.sqrt(len(rise)), first


def test_swapped_arms_fail():
    """A chapter that fed the arms the wrong way round would be caught."""
    low, high = np.linspace(3.4, 3.9, 8), np.linspace(3.6, 4.4, 8)
    for id_, names in {"GRO-7a": ("similar", "deepest"), "GRO-5a": ("unhealed", "healed")}.items():
        assert claims.ordered(id_, **dict(zip(names, (low, high), strict=True))).verdict == "holds"
        assert claims.ordered(id_, **dict(zip(names, (high, low), strict=True))).verdict == "fails"
    gap = np.random.default_rng(0).normal(0.3, 0.1, (40, 1))
    assert claims.below("FOL-4", -gap, 0.0, gap.mean()).verdict == "holds"
    assert claims.below("FOL-4", gap, 0.0, -gap.mean()).verdict == "fails"


def test_a_run_of_the_command_ends_with_a_model_and_its_card(tmp_path, monkeypatch):
    """A few steps on a few files: tokenizer, training, weights, card, and the weights load."""
    files = [name for name in CARD["validation"] if docstrings.read([name])[0]][:30]
    monkeypatch.setattr(docstrings, "names", lambda: files)
    monkeypatch.setattr(deep_thin, "FOLDER", tmp_path / "deep-thin")
    monkeypatch.setattr(pretrained, "SHIPPED", tmp_path)
    words, rng = (
        ["the", "cat", "dog", "sat", "ran", "on", "mat", "a", "house", "and", "then", "it", "was", "big"],
        np.random.default_rng(0),
    )
    (tmp_path / "stories.txt").write_text("\n\n".join(" ".join(rng.choice(words, 60)) for _ in range(40)), encoding="utf-8")
    given = [
        "--name",
        "deep-thin-tiny",
        "--stories",
        str(tmp_path / "stories.txt"),
        "--layers",
        "3",
        "--width",
        "24",
        "--heads",
        "2",
    ]
    given += ["--inner", "32", "--vocabulary", "300", "--epochs", "0.3", "--threads", "1", "--scratch", str(tmp_path / "scratch")]
    deep_thin.main(given)
    card = json.loads((tmp_path / "deep-thin-tiny" / "card.json").read_text(encoding="utf-8"))
    model, tokenizer = pretrained.load("deep-thin-tiny")
    assert card["shape"]["parameters"] == language.n_parameters(model)
    assert (len(pruning.stack(model)), len(tokenizer), tokenizer.bos_token_id) == (3, 300, 0)
    assert set(card) == set(CARD)
    assert card["recipe"]["schedules"] == [[card["recipe"]["steps"]] * 2]
    assert card["command"].endswith(" ".join(given))
    assert not set(card["held out"]) & set(card["validation"])
    ids, mask = exams.windows(docstrings.read(card["held out"])[:2], tokenizer, 64)
    nats, counts = exams.losses(model, ids, mask)
    assert nats.sum() / counts.sum() < np.log(300)  # a few steps are better than a uniform guess
    for part in card["judged, nats per token"].values():
        assert np.isfinite(list(part.values())).all()
    with pytest.raises(OSError, match=r"must hold config\.json; no such file; train it as shipped/README\.md says"):
        pretrained.load("deep-thin-none")


def test_the_commands_make_what_they_say():
    """The card's command has the card's shape, and that of the bigger sister the size that the chapter on healing reckons with."""
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    found = [shlex.split(line)[4:] for line in re.findall("COLLAPSE_DATA=.*", readme)]
    assert CARD["command"] == re.search("COLLAPSE_DATA=.*", readme).group()
    shipped, sister = map(deep_thin.parsed, found)
    for options, parameters in ((shipped, CARD["shape"]["parameters"]), (sister, 20.3e6)):
        config = transformers.LlamaConfig(
            vocab_size=options.vocabulary, hidden_size=options.width, num_hidden_layers=options.layers, tie_word_embeddings=True,
            num_attention_heads=options.heads, intermediate_size=options.inner,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        assert abs(sum(weight.numel() for weight in model.parameters()) / parameters - 1) < 2e-3
    assert deep_thin.recipe(shipped) == deep_thin.RECIPE
    assert [list(pair) for pair in deep_thin.schedules(shipped, np.zeros(9))] == CARD["recipe"]["schedules"]
