"""A diffusion model with exact scores that stops before the end."""

from dataclasses import dataclass

import numpy as np

from collapse_utils.rows import Ensemble


@dataclass(frozen=True)
class EarlyStopped:
    """The exact model of R data sets, rows (n, R), stopped a time tau before the end: it draws e^(−τ)x + √(1 − e^(−2τ))ε of rows x."""

    rows: np.ndarray
    tau: float

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n rows of each model; they multiply the mean Hermite polynomial He_m of the rows by e^(−mτ) (Mehler)."""
        chosen = rng.integers(len(self.rows), size=(n, self.rows.shape[1]))
        noise = np.sqrt(-np.expm1(-2 * self.tau)) * rng.standard_normal(chosen.shape)
        return Ensemble(np.exp(-self.tau) * np.take_along_axis(self.rows, chosen, axis=0) + noise)
