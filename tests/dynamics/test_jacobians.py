"""Norms against whole Jacobians, penalties against plain double backpropagation, radii against searches, refusals."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from collapse_utils.dynamics import jacobians, mlp, penalised, relabelling


def network(seed, side=8, dropout=0.0):
    torch.manual_seed(seed)
    return jacobians.LeNet(side, dropout).double().eval(), torch.rand(3, 1, side, side, dtype=torch.float64)


@pytest.mark.parametrize("side", [8, 28])
def test_all_directions_are_the_norm_and_one_is_unbiased(seed, side):
    model, x = network(seed, side)
    whole = vmap(jacrev(lambda image: model(image[None])[0]))(x).flatten(2)
    torch.testing.assert_close(jacobians.jacobian(model, x)[1], whole)
    exact = whole.square().sum((1, 2))
    x.requires_grad_()
    torch.testing.assert_close(jacobians.squared_norm(model(x), x, 10).detach(), exact)
    images = x.detach()[:1].repeat(1000, 1, 1, 1).requires_grad_()
    if side == 8:
        generator = torch.Generator().manual_seed(seed)
        for n in (1, 3):
            found = jacobians.squared_norm(model(images), images, n, generator).detach()
            assert abs(found.mean() - exact[0]) < 6 * found.std() / 1000**0.5


def test_directions_are_orthonormal(seed):
    for n in (1, 4, 6):
        v = jacobians.directions(torch.zeros(2, 3, 6, dtype=torch.float64), n, torch.Generator().manual_seed(seed))
        assert v.shape == (n, 2, 3, 6)
        products = torch.einsum("nrsc,mrsc->rsnm", v, v)
        torch.testing.assert_close(products, torch.eye(n, dtype=v.dtype).expand_as(products))


@pytest.mark.parametrize("n", [0, 11])
def test_directions_beyond_the_classes_are_refused(n):
    model, x = network(0)
    x.requires_grad_()
    with pytest.raises(ValueError, match=f"n must lie between 1 and the 10 classes; got {n}"):
        jacobians.squared_norm(model(x), x, n)
    with pytest.raises(ValueError, match="must have requires_grad set before"):
        jacobians.squared_norm(model(x.detach()), x.detach(), 1)


def test_loss_adds_half_the_penalty_and_a_share_of_rows_is_unbiased(seed):
    model, x = network(seed)
    x, y = x.repeat(2, 1, 1, 1), torch.tensor([0, 1, 2, 3, 4, 5])
    plain = nn.functional.cross_entropy(model(x), y)
    torch.testing.assert_close(jacobians.loss(model, x, y), plain)
    exact = jacobians.jacobian(model, x)[1].square().sum((1, 2))
    torch.testing.assert_close(jacobians.loss(model, x, y, 0.3, n=10), plain + 0.15 * exact.mean())
    half = jacobians.loss(model, x, y, 0.3, share=1 / 3, n=10)
    torch.testing.assert_close(half, plain + 0.15 * exact[:2].mean())


def rows(seed, r=2, n=40):
    rng = np.random.default_rng(seed)
    y = torch.as_tensor(rng.integers(10, size=(r, n)))
    return torch.rand(r, n, 1, 8, 8), y, relabelling.batches(n, 6, 20, rng)


def test_training_side_by_side_is_one_by_one_and_leaves_the_start(seed):
    x, y, batches = rows(seed)
    torch.manual_seed(seed)
    models = [jacobians.LeNet(8) for _ in range(2)]
    before = models[0][0].weight.clone()
    done = jacobians.train(models, x, y, batches, 0.05, decay=1e-3, penalty=0.01, n=10)
    assert torch.equal(models[0][0].weight, before)
    assert not any(model.training for model in done)
    for r, model in enumerate(models):
        steps = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        for k, chosen in enumerate(batches):
            steps.param_groups[0]["lr"] = 0.05 * (1 - k / len(batches))
            steps.zero_grad()
            jacobians.loss(model, x[r, chosen], y[r, chosen], 0.01, n=10).backward()
            steps.step()
        torch.testing.assert_close(done[r](x[r]), model(x[r]), rtol=1e-3, atol=1e-4)


def test_bad_labels_are_refused_before_training(seed):
    x, y, batches = rows(seed)
    models = [jacobians.LeNet(8) for _ in range(2)]
    nets = mlp.initial(2, [64, 8, 10], np.random.default_rng(seed), "gaussian")

    def refused(match, x=x, y=y, rate=0.1, error=ValueError):
        with pytest.raises(error, match=match):
            jacobians.train(models, x, y, batches, rate)
        with pytest.raises(error, match=match):
            penalised.descend(nets, x.flatten(2), y, rate, batches, 0.1)

    refused("at least as many rows as the 10 classes; got 8", x[:, :8], y[:, :8])
    refused("at least 2 classes; got class 3 alone", y=torch.full_like(y, 3))
    refused("between 0 and 9; got 10 to 10", y=torch.full_like(y, 10))
    refused("finite; got NaN or infinity at rate inf", rate=float("inf"), error=FloatingPointError)


def test_radii_are_where_a_linear_model_changes_its_mind(seed):
    torch.manual_seed(seed)
    model, x = nn.Linear(6, 4, dtype=torch.float64), torch.randn(50, 6, dtype=torch.float64)
    found = jacobians.radii(*jacobians.jacobian(model, x))
    c = model(x).argmax(1)
    assert (found["bound"] <= found["radius"]).all()
    for scale, same in ((0.999, True), (1.001, False)):
        moved = model(x + scale * found["radius"][:, None] * found["way"]).argmax(1)
        assert ((moved == c) == same).all()
        if not same:
            assert (moved == found["rival"]).all()


def test_projected_descent_reaches_the_edge_of_the_ball(seed):
    torch.manual_seed(seed)
    model, x = nn.Linear(30, 2).eval(), 0.4 + 0.2 * torch.rand(60, 30)
    z, radii, w = model(x), [0.05, 0.1, 0.2], model.weight
    wants = (z[:, 0] - z[:, 1]).abs() / (w[0] - w[1]).abs().sum()  # the radius at which a linear model's label turns
    right, _ = jacobians.attacked(model, x, z.argmax(1), radii)
    assert torch.allclose(right, torch.stack([(wants > r).double().mean() for r in radii]))


def test_attacks_leave_out_images_that_were_wrong(seed):
    torch.manual_seed(seed)
    model, x = nn.Linear(30, 2).eval(), torch.rand(20, 30)
    _, lengths = jacobians.attacked(model, x, 1 - model(x).argmax(1), [0.1])
    assert len(lengths) == 0


def test_attacks_want_a_model_in_evaluation_mode_and_turn_some_images(seed):
    model, x = network(seed, dropout=0.5)
    model, x = model.float(), x.float().repeat(3, 1, 1, 1)
    y = model(x).argmax(1)
    right, lengths = jacobians.attacked(model, x, y, [0.001, 1.0], steps=10)
    assert right[0] >= right[1]
    assert (lengths > 0).all()
    with pytest.raises(ValueError, match="must be in evaluation mode; got training mode; call model.eval"):
        jacobians.attacked(model.train(), x, y, [0.1])
