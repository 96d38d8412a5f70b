"""Layers dropped: eight architectures from tiny random configurations, distances, traps, reload, generation."""

import re
import socket

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from collapse_utils.pruning import distances, layers as pruning, pretrained
from tests.pruning import architectures
from tests.pruning.decoders import CONFIGS, LAYERS, VOCABULARY, WIDTH, build


@pytest.fixture(params=CONFIGS)
def model(request):
    """Each architecture in turn."""
    return build(request.param)


@pytest.fixture
def rows(seed):
    """Ids (7, 12) and a mask with padding on the right."""
    ids = np.random.default_rng(seed).integers(1, VOCABULARY, (7, 12))
    mask = np.arange(12) < np.array([12, 5, 1, 12, 9, 7, 12])[:, None]
    return ids, mask


def hidden(model, ids):
    """All states of the library, the last one after the final norm."""
    with torch.inference_mode():
        return model(input_ids=torch.as_tensor(ids), output_hidden_states=True).hidden_states


def angle(x, y):
    """The angle over π of two vectors in float64."""
    x, y = x.double().numpy(), y.double().numpy()
    return np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1)) / np.pi


def test_distances_are_those_of_the_last_tokens_that_count(model, rows):
    """Row by row without padding, from the library's states; embedding included; the last state differs (trap T5)."""
    ids, mask = rows
    found = distances.distances(model, ids, mask, batch=3)
    normed = distances.distances(model, ids, mask, batch=3, normed=True)
    every = np.zeros((LAYERS + 1, LAYERS + 1, len(ids)))
    for i, length in enumerate(mask.sum(1)):
        states = [x[0, -1] for x in hidden(model, ids[i : i + 1, :length])]
        every[..., i] = [[angle(x, y) for y in states] for x in states]
    assert np.allclose(normed.mean, every.mean(-1), atol=1e-5)
    assert np.allclose(normed.se, every.std(-1, ddof=1) / np.sqrt(len(ids)), atol=1e-5)
    assert np.allclose(found.mean[:-1, :-1], every.mean(-1)[:-1, :-1], atol=1e-5)
    assert found.n == len(ids)
    if not isinstance(model, transformers.GPT2LMHeadModel | transformers.GPTNeoXForCausalLM | transformers.PhiForCausalLM):
        with torch.no_grad():  # a norm with unequal gains turns the last state, and with it only what touches it
            model.base_model.norm.weight.copy_(torch.linspace(-2, 3, WIDTH))
    assert np.allclose(distances.distances(model, ids, mask).mean, found.mean, atol=1e-6)
    assert np.abs(distances.distances(model, ids, mask, normed=True).mean - found.mean)[:-1, -1].max() > 1e-3


def test_the_raw_last_state_is_what_the_last_layer_writes(model, rows):
    ids, _ = rows
    seen = []
    handle = pruning.stack(model)[-1].register_forward_hook(
        lambda module, args, output: seen.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.inference_mode(), distances.states(model) as found:
        model(input_ids=torch.as_tensor(ids))
    handle.remove()
    assert len(found) == LAYERS + 1
    assert torch.equal(found[-1], seen[0])
    assert torch.allclose(found[0], hidden(model, ids)[0])


def test_a_short_last_batch_counts(rows):
    """A peer drops it without a word: 7 rows in batches of 3 must be 7 samples."""
    model, (ids, mask) = build("llama"), rows
    one, many = distances.distances(model, ids, mask, batch=7), distances.distances(model, ids, mask, batch=3)
    assert one.n == many.n == 7
    assert np.allclose(one.mean, many.mean, atol=1e-6)
    assert not np.allclose(one.mean, distances.distances(model, ids[:6], mask[:6]).mean, atol=1e-6)


def test_left_padding_changes_nothing(rows):
    model, (ids, mask) = build("llama"), rows
    left, there = np.zeros_like(ids), np.zeros_like(mask)
    for i, length in enumerate(mask.sum(1)):
        left[i, 12 - length :], there[i, 12 - length :] = ids[i, :length], True
    one, two = (distances.distances(model, *pair).mean for pair in ((ids, mask), (left, there)))
    assert np.allclose(one, two, atol=1e-5)


def test_all_tokens_are_averaged_within_rows(rows):
    model, (ids, mask) = build("gpt2"), rows
    found = distances.distances(model, ids, mask, distances.influence, every=True, batch=2)
    direct = []
    for i, length in enumerate(mask.sum(1)):
        states = [x[0] for x in hidden(model, ids[i : i + 1, :length])]
        direct.append([1 - torch.cosine_similarity(states[k], states[k + 1], dim=-1).mean().item() for k in range(LAYERS - 1)])
    assert np.allclose(found.row(1)[:-1], np.mean(direct, axis=0), atol=1e-5)
    assert np.allclose(found.se.diagonal(1)[:-1], np.std(direct, axis=0, ddof=1) / np.sqrt(len(ids)), atol=1e-5)


def test_all_kinds_of_distance_come_from_one_pass(rows):
    """Each as if asked for alone, padding included, and the model is run once a batch; their mean over groups of rows."""
    model, (ids, mask) = build("llama"), rows
    kinds = [distances.Kind(), distances.Kind(normed=True), distances.Kind(distances.influence, every=True)]
    passes = []
    handle = pruning.stack(model)[0].register_forward_hook(lambda *_: passes.append(1))
    found = distances.scan(model, ids, mask, kinds, batch=3)
    handle.remove()
    assert len(passes) == 3
    for kind, together in zip(kinds, found, strict=True):
        alone = distances.distances(model, ids, mask, kind.metric, kind.every, kind.normed)
        assert np.allclose(together.mean, alone.mean, atol=1e-5)
        assert np.allclose(together.se, alone.se, atol=1e-5)
    halves = [distances.distances(model, ids[k : k + 3], mask[k : k + 3]) for k in (0, 3)]
    assert np.allclose(distances.mean(halves).mean, distances.distances(model, ids[:6], mask[:6]).mean, atol=1e-6)
    assert distances.mean(halves).n == 6


def test_where_blocks_are_alike_is_read_off_the_diagonals():
    matrix = np.zeros((7, 7))
    for n, row in {1: [3, 1, 4, 1, 5, 9], 2: [2, 6, 1, 8, 7], 3: [2, 1, 3, 4]}.items():
        matrix += np.diag(np.array(row, float), n)
    assert distances.starts(matrix, [1, 2, 3]).tolist() == [1, 2, 1]
    assert distances.last_far(matrix, [1, 2, 3]) == 2 / 3  # 7 is below the 90 % quantile of its row, 7.6


def test_metrics_know_their_limits(seed):
    """Angles: scaling nothing, opposite 1, independent ones ½; the influence of nothing is 0."""
    torch.manual_seed(seed)
    x = torch.randn(1, 50, 400)
    pair = distances.angular(torch.cat([x, 3 * x, -x, torch.randn(1, 50, 400)]))
    assert torch.allclose(pair[0, 1], torch.zeros(50).double(), atol=1e-6)
    assert torch.allclose(pair[0, 2], torch.ones(50).double(), atol=1e-6)
    assert (pair[0, 3] - 0.5).abs().max() < 6 / np.pi / np.sqrt(400)
    assert torch.allclose(distances.influence(x.repeat(2, 1, 1))[0, 1], torch.zeros(50).double(), atol=1e-9)


def test_row_n_is_about_blocks_of_n_layers(rows):
    """A peer reads the row of the next larger block: here row(n)[l] is entry [l, l + n], and l = 0 takes part."""
    mean = np.arange(49.0).reshape(7, 7)
    mean[0, 2], mean[4, 5] = -5, -9
    found = distances.Distances(mean, mean, 1)
    assert [len(found.row(n)) for n in range(1, 7)] == [6, 5, 4, 3, 2, 1]
    assert found.row(2)[3] == mean[3, 5]
    assert (found.start(2), found.start(1)) == (0, 4)
    assert pruning.kept("similar", 6, 2, found) == (2, 3, 4, 5)
    assert pruning.kept("similar", 6, 1, found) == (0, 1, 2, 3, 5)
    for n in (0, 7):
        with pytest.raises(ValueError, match="between 1 and 6"):
            found.row(n)


def test_states_that_are_no_numbers_are_refused(rows):
    """A peer puts ½ in the place of NaN."""
    model = build("qwen2")
    with torch.no_grad():
        pruning.stack(model)[2].mlp.down_proj.weight[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"x\^\(3\) is not"):
        distances.distances(model, *rows)
    with pytest.raises(ValueError, match="a token that counts"):
        distances.distances(model, rows[0], np.zeros_like(rows[1]))


def test_strategies_keep_what_they_say(seed):
    rng = np.random.default_rng(seed)
    assert pruning.kept("deepest", 6, 2) == (0, 1, 2, 5)  # 3 and 4 go, the last stays: trap T1
    assert pruning.kept("first", 6, 2) == (2, 3, 4, 5)
    for n in range(6):
        gone = sorted(set(range(6)) - set(pruning.kept("random", 6, n, rng=rng)))
        assert gone == list(range(gone[0], gone[0] + n)) if n else gone == []
    found = distances.Distances(np.diag([3.0, 1, 4, 1, 5, 2], 1), np.zeros((7, 7)), 1)
    assert pruning.kept("separate", 6, 3, found) == (0, 2, 4)
    starts = {pruning.kept("random", 6, 2, rng=rng)[:1] for _ in range(200)}
    assert starts == {(0,), (2,)}  # a block at the very start is drawn, too
    with pytest.raises(ValueError, match="one of similar, deepest"):
        pruning.kept("best", 6, 2)
    with pytest.raises(ValueError, match="between 0 and 5"):
        pruning.kept("deepest", 6, 6)


def test_greedy_takes_the_least_loss_at_each_step():
    """With a loss that adds up, greedy is right; ends stay, and so do the losses it was shown."""
    cost = [0.1, 5, 1, 4, 2, 0.1]
    path = pruning.greedy(lambda some: [sum(cost[k] for k in set(range(6)) - set(kept)) for kept in some], 6, 4)
    assert path == [(0, 1, 2, 3, 4, 5), (0, 1, 3, 4, 5), (0, 1, 3, 5), (0, 1, 5), (0, 5)]
    with pytest.raises(ValueError, match="between 0 and 4"):
        pruning.greedy(len, 6, 5)


def test_dropping_nothing_changes_nothing_and_weights_are_shared(model, rows):
    ids = torch.as_tensor(rows[0])
    same = pruning.prune(model, range(LAYERS))
    with torch.inference_mode():
        assert torch.equal(model(input_ids=ids).logits, same(input_ids=ids).logits)
    pruned = pruning.prune(model, (0, 1, 4, 5))
    mine = {id(weight) for weight in model.parameters()}
    assert all(id(weight) in mine for weight in pruned.parameters())
    assert len(pruning.stack(model)) == model.config.num_hidden_layers == LAYERS


def test_a_pruned_model_is_the_composition_of_the_layers_kept(model, rows):
    """A second way: the full model with a layer's output replaced by its input."""
    ids, gone = torch.as_tensor(rows[0]), (2, 3)
    handles = [
        pruning.stack(model)[k].register_forward_hook(
            lambda module, args, kwargs, output: (
                (args[0] if args else kwargs["hidden_states"], *output[1:])
                if isinstance(output, tuple)
                else (args[0] if args else kwargs["hidden_states"])
            ),
            with_kwargs=True,
        )
        for k in gone
    ]
    with torch.inference_mode():
        skipped = model(input_ids=ids, use_cache=False).logits
        full_depth = len(pruning.stack(model))
    for handle in handles:
        handle.remove()
    pruned = pruning.prune(model, pruning.without(full_depth, gone))
    with torch.inference_mode():
        assert torch.allclose(pruned(input_ids=ids, use_cache=False).logits, skipped, atol=1e-5)


def test_a_pruned_model_survives_saving_and_generates_the_same_with_and_without_a_cache(model, rows, tmp_path):
    pruned = pruning.prune(model, (0, 2, 5))
    pruned.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, use_safetensors=True).eval()
    ids = torch.as_tensor(rows[0])
    assert again.config.num_hidden_layers == len(pruning.stack(again)) == 3
    with torch.inference_mode():
        assert torch.allclose(again(input_ids=ids).logits, pruned(input_ids=ids).logits, atol=1e-5)
    for candidate in (pruned, again):
        settings = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        cached = candidate.generate(ids[:2], attention_mask=torch.ones_like(ids[:2]), use_cache=True, **settings)
        plain = candidate.generate(ids[:2], attention_mask=torch.ones_like(ids[:2]), use_cache=False, **settings)
        assert torch.equal(cached, plain)
    assert [module.layer_idx for layer in pruning.stack(pruned) for module in layer.modules() if hasattr(module, "layer_idx")]
    indices = [{m.layer_idx for m in layer.modules() if hasattr(m, "layer_idx")} for layer in pruning.stack(pruned)]
    assert indices == [{0}, {1}, {2}]  # a peer begins with 1


def test_a_fingerprint_is_that_of_the_weights():
    assert pretrained.sha256(build("llama")) == pretrained.sha256(build("llama"))
    assert pretrained.sha256(build("llama")) != pretrained.sha256(build("llama", seed=1))


def test_windows_stay_with_their_layers():
    """Qwen2 with sliding windows from layer 3 on: layer types are cut with the layers."""
    pruned = pruning.prune(build("qwen2"), (0, 3, 4))
    assert pruned.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]


SETTINGS = {  # layer-indexed settings of every sort; what is cut from them
    "qwen2_moe": {"decoder_sparse_step": 2},
    "qwen3_moe": {"mlp_only_layers": [1, 2, 4]},
    "llama4_text": {"no_rope_layers": [1, 0, 1, 1, 0, 1], "moe_layers": [1, 4], "attention_chunk_size": 4},
    "deepseek_v3": {"first_k_dense_replace": 2},
    "gpt_neo": {},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 3},
    "bart": {},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_by_layer_are_cut_with_their_layers(kind, rows):
    model, ids = architectures.build(kind, **SETTINGS[kind]), torch.as_tensor(rows[0])
    for kept in ((0, 1, 4, 5), (2, 3, 5), (1, 4)):
        assert architectures.cut(model, kept, ids, works=True) == "equal"


def test_what_a_configuration_cannot_say_is_refused_before_any_work(tmp_path, monkeypatch):
    """GPT-2 whose layers divide by their number: without a layer in the middle the others would divide by another one."""
    model = architectures.build("gpt2", scale_attn_by_inverse_layer_idx=True)
    monkeypatch.setattr(pruning, "keep", lambda *_: pytest.fail("work was begun"))
    with pytest.raises(
        ValueError, match=r"GPT2LMHeadModel must be able to describe the layers kept, \[0, 2\]; .* take another model\."
    ):
        pruning.prune(model, (0, 2))
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="must be able to describe the layers kept"):
        pretrained.load(str(tmp_path))
    monkeypatch.undo()
    assert len(pruning.stack(pruning.prune(model, (0, 1, 2, 3)))) == 4  # the last ones can go


def test_silenced_parts_add_nothing(model, rows):
    """Both parts of a layer silenced: the layer is gone. One alone: it is not."""
    ids = torch.as_tensor(rows[0])
    pruned = pruning.prune(model, (0, 1, 2, 4, 5))
    with torch.inference_mode():
        wanted, full = pruned(input_ids=ids).logits, model(input_ids=ids, use_cache=False).logits
        with pruning.silenced(model, "attention", [3]):
            half = model(input_ids=ids, use_cache=False).logits
            with pruning.silenced(model, "feed_forward", [3]):
                assert torch.allclose(model(input_ids=ids, use_cache=False).logits, wanted, atol=1e-4)
        assert (half - full).abs().max() > 1e-3
        assert torch.equal(model(input_ids=ids, use_cache=False).logits, full)


def test_parts_that_do_nothing_go_first(rows):
    model = build("qwen3")
    with torch.no_grad():
        pruning.stack(model)[3].mlp.down_proj.weight.zero_()
        pruning.stack(model)[1].self_attn.o_proj.weight.mul_(1e-4)
    assert pruning.turning(model, rows[0], "feed_forward")[0] == 3
    order = pruning.turning(model, rows[0], "attention")
    assert order[0] == 1
    assert sorted(order) == list(range(LAYERS))


def test_merging_as_released_keeps_the_top_layer(rows):
    model = build("llama")
    layers = pruning.stack(model)
    top, summed = (pruning.stack(pruning.merge(model, 1, 3, how))[1] for how in ("telescoped", "sum"))
    for name, weight in top.named_parameters():
        mats = [layers[1 + k].get_parameter(name) for k in range(4)]
        if weight.dim() >= 2:
            assert torch.allclose(weight, mats[3], atol=1e-6)
            assert torch.allclose(summed.get_parameter(name), mats[1] + mats[2] + mats[3] - 2 * mats[0], atol=1e-6)
        else:
            assert torch.equal(weight, mats[0])
    assert pruning.gap(top, layers[4]) < 1e-6
    matrices = [name for name, weight in top.named_parameters() if weight.dim() > 1]
    furthest = max((summed.get_parameter(name) - layers[4].get_parameter(name)).abs().max() for name in matrices)
    assert pruning.gap(summed, layers[4]) == furthest > 0.1
    assert len(pruning.stack(pruning.merge(model, 1, 3, "sum"))) == len(layers) - 3
    with pytest.raises(ValueError, match="sum or telescoped"):
        pruning.merge(model, 4, 2, "sum")


def test_mistakes_have_one_sentence(tmp_path):
    model = build("llama")
    with pytest.raises(ValueError, match="must be different ones of 0 … 5; got"):
        pruning.prune(model, (0, 6))
    with pytest.raises(ValueError, match="leave one"):
        pruning.without(3, range(3))
    lone = torch.nn.Linear(2, 2)
    lone.config = transformers.GPT2Config()
    with pytest.raises(ValueError, match="must have a stack of decoder layers; got Linear"):
        pruning.stack(lone)
    with pytest.raises(OSError, match=r"must hold config\.json"):
        pretrained.load(str(tmp_path))
    CONFIGS["llama"]().save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"must hold \*\.safetensors"):
        pretrained.load(str(tmp_path))


def test_a_damaged_folder_is_named(tmp_path):
    """Weights cut short, a tokenizer that is none, an architecture that transformers does not know."""
    build("llama").save_pretrained(tmp_path)
    weights, tokenizer, config = (tmp_path / name for name in ("model.safetensors", "tokenizer.json", "config.json"))
    whole = weights.read_bytes()
    tokenizer.write_text("{}", encoding="utf-8")
    with pytest.raises(
        ValueError, match=f"the tokenizer of {re.escape(str(tmp_path))} must be one that transformers reads; got:"
    ):
        pretrained.load(str(tmp_path))
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))} must be a causal language model .* got: "):
        pretrained.load(str(tmp_path))
    weights.write_bytes(whole)
    config.write_text(config.read_text(encoding="utf-8").replace('"llama"', '"nollama"'), encoding="utf-8")
    with pytest.raises(ValueError, match="must be a causal language model that transformers knows; got: .*nollama"):
        pretrained.load(str(tmp_path))


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        waits, connect, download = [], socket.create_connection, huggingface_hub.snapshot_download
        given = {"connect": lambda at, timeout=None, **more: waits.append(timeout) or connect(at, timeout, **more)}
        given["download"] = lambda *at, **more: waits.append(more.get("etag_timeout")) or download(*at, **more)
        monkeypatch.setattr(socket, "create_connection", given["connect"])
        monkeypatch.setattr(huggingface_hub, "snapshot_download", given["download"])
        with pytest.raises(OSError, match="the hub cannot deliver it .* name a local folder"):
            pretrained.load("nobody/nothing")
    assert waits[:3] == [None, 5, 5]  # from the cache alone; is it there; the files, whose server is silent


def test_a_hub_out_of_reach_is_said_so_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(OSError, match="'nobody/nothing' is no local folder and the hub cannot deliver it .* name a local folder"):
        pretrained.load("nobody/nothing")
