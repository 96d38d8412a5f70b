"""Weights from standard normals: orthogonal matrices, uniformly distributed (Haar), and layers of Gaussian or Haar weights."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def haar(normals) -> np.ndarray:
    """Return uniformly distributed semi-orthogonal matrices of the shape of the standard normals (…, m, k).

    Rows are orthonormal where m ≤ k, columns where m ≥ k. The Q of a QR factorisation, its columns multiplied by the
    signs of R's diagonal: without them Q depends on the routine's convention and is not uniform (Mezzadri 2007, math-ph/0609050).
    """
    wide = normals.shape[-2] < normals.shape[-1]
    q, r = np.linalg.qr(normals.swapaxes(-1, -2) if wide else normals)
    q = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return q.swapaxes(-1, -2) if wide else q


def weights(ensemble: str, normals, c_w: float, rectangular: str | None = None) -> np.ndarray:
    """Return weight matrices (…, n_out, n_in) of an ensemble from standard normals of that shape.

    gaussian: variance C_W/n_in. haar: √C_W times a uniform orthogonal matrix; a layer that is not square needs
    rectangular="semi-orthogonal", √(C_W max(1, n_out/n_in)) times a uniform semi-orthogonal matrix. Both scale the mean
    of (Wx)_i² to C_W|x|²/n_in. Raises ValueError for another ensemble or a rectangular Haar layer without the rule.
    """
    n_out, n_in = normals.shape[-2:]
    if ensemble == "gaussian":
        return np.sqrt(c_w / n_in) * normals
    if ensemble != "haar":
        raise ValueError(f"weights: the ensemble must be gaussian or haar; got {ensemble!r}.")
    if n_out != n_in and rectangular != "semi-orthogonal":
        raise ValueError(
            f"weights: a Haar layer that is not square needs rectangular='semi-orthogonal'; got {n_out} × {n_in} and {rectangular!r}."
        )
    return np.sqrt(c_w * max(1.0, n_out / n_in)) * haar(normals)


def networks(
    ensemble: str, widths: Sequence[int], count: int, rng, c_w=1.0, first: str | None = None, rectangular: str | None = None
) -> list[np.ndarray]:
    """Return the weights of `count` networks with layers widths[0] → widths[1] → …, one array (count, n_out, n_in) a layer.

    `first` is the ensemble of the first layer where it differs (mixed0); a layer that is not square needs the rule of
    weights() under Haar. Drawn network by network: two calls for a and b networks draw what one call for a + b draws.
    """
    if len(widths) < 2 or min(widths[1:]) < 1:
        raise ValueError(f"networks: needs at least one layer and one neuron in each; got widths {list(widths)}.")
    shapes = [(b, a) for a, b in pairwise(widths)]
    normals = rng.standard_normal((count, sum(a * b for a, b in shapes)))
    parts = np.split(normals, np.cumsum([a * b for a, b in shapes])[:-1], axis=1)
    laws = [first or ensemble, *[ensemble] * (len(shapes) - 1)]
    return [weights(law, part.reshape(count, *shape), c_w, rectangular) for law, part, shape in zip(laws, parts, shapes)]
