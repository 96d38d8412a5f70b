"""Real data: shapes and hashes, one clear sentence for each kind of damage, the official MNIST where it is at hand."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from collapse_utils import tables as corpora

MIRROR = Path(os.environ.get("COLLAPSE_DATA", "")) / "mnist" / "MNIST" / "raw"
needs_mnist = pytest.mark.skipif(
    not os.environ.get("COLLAPSE_DATA") or not MIRROR.is_dir(), reason="COLLAPSE_DATA holds no mnist/MNIST/raw"
)


@pytest.fixture(autouse=True)
def _fresh():
    corpora._read.cache_clear()
    yield
    corpora._read.cache_clear()


@pytest.mark.parametrize(("name", "shape"), [("breast_cancer", (569, 30)), ("diabetes", (442, 10)), ("digits", (1797, 64))])
def test_embedded_sets_are_the_known_ones(name, shape):
    x, y = corpora.load(name)
    assert x.shape == shape
    assert y.shape == shape[:1]
    assert corpora.sha256(name) == corpora.SHA256[name]
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 0


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="must be one of breast_cancer, diabetes, digits, mnist, cifar10; got 'iris'"):
        corpora.load("iris")
    with pytest.raises(ValueError, match="part must be train for digits; got 'test'"):
        corpora.load("digits", "test")


def test_changed_and_missing_embedded_data_are_named(monkeypatch):
    from sklearn import datasets

    x, y = datasets.load_diabetes(return_X_y=True)
    x[3, 3] += 1e-9
    monkeypatch.setattr(datasets, "load_diabetes", lambda return_X_y: (x, y))
    with pytest.raises(OSError, match=r"diabetes must have SHA-256 84ec.*; got .*; reinstall scikit-learn"):
        corpora.load("diabetes")

    def gone(return_X_y):
        raise FileNotFoundError("diabetes_data_raw.csv.gz")

    monkeypatch.setattr(datasets, "load_diabetes", gone)
    with pytest.raises(OSError, match=r"diabetes must be readable.*diabetes_data_raw.*reinstall scikit-learn"):
        corpora.load("diabetes")


@needs_mnist
def test_mnist_is_the_official_training_set():
    x, y = corpora.load("mnist")
    assert x.shape == (60000, 784)
    assert x.min() == 0
    assert x.max() == 255
    np.testing.assert_array_equal(np.bincount(y.astype(int))[:3], [5923, 6742, 5958])
    x, y = corpora.load("mnist", "test")
    assert x.shape == (10000, 784)
    np.testing.assert_array_equal(np.bincount(y.astype(int))[:3], [980, 1135, 1032])


def batch(folder, content):
    """Write a file in the official layout of CIFAR-10."""
    path = folder / "cifar10" / "cifar-10-batches-py" / "data_batch_1"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=2))


def test_cifar10_is_read_from_its_official_layout(monkeypatch, tmp_path):
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    pixels = np.arange(3 * 3072).astype(np.uint8).reshape(3, 3072)
    batch(tmp_path, {b"data": pixels, b"labels": [6, 9, 1]})
    x, y = corpora.load("cifar10")
    np.testing.assert_array_equal(x, pixels)
    np.testing.assert_array_equal(y, [6, 9, 1])


def test_a_damaged_cifar10_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    pixels = np.zeros((2, 3072), np.uint8)
    damaged = [b"x", pickle.dumps({b"data": pixels, b"labels": [0, 1]})[:-40], {b"data": pixels[:, 1:], b"labels": [0, 1]}]
    for content in [*damaged, {b"data": pixels, b"labels": [0, 10]}, {b"data": pixels}, {b"labels": os.system}]:
        batch(tmp_path, content)
        with pytest.raises(
            OSError, match=r"data_batch_1 must hold N × 3072 bytes and N labels below 10; got .*; replace the file"
        ):
            corpora.load("cifar10")


def test_components_are_the_singular_vectors():
    x, _ = corpora.load("digits")
    ours = corpora.components(x, 5)
    z = (x - x.mean(axis=0))[:, x.std(axis=0) > 0]
    left, _, _ = np.linalg.svd(z / z.std(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(ours[:, 1:] / np.sqrt(len(x))), np.abs(left[:, :5]), atol=1e-8)
    np.testing.assert_array_equal(ours[:, 0], 1)
    assert ((z / z.std(axis=0)).T @ ours[:, 1:]).sum(axis=0).min() > 0  # the sign of each
    np.testing.assert_allclose(ours[:, 1:].T @ ours[:, 1:] / len(x), np.eye(5), atol=1e-8)
    with pytest.raises(ValueError, match="k must lie between 1 and the rank 61 of the features; got 62"):
        corpora.components(x, 62)
