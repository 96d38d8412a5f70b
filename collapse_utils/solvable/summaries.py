"""The solvable models with data sets known by their sufficient statistics: a round costs the same however many rows are kept.

Each model draws the summary of n rows directly, from its exact law. Equal in law to the loop on rows (tests show it), not
number by number: the random numbers are others.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from collapse_utils.rows import Summary
from collapse_utils.solvable.design import Design


class Statistics(Summary):
    """A summary that says what it cannot be used for; counts of rows, or of what they show, are whole and not negative."""

    def __post_init__(self):
        counts = np.asarray(getattr(self, "counts", self.n))
        if counts.dtype.kind in "iu" and (counts >= 0).all():
            return
        wrong = counts[(counts < 0) | (counts % 1 > 0)]
        found = f"{wrong[0]:g}" if wrong.size else f"the type {counts.dtype}"
        raise ValueError(f"{type(self).__name__}: counts must be whole numbers from 0 on; got {found}.")

    @property
    def rows(self):
        """Raises ValueError: there are none."""
        name = type(self).__name__
        raise ValueError(f"fit: this estimator needs rows, and {name} keeps none; use the one that comes with {name}.")

    def meet(self, other: Summary) -> None:
        """Raise ValueError unless another summary has the same statistics, of the same shapes, so that they add up."""
        mine, theirs = ({name: np.shape(value) for name, value in vars(one).items()} for one in (self, other))
        if mine != theirs:
            said = (f"{type(one).__name__} {list(shapes.values())}" for one, shapes in ((self, mine), (other, theirs)))
            raise ValueError(f"join: both must hold the same statistics in the same shapes; got {' and '.join(said)}.")


@dataclass(frozen=True)
class Moments(Statistics):
    """n numbers for each of R chains: their mean (R,) and sum of squared deviations from it (R,).

    of_one says that all are draws of one Gaussian, whose parts have a known law.
    """

    n: int
    mean: np.ndarray
    squares: np.ndarray
    of_one: bool = False

    def join(self, other: "Moments") -> "Moments":
        """Return the moments of the rows of both (Chan, Golub, LeVeque 1983)."""
        self.meet(other)
        n, step = self.n + other.n, other.mean - self.mean
        between = step**2 * (self.n * other.n / n)
        return replace(
            self, n=n, mean=self.mean + step * (other.n / n), squares=self.squares + other.squares + between, of_one=False
        )

    def subset(self, n: int, rng: np.random.Generator) -> "Moments":
        """Return the moments of n of the rows: given mean and squares, rows of one Gaussian are uniform on a sphere of N − 2 dimensions.

        Exact for one part. Parts drawn of one data set again and again, as by `mixture`, also share its shape, which is not kept:
        means and variances along such a loop are right, higher joint moments are not.
        """
        if not self.of_one:
            return super().subset(n, rng)
        if n in (0, self.n):
            return self if n else replace(self, n=0, squares=0 * self.squares)
        towards = rng.standard_normal(self.mean.shape)
        within, rest = (rng.chisquare(k, self.mean.shape) if k else 0.0 for k in (n - 1, self.n - n - 1))
        scale = self.squares / (towards**2 + within + rest)
        return Moments(n, self.mean + towards * np.sqrt(scale * (1 / n - 1 / self.n)), within * scale, True)


@dataclass(frozen=True)
class Gaussian:
    """N(μ, σ²) of R chains, mean and deviation (R,), whose samples are Moments; bias is λ of N(μ, λσ²), as in `gaussian.Gaussian`."""

    mean: np.ndarray
    deviation: np.ndarray
    bias: float = 1.0

    def sample(self, n: int, rng: np.random.Generator) -> Moments:
        """Return the moments of n rows: mean and sum of squares are independent, normal and χ²ₙ₋₁ (Cochran 1934)."""
        spread = np.sqrt(self.bias) * self.deviation
        mean = self.mean + spread / np.sqrt(n) * rng.standard_normal(self.mean.shape)
        squares = rng.chisquare(n - 1, self.mean.shape) if n > 1 else 0.0
        return Moments(n, mean, spread**2 * squares, True)


def gaussian_fit(ddof: int, bias: float = 1.0):
    """Return fit(data, rng) on Moments: mean and deviation, the squares divided by n − ddof; ValueError where that is not positive."""

    def fit(data: Moments, rng: np.random.Generator) -> Gaussian:
        if data.n <= ddof or not (data.squares > 0).all():
            raise ValueError(
                f"fit: a spread needs at least two rows and must stay above zero; got {data.n} rows: shorten the chain."
            )
        return Gaussian(data.mean, np.sqrt(data.squares / (data.n - ddof)), bias)

    return fit


@dataclass(frozen=True)
class Counts(Statistics):
    """How often each of K states was seen in R chains, (R, K), n times in all."""

    counts: np.ndarray

    @property
    def n(self) -> int:
        return int(self.counts[0].sum())

    def join(self, other: "Counts") -> "Counts":
        """Return the counts of the rows of both."""
        self.meet(other)
        return Counts(self.counts + other.counts)

    def subset(self, n: int, rng: np.random.Generator) -> "Counts":
        """Return the counts of n of the rows: hypergeometric, one state after the other."""
        left, chosen = self.counts.sum(axis=1), np.zeros_like(self.counts)
        due = np.full(len(left), n)
        for k, here in enumerate(self.counts.T):
            left = left - here
            chosen[:, k] = rng.hypergeometric(here, left, due)
            due = due - chosen[:, k]
        return Counts(chosen)


@dataclass(frozen=True)
class Frequencies:
    """The maximum-likelihood law of K states in R chains, shares (R, K)."""

    shares: np.ndarray

    @classmethod
    def fit(cls, data: Counts, rng: np.random.Generator) -> "Frequencies":
        """Return the shares of what was seen."""
        return cls(data.counts / data.n)

    def sample(self, n: int, rng: np.random.Generator) -> Counts:
        """Return the counts of n rows."""
        return Counts(rng.multinomial(n, self.shares))


@dataclass(frozen=True)
class Normal(Statistics):
    """n labelled rows of R replicates by their normal equations: Gram matrix XᵀX (R, d, d) and moment Xᵀy (R, d)."""

    n: int
    gram: np.ndarray
    moment: np.ndarray

    def join(self, other: "Normal") -> "Normal":
        """Return the normal equations of the rows of both."""
        self.meet(other)
        return replace(self, n=self.n + other.n, gram=self.gram + other.gram, moment=self.moment + other.moment)


@dataclass(frozen=True)
class Labels(Statistics):
    """Labels of whole copies of a fixed design by their moment Xᵀy (R, d), its rows being known."""

    n: int
    moment: np.ndarray

    def join(self, other: "Labels") -> "Labels":
        """Return the moment of the labels of both."""
        self.meet(other)
        return Labels(self.n + other.n, self.moment + other.moment)


@dataclass(frozen=True)
class FixedDesign(Design):
    """R fixed designs x (R, T, d) with Gaussian noise of standard deviation `noise`, as `linear.FixedDesign`; data are Labels.

    Given the weights Xᵀy is normal with covariance noise²·XᵀX, so that a round costs R·d² however large T is.
    """

    noise: float
    penalty: float = 0.0

    def real(self, w: np.ndarray, n: int, rng: np.random.Generator) -> Labels:
        """Return D_0: n labels by the true weights w (R, d)."""
        return Weights(self, w).sample(n, rng)

    def fit(self, data: Labels, rng: np.random.Generator) -> "Weights":
        """Return the least-squares (or ridge) weights of every replicate."""
        return Weights(self, np.matvec(self._inverse, data.moment) / self.copies(data.n))

    def drawn(self, w: np.ndarray, n: int, rng: np.random.Generator) -> Labels:
        """Return n labels by the weights w."""
        copies, noise = self.copies(n), rng.standard_normal(w.shape)
        return Labels(n, copies * np.matvec(self._gram, w) + self.noise * np.sqrt(copies) * np.matvec(self._root, noise))

    @cached_property
    def _gram(self):
        return self.x.transpose(0, 2, 1) @ self.x  # (R, d, d)

    @cached_property
    def _root(self):
        if self.x.shape[1] < self.x.shape[2]:
            raise ValueError(f"design: T must be at least d; got {self.x.shape[1]} rows of {self.x.shape[2]} features.")
        return np.linalg.cholesky(self._gram)

    @cached_property
    def _inverse(self):
        return np.linalg.inv(self._gram + self.x.shape[1] * self.penalty * np.eye(self.x.shape[2]))


@dataclass(frozen=True)
class FreshDesign:
    """New Gaussian covariates N(0, I_d) for every batch of R replicates, noise of standard deviation `noise`; data are Normal."""

    d: int
    replicates: int
    noise: float

    def real(self, w: np.ndarray, n: int, rng: np.random.Generator) -> Normal:
        """Return D_0: n rows labelled by the true weights w (R, d)."""
        return Weights(self, w).sample(n, rng)

    def fit(self, data: Normal, rng: np.random.Generator) -> "Weights":
        """Return the least-squares weights of every replicate."""
        return Weights(self, np.linalg.solve(data.gram, data.moment[..., None])[..., 0])

    def drawn(self, w: np.ndarray, n: int, rng: np.random.Generator) -> Normal:
        """Return n new rows: XᵀX is Wishart with n degrees of freedom, drawn by its triangular root (Bartlett 1933)."""
        if n < self.d:
            raise ValueError(f"sample: n must be at least d = {self.d}; got {n}; run so few rows as rows.")
        root = np.tril(rng.standard_normal((self.replicates, self.d, self.d)), -1)
        diagonal = np.arange(self.d)
        root[:, diagonal, diagonal] = np.sqrt(rng.chisquare(n - diagonal, (self.replicates, self.d)))
        gram, noise = root @ root.transpose(0, 2, 1), rng.standard_normal((self.replicates, self.d))
        return Normal(n, gram, np.matvec(gram, w) + self.noise * np.matvec(root, noise))


@dataclass(frozen=True)
class Weights:
    """Weights w (R, d) on a design, fixed or fresh."""

    design: FixedDesign | FreshDesign
    w: np.ndarray

    def sample(self, n: int, rng: np.random.Generator) -> Summary:
        """Return the summary of n labelled rows."""
        return self.design.drawn(self.w, n, rng)
