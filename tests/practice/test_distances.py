"""Distances against plain definitions, a null within its spread, and what each must see."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist, pdist

from collapse_utils.practice import distances
from collapse_utils.practice.frames import Columns

MIXED = Columns(("age", "job", "pay"), ("number", "category", "number"), ((), ("a", "b", "c"), ()))


def mixed(n, rng, shift=0.0):
    """Rows of MIXED: two numbers that hang together, and a category."""
    age = rng.normal(40 + shift, 10, n)
    return np.column_stack([age, rng.integers(3, size=n), 3 * age + rng.normal(0, 10, n)])


def plain(x, y, h):
    """Energy distance and MMD² as they are defined, with every pair in one matrix."""

    def kernel(a, b):
        return np.exp(-(cdist(a, b) ** 2) / (2 * h * h)).mean()

    energy = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    return energy, kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)


def test_blocks_give_what_all_pairs_at_once_give(seed, monkeypatch):
    """Also where the sizes are no multiples of a block, and blocks are not square."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((137, 4)), 1.3 * rng.standard_normal((90, 4))
    for block in ((256, 256), (10, 33), (64, 7), (1, 1000)):
        monkeypatch.setattr(distances, "BLOCK", block)
        both = distances.two_sample(distances.Points(x), distances.Points(y), 1.7)
        assert np.allclose(both, plain(x, y, 1.7), rtol=1e-5, atol=1e-7)
        assert np.allclose(distances.nearest(x, y), cdist(x, y).min(axis=1), rtol=1e-12)


def test_one_dimension_is_exact_by_sorting(seed):
    """With ties, against scipy, which integrates the square root, and against all pairs."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(5, size=200).astype(float), rng.standard_normal(151)
    found = distances.energy_distance(x[:, None], y[:, None])
    assert found == pytest.approx(stats.energy_distance(x, y) ** 2, rel=1e-12)
    assert found == pytest.approx(plain(x[:, None], y[:, None], 1.0)[0], rel=1e-10)
    assert found == pytest.approx(
        distances.two_sample(distances.Points(x[:, None]), distances.Points(y[:, None]), 1.0)[0], rel=1e-5
    )


def test_equal_samples_are_at_no_distance(seed):
    x = np.random.default_rng(seed).standard_normal((300, 3))
    assert distances.energy_distance(x, x[::-1]) == pytest.approx(0, abs=1e-6)
    assert distances.two_sample(distances.Points(x), distances.Points(x[::-1]), 1.0)[1] == pytest.approx(0, abs=1e-6)
    assert (distances.nearest(x, x[::-1]) == 0).all()


def test_a_bandwidth_is_the_median_distance_and_never_nought(seed):
    x = np.random.default_rng(seed).standard_normal((50, 3))
    assert distances.median_bandwidth(x) == np.median(pdist(x))
    assert distances.median_bandwidth(x[:1]) == distances.median_bandwidth(np.ones((9, 2))) == 1.0
    with pytest.raises(ValueError, match=r"two_sample: the bandwidth must be a finite number above 0; got 0\.0"):
        distances.two_sample(distances.Points(x), distances.Points(x), 0.0)


def test_fresh_rows_stay_within_the_null_and_others_do_not(seed):
    """The null by exchange, 60 permutations of the pooled rows: more spread lies beyond it, and a correlation that is gone."""
    rng, tied, n = np.random.default_rng(seed), [[1, 0.95], [0.95, 1]], 250
    of = Columns(("x", "y"), ("number", "number"), ((), ()))
    real = rng.multivariate_normal([0, 0], tied, n)
    coordinates = distances.Coordinates.of(real, of)

    def both(x, y):
        return distances.two_sample(*(distances.Points(coordinates(part)) for part in (x, y)), 1.0)

    def beyond(sample):
        pooled = np.concatenate([real, sample])
        null = [both(*np.split(rng.permutation(pooled), [n])) for _ in range(60)]
        return np.subtract(both(real, sample), np.mean(null, axis=0)) / np.std(null, axis=0)

    assert (beyond(rng.multivariate_normal([0, 0], tied, n)) < 8).all()  # the law has a long tail
    assert (beyond(rng.standard_normal((n, 2))) > 8).all()  # each column has the law that it had
    assert (beyond(2 * rng.multivariate_normal([0, 0], tied, n)) > 8).all()


def test_a_classifier_is_at_a_half_for_one_law_and_beyond_it_for_two(seed):
    """Under the null the AUC has the spread of Mann and Whitney's U: √((2n + 1)/(12 n²))."""
    rng, n = np.random.default_rng(seed), 300
    x, same, other = rng.standard_normal((n, 3)), rng.standard_normal((2 * n, 3)), rng.standard_normal((n, 3))
    other[:, 1] = 0.9 * other[:, 0] + np.sqrt(1 - 0.81) * other[:, 1]  # only a correlation is new
    spread = np.sqrt((2 * n + 1) / 12) / n
    assert abs(distances.classifier_two_sample(x, same, rng)[0] - 0.5) < 6 * spread
    auc, accuracy = distances.classifier_two_sample(x, other, rng)
    assert auc > 0.5 + 6 * spread
    assert 0.5 < accuracy <= 1
    with pytest.raises(ValueError, match="3 folds need at least 6 rows of both samples; got 5"):
        distances.classifier_two_sample(x[:5], same, rng)


def test_points_measure_numbers_in_deviations_and_categories_in_ones(seed):
    rows = mixed(500, np.random.default_rng(seed))
    points = distances.Coordinates.of(rows, MIXED)
    assert points(rows).shape == (500, 5)
    assert list(points.owner) == [0, 1, 1, 1, 2]
    assert np.allclose(points(rows)[:, [0, 4]].std(axis=0), 1)
    assert np.allclose(points(rows)[:, [0, 4]].mean(axis=0), 0)
    pair = np.array([[40.0, 0, 9], [40.0, 2, 9]])
    assert pdist(points(pair)) == pytest.approx(1)
    constant = distances.Coordinates.of(np.ones((3, 1)), Columns(("x",), ("number",), ((),)))
    assert constant(np.array([[3.0]])) == 2


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        (np.nan, 0, "measures: column age must be finite; got nan in row 7"),
        (np.inf, 2, "measures: column pay must be finite; got inf in row 7"),
        (3, 1, "measures: column job must hold places 0 to 2 of categories; got 3"),
        (0.5, 1, r"measures: column job must hold places 0 to 2 of categories; got 0\.5"),
    ],
)
def test_values_that_are_none_are_refused_by_their_column(value, column, message):
    rows = mixed(20, np.random.default_rng(0))
    rows[7, column] = value
    with pytest.raises(ValueError, match=message):
        distances.finite(rows, MIXED)


@pytest.mark.parametrize(
    ("shape", "message"), [((0, 3), "at least one row of 3 columns; got none"), ((5, 2), "rows of 3 columns")]
)
def test_arrays_of_another_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        distances.finite(np.zeros(shape), MIXED)
