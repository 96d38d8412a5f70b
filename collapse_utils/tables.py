"""Real data sets, each checked against its hash: embedded in scikit-learn, or official files (see mirror)."""

import functools
import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np

from collapse_utils import mirror

SHA256 = {  # of the float64 features followed by the float64 targets, little endian, row by row
    "breast_cancer": "cdd5f37c36cbdfc2e5ee074cec7540fac54340874afb25917a673e446270d0d0",
    "diabetes": "84ec38030d0ff6dfdc32f475c5633e39e7ada9dbc328d3deb29bb757eec6a331",
    "digits": "f19a7d92591ca0a1ffc65ec172e8149afdff995e0d2c4cb0afd151f38471ff90",
}
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = {  # the official sums, by part
    "train": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    },
    "test": {
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
}
CIFAR10 = {"train": "data_batch_1", "test": "test_batch"}


def load(name: str, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, k) and targets (N,) of a data set, as float64, read-only.

    name: breast_cancer (569 × 30), diabetes (442 × 10) or digits (1797 × 64), which scikit-learn carries; mnist
    (60000 × 784) or the first training batch of cifar10 (at most 10000 × 3072), by way of `mirror.fetch`.
    part: train, or test for the official test rows of mnist and cifar10 (10000 at most).
    Raises ValueError for another name or part, OSError for a missing or damaged file.
    """
    x, y, _ = _read(name, part)
    return x, y


def sha256(name: str, part: str = "train") -> str:
    """Return the SHA-256 of a data set's features and targets, for the run card. Raises as load does."""
    return _read(name, part)[2]


def components(x: np.ndarray, k: int) -> np.ndarray:
    """Return a column of ones and the k leading principal components of the standardised features: (N, k + 1).

    Features without spread count for nothing; each component has mean 0, variance 1 and weights of positive sum.
    Raises ValueError where the features span fewer than k dimensions.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(x)
    pca = PCA(svd_solver="covariance_eigh").fit(scaled)
    rank = int((pca.explained_variance_ > 1e-10 * pca.explained_variance_[0]).sum())
    if not 1 <= k <= rank:
        raise ValueError(f"components: k must lie between 1 and the rank {rank} of the features; got {k}.")
    scores = StandardScaler().fit_transform(pca.transform(scaled)[:, :k])
    return np.column_stack([np.ones(len(x)), scores * np.sign(pca.components_[:k].sum(axis=1))])


def idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the bytes of an idx file (LeCun's format), gzipped or not. Raises OSError unless it is one, complete."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise OSError(f"idx: {path} must be a readable idx file; got {type(error).__name__}; replace the file.") from None
    if raw[:4] != bytes([0, 0, 8, dimensions]):
        raise OSError(f"idx: {path} must begin with the idx magic number 0000080{dimensions}; got {raw[:4].hex()}.")
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    if len(raw) != 4 + 4 * dimensions + int(np.prod(shape, dtype=np.int64)):
        raise OSError(
            f"idx: {path} must hold {tuple(map(int, shape))} bytes; got {len(raw) - 4 - 4 * dimensions}; replace the file."
        )
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@functools.lru_cache(maxsize=2)
def _read(name, part):
    if part not in (parts := ("train", "test") if name in ("mnist", "cifar10") else ("train",)):
        raise ValueError(f"corpora: part must be {' or '.join(parts)} for {name}; got {part!r}.")
    if name == "mnist":
        x, y = (idx(_mnist(file, md5), 3 if "idx3" in file else 1) for file, md5 in MNIST_MD5[part].items())
        x = x.reshape(len(x), -1)
    elif name == "cifar10":
        x, y = _cifar10(CIFAR10[part])
    elif name in SHA256:
        x, y = _embedded(name)
    else:
        raise ValueError(f"corpora: name must be one of {', '.join([*SHA256, 'mnist', 'cifar10'])}; got {name!r}.")
    x, y = np.ascontiguousarray(x, "<f8"), np.ascontiguousarray(y, "<f8")
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    if digest != SHA256.get(name, digest):
        raise OSError(f"corpora: {name} must have SHA-256 {SHA256[name]}; got {digest}; reinstall scikit-learn.")
    x.flags.writeable = y.flags.writeable = False
    return x, y, digest


def _embedded(name):
    from sklearn import datasets

    try:
        return getattr(datasets, f"load_{name}")(return_X_y=True)
    except Exception as error:  # a damaged file can break in any reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(f"corpora: {name} must be readable in scikit-learn; got {reason!r}; reinstall scikit-learn.") from error


def _mnist(file, md5):
    return mirror.fetch("mnist", f"mnist/MNIST/raw/{file}", f"md5:{md5}", MNIST_URL + file)


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays of bytes, and refuses to import anything else."""

    def find_class(self, module, name):
        module = module.replace("numpy.core", "numpy._core")
        if f"{module}.{name}" in {"numpy._core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype", "_codecs.encode"}:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it wants to import {module}.{name}")


def _cifar10(file):
    """One of Krizhevsky's batches: rows of 3 × 32 × 32 bytes, channel by channel, and labels below 10."""
    path = mirror.fetch("cifar10", f"cifar10/cifar-10-batches-py/{file}")
    try:
        with path.open("rb") as stream:
            batch = _Arrays(stream, encoding="bytes").load()
        x, y = batch[b"data"], np.asarray(batch[b"labels"])
        reason = "" if x.dtype == np.uint8 and x.shape == (len(y), 3072) and set(y) <= set(range(10)) else f"{x.dtype} {x.shape}"
    except Exception as error:  # a damaged pickle can break anywhere
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if reason:
        raise OSError(f"corpora: {path} must hold N × 3072 bytes and N labels below 10; got {reason!r}; replace the file.")
    return x, y
