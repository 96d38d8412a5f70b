"""Logistic regression trained on its own labels, on one real design: many replicates at once (Dey and Donoho 2024)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit

from collapse_utils.rows import Ensemble
from collapse_utils.solvable.design import Design


@dataclass(frozen=True)
class Logistic(Design):
    """A design X (T, p), shared by all replicates and generations; a data set is an Ensemble of (row numbers, labels).

    Labels are 0 or 1; NaN marks a replicate without a model (see fit). An intercept is a column of ones in x.
    """

    max_steps: int = 25

    def real(self, beta, copies: int, replicates: int, rng) -> Ensemble:
        """Return D_0: `copies` Bernoulli labels for every row, drawn from the true coefficients beta (p,)."""
        truth = np.broadcast_to(beta, (replicates, self.x.shape[1]))
        return LogisticModel(self, truth).sample(copies * len(self.x), rng)

    def fit(self, data: Ensemble, rng) -> "LogisticModel":
        """Return the maximum-likelihood model of every replicate; NaN where it does not exist.

        It does not exist where a hyperplane separates the labels (Albert and Anderson 1984): Newton's steps then never
        come to rest. Rows that recur are fitted as binomial counts, which is exact.
        """
        return LogisticModel(self, self.maximum(*(total.T for total in self.totals(data))))

    def maximum(self, successes, trials):
        """Return the coefficients (R, p) that maximise Σ_i s_i η_i − m_i log(1 + e^{η_i}), η = Xβ, by Newton's method.

        successes, trials: (R, T) counts per row. A step is halved until the likelihood does not fall. At rest is a
        replicate whose step moves no η by 1e-6 (what is left is of its square); where labels are separable every step
        moves some η by about 1, so that one still moving after max_steps is NaN, and so is one with NaN counts.
        """
        beta = np.full((len(successes), self.x.shape[1]), np.nan)
        alive = np.flatnonzero(np.isfinite(successes).all(axis=1))
        s, m = successes[alive], trials[alive]
        b = np.log((s + 0.5) / (m - s + 0.5)) @ self._pseudoinverse.T  # start: least squares on the empirical logits
        for _ in range(self.max_steps):
            eta = b @ self.x.T  # (R, T)
            p = expit(eta)
            step = _solve(self._fisher(m * p * (1 - p)), (s - m * p) @ self.x)  # (R, p)
            move = step @ self.x.T
            step *= self._damping(eta, move, s, m)[:, None]
            b = b + step
            at_rest = np.abs(move).max(axis=1, initial=0.0) < 1e-6
            beta[alive[at_rest]] = b[at_rest]
            alive, b, s, m = (a[~at_rest] for a in (alive, b, s, m))
            if not len(alive):
                break
        return beta

    def _damping(self, eta, move, s, m):
        """1, or the first of 1/2, 1/4, … at which the likelihood does not fall.

        A step that moves no η by M = 1.79 raises it for sure, as e^M − 1 − M < M² (Sun and Tran-Dinh 2019, 1703.04599).
        """
        scale = np.ones(len(eta))
        far = np.flatnonzero(~(np.abs(move).max(axis=1, initial=0.0) < 1.79))
        value = _likelihood(eta[far], s[far], m[far])
        for _ in range(12):
            new = _likelihood(eta[far] + scale[far, None] * move[far], s[far], m[far])
            worse = ~(new >= value - 1e-12 * np.abs(value))
            far, value = far[worse], value[worse]
            if not len(far):
                break
            scale[far] /= 2
        return scale

    def _fisher(self, weights):
        """XᵀWX of every replicate, as one matrix product: (R, T) → (R, p, p)."""
        return (weights @ self._outer).reshape(len(weights), self.x.shape[1], self.x.shape[1])

    @cached_property
    def _pseudoinverse(self):
        return np.linalg.pinv(self.x)  # (p, T)

    @cached_property
    def _outer(self):
        return (self.x[:, :, None] * self.x[:, None, :]).reshape(len(self.x), -1)  # (T, p·p)

    def information(self, beta):
        """Return the Fisher information of one label a row, averaged over the design: XᵀWX/T, (p, p)."""
        p = expit(self.x @ beta)
        return self._fisher((p * (1 - p))[None])[0] / len(self.x)


@dataclass(frozen=True)
class LogisticModel:
    """Coefficients beta (R, p) on a design; NaN for a replicate whose labels were separable."""

    design: Logistic
    beta: np.ndarray

    def sample(self, n: int, rng) -> Ensemble:
        """Return n labelled rows for every replicate: n/T copies of the design with fresh Bernoulli labels."""
        copies, p = self.design.copies(n), expit(self.design.x @ self.beta.T)  # (T, R)
        y = (rng.random((copies, *p.shape)) < p).astype(np.float32)
        y[:, :, np.isnan(p[0])] = np.nan
        return self.design.labelled(y.reshape(n, -1))

    @property
    def separable(self) -> np.ndarray:
        """True for the replicates (R,) that have no maximum-likelihood model, at this generation or before."""
        return np.isnan(self.beta).any(axis=1)


def excess(beta, truth, information):
    """Return (β − β*)ᵀI(β − β*) of shape (R,): twice the excess log-loss in nats a label, to leading order."""
    error = beta - truth
    return np.einsum("rp,pq,rq->r", error, information, error)


def _likelihood(eta, successes, trials):
    return (successes * eta - trials * np.logaddexp(0, eta)).sum(axis=1)


def _solve(fisher, gradient):
    """Newton's step; where the information has become singular (labels separated), the least-squares one."""
    try:
        return np.linalg.solve(fisher, gradient[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.matmul(np.linalg.pinv(fisher, hermitian=True), gradient[..., None])[..., 0]
