"""Every labeling of the images of a few pixels, and what learners say about the images that they have not seen."""

from itertools import combinations, product

import numpy as np


def everything(n_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all images (2^n, n) of pixels ±1 and all their labelings (2^2^n, 2^n), labels ±1; at most four pixels."""
    if not 1 <= n_pixels <= 4:
        raise ValueError(f"everything: n_pixels must lie between 1 and 4; got {n_pixels}, with 2^{2**n_pixels} labelings.")
    images, labels = (1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) for n in (n_pixels, 2**n_pixels))
    return images, labels


def nearest(seen: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the weights (new, seen) of seen labels in the answers of the nearest neighbour, the first of several."""
    return np.eye(len(seen))[(new @ seen.T).argmax(axis=1)]


def linear(seen: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the weights (new, seen) of seen labels in the answers of least squares with a constant."""
    seen, new = (np.column_stack([np.ones(len(x)), x]) for x in (seen, new))
    return new @ np.linalg.pinv(seen)


def unseen_accuracy(learner, n_pixels: int, count: int) -> np.ndarray:
    """Return the share of right answers to unseen images of every labeling, a mean over all ways to see `count` of them.

    learner(seen, new) returns weights of the labels seen; the answer is the sign of their sum, + where it is zero.
    """
    images, labels = everything(n_pixels)
    right = []
    for seen in map(list, combinations(range(len(images)), count)):
        new = [i for i in range(len(images)) if i not in seen]
        answers = labels[:, seen] @ learner(images[seen], images[new]).T
        right.append((np.where(answers.round(9) >= 0, 1, -1) == labels[:, new]).mean(axis=1))
    return np.mean(right, axis=0)


def by_linear_rule(n_pixels: int) -> np.ndarray:
    """Return which labelings the sign of a weighted sum of pixels and a constant can make, by trying small whole weights.

    Up to three pixels weights up to 3 make all of them (Muroga 1971): 4, 14 and 104.
    """
    images, labels = everything(n_pixels)
    weights = np.array(list(product(range(-3, 4), repeat=n_pixels + 1)))
    made = np.unique(np.sign(weights[:, 1:] @ images.T + weights[:, :1] + 0.5), axis=0)
    return (labels[:, None] == made).all(axis=2).any(axis=1)
