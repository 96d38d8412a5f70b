"""Bars of the alpha complex against gudhi's, of known shapes against what they have; refusals."""

import numpy as np
import pytest

from collapse_utils.images import shapes
from collapse_utils.images.persistence import alpha_bars, longest, rips_bars, widest_arc, widest_gap


def peer(points):
    """The loops of gudhi's alpha complex, in diameters, the longest first."""
    gudhi = pytest.importorskip("gudhi")  # for tests alone: its alpha complex is under the GPL
    tree = gudhi.AlphaComplex(points=points).create_simplex_tree()
    tree.compute_persistence()
    bars = 2 * np.sqrt(np.reshape(tree.persistence_intervals_in_dimension(1), (-1, 2)))
    return bars[np.argsort(bars[:, 0] - bars[:, 1])]


@pytest.mark.parametrize("n", [4, 30, 700])
def test_loops_are_those_of_gudhi(seed, n):
    rng = np.random.default_rng(seed)
    cloud = rng.standard_normal((n, 2))
    ring = shapes.sphere(n, rng, 1) + 0.1 * rng.standard_normal((n, 2))
    for points in (cloud, ring):
        ours, theirs = (bars[bars[:, 1] - bars[:, 0] > 1e-9] for bars in (alpha_bars(points), peer(points)))
        assert np.allclose(ours, theirs, atol=1e-9)


def test_a_square_has_one_loop():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    assert np.allclose(alpha_bars(square)[0], [1, np.sqrt(2)])
    assert np.allclose(rips_bars(square), [[1, np.sqrt(2)]])


def test_voids_and_loops_of_a_sphere_and_a_torus(seed):
    """One void in a sphere and no long loop; two long loops in a torus."""
    rng = np.random.default_rng(seed)
    void = rips_bars(shapes.sphere(600, rng), 2, landmarks=60)
    assert longest(void) > 3 * longest(void[1:])
    loops = rips_bars(shapes.torus(3000, rng, 1.0, 0.5), landmarks=150)
    lengths = loops[:3, 1] - loops[:3, 0]
    assert lengths[1] > 1.5 * lengths[2]


def test_loops_do_not_depend_on_the_order_of_points_nor_on_where_they_lie(seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((200, 2))
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    moved = points[rng.permutation(200)] @ turn * 3 + [5, -2]
    assert np.allclose(alpha_bars(moved)[:50], 3 * alpha_bars(points)[:50])


def test_fewer_points_than_a_bar_needs_are_refused():
    with pytest.raises(ValueError, match="a loop needs at least 3 points; got 2"):
        alpha_bars(np.eye(2))
    with pytest.raises(ValueError, match="a bar of dimension 1 needs at least 4 points; got 3"):
        rips_bars(np.eye(3))
    with pytest.raises(ValueError, match="a bar of dimension 2 needs at least 6 points; got 5"):
        rips_bars(np.eye(5), 2)
    with pytest.raises(ValueError, match="a gap needs at least 2 points; got 1"):
        widest_gap(np.ones((1, 2)))


def test_points_on_a_line_are_refused():
    with pytest.raises(ValueError, match="must not all lie on one line"):
        alpha_bars(np.stack([np.arange(5.0), np.arange(5.0)], axis=1))


def test_the_widest_arc_is_found_across_zero():
    width, centre = widest_arc(np.array([[0.5, 1.0, 5.5], [1.0, 2.0, 4.0]]))
    assert np.allclose(width, [4.5, 2 * np.pi - 3])
    assert np.allclose(centre, [3.25, (4 + (2 * np.pi - 3) / 2) % (2 * np.pi)])
