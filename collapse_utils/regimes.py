"""What a generation is trained on: pure functions of the history [D_0, S_1, …, S_t]."""

from collections.abc import Callable
from typing import Any

from collapse_utils.rows import concat, size, subset


def replace(history, rng):
    """D_t = S_t: forget everything but the newest synthetic data."""
    return history[-1]


def accumulate(history, rng):
    """D_t = D_0 ∪ S_1 ∪ … ∪ S_t: keep everything; compute grows with t."""
    return concat(history)


def accumulate_subsample(history, rng):
    """D_t = |D_0| rows drawn from D_0 ∪ S_1 ∪ … ∪ S_t: keep everything, train on a fixed budget."""
    return subset(concat(history), size(history[0]), rng)


def replace_multiple(history, rng):
    """D_t = S_t with |S_t| = (t + 1)·|D_0|: as much data as accumulate, none of it kept. Needs draw=size_matched(|D_0|)."""
    due, got = len(history) * size(history[0]), size(history[-1])
    if got != due:
        raise ValueError(f"replace_multiple: S_t must have {due} rows; got {got}; pass draw=size_matched(n) to the loop.")
    return history[-1]


def size_matched(n: int) -> Callable[[int], int]:
    """Return draw(t) = (t + 1)·n, the size of the accumulated data at generation t."""
    return lambda t: (t + 1) * n


def real_and_last(history, rng):
    """D_t = D_0 ∪ S_t: all the (fixed) real data and the newest synthetic data; draw sets their ratio λ."""
    return concat([history[0], history[-1]])


def fresh_real_and_last(sample_real: Callable[[Any], Any]) -> Callable:
    """Return the regime D_t = fresh real rows ∪ S_t; sample_real(rng) draws *new* real data at every generation."""
    return lambda history, rng: concat([sample_real(rng), history[-1]])


def mixture(p: float) -> Callable:
    """Return the regime with |D_0| rows: a share p drawn from D_0, 1 − p from S_t, both without replacement.

    Raises ValueError unless 0 ≤ p ≤ 1; mixture(1) is the real data, mixture(0) is replace, up to the order of rows.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"mixture: p is the share of real rows and must lie between 0 and 1; got {p}.")

    def mix(history, rng):
        n_real = round(p * size(history[0]))
        n_synthetic = size(history[0]) - n_real
        return concat([subset(history[0], n_real, rng), subset(history[-1], n_synthetic, rng)])

    return mix
