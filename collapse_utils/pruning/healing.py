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
DROPPED = 3277  # of 65,536: the adapters' dropout, 0.05


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
    return (merged(network) if method == "lora" else network).eval()


class Adapter(torch.nn.Module):
    """A frozen matrix W with a low-rank adapter, y = W x + B A drop(x) (LoRA, Hu 2021, 2106.09685), as `peft` defines it.

    alpha = rank; A, (rank, n_in), begins as a linear layer does, B at zero. lora_B holds B transposed, (rank, n_out).
    """

    def __init__(self, base, rank: int):
        super().__init__()
        self.base, self.across = base, hasattr(base, "nx")  # GPT-2 stores its matrices as (n_in, n_out)
        n_in, n_out = (base.nx, base.nf) if self.across else (base.in_features, base.out_features)
        device = base.weight.device
        self.lora_A = torch.nn.Parameter(torch.nn.init.kaiming_uniform_(torch.empty(rank, n_in, device=device), a=5**0.5))
        self.lora_B = torch.nn.Parameter(torch.zeros(rank, n_out, device=device))

    def forward(self, x):
        y = self.base(x)
        with torch.autocast(x.device.type, enabled=False):
            return _LowRank.apply(y, x.to(y.dtype), self.lora_A.to(y.dtype), self.lora_B.to(y.dtype), self.training)

    def merged(self):
        """Return the frozen layer with B A added to its matrix, in place."""
        change = (self.lora_A.T @ self.lora_B).detach()
        self.base.weight.data += change if self.across else change.T
        return self.base


class _LowRank(torch.autograd.Function):
    """y + B A drop(x), with few passes over memory; dropout from 16 random bits a number, the same on every processor."""

    @staticmethod
    def forward(ctx, y, x, down, up, training):
        kept, seen = None, x.flatten(0, -2)
        if training:
            bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None).view(torch.int16)
            kept = torch.ge(bits[: x.numel()].view_as(seen), DROPPED - 2**15, out=torch.empty_like(seen))
            seen, down = seen * kept, down / (1 - DROPPED / 2**16)
        inner = seen @ down.T
        ctx.save_for_backward(seen, kept, inner, down, up)
        return torch.addmm(y.flatten(0, -2), inner, up).view_as(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        seen, kept, inner, down, up = ctx.saved_tensors
        over = grad.flatten(0, -2)
        within, scale = over @ up.T, 1 if kept is None else 1 - DROPPED / 2**16
        back = None
        if ctx.needs_input_grad[1]:
            back = within @ down if kept is None else (within @ down).mul_(kept)
            back = back.view(*grad.shape[:-1], -1)
        return grad, back, within.T @ seen / scale, inner.T @ over, None


def adapted(model, rank: int):
    """Return the model, changed in place, with low-rank adapters on its feed-forward matrices and all else frozen."""
    kind = model.config.model_type
    if kind not in FEED_FORWARD:
        raise ValueError(f"heal: the feed-forward matrices must be known; {kind!r} is not among {', '.join(FEED_FORWARD)}.")
    model.requires_grad_(False)
    for path, module in list(model.named_modules()):
        if f".{path}".endswith(tuple(f".{name}" for name in FEED_FORWARD[kind])):
            model.set_submodule(path, Adapter(module, rank))
    return model


def merged(model):
    """Return the model, changed in place, with its adapters added to the matrices that they sit on."""
    for path, module in list(model.named_modules()):
        if isinstance(module, Adapter):
            model.set_submodule(path, module.merged())
    return model


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
    """Return the summed loss of the tokens of rows (b, T) that the mask counts, the first of each apart, and their number."""
    device = next(model.parameters()).device
    counts = torch.as_tensor(mask[:, 1:], device=device)
    _, losses = next_tokens(model, torch.as_tensor(ids, device=device))
    return (losses * counts).sum(), int(counts.sum())
