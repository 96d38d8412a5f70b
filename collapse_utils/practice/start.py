"""How far sampled numbers have moved since the rows that the loop began with, in the units in which theory counts."""

import numpy as np


class Start:
    """Coordinates in which the first rows (n, d) have the mean 0 and the unbiased covariance 1: the same whatever their units are.

    Directions in which the first rows have no spread are left out.
    """

    def __init__(self, first: np.ndarray):
        self.centre = first.mean(axis=0)
        _, value, vector = np.linalg.svd((first - self.centre) / np.sqrt(len(first) - 1), full_matrices=False)
        kept = value > 1e-10 * value[0]
        self.whiten = vector[kept].T / value[kept]  # (d, k)

    def measure(self, rows: np.ndarray) -> list[tuple[str, str, float]]:
        """Return drift |μ|²/k, scale tr Σ/k and log volume log det Σ of rows (m, d), as measures of the whole: (measure, "", value)."""
        white = (rows - self.centre) @ self.whiten
        covariance = np.atleast_2d(np.cov(white, rowvar=False))
        drift, scale = (white.mean(axis=0) ** 2).mean(), np.trace(covariance) / len(covariance)
        volume = np.linalg.slogdet(covariance)[1]
        return [("drift", "", float(drift)), ("scale", "", float(scale)), ("log_volume", "", float(volume))]
