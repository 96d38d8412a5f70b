"""Distances between the layers of a decoder, streamed over token rows.

x^(l) is the residual stream that layer l reads, l = 0 … L−1: x^(0) is the embedding, x^(L) what the last layer writes,
before the final norm. Token rows are arrays ids (N, T) with a mask (N, T) of the tokens that count.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from collapse_utils.pruning.decoders import batches, stack


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
        self.row(n)  # refuses a size that is none
        return int(starts(self.mean, [n])[0])


def starts(matrix: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the first layer of the most similar block of each size, from distances (L + 1, L + 1)."""
    return np.array([np.argmin(np.diagonal(matrix, n)) for n in sizes])


def last_far(matrix: np.ndarray, sizes: Sequence[int]) -> float:
    """Return the share of sizes whose last block is at or above the 90 % quantile of the distances (L + 1, L + 1) of its size."""
    return np.mean([np.diagonal(matrix, n)[-1] >= np.quantile(np.diagonal(matrix, n), 0.9) for n in sizes])


@dataclass(frozen=True)
class Kind:
    """What to compare: metric (angular, influence, cosine, or yours) maps states (L + 1, m, d) to (L + 1, L + 1, k).

    A sample is the last token that counts of a row or, with `every`, the mean over all of its tokens. normed takes x^(L) after
    the final norm, as output_hidden_states has it.
    """

    metric: Callable = angular
    every: bool = False
    normed: bool = False


def distances(
    model, ids, mask, metric: Callable = angular, every: bool = False, normed: bool = False, batch: int | None = None
) -> Distances:
    """Return the metric between all pairs of layers' inputs, streamed over batches; the rest as for Kind and scan."""
    return scan(model, ids, mask, [Kind(metric, every, normed)], batch)[0]


def scan(model, ids, mask, kinds: Sequence[Kind], batch: int | None = None) -> list[Distances]:
    """Return the distances of each kind, all from one pass of the model, streamed: no more than one batch is held.

    Raises ValueError for a row without a token and for states that are not finite, with the layer.
    """
    sums = [[0.0, 0.0, 0] for _ in kinds]
    for part in batches(model, ids, batch):
        for of, samples in zip(sums, _samples(model, ids[part], mask[part], kinds), strict=True):
            of[0], of[1], of[2] = of[0] + samples.sum(-1), of[1] + (samples**2).sum(-1), of[2] + samples.shape[-1]
    return [_moments(*of) for of in sums]


def mean(groups: list[Distances]) -> Distances:
    """Return the mean over groups of as many samples, their mean standard error, and the number of all samples."""
    return Distances(*(np.mean([getattr(d, x) for d in groups], axis=0) for x in ("mean", "se")), sum(d.n for d in groups))


def _moments(total, squares, n: int) -> Distances:
    centre = total / n
    spread = (squares / n - centre**2).clamp(min=0) / max(n - 1, 1)
    return Distances(centre.numpy(), spread.sqrt().numpy(), n)


def _samples(model, ids, mask, kinds: Sequence[Kind]) -> list[torch.Tensor]:
    """Each metric's samples of one batch, (L + 1, L + 1, k)."""
    device = next(model.parameters()).device
    ids, mask = (torch.as_tensor(np.asarray(array), device=device) for array in (ids, mask))
    if not mask.bool().any(dim=1).all():
        raise ValueError("distances: every row must have a token that counts; got one without.")
    last = torch.where(mask.bool(), torch.arange(mask.shape[1], device=device), -1).amax(dim=1)  # (b,)
    rows, padding = torch.arange(len(ids), device=device), None if bool(mask.all()) else mask.long()
    every = any(kind.every for kind in kinds)
    with torch.inference_mode(), states(model, (lambda x: x) if every else (lambda x: x[rows, last])) as found:
        output = model.base_model(input_ids=ids.long(), attention_mask=padding, use_cache=False).last_hidden_state
    for layer, x in enumerate(found):
        if not torch.isfinite(x[mask.bool()] if every else x).all():
            raise ValueError(f"distances: states must be finite; x^({layer}) is not; load the model in float32.")
    raw = torch.stack(found)  # (L + 1, b, d) or (L + 1, b, T, d)
    after = (output if every else output[rows, last]).float()
    found = []
    for kind in kinds:
        x = torch.cat([raw[:-1], after[None]]) if kind.normed else raw
        if kind.every:
            each = [kind.metric(x[:, b, mask[b].bool()]).mean(dim=-1) for b in range(len(ids))]
            found.append(torch.stack(each, dim=-1).cpu().double())
        else:
            found.append(kind.metric(x[:, rows, last] if every else x).cpu().double())
    return found
