"""The pruning chapters on a model folder that is used nowhere else: a random Qwen2 of another depth, at tiny settings."""

import json
import os

import numpy as np
import pytest
import torch
import transformers

from collapse_utils import claims
from collapse_utils.language import docstrings
from tests import support
from workflow import chapters

TINY = {
    "layer_similarity": {"n_scan": 30, "context": 48},
    "layer_pruning": {"n_scan": 30, "n_rows": 30, "n_greedy": 8, "context": 48},
    "layer_exams": {"n_scan": 30, "n_questions": 20, "context": 48},
    "healing": {
        "n_heal": 8,
        "n_questions": 20,
        "n_seeds": 2,
        "sixteenths": [2, 4, 8],
        "methods": ["lora", "full", "head"],
        "context": 48,
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random Qwen2 with 9 layers, biases, grouped keys and the shipped tokenizer."""
    path = tmp_path_factory.mktemp("qwen2")
    torch.manual_seed(1)
    config = transformers.Qwen2Config(
        vocab_size=2048, hidden_size=32, num_hidden_layers=9, num_attention_heads=4, num_key_value_heads=2, intermediate_size=64,
        max_position_embeddings=128, bos_token_id=0, eos_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(chapters.ROOT / "shipped" / "deep-thin").save_pretrained(path)
    return path


@pytest.mark.parametrize("chapter", TINY)
def test_a_chapter_runs_on_another_model(chapter, folder, monkeypatch):
    monkeypatch.delenv("COLLAPSE_DATA", raising=False)
    found = verdicts(chapter, {"model_id": str(folder)} | TINY[chapter])
    assert len(found) == {"layer_similarity": 7, "layer_pruning": 9, "layer_exams": 8, "healing": 8}[chapter]


LARGER = [(f"layer_{name}", "gpu", judged) for name, judged in {"similarity": 7, "pruning": 9, "exams": 8}.items()]
LARGER += [("healing", "gpu", 8), ("healing", "paper", 7)]


@pytest.mark.parametrize(
    ("chapter", "scale", "judged"),
    [pytest.param(*row, marks=() if row[0] == "layer_exams" else pytest.mark.slow) for row in LARGER],
)
def test_a_scale_for_a_gpu_runs_tiny_on_the_cpu(chapter, scale, judged, folder, tmp_path):
    """Its own parameters, but for the model, the text, the device, and what only costs time; the official exams where they are."""
    card = json.loads((chapters.ROOT / "shipped/deep-thin/card.json").read_text(encoding="utf-8"))
    for i, document in enumerate(docstrings.read(card["held out"][:60])):
        (tmp_path / f"{i}.txt").write_text(document, encoding="utf-8")
    wanted = chapters.plan(chapter, scale).overrides
    changed = {"model_id": str(folder), "corpus": str(tmp_path), "device": "cpu"} | TINY[chapter]
    changed = {name: value for name, value in changed.items() if name != "methods"}
    if "n_pairs" in wanted:
        changed["n_pairs"] = 1 if os.environ.get("COLLAPSE_DATA") else 0
    assert set(wanted) - set(changed) <= {"methods", "rank", "rate"}
    assert len(verdicts(chapter, wanted | changed)) == judged


def verdicts(chapter, parameters):
    """Execute a chapter on the random model and return its verdicts."""
    shown = support.executed(chapter, parameters)
    assert "9 layers" in "".join(map(str, shown.values()))
    found = support.carried(shown, claims.MIME)
    assert all(np.isfinite(v["evidence"].get("mean", 0)).all() for v in found)
    return found
