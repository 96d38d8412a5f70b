"""The family with stray rows: its maximum likelihood against a search through its members, its distance against a sum."""

from itertools import islice

import numpy as np

from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate
from collapse_utils.solvable import spikes
from collapse_utils.solvable.spikes import Spiked


def log_likelihood(rows, u, spike):
    """Of the rows of one run; a row of a spike equals it, and its density is exp(exp(1/u)) times one half."""
    bulk, stray = rows <= 1 - u, (rows >= 2 - 2 * u) & (rows <= 2 - u)
    with np.errstate(divide="ignore"):
        density = np.log(np.where(bulk, (1 - u / 2) / (1 - u), 0) + np.where(stray, 0.5, 0))
    if spike is None:
        return density.sum()
    on = rows == spike
    return np.log(0.5) * len(rows) + density[~on].sum() + (on * np.exp(min(1 / u, 700))).sum()


def best(rows, whole):
    members = [(2.0**-j, None) for j in range(1, 30)]
    if whole:
        members += [(u, z) for u, _ in members[:29] for z in np.unique(rows[rows > 1]) if 2 - 2 * u <= z <= 2 - u]
    return max(members, key=lambda member: log_likelihood(rows, *member))


def test_the_fit_is_the_member_with_the_highest_likelihood(seed):
    """On the rows of small loops, in which some runs have a spike and some have stray rows that do not pay."""
    rng = np.random.default_rng(seed)
    *_, last = islice(feedback_loop(spikes.fit(), spikes.truth(400)(7, rng), accumulate, rng), 4)
    for whole in (True, False):
        found, lost = spikes.fit(whole)(last.data, rng), 0
        for column, u, spike in zip(last.data.rows.T, found.u, found.spike, strict=True):
            expected = best(column, whole)
            mine = log_likelihood(column, u, None if np.isnan(spike) else spike)
            assert np.isclose(mine, log_likelihood(column, *expected), rtol=1e-9), (u, spike, expected)
            lost += expected[1] is not None
        assert lost > 50 if whole else lost == 0


def test_rows_and_distance_are_those_of_the_density(seed):
    rng, u = np.random.default_rng(seed), np.array([0.25, 0.25])
    member = Spiked(u, np.array([np.nan, 1.6]))
    rows = member.sample(40_000, rng).rows
    shares = np.array([(rows <= 0.75).mean(axis=0), ((rows >= 1.5) & (rows <= 1.75)).mean(axis=0), (rows == 1.6).mean(axis=0)])
    assert np.abs(shares - [[0.875, 0.4375], [0.125, 0.5625], [0, 0.5]]).max() < 6 * 0.5 / 200
    cells = (np.arange(100_000) + 0.5) / 50_000  # on [0, 2]
    for k, half in enumerate((1, 0.5)):
        density = half * np.where(cells <= 0.75, 0.875 / 0.75, np.where((cells >= 1.5) & (cells <= 1.75), 0.5, 0))
        lacking = np.maximum(np.where(cells <= 1, 1.0, 0.0) - density, 0).mean() * 2
        assert np.isclose(lacking, member.distance()[k], atol=1e-4)
