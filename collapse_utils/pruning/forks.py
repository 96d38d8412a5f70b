"""Many cuts of one decoder on the same input: what they have in common, from the first layer on, is computed once.

A cut says what which layers lack, {layer: "layer", "attention" or "feed_forward"}; {} is the whole model.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

import torch

from collapse_utils.pruning.decoders import stack
from collapse_utils.pruning.layers import silenced


def lacking(depth: int, kept: Sequence[int]) -> dict[int, str]:
    """Return the cut that leaves these of `depth` layers alone."""
    return dict.fromkeys(sorted(set(range(depth)) - set(kept)), "layer")


def fork(model, cuts: Sequence[Mapping[int, str]], run: Callable) -> list:
    """Return [run() under each cut]; run must evaluate the model, without a cache, on the same input each time.

    A layer that is gone passes on what it is given. Cuts go in such an order that each begins with the states it shares with
    the one before, so that every layer runs once for every different beginning; equal cuts run once. No more than one state a
    layer is held. Raises ValueError for a layer or a part that is not there, and for layers that pass on more than one stream.
    """
    layers = stack(model)
    for cut in cuts:
        if not set(cut) <= set(range(len(layers))) or not set(cut.values()) <= {"layer", "attention", "feed_forward"}:
            raise ValueError(
                f"fork: a cut must be {{layer of 0 … {len(layers) - 1}: layer, attention or feed_forward}}; got {cut}."
            )
    paths = [tuple(cut.get(i, "") for i in range(len(layers))) for cut in cuts]
    current, found = _Path(model), {}
    with contextlib.ExitStack() as after:
        for i, layer in enumerate(layers):
            own = vars(layer).get("forward")  # where a library put its own in place of the class's
            layer.forward = functools.partial(current.layer, i, layer.forward)
            after.callback(_restore, layer, own)
        for path in sorted(set(paths)):
            current.path = path
            found[path] = run()
    return [found[path] for path in paths]


class _Path:
    """What each layer lacks, and what it wrote under the last such beginning."""

    def __init__(self, model):
        self.model, self.path = model, ()
        self.written: dict[int, tuple[tuple[str, ...], object]] = {}
        self.beside: dict[int, tuple[type, tuple] | None] = {}  # how a layer returns its state: in a container, beside what

    def layer(self, i: int, forward: Callable, *args, **kwargs):
        """What layer i returns, computed if this beginning is new."""
        beginning, lacks = self.path[: i + 1], self.path[i]
        if self.written.get(i, ((), None))[0] == beginning:
            return self.written[i][1]
        if lacks in ("attention", "feed_forward"):
            with silenced(self.model, lacks, [i]):
                found = forward(*args, **kwargs)
        elif lacks == "layer" and i in self.beside:
            found = self.passed(i, args, kwargs)
        else:
            found = forward(*args, **kwargs)
            self.beside[i] = (type(found), tuple(found[1:])) if isinstance(found, tuple | list) else None
            if lacks == "layer":  # computed to see in what shape the layer returns
                found = self.passed(i, args, kwargs)
        self.written[i] = beginning, found
        return found

    def passed(self, i: int, args: tuple, kwargs: dict):
        """The stream that layer i is given, in the shape in which it returns one."""
        stream = args[0] if args else kwargs["hidden_states"]
        if self.beside[i] is None:
            return stream
        before = self.written.get(i - 1, ((), None))[1]
        more = [part for part in before[1:] if isinstance(part, torch.Tensor)] if isinstance(before, tuple | list) else []
        if any(part is given for part in more for given in (*args, *kwargs.values())):
            raise ValueError(f"fork: layers must pass on one stream alone; those of {type(self.model).__name__} pass on more.")
        kind, rest = self.beside[i]
        return kind([stream, *rest])


def _restore(layer, own: Callable | None) -> None:
    if own is None:
        del layer.forward
    else:
        layer.forward = own
