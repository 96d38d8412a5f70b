"""Where a benchmark falls to chance, and errors of statistics that are no means."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import t as student

from collapse_utils.moments import Moments


def logistic(f, fc: float, w: float, whole: float, chance: float):
    """Return c + (a_0 − c)/(1 + exp((f − f_c)/w)), from a_0 to chance c, half-way at the fraction f_c."""
    return chance + (whole - chance) / (1 + np.exp(np.clip((np.asarray(f) - fc) / w, -50, 50)))


def transition(fractions: np.ndarray, accuracy: np.ndarray, chance: float) -> np.ndarray:
    """Return the fraction f_c and the width w of the logistic curve nearest to the accuracies, the first that of the whole."""
    curve = lambda f, fc, w: logistic(f, fc, w, accuracy[0], chance)  # noqa: E731
    return curve_fit(curve, fractions, accuracy, p0=(0.3, 0.1), bounds=([-1, 1e-3], [3, 2]))[0]


def jackknife(groups: np.ndarray, statistic: Callable) -> Moments:
    """Return a statistic of the mean over groups (k, …), with its delete-one-group standard error (Tukey 1958)."""
    groups, k = np.asarray(groups), len(groups)
    total = groups.mean(axis=0)
    others = np.array([np.atleast_1d(statistic((k * total - group) / (k - 1))) for group in groups])  # (k, m)
    return Moments(k, np.atleast_1d(statistic(total)), (k - 1) ** 2 * ((others - others.mean(axis=0)) ** 2).sum(axis=0))


def spearman_point(k: int, level: float = 0.05) -> float:
    """Return the one-sided critical value of Spearman's coefficient for k pairs, by Student's law."""
    t = student.ppf(1 - level, k - 2)
    return float(t / np.sqrt(k - 2 + t**2))
