"""Healing: what each method may touch, that it heals, and that nobody else's weights change."""

import copy
import shutil

import numpy as np
import pytest
import torch
import transformers

from collapse_utils.pruning import evaluation as exams, healing, layers as pruning, pretrained
from collapse_utils.training import Recipe, train
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


def test_adapters_are_those_of_peft(seed):
    """Without dropout and from the same first values: the same losses of a training, the same matrices once merged."""
    import peft

    rows = text(np.random.default_rng(seed))
    for name in ("llama", "phi", "gpt2"):
        torch.manual_seed(seed)
        mine, theirs = healing.adapted(build(name), 2), build(name)
        targets = list(healing.FEED_FORWARD[theirs.config.model_type])
        settings = peft.LoraConfig(r=2, lora_alpha=2, lora_dropout=0.0, target_modules=targets, fan_in_fan_out=name == "gpt2")
        theirs = peft.get_peft_model(theirs, settings)
        for path, module in mine.named_modules():
            if isinstance(module, healing.Adapter):
                theirs.get_submodule(f"base_model.model.{path}").lora_A.default.weight.data.copy_(module.lora_A.data)
        both = []
        for network in (mine, theirs):
            network.eval()
            network.train = lambda mode=True: None  # without dropout
            steps = [np.arange(len(rows[0]))] * 5
            both.append(train(network, lambda m, k, step: healing.predicted(m, rows[0][k], rows[1][k]), steps, RECIPE))
        assert both[0][-1] < both[0][0]
        np.testing.assert_allclose(*both, rtol=1e-5)
        assert mean(healing.merged(mine), rows) == pytest.approx(mean(theirs.merge_and_unload(), rows), rel=1e-5)


def test_an_adapter_drops_a_twentieth_and_sends_back_what_it_let_through(seed):
    """Against autograd of the same formula, with the mask read off an adapter that copies its input."""
    torch.manual_seed(seed)
    adapter = healing.Adapter(torch.nn.Linear(64, 48, bias=False), 3)
    torch.nn.init.normal_(adapter.lora_B)
    copier = healing.Adapter(torch.nn.Linear(64, 64, bias=False), 64)
    copier.base.weight.data.zero_()
    copier.lora_A.data, copier.lora_B.data = torch.eye(64), torch.eye(64)
    x = torch.randn(40, 50, 64, requires_grad=True)
    torch.manual_seed(seed)
    kept = copier(torch.ones_like(x)).detach()
    shares = torch.as_tensor([(kept == 0).double().mean(), kept.double().mean()])
    spread = (0.05 * 0.95 / kept.numel()) ** 0.5
    assert torch.allclose(shares, torch.tensor([0.05, 1.0], dtype=torch.double), atol=5 * spread)
    torch.manual_seed(seed)
    found, pull = adapter(x), torch.randn(40, 50, 48)
    wanted = adapter.base(x) + (x * kept) @ adapter.lora_A.T @ adapter.lora_B
    assert torch.allclose(found, wanted, atol=1e-4)
    asked = (x, adapter.lora_A, adapter.lora_B)
    for a, b in zip(*(torch.autograd.grad((y * pull).sum(), asked) for y in (found, wanted)), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):  # as on a card
        found = adapter(x)
    assert found.dtype == torch.bfloat16
    assert torch.autograd.grad(found.float().sum(), adapter.lora_A)[0].dtype == torch.float32


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
