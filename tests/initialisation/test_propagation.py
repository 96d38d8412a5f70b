"""Gaussian and Haar networks: moments of the ensembles, the sampler without matrices against matrices, refusals."""

import re

import numpy as np
import pytest

from collapse_utils import claims
from collapse_utils.initialisation import propagation as orthogonal
from collapse_utils.initialisation.correlators import normalised
from collapse_utils.initialisation.propagation import activation, preactivations, two_point
from collapse_utils.initialisation.weights import haar, networks, weights
from collapse_utils.theory import criticality as theory, fluctuations

ALARM = 5.5  # standard errors, below 1e-6 for a dozen comparisons


def far(samples, predicted):
    """Distance of the mean from the prediction, in standard errors."""
    return np.abs(samples.mean(axis=0) - predicted) / (samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (1, 5), (5, 1)])
def test_haar_matrices_are_semi_orthogonal(shape):
    q = haar(np.random.default_rng(1).standard_normal((20, *shape)))
    small = q @ q.swapaxes(1, 2) if shape[0] <= shape[1] else q.swapaxes(1, 2) @ q
    assert np.abs(small - np.eye(min(shape))).max() < 1e-13


def test_haar_matrices_are_uniform_and_those_of_plain_qr_are_not(seed):
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((40_000, 3, 3))
    q, plain = haar(normals), np.linalg.qr(normals)[0]
    trace = np.trace(q, axis1=1, axis2=2)
    powers = np.stack([trace, trace**2 - 1, trace**3, q[:, 0, 1] ** 2 - 1 / 3, q[:, 0, 1] ** 4 - 3 / 15], 1)
    assert (far(powers, 0) < ALARM).all()  # E tr^k = 0, 1, 0 on O(3); E q² = 1/n, E q⁴ = 3/(n(n+2))
    product = q[:, 0, 0] * q[:, 1, 1] * q[:, 0, 1] * q[:, 1, 0]
    assert far(product, -1 / (2 * 3 * 5)) < ALARM  # −1/((n−1)n(n+2)), Collins & Śniady (2006, math-ph/0402073)
    assert far(np.trace(plain, axis1=1, axis2=2), 0) > ALARM


@pytest.mark.parametrize(("ensemble", "rule"), [("gaussian", None), ("haar", "semi-orthogonal")])
@pytest.mark.parametrize(("n_out", "n_in"), [(5, 5), (7, 3), (3, 7)])
def test_both_ensembles_scale_the_mean_square_alike(seed, ensemble, rule, n_out, n_in):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n_in)
    z = weights(ensemble, rng.standard_normal((20_000, n_out, n_in)), 1.7, rule) @ x
    assert (far(z**2, 1.7 * (x @ x) / n_in) < ALARM).all()
    assert (far(z**2, (x @ x) / n_in) > ALARM).all()


def test_the_rectangular_vertex_of_exercise_three(seed):
    rng = np.random.default_rng(seed)
    for n_out, n_in in ((6, 3), (3, 6)):
        z2 = weights("haar", rng.standard_normal((30_000, n_out, n_in)), 1.0, "semi-orthogonal")[..., 0] ** 2 * n_in
        pair = (z2.sum(1) ** 2 - (z2**2).sum(1)) / (n_out * (n_out - 1))
        assert far(n_out * (pair - 1), -2 * n_out / (max(n_out, n_in) + 2)) < ALARM
        assert far(n_out * (pair - 1), 0) > ALARM


@pytest.mark.parametrize("name", sorted(orthogonal.ACTIVATIONS))
def test_derivatives_of_activations_are_those_of_automatic_differentiation(name):
    torch = pytest.importorskip("torch")
    forms = {
        "linear": lambda z: 1.0 * z,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sin": torch.sin,
        "gelu": torch.nn.functional.gelu,
        "swish": torch.nn.functional.silu,
    }
    act, z = activation(name), torch.linspace(-3, 3.01, 40, dtype=torch.float64, requires_grad=True)
    value = forms[name](z)
    for own in (act.f, act.d1, act.d2, act.d3):
        assert np.allclose(own(z.detach().numpy()), value.detach().numpy(), atol=1e-12)
        value = torch.autograd.grad(value.sum(), z, create_graph=True, allow_unused=True)[0] if value.requires_grad else None
        value = torch.zeros_like(z) if value is None else value
    assert np.allclose(theory.ACTIVATIONS[name].f(np.linspace(-3, 3, 9)), act.f(np.linspace(-3, 3, 9)), atol=1e-14)


@pytest.mark.parametrize("ensemble", ["gaussian", "haar", "mixed"])
def test_the_sampler_without_matrices_has_the_law_of_networks_with_matrices(seed, ensemble):
    """Same ensemble, two ways: moments of the last layer, of the layer kernel, and across layers, agree."""
    rng = np.random.default_rng(seed)
    law, first = ("haar", "gaussian") if ensemble == "mixed" else (ensemble, None)
    n, depth, count, act = 6, 4, 30_000, activation("tanh")
    x = np.full(n, 1.2)
    z, dense = x, []
    for layer, w in enumerate(networks(law, [n] * (depth + 1), count, rng, 1.3, first)):
        z = np.einsum("rij,j->ri", w, z) if layer == 0 else np.einsum("rij,rj->ri", w, act.f(z))
        dense.append(z)
    quick = list(preactivations(law, "tanh", rng.standard_normal((count, depth, n)), 1.3 * 1.2**2, 1.3, first=first))

    def moments(layers):
        last, before = layers[-1], layers[1]
        k, k_before = (last**2).mean(1), (before**2).mean(1)
        columns = [k, k**2, k**3, k * k_before, last[:, 0] ** 2 * last[:, 1] ** 2, last[:, 0] ** 4, layers[0][:, 0] ** 4]
        return np.stack(columns, 1)

    a, b = moments(dense), moments(quick)
    spread = np.sqrt(a.var(0, ddof=1) / count + b.var(0, ddof=1) / count)
    assert (np.abs(a.mean(0) - b.mean(0)) < ALARM * spread + 1e-12).all()
    other = list(
        preactivations("gaussian" if law == "haar" else "haar", "tanh", rng.standard_normal((count, depth, n)), 1.872, 1.3)
    )
    gap = np.abs(a.mean(0) - moments(other).mean(0))
    assert (gap > ALARM * spread).any()


def test_biases_are_added_once_a_layer_with_their_variance(seed):
    rng = np.random.default_rng(seed)
    found = two_point("gaussian", "gelu", 300, 5, 4000, rng, 2.0, 1.5, 0.4)["K"]
    predicted = theory.kernels(theory.ACTIVATIONS["gelu"], 2.0, 5, 1.5, 0.4)
    assert (np.abs(found.mean(0) - predicted) < ALARM * found.std(0) / np.sqrt(4000) + 0.01 * predicted).all()
    without = theory.kernels(theory.ACTIVATIONS["gelu"], 2.0, 5, 1.5)
    assert (np.abs(found.mean(0) - without)[1:] > 0.1).all()


def test_linear_networks_take_their_exact_vertex_at_a_width_used_nowhere_else(seed):
    rng = np.random.default_rng(seed)
    n, depth = 23, 4
    for ensemble, other in (("gaussian", "haar"), ("haar", "gaussian")):
        samples = normalised("V", two_point(ensemble, "linear", n, depth, 40_000, rng, 0.7), n)
        law, rival = (fluctuations.vertex_scale_invariant(2.0, n, depth, e) for e in (ensemble, other))
        distance = np.abs(samples.mean(0) - law) / np.maximum(samples.std(0, ddof=1) / 200, 1e-12)
        assert (distance < ALARM).all()
        assert (np.abs(samples.mean(0) - rival) > ALARM * samples.std(0) / 200).all()


def test_a_swapped_ensemble_fails_the_claims(seed):
    rng = np.random.default_rng(seed)
    tanh = theory.ACTIVATIONS["tanh"]
    law = {e: fluctuations.vertex(tanh, 1.0, 8, e) for e in ("gaussian", "haar")}
    for id_, own, other in (("DAY-1a", "gaussian", "haar"), ("DAY-1b", "haar", "gaussian")):
        for drawn, verdict in ((own, "holds"), (other, "fails")):
            samples = normalised("V", two_point(drawn, "tanh", 200, 8, 4000, rng), 200)
            assert claims.equal(id_, samples[:, 1:], law[own][1:], law[other][1:]).verdict == verdict


def test_the_standard_error_of_a_normalised_vertex_is_right():
    """Spread over repeats of the whole estimate against the standard error that one repeat reports."""
    rng = np.random.default_rng(3)
    repeats = [normalised("V", two_point("gaussian", "tanh", 10, 3, 300, rng), 10)[:, -1] for _ in range(300)]
    reported = np.mean([samples.std(ddof=1) / np.sqrt(300) for samples in repeats])
    assert np.std([samples.mean() for samples in repeats]) == pytest.approx(reported, rel=0.2)


def test_numbers_do_not_depend_on_the_chunk():
    one = two_point("haar", "tanh", 12, 5, 100, np.random.default_rng(7))
    budget, orthogonal.BUDGET = orthogonal.BUDGET, 64 * 5 * 12 * 9
    try:
        two = two_point("haar", "tanh", 12, 5, 100, np.random.default_rng(7))
    finally:
        orthogonal.BUDGET = budget
    assert np.array_equal(one["V"], two["V"])
    rng, parts = np.random.default_rng(7), np.random.default_rng(7)
    whole = networks("haar", [3, 4, 4, 2], 5, rng, 1.0, rectangular="semi-orthogonal")
    first, rest = (networks("haar", [3, 4, 4, 2], k, parts, 1.0, rectangular="semi-orthogonal") for k in (2, 3))
    for a, b, c in zip(whole, first, rest, strict=True):
        assert np.array_equal(a, np.concatenate([b, c]))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"n": 1}, ValueError, "width must be at least 2.*got 1"),
        ({"depth": 0}, ValueError, "depth must be at least 1; got 0"),
        ({"networks": 1}, ValueError, "at least 2 networks.*got 1"),
        ({"n": 1000, "dtype": np.float32}, ValueError, "cancellation.*float32; use float64"),
        ({"networks": 10**12}, MemoryError, "GiB must fit into .*got 1000000000000 networks"),
        ({"ensemble": "uniform"}, ValueError, "must be gaussian or haar; got 'uniform'"),
        ({"first": "mixed0"}, ValueError, "must be gaussian or haar; got 'haar' and first='mixed0'"),
        ({"name": "step"}, ValueError, "activation: must be one of .*got 'step'"),
    ],
)
def test_an_ensemble_that_cannot_be_measured_is_refused_in_one_sentence(change, error, sentence):
    settings = {"ensemble": "haar", "name": "tanh", "n": 20, "depth": 3, "networks": 50, "rng": np.random.default_rng(0)} | change
    with pytest.raises(error, match=sentence) as raised:
        two_point(**settings)
    assert "\n" not in str(raised.value)


def test_a_rectangular_haar_layer_needs_its_rule():
    with pytest.raises(ValueError, match="needs rectangular='semi-orthogonal'; got 4 × 6 and None"):
        weights("haar", np.zeros((4, 6)), 1.0)
    with pytest.raises(ValueError, match="semi-orthogonal"):
        networks("haar", [6, 4, 4, 4], 2, np.random.default_rng(0), 1.0)
    assert networks("haar", [6, 4, 4, 4], 2, np.random.default_rng(0), 1.0, first="gaussian")[0].shape == (2, 4, 6)


def test_networks_without_layers_or_neurons_are_refused_and_one_neuron_is_none():
    for widths in ([4], [4, 0, 0, 0]):
        with pytest.raises(
            ValueError, match=rf"needs at least one layer and one neuron in each; got widths {re.escape(str(widths))}"
        ):
            networks("gaussian", widths, 2, np.random.default_rng(0))
    signs = networks("haar", [1] * 4, 50, np.random.default_rng(0))  # O(1) is a coin
    assert all(set(np.unique(w)) == {-1.0, 1.0} for w in signs)


def test_biases_are_not_forgotten_in_silence():
    with pytest.raises(ValueError, match="biases of variance C_b need their own.*got C_b = 0.2"):
        next(preactivations("gaussian", "gelu", np.ones((2, 3, 4)), 1.0, 1.0, 0.2))


def test_float32_is_accepted_where_the_signal_stands_above_rounding():
    single, double = (
        normalised("V", two_point("haar", "linear", 20, 3, 4000, np.random.default_rng(2), dtype=dtype), 20).mean(0)
        for dtype in (np.float32, np.float64)
    )
    assert np.allclose(double, -2 * 20 / 22, atol=0.1)
    assert np.allclose(single, -2 * 20 / 22, atol=0.1)
