"""Generators by someone who knows nothing of this project, for `package.module:function`."""

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.mixture import BayesianGaussianMixture

NUMBER = 3


class Bayesian:
    """A Bayesian mixture of the numbers, and categories by trees on them."""

    def __init__(self, table, seed):
        self.table, self.seed = table, seed
        self.numbers = table.select_dtypes("number")
        self.mixture = BayesianGaussianMixture(n_components=3, random_state=seed, max_iter=20).fit(self.numbers)
        rest = [name for name in table if name not in self.numbers]
        self.trees = {name: ExtraTreesClassifier(10, random_state=seed).fit(self.numbers, table[name]) for name in rest}

    def sample(self, n, rng):
        self.mixture.random_state = int(rng.integers(2**31))
        drawn = pd.DataFrame(self.mixture.sample(n)[0], columns=self.numbers.columns)
        return drawn.assign(**{name: trees.predict(drawn) for name, trees in self.trees.items()})[sorted(self.table)]


def bayesian(table, rng):
    """Fit it."""
    return Bayesian(table, int(rng.integers(2**31)))


class Answer:
    """A model whose sample is what a function makes of as many rows of the table."""

    def __init__(self, table, change):
        self.table, self.change = table, change

    def sample(self, n, rng):
        return self.change(self.table.iloc[rng.integers(len(self.table), size=n)].reset_index(drop=True))


def copies(table, rng):
    """Rows of the table, drawn again: the bootstrap."""
    return Answer(table, lambda rows: rows)


def numpy_rows(table, rng):
    """A stranger who returns an array."""
    return Answer(table, lambda rows: np.asarray(rows, float))
