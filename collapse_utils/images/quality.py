"""How good and how varied images are: distances in the features of a small classifier, trained once on real images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import entr
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from torch import nn

from collapse_utils.images.convolution import Down
from collapse_utils.images.pictures import Images
from collapse_utils.training import Recipe, order, train

FEATURES = 32


@dataclass
class Classifier:
    """A trained classifier: classes(x) (n,) and features(x) (n, 32), the layer before the last. Not the Inception network."""

    network: nn.Sequential

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return the features of images (n, C, H, W), as float64 (n, 32)."""
        with torch.inference_mode():
            return torch.cat([self.network[:-1](part) for part in torch.tensor(x).split(1024)]).double().numpy()

    def classes(self, x: np.ndarray) -> np.ndarray:
        """Return the most probable class of each image, (n,)."""
        with torch.inference_mode():
            return torch.cat([self.network(part).argmax(1) for part in torch.tensor(x).split(1024)]).numpy()


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


class Eyes:
    """How images look beside real ones: in the features of a classifier trained on these, and pixel by pixel."""

    def __init__(self, real: Images, rng: np.random.Generator):
        self.real, self.n_classes = real, int(real.train_class.max()) + 1
        self.judge = classifier(real.train, real.train_class, max(2, 3e4 / len(real.train)), rng)
        self.truth = self.judge.features(real.test)  # (n, 32)

    @property
    def right(self) -> float:
        """The share of the held-out images that the classifier has right."""
        return float((self.judge.classes(self.real.test) == self.real.test_class).mean())

    def share(self, x: np.ndarray, c: int = 0) -> float:
        """Return the share of images (n, C, H, W) that the classifier takes for class c."""
        return float((self.judge.classes(x) == c).mean())

    def look(self, x: np.ndarray, known: np.ndarray | None = None) -> dict[str, float]:
        """Return what images (n, C, H, W) are like, beside the held-out ones and beside those a model may know (default: training).

        frechet, precision, recall (features) and realism, distance (pixels; median of nearest) of the first as many as are held
        out; entropy in nats and number of the classes drawn by all, of more than 1 %, and the share of class 0, rare.
        """
        known, part = self.real.train if known is None else known, x[: len(self.truth)]
        features, share = self.judge.features(part), np.bincount(self.judge.classes(x), minlength=self.n_classes) / len(x)
        precision, recall = precision_recall(self.truth, features)
        return {
            "frechet": frechet(features, self.truth), "precision": precision, "recall": recall,
            "realism": realism(part, known[:10_000]), "distance": np.median(nearest(part, known)),
            "entropy": entr(share).sum(), "classes": int((share > 0.01).sum()), "rare": share[0],
        }  # fmt: skip

    def controls(self, rng: np.random.Generator) -> dict[str, dict[str, float]]:
        """Return look() for what no model made: other real images, blends of 2 and of 8 of them, and their mean image."""
        real, held = self.real.train, len(self.truth)
        parts = [range(i * held, (i + 1) * held) for i in range(3)]
        looks = [self.look(real[part], np.delete(real, part, axis=0)) for part in parts]
        found = {"other real images": {name: np.mean([one[name] for one in looks]) for name in looks[0]}}
        for k in (2, 8):
            found[f"blends of {k} real images"] = self.look(real[rng.integers(len(real), size=(k, 4000))].mean(axis=0))
        return found | {"their mean image": self.look(np.repeat(real.mean(axis=0)[None], held, axis=0))}


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
