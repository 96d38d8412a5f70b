"""One training loop for the heavy chapters: AdamW, warm-up and cosine, clipping, checkpoints, and a stop at NaN."""

import ctypes
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F


class TrainingError(RuntimeError):
    """Training that cannot go on: the loss is no longer a number."""


@dataclass(frozen=True)
class Recipe:
    """How to train: AdamW with decoupled weight decay on matrices, linear warm-up, cosine decay to a tenth, clipping."""

    rate: float = 2e-3  # peak learning rate
    epochs: float = 1.0
    batch: int = 16  # rows a step
    warmup: float = 0.05  # share of the steps
    decay: float = 0.1
    clip: float = 1.0
    precision: str | None = None  # of the products, float32 or bfloat16; None: bfloat16 on a GPU alone

    def steps(self, n_rows: int) -> int:
        """The number of steps for a data set of n_rows."""
        return max(1, round(self.epochs * n_rows / self.batch))


def rate_at(step: int, n_steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: linear warm-up to recipe.rate, then a cosine down to a tenth of it."""
    rising = max(1, round(recipe.warmup * n_steps))
    if step < rising:
        return recipe.rate * (step + 1) / rising
    return recipe.rate * (0.55 + 0.45 * math.cos(math.pi * (step - rising) / max(1, n_steps - rising)))


def order(lengths: np.ndarray, recipe: Recipe, rng: np.random.Generator, window: int = 32) -> list[np.ndarray]:
    """Return the row numbers of every step's batch: each epoch a new permutation, rows of like length side by side.

    Within a window of `window` batches rows are sorted by length, then the batches are shuffled: almost no padding.
    """
    n, batches = len(lengths), []
    steps = recipe.steps(n)
    while len(batches) * recipe.batch < steps * recipe.batch:
        permutation = rng.permutation(n).astype(np.int32)
        for start in range(0, n, window * recipe.batch):
            part = permutation[start : start + window * recipe.batch]
            part = part[np.argsort(lengths[part], kind="stable")]
            chunks = [part[i : i + recipe.batch] for i in range(0, len(part), recipe.batch)]
            batches += [chunks[i] for i in rng.permutation(len(chunks))]
    return batches[:steps]


def sha256(rows, chunk: int = 65536) -> str:
    """Return the SHA-256 of a data set's rows, read in chunks: part of a checkpoint's key."""
    found = hashlib.sha256()
    for start in range(0, len(rows), chunk):
        found.update(np.ascontiguousarray(rows[start : start + chunk]).data)
    return found.hexdigest()


def optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return fused AdamW (β = 0.9, 0.95); weight decay on matrices only, not on biases and norms."""
    wide = [p for p in model.parameters() if p.requires_grad and p.dim() >= 2]
    thin = [p for p in model.parameters() if p.requires_grad and p.dim() < 2]
    groups = [{"params": wide, "weight_decay": recipe.decay}, {"params": thin, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95), fused=True)


def train(
    model: torch.nn.Module,
    loss: Callable,
    batches: Sequence[np.ndarray],
    recipe: Recipe,
    checkpoint: Path | str | None = None,
    every: int = 500,
    key: str = "",
) -> np.ndarray:
    """Train model in place and return the mean loss of each step, (n_steps,).

    loss(model, rows, step) returns (sum, count) over the items that count, rows being those of batches[step]. With a
    checkpoint, a file, the state is kept every `every` steps until the last, and a rerun with the same key (seed and data),
    steps and recipe goes on from it, bit-identically on a CPU. Raises TrainingError at the first loss that is no number, with
    the step and the last good checkpoint, and ValueError for a precision that the processor has not.
    """
    _hold_memory()
    n_steps, adam, device = len(batches), optimizer(model, recipe), next(model.parameters()).device
    half = _half(recipe.precision, device.type)
    keep = _Checkpoint(checkpoint, f"{key} {n_steps} {recipe}", model, adam)
    losses = keep.load()
    model.train()
    for step in range(len(losses), n_steps):
        for group in adam.param_groups:
            group["lr"] = rate_at(step, n_steps, recipe)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            total, count = loss(model, batches[step], step)
        mean = total / count
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        adam.step()
        adam.zero_grad(set_to_none=True)
        losses.append(mean.detach())
        last = step + 1 == n_steps
        if device.type == "cpu" or last or step % 50 == 49:
            keep.check(losses)
        if checkpoint and (step + 1) % every == 0 and not last:
            keep.save(losses)
    if checkpoint:
        Path(checkpoint).unlink(missing_ok=True)
    return torch.stack(losses).float().cpu().numpy() if losses else np.zeros(0, np.float32)


def next_tokens(model, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a causal model's logits for the tokens of ids (b, T) after the first, (b, T − 1, V), and their −ln p, (b, T − 1).

    In float32 and nats. What stands to the right of a token does not matter to it, so padding there needs no mask: whoever
    counts tokens leaves it out.
    """
    logits, target = model(input_ids=ids[:, :-1], use_cache=False).logits.float(), ids[:, 1:]
    return logits, F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)


def summed_loss(hidden: torch.Tensor, weight: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return Σ −ln softmax(weight · hidden)[ids] over the rows that the mask counts, in float32 and nats.

    hidden (n, d), weight (V, d), ids and mask (n,). The gradient is taken in the same pass, at most 16 MB of logits at a time
    (as in Liger Kernel, 2410.10989): what does not count is not computed, and one exponential a logit is.
    """
    return _SummedLoss.apply(hidden, weight, ids, mask)


def save(network: torch.nn.Module, losses: np.ndarray, folder: Path, name: str = "model") -> None:
    """Write weights and training losses into a folder: `name`.safetensors, tied weights once, and `name`.npy."""
    from safetensors.torch import save_model

    save_model(network, str(folder / f"{name}.safetensors"))
    np.save(folder / f"{name}.npy", losses)


def load(network: torch.nn.Module, folder: Path, name: str = "model") -> np.ndarray:
    """Read the weights that save wrote into a network of the same shape; return the training losses."""
    from safetensors.torch import load_model

    load_model(network, folder / f"{name}.safetensors")
    return np.load(folder / f"{name}.npy")


def _half(precision: str | None, device: str) -> bool:
    """Whether products are taken in bfloat16."""
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"train: precision must be float32, bfloat16 or None; got {precision!r}.")
    if precision == "bfloat16" and device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise ValueError("train: this processor has no bfloat16 products, 80 times as slow without; choose precision float32.")
    return device == "cuda" if precision is None else precision == "bfloat16"


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, ids, mask):
        total = hidden.new_zeros((), dtype=torch.float32)
        of_hidden, of_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        for rows in mask.nonzero()[:, 0].split(max(1, 2**22 // len(weight))):
            read, wanted = hidden[rows], ids[rows, None]
            logits = (read @ weight.t()).float()  # (rows, V)
            share = torch.softmax(logits, dim=1)
            total += (logits.amax(1) - logits.gather(1, wanted)[:, 0] - share.amax(1).log()).sum()
            share.scatter_add_(1, wanted, share.new_full(wanted.shape, -1.0))
            of_hidden[rows] = (share @ weight).to(hidden.dtype)
            of_weight += share.t() @ read
        ctx.save_for_backward(of_hidden, of_weight)
        return total

    @staticmethod
    def backward(ctx, slope):
        of_hidden, of_weight = ctx.saved_tensors
        return slope * of_hidden, slope * of_weight, None, None


def _hold_memory() -> None:
    """Let glibc keep what a training step frees for the next one: else up to a fifth of the time goes into its pages."""
    with suppress(OSError, AttributeError):  # another C library
        for parameter, value in ((-3, 2**25), (-1, 2**30)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, in bytes
            ctypes.CDLL(None).mallopt(parameter, value)


class _Checkpoint:
    """The state of a run in one file, replaced atomically."""

    def __init__(self, path, key: str, model, adam):
        self.path, self.key, self.model, self.adam = Path(path) if path else None, key, model, adam
        self.good, self.checked = 0, 0

    def load(self) -> list:
        if self.path is None or not self.path.exists():
            return []
        device = next(self.model.parameters()).device
        state = torch.load(self.path, map_location=device, weights_only=True)
        if state["key"] != self.key:
            return []
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        self.good = self.checked = len(state["losses"])
        return list(state["losses"].unbind())

    def save(self, losses: list) -> None:
        self.check(losses)
        scratch = self.path.with_suffix(".partial")
        state = {"key": self.key, "model": self.model.state_dict(), "adam": self.adam.state_dict(), "losses": torch.stack(losses)}
        torch.save(state, scratch)
        os.replace(scratch, self.path)
        self.good = len(losses)

    def check(self, losses: list) -> None:
        fresh = torch.isfinite(torch.stack(losses[self.checked :])) if len(losses) > self.checked else torch.ones(1).bool()
        if not fresh.all():
            step = self.checked + int((~fresh).float().argmax())
            kept = f"the last good checkpoint is {self.path}, after {self.good} steps" if self.good else "no checkpoint was kept"
            raise TrainingError(f"train: the loss must stay a number; it is not at step {step} (from 0); {kept}; lower the rate.")
        self.checked = len(losses)
