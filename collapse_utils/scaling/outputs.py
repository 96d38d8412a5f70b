"""Outputs of wide networks at their random start: kernels drawn without weights, and joint cumulants from kernels."""

import numpy as np


def kernels(gram: np.ndarray, depth: int, width: int, r: int, rng: np.random.Generator) -> np.ndarray:
    """Return the kernels of the last of `depth` hidden ReLU layers, at criticality, of r networks: (r, D, D).

    gram (D, D) is that of the D inputs. Given one kernel the neurons of the next layer are independent Gaussians.
    """
    kernel = np.broadcast_to(gram, (r, *np.shape(gram)))
    for _ in range(depth):
        root = np.linalg.cholesky(kernel + 1e-9 * np.eye(len(gram)))
        hidden = np.maximum(root @ rng.standard_normal((r, len(gram), width)), 0)
        kernel = 2 / width * hidden @ hidden.transpose(0, 2, 1)
    return kernel


def cumulants(kernel: np.ndarray) -> np.ndarray:
    """Return [[κ₄(1,1,1,1), κ₆(1,…,1)], [κ₄(1,1,2,2), κ₆(1,1,2,2,3,3)]] of an output on three inputs, from kernels (r, 3, 3).

    Given the kernel S outputs are N(0, S): cumulants of S summed over all pairings, 3 and 15, estimated without bias.
    """
    r, gap = len(kernel), kernel - kernel.mean(axis=0)
    a, b, c = gap[:, 0, 0], gap[:, 1, 1], gap[:, 2, 2]
    ab, ac, bc = gap[:, 0, 1], gap[:, 0, 2], gap[:, 1, 2]
    sixth = a * b * c + 2 * (a * bc**2 + b * ac**2 + c * ab**2) + 8 * ab * bc * ac
    found = np.array([[3 * a**2, 15 * a**3], [a * b + 2 * ab**2, sixth]]).mean(axis=2)
    return found * r / (r - 1) * [1, r / (r - 2)]
