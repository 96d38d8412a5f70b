"""Dropping layers from a decoder of `transformers`: what to keep, the pruned model, parts switched off, layers merged.

Layers are numbered 0 … L−1; `distances` says how much they do, `pretrained` finds a decoder.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from collapse_utils.pruning.decoders import keep, settings, stack
from collapse_utils.pruning.distances import Distances

ATTENTION, FEED_FORWARD = ("self_attn", "attn", "attention"), ("mlp",)


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


def greedy(losses: Callable, depth: int, n: int) -> list[tuple[int, ...]]:
    """Return the layers kept after 0, 1, …, n removals, each time those of least loss (SLEB, 2402.09025).

    losses maps a step's candidates, a list of layers to keep, to the loss of each, so that they can share what they have in
    common (evaluation.cut_losses). The first and the last layer stay, as in the released code; about n·L candidates in all.
    """
    if not 0 <= n <= depth - 2:
        raise ValueError(f"greedy: n must lie between 0 and {depth - 2} for {depth} layers; got {n}.")
    path = [tuple(range(depth))]
    for _ in range(n):
        candidates = [tuple(k for k in path[-1] if k != gone) for gone in path[-1][1:-1]]
        path.append(candidates[int(np.argmin(losses(candidates)))])
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


def part(layer, name: str):
    """Return a layer's attention or feed_forward module. Raises ValueError where it has not one."""
    names = {"attention": ATTENTION, "feed_forward": FEED_FORWARD}[name]
    inner = [child for child_name, child in layer.named_children() if child_name in names]
    if len(inner) != 1:
        raise ValueError(f"part: a layer must have one part named {' or '.join(names)}; got {type(layer).__name__}.")
    return inner[0]


@contextmanager
def silenced(model, name: str, layers: Sequence[int]) -> Iterator[None]:
    """Switch off the attention or the feed_forward part of these layers: it adds nothing to the residual stream."""

    def nothing(module, args, output):
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    parts = [part(stack(model)[layer], name) for layer in layers]
    handles = [inner.register_forward_hook(nothing) for inner in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def turning(model, ids, name: str) -> list[int]:
    """Return the layers by how little their attention or feed-forward part turns the stream, the least first.

    The turn is 1 − cos between the layer's output with and without the part, over all tokens (LLM-Drop, 2406.15786). Every
    layer is read twice in one pass of the model.
    """
    found = []

    def again(layer, module, args, kwargs, output):
        with silenced(model, name, [layer]):
            other = module.forward(*args, **kwargs)
        with_part, without_part = (x[0] if isinstance(x, tuple) else x for x in (output, other))
        found.append(1 - torch.cosine_similarity(with_part.float(), without_part.float(), dim=-1).mean().item())

    handles = [layer.register_forward_hook(functools.partial(again, i), with_kwargs=True) for i, layer in enumerate(stack(model))]
    try:
        with torch.inference_mode():
            model.base_model(input_ids=torch.as_tensor(ids, device=next(model.parameters()).device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
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


def gap(one, other) -> float:
    """Return the largest difference of two layers' matrices."""
    matrices = [(name, weight) for name, weight in one.named_parameters() if weight.dim() > 1]
    return max((weight - other.get_parameter(name)).abs().max().item() for name, weight in matrices)
