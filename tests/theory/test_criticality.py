"""Kernels, NTK and vertices of deep networks: identities, printed constants, plain quadrature, simulated chains."""

import numpy as np
import pytest
from scipy.integrate import quad

from collapse_utils.theory import criticality as theory, fluctuations

A = theory.ACTIVATIONS


def chain(act, k1, n, depth, networks, rng, ensemble, c_w):
    """z (depth, networks, n), layer by layer from independent columns of weights: a simulation that knows no theory."""
    size2, layers = np.full(networks, n * k1), []
    for _ in range(depth):
        g = rng.standard_normal((networks, n))
        g *= np.sqrt(size2 / (n if ensemble == "gaussian" else (g**2).sum(1)))[:, None]
        layers.append(g)
        size2 = c_w * (act.f(g) ** 2).sum(1)
    return np.array(layers)


@pytest.mark.parametrize("name", sorted(A))
@pytest.mark.parametrize("k", [0.01, 1.0, 30.0])
def test_averages_are_those_of_adaptive_quadrature(name, k):
    for f in (lambda z: A[name].f(z) ** 2, lambda z: A[name].slope(z) ** 2):
        density = lambda u, f=f: f(np.sqrt(k) * u) * np.exp(-u * u / 2) / np.sqrt(2 * np.pi)  # noqa: E731
        plain = sum(quad(density, a, b, epsabs=1e-14, epsrel=1e-12)[0] for a, b in ((-14, -3), (-3, 0), (0, 3), (3, 14)))
        assert theory.average(f, k) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("name", sorted(A))
def test_slopes_and_susceptibilities_are_derivatives(name):
    z, k, eps = np.linspace(-4, 4, 50), np.array([0.3, 2.0, 9.0]), 1e-5
    assert np.allclose(A[name].slope(z), (A[name].f(z + eps) - A[name].f(z - eps)) / (2 * eps), atol=1e-8)
    slope = (theory.kernel_map(A[name], k * (1 + eps), 1.3) - theory.kernel_map(A[name], k * (1 - eps), 1.3)) / (2 * eps * k)
    assert np.allclose(theory.chi_parallel(A[name], k, 1.3), slope, rtol=1e-6)
    steep = theory.Activation("stretched", lambda z: A[name].f(np.sqrt(7) * z), A[name].slope)
    assert theory.susceptibility_ratio(A[name], 7.0) == pytest.approx(
        7 * theory.average(lambda z: A[name].slope(np.sqrt(7) * z) ** 2, 1.0) / theory.chi_parallel(steep, 1.0, 1.0), rel=1e-9
    )


def test_critical_points_are_the_printed_ones_and_are_critical():
    printed = {
        "linear": (0, 1),
        "relu": (0, 2),
        "tanh": (0, 1, 0),
        "sin": (0, 1, 0),
        "gelu": (0.17292239, 1.98305826, 3.5615528),
        "swish": (0.55514317, 1.98800468, 14.3201736),
    }
    for name, expected in printed.items():
        point = theory.critical(A[name])
        assert (point.c_b, point.c_w, point.k)[: len(expected)] == pytest.approx(expected, rel=5e-8, abs=1e-12)
        k = point.k if point.k > 0 else 1e-7
        tolerance = 1e-9 if point.k > 0 else 1e-5
        assert theory.chi_perp(A[name], k, point.c_w) == pytest.approx(1, abs=tolerance)
        assert theory.chi_parallel(A[name], k, point.c_w) == pytest.approx(1, abs=tolerance)
        assert theory.kernel_map(A[name], k, point.c_w, point.c_b) == pytest.approx(k, rel=tolerance)


@pytest.mark.parametrize("a", [0.0, 0.1, 0.7])
def test_leaky_relu_of_any_slope_is_scale_invariant(a):
    leaky = theory.Activation("leaky", lambda z: np.where(z > 0, z, a * z), lambda z: np.where(z > 0, 1.0, a))
    point = theory.critical(leaky)
    assert (point.kind, point.c_b) == ("scale-invariant", 0)
    assert point.c_w == pytest.approx(2 / (1 + a**2))
    assert fluctuations.spread(leaky) == pytest.approx(6 * (1 + a**4) / (1 + a**2) ** 2 - 1)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "square"])
def test_an_activation_without_a_critical_point_is_refused(name):
    with pytest.raises(ValueError, match=f"critical: .*got '{name}'"):
        theory.critical(A[name])


@pytest.mark.parametrize(("name", "a1"), [("tanh", -2.0), ("sin", -1.0)])
def test_the_decay_coefficient_is_that_of_the_iterated_map(name, a1):
    assert theory.decay(A[name]) == pytest.approx(a1, rel=1e-4)
    path = theory.kernels(A[name], 0.7, 3000, 1.0)
    assert 3000 * path[-1] == pytest.approx(-1 / a1, rel=0.005)
    square = theory.Activation("z + z²", lambda z: z + z**2, lambda z: 1 + 2 * z)
    assert theory.decay(square) == pytest.approx(0.75 * 2**2, rel=1e-4)  # a₁ = ¾(σ₂/σ₁)², σ₂ = 2


def test_the_exact_law_of_a_scale_invariant_network_contains_both_orders():
    for name in ("linear", "relu"):
        for ensemble in ("gaussian", "haar"):
            nu = fluctuations.spread(A[name])
            wide = fluctuations.vertex_scale_invariant(nu, 1e7, 9, ensemble)
            assert np.allclose(fluctuations.vertex(A[name], 3.0, 9, ensemble), wide, atol=1e-4)
            gap = [
                fluctuations.vertex_next(A[name], 3.0, n, 9, ensemble) - fluctuations.vertex_scale_invariant(nu, n, 9, ensemble)
                for n in (500, 1000)
            ]
            assert (np.abs(gap[0]) <= 4.2 * np.abs(gap[1]) + 1e-10).all()  # what is left is of second order in 1/n
            assert (np.abs(gap[0]) >= 3.8 * np.abs(gap[1]) - 1e-10).all()


def test_the_ensembles_differ_by_the_source_and_the_start_only():
    gaussian, haar = (fluctuations.vertex(A["tanh"], 0.4, 50, e) for e in ("gaussian", "haar"))
    mixed = fluctuations.vertex(A["tanh"], 0.4, 50, "haar", first="gaussian")
    assert (gaussian[0], haar[0], mixed[0]) == (0, -2, 0)
    assert abs(mixed[-1] - haar[-1]) < 0.01
    assert haar[-1] == pytest.approx(-2, abs=0.06)
    assert gaussian[-1] - gaussian[-2] == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize("ensemble", ["gaussian", "haar"])
@pytest.mark.parametrize("name", ["tanh", "swish", "gelu"])
def test_simulated_vertices_follow_the_recursion_at_a_width_and_depth_of_their_own(seed, name, ensemble):
    rng = np.random.default_rng(seed)
    n, depth, k1, c_w = int(rng.integers(70, 110)), int(rng.integers(3, 6)), rng.uniform(0.5, 2), rng.uniform(0.9, 1.6)
    z2 = chain(A[name], k1, n, depth, 6000, rng, ensemble, c_w)[-1] ** 2
    k = z2.mean()
    four = (z2.sum(1) ** 2 - (z2**2).sum(1)) / (n * (n - 1))
    samples = n * (four / k**2 - 1 - 2 * (z2.mean(1) / k - 1))
    law, rival = (
        fluctuations.vertex(A[name], k1, depth, e, c_w=c_w)[-1]
        for e in (ensemble, {"haar": "gaussian", "gaussian": "haar"}[ensemble])
    )
    order = 2 * (depth + 4) * (2 + abs(law)) / n  # the next order in 1/n
    noise = samples.std() / np.sqrt(len(samples))
    assert abs(samples.mean() - law) < 5.5 * noise + order
    assert abs(samples.mean() - rival) > 5.5 * noise + order


@pytest.mark.parametrize("ensemble", ["gaussian", "haar"])
@pytest.mark.parametrize("name", ["gelu", "tanh"])
def test_biases_enter_the_vertex_by_the_kernel_alone(seed, name, ensemble):
    """Simulated with biases from the second layer on; the recursion without them, another kernel, is rejected."""
    rng = np.random.default_rng([seed, 5])
    n, depth, networks, k1, c_w, c_b = 150, 4, 12_000, 1.5, 1.6, 1.2
    g = rng.standard_normal((networks, n))
    z = np.sqrt(k1) * (g if ensemble == "gaussian" else g * np.sqrt(n / (g**2).sum(1))[:, None])
    for _ in range(depth - 1):
        g, size2 = rng.standard_normal((networks, n)), c_w * (A[name].f(z) ** 2).sum(1)
        z = g * np.sqrt(size2 / (n if ensemble == "gaussian" else (g**2).sum(1)))[:, None]
        z += np.sqrt(c_b) * rng.standard_normal((networks, n))
    z2 = z**2
    k, four = z2.mean(), (z2.sum(1) ** 2 - (z2**2).sum(1)) / (n * (n - 1))
    samples = n * (four / k**2 - 1 - 2 * (z2.mean(1) / k - 1))
    law, without = (fluctuations.vertex(A[name], k1, depth, ensemble, None, c_w, b)[-1] for b in (c_b, 0.0))
    slack = 5.5 * samples.std() / np.sqrt(networks) + 2 * depth * (1 + abs(law)) / n
    assert abs(samples.mean() - law) < slack
    other = fluctuations.vertex(A[name], k1, depth, {"haar": "gaussian", "gaussian": "haar"}[ensemble], None, c_w, c_b)[-1]
    assert abs(samples.mean() - other) > slack
    assert abs(law - without) > 0.1


@pytest.mark.parametrize("ensemble", ["gaussian", "haar"])
def test_the_next_order_of_a_narrow_network(seed, ensemble):
    rng = np.random.default_rng(seed)
    n, depth, networks = 24, 4, 60_000
    z2 = chain(A["tanh"], 0.8, n, depth, networks, rng, ensemble, 1.0)[-1] ** 2
    k = z2.mean()
    four = (z2.sum(1) ** 2 - (z2**2).sum(1)) / (n * (n - 1))
    samples = n * (four / k**2 - 1 - 2 * (z2.mean(1) / k - 1))
    noise = samples.std() / np.sqrt(networks)
    law, next_law = (
        fluctuations.vertex(A["tanh"], 0.8, depth, ensemble)[-1],
        fluctuations.vertex_next(A["tanh"], 0.8, n, depth, ensemble)[-1],
    )
    assert abs(samples.mean() - next_law) < 5.5 * noise + 10 * (1 + abs(law)) / n**2
    if ensemble == "haar":
        assert abs(samples.mean() - law) > 5.5 * noise


def test_the_mean_ntk_at_its_known_ends():
    layers = np.arange(1, 41)
    relu = fluctuations.tangent(A["relu"], 1.7, np.full(40, 0.3), 0.9, "gaussian")["H"]
    assert np.allclose(relu, layers * (0.3 + 0.9 * 0.5 * 1.7))
    tanh = fluctuations.tangent(A["tanh"], 1.0, 0.8 / np.arange(1, 4001), 1.4, "haar")["H"]
    assert tanh[-1] == pytest.approx(0.8 + 1.4 / 2, rel=0.003)


def test_a_linear_haar_network_has_no_kernel_fluctuation():
    found = fluctuations.tangent(A["linear"], 1.3, np.ones(12), 1.0, "haar")
    assert np.allclose(found["B"], 0)
    assert np.allclose(found["F"], 0)
    assert np.allclose(found["V"], fluctuations.vertex(A["linear"], 1.3, 12, "haar"))
    assert np.allclose(found["H"], np.arange(1, 13) * (1 + 1.3))
    gaussian = fluctuations.tangent(A["linear"], 1.0, np.zeros(12), 1.0, "gaussian")
    assert np.allclose(gaussian["B"] * np.arange(1, 13) ** 2, np.cumsum(np.arange(12) ** 2))


def test_relu_under_haar_weights_has_half_the_gaussian_b():
    gaussian, haar = (fluctuations.tangent(A["relu"], 2.0, np.ones(20), 1.0, e)["B"] for e in ("gaussian", "haar"))
    assert np.allclose(haar, gaussian / 2)


def test_half_stable_activations_grow_under_both_ensembles():
    for name, slopes in (("gelu", (4.904, 3.094)), ("swish", (4.923, 3.076))):
        p = theory.critical(A[name])
        for ensemble, slope in zip(("gaussian", "haar"), slopes, strict=True):
            assert np.allclose(np.diff(fluctuations.vertex(A[name], p.k, 40, ensemble, None, p.c_w, p.c_b)), slope, atol=2e-3)


def test_far_values_of_the_tangent_tensors():
    found = {e: fluctuations.tangent(A["tanh"], 1.0, 1 / np.arange(1, 3001), 1.0, e) for e in ("gaussian", "haar")}
    slope = {q: np.diff(found["gaussian"][q])[-1] for q in "VBF"}
    assert slope == pytest.approx({"V": 2 / 3, "B": 1 / 3, "F": 1 / 4}, rel=0.01)
    haar = {q: found["haar"][q][-1] for q in "VABDF"}
    assert haar == pytest.approx({"V": -2, "A": 0, "B": 0, "D": 0, "F": -2 / 3}, abs=0.005)
    assert 3000 * haar["B"] == pytest.approx(2, rel=0.05)
