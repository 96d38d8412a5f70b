"""Distances between the layers of a decoder, streamed over token rows.

x^(l) is the residual stream that layer l reads, l = 0 … L−1: x^(0) is the embedding, x^(L) what the last layer writes,
before the final norm. Token rows are arrays ids (N, T) with a mask (N, T) of the tokens that count.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from collapse_utils.pruning.decoders import stack


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

    metric (angular, influence, cosine, or yours) maps states (L + 1, m, d) to (L + 1, L + 1, k). A sample is the last token that counts of a row or, with
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
