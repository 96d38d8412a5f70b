"""The loop and its regimes: endpoints, sizes, and the same first generations in every regime."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from collapse_utils import feedback_loop
from collapse_utils.language.tokens import Rows
from collapse_utils.regimes import (
    accumulate,
    accumulate_subsample,
    fresh_real_and_last,
    mixture,
    real_and_last,
    replace,
    replace_multiple,
    size_matched,
)
from collapse_utils.rows import Ensemble, History, Summary, concat, size, subset


class Bootstrap:
    """The simplest generative model: it resamples the rows that it was fitted to."""

    def __init__(self, data, rng):
        self.data = data

    def sample(self, n, rng):
        return self.data[rng.integers(len(self.data), size=n)]


def sizes(mix, draw=None, n=4):
    rng = np.random.default_rng(0)
    return [size(g.data) for g in islice(feedback_loop(Bootstrap, np.arange(10.0), mix, rng, draw), n)]


def test_sizes_of_every_regime():
    assert sizes(replace) == [10, 10, 10, 10]
    assert sizes(accumulate) == [10, 20, 30, 40]
    assert sizes(accumulate_subsample) == [10, 10, 10, 10]
    assert sizes(replace_multiple, size_matched(10)) == [10, 20, 30, 40]
    assert sizes(mixture(0.3)) == [10, 10, 10, 10]
    assert sizes(real_and_last, lambda t: 5) == [10, 15, 15, 15]
    assert sizes(fresh_real_and_last(lambda rng: rng.random(7))) == [10, 17, 17, 17]


def test_replace_multiple_refuses_the_wrong_size():
    with pytest.raises(ValueError, match="20 rows; got 10; pass draw=size_matched"):
        sizes(replace_multiple)


@pytest.mark.parametrize("mix", [replace, accumulate, accumulate_subsample, mixture(0.5), real_and_last])
def test_same_seed_gives_the_same_generation_0_and_first_samples(mix, seed):
    seen = []

    def spy(history, rng):
        seen.append(history[1])
        return mix(history, rng)

    first = next(feedback_loop(Bootstrap, np.arange(10.0), mix, np.random.default_rng(seed)))
    list(islice(feedback_loop(Bootstrap, np.arange(10.0), spy, np.random.default_rng(seed)), 2))
    expected = np.arange(10.0)[np.random.default_rng(seed).integers(10, size=10)]
    assert first.t == 0
    np.testing.assert_array_equal(first.data, np.arange(10.0))
    np.testing.assert_array_equal(seen[0], expected)


def test_mixture_endpoints_are_the_real_data_and_replace():
    history, rng = [np.arange(10), 100 + np.arange(10), 200 + np.arange(10)], np.random.default_rng(0)
    assert sorted(mixture(1)(history, rng)) == list(range(10))
    assert sorted(mixture(0)(history, rng)) == list(range(200, 210))
    assert sum(mixture(0.3)(history, rng) < 100) == 3


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_mixture_refuses_a_share_outside_0_and_1(p):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        mixture(p)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_subset_draws_rows_without_replacement(total, n, seed):
    rng = np.random.default_rng(seed)
    n = min(n, total)
    plain = subset(np.arange(total), n, rng)
    assert len(set(plain)) == len(plain) == n
    rows = np.broadcast_to(np.arange(total)[:, None], (total, 3))
    each = subset(Ensemble((rows, 2 * rows)), n, rng).rows
    assert each[0].shape == (n, 3)
    np.testing.assert_array_equal(2 * each[0], each[1])
    assert all(len(set(column)) == n for column in each[0].T)


def test_subset_of_an_ensemble_is_uniform_and_independent_across_replicates(seed):
    rows = np.broadcast_to(np.arange(4)[:, None], (4, 40_000))
    chosen = subset(Ensemble(rows), 1, np.random.default_rng(seed)).rows[0]
    counts = np.bincount(chosen, minlength=4)
    assert np.abs(counts - 10_000).max() < 5.5 * np.sqrt(40_000 * 3 / 16)  # binomial, 1e-6; a shared draw gives 40,000


def test_rows_of_every_kind():
    assert concat([[1, 2], [3]]) == [1, 2, 3]
    pair = concat([(np.zeros(2), ["a", "b"]), (np.ones(1), ["c"])])
    assert size(pair) == 3
    assert pair[1] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="between 0 and the data set's 3 rows; got 4"):
        subset(np.arange(3), 4, np.random.default_rng(0))


KINDS = {
    "array": lambda k: np.arange(10.0 * k, 10.0 * k + 4),
    "wider numbers": lambda k: np.arange(4, dtype=np.int16) if k < 2 else np.arange(4.0) + k / 3,
    "list": lambda k: [f"{k}-{i}" for i in range(4)],
    "columns": lambda k: (np.full((4, 2), k), [k] * 4),
    "replicates": lambda k: Ensemble(np.full((3, 4, 2), float(k)).swapaxes(0, 1)),
    "labelled replicates": lambda k: Ensemble((np.full((4, 3), k), np.full((4, 3), k / 7))),
    "token rows": lambda k: Rows(np.full((4, 5), k, np.uint16)),
}


def plain(data):
    """A data set as lists."""
    if isinstance(data, Ensemble):
        return plain(data.rows)
    return [plain(column) for column in data] if isinstance(data, tuple) else np.asarray(data).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_has_the_rows_of_its_parts_and_leaves_what_it_gave(kind):
    history, seen = History(), []
    for k in range(12):
        history.append(KINDS[kind](k))
        if k % 3 != 1:  # not at every turn
            seen.append((concat(history), plain(concat(list(history)))))
    assert all(type(found) is type(history[0]) for found, _ in seen)
    assert [plain(found) for found, _ in seen] == [expected for _, expected in seen]
    assert plain(history[0]) == plain(KINDS[kind](0))


@pytest.mark.parametrize("kind", ["array", "replicates"])
def test_rows_that_are_kept_are_not_copied_again(kind):
    history, pools = History(), []
    for k in range(200):
        history.append(KINDS[kind](k))
        pools.append(concat(history))
    rows = [pool.rows if isinstance(pool, Ensemble) else pool for pool in pools]
    moved = sum(not np.shares_memory(a, b) for a, b in pairwise(rows))
    assert moved <= np.log(200) / np.log(1.5) + 2


class Counts(Summary):
    """How often each of some states was seen."""

    def __init__(self, counts):
        self.counts, self.n = counts, int(counts.sum())

    def join(self, other):
        return type(self)(self.counts + other.counts)

    def sample(self, n, rng):
        return type(self)(rng.multinomial(n, self.counts / self.n))


class Urn(Counts):
    def subset(self, n, rng):
        return Urn(rng.multivariate_hypergeometric(self.counts, n))


def test_a_summary_takes_the_place_of_rows_in_every_regime_that_knows_its_law():
    def followed(mix, kind=Counts, draw=None):
        loop = feedback_loop(lambda data, rng: kind(data.counts), kind(np.array([5, 3, 2])), mix, np.random.default_rng(0), draw)
        return [size(g.data) for g in islice(loop, 4)]

    assert followed(replace) == [10, 10, 10, 10]
    assert followed(accumulate) == [10, 20, 30, 40]
    assert followed(replace_multiple, draw=size_matched(10)) == [10, 20, 30, 40]
    assert followed(mixture(0.3), Urn) == [10, 10, 10, 10]
    for mix in (accumulate_subsample, mixture(0.3)):
        with pytest.raises(ValueError, match="subset: Counts knows no law of a part of its rows; run this regime on rows"):
            followed(mix)
    with pytest.raises(ValueError, match="between 0 and the data set's 10 rows; got 11"):
        subset(Urn(np.array([5, 5])), 11, np.random.default_rng(0))
