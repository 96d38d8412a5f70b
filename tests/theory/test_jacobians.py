"""Laws of the Jacobian against moments of single vectors, whole bases and rows of a loop; limits; bad input."""

import numpy as np
import pytest

from collapse_utils.theory import jacobians as law, linear


def gram(rng, c=5):
    j = rng.standard_normal((c, 7)) * np.arange(1, c + 1)[:, None]
    return j @ j.T


def test_variance_of_one_direction_by_quadrature_in_two_dimensions():
    a = np.array([[2.0, 0.3], [0.3, 0.5]])
    angles = np.arange(1000) * np.pi / 1000
    v = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = 2 * np.einsum("ni,ij,nj->n", v, a, v)
    assert found.mean() == pytest.approx(np.trace(a))
    assert law.estimate_variance(a) == pytest.approx(found.var())


def test_variance_of_frames_is_what_draws_say(seed):
    rng, a, draws = np.random.default_rng(seed), gram(np.random.default_rng(seed)), 100_000
    frames = np.linalg.qr(rng.standard_normal((draws, 5, 3)))[0]
    found = 5 / 3 * np.einsum("nik,ij,njk->n", frames, a, frames)
    assert found.var() == pytest.approx(law.estimate_variance(a, 3), rel=0.03)
    assert law.estimate_variance(a, 3, orthonormal=False) > 1.5 * found.var()


def test_whole_bases_and_equal_rows_have_no_variance(seed):
    a = gram(np.random.default_rng(seed))
    assert law.estimate_variance(a, 5) == 0
    assert law.estimate_variance(np.eye(4)) == pytest.approx(0)
    worst = np.diag([1.0, 0, 0, 0])
    assert law.estimate_variance(worst) == pytest.approx(2 * 3 / 6)  # 2(C − 1)/(C + 2)
    for n in (0, 6):
        with pytest.raises(ValueError, match=f"must number 1 to 5, one for each class at most; got {n}"):
            law.estimate_variance(a, n)


def test_norm_without_penalty_is_the_risk_beside_the_truth(seed):
    n, g = np.array([1, 2, 5]), np.linalg.eigvalsh(gram(np.random.default_rng(seed), 4))
    u = (0.3**2 / g).sum()
    np.testing.assert_allclose(law.norm_replace(n, g, 2.0, 0.0, 0.3), 2 + u * linear.replace(n))
    np.testing.assert_allclose(law.norm_accumulate(n, g, 2.0, 0.3), 2 + u * linear.accumulate(n))


def test_norm_with_penalty_by_one_step_after_the_other():
    g, penalty, noise = np.array([2.0, 0.5]), 0.4, 0.7
    second = np.array([0.5, 0.5])  # E w_i² of a random direction of length one
    for n in range(1, 6):
        second = (g**2 * second + noise**2 * g) / (g + penalty) ** 2
        assert law.norm_replace(n, g, 1.0, penalty, noise) == pytest.approx(second.sum())
