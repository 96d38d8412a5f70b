"""Energies of spins against their definition, students in the loop against their laws, pairs on a torus by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from collapse_utils import feedback_loop, follow
from collapse_utils.regimes import accumulate, replace
from collapse_utils.rows import Ensemble
from collapse_utils.scaling.lattice import classes, links
from collapse_utils.scaling.spins import Energy, Theory, kinds, lesson, losses, products
from collapse_utils.theory import counting


def test_products_are_products_of_spins_and_orthogonal():
    table, spins = products(4), 1 - 2 * (np.arange(16)[:, None] >> np.arange(4) & 1)
    for subset in range(16):
        chosen = [i for i in range(4) if subset >> i & 1]
        assert np.array_equal(table[:, subset], spins[:, chosen].prod(axis=1))
    assert np.array_equal(table.T @ table, 16 * np.eye(16))


@pytest.mark.parametrize(("n_spins", "sizes"), [(5, [32, 26, 16, 6]), (10, [1024, 176, 56, 11])])
def test_kinds_have_as_many_products_as_they_say(n_spins, sizes):
    found = kinds(n_spins)
    assert [chosen.sum() for chosen in found.values()] == sizes
    links = [[i for i in range(n_spins) if s >> i & 1] for s in np.flatnonzero(found["ring"])[1:]]
    assert all(len(pair) == 2 and pair[1] - pair[0] in (1, n_spins - 1) for pair in links)


def test_a_sample_has_different_configurations_and_the_noise_asked_for(seed):
    rng = np.random.default_rng(seed)
    model = Energy(Theory(products(4), 0.5), rng.standard_normal((2000, 16)))
    shown, energies = model.sample(12, rng).rows
    assert all(len(set(column)) == 12 for column in shown.T[:50])
    exact = np.array([model.theory.products[s] @ c for s, c in zip(shown.T, model.couplings)]).T
    assert abs((energies - exact).var() / 0.25 - 1) < 6 * np.sqrt(2 / energies.size)
    assert np.bincount(shown.ravel()).std() < 6 * np.sqrt(1500)
    for wrong in (0, 17):
        with pytest.raises(ValueError, match=f"the 16 configurations; got {wrong}"):
            model.sample(wrong, rng)


def test_a_fit_is_least_squares_of_least_norm(seed):
    rng, x = np.random.default_rng(seed), products(4)[:, :6]
    for n in (4, 13):
        shown, y = rng.random((16, 3)).argsort(axis=0)[:n], rng.standard_normal((n, 3))
        model = Theory(x).fit(Ensemble((shown, y)), rng)
        for s, labels, c, trace in zip(shown.T, y.T, model.couplings, model.trace):
            assert np.allclose(c, np.linalg.lstsq(x[s], labels)[0])
            assert trace == pytest.approx((np.linalg.pinv(x[s]) ** 2).sum())


@pytest.mark.parametrize("mix", [replace, accumulate])
def test_noisy_students_follow_their_law(seed, mix):
    """A teacher of all products of five spins, a student of single spins; what lies beyond enters once."""
    rng, table, r = np.random.default_rng(seed), products(5), 6000
    within = np.bitwise_count(np.arange(32)) <= 1
    truth = rng.standard_normal((r, 32)) * np.where(within, 1, np.sqrt(1 / 26))
    student, real = Theory(table[:, within], 0.6), Energy(Theory(table, 0.6), truth).sample(14, rng)

    def measure(g):
        missed = ((g.model.couplings - truth[:, within]) ** 2).sum(axis=1) + (truth[:, ~within] ** 2).sum(axis=1)
        return {"error": missed, "trace": g.model.trace}

    run = follow(feedback_loop(student.fit, real, mix, rng), measure, 4)
    predicted, again = counting.students(run["trace"].mean(axis=0), 1.0, 0.6, 6, 32, mix is accumulate)
    gap, slack = np.abs(run["error"].mean(axis=0) - [[predicted], [again]])[:, 0], 6 * run["error"].std(axis=0) / np.sqrt(r)
    assert (gap[0] < slack).all()
    assert (gap[1] > slack)[1:].all()


def test_too_few_examples_are_forgotten_or_kept(seed):
    rng, table, r = np.random.default_rng(seed), products(4), 3000
    truth = rng.standard_normal((r, 16))
    theory = Theory(table)
    for mix, errors in ((replace, counting.forgetting(np.arange(1, 5), 0.5)), (accumulate, np.full(4, 0.5))):
        loop = feedback_loop(theory.fit, Energy(theory, truth).sample(8, rng), mix, rng)
        lost = follow(loop, lambda g: ((g.model.couplings - truth) ** 2).mean(axis=1), 4)
        assert (np.abs(lost.mean(axis=0) - errors) < 6 * lost.std(axis=0) / np.sqrt(r)).all()


@pytest.mark.parametrize("side", [3, 4, 7])
def test_every_site_of_a_torus_has_four_neighbours(side):
    pairs = links(side)
    assert len({tuple(pair) for pair in pairs}) == len(pairs) == 2 * side**2
    assert (np.bincount(pairs.ravel()) == 4).all()
    rows, columns = np.abs(np.diff(np.divmod(pairs, side), axis=-1))[..., 0]
    assert (np.minimum(rows, side - rows) + np.minimum(columns, side - columns) == 1).all()


def test_a_torus_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 3; got 2"):
        links(2)


@pytest.mark.parametrize("side", [3, 4, 5])
def test_pairs_are_as_many_as_their_differences(side):
    """Shifts leave the difference of two sites, up to its sign; quarter turns swap and flip its parts."""
    apart = {(i, j) for i in range(side) for j in range(side)} - {(0, 0)}
    shifted = {frozenset([d, (-d[0] % side, -d[1] % side)]) for d in apart}
    turned = {frozenset(e for d in one for e in (d, (-d[1] % side, d[0]))) for one in shifted}
    every = np.array(np.triu_indices(side**2, 1)).T
    assert classes(links(side), side) == 2
    assert classes(links(side), side, turns=True) == 1
    assert classes(every, side) == len(shifted)
    assert classes(every, side, turns=True) == len(turned)


def test_losses_are_distances_of_couplings(seed):
    rng, r = np.random.default_rng(seed), 4
    truth, chosen = rng.standard_normal((r, 8)), np.arange(8) < 3
    measure = losses(truth, chosen)
    for step in range(2):
        model = Energy(Theory(products(3)[:, chosen]), truth[:, chosen] + step, np.full(r, 7.0))
        found = measure(SimpleNamespace(model=model))
        whole = np.column_stack([model.couplings, np.zeros((r, 5))])
        energies = (whole - truth) @ products(3).T
        assert np.allclose(found["error"], (energies**2).mean(axis=1))
        assert np.allclose(found["share"] * (truth**2).sum(axis=1), found["error"])
        length = (truth[:, chosen] ** 2).sum(axis=1)
        assert np.allclose(found["missed"] * length, found["error"])
        assert np.allclose(found["change"], 3 * step / length)
        assert (found["trace"] == 7).all()


def test_a_lesson_ends_when_the_rows_determine_the_couplings(seed):
    rng, x = np.random.default_rng(seed), products(5)[:, np.bitwise_count(np.arange(32)) <= 1]
    for _ in range(20):
        state = rng.bit_generator.state
        rows, known = lesson(x, [2, 5], rng)
        again = np.random.default_rng()
        again.bit_generator.state = state
        order = again.permutation(32)
        ranks = [np.linalg.matrix_rank(x[order[:m]]) for m in range(1, 33)]
        assert known == 1 + ranks.index(6)
        assert np.array_equal(rows[:, 0], [ranks[1], ranks[4]])
        assert (rows[:, 1] > 0).all()
        assert (rows[:, 2] < 1).all()


def test_a_generic_energy_is_not_learned(seed):
    rng, table = np.random.default_rng(seed), products(5)
    rows, known = lesson(table, [8, 24], rng)
    assert known == 32
    assert (rows[:, 2] <= 1e-9).all()
    assert np.array_equal(rows[:, 0], [8, 24])
