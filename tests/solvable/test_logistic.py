"""Batched logistic regression: against scikit-learn, against linear programming, against its own large-sample law."""

from itertools import islice, pairwise

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit

from collapse_utils import feedback_loop, tables as corpora
from collapse_utils.moments import collect, relative
from collapse_utils.regimes import accumulate, accumulate_subsample, replace
from collapse_utils.rows import Ensemble
from collapse_utils.solvable.logistic import Logistic, excess
from collapse_utils.theory import linear as law


@pytest.fixture
def tumours():
    x, y = corpora.load("breast_cancer")
    return corpora.components(x[:, [1, 4, 8, 9]], 4), y


def test_the_fit_is_scikit_learns_unpenalised_one(tumours):
    from sklearn.linear_model import LogisticRegression

    x, y = tumours
    ours = Logistic(x).maximum(y[None], np.ones((1, len(y))))[0]
    theirs = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=10_000).fit(x, y).coef_[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.abs((y - expit(x @ ours)) @ x).max() < 1e-8  # the score vanishes


def test_counts_are_the_same_as_stacked_rows(tumours, seed):
    x, y = tumours
    rng = np.random.default_rng(seed)
    model = Logistic(x)
    beta = model.maximum(y[None], np.ones((1, len(y))))[0]
    data = model.real(beta, 3, 4, rng)
    row, labels = data.rows
    stacked = Logistic(np.tile(x, (3, 1))).maximum(labels.T.astype(float), np.ones(labels.T.shape))
    np.testing.assert_allclose(model.fit(data, rng).beta, stacked, atol=1e-8)
    shuffled = rng.permutation(len(row))  # no longer whole copies in order: the other branch
    again = model.fit(Ensemble((row[shuffled], labels[shuffled])), rng).beta
    np.testing.assert_allclose(again, stacked, atol=1e-8)


@pytest.mark.parametrize(("rows", "features", "discrete"), [(12, 2, False), (20, 3, False), (12, 2, True), (30, 4, True)])
def test_a_model_is_missing_exactly_where_labels_are_separable(rows, features, discrete, seed):
    """The linear programme of Albert and Anderson (1984), complete and quasi-complete separation, is the judge."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (rows, features)) if discrete else rng.standard_normal((rows, features))
    x = np.column_stack([np.ones(rows), x])
    y = (rng.random((200, rows)) < expit(x @ (1.5 * rng.standard_normal(features + 1)))).astype(float)
    missing = np.isnan(Logistic(x).maximum(y, np.ones_like(y))).any(axis=1)
    for labels, absent in zip(y, missing, strict=True):
        z = (2 * labels - 1)[:, None] * x  # separable: some b ≠ 0 with z b ≥ 0, not all zero
        best = -linprog(-z.sum(axis=0), A_ub=-z, b_ub=np.zeros(rows), bounds=[(-1, 1)] * x.shape[1]).fun
        assert absent == (best > 1e-9)


def test_all_features_of_breast_cancer_are_separable_and_a_lost_chain_stays_lost(seed):
    x, y = corpora.load("breast_cancer")
    full = Logistic(corpora.components(x, 30))
    assert np.isnan(full.maximum(y[None], np.ones((1, len(y))))).all()
    few = Logistic(np.column_stack([np.ones(6), np.arange(6.0)]))
    rng = np.random.default_rng(seed)
    lost = [g.model.separable for g in islice(feedback_loop(few.fit, few.real(np.zeros(2), 1, 50, rng), replace, rng), 4)]
    assert lost[-1].any()
    assert all((later >= earlier).all() for earlier, later in pairwise(lost))


def test_the_first_risk_and_the_universal_path(tumours, seed):
    """n·risk → p, and accumulate follows Σ 1/k²: rejects replace's law n, and a swapped regime is caught."""
    x, y = tumours
    model = Logistic(x)
    beta = model.maximum(y[None], np.ones((1, len(y))))[0]
    info = model.information(beta)

    def run(mix):
        def chain(r, rng):
            loop = feedback_loop(model.fit, model.real(beta, 8, r, rng), mix, rng)
            return np.stack([excess(g.model.beta, beta, info) for g in islice(loop, 4)], axis=1) * 8 * len(x) / 5

        return collect(chain, 400, np.random.default_rng(seed))

    kept, replaced = run(accumulate), run(replace)
    z = 5.5
    for risks, path in ((kept, law.accumulate([1, 2, 3, 4])), (replaced, law.replace([1, 2, 3, 4]))):
        error = z * risks.std(axis=0) / 20 + 0.1 * path  # the remainder is of order 1/T; 10 % bounds it at 4552 labels
        assert (np.abs(risks.mean(axis=0) - path) < error).all()
    assert abs(kept[:, 3].mean() - 4) > z * kept[:, 3].std() / 20 + 0.4
    assert abs(relative(replaced)[:, 3].mean() - law.accumulate(4)) > 1


def test_subsampled_rows_are_fitted(tumours, seed):
    x, y = tumours
    model, rng = Logistic(x), np.random.default_rng(seed)
    beta = model.maximum(y[None], np.ones((1, len(y))))[0]
    last = list(islice(feedback_loop(model.fit, model.real(beta, 2, 20, rng), accumulate_subsample, rng), 3))[-1]
    assert len(last.data.rows[0]) == 2 * len(x)
    assert last.model.beta.shape == (20, 5)
    assert not last.model.separable.all()


def test_partial_copies_are_refused(tumours):
    model, rng = Logistic(tumours[0]), np.random.default_rng(0)
    fitted = model.fit(model.real(np.zeros(5), 1, 2, rng), rng)
    with pytest.raises(ValueError, match="multiple of the design's 569 rows; got 10"):
        fitted.sample(10, rng)


def test_relative_carries_the_error_of_the_denominator(seed):
    """The spread of a ratio of means over many repetitions is the one that relative states."""
    rng = np.random.default_rng(seed)
    first = rng.chisquare(4, (2000, 200))
    draws = np.stack([first, 2 * first + 0.5 * rng.chisquare(4, first.shape)], axis=-1)  # (repetition, R, 2)
    ratios = draws.mean(axis=1)[:, 1] / draws.mean(axis=1)[:, 0]
    stated = np.array([relative(d)[:, 1].std(ddof=1) / np.sqrt(200) for d in draws])
    assert abs(ratios.std() / stated.mean() - 1) < 5.5 / np.sqrt(2 * 2000)
    naive = (draws[:, :, 1].std(axis=1) / np.sqrt(200) / draws[:, :, 0].mean(axis=1)).mean()
    assert abs(ratios.std() / naive - 1) > 5.5 / np.sqrt(2 * 2000)
    assert np.allclose(relative(draws[0]).mean(axis=0)[1], ratios[0])
