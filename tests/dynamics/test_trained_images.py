"""Images for networks that are trained: shuffled rows that do not overlap, the scale, one-hot targets, refusals."""

import numpy as np
import pytest
import torch

from collapse_utils import tables
from collapse_utils.dynamics import images


def test_rows_are_split_centred_and_scaled(seed):
    (x, y), (held, y_held), hashes = images.split("digits", 50, 30, np.random.default_rng(seed))
    assert (x.shape, y.shape, held.shape, y_held.shape) == ((50, 64), (50, 10), (30, 64), (30, 10))
    assert torch.allclose(x.mean(0), torch.zeros(64), atol=1e-5)
    assert float(x.square().mean()) == pytest.approx(1, abs=1e-5)
    assert float(held.mean(0).abs().max()) > 0.01  # by the training rows' mean
    assert (y.sum(1) == 1).all()
    assert hashes == {"digits": tables.sha256("digits")}
    raw, labels = tables.load("digits")
    rows = np.random.default_rng(seed).permutation(len(labels))
    assert (y.argmax(1).numpy() == labels[rows[:50]]).all()
    assert (y_held.argmax(1).numpy() == labels[rows[50:80]]).all()
    mean, scale = raw[rows[:50]].mean(0), np.sqrt(raw[rows[:50]].var(0).mean())
    assert np.allclose(held, (raw[rows[50:80]] - mean) / scale, atol=1e-5)


def test_too_few_rows_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="n_train, n_test: digits must have that many rows; got 1700, 200 of 1797 and 1797"):
        images.split("digits", 1700, 200, np.random.default_rng(0))
