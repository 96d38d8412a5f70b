"""The shipped decoder: what it promises, loaded as the chapters load it; verdicts with the arms swapped."""

import json
import time

import numpy as np
import pytest

from collapse_utils import claims, docstrings, exams, pruning

FOLDER = pruning.SHIPPED / "deep-thin"
CARD = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped():
    return pruning.load("deep-thin")


def test_it_is_small_safe_and_quick_to_load(shipped):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 12e6
    assert not [file for file in FOLDER.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    started = time.thread_time()
    model, _ = pruning.load("deep-thin")
    assert time.thread_time() - started < 1
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
