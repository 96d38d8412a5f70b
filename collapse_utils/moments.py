"""Streaming moments: estimates with their errors, in memory that does not grow with the number of replicates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of replicates, column by column (Chan, Golub, LeVeque 1983)."""

    n: int = 0
    mean: np.ndarray | float = 0.0
    m2: np.ndarray | float = 0.0

    def add(self, samples: np.ndarray) -> "Moments":
        """Merge samples of shape (replicates, …) and return self."""
        batch, mean = len(samples), samples.mean(axis=0)
        total, delta = self.n + batch, mean - self.mean
        self.m2 = self.m2 + ((samples - mean) ** 2).sum(axis=0) + delta**2 * self.n * batch / total
        self.mean = self.mean + delta * batch / total
        self.n = total
        return self

    def beside(self, other: "Moments") -> "Moments":
        """Return the columns of self followed by those of other, which must come from as many replicates."""
        if self.n != other.n:
            raise ValueError(f"beside: both must have as many replicates; got {self.n} and {other.n}.")
        return Moments(self.n, *(np.concatenate([getattr(self, a), getattr(other, a)]) for a in ("mean", "m2")))

    @property
    def se(self) -> np.ndarray:
        """The standard error of the mean; infinite for fewer than two replicates."""
        return np.sqrt(self.m2 / (self.n - 1) / self.n) if self.n > 1 else np.full(np.shape(self.mean), np.inf)


def replicate(experiment: Callable, n_replicates: int, rng: np.random.Generator, chunk: int = 200):
    """Return the Moments of experiment(r, rng), which runs r replicates and gives {name: array (r, …)}.

    Runs in chunks, so that memory does not grow with n_replicates; the result is one Moments a name.
    """
    moments: dict[str, Moments] = {}
    for start in range(0, n_replicates, chunk):
        for name, samples in experiment(min(chunk, n_replicates - start), rng).items():
            moments.setdefault(name, Moments()).add(samples)
    return moments


def collect(experiment: Callable, n_replicates: int, rng: np.random.Generator, chunk: int = 200) -> np.ndarray:
    """Return every sample of experiment(r, rng), an array (r, …), run in chunks: (n_replicates, …).

    For small samples that are needed pairwise, as by relative; replicate keeps only their moments.
    """
    return np.concatenate([experiment(min(chunk, n_replicates - start), rng) for start in range(0, n_replicates, chunk)])


def relative(samples: np.ndarray) -> np.ndarray:
    """Return samples (R, k) whose mean is mean(samples)/mean(first column), with the spread of that ratio (delta method).

    r + (x_n − r x_1)/x̄_1 with r = x̄_n/x̄_1: the error of the denominator is carried, not ignored.
    """
    mean = samples.mean(axis=0)
    ratio = mean / mean[0]
    return ratio + (samples - ratio * samples[:, :1]) / mean[0]


def jackknife(groups: np.ndarray, statistic: Callable) -> Moments:
    """Return a statistic of the mean over groups (k, …), with its delete-one-group standard error (Tukey 1958)."""
    groups, k = np.asarray(groups), len(groups)
    total = groups.mean(axis=0)
    others = np.array([np.atleast_1d(statistic((k * total - group) / (k - 1))) for group in groups])  # (k, m)
    return Moments(k, np.atleast_1d(statistic(total)), (k - 1) ** 2 * ((others - others.mean(axis=0)) ** 2).sum(axis=0))


def pseudo_values(samples: np.ndarray, statistic: Callable) -> np.ndarray:
    """Return jackknife pseudo-values n θ − (n − 1) θ_(−i) of θ = statistic(mean, spread) of samples (n,), n ≥ 3: (n,).

    Spread is the standard deviation with n − 1. Their mean is θ less its bias of order 1/n, their spread over √n its
    standard error (Quenouille 1956, Tukey 1958).
    """
    x = np.asarray(samples, float)
    n, gap = len(x), x - x.mean()
    left = np.maximum((gap**2).sum() - n / (n - 1) * gap**2, 0.0)  # squared deviations without one
    without = statistic(x.mean() - gap / (n - 1), np.sqrt(left / (n - 2)))
    return n * statistic(x.mean(), x.std(ddof=1)) - (n - 1) * without


def of(samples: np.ndarray | Moments) -> Moments:
    """Return the Moments of samples (replicates, …), or those given."""
    return samples if isinstance(samples, Moments) else Moments().add(np.asarray(samples, float))


def columns(moments: Moments, chosen) -> Moments:
    """Return the columns of Moments that an index, a slice or a mask chooses."""
    return Moments(moments.n, moments.mean[chosen], moments.m2[chosen])


def frame(samples: np.ndarray | Moments, unit=1.0, **columns) -> pd.DataFrame:
    """Return one row a column of samples (replicates, k) or Moments: the columns given, replicates, mean, se.

    columns: values (k,), or one value for all rows. mean and se are divided by unit, a number or (k,).
    """
    moments = of(samples)
    rows = {"replicates": moments.n, "mean": np.atleast_1d(moments.mean / unit), "se": np.atleast_1d(moments.se / unit)}
    return pd.DataFrame(columns | rows)


def slopes(x: np.ndarray, samples: np.ndarray, log: bool = False) -> np.ndarray:
    """Return the least-squares slope over x (k,) of each row of samples (replicates, k), (replicates,); in log-log where asked."""
    x, samples = np.asarray(x, float), np.atleast_2d(np.asarray(samples, float))
    if log:
        x, samples = np.log(x), np.log(samples)
    return samples @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()


def spearman_point(n: int, level: float = 0.05) -> float:
    """Return what Spearman's rank correlation of n ≥ 3 pairs without a trend exceeds at this level, by Student's law with n − 2."""
    t = stdtrit(n - 2, 1 - level)
    return float(t / np.sqrt(n - 2 + t**2))
