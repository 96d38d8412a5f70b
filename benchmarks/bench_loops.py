"""Long loops: data as sufficient statistics against data as rows, in the same run; time and memory against the generations."""

import time
import tracemalloc
from itertools import islice

import numpy as np
import pytest

from benchmarks.bench_linear import obvious
from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate, replace
from collapse_utils.rows import Summary, folded
from collapse_utils.solvable import bigram, gaussian, linear, scatter, summaries, transitions
from collapse_utils.theory import markov

D, ROWS, REPLICATES = 32, 100, 100
HORIZONS, LONG = (100, 316, 1000, 3162, 10_000), 2000  # fits; those whose memory is traced
LOOPS, CHAINS = 100, 2000  # where random numbers are counted


def seconds(work, *args):
    """CPU seconds of a call."""
    started = time.process_time()
    work(*args)
    return time.process_time() - started


def run(fit, real, mix, n, rng):
    """CPU seconds of n fits; summaries are folded."""
    mix = folded(mix) if isinstance(real, Summary) else mix
    return seconds(next, islice(feedback_loop(fit, real, mix, rng), n - 1, None))


def fixed(kind, mix, n, replicates=REPLICATES, d=D):
    """Least squares on a fixed design."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((replicates, ROWS, d)), np.zeros((replicates, d))
    law = linear.FixedDesign(x, linear.gaussian(1.0)) if kind is linear else summaries.FixedDesign(x, 1.0)
    return run(law.fit, law.real(w, ROWS, rng), mix, n, rng)


def normal(kind, mix, n, chains, rows):
    """A Gaussian in one dimension."""
    rng = np.random.default_rng(0)
    if kind is gaussian:
        return run(gaussian.fit(1), gaussian.standard(chains).sample(rows, rng), mix, n, rng)
    real = summaries.Gaussian(np.zeros(chains), np.ones(chains)).sample(rows, rng)
    return run(summaries.gaussian_fit(1), real, mix, n, rng)


def documents(kind, order, n, chains, count=400, letters=5, length=8):
    """Counting models of `count` documents of a Markov chain, replaced; unigrams (order 0) read letters without their order."""
    rng = np.random.default_rng(0)
    truth = bigram.truth(markov.source(letters, 0.5, rng), length, chains)
    if kind is bigram:
        return run(bigram.counting(letters, 0.5, order), truth.sample(count, rng), replace, n, rng)
    real = transitions.Ngram.of(truth).sample(count, rng)
    return run(transitions.counting(0.5, order), real if order else real.letters(), replace, n, rng)


def lstsq(replicates):
    """CPU seconds of ten fits by one numpy.linalg.lstsq each."""
    return seconds(obvious, accumulate, None, replicates)


def released(chains, d, rows, fits=100, seed=0):
    """The Gaussian experiment of Kazdan et al. under accumulate, as plain as released: E tr Σ/d after the last fit, its error."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(chains):
        pool = rng.standard_normal((rows, d))
        for fit in range(fits):
            mean, covariance = pool.mean(axis=0), np.atleast_2d(np.cov(pool, rowvar=False, bias=True))
            if fit < fits - 1:
                pool = np.concatenate([pool, rng.multivariate_normal(mean, covariance, rows)])
        found.append(np.trace(covariance) / d)
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(chains)


def summed(chains, d, rows, fits=100, seed=0):
    """The same on summaries."""
    rng = np.random.default_rng(seed)
    if d == 1:
        fit, truth = summaries.gaussian_fit(0), summaries.Gaussian(np.zeros(chains), np.ones(chains))
    else:
        fit, truth = scatter.gaussian_fit(0), scatter.Gaussian.of(gaussian.standard(chains, d))
    loop = feedback_loop(fit, truth.sample(rows, rng), folded(accumulate), rng)
    model = next(islice(loop, fits - 1, None)).model
    found = model.deviation**2 if d == 1 else model.variance
    return found.mean(), found.std(ddof=1) / np.sqrt(chains)


@pytest.mark.parametrize(
    ("what", "peer", "ours", "wanted"),
    [
        ("accumulate, 400 fits", lambda: fixed(linear, accumulate, 400), lambda: fixed(summaries, accumulate, 400), 50),
        ("Gaussian, 30 fits of 100 rows", lambda: normal(gaussian, replace, 30, 100_000, 100),
         lambda: normal(summaries, replace, 30, 100_000, 100), 20),
        ("unigrams of 400 documents, 5 fits", lambda: documents(bigram, 0, 5, 200), lambda: documents(transitions, 0, 5, 200), 20),
        ("bigrams of 400 documents, 5 fits", lambda: documents(bigram, 1, 5, 200), lambda: documents(transitions, 1, 5, 200), 20),
        ("bigrams of 2,000 documents, 5 fits", lambda: documents(bigram, 1, 5, 40, 2000),
         lambda: documents(transitions, 1, 5, 200, 2000) / 5, 20),
        ("least squares, 10 fits", lambda: lstsq(100) * 10, lambda: fixed(summaries, accumulate, 10, 1000), 100),
    ],
)  # fmt: skip
def test_summaries_against_rows(benchmark, what, peer, ours, wanted):
    before = peer()
    ratio = before / min(benchmark.pedantic(ours, rounds=3), *(ours() for _ in range(3)))
    benchmark.extra_info |= {"ratio": round(ratio, 1), "wanted": wanted}
    print(f"\n{what}: {ratio:.0f} times faster than rows (wanted {wanted})")


@pytest.mark.parametrize(
    ("d", "rows", "chains"), [(1, 10, 100), (1, 100, 100), (3, 100, 100), (10, 32, 100), (10, 316, 20), (31, 100, 20)]
)
def test_the_released_experiment(benchmark, d, rows, chains):
    """A few chains as plain as released (at most their hundred) against many on summaries, per chain; same numbers."""
    many = 20_000 // d
    plain_time, ours_time = seconds(released, chains, d, rows) / chains, seconds(summed, many, d, rows) / many
    benchmark.pedantic(summed, (many, d, rows), rounds=1)
    (plain, plain_se), (ours, ours_se) = released(chains, d, rows, seed=1), summed(many, d, rows, seed=1)
    off = abs(plain - ours) / np.hypot(plain_se, ours_se)
    assert off < 5
    ratio = plain_time / ours_time
    benchmark.extra_info |= {"ratio": round(ratio), "wanted": 100, "standard errors apart": round(off, 1)}
    print(
        f"\nd = {d}, {rows} rows: {ratio:.0f} times faster a chain (wanted 100); {plain:.3f} and {ours:.3f}, {off:.1f} errors apart"
    )


def drawing(kind, n, chains, rows):
    """CPU seconds of the random numbers alone that n fits draw, by the same generator."""
    rng = np.random.default_rng(0)
    if kind is summaries:
        return seconds(lambda: [(rng.standard_normal(chains), rng.chisquare(rows - 1, chains)) for _ in range(n)])
    if kind is linear:
        return seconds(lambda: [rng.standard_normal((chains, D)) for _ in range(n)])
    shares = np.full((chains, 10), 0.1)
    return seconds(lambda: [rng.multinomial(rows, shares) for _ in range(n)])


@pytest.mark.parametrize(
    ("what", "kind", "ours"),
    [
        ("Gaussian", summaries, lambda n, chains: normal(summaries, accumulate, n, chains, 100)),
        ("fixed design", linear, lambda n, chains: fixed(summaries, accumulate, n, chains)),
        ("ten states", None, lambda n, chains: run(
            summaries.Frequencies.fit, summaries.Counts(np.full((chains, 10), 10)), accumulate, n, np.random.default_rng(0)
        )),
    ],
)  # fmt: skip
def test_share_of_the_physical_limit(benchmark, what, kind, ours):
    """Random numbers drawn a second by the loop, over the generator's own rate: the rest is arithmetic."""
    alone = min(drawing(kind, LOOPS, CHAINS, ROWS) for _ in range(3))
    share = alone / min(benchmark.pedantic(ours, (LOOPS, CHAINS), rounds=2), ours(LOOPS, CHAINS))
    benchmark.extra_info["share"] = round(share, 2)
    print(f"\n{what}: {share:.0%} of the generator's own rate")


def test_ten_thousand_fits(benchmark):
    """Accumulate over replace at 10,000 fits, the log-log slope of its time from 100 to 10,000, and its traced memory's growth."""
    taken = [fixed(summaries, accumulate, n) for n in HORIZONS]
    ratio = taken[-1] / benchmark.pedantic(fixed, (summaries, replace, HORIZONS[-1]), rounds=1)
    slope = np.polyfit(np.log(HORIZONS), np.log(taken), 1)[0]
    peaks = []
    for n in (100, LONG):
        tracemalloc.start()
        fixed(summaries, accumulate, n)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    benchmark.extra_info |= {
        "accumulate over replace": round(ratio, 2),
        "slope": round(slope, 3),
        "peaks": [round(p, 1) for p in peaks],
    }
    print(
        f"\n{HORIZONS[-1]:,} fits: accumulate {ratio:.2f} of replace (wanted 1.5); slope {slope:.2f} (wanted 1.05); "
        f"{peaks[0]:.1f} → {peaks[1]:.1f} MB from 100 to {LONG:,} fits (wanted ± 5)"
    )
