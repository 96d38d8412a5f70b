"""Quadratics against the rows that they sum up, gradients of single rows by torch.func and by differences; limits; bad input."""

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from collapse_utils.dynamics import descent, mlp, softmax

SHAPE = [7, 9, 5]


def rows(seed, r=3, n=6, d=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((r, n, d)), rng.standard_normal((r, n)), rng.standard_normal(d)


def test_quadratics_are_losses_of_rows_and_their_covariance(seed):
    x, e, theta = rows(seed)
    residual = x @ theta - e
    gradients = x * residual[..., None]  # of single rows, (R, N, d)
    whole, spread = descent.loss(x, e), descent.covariance_trace(x, e)
    np.testing.assert_allclose(whole.gradient(theta), gradients.mean(axis=1))
    np.testing.assert_allclose(whole(theta) - whole(0 * theta), (residual**2 - e**2).mean(axis=1) / 2)
    trace = gradients.var(axis=1, ddof=1).sum(axis=1)
    at_zero = (x * e[..., None]).var(axis=1, ddof=1).sum(axis=1)
    np.testing.assert_allclose(spread(theta) - spread(0 * theta), trace - at_zero)
    h = 1e-6 * np.eye(4)
    slope = np.transpose([spread(theta + step) - spread(theta - step) for step in h]) / 2e-6
    np.testing.assert_allclose(spread.gradient(theta), slope, rtol=1e-6)


def test_descent_goes_down_each_function_in_turn(seed):
    x, e, theta = rows(seed)
    first, second = descent.loss(x[:, :3], e[:, :3]), descent.loss(x[:, 3:], e[:, 3:])
    mid = theta - 0.1 * first.gradient(theta)
    np.testing.assert_allclose(descent.descend([first, second], theta, 0.1), mid - 0.1 * second.gradient(mid))
    both = first.plus(second, -0.5)
    np.testing.assert_allclose(both.gradient(theta), first.gradient(theta) - second.gradient(theta) / 2)


def test_extrapolation_is_exact_for_polynomials_and_refuses_what_is_too_far():
    rates = np.array([0.01, 0.02, 0.04])
    values = np.stack([1 - 3 * rates + 5 * rates**2, 2 + rates])
    np.testing.assert_allclose(descent.extrapolated(rates, values), [1, 2])
    with pytest.raises(ValueError, match=r"within 0.05; at 0.04 it is off by 0.112: take rates below about 0.018"):
        descent.extrapolated(rates, values, within=0.05)
    assert descent.reach(rates, [1.01, 0.9, 0.7]) == 0.02
    with pytest.raises(ValueError, match="0.01 is off by 0.3: take smaller rates"):
        descent.reach(rates, [0.7, 1.0, 1.0])


def networks(seed, n=3, activation="tanh"):
    nets = mlp.initial(n, SHAPE, np.random.default_rng(seed), "gaussian", activation=activation, dtype=torch.float64)
    rng = np.random.default_rng([seed, 1])
    x, y = torch.as_tensor(rng.standard_normal((n, 12, 7))), torch.as_tensor(rng.integers(5, size=(n, 12)))
    return nets, x, y


def single_gradients(model, x, y):
    """The gradient of each row's cross-entropy, (N, P), by torch.func."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def row_loss(p, row, label):
        out = torch.func.functional_call(model, p, (row[None],))
        return torch.nn.functional.cross_entropy(out, label[None])

    found = vmap(grad(row_loss), (None, 0, 0))(parameters, x, y)
    return torch.cat([g.flatten(1) for g in found.values()], dim=1)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_trace_needs_no_single_gradient(seed, activation):
    nets, x, y = networks(seed, activation=activation)
    found = softmax.covariance_trace(nets, x, y)
    for r in range(len(nets)):
        model = mlp.module(nets, r)
        gradients = single_gradients(model, x[r], y[r])
        torch.testing.assert_close(found[r], gradients.var(0, unbiased=True).sum())


def test_single_gradients_are_finite_differences(seed):
    nets, x, y = networks(seed, 1)
    model, gradients = mlp.module(nets, 0), single_gradients(mlp.module(nets, 0), x[0], y[0])
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    for i in (0, 30, 70, len(flat) - 1):
        losses = []
        for step in (1e-5, -1e-5):
            moved = flat.clone()
            moved[i] += step
            torch.nn.utils.vector_to_parameters(moved, model.parameters())
            losses.append(torch.nn.functional.cross_entropy(model(x[0]), y[0], reduction="none").detach())
        torch.testing.assert_close(gradients[:, i], (losses[0] - losses[1]) / 2e-5, rtol=1e-6, atol=1e-9)


def test_side_by_side_is_one_by_one(seed):
    nets, x, y = networks(seed)
    batches = torch.as_tensor(np.random.default_rng(seed).permutation(12).reshape(3, 4))
    last = softmax.descend(nets, x, y, 0.3, batches)
    for r in range(len(nets)):
        model = mlp.module(nets, r)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        for chosen in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[r, chosen]), y[r, chosen]).backward()
            optimizer.step()
        torch.testing.assert_close(mlp.module(last, r)(x[r]), model(x[r]))
        expected = torch.nn.functional.cross_entropy(model(x[r]), y[r])
        torch.testing.assert_close(softmax.cross_entropy(last, x, y)[r], expected)
    common = softmax.cross_entropy(last, x[0], y[0])  # one set of rows for all
    torch.testing.assert_close(common[0], softmax.cross_entropy(last, x, y)[0])


def test_bad_rows_and_labels_are_refused(seed):
    nets, x, y = networks(seed)
    batches = torch.arange(4).reshape(1, 4)

    def refused(match, x=x, y=y, rate=0.1, error=ValueError):
        with pytest.raises(error, match=match):
            softmax.descend(nets, x, y, rate, batches)

    refused("at least as many rows as the 5 classes; got 4", x[:, :4], y[:, :4])
    refused("labels must be of at least 2 classes; got class 3 alone", y=torch.full_like(y, 3))
    refused("between 0 and 4; got 5 to 16", y=torch.arange(5, 17).expand(3, 12))
    refused("each of 3 networks", x[:2], y[:2])
    refused("NaN or infinity at rate inf", rate=float("inf"), error=FloatingPointError)
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        softmax.covariance_trace(nets, x[:, :1], y[:, :1])
    with pytest.raises(ValueError, match="at least 2 rows; got 1"):
        descent.covariance_trace(np.ones((2, 1, 3)), np.ones((2, 1)))


BED = descent.LeastSquares(np.array([2.0, 0.5]), np.array([0.5, 1.5]), 0.8)


def test_bed_measures_what_rows_say(seed):
    """Widening and passes against loops over single rows, one training set at a time."""
    x, e = BED.draw(3, 4, np.random.default_rng(seed))

    def train(theta, r):
        return ((x[r] @ theta - e[r]) ** 2).mean() / 2

    def steps(r, chosen, rate):
        theta = BED.start
        for rows_ in chosen:
            theta = theta - rate * (x[r][rows_] * (x[r][rows_] @ theta - e[r][rows_])[:, None]).mean(axis=0)
        return theta

    def test(theta):
        return theta**2 @ BED.eigenvalues / 2

    slow, many = [], {False: [], True: []}
    for r in range(3):
        theta = steps(r, [[0, 1, 2, 3]] * 2, 0.1)
        own = (x[r] * (x[r] @ BED.start - e[r])[:, None]).mean(axis=0)
        change = test(theta) - test(BED.start) - train(theta, r) + train(BED.start, r)
        slow.append(change - 0.2 * (own - BED.slope) @ BED.slope)
        for reshuffled, second in ((False, [[0, 2], [1, 3]]), (True, [[0, 1], [2, 3]])):
            twice = steps(r, [[0, 2], [1, 3], *second], 0.05)
            many[reshuffled].append(test(twice) - test(steps(r, [[0, 2], [1, 3]], 0.1)))
    whole = [descent.loss(x, e)] * 2
    assert BED.widening(x, e, whole, 0.1) == pytest.approx(np.mean(slow))
    for reshuffled, expected in many.items():
        assert BED.repeated(x, e, 2, 2, reshuffled, 0.1) == pytest.approx(np.mean(expected))
    with pytest.raises(ValueError, match="needs 9 rows, as many in a batch as batches; got 4"):
        BED.repeated(x, e, 3, 2, False, 0.1)


def test_bed_draws_its_law(seed):
    x, e = BED.draw(50_000, 2, np.random.default_rng(seed))
    np.testing.assert_allclose(np.einsum("rni,rnj->ij", x, x) / 100_000, np.diag(BED.eigenvalues), atol=0.05)
    assert e.std() == pytest.approx(0.8, rel=0.02)
    np.testing.assert_allclose(descent.loss(x, e).gradient(BED.start).mean(axis=0), BED.slope, atol=0.05)


def test_rising_noise_is_what_samples_say(seed):
    rng, r, rate = np.random.default_rng(seed), 400_000, 0.1
    e = rng.standard_normal((3, r)) / np.sqrt(2)  # means of batches of two

    def ended(labels):
        theta = np.ones(r)
        for mean in labels:
            theta = theta - rate * (theta + mean * np.exp(-theta))
        return theta**2 / 2

    apart = ended([e.mean(axis=0)] * 3) - ended(e)
    exact = descent.rising_noise(rate, 3, 2)
    assert exact < 0
    assert abs(apart.mean() - exact) < 6 * apart.std() / np.sqrt(r)
