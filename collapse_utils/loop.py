"""The one idea of the book: fit → sample → mix → fit."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from collapse_utils.rows import History, size


class Generation(NamedTuple):
    """One turn of the loop: its number t (0 is the fit on real data), its training data D_t and its model θ_t."""

    t: int
    data: Any
    model: Any


def feedback_loop(
    fit: Callable, real: Any, mix: Callable, rng: Any, draw: Callable[[int], int] | None = None
) -> Iterator[Generation]:
    """Yield generations 0, 1, 2, … of a model trained on its own output.

        θ_t = fit(D_t),   S_{t+1} ~ p(·; θ_t),   D_{t+1} = mix([D_0, S_1, …, S_{t+1}], rng)

    fit(data, rng) returns a model with sample(n, rng); real is D_0; mix is a regime; rng is a numpy Generator.
    draw(t) is the number of rows sampled for generation t (default: |D_0| every time). The rows of a pool are read-only.
    """
    history, data = History([real]), real
    for t in itertools.count():
        model = fit(data, rng)
        yield Generation(t, data, model)
        history.append(model.sample(size(real) if draw is None else draw(t + 1), rng))
        data = mix(history, rng)


def follow(loop: Iterator[Generation], measure: Callable[[Generation], Any], fits: Any) -> Any:
    """Return what is measured along a loop at some of its fits: an array (r, k), or one a name where measure returns a dict.

    measure(generation) returns an array (r, …), one value a replicate, or {name: array}. fits is the number of fits, all
    of which are looked at, or their numbers in ascending order, k of them, the fit on real data being 1.
    """
    looked = range(1, fits + 1) if np.ndim(fits) == 0 else [int(fit) for fit in fits]
    wanted = set(looked)
    seen = [measure(g) for g in itertools.islice(loop, looked[-1]) if g.t + 1 in wanted]
    if isinstance(seen[0], dict):
        return {name: np.stack([values[name] for values in seen], axis=1) for name in seen[0]}
    return np.stack(seen, axis=1)
