"""A finite alphabet resampled for ever: the data themselves are the model, and a letter that is missed once is gone."""

from itertools import islice

import numpy as np

from collapse_utils.loop import feedback_loop
from collapse_utils.regimes import replace
from collapse_utils.rows import Ensemble
from collapse_utils.solvable import kde

resample = kde.fit(lambda rows: 0.0)  # kernels of no width: the law of the rows themselves


def letters(p, m: int, replicates: int, rng: np.random.Generator) -> Ensemble:
    """Return R data sets of m letters 0 … K − 1 drawn from p (K,), as an Ensemble of rows (m, R)."""
    drawn = np.searchsorted(np.cumsum(p)[:-1], rng.random((m, replicates)), side="right")
    return Ensemble(drawn.astype(np.int16))


def counts(rows: np.ndarray, n_states: int) -> np.ndarray:
    """Return how often each of K = n_states letters stands in rows (m, R): (R, K)."""
    return np.stack([(rows == i).sum(axis=0) for i in range(n_states)], axis=1)


def absorption(p, m: int, replicates: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the resamplings until one letter is left of m drawn from p (K,), (R,), and that letter, (R,).

    Chains that are down to one letter are set aside, and the loop goes on with the others: under replace the last generation
    is all that matters.
    """
    rows, time, alive = letters(p, m, replicates, rng).rows, np.zeros(replicates, int), np.arange(replicates)
    winner = np.empty(replicates, int)
    while alive.size:
        for g in islice(feedback_loop(resample, Ensemble(rows), replace, rng), m):
            mixed = (g.data.rows != g.data.rows[0]).any(axis=0)
            time[alive] += mixed
        winner[alive] = g.data.rows[0]
        rows, alive = g.model.sample(m, rng).rows[:, mixed], alive[mixed]
    return time, winner


def extinction(p, m: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Return the resamplings before each letter is gone, of m rows drawn from p (K,): (R, K); 0 where the first rows lack it.

    For the letter that is left it is one more than for the last that went.
    """
    time = np.zeros((replicates, len(p)))
    for g in feedback_loop(resample, letters(p, m, replicates, rng), replace, rng):
        present = counts(g.data.rows, len(p)) > 0
        time += present
        if (present.sum(axis=1) == 1).all():
            return time
