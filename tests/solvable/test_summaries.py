"""Loops on sufficient statistics against loops on rows: equal in law at every generation, and a wrong law is seen."""

import tracemalloc
from dataclasses import replace as changed
from itertools import islice

import numpy as np
import pytest
from scipy.stats import ks_2samp, norm

from collapse_utils import feedback_loop
from collapse_utils.regimes import (
    accumulate,
    accumulate_subsample,
    mixture,
    real_and_last,
    replace,
    replace_multiple,
    size_matched,
)
from collapse_utils.rows import Ensemble, folded, subset
from collapse_utils.solvable import gaussian, linear, summaries
from collapse_utils.theory import discrete, gaussian as gaussian_theory, linear as theory

CHAINS, ROWS, FITS = 20_000, 7, 6
D, T = 3, 8
ALARM = 1e-7  # of one comparison; a file of tests makes about a hundred
DRAW = {replace_multiple: size_matched}


def moments(fit, real, mix, rng, rows=ROWS):
    """Mean, log variance and their product at every fit: {name: (FITS, chains)}."""
    loop = feedback_loop(fit, real, mix, rng, DRAW[mix](rows) if mix in DRAW else None)
    seen = [(np.ravel(g.model.mean), np.log(np.ravel(g.model.variance if hasattr(g.model, "variance") else g.model.deviation**2)))
            for g in islice(loop, FITS)]  # fmt: skip
    return {"mean": np.array([m for m, _ in seen]), "spread": np.array([v for _, v in seen]),
            "joint": np.array([m**2 * np.exp(-v) for m, v in seen])}  # fmt: skip


def on_rows(mix, rng, ddof=1):
    return moments(gaussian.fit(ddof), gaussian.standard(CHAINS).sample(ROWS, rng), mix, rng)


def on_moments(mix, rng, ddof=1, kind=None):
    real = summaries.Gaussian(np.zeros(CHAINS), np.ones(CHAINS)).sample(ROWS, rng)
    real = real if kind is None else kind(real.n, real.mean, real.squares, real.of_one)
    return moments(summaries.gaussian_fit(ddof), real, mix, rng)


def apart(one, other):
    """Where two samples (fits, chains) differ, at the false alarm of a file."""
    return [name for name in one if any(ks_2samp(a, b).pvalue < ALARM for a, b in zip(one[name], other[name], strict=True))]


@pytest.mark.parametrize("mix", [replace, accumulate, replace_multiple, mixture(2 / 7)])
def test_a_gaussian_on_moments_is_one_on_rows(mix, seed):
    rng = np.random.default_rng(seed)
    assert apart(on_rows(mix, rng), on_moments(mix, rng)) == []


class Forgetful(summaries.Moments):
    """Joins the squares and forgets that the means differ."""

    def join(self, other):
        return Forgetful(self.n + other.n, super().join(other).mean, self.squares + other.squares)


def test_moments_that_forget_the_means_are_seen(seed):
    rng = np.random.default_rng(seed)
    assert "spread" in apart(on_rows(accumulate, rng), on_moments(accumulate, rng, kind=Forgetful))


def test_a_chi_square_with_a_degree_too_many_is_seen(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    expected = on_rows(replace, rng)

    def sample(model, n, rng):
        drawn = summaries.Moments(n, model.mean + model.deviation / np.sqrt(n) * rng.standard_normal(CHAINS), 0, True)
        return changed(drawn, squares=model.deviation**2 * rng.chisquare(n, CHAINS))

    monkeypatch.setattr(summaries.Gaussian, "sample", sample)
    assert "spread" in apart(expected, on_moments(replace, rng))


def test_parts_of_one_gaussian_have_the_law_of_drawn_rows(seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((ROWS, CHAINS))
    whole = summaries.Moments(ROWS, rows.mean(axis=0), ROWS * rows.var(axis=0), True)
    part, direct = subset(whole, 3, rng), subset(Ensemble(rows), 3, rng).rows
    found = {"mean": part.mean, "squares": part.squares, "joint": part.mean * part.squares, "beside": part.mean * whole.mean}
    known = {"mean": direct.mean(axis=0), "squares": 3 * direct.var(axis=0)}
    known |= {"joint": known["mean"] * known["squares"], "beside": known["mean"] * whole.mean}
    assert [name for name in found if ks_2samp(found[name], known[name]).pvalue < ALARM] == []
    fresh = summaries.Gaussian(np.zeros(CHAINS), np.ones(CHAINS)).sample(3, rng)  # right alone, and not a part of the whole
    assert ks_2samp(fresh.mean * whole.mean, known["beside"]).pvalue < ALARM
    assert subset(whole, ROWS, rng) is whole
    assert (subset(whole, 1, rng).squares == 0).all()


def test_ten_thousand_fits_have_the_mean_and_the_walk_of_theory(seed):
    """Accumulate: E v by the exact recursion; replace: ln v is a random walk with a known drift, down to e^−500."""
    rng, chains, n = np.random.default_rng(seed), 400, 10_000
    truth = summaries.Gaussian(np.zeros(chains), np.ones(chains))
    kept = next(islice(feedback_loop(summaries.gaussian_fit(1), truth.sample(20, rng), accumulate, rng), n - 1, None)).model
    law, found = gaussian_theory.accumulate(n, 20, 1).variance[-1], kept.deviation**2
    assert abs(found.mean() - law) < norm.isf(1e-7) * found.std() / np.sqrt(chains)
    assert abs(found.mean() - 1) > 5 * found.std() / np.sqrt(chains) or abs(law - 1) < 0.1
    last = next(islice(feedback_loop(summaries.gaussian_fit(1), truth.sample(20, rng), replace, rng), n - 1, None)).model
    mean, variance = gaussian_theory.log_determinant(n, 20, 1)
    logs = 2 * np.log(last.deviation)
    assert abs(logs.mean() - mean[-1]) < norm.isf(1e-7) * np.sqrt(variance[-1] / chains)
    assert logs.mean() < -200


def errors(law, truth, mix, rng, fits=FITS):
    loop = feedback_loop(law.fit, law.real(truth, T, rng), mix, rng, DRAW[mix](T) if mix in DRAW else None)
    return {"error": np.array([linear.risk(g.model.w, truth) for g in islice(loop, fits)])}


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("mix", [replace, accumulate, replace_multiple])
def test_labels_of_a_fixed_design_by_their_moment(mix, penalty, seed):
    rng = np.random.default_rng(seed)
    x, truth = rng.standard_normal((1, T, D)) * np.ones((CHAINS, 1, 1)), np.ones((CHAINS, D))
    rows = errors(linear.FixedDesign(x, linear.gaussian(0.7), penalty), truth, mix, rng)
    found = errors(summaries.FixedDesign(x, 0.7, penalty), truth, mix, rng)
    assert apart(rows, found) == []
    wrong = errors(summaries.FixedDesign(x, 0.8, penalty), truth, mix, rng)
    assert apart(rows, wrong) == ["error"]


@pytest.mark.parametrize("mix", [replace, accumulate, replace_multiple])
def test_a_fresh_design_by_its_normal_equations(mix, seed):
    rng, truth = np.random.default_rng(seed), np.ones((CHAINS, D))
    rows = errors(linear.FreshDesign(D, CHAINS, linear.gaussian(1.0), linear.gaussian(0.7)), truth, mix, rng)
    assert apart(rows, errors(summaries.FreshDesign(D, CHAINS, 0.7), truth, mix, rng)) == []
    assert apart(rows, errors(Overcounted(D, CHAINS, 0.7), truth, mix, rng)) == ["error"]


class Overcounted(summaries.FreshDesign):
    """Every diagonal element of the Wishart's root with n degrees of freedom."""

    def drawn(self, w, n, rng):
        root = np.tril(rng.standard_normal((self.replicates, self.d, self.d)), -1)
        root[:, range(self.d), range(self.d)] = np.sqrt(rng.chisquare(n, (self.replicates, self.d)))
        gram, noise = root @ root.swapaxes(1, 2), self.noise * rng.standard_normal(w.shape)
        return summaries.Normal(n, gram, np.einsum("rij,rj->ri", gram, w) + np.einsum("rij,rj->ri", root, noise))


def test_counts_die_out_as_the_chain_of_wright_and_fisher_says(seed):
    rng, p, m, chains = np.random.default_rng(seed), np.array([0.5, 0.3, 0.2]), 12, 20_000
    real = summaries.Frequencies(np.tile(p, (chains, 1))).sample(m, rng)
    loop = feedback_loop(summaries.Frequencies.fit, real, replace, rng)
    open_ = np.array([((g.model.shares > 0).sum(axis=1) > 1).mean() for g in islice(loop, 15)])
    law = discrete.unabsorbed(p, m, 14)
    assert (np.abs(open_ - law) < norm.isf(ALARM) * np.sqrt(law * (1 - law) / chains)).all()
    kept = feedback_loop(summaries.Frequencies.fit, real, accumulate, rng)
    assert ((next(islice(kept, 14, None)).model.shares > 0).sum(axis=1) > 1).mean() > law[-1] + 0.1


def test_a_part_of_counts_is_a_part_of_rows(seed):
    rng, chains = np.random.default_rng(seed), 20_000
    counts = np.tile([4, 3, 2], (chains, 1))
    part = subset(summaries.Counts(counts), 5, rng).counts
    rows = subset(Ensemble(np.tile(np.repeat([0, 1, 2], [4, 3, 2])[:, None], chains)), 5, rng).rows
    direct = np.stack([(rows == k).sum(axis=0) for k in range(3)], axis=1)
    assert (part.sum(axis=1) == 5).all()
    assert (part <= counts).all()
    for moment in (lambda c: c, lambda c: c**2, lambda c: c * np.roll(c, 1, axis=1)):
        gap = moment(part).mean(axis=0) - moment(direct).mean(axis=0)
        error = np.sqrt((moment(part).var(axis=0) + moment(direct).var(axis=0)) / chains)
        assert (np.abs(gap) < norm.isf(ALARM) * error).all()


def test_the_bound_of_accumulate_holds_at_ten_thousand_fits(seed):
    rng, replicates = np.random.default_rng(seed), 300
    x, truth = rng.standard_normal((1, T, D)) * np.ones((replicates, 1, 1)), np.ones((replicates, D))
    law = summaries.FixedDesign(x, 1.0)
    found = linear.risk(
        next(islice(feedback_loop(law.fit, law.real(truth, T, rng), accumulate, rng), 9_999, None)).model.w, truth
    )
    expected = np.trace(np.linalg.inv(x[0].T @ x[0])) * theory.accumulate(10_000)
    assert abs(found.mean() - expected) < norm.isf(ALARM) * found.std() / np.sqrt(replicates)


@pytest.mark.parametrize("mix", [replace, accumulate, replace_multiple, real_and_last, mixture(0.5)])
def test_a_folded_history_gives_the_same_numbers(mix, seed):
    def last(mix, draw):
        rng = np.random.default_rng(seed)
        real = summaries.Gaussian(np.zeros(5), np.ones(5)).sample(8, rng)
        return next(islice(feedback_loop(summaries.gaussian_fit(1), real, mix, rng, draw), 30, None)).model

    draw = size_matched(8) if mix is replace_multiple else None
    whole, kept = last(mix, draw), last(folded(mix), draw)
    assert np.array_equal(whole.mean, kept.mean)
    assert np.array_equal(whole.deviation, kept.deviation)


def test_the_memory_of_a_folded_history_does_not_grow():
    def grown(mix):
        rng = np.random.default_rng(0)
        loop = feedback_loop(summaries.Frequencies.fit, summaries.Counts(np.ones((100, 10), int)), mix, rng)
        next(islice(loop, 50, None))
        tracemalloc.start()
        next(islice(loop, 500, None))
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return kept

    assert grown(folded(accumulate)) < 30_000  # bytes: two summaries of 8,000 each, and change
    assert grown(accumulate) > 3_000_000


def test_a_folded_history_refuses_what_it_does_not_keep():
    rng, real = np.random.default_rng(0), summaries.Counts(np.ones((2, 3), int))
    said = {
        "folded: must have summaries, which add up in constant memory; got ndarray": lambda: folded(accumulate)([np.ones(3)], rng),
        "folded: this regime reads generation 1, which is not kept": lambda: folded(lambda history, rng: history[1])([real] * 3, rng),
        "folded: this regime reads every generation": lambda: folded(lambda history, rng: list(history))([real] * 3, rng),
    }  # fmt: skip
    for words, call in said.items():
        with pytest.raises(ValueError, match=words):
            call()


def test_what_has_no_law_or_no_rows_is_refused():
    rng, one = np.random.default_rng(0), np.ones(2)
    drawn = summaries.Gaussian(0 * one, one).sample(5, rng)
    law = summaries.FixedDesign(np.ones((2, 4, 1)), 1.0)
    said = {
        "subset: Moments knows no law of a part of its rows; run this regime on rows": lambda: accumulate_subsample([drawn, drawn], rng),
        "subset: Labels knows no law of a part of its rows": lambda: subset(law.real(np.ones((2, 1)), 4, rng), 2, rng),
        "fit: a spread needs at least two rows and must stay above zero; got 1 rows": lambda: summaries.gaussian_fit(0)(subset(drawn, 1, rng), rng),
        "sample: n must be a multiple of the design's 4 rows; got 6": lambda: law.real(np.ones((2, 1)), 6, rng),
        "design: T must be at least d; got 2 rows of 3 features": lambda: summaries.FixedDesign(np.ones((1, 2, 3)), 1.0).real(np.ones((1, 3)), 2, rng),
        "fit: this estimator needs rows, and Moments keeps none; use the one that comes with Moments": lambda: gaussian.fit(1)(drawn, rng),
        "Counts: counts must be whole numbers from 0 on; got -2": lambda: summaries.Counts(np.array([[1, -2]])),
        "Counts: counts must be whole numbers from 0 on; got 0.5": lambda: summaries.Counts(np.array([[1, 0.5]])),
        "Counts: counts must be whole numbers from 0 on; got the type float64": lambda: summaries.Counts(np.array([[1.0, 2.0]])),
        "Moments: counts must be whole numbers from 0 on; got -1": lambda: summaries.Moments(-1, one, one),
        "join: both must hold the same statistics in the same shapes; got Moments .* and Moments": lambda: drawn.join(summaries.Gaussian(np.zeros(3), np.ones(3)).sample(5, rng)),
        "join: both must hold the same statistics in the same shapes; got Moments .* and Counts": lambda: drawn.join(summaries.Counts(np.ones((2, 3), int))),
        "sample: n must be at least d = 3; got 2": lambda: summaries.FreshDesign(3, 1, 1.0).real(np.ones((1, 3)), 2, rng),
    }  # fmt: skip
    for words, call in said.items():
        with pytest.raises(ValueError, match=words):
            call()
