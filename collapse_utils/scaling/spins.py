"""Energies of spins: teachers and students that know some of the products of N spins, many replicates at once."""

from dataclasses import dataclass
from itertools import count

import numpy as np
from scipy.linalg import hadamard, lstsq

from collapse_utils.rows import Ensemble


def products(n_spins: int) -> np.ndarray:
    """Return the product of every subset of the spins at every configuration, ±1: (2^N, 2^N), bit i of a number being spin i."""
    return hadamard(2**n_spins).astype(float)


def kinds(n_spins: int) -> dict[str, np.ndarray]:
    """Return which products (2^N,) four theories have, with fields and a constant: generic, of three and of two bodies, ring.

    The ring has no fields, but one product of each two neighbours.
    """
    sets, spin = np.arange(2**n_spins), 1 << np.arange(n_spins)
    bodies = np.bitwise_count(sets)
    ring = np.isin(sets, [0, *(spin | np.roll(spin, 1))])
    return {"generic": bodies >= 0, "three bodies": bodies <= 3, "two bodies": bodies <= 2, "ring": ring}


@dataclass(frozen=True)
class Theory:
    """Energies Σ_S c_S ∏_{i∈S} s_i that are linear in P products, given at all M configurations (M, P); noise is that of labels.

    A data set is an Ensemble of (configurations, energies), (n, R) each.
    """

    products: np.ndarray
    noise: float = 0.0

    def fit(self, data: Ensemble, rng) -> "Energy":
        """Return the couplings of least squares, of least norm where the rows do not determine them, for every replicate."""
        shown, energies = data.rows
        x = self.products[shown].transpose(1, 0, 2)  # (R, n, P)
        inverse = np.linalg.pinv(x.transpose(0, 2, 1) @ x, rcond=1e-9, hermitian=True)
        return Energy(self, np.matvec(inverse, np.vecmat(energies.T, x)), inverse.trace(axis1=1, axis2=2))


@dataclass(frozen=True)
class Energy:
    """Couplings (R, P) of a theory, and the trace (R,) of the inverse Gram matrix of the rows that they were fitted to."""

    theory: Theory
    couplings: np.ndarray
    trace: np.ndarray | None = None

    def sample(self, n: int, rng: np.random.Generator) -> Ensemble:
        """Return n configurations for every replicate, none of them twice, with their energies plus noise."""
        m, r = len(self.theory.products), len(self.couplings)
        if not 1 <= n <= m:
            raise ValueError(f"sample: n must lie between 1 and the {m} configurations; got {n}.")
        shown = rng.random((m, r)).argsort(axis=0)[:n]
        energies = np.vecdot(self.theory.products[shown], self.couplings)
        return Ensemble((shown, energies + self.theory.noise * rng.standard_normal(shown.shape)))


def losses(truth: np.ndarray, chosen: np.ndarray):
    """Return measure(generation) of students that fit the products `chosen` (M,) of a teacher's couplings truth (R, M), (R,) each.

    error is the squared distance of all couplings, the mean square over all configurations; share is that over the teacher's
    own square, missed over the square of the first fit, which measure remembers; change is the distance from the first fit,
    over the same; trace is that of the model.
    """
    first = []

    def measure(generation) -> dict[str, np.ndarray]:
        couplings = generation.model.couplings
        first.append(couplings)
        unsaid = (truth[:, ~chosen] ** 2).sum(axis=1)
        error, length = ((couplings - truth[:, chosen]) ** 2).sum(axis=1) + unsaid, (first[0] ** 2).sum(axis=1)
        change = ((couplings - first[0]) ** 2).sum(axis=1) / length
        found = {"error": error, "share": error / (truth**2).sum(axis=1), "missed": error / length, "change": change}
        return found | {"trace": generation.model.trace}

    return measure


def lesson(x: np.ndarray, examples, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Draw couplings N(0, 1) of the products x (M, P) and learn them from more and more configurations in random order.

    Returns (k, 3), at each of the numbers of examples (k,), below M: rank of the rows, mean squared error on the unseen
    configurations over P, and R² there; and how many examples it takes until all M energies are known, P − 1 being tried first.
    """
    order, energies = rng.permutation(len(x)), x @ rng.standard_normal(x.shape[1])

    def missed(m: int) -> tuple[np.ndarray, int]:
        seen = order[:m]
        couplings, _, rank, _ = lstsq(x[seen], energies[seen], cond=1e-9, lapack_driver="gelsy")
        return (x @ couplings - energies) ** 2, rank

    rows = []
    for m in examples:
        error, rank = missed(m)
        unseen = error[order[m:]].mean()
        rows.append([rank, unseen / x.shape[1], 1 - unseen / energies[order[m:]].var()])
    known = next(m for m in count(x.shape[1] - 1) if missed(m)[0].mean() < 1e-9 * energies.var())
    return np.array(rows), known
