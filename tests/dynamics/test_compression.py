"""Codecs keep their bounds, zeros and signs; saved tensors give the gradients that exact ones would, but for weights."""

import importlib

import numpy as np
import pytest
import torch

from collapse_utils.dynamics import residual
from collapse_utils.dynamics.compression import Saved, levels, pack, unpack

BOUNDED = ["dithered", "rounding", "sz3", "zfp", "truncation"]


def activations(seed, shape=(8, 4, 6, 6)):
    return np.maximum(np.random.default_rng(seed).standard_normal(shape), 0).astype(np.float32)


@pytest.mark.parametrize("codec", BOUNDED)
@pytest.mark.parametrize("bound", [0.003, 0.1, 0.9])
def test_codecs_keep_bound_zeros_and_signs(seed, codec, bound):
    x = activations(seed)
    y = unpack(pack(x, bound, codec))
    assert y.dtype == np.float32
    assert y.shape == x.shape
    assert np.abs(y - x).max() <= bound * (1 + 1e-3)
    assert ((y > 0) == (x > 0)).all()


@pytest.mark.parametrize("codec", BOUNDED)
def test_values_of_either_sign_and_tensors_of_zeros_come_back(seed, codec):
    x = np.random.default_rng(seed).standard_normal((5, 3, 4, 4)).astype(np.float32)
    assert np.abs(unpack(pack(x, 0.05, codec)) - x).max() <= 0.05 * (1 + 1e-3)
    nothing = np.zeros((2, 3, 4), np.float32)
    assert (unpack(pack(nothing, 0.1, codec)) == 0).all()


def test_dither_makes_errors_uniform_on_equal_values(seed):
    x = np.full((4, 1, 50, 50), 0.73, np.float32)
    error = (unpack(pack(x, 0.1, "dithered", seed)) - x).ravel() / 0.1
    assert error.std() == pytest.approx(1 / np.sqrt(3), rel=0.03)
    assert abs(error.mean()) < 0.03
    assert (unpack(pack(x, 0.1, "rounding")) == unpack(pack(x, 0.1, "rounding")).flat[0]).all()


def test_signs_and_levels(seed):
    x = activations(seed)
    assert ((unpack(pack(x, 1.0, "signs")) > 0) == (x > 0)).all()
    for zeros in (False, True):
        packed = levels(x, 6, zeros)
        y, top = unpack(packed), x.max(axis=(0, 2, 3), keepdims=True)
        assert (np.abs(y - x) <= top / 63 + 1e-6).all()
        assert ((y > 0) == (x > 0)).all()
    assert levels(x, 6, False).nbytes == x.size * 6 // 8 + 8 * 5


def test_bad_input_is_refused(seed, monkeypatch):
    x = activations(seed)
    for bad, match in ((0.0, "above 0.*got 0"), (-1.0, "got -1"), (float("nan"), "got nan")):
        with pytest.raises(ValueError, match=match):
            pack(x, bad, "dithered")
    spoiled = x.copy()
    spoiled[0, 0, 0, :2] = np.nan, np.inf
    for codec in BOUNDED:
        with pytest.raises(ValueError, match="finite; got 2 that are not"):
            pack(spoiled, 0.1, codec)
    with pytest.raises(ValueError, match="one of dithered, rounding, .*; got 'jpeg'"):
        pack(x, 0.1, "jpeg")
    mixed = x.copy()
    mixed[0, 0, 0, 0] = 1e9
    with pytest.raises(ValueError, match="zfp: errors must stay within the bound 0.001"):
        pack(mixed, 1e-3, "zfp")

    def missing(name, *args):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match="zfp needs zfpy, not installed; run `pip install zfpy`"):
        pack(x, 0.1, "zfp")


def network(seed):
    rng = np.random.default_rng(seed)
    x = torch.as_tensor(rng.standard_normal((32, 1, 8, 8)), dtype=torch.float32)
    return residual.Residual(4, seed), x, torch.as_tensor(rng.integers(10, size=32))


def test_weights_get_the_products_of_signals_and_errors_and_nothing_else_changes(seed):
    model, x, y = network(seed)
    errors = []

    def store(i, a):
        packed = pack(a, 0.2, "dithered", i)
        errors.append(unpack(packed) - a)
        return packed

    grads = {}
    for name, how in (("exact", lambda i, a: None), ("noisy", store)):
        model.zero_grad()
        with Saved(how, (x,), least=512):
            value = residual.loss(model, x, y)
        value.backward()
        grads[name] = {key: p.grad.clone() for key, p in model.named_parameters()}
    for i, layer in enumerate(residual.stored(model, x, y)):
        key = f"convolutions.{i + 1}.weight"
        noise = (grads["noisy"][key] - grads["exact"][key]).flatten(1).numpy()
        np.testing.assert_allclose(noise, layer.product(errors[i]), atol=1e-3 * np.abs(noise).max())
        np.testing.assert_allclose(grads["exact"][key].flatten(1), layer.product(layer.input), rtol=1e-3, atol=1e-5)
    for key in ("convolutions.0.weight", "convolutions.3.bias", "last.weight"):
        torch.testing.assert_close(grads["noisy"][key], grads["exact"][key])


def test_a_tensor_that_two_operations_save_is_stored_once(seed):
    model, x, y = network(seed)
    with Saved(lambda i, a: pack(a, 0.1, "dithered"), (x,), least=512) as saved:
        residual.loss(model, x, y)
    assert len(saved.stored) == residual.LAYERS + 1
    assert saved.plain == [4 * a for a in (32 * 4 * 64,) * 3 + (32 * 8 * 16,) * 3]
    assert sum(item.nbytes for item in saved.stored) < saved.bytes
    assert saved.ratio == sum(saved.plain) / sum(item.nbytes for item in saved.stored)


def test_training_stores_what_its_arm_says(seed):
    _, x, y = network(seed)
    exact = residual.train(residual.Arm(), (x, y), (x, y), 8, 4, 32, 0.05, seed, (0, 3))
    assert (exact.bits == 32).all()
    assert (exact.noise[:, 0] == 0).all()
    assert len(exact.states) == 2
    large = residual.train(residual.Arm(width=lambda *_: 8), (x, y), (x, y), 8, 4, 32, 0.05, seed)
    assert (large.bits[1:] < 9).all()
    assert large.loss == pytest.approx(exact.loss, rel=0.05)


def test_running_means_are_of_gradients_over_signals(seed):
    model, x, y = network(seed)
    watch = residual.Watch(model, 0.5)
    for _ in range(2):
        model.zero_grad()
        residual.loss(model, x, y).backward()
        watch.update()
    signals = residual.stored(model, x, y)
    ratios = [np.sum(layer.product(layer.input) ** 2) / np.sum(layer.signal**2) for layer in signals]
    np.testing.assert_allclose(watch.ratio, ratios, rtol=1e-3)
    np.testing.assert_allclose(watch.positions, [len(layer.signal) for layer in signals])
    np.testing.assert_allclose(watch.fan_in, [layer.patches(layer.input).shape[1] for layer in signals])
