"""Generators of rows: each is fit(data, rng), data an encoded array (n, d), and returns a model with sample(n, rng)."""

import importlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from collapse_utils.practice.frames import Columns, check, decode, encode

COMPONENTS, LATENT, ORDER = 5, 10, 2  # of the mixture; of PPCA; letters that the n-gram looks back
REHEARSAL = 200  # rows at most of the rehearsal


@dataclass(frozen=True)
class Wide:
    """Rows as numbers that a Gaussian can be fitted to: numbers as they are, a category as one column of 0 and 1 for each value."""

    columns: Columns

    def out(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n, d) as (n, k)."""
        if self.columns.numbers.all():
            return rows
        parts = [
            (rows[:, j, None] == np.arange(len(known))).astype(float) if known else rows[:, j, None]
            for j, known in enumerate(self.columns.categories)
        ]
        return np.hstack(parts)

    def back(self, wide: np.ndarray) -> np.ndarray:
        """Return (n, k) as rows (n, d): of a category the value with the largest number."""
        if self.columns.numbers.all():
            return wide
        ends = np.cumsum([len(known) or 1 for known in self.columns.categories])
        parts = np.split(wide, ends[:-1], axis=1)
        return np.column_stack([
            part.argmax(axis=1) if known else part[:, 0] for part, known in zip(parts, self.columns.categories)
        ])  # fmt: skip


@dataclass(frozen=True)
class Widened:
    """A model of wide rows, sampled as rows."""

    wide: Wide
    draw: Callable

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n rows (n, d)."""
        return self.wide.back(self.draw(n, rng))


def gaussian(columns: Columns) -> Callable:
    """The mean and the unbiased covariance (divisor n − 1) of the wide rows, sampled by a triangular root."""
    wide = Wide(columns)

    def fit(data, rng):
        rows = wide.out(data)
        mean = rows.mean(axis=0)
        root = np.linalg.qr(rows - mean, mode="r") / np.sqrt(len(rows) - 1)
        return Widened(wide, lambda n, rng: mean + rng.standard_normal((n, len(root))) @ root)

    return fit


def mixture(columns: Columns) -> Callable:
    """scikit-learn's Gaussian mixture of five components with full covariances, maximum likelihood (divisor n)."""
    from sklearn.mixture import GaussianMixture

    def fitted(rows, rng):
        k = min(COMPONENTS, len(rows) // 2)
        return GaussianMixture(k, reg_covar=1e-4, random_state=_seed(rng)).fit(rows)

    def draw(model, n, rng):
        counts = rng.multinomial(n, model.weights_)
        parts = [rng.multivariate_normal(*law, count) for *law, count in zip(model.means_, model.covariances_, counts)]
        return rng.permutation(np.concatenate(parts))

    return _scaled(columns, fitted, draw)


def kernel_density(columns: Columns) -> Callable:
    """scikit-learn's Gaussian kernel density with Scott's bandwidth, on columns of unit variance."""
    from sklearn.neighbors import KernelDensity

    def fitted(rows, rng):
        return KernelDensity(bandwidth="scott").fit(rows)

    return _scaled(columns, fitted, lambda model, n, rng: model.sample(n, random_state=_seed(rng)))


def ppca(columns: Columns) -> Callable:
    """Probabilistic PCA by scikit-learn: at most ten directions and the same noise in all others (Tipping & Bishop 1999)."""
    from sklearn.decomposition import PCA

    wide = Wide(columns)

    def fit(data, rng):
        rows = wide.out(data)
        k = min(LATENT, rows.shape[1] - 1, len(rows) - 1)
        model = PCA(k, svd_solver="full" if min(rows.shape) < 500 else "randomized", random_state=_seed(rng)).fit(rows)
        spread = np.sqrt(np.maximum(model.explained_variance_ - model.noise_variance_, 0))[:, None] * model.components_

        def draw(n, rng):
            noise = np.sqrt(model.noise_variance_) * rng.standard_normal((n, rows.shape[1]))
            return model.mean_ + rng.standard_normal((n, k)) @ spread + noise

        return Widened(wide, draw)

    return fit


def copula(columns: Columns) -> Callable:
    """A Gaussian copula: every column's own values between their least and greatest, joined by the correlation of normal scores.

    A category gets a random score within its share of the normal law, a number the score of its rank.
    """

    def fit(data, rng):
        order = np.sort(data, axis=0)
        correlation = np.atleast_2d(np.corrcoef(_scores(data, columns, rng), rowvar=False))
        value, vector = np.linalg.eigh(correlation)
        return Copula(order, (vector * np.sqrt(np.maximum(value, 0))).T, columns.numbers)

    return fit


@dataclass(frozen=True)
class Copula:
    """Sorted columns (m, d), a root (d, d) of the correlation of their scores, and which of them are numbers."""

    order: np.ndarray
    root: np.ndarray
    numbers: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n rows (n, d): quantiles of every column, those of numbers between two values."""
        place = ndtr(rng.standard_normal((n, len(self.root))) @ self.root)
        m, rows = len(self.order), np.empty_like(place)
        for j, number in enumerate(self.numbers):
            if number:
                rows[:, j] = np.interp(place[:, j] * m - 0.5, np.arange(m), self.order[:, j])
            else:
                rows[:, j] = self.order[np.minimum((place[:, j] * m).astype(int), m - 1), j]
        return rows


def ngram(columns: Columns) -> Callable:
    """Letters given the two before them, by counts over all rows and places; no smoothing. For text: columns of one alphabet."""
    if set(columns.kinds) != {"category"} or len(set(columns.categories)) > 1 or len(columns.names) <= ORDER:
        raise ValueError(
            f"model: ngram needs columns of one alphabet, a text; got column {columns.names[0]} ({columns.kinds[0]})."
        )
    k, d = len(columns.categories[0]), len(columns.names)

    def fit(data, rng):
        letters = data.astype(int)
        windows = np.lib.stride_tricks.sliding_window_view(letters, ORDER + 1, axis=1).reshape(-1, ORDER + 1)
        context = np.ravel_multi_index(windows[:, :ORDER].T, (k,) * ORDER)
        counts = np.zeros((k**ORDER, k))
        np.add.at(counts, (context, windows[:, -1]), 1)
        return Ngram(counts.sum(axis=1), np.cumsum(counts, axis=1), letters[:, :ORDER], d)

    return fit


@dataclass(frozen=True)
class Ngram:
    """How often each context occurs (k²,), cumulated counts of what follows (k², k), the first letters of the rows, and d."""

    contexts: np.ndarray
    following: np.ndarray
    first: np.ndarray
    d: int

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n rows (n, d); a context that nothing follows goes on as any other does."""
        k = self.following.shape[1]
        rows = np.empty((n, self.d), int)
        rows[:, :ORDER] = self.first[rng.integers(len(self.first), size=n)]
        anywhere = self.following.sum(axis=0)
        for t in range(ORDER, self.d):
            context = np.ravel_multi_index(rows[:, t - ORDER : t].T, (k,) * ORDER)
            law = np.where(self.contexts[context, None] > 0, self.following[context], anywhere)
            rows[:, t] = (law <= rng.random((n, 1)) * law[:, -1:]).sum(axis=1)
        return rows.astype(float)


MODELS = {
    "gaussian": gaussian,
    "mixture": mixture,
    "kde": kernel_density,
    "copula": copula,
    "ppca": ppca,
    "ngram": ngram,
}


def build(model: str | Callable, columns: Columns) -> Callable:
    """Return fit(data, rng) on encoded rows: of MODELS by name, of `package.module:function`, or the function given, by `outside`.

    Raises ValueError in one sentence for a name that is none of these.
    """
    if isinstance(model, str) and model in MODELS:
        return MODELS[model](columns)
    return outside(model if callable(model) else _found(model), columns)


def outside(function: Callable, columns: Columns) -> Callable:
    """Return fit(data, rng) on encoded rows of a function fit(table, rng) that knows nothing of them.

    It gets a pandas table with the names and the categories of the data, and returns an object with sample(n, rng): a table with
    these columns in any order, or an array of numbers in theirs. What comes back is checked row by row, every time.
    """

    def fit(data, rng):
        name = getattr(function, "__name__", "the model")
        return Outside(_asked(f"{name}(table, rng)", function, decode(data, columns), rng), columns, name)

    return fit


@dataclass(frozen=True)
class Outside:
    """A stranger's model, whose samples are checked and encoded."""

    model: Any
    columns: Columns
    name: str

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return n rows (n, d). Raises ValueError for another number of rows, other columns, types, categories, and NaN."""
        if not hasattr(self.model, "sample"):
            raise ValueError(f"model: {self.name} must return an object with sample(n, rng); got {type(self.model).__name__}.")
        who = f"sample of {self.name}"
        drawn = _asked(f"sample(n, rng) of {self.name}", self.model.sample, n, rng)
        if not hasattr(drawn, "__len__"):
            raise ValueError(f"{who}: must return rows, a pandas table or an array; got {type(drawn).__name__}.")
        if len(drawn) != n:
            raise ValueError(f"{who}: must return as many rows as asked for; got {len(drawn)} of {n}.")
        if hasattr(drawn, "columns"):
            return encode(drawn, self.columns, who)
        try:
            return check(np.asarray(drawn, float), self.columns, who)
        except (TypeError, ValueError) as error:
            if str(error).startswith(who):
                raise
            raise ValueError(
                f"{who}: an array must hold numbers; got {np.asarray(drawn).dtype}; return a pandas table."
            ) from None


def rehearse(fit: Callable, rows: np.ndarray, rng: np.random.Generator) -> None:
    """Fit some rows, drawn at random, and draw as many: what cannot run is refused before a study begins. Raises ValueError."""
    some = rows[rng.permutation(len(rows))[:REHEARSAL]]
    fit(some, rng).sample(len(some), rng)


def _scaled(columns: Columns, fitted: Callable, draw: Callable) -> Callable:
    """fit(data, rng) on wide rows of mean 0 and variance 1."""
    wide = Wide(columns)

    def fit(data, rng):
        rows = wide.out(data)
        centre, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale == 0] = 1
        model = fitted((rows - centre) / scale, rng)
        return Widened(wide, lambda n, rng: centre + scale * draw(model, n, rng))

    return fit


def _scores(data: np.ndarray, columns: Columns, rng: np.random.Generator) -> np.ndarray:
    """Normal scores (n, d): of a number its rank, of a category a random rank among its rows."""
    n = len(data)
    grid, scores = ndtri((np.arange(n) + 0.5) / n), np.empty(data.shape)
    for j, number in enumerate(columns.numbers):
        order = data[:, j].argsort() if number else np.lexsort((rng.random(n), data[:, j]))
        scores[order, j] = grid
    return scores


def _found(name: str) -> Callable:
    """The function package.module:function."""
    module, _, function = name.partition(":")
    if not (module and function):
        raise ValueError(f"model: must be one of {', '.join(MODELS)} or package.module:function; got {name!r}.")
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise ValueError(
            f"model: {module} must be a module that Python finds; got {error}; call from its folder, or set PYTHONPATH."
        ) from None
    except SyntaxError as error:
        raise ValueError(f"model: {module} must be Python; line {error.lineno} is not: {error.msg}.") from None
    except AttributeError:
        raise ValueError(f"model: {module} must have the function {function}; it has none of that name.") from None
    if not callable(found):
        raise ValueError(f"model: {name} must be a function fit(data, rng); got {type(found).__name__}.")
    return found


def _asked(who: str, function: Callable, *given: Any) -> Any:
    """What a stranger's function gives; what it raises becomes one sentence that says where."""
    try:
        return function(*given)
    except Exception as error:
        theirs = traceback.extract_tb(error.__traceback__)[1:]
        where = f" in {theirs[-1].filename}, line {theirs[-1].lineno}" if theirs else ""
        said = f": {error}" if str(error) else ""
        raise ValueError(f"model: {who} must run; it raised {type(error).__name__}{where}{said}.") from error


def _seed(rng: np.random.Generator) -> int:
    """A seed for a library with random numbers of its own."""
    return int(rng.integers(2**31))
