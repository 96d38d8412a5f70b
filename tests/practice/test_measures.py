"""Measures against plain definitions; each near its value for fresh real rows, and away from it where something is lost."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.tree import DecisionTreeClassifier

from collapse_utils.practice import distances, measures
from collapse_utils.practice.frames import Columns
from tests.practice.test_distances import MIXED, mixed

NUMBER = Columns(("x",), ("number",), ((),))


def reference(rng, n=1200, target="pay"):
    """Real rows in two halves, to be measured against."""
    return measures.Reference(mixed(n, rng), mixed(n, rng), MIXED, target, 400, rng)


def measured(against, rows, rng, *groups):
    """What a sample measures, as {(measure, column): value}."""
    return {(name, column): value for name, column, value in against.measure(rows, groups or measures.GROUPS, rng)}


def test_marginals_are_those_of_scipy_and_of_counts(seed):
    rng = np.random.default_rng(seed)
    x, y = mixed(300, rng), mixed(211, rng, shift=3)
    x[:, 0], y[:, 0] = x[:, 0].round(-1), y[:, 0].round(-1)  # with ties
    found = measures.marginals(x, y, MIXED)
    assert found[[0, 2]] == pytest.approx([stats.ks_2samp(x[:, j], y[:, j]).statistic for j in (0, 2)])
    assert found[1] == pytest.approx(sum(abs((x[:, 1] == k).mean() - (y[:, 1] == k).mean()) for k in range(3)) / 2)


def test_correlations_are_those_of_numpy(seed):
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal((100, 3)) @ rng.standard_normal((3, 3)) for _ in range(2))
    change = np.abs(np.corrcoef(x.T) - np.corrcoef(y.T))[np.triu_indices(3, 1)]
    assert measures.correlations(x, y, np.arange(3)) == pytest.approx((change.max(), change.mean()))
    assert measures.correlations(x[:, :1], y[:, :1], np.zeros(1)) == (0, 0)
    y[:, 0] = 0.1  # without spread: a correlation of nought, whatever rounding leaves
    lost = np.abs(np.corrcoef(x.T)[0, 1:]).max()
    assert measures.correlations(x, y, np.arange(3))[0] >= lost - 1e-12


def test_tails_of_fresh_rows_are_whole_and_those_of_narrow_rows_are_gone(seed):
    rng, n = np.random.default_rng(seed), 50_000
    real, fresh = rng.standard_normal((n, 2)), rng.standard_normal((n, 2))
    for level in (0.01, 0.001):
        slack = 6 * np.sqrt(4 / (2 * level * n))  # counts beyond quantiles that are estimated themselves
        assert np.abs(measures.tail_mass(real, fresh, level) - 1).max() < slack
    narrow = 2 * stats.norm.sf(stats.norm.isf(0.01) / 0.8) / 0.02  # a fifth less spread
    assert measures.tail_mass(real, 0.8 * fresh, 0.01) == pytest.approx([narrow] * 2, abs=6 * np.sqrt(4 / (0.02 * n)))
    assert (measures.tail_mass(real, np.clip(fresh, -2, 2), 0.01) == 0).all()
    assert (measures.tail_mass(np.ones((100, 1)), np.ones((5, 1)), 0.01) == 1).all()
    with pytest.raises(ValueError, match=r"the quantile 0\.001 needs at least 1000 real rows; got 999"):
        measures.tail_mass(real[:999], fresh, 0.001)


def test_categories_are_lost_only_where_they_were():
    assert measures.lost_categories(np.array([0, 1, 1, 3.0]), np.array([1, 1, 2.0]), 5) == 2
    assert measures.lost_categories(np.array([0, 1.0]), np.array([0, 1, 4.0]), 5) == 0


def test_use_is_the_loss_of_least_squares_and_of_a_stranger_s_classifier(seed):
    """Ridge with n ≫ d is least squares, whose loss on y = 3 x + noise is the noise over the variance."""
    rng = np.random.default_rng(seed)
    rows, test = mixed(3000, rng), mixed(3000, rng)
    coordinates = distances.Coordinates.of(test, MIXED)
    loss = measures.train_on_synthetic_test_on_real(rows, test, coordinates, "pay")
    assert loss == pytest.approx(100 / 1000, abs=6 * 0.1 * np.sqrt(2 / 3000) + 0.001)
    broken = rows.copy()
    broken[:, 2] = rng.permutation(broken[:, 2])
    assert measures.train_on_synthetic_test_on_real(broken, test, coordinates, "pay") > 0.9
    named = (test[:, [0]] > 40) * 1.0 + (test[:, [0]] > 45)  # a category that age alone decides
    decided = np.column_stack([test[:, 0], named[:, 0], test[:, 2]])
    tree = measures.train_on_synthetic_test_on_real(decided, decided, coordinates, "job", DecisionTreeClassifier())
    assert tree == 0
    alone = decided[decided[:, 1] == 0]  # one category is left: it is all that can be answered
    assert measures.train_on_synthetic_test_on_real(alone, decided, coordinates, "job") == pytest.approx((named > 0).mean())


def test_a_target_must_be_a_column_beside_others():
    rows, one = mixed(9, np.random.default_rng(0)), np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match="target: must be one of the columns 'age', 'job', 'pay'; got 'wage'"):
        measures.train_on_synthetic_test_on_real(rows, rows, distances.Coordinates.of(rows, MIXED), "wage")
    with pytest.raises(ValueError, match="target: 'x' must have other columns to be predicted from; got a table of one"):
        measures.train_on_synthetic_test_on_real(one, one, distances.Coordinates.of(one, NUMBER), "x")


def test_neighbours_tell_a_memory_from_fresh_rows(seed):
    """Fresh rows are as near to either half: the share nearer to the first is binomial around a half."""
    rng, n = np.random.default_rng(seed), 600
    train, held, fresh = (rng.standard_normal((n, 2)) for _ in range(3))

    def ratio(rows, of=train, beside=held):
        return measures.nearest_neighbour_ratio(distances.nearest(rows, of), distances.nearest(rows, beside))

    assert ratio(fresh) == pytest.approx(np.median(cdist(fresh, train).min(axis=1) / cdist(fresh, held).min(axis=1)))
    nearer = (distances.nearest(fresh, train) < distances.nearest(fresh, held)).mean()
    assert abs(nearer - 0.5) < 6 * np.sqrt(1 / n)  # the halves are shared, so twice the binomial spread
    assert ratio(train + 0.01 * fresh) < 0.5
    assert ratio(train) == 0
    assert ratio(train, train, train) == 1
    assert measures.copied(np.concatenate([train, fresh]), train) == 0.5
    assert measures.copied(np.array([[-0.0]]), np.array([[0.0]])) == 1


def test_fresh_rows_measure_what_equal_laws_do(seed):
    """Every measure of twenty fresh samples has its value for equal laws within the spread of its null."""
    rng = np.random.default_rng(seed)
    found = [measured(reference(rng), mixed(1200, rng), rng, *(set(measures.GROUPS) - {"classifier"})) for _ in range(20)]
    for (name, column), first in found[0].items():
        values = np.array([one[name, column] for one in found])
        same, spread = measures.MEASURES[name].same, values.std(ddof=1) / np.sqrt(20)
        assert first >= 0, name
        if name in ("tail_mass_1", "variance_ratio", "nearest_neighbour_ratio"):
            assert abs(values.mean() - same) < 6 * spread + 0.01, (name, column)
        elif name == "strange_rows":
            assert abs(values.mean() - 0.01) < 6 * spread + 0.002
        elif measures.MEASURES[name].same == 0:
            assert values.max() < 0.2, (name, column)


SPOILED = {  # how, and the measures that must see it, with their columns
    "narrow": (lambda rows: rows * [0.4, 1, 0.4] + [24, 0, 72], "variance_ratio:age tail_mass_1:pay energy_distance: mmd:"),
    "moved": (
        lambda rows: rows + np.array([8, 0, 0]),
        "mean_shift:age marginal_distance:age energy_distance: mmd: classifier_auc:",
    ),
    "untied": (
        lambda rows: np.column_stack([rows[::-1, 0], rows[:, 1:]]),
        "correlation_largest: real_test_loss: classifier_auc:",
    ),
    "a category lost": (lambda rows: rows[rows[:, 1] < 2], "lost_categories:job marginal_distance:job energy_distance:"),
}


def test_what_is_spoiled_is_seen_by_its_measures(seed):
    """Further from the mean of six fresh samples than these are apart."""
    rng = np.random.default_rng(seed)
    against = reference(rng)
    null = [measured(against, mixed(1200, rng), rng) for _ in range(6)]
    for how, (spoil, seen) in SPOILED.items():
        found = measured(against, spoil(mixed(1200, rng)), rng)
        for key in (tuple(word.split(":")) for word in seen.split()):
            fresh = [one[key] for one in null]
            assert abs(found[key] - np.mean(fresh)) > np.ptp(fresh), (how, key)


def test_copies_of_the_training_rows_are_seen_as_such(seed):
    rng = np.random.default_rng(seed)
    against = reference(rng)
    found = measured(against, against.train, rng, "neighbours")
    assert found["nearest_neighbour_ratio", ""] == 0
    assert found["copied_rows", ""] == 1
    beside = mixed(1000, rng)
    beside[::2, 0] += 200  # half of the rows are like none
    assert measured(against, beside, rng, "neighbours")["strange_rows", ""] == pytest.approx(0.5, abs=0.1)


def test_small_tables_leave_out_what_they_cannot_measure(seed):
    rng = np.random.default_rng(seed)
    found = measured(reference(rng, 8, target=""), mixed(8, rng), rng)
    assert {name for name, _ in found} == set(measures.MEASURES) - {
        "tail_mass_1", "tail_mass_01", "classifier_auc", "classifier_accuracy", "real_test_loss"
    }  # fmt: skip
    large = measured(reference(rng, 1000), mixed(500, rng), rng, "tails")
    assert set(large) == {(name, column) for name in ("tail_mass_1", "tail_mass_01") for column in ("age", "pay")}


def test_one_column_is_compared_exactly(seed):
    rng = np.random.default_rng(seed)
    x, y, z = (rng.standard_normal((n, 1)) for n in (60, 90, 70))
    against = measures.Reference(x, y, NUMBER, "", 10, rng)
    found = measured(against, z, rng, "energy")["energy_distance", ""]
    assert found == pytest.approx(stats.energy_distance(y[:, 0] / y.std(), z[:, 0] / y.std()) ** 2)


def test_every_measure_belongs_to_a_group_that_gives_it(seed):
    rng = np.random.default_rng(seed)
    against = reference(rng)
    for group in measures.GROUPS:
        given = {name for name, _ in measured(against, mixed(1200, rng), rng, group)}
        assert given == {name for name, measure in measures.MEASURES.items() if measure.group == group}
    with pytest.raises(ValueError, match="must be among energy, mmd, classifier, .*; got 'energi'"):
        against.measure(mixed(9, rng), ["energi"], rng)


@pytest.mark.parametrize("n_rows", [20, 220, 2400])
@pytest.mark.parametrize(("places", "target"), [([0, 1, 2], "pay"), ([0, 1, 2], ""), ([0, 2], ""), ([1], "")])
def test_what_will_be_measured_is_known_before(n_rows, places, target):
    rng, kept = np.random.default_rng(0), [[part[j] for j in places] for part in (MIXED.names, MIXED.kinds, MIXED.categories)]
    columns = Columns(*map(tuple, kept))
    rows = mixed(n_rows, rng)[:, places]
    against = measures.Reference(rows[::2], rows[1::2], columns, target, 400, rng)
    found = {name for name, _ in measured(against, rows[::2], rng)}
    assert measures.available(columns, n_rows, measures.GROUPS, target) == found
    assert measures.available(columns, n_rows, ["energy"], target) == {"energy_distance"}
