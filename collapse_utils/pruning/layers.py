"""Dropping layers from a decoder of `transformers`: distances between layers, what to keep, the pruned model.

Layers are numbered 0 … L−1, and x^(l) is the residual stream that layer l reads: x^(0) is the embedding, x^(L) what the
last layer writes, before the final norm. Token rows are arrays ids (N, T) with a mask (N, T) of the tokens that count.
"""

import copy
import hashlib
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch

from collapse_utils import mirror
from collapse_utils.pruning.decoders import keep, settings, stack, unpacked

SHIPPED = mirror.SHIPPED
ATTENTION, FEED_FORWARD = ("self_attn", "attn", "attention"), ("mlp",)


def load(model_id: str):
    """Return the model, in float32 and evaluation mode, and its tokenizer: deep-thin, a local folder, or a name on the hub.

    deep-thin is the decoder that lies in shipped/, with the command that trained it and that for a bigger sister, deep-thin-24.
    Weights are read from safetensors only, and no code of the model's folder is run. Raises OSError, within seconds, for a folder
    without weights and for a hub that cannot be reached, ValueError for a tokenizer or a model that cannot serve or be read, and for
    one whose configuration cannot describe it without its middle layer (decoders.settings).
    """
    transformers = _quiet()
    ours = model_id.startswith("deep-thin")
    folder = SHIPPED / model_id if ours else Path(os.path.expandvars(model_id)).expanduser()
    if ours or folder.is_dir():
        how = "train it as shipped/README.md says" if ours else "write it with save_pretrained"
        for needed in ("config.json", "*.safetensors", "tokenizer*.json"):
            if not any(folder.glob(needed)):
                raise OSError(f"load: {folder} must hold {needed}; no such file; {how}.")
    else:
        folder = _download(model_id)
    from safetensors import SafetensorError

    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"load: {model_id} must be a causal language model that transformers knows; got: {reason}") from None
    depth = len(stack(model))
    if depth > 1:  # refused now, not after the distances
        settings(model, without(depth, [depth // 2]))
    if getattr(model, "is_loaded_in_4bit", False):  # as the folder's own configuration may ask for
        unpacked(model)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises Exception itself
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise ValueError(f"load: the tokenizer of {model_id} must be one that transformers reads; got: {reason}") from None
    return model.eval(), tokenizer


def fingerprint(model) -> str:
    """Return the SHA-256 of a model's weights, in order, for the run card."""
    digest = hashlib.sha256()
    for weight in model.parameters():
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def states(model, chosen: Callable = lambda x: x) -> Iterator[list[torch.Tensor]]:
    """Yield a list that a forward pass inside fills with chosen(x^(l)) for l = 0 … L, raw residual stream, in float32."""
    layers, found = stack(model), []

    def enter(module, args, kwargs):
        found[:] = [chosen(args[0] if args else kwargs["hidden_states"]).detach().float()]

    def leave(module, args, output):
        found.append(chosen(output[0] if isinstance(output, tuple) else output).detach().float())

    handles = [layers[0].register_forward_pre_hook(enter, with_kwargs=True)]
    handles += [layer.register_forward_hook(leave) for layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def angular(x: torch.Tensor) -> torch.Tensor:
    """Return arccos(cos)/π in [0, 1] (Gromov 2024, 2403.17887, Eq. 7) of states (L + 1, m, d): (L + 1, L + 1, m)."""
    return torch.arccos(cosine(x).clamp(-1, 1)) / torch.pi


def influence(x: torch.Tensor) -> torch.Tensor:
    """Return 1 − cos (block influence, Men 2024, 2403.03853, Eq. 1) of states (L + 1, m, d): (L + 1, L + 1, m)."""
    return 1 - cosine(x)


def cosine(x: torch.Tensor) -> torch.Tensor:
    """Return the cosine of every pair of states (L + 1, m, d), in float64: (L + 1, L + 1, m)."""
    x = x.double()
    unit = (x / x.norm(dim=-1, keepdim=True)).transpose(0, 1)  # (m, L + 1, d)
    return (unit @ unit.transpose(1, 2)).permute(1, 2, 0)


def cka(x: torch.Tensor) -> torch.Tensor:
    """Return 1 − CKA (linear, Kornblith 2019, 1905.00414, Eq. 3) over the m items of states (L + 1, m, d): (L + 1, L + 1, 1)."""
    x = x.double() - x.double().mean(dim=1, keepdim=True)
    gram = x @ x.transpose(1, 2)  # (L + 1, m, m)
    inner = torch.einsum("aij,bij->ab", gram, gram)
    norm = inner.diagonal().sqrt()
    return (1 - inner / norm[:, None] / norm)[..., None]


@dataclass(frozen=True)
class Distances:
    """mean and se (L + 1, L + 1): entry [l, k] compares x^(l) and x^(k); n samples."""

    mean: np.ndarray
    se: np.ndarray
    n: int

    def row(self, n: int) -> np.ndarray:
        """Return the distances across blocks of n layers, by their first layer l = 0 … L − n: (L − n + 1,)."""
        if not 1 <= n < len(self.mean):
            raise ValueError(f"row: a block must have between 1 and {len(self.mean) - 1} layers; got {n}.")
        return np.diagonal(self.mean, n)

    def start(self, n: int) -> int:
        """Return l*(n), the first layer of the block of n layers with the smallest distance (Gromov 2024, Eq. 6)."""
        return int(np.argmin(self.row(n)))


def distances(
    model, ids, mask, metric: Callable = angular, every: bool = False, normed: bool = False, batch: int = 8
) -> Distances:
    """Return the metric between all pairs of layers' inputs, streamed over batches: no more than one batch is held.

    metric (angular, influence, cosine, cka, or yours) maps states (L + 1, m, d) to (L + 1, L + 1, k). A sample is the last token that counts of a row or, with
    `every`, the mean over all of its tokens. normed takes x^(L) after the final norm, as output_hidden_states has it.
    Raises ValueError for a row without a token and for states that are not finite, with the layer.
    """
    total, squares, n = 0.0, 0.0, 0
    for start in range(0, len(ids), batch):
        samples = _samples(model, ids[start : start + batch], mask[start : start + batch], metric, every, normed)
        total, squares, n = total + samples.sum(-1), squares + (samples**2).sum(-1), n + samples.shape[-1]
    mean = total / n
    spread = (squares / n - mean**2).clamp(min=0) / max(n - 1, 1)
    return Distances(mean.numpy(), spread.sqrt().numpy(), n)


def without(depth: int, dropped: Sequence[int]) -> tuple[int, ...]:
    """Return the layers to keep, 0-based and ascending, of a stack with `depth` layers once `dropped` are gone."""
    gone = set(dropped)
    if not (gone <= set(range(depth)) and len(gone) < depth):
        raise ValueError(f"without: dropped layers must lie in 0 … {depth - 1} and leave one; got {sorted(gone)}.")
    return tuple(layer for layer in range(depth) if layer not in gone)


def kept(strategy: str, depth: int, n: int, found: Distances | None = None, rng=None) -> tuple[int, ...]:
    """Return the layers to keep, 0-based, when n of `depth` go by a strategy.

    similar: the block l*(n) of found; deepest: L−1−n … L−2, the last layer stays (Gromov 2024, Sec. 4.4); first: 0 … n−1;
    random: a block drawn by rng; separate: the n layers with the smallest single distance in found (Men 2024, with
    influence as the metric). Raises ValueError for another name, or for n that is not between 0 and L − 1.
    """
    if not 0 <= n < depth:
        raise ValueError(f"kept: n must lie between 0 and {depth - 1} for {depth} layers; got {n}.")
    starts = {
        "similar": lambda: found.start(n),
        "deepest": lambda: depth - 1 - n,
        "first": lambda: 0,
        "random": lambda: int(rng.integers(depth - n + 1)),
    }
    if strategy == "separate":
        return without(depth, np.argsort(found.row(1), kind="stable")[:n].tolist())
    if strategy not in starts:
        raise ValueError(f"kept: strategy must be one of {', '.join([*starts, 'separate'])}; got {strategy!r}.")
    first = starts[strategy]() if n else 0
    return without(depth, range(first, first + n))


def greedy(loss: Callable, depth: int, n: int) -> list[tuple[int, ...]]:
    """Return the layers kept after 0, 1, …, n removals, each the one whose loss(layers) is least (SLEB, 2402.09025).

    The first and the last layer stay, as in the released code; it takes about n·L evaluations.
    """
    if not 0 <= n <= depth - 2:
        raise ValueError(f"greedy: n must lie between 0 and {depth - 2} for {depth} layers; got {n}.")
    path = [tuple(range(depth))]
    for _ in range(n):
        candidates = [tuple(k for k in path[-1] if k != gone) for gone in path[-1][1:-1]]
        path.append(min(candidates, key=loss))
    return path


def prune(model, layers: Sequence[int]):
    """Return a model of these layers alone, in this order, that shares every weight with the given one.

    Its configuration describes it (decoders.settings) and its layers are numbered from 0, so that caches, save_pretrained and
    from_pretrained work. Raises ValueError for layers that are not there, and where no configuration can say which are kept.
    """
    depth = len(stack(model))
    if not layers or not set(layers) <= set(range(depth)) or len(set(layers)) < len(layers):
        raise ValueError(f"prune: layers must be different ones of 0 … {depth - 1}; got {list(layers)}.")
    changed = settings(model, layers)
    shared = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    found = copy.deepcopy(model, shared)
    keep(found, layers)
    for name, value in changed.items():
        setattr(found.config, name, value)
    return found


@contextmanager
def silenced(model, part: str, layers: Sequence[int]) -> Iterator[None]:
    """Switch off the attention or the feed-forward part of these layers: it adds nothing to the residual stream."""
    names = {"attention": ATTENTION, "feed_forward": FEED_FORWARD}[part]

    def nothing(module, args, output):
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    handles = []
    for layer in layers:
        inner = [child for name, child in stack(model)[layer].named_children() if name in names]
        if len(inner) != 1:
            raise ValueError(
                f"silenced: layers must have one part named {' or '.join(names)}; got {type(stack(model)[layer]).__name__}."
            )
        handles.append(inner[0].register_forward_hook(nothing))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def turning(model, ids, part: str) -> list[int]:
    """Return the layers by how little their attention or feed-forward part turns the stream, the least first.

    The turn is 1 − cos between the layer's output with and without the part, over all tokens (LLM-Drop, 2406.15786).
    """
    device, found = next(model.parameters()).device, []
    ids = torch.as_tensor(ids, device=device)
    with torch.inference_mode():
        with states(model) as seen:
            model.base_model(input_ids=ids, use_cache=False)
        whole = list(seen)
        for layer in range(len(whole) - 1):
            with silenced(model, part, [layer]), states(model) as seen:
                model.base_model(input_ids=ids, use_cache=False)
            found.append(1 - torch.cosine_similarity(whole[layer + 1], seen[layer + 1], dim=-1).mean().item())
    return np.argsort(found, kind="stable").tolist()


def merge(model, first: int, m: int, how: str):
    """Return a model whose layers first … first + m are merged into one (LaCo, 2402.11187), in matrices of its own.

    how: sum, θ_l + Σ_k (θ_{l+k} − θ_l), as the paper has it; telescoped, W ← W + (W_{l+k} − W) for k = 1 … m, as the released
    code does. Norms stay those of the first layer.
    """
    depth = len(stack(model))
    if how not in ("sum", "telescoped") or not (first >= 0 and m >= 1 and first + m < depth):
        raise ValueError(f"merge: needs sum or telescoped and layers within 0 … {depth - 1}; got {how!r}, {first} … {first + m}.")
    found = prune(model, without(depth, range(first + 1, first + m + 1)))
    merged = copy.deepcopy(stack(model)[first])
    for name, weight in merged.named_parameters():
        if weight.dim() < 2:
            continue
        base = weight.data.clone()
        for k in range(1, m + 1):
            other = stack(model)[first + k].get_parameter(name).data
            weight.data += other - (base if how == "sum" else weight.data)
    stack(found)[first] = merged
    return found


def _quiet():
    """transformers, without progress bars and without the warning that a notebook has no widgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.disable_progress_bar()
    return transformers


def _samples(model, ids, mask, metric, every, normed) -> torch.Tensor:
    """The metric's samples of one batch, (L + 1, L + 1, k)."""
    device = next(model.parameters()).device
    ids, mask = (torch.as_tensor(np.asarray(array), device=device) for array in (ids, mask))
    if not mask.bool().any(dim=1).all():
        raise ValueError("distances: every row must have a token that counts; got one without.")
    positions = torch.arange(mask.shape[1], device=device)
    last = torch.where(mask.bool(), positions, -1).amax(dim=1)  # (b,)
    rows = torch.arange(len(ids), device=device)
    padding = None if bool(mask.all()) else mask.long()
    with torch.inference_mode(), states(model, (lambda x: x) if every else (lambda x: x[rows, last])) as found:
        output = model.base_model(input_ids=ids.long(), attention_mask=padding, use_cache=False).last_hidden_state
    if normed:
        found[-1] = (output if every else output[rows, last]).float()
    for layer, x in enumerate(found):
        if not torch.isfinite(x[mask.bool()] if every else x).all():
            raise ValueError(f"distances: states must be finite; x^({layer}) is not; load the model in float32.")
    x = torch.stack(found)  # (L + 1, b, d) or (L + 1, b, T, d)
    if not every:
        return metric(x).cpu().double()
    each = [metric(x[:, b, mask[b].bool()]).mean(dim=-1) for b in range(len(ids))]
    return torch.stack(each, dim=-1).cpu().double()


def _download(model_id: str) -> Path:
    """The local folder of a model of the hub: from its cache, else downloaded if the hub answers within five seconds."""
    import huggingface_hub

    wanted = {"allow_patterns": ["*.json", "*.safetensors", "*.model", "*.txt"]}
    hint = "name a local folder with config.json, *.safetensors and a tokenizer instead"
    try:
        return Path(huggingface_hub.snapshot_download(model_id, local_files_only=True, **wanted))
    except (OSError, ValueError):
        pass
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise OSError("HF_HUB_OFFLINE is set")
        socket.create_connection((address.hostname, address.port or 443), timeout=5).close()
        return Path(huggingface_hub.snapshot_download(model_id, etag_timeout=5, **wanted))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"load: {model_id!r} is no local folder and the hub cannot deliver it ({reason}); {hint}.") from None
