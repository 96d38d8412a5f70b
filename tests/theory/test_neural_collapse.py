"""Closed forms of codes and of wrong labels against sums over explicit points."""

import numpy as np
import pytest

from collapse_utils.theory import neural_collapse as law


def simplex(a):
    """The a corners of a regular simplex, of unit length, in a − 1 dimensions."""
    corners = np.eye(a) - 1 / a
    basis = np.linalg.svd(corners)[2][: a - 1]
    x = corners @ basis.T
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def code(sizes):
    """Orthogonal simplices of these sizes, (K, d)."""
    w, row, column = np.zeros((sum(sizes), sum(sizes) - len(sizes))), 0, 0
    for a in sizes:
        w[row : row + a, column : column + a - 1] = simplex(a)
        row, column = row + a, column + a - 1
    return w


@pytest.mark.parametrize(("k", "d"), [(6, 4), (9, 5), (9, 6), (8, 4)])
def test_families_are_all_orthogonal_simplices_that_fit(k, d):
    found = law.families(k, d)
    assert len(set(found)) == len(found)
    assert all(code(sizes).shape == (k, d) and min(sizes) >= 2 for sizes in found)
    wanted = {tuple(sorted(s)) for s in np.ndindex(*(k - d) * [k]) if sum(s) == k and min(s) >= 2}
    assert set(found) == wanted


@pytest.mark.parametrize("sizes", [(2, 4), (3, 3), (2, 3, 4)])
def test_losses_and_frames_are_those_of_explicit_points(sizes):
    w = code(sizes)
    for tau in (0.2, 0.7):
        scores = w @ w.T / tau
        explicit = np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))
        assert law.simplices_loss(sizes, tau) == pytest.approx(explicit, rel=1e-12)
    assert np.allclose(law.frame(sizes), np.linalg.eigvalsh(w.T @ w))


def test_the_switch_is_where_the_ledger_has_it():
    found = [law.critical_temperature((2, d), ((d + 2) // 2, (d + 3) // 2)) for d in (4, 5, 6)]
    assert np.allclose(found, [0.50760, 0.49083, 0.47568], atol=1e-5)
    for d, tau in zip((4, 5, 6), found):
        cold, hot = (2, d), ((d + 2) // 2, (d + 3) // 2)
        assert law.simplices_loss(cold, 0.9 * tau) < law.simplices_loss(hot, 0.9 * tau)
        assert law.simplices_loss(cold, 1.1 * tau) > law.simplices_loss(hot, 1.1 * tau)


def test_margins_of_solved_cases():
    assert law.best_margin(3, 2) == pytest.approx(law.best_margin(3, 7)) == 1.5
    assert law.best_margin(5, 2) == pytest.approx(1 - np.cos(np.radians(72)))
    assert law.best_margin(7, 4) == law.best_margin(8, 4) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: law.families(5, 4), r"between d \+ 2 = 6 and 2d = 8 classes; got 5"),
        (lambda: law.families(9, 4), r"between d \+ 2 = 6 and 2d = 8 classes; got 9"),
        (lambda: law.best_margin(1, 3), "at least 2 classes and 2 dimensions; got 1 and 3"),
        (lambda: law.best_margin(9, 4), "no closed form beyond 2d = 8 classes in 4 dimensions; got 9"),
        (lambda: law.critical_temperature((3, 3), (3, 3)), r"two different lists .* got \(3, 3\), \(3, 3\)"),
        (lambda: law.critical_temperature((2, 4), (3, 4)), r"got \(2, 4\), \(3, 4\)"),
    ],
)
def test_sizes_without_such_codes_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("k", [2, 5])
def test_wrong_labels_mix_the_classes(seed, k):
    """Class means and covariances of the mixtures, summed over true classes, not drawn."""
    rng, wrong = np.random.default_rng(seed), 0.15
    means, within = rng.standard_normal((k, k + 3)), rng.standard_normal((k + 3, k + 3))
    within = within @ within.T
    mixed = np.full((k, k), wrong / (k - 1)) + (1 - wrong - wrong / (k - 1)) * np.eye(k)  # P(true | label)
    centre = means.mean(axis=0)
    new = mixed @ means

    def nc1(sigma_w, class_means):
        gaps = class_means - centre
        return np.trace(sigma_w @ np.linalg.pinv(gaps.T @ gaps / k, rcond=1e-9)) / k

    spread = sum(mixed[j, i] * np.outer(means[i] - new[j], means[i] - new[j]) for i in range(k) for j in range(k)) / k
    assert nc1(within + spread, new) == pytest.approx(law.relabelled(nc1(within, means), wrong, k))
