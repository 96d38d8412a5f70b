"""A training step with the Jacobian penalty against one without it, and against the released package's form, in one run."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from collapse_utils.dynamics import jacobians, mlp, penalised, softmax

BATCH, CLASSES, PENALTY, RATE = 100, 10, 0.01, 0.1
ROUNDS = 15


def images():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, 1, 28, 28, generator=generator)
    return x, torch.randint(CLASSES, (BATCH,), generator=generator)


def released(z, x, n):
    """Half the squared norm as the released package has it: n backward passes with a graph, one independent direction each."""
    total = 0.0
    for _ in range(n):
        v = torch.randn(z.shape)
        v = v / v.norm(dim=1, keepdim=True)
        slope = torch.autograd.grad(z, x, v, create_graph=True, retain_graph=True)[0]
        total = total + CLASSES * slope.norm() ** 2 / (n * len(x))
    return total / 2


def stepper(loss):
    """A step of SGD with momentum on LeNet′."""
    torch.manual_seed(0)
    model = jacobians.LeNet(28)
    steps, (x, y) = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9), images()

    def step():
        steps.zero_grad()
        loss(model, x, y).backward()
        steps.step()

    return step


def plain(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def theirs(n):
    def loss(model, x, y):
        x = x.clone().requires_grad_()
        z = model(x)
        return nn.functional.cross_entropy(z, y) + PENALTY * released(z, x, n)

    return loss


def ours(share, n=1):
    return lambda model, x, y: jacobians.loss(model, x, y, PENALTY, share, n)


def fastest(*steps):
    """Processor seconds of each step, the best of many, in turn so that a busy machine slows all alike."""
    best = [np.inf] * len(steps)
    for _ in range(ROUNDS):
        for i, step in enumerate(steps):
            started = time.process_time()
            step()
            best[i] = min(best[i], time.process_time() - started)
    return best


@pytest.mark.parametrize(("share", "n", "wanted"), [(0.25, 1, 1.5), (1.0, 1, None), (1.0, 3, None)])
def test_lenet_step_ratio(benchmark, share, n, wanted):
    """Processor time of a penalised step over that of a plain one and over the released form's, on 100 images of 28 × 28."""
    torch.set_num_threads(1)
    without, form, mine = fastest(stepper(plain), stepper(theirs(n)), stepper(ours(share, n)))
    benchmark.pedantic(stepper(ours(share, n)), rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"over plain": round(mine / without, 2), "released over plain": round(form / without, 2)}
    print(
        f"\npenalty on {share:.0%} of the rows, {n} directions: {mine / without:.2f} times a plain step"
        f" (wanted: {wanted or 'none'}); the released form {form / without:.2f} times"
    )


def test_perceptron_step_ratio(benchmark):
    """Eight tanh perceptrons at once: the closed gradient over double backpropagation and over a plain step, the same step."""
    torch.set_num_threads(1)
    nets = mlp.initial(8, [64, 32, CLASSES], np.random.default_rng(0), "gaussian")
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 20, 64, generator=generator), torch.randint(CLASSES, (8, 20), generator=generator)
    y[:, :2] = torch.tensor([0, 1])
    rows, many = torch.arange(20)[None], torch.arange(20).expand(25, 20)

    def closed(rows):
        return penalised.descend(nets, x, y, RATE, rows, PENALTY, torch.Generator().manual_seed(1))

    def doubly():
        own = [part.clone().requires_grad_() for part in (*nets.weights, *nets.biases)]
        model, inputs = mlp.Networks(tuple(own[:2]), tuple(own[2:])), x.clone().requires_grad_()
        z = softmax.logits(model, inputs)
        v = jacobians.directions(z, 1, torch.Generator().manual_seed(1))[0]
        slope = torch.autograd.grad(z, inputs, v, create_graph=True)[0]
        loss = nn.functional.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="sum") / 20
        grads = torch.autograd.grad(loss + PENALTY / 2 * CLASSES * slope.square().sum() / 20, own, materialize_grads=True)
        return [p.detach() - RATE * g for p, g in zip(own, grads)]

    torch.testing.assert_close(closed(rows).weights[0], doubly()[0], rtol=1e-4, atol=1e-5)
    without, form, mine = fastest(
        lambda: softmax.descend(nets, x, y, RATE, many),
        lambda: [doubly() for _ in many],
        lambda: closed(many),
    )
    benchmark.pedantic(closed, (many,), rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"over plain": round(mine / without, 2), "double over ours": round(form / mine, 2)}
    print(
        f"\nperceptrons, closed gradient: {mine / without:.2f} times a plain step (wanted: none),"
        f" {form / mine:.2f} times faster than double backpropagation"
    )
