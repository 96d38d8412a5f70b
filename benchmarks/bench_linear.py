"""Many-replicate linear chains against the obvious loop of one numpy.linalg.lstsq per fit, in the same run."""

import time
import tracemalloc
from itertools import islice

import numpy as np
import pytest

from collapse_utils import feedback_loop
from collapse_utils.moments import replicate
from collapse_utils.regimes import accumulate, accumulate_subsample, replace, replace_multiple, size_matched
from collapse_utils.solvable.linear import FixedDesign, gaussian, risk

D, T, FITS = 32, 100, 10


def ours(mix, draw, n_replicates, seed=0):
    """Risk moments of n_replicates chains, in ensembles."""

    def experiment(r, rng):
        design, truth = FixedDesign(rng.standard_normal((r, T, D)), gaussian(1.0)), rng.standard_normal((r, D))
        loop = feedback_loop(design.fit, design.real(truth, T, rng), mix, rng, draw)
        return {"risk": np.stack([risk(g.model.w, truth) for g in islice(loop, FITS)], axis=1)}

    return replicate(experiment, n_replicates, np.random.default_rng(seed))["risk"]


def obvious(mix, draw, n_replicates, seed=1):
    """The same chains, one replicate and one lstsq after the other."""
    rng, risks = np.random.default_rng(seed), []
    for _ in range(n_replicates):
        x, truth = rng.standard_normal((T, D)), rng.standard_normal(D)
        history = [(x, x @ truth + rng.standard_normal(T))]
        data, path = history[0], []
        for t in range(FITS):
            w = np.linalg.lstsq(*data, rcond=None)[0]
            path.append(((w - truth) ** 2).sum())
            rows = np.tile(x, (((draw(t + 1) if draw else T) // T), 1))
            history.append((rows, rows @ w + rng.standard_normal(len(rows))))
            data = mix(history, rng)
        risks.append(path)
    return np.array(risks)


@pytest.mark.parametrize(
    ("mix", "draw", "least"),
    [(replace, None, 20), (accumulate, None, 30), (replace_multiple, size_matched(T), None), (accumulate_subsample, None, None)],
    ids=["replace", "accumulate", "replace_multiple", "accumulate_subsample"],
)
def test_speed_ratio(benchmark, mix, draw, least):
    """Ratio of times per replicate, with the same statistics; the peer runs a tenth of the replicates."""
    ours(mix, draw, 50)
    started = time.perf_counter()
    peer = obvious(mix, draw, 100)
    peer_time = (time.perf_counter() - started) / 100
    moments = benchmark.pedantic(ours, (mix, draw, 1000), rounds=3)
    ratio = peer_time / (benchmark.stats.stats.min / 1000)
    benchmark.extra_info["ratio"] = round(ratio, 1)
    print(f"\n{mix.__name__}: {ratio:.1f} times faster than one lstsq a fit" + (f" (wanted: {least})" if least else ""))
    error = np.hypot(moments.se, peer.std(0, ddof=1) / np.sqrt(len(peer)))
    assert (np.abs(moments.mean - peer.mean(0)) < 5 * error).all()


def test_memory_does_not_grow_with_replicates(benchmark):
    """Peak traced memory of 2,000 replicates over that of 400."""

    def peak(n_replicates):
        tracemalloc.start()
        ours(accumulate, None, n_replicates)
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return high

    small = peak(400)
    ratio = benchmark.pedantic(peak, (2000,), rounds=1) / small
    benchmark.extra_info["ratio"] = round(ratio, 2)
    print(f"\npeak memory, 2,000 replicates over 400: {ratio:.2f}")
    assert ratio < 1.1
