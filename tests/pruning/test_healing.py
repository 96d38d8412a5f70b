"""Healing: what each method may touch, that it heals, and that nobody else's weights change."""

import copy
import shutil

import numpy as np
import pytest
import torch
import transformers

from collapse_utils.pruning import evaluation as exams, healing, layers as pruning, pretrained
from collapse_utils.training import Recipe
from tests.pruning.decoders import CONFIGS, VOCABULARY, build

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


def test_dropout_drops_a_twentieth_in_training_alone(seed):
    torch.manual_seed(seed)
    dropout, x = healing.Dropout(), torch.ones(99, 51, 3, requires_grad=True)
    found = dropout(x)
    share, kept = (found == 0).double().mean().item(), 1 / (1 - 3277 / 65536)
    assert abs(share - 0.05) < 5 * (0.05 * 0.95 / x.numel()) ** 0.5
    assert torch.allclose(found[found > 0], torch.tensor(kept))
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], found)
    assert not torch.equal(dropout(x), found)
    assert dropout.eval()(x) is x
    assert sum(isinstance(part, healing.Dropout) for part in healing.adapted(build("llama"), 2).modules()) > 0
    assert not any(isinstance(part, torch.nn.Dropout) and part.p for part in healing.adapted(build("llama"), 2).modules())


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


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize("width", [32, 128])
def test_four_bits_give_the_same_numbers_whatever_the_processor_has(extension, width, seed, monkeypatch, tmp_path):
    """AVX512_BF16 reported present and absent: weights stay as stored through evaluation, copies, cuts, a save, a merge."""
    import bitsandbytes

    def layers(model):
        return [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]

    def checked(model):
        found = mean(model.eval(), rows)
        assert layers(model)
        assert not any(layer.support_avx512bf16_for_cpu for layer in layers(model))
        assert not any(getattr(layer.weight.quant_state, "packing_format_for_cpu", False) for layer in layers(model))
        return found

    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: extension)
    torch.manual_seed(seed)
    config = CONFIGS["llama"]().to_dict() | {"hidden_size": width, "intermediate_size": 3 * width // 2}
    model, rows = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval(), text(np.random.default_rng(seed))
    four = healing.quantised(model)
    assert checked(copy.deepcopy(four)) == checked(pruning.prune(four, range(6))) == checked(four)
    plain = copy.deepcopy(model)  # a second way: the same rounded weights in ordinary layers, in float32
    for name, module in four.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            whole = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain.get_submodule(name).weight.data = whole.float()
    assert mean(four, rows) == pytest.approx(mean(plain, rows), rel=1e-6)
    four.save_pretrained(tmp_path)
    for path in (pretrained.SHIPPED / "deep-thin").glob("tokenizer*"):
        shutil.copy(path, tmp_path)
    assert checked(pretrained.load(str(tmp_path))[0]) == mean(four, rows)
    healed = healing.heal(model, *rows, "qlora", RECIPE, seed=seed)
    assert checked(healed) < mean(four, rows)


def test_mistakes_have_one_sentence(seed):
    model, rows = build("llama"), text(np.random.default_rng(seed))
    with pytest.raises(ValueError, match="method must be one of lora, qlora, head, full; got 'sft'"):
        healing.heal(model, *rows, "sft", RECIPE)
    model.config.model_type = "mamba"
    with pytest.raises(ValueError, match="'mamba' is not among llama"):
        healing.heal(model, *rows, "lora", RECIPE)
