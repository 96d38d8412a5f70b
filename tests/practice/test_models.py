"""Generators against moments, quantiles and counts of their rows; a stranger's is checked whenever it speaks."""

import numpy as np
import pandas as pd
import pytest

from collapse_utils.practice import frames, models, sources
from tests.practice import strangers

BIG = 20_000


@pytest.fixture(scope="module")
def mixed():
    """Two hundred rows: two correlated numbers and a category that goes with the first."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 2)) @ [[2.0, 1.0], [0.0, 0.5]] + [10, -1]
    return frames.of(
        pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "size": np.where(x[:, 0] + rng.standard_normal(200) > 10, "l", "s")}), "made"
    )


def drawn(name, frame, n=BIG, seed=0):
    rng = np.random.default_rng(seed)
    return models.build(name, frame.columns)(frame.rows, rng).sample(n, rng)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "copula", "ppca"])
def test_means_and_correlations_are_those_of_the_rows(mixed, name):
    rows = drawn(name, mixed)
    spread = mixed.rows[:, :2].std(axis=0)
    assert np.allclose(rows[:, :2].mean(axis=0), mixed.rows[:, :2].mean(axis=0), atol=0.05 * spread.max())
    assert np.allclose(np.corrcoef(rows[:, :2].T)[0, 1], np.corrcoef(mixed.rows[:, :2].T)[0, 1], atol=0.06)
    assert set(np.unique(rows[:, 2])) == {0, 1}
    assert abs(rows[:, 2].mean() - mixed.rows[:, 2].mean()) < 0.06
    together = [np.corrcoef(part[:, 0], part[:, 2])[0, 1] for part in (rows, mixed.rows)]
    assert abs(together[0] - together[1]) < 0.3


def test_the_gaussian_has_the_unbiased_covariance(mixed):
    few = frames.framed(mixed.rows[:10].copy(), mixed.columns, "few", ())
    covariance = np.cov(drawn("gaussian", few, 200_000)[:, :2].T)
    assert np.allclose(covariance, np.cov(few.rows[:, :2].T), rtol=0.05)


def test_a_kernel_density_adds_its_bandwidth(mixed):
    numbers = frames.Columns(("x", "y"), ("number", "number"), ((), ()))
    rows = frames.framed(mixed.rows[:, :2].copy(), numbers, "numbers", ())
    wider = drawn("kde", rows).var(axis=0) / rows.rows.var(axis=0)
    assert np.allclose(wider, 1 + 200 ** (-2 / 6), atol=0.04)  # Scott's factor n^(-1/(d + 4)), squared


def test_a_copula_keeps_every_column_between_its_ends(mixed):
    rows = drawn("copula", mixed)
    assert (rows.min(axis=0) >= mixed.rows.min(axis=0)).all()
    assert (rows.max(axis=0) <= mixed.rows.max(axis=0)).all()
    levels = np.linspace(0.05, 0.95, 10)
    assert np.allclose(np.quantile(rows[:, 0], levels), np.quantile(mixed.rows[:, 0], levels), atol=0.25)


def test_an_ngram_says_what_it_has_read_with_its_frequencies(tmp_path):
    (tmp_path / "t.txt").write_text("ababababacababab" * 60, encoding="utf-8")
    frame = sources.read(tmp_path / "t.txt")
    rows = drawn("ngram", frame, 4000)
    text = ["".join(row) for row in frames.decode(rows, frame.columns).to_numpy()]
    assert all("bb" not in row and "aa" not in row for row in text)
    real = frame.rows == frame.columns.categories[0].index("c")
    assert abs((rows == frame.columns.categories[0].index("c")).mean() - real.mean()) < 0.015


def test_an_ngram_needs_one_alphabet(mixed):
    with pytest.raises(ValueError, match=r"ngram needs columns of one alphabet, a text; got column x \(number\)"):
        models.build("ngram", mixed.columns)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gauss", "must be one of gaussian, mixture, .* or package.module:function; got 'gauss'"),
        ("no_such_package:fit", "no_such_package must be a module that Python finds"),
        (":fit", "package.module:function; got ':fit'"),
        ("strangers:", "package.module:function; got 'strangers:'"),
        ("tests.practice.strangers:fit", "tests.practice.strangers must have the function fit"),
        ("tests.practice.strangers:NUMBER", "must be a function fit.data, rng.; got int"),
    ],
)
def test_a_model_that_is_none_is_refused(mixed, name, said):
    with pytest.raises(ValueError, match=said):
        models.build(name, mixed.columns)


def test_strangers_are_welcome(mixed):
    rows = drawn("tests.practice.strangers:bayesian", mixed, 500)
    assert rows.shape == (500, 3)
    assert (drawn(strangers.copies, mixed, 50)[:, None] == mixed.rows).all(axis=2).any(axis=1).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="y"), "must have the 3 columns of the data; got 2, and they differ in 'y'"),
        (lambda rows: rows.rename(columns={"y": "z"}), "must have the 3 columns of the data; got 3, and they differ in 'y'"),
        (lambda rows: rows.assign(x=rows.x.astype(str)), r"column x must hold numbers, as in the data; got str"),
        (lambda rows: rows.assign(x=np.nan), "column x must be finite; got nan in row 0"),
        (lambda rows: rows.assign(size="xl"), "column size must keep to its 2 categories; got 'xl'"),
        (lambda rows: rows.assign(size=0.0), "column size must keep to its 2 categories; got 0.0"),
        (lambda rows: None, "sample of .*: must return rows, a pandas table or an array; got NoneType"),
        (lambda rows: rows["z"], "model: sample.n, rng. of .* must run; it raised KeyError in .*, line .*: 'z'"),
        (lambda rows: rows.iloc[1:], "must return as many rows as asked for; got 199 of 200"),
        (lambda rows: rows.to_numpy(), "an array must hold numbers; got object; return a pandas table"),
        (lambda rows: np.zeros((200, 2)), r"must be rows of 3 columns; got an array of shape \(200, 2\)"),
        (lambda rows: np.full((200, 3), 0.5), r"column size must hold places 0 to 1 of categories; got 0\.5"),
    ],
)
def test_a_sample_that_is_of_another_table_is_refused(mixed, change, said):
    fit = models.outside(lambda table, rng: strangers.Answer(table, change), mixed.columns)
    with pytest.raises(ValueError, match=said):
        models.rehearse(fit, mixed.rows, np.random.default_rng(0))


def test_a_stranger_without_a_sample_is_refused(mixed):
    with pytest.raises(ValueError, match=r"must return an object with sample\(n, rng\); got int"):
        models.rehearse(models.outside(lambda table, rng: 3, mixed.columns), mixed.rows, np.random.default_rng(0))


def test_what_a_stranger_raises_is_one_sentence_that_says_where(mixed, tmp_path, monkeypatch):
    (tmp_path / "no_python.py").write_text("def fit(:\n", encoding="utf-8")
    (tmp_path / "alone.py").write_text(
        "def fit(table):\n    return table\ndef split(table, rng):\n    return 1 / 0\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="model: no_python must be Python; line 1 is not: "):
        models.build("no_python:fit", mixed.columns)
    with pytest.raises(
        ValueError, match=r"model: fit\(table, rng\) must run; it raised TypeError: fit\(\) takes 1 positional argument"
    ):
        drawn("alone:fit", mixed)
    with pytest.raises(
        ValueError, match=r"split\(table, rng\) must run; it raised ZeroDivisionError in .*alone.py, line 4: division"
    ):
        drawn("alone:split", mixed)


def test_a_rehearsal_sees_rows_of_the_whole_table():
    """A table that is sorted by its category: a stranger that must see both is not refused."""
    table = pd.DataFrame({"x": np.arange(600.0), "size": np.repeat(["l", "s"], 300)})
    frame, seen = frames.of(table, "sorted"), []
    fit = models.outside(lambda table, rng: seen.append(set(table["size"])) or strangers.copies(table, rng), frame.columns)
    models.rehearse(fit, frame.rows, np.random.default_rng(0))
    assert seen == [{"l", "s"}]
