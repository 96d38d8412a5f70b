"""Products and eigenpairs against the full Hessian and a second library, projected descent, and what is refused."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from collapse_utils.dynamics import images
from collapse_utils.dynamics.hessian import Surface, cosine, descend, drawn, fraction, overlap, top

ALL = slice(None)


def network(seed, soft=False, convolution=False):
    torch.manual_seed(seed)
    y = torch.arange(30) % 3
    y = nn.functional.one_hot(y, 3).double() * 0.7 + 0.1 if soft else y
    x = torch.randn(30, 1, 4, 4, dtype=torch.float64) if convolution else torch.randn(30, 4, dtype=torch.float64)
    dense = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)]
    layers = [nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)] if convolution else dense
    return Surface(nn.Sequential(*layers).double(), x, y)


@pytest.mark.parametrize("options", [{}, {"soft": True}, {"convolution": True}])
def test_products_and_pairs_are_those_of_the_full_hessian(seed, options):
    S = network(seed, **options)
    full = torch.autograd.functional.hessian(lambda theta: S.losses(theta, reduction="mean"), S.start).numpy()
    H = S.hessian(S.start)
    assert H @ np.eye(len(full)) == pytest.approx(full, abs=1e-12)
    values, vectors = top(H, 4, 1e-9)
    assert values == pytest.approx(np.linalg.eigvalsh(full)[::-1][:4], rel=1e-8)
    assert full @ vectors == pytest.approx(vectors * values, abs=1e-8)
    assert vectors.T @ vectors == pytest.approx(np.eye(4), abs=1e-9)


def test_gradient_and_spread_are_those_of_single_rows(seed):
    S = network(seed)
    single = np.array([S.gradient(S.start, [a]).numpy() for a in range(30)])
    assert S.gradient(S.start).numpy() == pytest.approx(single.mean(axis=0))
    vectors = np.linalg.qr(np.random.default_rng(seed).standard_normal((single.shape[1], 3)))[0]
    assert S.spread(S.start, vectors) == pytest.approx((single @ vectors).var(axis=0))


@pytest.mark.skipif(
    importlib.util.find_spec("hessian_eigenthings") is None,
    reason="hessian-eigenthings is not installed: pip install hessian-eigenthings==1.0.0a5",
)
def test_a_second_library_finds_the_same_eigenvalues(seed):
    from hessian_eigenthings import lanczos
    from hessian_eigenthings.operators import HessianOperator

    S = network(seed)
    operator = HessianOperator(S.model, [(S.x, S.y)], lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    theirs = lanczos(operator, k=4, max_iter=42, which="LA", seed=seed).eigenvalues  # by itself it stops after 2 k
    assert np.sort(theirs.numpy())[::-1] == pytest.approx(top(S.hessian(S.start), 4, 1e-9)[0], rel=1e-5)


def test_shares_and_overlaps_by_hand():
    V = np.eye(4)[:, :2]
    assert fraction(V, [3.0, 0, 4.0, 0]) == pytest.approx(9 / 25)
    assert cosine([1.0, 0], [1.0, 1.0]) == pytest.approx(0.5**0.5)
    assert overlap(V, V[:, ::-1]) == pytest.approx(1)
    assert overlap(V, np.eye(4)[:, 1:3]) == pytest.approx(0.5)


def test_the_two_parts_of_a_step_add_up_to_it(seed):
    S = network(seed)
    steps = [descend(S, S.start, 0.5, [ALL], keep, 3) - S.start for keep in ("all", "top", "bulk")]
    assert steps[0].numpy() == pytest.approx((steps[1] + steps[2]).numpy())
    basis = top(S.hessian(S.start), 3)[1]
    assert fraction(basis, steps[1]) == pytest.approx(1)
    assert fraction(basis, steps[2]) == pytest.approx(0, abs=1e-9)
    assert S.loss(descend(S, S.start, 0.1, [ALL] * 5)) < S.loss(S.start)


def test_batches_are_drawn_from_all_rows(seed):
    rows = drawn(7, 500, 3, np.random.default_rng(seed))
    assert rows.shape == (500, 3)
    assert rows.unique().tolist() == list(range(7))


@pytest.mark.parametrize("k", [0, 43, 60])
def test_more_directions_than_parameters_are_refused(k):
    S = network(0)
    with pytest.raises(ValueError, match=f"at least 1 and fewer than the 43 parameters; got {k}"):
        top(S.hessian(S.start), k)


@pytest.mark.parametrize("y", [torch.full((30,), 2), nn.functional.one_hot(torch.full((30,), 2), 3).double()])
def test_labels_of_one_class_are_refused(y):
    S = network(0)
    with pytest.raises(ValueError, match="at least 2 classes; got class 2 alone"):
        Surface(S.model, S.x, y)


def test_fewer_rows_than_classes_are_refused():
    S = network(0)
    with pytest.raises(ValueError, match="at least as many rows as the 3 classes; got 2"):
        Surface(S.model, S.x[:2], S.y[:2])


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_does_not_descend_is_refused(rate):
    with pytest.raises(ValueError, match="rate must be above 0; got"):
        descend(network(0), network(0).start, rate, [ALL])


def test_another_part_of_the_gradient_is_refused():
    with pytest.raises(ValueError, match="keep must be all, top or bulk; got 'middle'"):
        descend(network(0), network(0).start, 0.1, [ALL], "middle")


def test_descent_that_leaves_the_numbers_is_told():
    S = network(0)
    with pytest.raises(FloatingPointError, match="must stay finite; got NaN or infinity at rate 0.1"):
        descend(S, S.start / 0, 0.1, [ALL])


def test_brightness_keeps_train_and_test_rows_apart(seed):
    (x, y), (x_test, y_test) = images.brightness("digits", 300, np.random.default_rng(seed))
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((300, 64), (300,), (1497, 64), (1497,))
    assert 0 <= x.min() < x.max() <= 1
    with pytest.raises(ValueError, match="at least 1 and fewer than the 1797 of digits; got 1797"):
        images.brightness("digits", 1797, np.random.default_rng(seed))
