"""Every causal language model of `transformers`, tiny: cut, generated, saved, loaded, compared. As a script it writes the table."""

import csv
import logging
import re
import sys
import tempfile
import warnings

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from collapse_utils.pruning import layers as pruning
from workflow import chapters

TABLE = chapters.ROOT / "book" / "architectures.csv"
KINDS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
LAYERS, VOCABULARY = 6, 64
CUTS = {"2 and 3": (0, 1, 4, 5), "0 and 1": (2, 3, 4, 5), "1, 2 and 4": (0, 3, 5)}  # dropped: kept
COLUMNS = ("model", "class", *CUTS, "whole", "remark")
SIZES = [  # by name: whatever makes a model big becomes small
    (r"vocab_size$|^n_vocab$|vocab_size_per|^vocabulary", VOCABULARY),
    (r"^(num_hidden_layers|n_layers?|num_layers|encoder_layers|decoder_layers|num_decoder_layers|num_encoder_layers)$", LAYERS),
    (r"(attention_heads|n_heads?|num_heads)$", 4),
    (r"(key_value_heads|kv_heads|num_head_kv|n_head_kv|multi_query_group_num|num_query_groups)$", 2),
    (r"^((swa_|global_)?head_dim|kv_channels|attention_head_size|d_kv|d_head|head_size|(swa_)?v_head_dim)$", 8),
    (r"^(qk_rope_head_dim|qk_nope_head_dim|mamba_d_head|linear_.*head_dim|rotary_dim)$", 8),
    (
        r"^(hidden_size|d_model|n_embd|dim|model_dim|embed_dim|n_embed|embedding_size|word_embed_proj_dim|lru_width|hidden_dim)$",
        32,
    ),
    (r"(intermediate_size|ffn_dim|n_inner|d_ff|ffn_hidden_size|d_inner|mlp_hidden|feed_forward.*)$", 48),
    (r"^(n_routed_experts|num_local_experts|num_experts|moe_num_experts|n_experts)$", 4),
    (r"^(num_experts_per_tok|moe_k|top_k|num_experts_per_token|moe_topk|experts_top_k|top_k_experts)$", 2),
    (r"^(n_group|topk_group|n_groups)$", 1),
    (r"(lora_rank|lora_dim)$", 8),
    (r"^(max_position_embeddings|n_positions|n_ctx|max_seq_len|max_sequence_length|seq_length)$", 128),
    (r"sliding_window$|attention_window_size|local_attention_window|window_size$|attention_chunk_size", 4),
    (r"_token_id$", 0),
]
LATENT = "axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 dots3_note_text glm4_moe_lite glm_moe_dsa kimi_linear longcat_flash minicpm3 youtu"
LINEAR = "olmo_hybrid qwen3_5_moe_text qwen3_5_text qwen3_next"
OWN = {  # what a configuration asks for besides
    **{kind: {"num_key_value_heads": 4} for kind in LATENT.split()},
    **{kind: {"layer_types": ["linear_attention", "full_attention"] * 3} for kind in LINEAR.split()},
    **{kind: {"layer_types": ["sliding_attention", "full_attention"] * 3} for kind in ("gemma4_text", "gemma4_unified_text")},
    "bamba": {"mamba_n_heads": 8, "attn_layer_indices": [1, 3, 5]},
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "falcon_h1": {"mamba_n_heads": 8, "mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 3]]},
    "granitemoehybrid": {"mamba_n_heads": 8, "layer_types": ["mamba", "attention"] * 3},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8, "num_experts": 4, "moe_topk": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 3},
    "xlm": {"emb_dim": 32},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "zamba2": {"layer_types": ["mamba", "hybrid"] * 3, "num_mem_blocks": 1},
    "zaya": {"num_experts_per_tok": 1},
}


def build(kind: str, **given):
    """A random model of a kind, its weights drawn wide enough that every layer matters."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[kind]
    if config.sub_configs:
        raise NotImplementedError("made of several models")
    numbers = {name: value for name, value in config().to_dict().items() if type(value) is int}
    small = {
        name: size for pattern, size in reversed(SIZES) for name, value in numbers.items() if re.search(pattern, name) and value
    }
    ends = {name: 0 for name in config().to_dict() if name.endswith("_token_id")}
    found = config(**small | ends | OWN.get(kind, {}) | given)
    found.is_decoder = True
    model = transformers.AutoModelForCausalLM.from_config(found).float().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(0, 0.15)
    return model


def logits(model, ids) -> torch.Tensor:
    """Of all positions, without a cache."""
    with torch.inference_mode():
        return model(input_ids=ids, use_cache=False).logits


def written(model, ids, use_cache: bool):
    """Six more tokens, or the name of the error."""
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "use_cache": use_cache}
    try:
        return model.generate(ids, attention_mask=torch.ones_like(ids), **settings).tolist()
    except Exception as error:  # of a model as the library made it
        return type(error).__name__


def skipped(model, kept, ids) -> torch.Tensor | None:
    """The whole model's logits with the other layers' outputs replaced by their inputs; None where more than a stream is passed on."""
    more = []

    def around(module, args, kwargs, output):
        stream = args[0] if args else kwargs["hidden_states"]
        if not isinstance(output, tuple | list):
            return stream
        more.extend(part for part in output[1:] if isinstance(part, torch.Tensor))
        return type(output)([stream, *output[1:]])

    layers = [layer for i, layer in enumerate(pruning.stack(model)) if i not in kept]
    handles = [layer.register_forward_hook(around, with_kwargs=True) for layer in layers]
    try:
        found = logits(model, ids)
    finally:
        for handle in handles:
            handle.remove()
    return None if more else found


def close(a, b) -> bool:
    """Equal up to rounding in float32, and finite."""
    return a.shape == b.shape and bool(torch.isfinite(a).all()) and bool((a - b).abs().max() < 1e-4 * a.abs().max())


def loaded(model):
    """The model once it was saved."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return type(model).from_pretrained(folder).eval()


def cut(model, kept, ids, works: bool, loads: bool = True) -> str:
    """What becomes of these layers alone: equal, refused (and why), or what is wrong."""
    try:
        pruned = pruning.prune(model, kept)
    except ValueError as error:
        place = (re.findall("loaded again, (.*?) would be", str(error)) or ["no depth or no stack"])[0]
        return f"refused: {re.sub(r'[.][0-9]+[.]', '.*.', place)}"
    try:
        composed = skipped(model, kept, ids)
        logits(pruned, ids)
    except Exception as error:
        return f"stops: {type(error).__name__}"
    if composed is not None and not close(logits(pruned, ids), composed):
        return "wrong: another forward"
    text = written(pruned, ids, True)
    if works and text != written(pruned, ids, False):
        return "wrong: another text with a cache"
    again = loaded(pruned)
    if loads and not (close(logits(again, ids), logits(pruned, ids)) and written(again, ids, True) == text):
        return "wrong: another model when loaded"
    return "equal"


def examine(kind: str) -> dict[str, str]:
    """The row of the table for one kind of model."""
    row = dict.fromkeys(COLUMNS, "") | {"model": kind, "class": MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]}
    ids = torch.randint(1, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
    try:
        model = build(kind)
        logits(model, ids)
    except Exception as error:  # whatever a tiny configuration lacks
        return row | {"remark": f"not tried: {str(error) if isinstance(error, NotImplementedError) else type(error).__name__}"}
    text = written(model, ids, True)
    works = isinstance(text, list) and text == written(model, ids, False)
    loads = close(logits(loaded(model), ids), logits(model, ids))
    found = {name: cut(model, kept, ids, works, loads) for name, kept in CUTS.items()}
    expected = {name: value for name, value in found.items() if value.startswith(("refused", "stops"))}
    why = dict.fromkeys(value.partition(": ")[2] for value in expected.values())
    row |= found | {name: value.partition(": ")[0] for name, value in expected.items()}
    return row | {
        "whole": "" if works and loads else "another when loaded" if works else "another with a cache",
        "remark": ", ".join(why),
    }


def quiet() -> None:
    """No warnings: a tiny configuration earns many."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()


def table() -> dict[str, dict[str, str]]:
    """The committed rows by kind."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


if __name__ == "__main__":
    quiet()
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for kind in sys.argv[1:] or KINDS:
            writer.writerow(examine(kind))
            file.flush()
