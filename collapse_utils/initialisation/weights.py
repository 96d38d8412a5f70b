"""The ensemble of orthogonal matrices from which the networks at initialisation and in training draw their weights."""

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
