"""Training of autoencoders against the textbook loop, several seeds at once, and the share of the matmul peak, in one run."""

import copy
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from collapse_utils import vae
from collapse_utils.training import Recipe, optimizer

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS, BATCH = 40, 128
SIDES = [8, 28]


def pictures(side, n=2048):
    """Smooth grey images as float32; the arithmetic does not depend on what they show."""
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.random((n, 1, (side + 3) // 4, (side + 3) // 4), np.float32), 4, 2), 4, 3)[:, :, :side, :side]


def ours(rows, steps=STEPS):
    """Seconds of a fit of `steps` steps, and its losses."""
    recipe = Recipe(rate=2e-3, epochs=steps * BATCH / len(rows), batch=BATCH, decay=0.0)
    started = time.perf_counter()
    model = vae.Autoencoding(vae.shape(1, rows.shape[2]), recipe)(rows, np.random.default_rng(0))
    return time.perf_counter() - started, model.losses


def textbook(rows, steps=STEPS):
    """Seconds of the plain loop: a Dataset of images, a DataLoader in the same process, Adam, the same model and loss."""

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, i):
            return torch.from_numpy((rows[i] * 255).astype(np.uint8)).float() / 255, 0  # what ToTensor does to bytes

    torch.manual_seed(0)
    network, likelihood, generator = vae.Network(vae.shape(1, rows.shape[2])), vae.Likelihood(), torch.Generator().manual_seed(0)
    adam, losses = torch.optim.Adam(network.parameters(), lr=2e-3), []
    started = time.perf_counter()
    while len(losses) < steps:
        for x, _ in torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True):
            adam.zero_grad()
            loss = sum(likelihood.terms(network, x, generator)).mean()
            loss.backward()
            adam.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
    return time.perf_counter() - started, np.array(losses)


def one_step(network, x, noise):
    """The loss of a batch with its noise given, in nats an image."""
    mean, log_variance = network.encode(x)
    shown = torch.sigmoid(network.decode(mean + torch.exp(log_variance / 2) * noise))
    missed = ((shown - x) ** 2).flatten(1).sum(1) / (2 * 0.15**2)
    return (missed + (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2).mean()


@pytest.mark.parametrize(("side", "least"), [(8, None), (28, 2.0)])
def test_training_against_the_textbook_loop(benchmark, side, least):
    """The plain loop's time over ours for as many steps on the same images, one thread; both learn."""
    rows = pictures(side)
    ours(rows, 5)
    textbook(rows, 5)
    peers = [textbook(rows) for _ in range(2)]
    seconds, losses = min((benchmark.pedantic(ours, (rows,), rounds=1), ours(rows)), key=lambda pair: pair[0])
    ratio = min(peer for peer, _ in peers) / seconds
    benchmark.extra_info.update(ratio=round(ratio, 2), images_per_second=round(STEPS * BATCH / seconds))
    wanted = f" (wanted: {least})" if least else ""
    print(f"\n{side} × {side}: {STEPS * BATCH / seconds:.0f} images/s, {ratio:.2f} times the plain loop{wanted}")
    assert losses[-5:].mean() < losses[0]
    assert peers[0][1][-5:].mean() < peers[0][1][0]


@pytest.mark.parametrize("side", SIDES)
def test_share_of_the_matmul_peak(benchmark, side):
    """Floating-point operations a second of training over those of a large matrix product, one thread."""
    rows, a = pictures(side), torch.randn(1024, 1024)
    network = vae.Network(vae.shape(1, side))
    with FlopCounterMode(display=False) as counter:
        one_step(network, torch.from_numpy(rows[:BATCH]), torch.zeros(BATCH, network.shape.latent)).backward()
    a @ a
    started = time.perf_counter()
    for _ in range(5):
        a @ a
    peak = 5 * 2 * 1024**3 / (time.perf_counter() - started)
    seconds, _ = benchmark.pedantic(ours, (rows,), rounds=1)
    share = counter.get_total_flops() * STEPS / seconds / peak
    benchmark.extra_info["share"] = round(share, 3)
    print(f"\n{side} × {side}: {share:.1%} of the matmul peak ({peak / 1e9:.0f} GFLOP/s)")
    assert 0 < share < 1


@pytest.mark.parametrize("side", SIDES)
def test_seeds_at_once(benchmark, side):
    """The time of seeds one after the other over that of all in one vectorised step; same losses within float error."""
    n_seeds = 3
    torch.manual_seed(0)
    networks = [vae.Network(vae.shape(1, side)) for _ in range(n_seeds)]
    x = torch.from_numpy(pictures(side)[:BATCH])
    noise = torch.randn(n_seeds, STEPS, BATCH, networks[0].shape.latent)

    def apart():
        losses = []
        for network, draws in zip(copy.deepcopy(networks), noise, strict=True):
            adam = optimizer(network, Recipe(decay=0.0))
            for draw in draws:
                loss = one_step(network, x, draw)
                loss.backward()
                adam.step()
                adam.zero_grad()
            losses.append(loss.detach())
        return torch.stack(losses)

    def together():
        stacked, _ = torch.func.stack_module_state(networks)
        stacked = {name: value.detach().clone().requires_grad_() for name, value in stacked.items()}
        base, adam = copy.deepcopy(networks[0]), None

        class Step(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.base = base

            def forward(self, draw):
                return one_step(self.base, x, draw)

        step, adam = (
            Step(),
            torch.optim.AdamW(stacked.values(), lr=Recipe().rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        )

        def call(state, draw):
            return torch.func.functional_call(step, {f"base.{name}": value for name, value in state.items()}, (draw,))

        for i in range(STEPS):
            losses = torch.vmap(call)(stacked, noise[:, i])
            losses.sum().backward()
            adam.step()
            adam.zero_grad()
        return losses.detach()

    seconds = []
    for function in (apart, together):
        function()
        started = time.perf_counter()
        result = function() if function is apart else benchmark.pedantic(function, rounds=1)
        seconds.append((time.perf_counter() - started, result))
    (alone, first), (joint, second) = seconds
    benchmark.extra_info["ratio"] = round(alone / joint, 2)
    print(
        f"\n{side} × {side}: {n_seeds} seeds at once, {alone / joint:.2f} times one after the other (wanted: 1.5 where it pays)"
    )
    assert torch.allclose(first, second, rtol=1e-2)
