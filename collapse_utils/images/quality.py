"""How good and how varied images are: distances in the features of a small classifier, trained once on real images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from torch import nn

from collapse_utils.images.convolution import Down
from collapse_utils.training import Recipe, order, train

FEATURES = 32


@dataclass
class Classifier:
    """A trained classifier: classes(x) (n,) and features(x) (n, 32), the layer before the last. Not the Inception network."""

    network: nn.Sequential

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the features of images (n, C, H, W), as float64 (n, 32)."""
        with torch.inference_mode():
            return torch.cat([self.network[:-1](part) for part in torch.from_numpy(x).split(1024)]).double().numpy()

    def classes(self, x: np.ndarray) -> np.ndarray:
        """Return the most probable class of each image, (n,)."""
        with torch.inference_mode():
            return torch.cat([self.network(part).argmax(1) for part in torch.from_numpy(x).split(1024)]).numpy()


def classifier(x: np.ndarray, y: np.ndarray, epochs: float, rng: np.random.Generator) -> Classifier:
    """Return a small convolutional classifier trained on images (n, C, H, W) and classes 0, 1, … (n,)."""
    seed, recipe, side = int(rng.integers(2**62)), Recipe(rate=3e-3, epochs=epochs, batch=min(64, len(x))), (x.shape[2] + 3) // 4
    torch.manual_seed(seed)
    network = nn.Sequential(
        Down(x.shape[1], 16, x.shape[2]), nn.ReLU(), Down(16, 32, (x.shape[2] + 1) // 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * side * side, FEATURES), nn.ReLU(), nn.Linear(FEATURES, int(y.max()) + 1),
    )  # fmt: skip
    pixels, target, steps = torch.from_numpy(x), torch.from_numpy(y), order(np.zeros(len(x)), recipe, rng)

    def loss(network, index, step):
        return F.cross_entropy(network(pixels[index]), target[index], reduction="sum"), len(index)

    train(network, loss, steps, recipe)
    return Classifier(network.eval())


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Fréchet distance of two sets of features (n, k): W₂² between Gaussians with their moments.

    ‖μ_a − μ_b‖² + tr(A + B − 2(A^½BA^½)^½) (Dowson, Landau 1982; Heusel 2017, 1706.08500, with other features).
    """
    left, right = np.cov(a.T), np.cov(b.T)
    value, vector = np.linalg.eigh(left)
    root = (vector * np.sqrt(np.maximum(value, 0))) @ vector.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ right @ root), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(left) + np.trace(right) - 2 * cross)


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Return the shares of made features within the real manifold, and of real ones within the made one.

    A manifold is the union of balls around its points that reach to the k-th neighbour (Kynkäänniemi 2019, 1904.06991, Eq. 1).
    Raises ValueError where a set has no more than k points.
    """
    if min(len(real), len(made)) <= k:
        raise ValueError(f"precision_recall: must have more than k = {k} points each; got {len(real)} and {len(made)}.")

    return float(_within(made, real, _radii(real, k)).mean()), float(_within(real, made, _radii(made, k)).mean())


def realism(made: np.ndarray, real: np.ndarray, k: int = 5) -> float:
    """Return the share of images that lie in the denser half of the real manifold, by their pixels, in [0, 1].

    Precision with those balls alone that are no larger than the median one, a realism of 1 or more (Kynkäänniemi 2019,
    1904.06991, Eq. 3): the balls of outliers reach over the middle of the data, where averages of unlike images lie.
    Real images have about a half. Raises ValueError where the real ones are no more than 2k.
    """
    if len(real) <= 2 * k:
        raise ValueError(f"realism: must have more than 2k = {2 * k} real images; got {len(real)}.")
    flat, others = _flat(made), _flat(real)
    radius = _radii(others, k)
    dense = radius <= np.median(radius)
    return float(_within(flat, others[dense], radius[dense]).mean())


def nearest(x: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the distance of each image to the nearest one among others, root mean square over the pixels, (n,)."""
    flat, others = _flat(x), _flat(among)
    found, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(others).kneighbors(flat)
    return found[:, 0] / np.sqrt(flat.shape[1])


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).astype(float)


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """The distance of each point to its k-th neighbour, itself left out, (n,)."""
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()[0][:, -1]


def _within(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Whether each point lies in one of the balls, (n,)."""
    chunks = pairwise_distances_chunked(points, centres, reduce_func=lambda part, _: (part <= radii).any(axis=1))
    return np.concatenate(list(chunks))
