"""The closed gradient against double backpropagation, one step against it, tempered labels, and the loop."""

import numpy as np
import pytest
import torch

from collapse_utils.dynamics import jacobians, mlp, penalised, relabelling, softmax


def networks(seed, activation="tanh", widths=(7, 9, 6, 5)):
    nets = mlp.initial(2, widths, np.random.default_rng(seed), "gaussian", activation=activation, dtype=torch.float64)
    return nets, torch.as_tensor(np.random.default_rng([seed, 1]).standard_normal((2, 8, widths[0])))


def doubly(model, x, v):
    """The gradient of ½ Σ |vᵀJ|² by double backpropagation, parameter by parameter."""
    x = x.clone().requires_grad_()
    slope = torch.autograd.grad(model(x), x, v, create_graph=True)[0]
    return torch.autograd.grad(slope.square().sum() / 2, list(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_closed_gradient_is_double_backpropagation(seed, activation):
    nets, x = networks(seed, activation)
    v = torch.as_tensor(np.random.default_rng(seed).standard_normal((2, 8, 5)))
    found = penalised.gradient(nets, x, v)
    for r in range(2):
        for ours, peer in zip(found, doubly(mlp.module(nets, r), x[r], v[r])):
            torch.testing.assert_close(ours[r].reshape(peer.shape), peer)
    straight = penalised.gradient(nets, x, v, curved=False)
    assert torch.allclose(straight[0], found[0]) == (activation != "tanh")
    norms = [jacobians.jacobian(mlp.module(nets, r), x[r])[1].square().sum((1, 2)).mean() for r in range(2)]
    torch.testing.assert_close(penalised.squared_norm(nets, x), torch.stack(norms))


def test_descent_is_that_of_the_loss(seed):
    nets, x = networks(seed)
    y, batches = torch.arange(8).remainder(5).expand(2, 8), torch.arange(8).reshape(2, 4)
    last = penalised.descend(nets, x, y, 0.2, batches, 0.3, torch.Generator().manual_seed(seed))
    generator, models = torch.Generator().manual_seed(seed), [mlp.module(nets, r) for r in range(2)]
    for rows in batches:
        drawn = jacobians.directions(torch.zeros(2, 4, 5, dtype=x.dtype), 1, generator)[0]
        for model, own, labels, v in zip(models, x[:, rows], y[:, rows], drawn):
            own = own.clone().requires_grad_()
            z = model(own)
            slope = torch.autograd.grad(z, own, v, create_graph=True)[0]
            loss = torch.nn.functional.cross_entropy(z, labels) + 0.15 * 5 * slope.square().sum() / 4
            steps = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for p, g in zip(model.parameters(), steps):
                    p -= 0.2 * g
    for r in range(2):
        torch.testing.assert_close(mlp.module(last, r)(x[r]), models[r](x[r]))


def test_tempered_labels_have_the_entropy_asked_for(seed):
    nets, x = networks(seed)
    z, wanted = softmax.logits(nets, x), torch.tensor([0.2, 1.3], dtype=torch.float64)
    cooled = penalised.cooled(nets, penalised.temperature(z, wanted))
    torch.testing.assert_close(penalised.entropy(softmax.logits(cooled, x)), wanted)
    assert (softmax.logits(cooled, x).argmax(-1) == z.argmax(-1)).all()
    with pytest.raises(ValueError, match="the entropy must lie between"):
        penalised.temperature(z, torch.tensor([0.2, 1.7], dtype=torch.float64))


def test_learner_without_a_penalty_is_its_parent(seed):
    nets, x = networks(seed)
    data = relabelling.data(x, torch.arange(8).remainder(5).expand(2, 8))
    fits = [
        kind.fit(data, np.random.default_rng(seed)).networks
        for kind in (
            relabelling.Learner(nets, 0.1, 20, 4),
            penalised.Learner(nets, 0.1, 20, 4),
            penalised.Learner(nets, 0.1, 20, 4, penalty=1.0),
        )
    ]
    assert torch.equal(fits[0].weights[0], fits[1].weights[0])
    norms = [penalised.squared_norm(fit, x) for fit in fits]
    assert (norms[2] < norms[0]).all()
