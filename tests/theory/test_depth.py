"""Linear networks, angles and skips: matrices, known constants, a second derivation."""

import numpy as np
import pytest

from collapse_utils.initialisation.correlators import normalised
from collapse_utils.initialisation.propagation import skip_two_point
from collapse_utils.theory import criticality as signal, depth as law, fluctuations

ALARM = 5.5


def test_moments_of_linear_networks_with_matrices(seed):
    rng = np.random.default_rng(seed)
    n, layers, count = 12, 3, 60_000
    z = np.ones((count, n))
    for _ in range(layers):
        z = np.matmul(rng.standard_normal((count, n, n)) / np.sqrt(n), z[..., None])[..., 0]
    noise = lambda y: y.std(ddof=1) / np.sqrt(count)  # noqa: E731
    for m, odd in ((2, 3), (3, 15)):
        moment = (z ** (2 * m) / odd).mean(1)
        assert abs(moment.mean() - law.linear_moment(m, n, layers)) < ALARM * noise(moment)
        assert abs(moment.mean() - 1) > ALARM * noise(moment)
    square = ((z**2).mean(1) - 1) ** 2
    assert abs(square.mean() - law.norm_variance(n, layers)) < ALARM * noise(square)


def test_moments_and_their_limits():
    assert law.linear_moment(2, 10, 6) == pytest.approx(2.48832)
    assert law.linear_moment(3, 50, 20) == pytest.approx((1 + 6 / 50 + 8 / 2500) ** 19)
    assert law.linear_moment(3, 1e8, 1e7 + 1) == pytest.approx(np.exp(0.6), rel=1e-6)
    assert law.linear_moment(1, 10, 6) == 1
    n = np.array([5, 50, 500])
    assert np.allclose(law.norm_variance(n, 7), (1 + 2 / n) ** 7 - 1)
    exact = [1 + fluctuations.vertex_scale_invariant(2.0, k, 9, "gaussian")[-1] / k for k in n]
    assert np.allclose(law.linear_moment(2, n, 9), exact)


def test_the_angle_map_is_the_arc_cosine_kernel():
    psi = np.linspace(0.01, 3.1, 50)
    plain = np.arccos((np.sin(psi) + (np.pi - psi) * np.cos(psi)) / np.pi)
    assert np.allclose(law.angle(psi, 2)[1], plain, atol=1e-9)
    z = np.random.default_rng(0).standard_normal((2, 400_000))
    other = np.cos(0.7) * z[0] + np.sin(0.7) * z[1]
    relu = np.maximum(z[0], 0) * np.maximum(other, 0) * 2
    assert np.cos(law.angle(0.7, 2)[1]) == pytest.approx(relu.mean(), abs=0.02)
    assert law.angle([0.1, 1.0, 3.0], 5000)[-1] * 5000 == pytest.approx(3 * np.pi, rel=0.02)


def test_skips_at_their_ends():
    for name, nu in (("linear", 2.0), ("relu", 5.0)):
        act = signal.ACTIVATIONS[name]
        c_w = signal.critical(act).c_w
        assert np.allclose(law.skip_vertex(act.f, 0.0, c_w, 1.3, 9), fluctuations.vertex(act, 1.3, 9, "gaussian"))
        assert law.skip_slope(nu, 0.0) == nu
        assert law.skip_slope(nu, 1.0) == 0
        for gamma in (0.3, 0.8):
            path = law.skip_vertex(act.f, gamma, c_w * (1 - gamma**2), 1.3, 9)
            assert np.allclose(np.diff(path), law.skip_slope(nu, gamma))
    tanh = law.skip_vertex(np.tanh, 0.0, 1.0, 1.0, 30)
    assert np.allclose(tanh, fluctuations.vertex(signal.ACTIVATIONS["tanh"], 1.0, 30, "gaussian"))
    late = np.diff(law.skip_vertex(np.tanh, 0.5**0.5, 0.5, 1.0, 4000))[-1]
    assert late == pytest.approx(2 / 3 * (1 - 0.25), rel=0.01)


@pytest.mark.parametrize("gamma", [0.5, 0.8])
def test_the_third_correlator_of_relu_with_skips(seed, gamma):
    """Late slope: ν(γ) + 16/π γ(1 + γ)(1 − γ²); and simulated networks at parameters of their own reject ν(γ) alone."""
    relu = lambda z: np.maximum(z, 0)  # noqa: E731
    c_w = 2 * (1 - gamma**2)
    path = law.skip_vertex(relu, gamma, c_w, 1.0, 400, odd=False)
    assert np.diff(path)[-1] == pytest.approx(
        law.skip_slope(5.0, gamma) + 16 / np.pi * gamma * (1 + gamma) * (1 - gamma**2), rel=1e-6
    )
    rng, n, layers, count = np.random.default_rng(seed), 400, 7, 4000
    samples = normalised("V", skip_two_point(relu, n, gamma, c_w, layers, count, rng), n)[:, -1]
    slack = ALARM * samples.std(ddof=1) / np.sqrt(count) + path[layers - 1] ** 2 / n
    assert abs(samples.mean() - path[layers - 1]) < slack
    assert abs(samples.mean() - law.skip_vertex(relu, gamma, c_w, 1.0, layers)[-1]) > slack


def test_the_sampler_with_skips_has_the_law_of_networks_with_matrices(seed):
    rng = np.random.default_rng(seed)
    n, layers, gamma, c_w, count = 6, 3, 0.6, 1.2, 30_000
    z = rng.standard_normal((count, n))
    for _ in range(layers - 1):
        w = np.sqrt(c_w / n) * rng.standard_normal((count, n, n))
        z = gamma * z + np.matmul(w, np.tanh(z)[..., None])[..., 0]
    dense = np.stack([(z**2).mean(1), (z[:, 0] * z[:, 1]) ** 2, (z**2).mean(1) ** 2], 1)
    for skip in (gamma, 0.0):
        found = skip_two_point(np.tanh, n, skip, c_w, layers, count, rng)
        quick = np.stack([found["K"][:, -1], found["V"][:, -1], found["K"][:, -1] ** 2], 1)
        apart = np.abs(dense.mean(0) - quick.mean(0)) / np.sqrt((dense.var(0) + quick.var(0)) / count)
        assert (apart < ALARM).all() == (skip == gamma)
