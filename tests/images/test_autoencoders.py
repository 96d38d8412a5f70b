"""Networks side by side against single ones of torch.nn, samples against their codes; refusals."""

import numpy as np
import pytest
import torch

from collapse_utils.images import autoencoders, shapes
from collapse_utils.images.persistence import widest_gap
from collapse_utils.rows import Ensemble


def alone(network, r):
    """One of the networks, built of torch.nn.Linear."""
    layers = []
    for i, (weight, shift) in enumerate(zip(network.weights, network.shifts)):
        layer = torch.nn.Linear(*weight.shape[1:])
        layer.load_state_dict({"weight": weight[r].T, "bias": shift[r, 0]})
        layers += [layer] + [torch.nn.Tanh()] * (i not in (2, 5))
    return torch.nn.Sequential(*layers)


def test_networks_side_by_side_are_those_of_torch():
    torch.manual_seed(0)
    network = autoencoders.Network(3, 5, 2, 7)
    x = torch.randn(3, 11, 5)
    for r in range(3):
        assert torch.allclose(alone(network, r)(x[r]), network(x)[r], atol=1e-6)
    bound = [float(w.detach().abs().max()) * w.shape[1] ** 0.5 for w in network.weights]
    assert max(bound) <= 1 < 1.3 * max(bound)  # as torch.nn.Linear


def test_networks_do_not_learn_from_each_other(seed):
    """Each on its own circle: radius one and two."""
    rng = np.random.default_rng(seed)
    x = np.stack([r * shapes.sphere(400, rng, 1) for r in (1.0, 2.0)])
    model = autoencoders.train(x, 2, 2, rng, 200)
    assert (model.errors(x).mean(axis=1) < [0.15, 0.3]).all()
    assert np.allclose(np.linalg.norm(model.reconstruct(x), axis=-1).mean(axis=1), [1, 2], rtol=0.1)


def test_several_stops_are_one_descent(seed):
    x = shapes.sphere(200, np.random.default_rng(seed), 1)
    first, last = autoencoders.train(x, 2, 2, np.random.default_rng(1), [30, 200])
    once = autoencoders.train(x, 2, 2, np.random.default_rng(1), [200])[0]
    assert np.array_equal(last.reconstruct(x), once.reconstruct(x))
    assert (first.errors(x).mean(axis=1) > last.errors(x).mean(axis=1)).all()


def test_samples_are_decoded_codes_with_a_kernel(seed):
    """An identity network: what is drawn is the codes plus Scott's noise."""
    rng = np.random.default_rng(seed)
    codes = torch.from_numpy(rng.standard_normal((2, 500, 1), dtype=np.float32))
    network = autoencoders.Network(2, 1, 1, 1)
    network.decode = lambda z: z
    drawn = autoencoders.Autoencoders(network, (codes,)).sample(20_000, rng)[0].rows
    assert drawn.shape == (20_000, 2, 1)
    spread = codes.var(dim=1).numpy() * (1 + 500 ** (-2 / 5))
    assert np.allclose(drawn.var(axis=0), spread, rtol=0.05)
    assert np.allclose(drawn.mean(axis=0), codes.mean(dim=1), atol=0.05)


def test_one_unit_cuts_a_circle_and_two_do_not(seed):
    rng = np.random.default_rng(seed)
    real = (Ensemble(np.stack([shapes.sphere(300, rng, 1) for _ in range(5)], axis=1)),)
    for k, low, high in ((1, 0.25, 4), (2, 0, 0.25)):
        model = autoencoders.Fit(k, 300)(real, rng)
        gaps = widest_gap(model.sample(300, rng)[0].rows.swapaxes(0, 1))
        assert low < np.median(gaps) < high
        assert (model.errors(shapes.sphere(2000, rng, 1)).max(axis=1) > 0.99).all() == (k == 1)


def test_groups_have_codes_of_their_own_points(seed):
    rng = np.random.default_rng(seed)
    groups = [shapes.sphere(2 * n, rng, 1).reshape(2, n, 2) for n in (70, 100)]
    model = autoencoders.train(groups, 2, 4, rng, 20)
    assert [codes.shape for codes in model.codes] == [(2, 70, 2), (2, 100, 2)]
    for part, codes, r in zip(groups, model.codes, (0, 2)):
        with torch.inference_mode():
            all_of_them = model.network.encode(torch.tensor(np.resize(part[0], (4, *part[0].shape)), dtype=torch.float32))
        assert torch.allclose(all_of_them[r], codes[0], atol=1e-6)
    assert [drawn.rows.shape for drawn in model.sample(9, rng)] == [(9, 2, 2)] * 2


def test_the_way_uphill_finds_the_worst_point(seed):
    rng = np.random.default_rng(seed)
    x = shapes.sphere(400, rng, 1)
    model = autoencoders.train(x, 1, 2, rng, 200)
    start = np.stack([x[np.argsort(-errors)[:5]] for errors in model.errors(x)])
    found = model.hardest(start, lambda p: p / torch.linalg.vector_norm(p, dim=-1, keepdim=True), 200)
    angle = np.linspace(0, 2 * np.pi, 20_000)
    dense = model.errors(np.stack([np.cos(angle), np.sin(angle)], axis=1)).max(axis=1)
    assert np.allclose(found, dense, atol=0.01)


@pytest.mark.parametrize("latent", [0, 3])
def test_latent_sizes_that_are_no_bottleneck_are_refused(seed, latent):
    with pytest.raises(ValueError, match=f"at least 1 and at most the ambient dimension 2; got {latent}"):
        autoencoders.train(np.ones((100, 2)), latent, 1, np.random.default_rng(seed))


def test_fewer_points_than_a_batch_are_refused(seed):
    with pytest.raises(ValueError, match="at least a batch of 64 points; got 10"):
        autoencoders.train(np.ones((10, 2)), 1, 1, np.random.default_rng(seed))
