"""The trace of the gradients' covariance against one sample at a time, in one run."""

import time

import numpy as np
import pytest
import torch

from collapse_utils import tables
from collapse_utils.dynamics import mlp, softmax

ROWS = 1200


def network_and_digits(widths):
    """One softmax network and 1,200 digits, as the functions of softmax take them."""
    nets = mlp.initial(1, [64, *widths, 10], np.random.default_rng(0), "gaussian")
    x, y = tables.load("digits")
    return nets, torch.as_tensor(x[None, :ROWS] / 16, dtype=torch.float32), torch.as_tensor(y[None, :ROWS].astype(int))


def one_at_a_time(nets, x, y):
    """Tr Ĉ from the autograd gradient of each row in turn, by running sums."""
    model, total, squares = mlp.module(nets, 0), 0.0, 0.0
    parameters = list(model.parameters())
    for row, label in zip(x[0], y[0]):
        loss = torch.nn.functional.cross_entropy(model(row[None]), label[None])
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
        total, squares = total + gradient, squares + gradient @ gradient
    n = x.shape[1]
    return float(squares - total @ total / n) / (n - 1)


@pytest.mark.parametrize("widths", [[32], [256, 256]])  # 2,410 and 85,002 parameters
def test_covariance_trace_ratio(benchmark, widths):
    """Processor seconds of one sample at a time over ours, best of three each, the same trace."""
    nets, x, y = network_and_digits(widths)
    one_at_a_time(nets, x[:, :20], y[:, :20])
    peer_times = []
    for _ in range(3):
        started = time.process_time()
        peer = one_at_a_time(nets, x, y)
        peer_times.append(time.process_time() - started)

    def timed():
        started = time.process_time()
        found = softmax.covariance_trace(nets, x, y)
        return float(found[0]), time.process_time() - started

    results = [timed() for _ in range(5)]
    benchmark.pedantic(softmax.covariance_trace, (nets, x, y), rounds=3, warmup_rounds=1)
    ratio = min(peer_times) / min(seconds for _, seconds in results)
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\ncovariance trace, widths {widths}: {ratio:.0f} times faster than one sample at a time (wanted: 20)")
    assert results[0][0] == pytest.approx(peer, rel=1e-3)
