"""Cuts that share what lies below them, against each cut model by itself."""

import numpy as np
import pytest
import torch

from collapse_utils.pruning import evaluation as exams, layers as pruning
from collapse_utils.pruning.decoders import stack
from collapse_utils.pruning.forks import fork, lacking
from tests.pruning import architectures
from tests.pruning.decoders import CONFIGS, LAYERS, VOCABULARY, build

KEPT = [(0, 1, 4, 5), (2, 3, 4, 5), (0, 1, 2, 3, 4, 5), (0, 3, 5), (0, 1, 4, 5), (5,)]


@pytest.mark.parametrize("name", CONFIGS)
def test_forked_losses_are_those_of_each_cut_model(name, seed):
    """Doubles, nothing gone, padding, batches of unequal size: as one pruned model after another."""
    model, ids = build(name), np.random.default_rng(seed).integers(1, VOCABULARY, (7, 12))
    mask = np.arange(12) < np.array([12, 5, 2, 12, 9, 7, 12])[:, None]
    found = exams.cut_losses(model, [lacking(LAYERS, kept) for kept in KEPT], ids, mask, batch=3)
    wanted = [exams.losses(pruning.prune(model, kept), ids, mask)[0] for kept in KEPT]
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-4)
    part, gone = {1: "attention", 4: "feed_forward"}, {2: "layer"}
    both = exams.cut_losses(model, [part | gone, part], ids, mask)
    with pruning.silenced(model, "attention", [1]), pruning.silenced(model, "feed_forward", [4]):
        assert np.allclose(both[1], exams.losses(model, ids, mask)[0], atol=1e-4)
        assert np.allclose(both[0], exams.cut_losses(model, [gone], ids, mask)[0], atol=1e-4)
    assert not np.allclose(both[0], both[1], atol=1e-2)


@pytest.mark.parametrize("kind", ["bloom", "lfm2", "mamba", "qwen3_moe"])
def test_other_layers_fork_alike(kind):
    model, ids = architectures.build(kind), torch.arange(24).view(2, 12)
    found = fork(model, [lacking(LAYERS, kept) for kept in KEPT[:2]], lambda: architectures.logits(model, ids))
    for kept, logits in zip(KEPT, found, strict=False):
        assert architectures.close(logits, architectures.logits(pruning.prune(model, kept), ids))


def test_layers_below_a_cut_run_once():
    """Of six layers: the whole, then what lies above each single cut: 6 + 5 + 4 + 3 + 2 + 1; and the model is left as it was."""
    model, ran = build("llama"), []
    before = [dict(vars(layer)) for layer in stack(model)]
    handles = [layer.mlp.register_forward_hook(lambda *_: ran.append(1)) for layer in stack(model)]
    ids = np.ones((1, 5), int)
    exams.cut_losses(model, [{}, *({i: "layer"} for i in range(LAYERS)), {3: "layer"}], ids, ids > 0)
    for handle in handles:
        handle.remove()
    assert len(ran) == 21
    assert [dict(vars(layer)) for layer in stack(model)] == before
    with pytest.raises(RuntimeError, match="stopped"):
        fork(model, [{}], lambda: (_ for _ in ()).throw(RuntimeError("stopped")))
    assert all("forward" not in vars(layer) for layer in stack(model))
    with pytest.raises(ValueError, match=r"layer of 0 … 5: layer, attention or feed_forward.; got \{6"):
        fork(model, [{6: "layer"}], list)


def test_a_fall_of_its_own_law_has_its_width_and_a_straight_one_is_wide(seed):
    """Answers right at the rates of a logistic curve of width 0.04; the line's width does not depend on the draws."""
    rng, fractions = np.random.default_rng(seed), np.linspace(0, 1, 12)
    rate = exams.logistic(fractions, 0.4, 0.04, 0.9, 0.25)
    found = exams.fall(rng.random((12, 4000)) < rate[:, None], fractions, 0.25, rng, 50)
    assert abs(found.fc - 0.4) < 0.02
    assert abs(found.width.mean[0] - 0.04) < 5 * found.width.se[0] < 0.05
    assert found.straight > 0.15
