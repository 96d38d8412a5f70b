"""The top of a network's Hessian without the Hessian: products by a second backward pass, eigenpairs by Lanczos.

H v = ∇(g · v) (Pearlmutter 1994): the graph of the gradient is built once and walked once a product. The pairs come from
ARPACK's implicitly restarted Lanczos (scipy.sparse.linalg.eigsh), from a fixed start, so that they come again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Surface:
    """The mean cross-entropy of a module on rows, in nats, as a function of all its parameters in one vector θ (p,).

    x (N, …); y: class numbers (N,), or probabilities of the classes (N, k). Raises ValueError for fewer rows than classes,
    and for labels of one class only.
    """

    model: nn.Module
    x: Tensor
    y: Tensor

    def __post_init__(self):
        with torch.no_grad():
            classes = self.model(self.x[:1]).shape[-1]
        if len(self.x) < classes:
            raise ValueError(f"Surface: needs at least as many rows as the {classes} classes; got {len(self.x)}.")
        seen = self.y.unique() if self.y.ndim == 1 else self.y.sum(dim=0).nonzero()[:, 0]
        if len(seen) < 2:
            raise ValueError(f"Surface: labels must be of at least 2 classes; got class {int(seen[0])} alone.")

    @property
    def start(self) -> Tensor:
        """The module's own parameters, (p,)."""
        return nn.utils.parameters_to_vector(self.model.parameters()).detach().clone()

    def losses(self, theta: Tensor, rows=slice(None), reduction: str = "none") -> Tensor:
        """Return the cross-entropy of each of the rows at θ, or their mean."""
        names, shapes = zip(*[(name, p.shape) for name, p in self.model.named_parameters()])
        parts = theta.split([shape.numel() for shape in shapes])
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes)}
        return cross_entropy(functional_call(self.model, weights, (self.x[rows],)), self.y[rows], reduction=reduction)

    def loss(self, theta: Tensor) -> float:
        """Return L at θ."""
        with torch.no_grad():
            return float(self.losses(theta, reduction="mean"))

    def gradient(self, theta: Tensor, rows=slice(None)) -> Tensor:
        """Return ∇L at θ, (p,), of some of the rows or of all."""
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self.losses(theta, rows, "mean"), theta)[0]

    def hessian(self, theta: Tensor) -> LinearOperator:
        """Return ∇∇ᵀL at θ as a scipy operator (p, p): one backward pass through the gradient a product."""
        theta = theta.detach().requires_grad_()
        g = torch.autograd.grad(self.losses(theta, reduction="mean"), theta, create_graph=True)[0]

        def product(v):
            v = torch.as_tensor(v.reshape(-1), dtype=theta.dtype)
            return torch.autograd.grad(g, theta, v, retain_graph=True)[0].numpy()

        return LinearOperator((len(theta),) * 2, product, product, dtype=torch.zeros((), dtype=theta.dtype).numpy().dtype)

    def spread(self, theta: Tensor, vectors: np.ndarray) -> np.ndarray:
        """Return the variance C_i of the rows' gradients along directions (p, k), with N: (k,); a forward pass each."""
        along = [jvp(self.losses, (theta,), (torch.as_tensor(v.copy(), dtype=theta.dtype),))[1] for v in vectors.T]
        return torch.stack(along).var(dim=1, unbiased=False).numpy()


def top(operator: LinearOperator, k: int, tolerance: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Return the k largest eigenvalues (k,), descending, and eigenvectors (p, k) of a symmetric operator.

    tolerance: of the residual |Hv − λv| over λ. Raises ValueError unless 1 ≤ k < p.
    """
    p = operator.shape[0]
    if not 1 <= k < p:
        raise ValueError(f"top: directions must be at least 1 and fewer than the {p} parameters; got {k}.")
    start = np.random.default_rng(0).standard_normal(p).astype(operator.dtype)
    values, vectors = eigsh(operator, k, which="LA", tol=tolerance, v0=start)
    order = values.argsort()[::-1]
    return values[order], vectors[:, order]


def fraction(vectors: np.ndarray, g) -> float:
    """Return |Pg|²/|g|² of the projector P on orthonormal vectors (p, k); g (p,)."""
    g = np.asarray(g)
    return float(((vectors.T @ g) ** 2).sum() / (g @ g))


def cosine(a, b) -> float:
    """Return a·b/(|a||b|)."""
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return Tr(P P′)/k of the spans of two sets of orthonormal vectors (p, k): 1 for the same span, k/p for random ones."""
    return float(((first.T @ second) ** 2).sum() / first.shape[1])


def drawn(n: int, steps: int, batch: int, rng: np.random.Generator) -> Tensor:
    """Return the row numbers of each step's batch, (steps, batch), every row drawn anew out of n."""
    return torch.as_tensor(rng.integers(n, size=(steps, batch)))


def descend(
    surface: Surface, theta: Tensor, rate: float, batches: Iterable, keep: str = "all", k: int = 10, every: int = 10
) -> Tensor:
    """Return θ after one step θ ← θ − η∇L a batch of rows (a slice for all of them), or along a part of the gradient alone.

    keep: all; top, the projection on the k top Hessian eigenvectors (Dom-SGD); bulk, what it leaves (Bulk-SGD), both on the
    Hessian of all rows, taken anew every so many steps. Raises ValueError for a rate that is not positive or another part,
    FloatingPointError where θ does not stay finite.
    """
    if not rate > 0:
        raise ValueError(f"descend: rate must be above 0; got {rate:g}.")
    if keep not in ("all", "top", "bulk"):
        raise ValueError(f"descend: keep must be all, top or bulk; got {keep!r}.")
    for step, rows in enumerate(batches):
        g = surface.gradient(theta, rows)
        if keep != "all":
            if step % every == 0:
                basis = torch.as_tensor(top(surface.hessian(theta), k)[1].copy())
            along = basis @ (basis.T @ g)
            g = along if keep == "top" else g - along
        theta = theta - rate * g
    if not theta.isfinite().all():
        raise FloatingPointError(f"descend: θ must stay finite; got NaN or infinity at rate {rate:g}; take a smaller one.")
    return theta
