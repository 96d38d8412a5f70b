"""A chain of students with random features of their own, against a loop that draws every matrix; one point with 100,000 latents."""

import time
import tracemalloc

import numpy as np

from collapse_utils import feedback_loop, follow
from collapse_utils.moments import collect
from collapse_utils.regimes import replace
from collapse_utils.scaling import features
from collapse_utils.theory import scaling_laws as law

LATENTS, FEATURES, ROWS, CHAINS, FITS, LOOPED = 2000, 1000, 100, 60, 8, 3  # the loop is timed on a few chains and scaled up
WIDE = 100_000


def ours(r, rng):
    """Losses (r, fits) without a feature drawn."""
    lam = law.spectrum(LATENTS, 1.0)
    students = features.Students(lam, r, features=FEATURES)
    truth = rng.standard_normal((r, LATENTS)) / np.sqrt(LATENTS)
    loop = feedback_loop(students.fit, features.Student(students, truth).sample(ROWS, rng), replace, rng)
    return follow(loop, lambda g: (g.model.w - truth) ** 2 @ lam / 2, FITS)


def looped(rng):
    """Losses (fits,) of one chain: rows and features of every student drawn, weights by lstsq."""
    lam = law.spectrum(LATENTS, 1.0)
    truth = teacher = rng.standard_normal(LATENTS) / np.sqrt(LATENTS)
    losses = []
    for _ in range(FITS):
        x = np.sqrt(lam) * rng.standard_normal((ROWS, LATENTS))
        u = rng.standard_normal((FEATURES, LATENTS)) / np.sqrt(LATENTS)
        teacher = np.linalg.lstsq(x @ u.T, x @ teacher, rcond=None)[0] @ u
        losses.append((teacher - truth) ** 2 @ lam / 2)
    return losses


def test_speed_ratio(benchmark):
    """60 chains of 8 students."""
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    peer = np.array([looped(rng) for _ in range(LOOPED)])
    peer_time = (time.perf_counter() - started) * CHAINS / LOOPED
    found = benchmark.pedantic(lambda: collect(ours, CHAINS, rng, chunk=10), rounds=1)
    ratio = peer_time / benchmark.stats.stats.min
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\n{CHAINS} chains of {FITS} students, {LATENTS} latents: {ratio:.1f} times faster than a loop of lstsq")
    predicted = law.chain(law.spectrum(LATENTS, 1.0), ROWS, FITS, FEATURES)
    assert (np.abs(found.mean(axis=0) - predicted) < 7 * found.std(axis=0) / np.sqrt(CHAINS) + 0.03 * predicted).all()
    assert (np.abs(peer.mean(axis=0) / predicted - 1) < 0.8).all()


def test_a_hundred_thousand_latents(benchmark):
    """One model of 1,000 features and 200 rows, and its law."""
    lam, rng = law.spectrum(WIDE, 1.0), np.random.default_rng(0)
    tracemalloc.start()
    signal, noise = benchmark.pedantic(lambda: features.losses(lam, 1000, 200, [1e-5], rng)[:, 0], rounds=1)
    peak = tracemalloc.get_traced_memory()[1] / 2**30
    tracemalloc.stop()
    benchmark.extra_info["peak_gib"] = round(peak, 2)
    print(f"\n{WIDE} latents: {peak:.2f} GiB")
    assert peak < 1e9 / 2**30
    predicted = law.penalised(lam, 1000, 200, 1e-5)
    assert abs(signal / predicted - 1) < 0.3
    assert abs(noise / (law.penalised(lam, 1000, 200, 1e-5, 1.0) - predicted) - 1) < 0.3
