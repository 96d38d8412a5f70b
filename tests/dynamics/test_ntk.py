"""The empirical NTK: three routes and the documented recipe agree, linear networks in closed form, frozen-kernel training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from collapse_utils.dynamics import mlp
from collapse_utils.dynamics.ntk import cheapest, ntk
from collapse_utils.theory import linearised


def recipe(model, x, y):
    """The kernel as the documentation of torch.func computes it."""
    p = {name: value.detach() for name, value in model.named_parameters()}

    def jacobian(rows):
        return vmap(jacrev(lambda p, row: functional_call(model, p, (row[None],))[0]), (None, 0))(p, rows)

    left, right = jacobian(x), jacobian(y)
    return sum(
        torch.einsum(
            "Naf,Mbf->NMab", left[name].reshape(*left[name].shape[:2], -1), right[name].reshape(*right[name].shape[:2], -1)
        )
        for name in p
    )


@pytest.fixture
def drawn(seed):
    torch.manual_seed(seed)
    x, y = torch.randn(7, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    dense = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 8, bias=False), nn.GELU(), nn.Linear(8, 4)).double()
    return dense, x, y


class Shared(nn.Module):
    """One layer called twice, a free parameter, a skip connection: none of it is a chain of dense layers."""

    def __init__(self):
        super().__init__()
        self.inner, self.out, self.gain = nn.Linear(6, 6), nn.Linear(6, 3), nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        h = torch.tanh(self.inner(x))
        return self.out(self.gain * torch.tanh(self.inner(h)) + x)


@pytest.mark.parametrize("max_bytes", [2**28, 40_000])
@pytest.mark.parametrize("method", ["auto", "layers", "jacobian", "products"])
def test_every_route_in_whole_and_in_pieces_gives_the_recipe_s_kernel(drawn, method, max_bytes):
    model, x, y = drawn
    torch.testing.assert_close(ntk(model, x, y, method, max_bytes=max_bytes), recipe(model, x, y), rtol=1e-10, atol=1e-10)
    own = ntk(model, x, None, method, max_bytes=max_bytes)
    torch.testing.assert_close(own, recipe(model, x, x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(own, own.permute(1, 0, 3, 2))
    assert torch.linalg.eigvalsh(own.permute(0, 2, 1, 3).reshape(28, 28)).min() > -1e-9
    assert own.requires_grad is False


@pytest.mark.parametrize("method", ["auto", "jacobian", "products"])
def test_other_modules_take_the_general_routes(drawn, method):
    _, x, y = drawn
    model = Shared().double()
    assert cheapest(model, x) in ("jacobian", "products")
    torch.testing.assert_close(ntk(model, x, y, method), recipe(model, x, y), rtol=1e-10, atol=1e-10)
    images = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 2)).double()
    torch.testing.assert_close(
        ntk(convolution, images, method=method), recipe(convolution, images, images), rtol=1e-10, atol=1e-10
    )


class Pieces(nn.Module):
    """Reads every row as three: the layer does not run on the rows."""

    def __init__(self):
        super().__init__()
        self.each, self.last = nn.Linear(2, 4), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.each(x.reshape(-1, 2))).reshape(len(x), 12))


class Idle(nn.Module):
    """Has a layer that runs and changes nothing."""

    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        self.idle(x)
        return torch.tanh(self.used(x))


def tied():
    """Two layers, one weight."""
    first, last = nn.Linear(6, 6), nn.Linear(6, 6)
    last.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), last)


@pytest.mark.parametrize(
    "make", [Pieces, Idle, tied, lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))]
)
def test_modules_that_look_dense_and_trap_the_layers_route(drawn, make):
    _, x, y = drawn
    model = make().double()
    p = {name: value.detach() for name, value in model.named_parameters()}

    def output(p, row):
        return functional_call(model, p, (row[None],))[0]

    def jacobian(rows):  # row by row, without vmap
        return [jacrev(output)(p, row) for row in rows]

    left, right = jacobian(x), jacobian(y)
    expected = torch.stack([torch.stack([sum(a[n].flatten(1) @ b[n].flatten(1).T for n in p) for b in right]) for a in left])
    torch.testing.assert_close(ntk(model, x, y), expected, rtol=1e-10, atol=1e-10)


def test_the_cheaper_route_is_chosen():
    x = torch.randn(2, 1, 12, 12)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(400, 1))  # few parameters, many products
    assert cheapest(convolution, x) == "jacobian"
    wide = nn.Sequential(nn.Flatten(), nn.Linear(144, 300), nn.Tanh(), nn.Linear(300, 40), nn.Unflatten(1, (40,)))
    assert cheapest(wide, x) == "layers"
    assert cheapest(nn.Sequential(wide, Scale(40)), x) == "products"  # many outputs and parameters


class Scale(nn.Module):
    """A parameter outside of any dense layer."""

    def __init__(self, n):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return self.gain * x


def test_linear_networks_have_the_kernel_of_the_closed_form(seed):
    nets = mlp.initial(1, [6, 9, 4], np.random.default_rng(seed), "gaussian", activation="linear", dtype=torch.float64)
    x = torch.as_tensor(np.random.default_rng(seed).standard_normal((5, 6)))
    first, second = (w[0] for w in nets.weights)
    gram, hidden = x @ x.T, (x @ first.T) @ (x @ first.T).T
    closed = (gram + 1)[:, :, None, None] * (second @ second.T) + (hidden + 1)[:, :, None, None] * torch.eye(
        4, dtype=torch.float64
    )
    torch.testing.assert_close(ntk(mlp.module(nets, 0), x), closed, rtol=1e-12, atol=1e-12)
    weights_only = ntk(mlp.module(nets, 0), x, rates=lambda name: float(name.endswith("weight")))
    torch.testing.assert_close(
        weights_only[0, 0], gram[0, 0] * second @ second.T + hidden[0, 0] * torch.eye(4, dtype=torch.float64)
    )


def test_rates_and_frozen_parameters_count(drawn):
    model, x, y = drawn
    names = [name for name, _ in model.named_parameters()]
    parts = [ntk(model, x, y, rates=lambda name, one=one: 2.0 * (name == one)) for one in names]
    torch.testing.assert_close(sum(parts), 2 * recipe(model, x, y), rtol=1e-10, atol=1e-10)
    model[0].weight.requires_grad_(False)
    for method in ("auto", "jacobian", "products"):
        torch.testing.assert_close(ntk(model, x, y, method), recipe(model, x, y) - parts[0] / 2, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (nn.Linear(6, 2), {"method": "fast"}, "method must be one of auto, layers, jacobian, products; got 'fast'"),
        (nn.Tanh(), {}, "must have trainable parameters; got none in Tanh"),
        (
            nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2)),
            {},
            "must be in evaluation mode; got a module in training mode; call model.eval",
        ),
        (nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.5)), {}, "must be in evaluation mode"),
        (nn.Linear(6, 2), {"max_bytes": 10}, "must fit into max_bytes = 10; got"),
        (
            Shared(),
            {"method": "layers"},
            "needs all parameters in nn.Linear layers called once on rows; use 'jacobian' or 'products'",
        ),
        (
            nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=0)),
            {},
            "a row's output must not depend on the other rows; got a difference",
        ),
    ],
)
def test_bad_input_is_one_sentence(model, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ntk(model, torch.randn(3, 6), **options)


def test_modules_in_evaluation_mode_are_accepted(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double().eval()
    x = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(ntk(model, x), recipe(model, x, x), rtol=1e-10, atol=1e-10)


def test_the_closed_form_is_the_iteration_on_and_off_the_training_rows(seed):
    rng = np.random.default_rng(seed)
    features, elsewhere = rng.standard_normal((6, 4)), rng.standard_normal((3, 4))  # rank 4 of 6: two directions never move
    kernel, cross, start, target, start_cross = (
        features @ features.T,
        elsewhere @ features.T,
        *rng.standard_normal((2, 6)),
        rng.standard_normal(3),
    )
    rate, f, g = 0.4 * linearised.largest_rate(kernel), start.copy(), start_cross.copy()
    for t in range(41):
        np.testing.assert_allclose(linearised.path(kernel, start, target, rate, [0, t])[1], f, atol=1e-9)
        np.testing.assert_allclose(linearised.path(kernel, start, target, rate, [t], cross, start_cross)[0], g, atol=1e-9)
        step = rate * 2 / 6 * (f - target)
        f, g = f - kernel @ step, g - cross @ step


def test_a_model_linear_in_its_parameters_trains_along_the_closed_form(seed):
    """Only the last layer trains: the kernel is exact for ever, and real training is the second way."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 2)).double()
    model[0].requires_grad_(False)
    x, y = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    kernel = ntk(model, x).permute(0, 2, 1, 3).reshape(10, 10).numpy()
    rate, start = 0.5 * linearised.largest_rate(kernel), model(x).detach().flatten().numpy()
    for _ in range(25):
        model.zero_grad()
        mlp.loss(model(x), y).backward()
        with torch.no_grad():
            for p in model[2].parameters():
                p -= rate * p.grad
    found = linearised.path(kernel, start, y.flatten().numpy(), rate, [25])[0]
    np.testing.assert_allclose(found, model(x).detach().flatten().numpy(), atol=1e-10)
    assert np.abs(linearised.path(kernel / 2, start, y.flatten().numpy(), rate, [25])[0] - found).max() > 1e-3


def test_rates_beyond_the_largest_and_wrong_shapes_are_refused():
    kernel = np.diag([4.0, 1.0])
    assert linearised.largest_rate(kernel) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"the rate must stay below 0\.5 for descent to converge; got 0\.6"):
        linearised.path(kernel, np.zeros(2), np.ones(2), 0.6, [1])
    with pytest.raises(ValueError, match=r"the kernel must be k × k for k outputs; got \(2, 2\) and \(3,\)"):
        linearised.path(kernel, np.zeros(3), np.ones(3), 0.1, [1])
