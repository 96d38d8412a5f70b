"""The smallest share: crossings by hand, the prediction by brute force and in its limit, a bisection that finds it."""

import numpy as np
import pytest

from collapse_utils.practice import share, sources


@pytest.mark.parametrize(
    ("ratios", "band", "where"),
    [
        ([4, 2, 1], 2, 0.5),
        ([4, 2, 1], 4 / 3, 0.75),  # straight in the inverse
        ([4, 1, 2], 2, 0.5 * (1 / 2 - 1 / 4) / (1 / 1.5 - 1 / 4)),  # the last two are one level
        ([4, 3, 2], 1, 1.0),
        ([4, 3, 2], 5, 0.0),
    ],
)
def test_crossings_by_hand(ratios, band, where):
    assert np.isclose(share.crossing([0, 0.5, 1], ratios, band), where)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 5.0])
def test_the_prediction_tends_to_the_root_of_a_quadratic(factor):
    k = factor - 1
    p = (2 * k - np.sqrt(4 * k**2 - 4 * (k - 1))) / (2 * (k - 1)) if k != 1 else 0.5  # (k − 1) p² − 2 k p + 1 = 0
    assert abs(share.predicted("drift", 4000, 60, factor) - p) < 1e-3


def test_the_drift_is_that_of_a_walk_drawn_by_hand():
    """In one dimension, with rows of real data that are far from Gaussian."""
    rng, n, chains, p = np.random.default_rng(0), 30, 20_000, 0.4
    first = np.tile(rng.standard_exponential(n)[:, None] ** 2, chains)
    centre, scale, data, seen = first[:, 0].mean(), first[:, 0].std(ddof=1), first, []
    for _ in range(4):
        drawn = data.mean(axis=0) + data.std(axis=0, ddof=1) * rng.standard_normal((n, chains))
        seen.append((((drawn.mean(axis=0) - centre) / scale) ** 2).mean())
        real = rng.permuted(first, axis=0)[: round(p * n)]
        data = np.concatenate([real, drawn[: n - len(real)]])
    assert np.allclose(seen, share.drift("mixture", 4, n, p), rtol=0.04)


def test_bisection_finds_what_theory_predicts_within_its_error():
    found = share.smallest_share(sources.read("wine"), "gaussian", "drift", 3.0, horizon=6, n_seeds=40)
    gap = found.share - share.predicted("drift", 89, 6, 3.0)
    assert abs(gap) < 4 * found.moments.se[0]
    assert found.moments.se[0] < 0.06
    assert found.high - found.low <= share.RESOLUTION
    assert found.runs.share.is_monotonic_increasing


@pytest.mark.parametrize(
    ("loss", "band", "said"),
    [
        ("drifts", 2.0, "loss: must be one of energy_distance, .*; got 'drifts'"),
        ("drift", 1.0, r"band: must be above 1, the loss of the first fit; got 1\.0"),
        ("energy_distance", 1.0001, r"with real rows alone energy_distance is .* times its first; got 1\.0001; allow more"),
        ("real_test_loss", 2.0, "loss: real_test_loss is not measured on these rows, it needs a target; choose another"),
    ],
)
def test_a_question_without_an_answer_is_refused(loss, band, said):
    with pytest.raises(ValueError, match=said):
        share.smallest_share(sources.read("iris"), "gaussian", loss, band, horizon=3, n_seeds=4)


def test_no_real_rows_may_be_enough():
    found = share.smallest_share(sources.read("iris"), "gaussian", "drift", 1000.0, horizon=3, n_seeds=4)
    assert (found.share, found.low, found.high) == (0, 0, 0)


def test_theory_knows_one_loss():
    with pytest.raises(ValueError, match="theory knows the share for drift; got 'mmd'"):
        share.predicted("mmd", 100, 10, 2.0)
