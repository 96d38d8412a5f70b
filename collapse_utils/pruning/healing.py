"""Healing a pruned model: low-rank adapters, the same on a 4-bit model, head and last layers, or everything."""

import copy
import tempfile
import warnings

import numpy as np
import torch

from collapse_utils.pruning.decoders import stack, unpacked
from collapse_utils.training import Recipe, next_tokens, order, train

FEED_FORWARD = {  # the feed-forward matrices of each model type (Gromov 2024, 2403.17887, App. A.1, for those it names)
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"), ("gate_proj", "up_proj", "down_proj")),
    "phi": ("fc1", "fc2"),
    "gpt2": ("mlp.c_fc", "mlp.c_proj"),
    "gpt_neox": ("dense_h_to_4h", "dense_4h_to_h"),
}
METHODS = ("lora", "qlora", "head", "full")


def heal(model, ids, mask, method: str, recipe: Recipe, seed: int = 0, rank: int = 8):
    """Return the model trained on token rows (N, T) for recipe.epochs, in evaluation mode; the one given stays as it is.

    lora: adapters on the feed-forward matrices, alpha = rank, dropout 0.05, merged at the end (Gromov 2024, App. A.1);
    qlora: the same on a model in 4-bit nf4, not merged; head: the output matrix, the final norm and the last three layers
    (2411.15558); full: every weight. Raises ValueError for another method or an architecture whose matrices are unknown.
    """
    if method not in METHODS:
        raise ValueError(f"heal: method must be one of {', '.join(METHODS)}; got {method!r}.")
    torch.manual_seed(seed)
    network = {"qlora": quantised}.get(method, copy.deepcopy)(model)
    if method in ("lora", "qlora"):
        network = adapted(network, rank)
    elif method == "head":
        network.requires_grad_(False)
        layers = next(m for m in network.modules() if isinstance(m, torch.nn.ModuleList))
        norm = [child for child in network.base_model.children() if "norm" in type(child).__name__.lower()]
        for part in (*layers[-3:], *norm, network.get_output_embeddings()):
            part.requires_grad_(True)
    else:
        network.requires_grad_(True)
    steps = order(mask.sum(axis=1), recipe, np.random.default_rng(seed))
    train(network, lambda model, rows, step: predicted(model, ids[rows], mask[rows]), steps, recipe)
    return (network.merge_and_unload() if method == "lora" else network).eval()


def adapted(model, rank: int):
    """Return the model with low-rank adapters on its feed-forward matrices, all else frozen (`peft`)."""
    import peft

    kind = model.config.model_type
    if kind not in FEED_FORWARD:
        raise ValueError(f"heal: the feed-forward matrices must be known; {kind!r} is not among {', '.join(FEED_FORWARD)}.")
    settings = {"r": rank, "lora_alpha": rank, "lora_dropout": 0.05, "target_modules": list(FEED_FORWARD[kind])}
    with warnings.catch_warnings():  # of peft about transformers' new names
        warnings.simplefilter("ignore", FutureWarning)
        network = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", fan_in_fan_out=kind == "gpt2", **settings))
    for path in [path for path, _ in network.named_modules()]:
        if ".lora_dropout." in path:
            network.set_submodule(path, Dropout())
    return network


class Dropout(torch.nn.Module):
    """Drop a twentieth of the numbers, each by 16 random bits: torch's own masks come from another generator on Intel's processors."""

    dropped = 3277  # of 65,536

    def forward(self, x):
        if not self.training:
            return x
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None).view(torch.int16)
        kept = (bits[: x.numel()].view_as(x) >= self.dropped - 2**15).to(x.dtype)
        return x * kept.div_(1 - self.dropped / 2**16)


def quantised(model):
    """Return the model with its layers' matrices in 4-bit nf4 (`bitsandbytes`), ready for adapters, alike on every processor."""
    import peft
    import transformers

    device = next(model.parameters()).device
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32  # of the products; the CPU has no fast bfloat16
    scheme = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = transformers.AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=scheme, device_map={"": device}, dtype=torch.float32
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return peft.prepare_model_for_kbit_training(unpacked(found), use_gradient_checkpointing=device.type == "cuda")


def stored(model) -> int:
    """Return the bytes that the matrices of the model's layers take, those in 4 bits with the scales of their blocks."""
    matrices = [weight for weight in stack(model).parameters() if weight.dim() > 1]
    states = [weight.quant_state for weight in matrices if getattr(weight, "quant_state", None) is not None]
    return sum(tensor.nbytes for tensor in [weight.data for weight in matrices] + [state.absmax for state in states])


def predicted(model, ids: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, int]:
    """Return the summed loss of the tokens that the mask counts in rows (b, T), except each row's first, and their number."""
    device = next(model.parameters()).device
    counts = torch.as_tensor(mask[:, 1:], device=device)
    _, losses = next_tokens(model, torch.as_tensor(ids, device=device))
    return (losses * counts).sum(), int(counts.sum())
