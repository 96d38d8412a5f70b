"""A table of one's own: distances against all pairs in one matrix, the loop against the same loop written plainly, in one run."""

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp, norm, rankdata

from collapse_utils.practice import distances, frames, measures
from collapse_utils.practice.frames import Columns
from collapse_utils.practice.study import study

ROWS, COLUMNS, SAMPLES = 10_000, 20, 3
LARGE, FITS, SEEDS = 100_000, 10, 10
LOOP = 50_000, 10, 6  # rows, fits, seeds of the loop that is written plainly as well; processes take seconds to start
QUICK = ("energy", "mmd", "marginals", "correlations", "moments")


def rows(n, rng, scale=1.0):
    """n rows of COLUMNS numbers that hang together."""
    return scale * rng.standard_normal((n, COLUMNS)) @ np.tri(COLUMNS) / np.sqrt(np.arange(1, COLUMNS + 1))


def apart(function, *arguments):
    """The result of a function in a fresh process, and what it adds to the memory of that process at most, in MB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_watched, function, *arguments).result()


def _watched(function, *arguments):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = function(*arguments)
    return found, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000


def plain_pairs():
    """Energy distance, MMD², nearest neighbours and marginals as they are defined: every pair in one matrix. (values, seconds)."""
    rng = np.random.default_rng(0)
    real, sampled = rows(ROWS, rng), [rows(ROWS, rng, 1.05) for _ in range(SAMPLES)]
    scaled, started = real.std(axis=0), time.process_time()
    x, h, found = real / scaled, distances.median_bandwidth(real / scaled), []
    for sample in sampled:
        y = sample / scaled
        energy = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
        kernels = [np.exp(-cdist(a, b, "sqeuclidean") / (2 * h * h)).mean() for a, b in ((x, x), (y, y), (x, y))]
        near = np.median(cdist(y, x).min(axis=1))
        marginal = [ks_2samp(a, b).statistic for a, b in zip(real.T, sample.T)]
        found.append((energy, kernels[0] + kernels[1] - 2 * kernels[2], near, *marginal))
    return np.array(found), time.process_time() - started


def ours_pairs():
    """The same by distances and measures."""
    rng = np.random.default_rng(0)
    real, sampled = rows(ROWS, rng), [rows(ROWS, rng, 1.05) for _ in range(SAMPLES)]
    columns = Columns(tuple(map(str, range(COLUMNS))), ("number",) * COLUMNS, ((),) * COLUMNS)
    scaled, started = real.std(axis=0), time.process_time()
    x, h, found = distances.Points(real / scaled), distances.median_bandwidth(real / scaled), []
    for sample in sampled:
        y = distances.Points(sample / scaled)
        near = np.median(distances.nearest(y.points, x.points))
        found.append((*distances.two_sample(x, y, h), near, *measures.marginals(real, sample, columns)))
    return np.array(found), time.process_time() - started


def test_distances_of_ten_thousand_rows(benchmark):
    """Processor seconds for three samples against the same real rows, and memory, in processes of their own."""
    (plain, plain_s), plain_mb = apart(plain_pairs)
    (ours, ours_s), ours_mb = apart(ours_pairs)
    benchmark.pedantic(apart, (ours_pairs,), rounds=1)
    benchmark.extra_info["ratio"] = round(plain_s / ours_s, 1)
    print(
        f"\ndistances and marginals of {ROWS:,} rows: {plain_s / ours_s:.1f} times faster than every pair in one matrix (wanted: 10), "
        f"{ours_mb:.0f} MB against {plain_mb:.0f} MB"
    )
    assert np.allclose(ours, plain, rtol=1e-4, atol=1e-6)
    assert ours_mb < 100


def plain_loop(real, n_fits, n_seeds):
    """The loop written plainly around a Gaussian copula, one seed after the other, every pair of the compared rows in a matrix."""
    found, half = [], len(real) // 2
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(real))
        data, held = real[order[:half]], real[order[half:]]
        unit = held.std(axis=0)
        for _ in range(n_fits):
            scores = norm.ppf((np.apply_along_axis(rankdata, 0, data) - 0.5) / len(data))
            latent = rng.multivariate_normal(np.zeros(COLUMNS), np.corrcoef(scores, rowvar=False), half)
            data = np.column_stack([np.quantile(data[:, j], norm.cdf(latent[:, j])) for j in range(COLUMNS)])
            x, y = held[rng.choice(half, 1000)] / unit, data[rng.choice(half, 1000)] / unit
            energy = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
            h = np.median(cdist(x, x))
            kernels = [np.exp(-(cdist(a, b) ** 2) / (2 * h * h)).mean() for a, b in ((x, x), (y, y), (x, y))]
            marginal = [ks_2samp(held[:, j], data[:, j]).statistic for j in range(COLUMNS)]
            changed = np.abs(np.corrcoef(data, rowvar=False) - np.corrcoef(held, rowvar=False)).max()
            found.append((energy, kernels[0] + kernels[1] - 2 * kernels[2], np.mean(marginal), changed, *data.var(axis=0)))
    return np.array(found)


def table(n):
    """A table of n rows as a Frame."""
    columns = Columns(tuple(f"c{j}" for j in range(COLUMNS)), ("number",) * COLUMNS, ((),) * COLUMNS)
    return frames.framed(rows(n, np.random.default_rng(1)), columns, "drawn", ())


def our_study(n, n_fits, n_seeds, processes, groups=QUICK):
    """Seconds of a study of one regime, and its table."""
    started = time.perf_counter()
    found = study(table(n), "copula", regimes=("replace",), n_fits=n_fits, n_seeds=n_seeds, measures=groups, processes=processes)
    return time.perf_counter() - started, found.table


def test_the_loop_against_one_written_plainly(benchmark):
    """Both on all cores: the plain one has but one process. The measures are the same."""
    n, n_fits, n_seeds = LOOP
    started = time.perf_counter()
    plain = plain_loop(np.array(table(n).rows), n_fits, n_seeds)
    plain_s = time.perf_counter() - started
    ours_s, found = benchmark.pedantic(our_study, (n, n_fits, n_seeds, 2), rounds=1)
    benchmark.extra_info["ratio"] = round(plain_s / ours_s, 1)
    print(
        f"\n{n_seeds} loops of {n_fits} copulas on {n:,} × {COLUMNS}: {plain_s / ours_s:.1f} times faster than written plainly (wanted: 5)"
    )
    ours = found[found["measure"] == "energy_distance"]["value"].mean()
    assert 0.3 < ours / plain[:, 0].mean() < 3


def test_a_large_table(benchmark):
    """10⁵ × 20, a Gaussian copula, ten fits, ten seeds, every measure: seconds, and the memory of the largest process."""
    (seconds, _), memory = benchmark.pedantic(apart, (our_study, LARGE, FITS, SEEDS, 2, measures.GROUPS), rounds=1)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        f"\n{LARGE:,} × {COLUMNS}, {FITS} fits, {SEEDS} seeds: {seconds:.0f} s (wanted: 300), {max(memory / 1000, children):.1f} GB a process (wanted: 4)"
    )
