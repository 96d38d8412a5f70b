"""The metrics of neural collapse against hand-made features, networks on a sphere against one module at a time."""

import numpy as np
import pytest
import torch

from collapse_utils import feedback_loop, follow
from collapse_utils.dynamics import mlp, neural_collapse, relabelling, softmax
from collapse_utils.regimes import replace


def networks(seed, widths=(3, 5, 4), n=2):
    return mlp.initial(n, list(widths), np.random.default_rng(seed), "gaussian", dtype=torch.float64)


def rows(seed, n=40, n_in=3, k=4):
    rng = np.random.default_rng([seed, 1])
    x, y = rng.standard_normal((2, n, n_in)), np.tile(np.arange(n) % k, (2, 1))
    return torch.as_tensor(x), torch.as_tensor(y)


def test_features_are_what_the_last_layer_sees(seed):
    nets, (x, _) = networks(seed), rows(seed)
    module = mlp.module(nets, 1)
    assert torch.allclose(neural_collapse.features(nets, x)[1], module[:-1](x[1]))


def test_variability_is_that_of_its_definition(seed):
    """One network, loops over classes; a direction without class means counts for nothing."""
    rng, k = np.random.default_rng(seed), 3
    y = np.arange(30) % k
    h = np.column_stack([rng.standard_normal((30, 2)) + 5 * np.eye(3)[y][:, :2], rng.standard_normal(30)])
    means = np.array([h[y == c].mean(axis=0) for c in range(k)])
    within = sum(np.outer(a - means[c], a - means[c]) for a, c in zip(h, y)) / 30
    gaps = means - h.mean(axis=0)
    u, s, _ = np.linalg.svd(gaps.T @ gaps / k)
    expected = sum(u[:, i] @ within @ u[:, i] / s[i] for i in range(k - 1)) / k
    assert neural_collapse.variability(h[None], y[None], k)[0] == pytest.approx(expected)


def test_single_precision_does_not_matter_to_the_cut_spectrum(seed):
    """The trap: in float32 a plain pseudo-inverse inverts the rounding of a matrix of rank K − 1."""
    rng, k = np.random.default_rng(seed), 4
    y = np.arange(80) % k
    h = np.repeat(rng.standard_normal((k, 20)), 1, axis=0)[y] + 0.1 * rng.standard_normal((80, 20))
    exact = neural_collapse.variability(h[None], y[None], k)[0]
    assert neural_collapse.variability(h[None].astype(np.float32), y[None], k)[0] == pytest.approx(exact, rel=1e-4)
    _, within, between = (part.astype(np.float32) for part in neural_collapse.scatter(h[None], y[None], k))
    plain = np.trace((within @ np.linalg.pinv(between, rcond=1e-9))[0]) / k
    assert plain != pytest.approx(exact, rel=0.5)


def test_metrics_vanish_for_a_collapsed_network_and_not_for_its_swap(seed):
    """Inputs on the corners of a simplex, weights along them; with two weights exchanged NC3 and NC4 see it."""
    k, rng = 4, np.random.default_rng(seed)
    corners = np.eye(k) - 1 / k
    y = torch.as_tensor(np.tile(np.arange(24) % k, (1, 1)))
    x = torch.as_tensor(corners)[y]
    identity = (torch.eye(k, dtype=torch.float64)[None], torch.as_tensor(corners)[None])
    nothing = tuple(torch.zeros(1, 1, k, dtype=torch.float64) for _ in identity)
    found = neural_collapse.metrics(mlp.Networks(identity, nothing, "linear"), x, y)
    assert found["accuracy"] == 1
    assert all(abs(found[name]) < 1e-9 for name in ("NC1", "NC2", "NC3", "NC4"))
    turned = identity[0], identity[1][:, [1, 0, 2, 3]]
    swapped = neural_collapse.metrics(mlp.Networks(turned, nothing, "linear"), x, y)
    assert swapped["NC3"] > 0.5
    assert swapped["NC4"] == pytest.approx(0.5)
    moved = x + 0.1 * torch.as_tensor(rng.standard_normal(x.shape))
    assert neural_collapse.metrics(mlp.Networks(identity, nothing, "linear"), moved, y)["NC1"] > 1e-3


def test_networks_on_a_sphere_descend_as_one_module_does(seed):
    nets, (x, y) = networks(seed, (3, 5, 2)), rows(seed)
    w = torch.as_tensor(np.random.default_rng(seed).standard_normal((2, 4, 2)))
    taus, order = torch.tensor([1.0, 0.3], dtype=torch.float64), relabelling.batches(40, 6, 10, np.random.default_rng(seed))
    fitted, weights = neural_collapse.on_sphere(nets, w, x, y, taus, 0.1, order)
    for r in range(2):
        module, own = mlp.module(nets, r), torch.nn.Parameter(w[r].clone())
        optimiser = torch.optim.SGD([*module.parameters(), own], 0.1, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(order))
        for part in order:
            h = torch.nn.functional.normalize(module(x[r, part]), dim=-1)
            scores = h @ torch.nn.functional.normalize(own, dim=-1).T / taus[r]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(scores, y[r, part]).backward()
            optimiser.step()
            schedule.step()
        assert torch.allclose(weights[r], torch.nn.functional.normalize(own, dim=-1))
        h = torch.nn.functional.normalize(module(x[r]), dim=-1)
        assert torch.allclose(neural_collapse.directions(fitted, x)[r], h, atol=1e-9)
    assert torch.equal(w, torch.as_tensor(np.random.default_rng(seed).standard_normal((2, 4, 2))))  # the starts stay


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h, y: (h, y, 1), "at least 2 classes; got 1"),
        (lambda h, y: (h[:, :3], y[:, :3], 4), "at least as many rows as the 4 classes; got 3"),
        (lambda h, y: (h, 0 * y, 4), "at least 2 classes; got one class alone for network 0"),
    ],
)
def test_labels_without_variability_are_refused(seed, change, sentence):
    x, y = rows(seed)
    with pytest.raises(ValueError, match=sentence):
        neural_collapse.variability(*change(x.numpy(), y.numpy()))


def test_a_class_that_died_leaves_the_metric(seed):
    x, y = rows(seed)
    merged = np.where(y == 3, 0, y)
    assert np.allclose(neural_collapse.variability(x, merged, 4), neural_collapse.variability(x, merged, 3))


def test_drawn_labels_uncollapse_and_likeliest_ones_do_not(seed):
    """Blobs in the loop; with the two rules of labelling exchanged the order turns round."""
    rng = np.random.default_rng(seed)
    y = np.tile(np.arange(60) % 3, (8, 1))
    x = torch.as_tensor(2 * np.eye(3)[y] + rng.standard_normal((8, 60, 3)))
    starts = mlp.initial(8, [3, 8, 3], rng, "gaussian", dtype=torch.float64)

    def last(sampled):
        learner = relabelling.Learner(starts, 0.2, 60, 20, sampled)

        def watch(g):
            own, labels = relabelling.tensors(g.data)
            return neural_collapse.variability(neural_collapse.features(g.model.networks, own).numpy(), labels.numpy(), 3)

        return follow(feedback_loop(learner.fit, relabelling.data(x, torch.as_tensor(y)), replace, rng), watch, 3)[:, [0, 2]]

    drawn, likeliest = last(True), last(False)
    assert np.median(drawn[:, 1] / drawn[:, 0]) > 1 > np.median(likeliest[:, 1] / likeliest[:, 0])
    assert (softmax.logits(starts, x).isfinite()).all()
