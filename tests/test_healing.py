"""Healing: what each method may touch, that it heals, and that nobody else's weights change."""

import numpy as np
import pytest
import torch
from test_pruning import CONFIGS, VOCABULARY, build

from collapse_utils import exams, healing, pruning
from collapse_utils.training import Recipe

RECIPE = Recipe(rate=1e-2, epochs=4, batch=8, decay=0.0)


def text(rng, n=48):
    """Rows that count upwards from a random start: learnable in seconds."""
    ids = (rng.integers(0, VOCABULARY, (n, 1)) + np.arange(10)) % VOCABULARY
    mask = np.ones_like(ids, bool)
    mask[::5, 7:] = False
    return ids, mask


def mean(model, rows):
    nats, counts = exams.losses(model, *rows)
    return nats.sum() / counts.sum()


@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_sit_on_the_feed_forward_matrices_of_every_architecture(name):
    found = healing.adapted(build(name), 2)
    tuned = [key for key, weight in found.named_parameters() if weight.requires_grad]
    assert tuned
    assert all("lora" in key for key in tuned)
    assert all(any(target in key for target in healing.FEED_FORWARD[found.config.model_type]) for key in tuned)
    assert not any("attn" in key or "attention" in key for key in tuned)


@pytest.mark.parametrize("method", ["lora", "head", "full"])
def test_healing_lowers_the_loss_and_leaves_the_given_model(method, seed):
    model, rows = build("llama"), text(np.random.default_rng(seed))
    pruned = pruning.prune(model, (0, 1, 5))
    before = [weight.clone() for weight in model.parameters()]
    healed = healing.heal(pruned, *rows, method, RECIPE, seed=seed)
    assert mean(healed, rows) < mean(pruned, rows) - 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert type(healed) is type(model)
    again = healing.heal(pruned, *rows, method, RECIPE, seed=seed)
    assert mean(again, rows) == mean(healed, rows)
    moved = {
        key
        for (key, a), (_, b) in zip(healed.named_parameters(), pruned.named_parameters(), strict=True)
        if not torch.equal(a, b)
    }
    if method == "lora":
        assert moved == {key for key, _ in pruned.named_parameters() if "mlp" in key and "proj" in key}
    if method == "head":
        assert not any("embed" in key for key in moved - {"model.embed_tokens.weight"})
    if method == "full":
        assert moved == {key for key, _ in pruned.named_parameters()}


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_four_bits_are_healed_by_adapters_alone(name, seed):
    import bitsandbytes

    model, rows = build(name), text(np.random.default_rng(seed))
    pruned = pruning.prune(model, (0, 1, 2, 5))
    healed = healing.heal(pruned, *rows, "qlora", RECIPE, seed=seed)
    assert any(isinstance(module, bitsandbytes.nn.Linear4bit) for module in healed.modules())
    assert {key.split(".")[-3] for key, weight in healed.named_parameters() if weight.requires_grad} == {
        "lora_A",
        "lora_B",
    } or all("lora" in key for key, weight in healed.named_parameters() if weight.requires_grad)
    assert mean(healed, rows) < mean(healing.quantised(pruned), rows) - 0.05


def test_mistakes_have_one_sentence(seed):
    model, rows = build("llama"), text(np.random.default_rng(seed))
    with pytest.raises(ValueError, match="method must be one of lora, qlora, head, full; got 'sft'"):
        healing.heal(model, *rows, "sft", RECIPE)
    model.config.model_type = "mamba"
    with pytest.raises(ValueError, match="'mamba' is not among llama"):
        healing.heal(model, *rows, "lora", RECIPE)
