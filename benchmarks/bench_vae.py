"""Training of autoencoders against the textbook loop, several seeds at once, and the share of the matmul peak, in one run."""

import math
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.apart import in_turns
from collapse_utils.images import vae
from collapse_utils.images.convolution import Down, Up
from collapse_utils.training import Recipe

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
    model = vae.VAEFit(vae.shape(1, rows.shape[2]), recipe)(rows, np.random.default_rng(0))
    return time.perf_counter() - started, model.losses


def plain(shape):
    """The same network with the library's convolutions and their usual order in memory."""
    network = vae.Network(shape)
    for part in (network.down, network.up):
        for i, old in enumerate(part):
            if isinstance(old, Down | Up):
                kind, extra = (torch.nn.Conv2d, ()) if isinstance(old, Down) else (torch.nn.ConvTranspose2d, old.output_padding)
                part[i] = kind(old.in_channels, old.out_channels, 3, 2, 1, *extra[:1])
                part[i].load_state_dict(old.state_dict())
    return network.to(memory_format=torch.contiguous_format)


def textbook(rows, layout=torch.contiguous_format, half=False, steps=STEPS):
    """Seconds of the plain loop: a Dataset of images, a DataLoader in the same process, Adam, the same model and loss.

    layout: its memory format; half: under autocast to bfloat16.
    """

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, i):
            return torch.from_numpy((rows[i] * 255).astype(np.uint8)).float() / 255, 0  # what ToTensor does to bytes

    torch.manual_seed(0)
    network = plain(vae.shape(1, rows.shape[2])).to(memory_format=layout)
    likelihood, generator = vae.Likelihood(), torch.Generator().manual_seed(0)
    adam, losses = torch.optim.Adam(network.parameters(), lr=2e-3), []
    started = time.perf_counter()
    while len(losses) < steps:
        for x, _ in torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, shuffle=True):
            adam.zero_grad()
            noise = torch.randn((len(x), network.shape.latent), generator=generator)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = sum(likelihood.terms(network, x.contiguous(memory_format=layout), noise)).mean()
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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("side", "least"), [(8, None), (28, 1.6)])
def test_training_against_the_textbook_loop(benchmark, side, least, threads):
    """The plain loop's time in the best of its layouts and precisions over ours for as many steps, each in a process of its own."""
    rows, layouts = pictures(side), (torch.contiguous_format, torch.channels_last)
    peers = [(textbook, rows, layout, half) for layout in layouts for half in (False, True)]
    (seconds, losses), *others = benchmark.pedantic(in_turns, (threads, (ours, rows), *peers), rounds=1)
    peer, lost = min(others, key=lambda found: found[0])
    benchmark.extra_info.update(ratio=round(peer / seconds, 2), images_per_second=round(STEPS * BATCH / seconds))
    wanted = f" (wanted: {least})" if least else ""
    rate = STEPS * BATCH / seconds
    print(f"\n{side} × {side}, {threads} threads: {rate:.0f} images/s, {peer / seconds:.2f} times the plain loop{wanted}")
    assert losses[-5:].mean() < losses[0]
    assert lost[-5:].mean() < lost[0]


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


def test_seeds_at_once(benchmark):
    """The time of three seeds one after the other over that of all at once, at 8 × 8; same losses within float error."""
    rows, recipe = pictures(8), Recipe(rate=2e-3, epochs=STEPS * BATCH / 2048, batch=BATCH, decay=0.0, clip=math.inf)
    fit, held = vae.VAEFit(vae.shape(1, 8), recipe), rows[:200]

    def one_by_one():
        seeds, steps = range(3), vae.order(np.zeros(len(rows)), recipe, np.random.default_rng(0))
        return [fit._train([(rows, seed)], steps)[0] for seed in seeds]

    def together():
        steps = vae.order(np.zeros(len(rows)), recipe, np.random.default_rng(0))
        return fit._train([(rows, seed) for seed in range(3)], steps)

    seconds, losses = [], []
    for function in (one_by_one, together):
        function()
        times = []
        for _ in range(3):
            started = time.perf_counter()
            models = function()
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
        losses.append([sum(model.score(held).values()) for model in models])
    benchmark.pedantic(together, rounds=1)
    benchmark.extra_info["ratio"] = round(seconds[0] / seconds[1], 2)
    print(f"\n8 × 8: three seeds at once, {seconds[0] / seconds[1]:.2f} times one after the other (wanted: 1.5)")
    assert np.allclose(*losses, rtol=1e-3)
