"""Batched training: against one network at a time and autograd, Haar matrices, the kernel's mean, spreads, bad input."""

import numpy as np
import pytest
import torch

from collapse_utils import claims
from collapse_utils.dynamics import mlp
from collapse_utils.dynamics.ntk import ntk
from collapse_utils.initialisation.weights import networks

SHAPE = [7, 9, 9, 4]


def draw(seed, n=5, law="gaussian", shape=SHAPE, **options):
    return mlp.initial(n, shape, np.random.default_rng(seed), law, dtype=torch.float64, **options)


def pairs(seed, n=11):
    rng = np.random.default_rng([seed, 1])
    return torch.as_tensor(rng.standard_normal((n, 7))), torch.as_tensor(rng.standard_normal((n, 4)))


def by_autograd(model, data, rate, epochs, ntk_rates=False):
    """The obvious training loop of one module."""
    for _ in range(epochs):
        model.zero_grad()
        ((model(data[0]) - data[1]) ** 2).mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate / (p.shape[1] if ntk_rates and p.dim() == 2 else 1) * p.grad
    return model


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("ntk_rates", [False, True])
def test_batched_training_equals_one_by_one_by_autograd(seed, activation, ntk_rates):
    nets, data = draw(seed, activation=activation), pairs(seed)
    rates = [0.01, 0.02, 0.03, 0.04, 0.05]
    history = mlp.train(nets, data, data, rates, 20, every=20, ntk=ntk_rates)
    for r, rate in enumerate(rates):
        model = by_autograd(mlp.module(nets, r), data, rate, 20, ntk_rates)
        torch.testing.assert_close(mlp.module(history.last, r)(data[0]), model(data[0]), rtol=1e-10, atol=1e-10)
        assert history.train[r, -1] == pytest.approx(mlp.loss(model(data[0]), data[1]).item(), rel=1e-10)


def test_chunks_and_seeds_change_no_number(seed, monkeypatch):
    data = pairs(seed)
    whole = mlp.train(draw(seed), data, data, 0.05, 10, batch=data[0])
    monkeypatch.setattr(mlp, "TOGETHER", 1)
    single = mlp.train(draw(seed), data, data, 0.05, 10, batch=data[0])
    for name in ("train", "test", "kernel"):
        np.testing.assert_allclose(getattr(single, name), getattr(whole, name), rtol=1e-12)
    again = mlp.train(draw(seed), data, data, 0.05, 10, batch=data[0])
    np.testing.assert_array_equal(again.test, single.test)
    assert not np.array_equal(mlp.train(draw(seed + 1), data, data, 0.05, 10).test, single.test)


def test_training_leaves_the_start_alone_and_records_where_it_says(seed):
    nets, data, other = draw(seed), pairs(seed), pairs(seed + 1000)
    before = [w.clone() for w in nets.weights + nets.biases]
    history = mlp.train(nets, data, other, 0.1, 13, every=5, batch=data[0])
    assert all(torch.equal(a, b) for a, b in zip(before, nets.weights + nets.biases))
    np.testing.assert_array_equal(history.epochs, [0, 5, 10, 13])
    np.testing.assert_allclose(history.test[:, 0], mlp.loss(mlp.predict(nets, other[0]), other[1]))
    np.testing.assert_allclose(history.test[:, -1], mlp.loss(mlp.predict(history.last, other[0]), other[1]))
    np.testing.assert_allclose(history.kernel[:, 0], mlp.kernel_means(nets, data[0]))
    np.testing.assert_allclose(history.kernel[:, -1], mlp.kernel_means(history.last, data[0]))
    np.testing.assert_array_equal(history.test[np.arange(5), history.minimum()], history.test.min(axis=1))
    level = float(np.median(history.test[:, 1]))
    first = [next((e for e, v in zip(history.epochs, row) if v <= level), np.inf) for row in history.test]
    np.testing.assert_array_equal(history.reached(level), first)
    assert np.isinf(history.reached(0.0)).all()


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
def test_the_kernel_s_mean_is_that_of_the_whole_kernel(seed, activation):
    nets, (x, _) = draw(seed, activation=activation), pairs(seed)
    whole = [ntk(mlp.module(nets, r), x, method="jacobian").diagonal(dim1=0, dim2=1).diagonal().mean() for r in range(5)]
    np.testing.assert_allclose(mlp.kernel_means(nets, x), whole, rtol=1e-10)


@pytest.mark.parametrize(("n_in", "n_out"), [(6, 6), (9, 4), (4, 9)])
def test_haar_matrices_are_semi_orthogonal_with_the_gaussian_variance(seed, n_in, n_out):
    w = networks("haar", [n_in, n_out], 4000, np.random.default_rng(seed), 1.7, rectangular="semi-orthogonal")[0]
    short, scale = (w.swapaxes(1, 2), n_in) if n_in < n_out else (w, n_out)
    gram = short @ short.swapaxes(1, 2)
    np.testing.assert_allclose(gram, np.broadcast_to(gram[0, 0, 0] * np.eye(scale), gram.shape), atol=1e-12)
    squares = (w**2).mean(axis=(1, 2))
    np.testing.assert_allclose(squares, 1.7 / n_in, rtol=1e-12)
    # Haar: E w₁₁w₁₂w₂₁w₂₂ = −c⁴/((N−1)N(N+2)) with N the longer side; independent entries would give 0
    n, c = max(n_in, n_out), np.sqrt(1.7 * max(1, n_out / n_in))
    product = w[:, 0, 0] * w[:, 0, 1] * w[:, 1, 0] * w[:, 1, 1]
    se = product.std() / np.sqrt(len(product))
    assert abs(product.mean() + c**4 / ((n - 1) * n * (n + 2))) < 5.5 * se
    assert abs((w[:, 0, 0] > 0).mean() - 0.5) < 5.5 * 0.5 / np.sqrt(4000)  # plain QR gives a definite sign


def test_haar_depth_keeps_lengths_where_gaussian_depth_does_not(seed):
    shape = [8] * 12
    x = torch.as_tensor(np.random.default_rng(seed).standard_normal((1, 8)))
    size = {
        law: mlp.predict(draw(seed, 300, law, shape, activation="linear"), x).square().sum((1, 2)).numpy()
        for law in ("haar", "gaussian")
    }
    np.testing.assert_allclose(size["haar"], float(x.square().sum()), rtol=1e-12)
    assert size["gaussian"].std() > 0.5 * size["gaussian"].mean()


def test_the_jackknife_finds_a_known_ratio_of_spreads(seed):
    rng = np.random.default_rng(seed)
    values = mlp.log_spread_ratio(rng.normal(10, 1.5, 3000), rng.normal(5, 0.25, 3000))
    se = values.std(ddof=1) / np.sqrt(3000)
    assert abs(values.mean() - np.log(3)) < 5 * se
    assert abs(values.mean() - np.log(6)) > 5 * se  # the ratio of spreads that forgets the means
    assert se == pytest.approx(np.sqrt((1 + 0.15**2 + 0.05**2) / 3000), rel=0.2)  # delta method


def test_the_jackknife_is_the_leave_one_out(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.gamma(3, size=12), rng.gamma(5, size=12)

    def log_ratio(a, b):
        return np.log(a.std(ddof=1) / a.mean() / (b.std(ddof=1) / b.mean()))

    left = np.array([log_ratio(np.delete(a, i), np.delete(b, i)) for i in range(12)])
    np.testing.assert_allclose(mlp.log_spread_ratio(a, b), 12 * log_ratio(a, b) - 11 * left, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: draw(0, shape=[7, 4]), "depth must be at least one hidden layer"),
        (lambda: draw(0, shape=[7, 1, 4]), "every hidden width must be at least 2; got"),
        (lambda: draw(0, activation="gelu"), "activation must be one of tanh, relu, linear; got 'gelu'"),
        (lambda: mlp.log_spread_ratio(np.ones(5), np.arange(1.0, 6)), "needs at least 3 positive samples that differ"),
        (lambda: mlp.log_spread_ratio(np.arange(5.0), np.arange(1.0, 6)), "needs at least 3 positive samples that differ"),
        (lambda: mlp.train(draw(0), pairs(0), pairs(0), 0.1, 0), "epochs must be at least 1; got 0"),
        (
            lambda: mlp.train(draw(0), pairs(0), (pairs(0)[1], pairs(0)[1]), 0.1, 1),
            r"inputs must be \(N, 7\) and targets \(N, 4\)",
        ),
        (lambda: mlp.train(draw(0), (pairs(0)[0].float(), pairs(0)[1]), pairs(0), 0.1, 1), "float64"),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_diverging_run_says_where_and_what_to_do():
    data = pairs(0)
    with pytest.raises(
        FloatingPointError, match=r"train: the loss must stay finite; got (inf|nan) at epoch .* with rate 1e\+06; take a smaller"
    ):
        mlp.train(draw(0, activation="relu"), data, data, [0.01, 0.01, 1e6, 0.01, 0.01], 100)
    kept = mlp.train(draw(0, activation="relu"), data, data, [0.01, 0.01, 1e6, 0.01, 0.01], 100, strict=False)
    np.testing.assert_array_equal(np.isfinite(kept.test[:, -1]), [True, True, False, True, True])


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(mlp.os, "sysconf", lambda name: 10)
    with pytest.raises(MemoryError, match="one network's activations must fit into the free"):
        mlp.train(draw(0), pairs(0), pairs(0), 0.1, 1)


def test_swapped_and_rival_data_fail_the_rules(seed):
    """What the claims of ntk_training deny, fed to their rules."""
    rng = np.random.default_rng(seed)
    fast, slow = rng.uniform(20, 40, 60), rng.uniform(110, 400, 60)
    for id_, names in (("DAY-11a", ("Haar", "Gaussian")), ("DAY-11b", ("Haar", "Gaussian")), ("DAY-13c", ("Gaussian", "Haar"))):
        assert claims.ordered(id_, **dict(zip(names, (fast, slow)))).verdict == "holds"
        assert claims.ordered(id_, **dict(zip(names, (slow, fast)))).verdict == "fails"
    wide, narrow = rng.normal(1, 0.2, 400), rng.normal(1, 0.05, 400)
    for id_ in ("DAY-13a", "DAY-13b"):
        assert claims.below(id_, -mlp.log_spread_ratio(wide, narrow), -np.log(2), 0.0).verdict == "holds"
        assert claims.below(id_, -mlp.log_spread_ratio(narrow, wide), -np.log(2), 0.0).verdict == "fails"
        assert claims.below(id_, -mlp.log_spread_ratio(wide, rng.permutation(wide)), -np.log(2), 0.0).verdict == "fails"
    log_ratio = rng.normal(0.6, 0.1, 60)
    assert claims.equal("DAY-10a", log_ratio - 0.6, 0.0, 0.6).verdict == "holds"
    assert claims.equal("DAY-10a", log_ratio, 0.0, 0.6).verdict == "fails"
    widths = np.array([64, 128, 256, 512])
    noise = rng.lognormal(0, 0.1, (20, 4))
    for id_ in ("DAY-14a", "DAY-14b"):
        assert claims.slope(id_, widths, noise / widths, -1.0, -0.5).verdict == "holds"
        assert claims.slope(id_, widths, noise / np.sqrt(widths), -1.0, -0.5).verdict == "fails"
