"""A chain of generators against the errors that it must pile up."""

import numpy as np

from collapse_utils.scaling.chain import generators
from collapse_utils.solvable.linear import FixedDesign, FreshDesign, gaussian


def test_every_generator_adds_one_error_of_least_squares(seed):
    """E‖ŵ_n − w‖² = nσ²d/(T − d − 1) for new rows in every round."""
    r, d, rows, rng = 4000, 5, 30, np.random.default_rng(seed)
    truth = rng.standard_normal((r, d))
    weights = generators(FreshDesign(d, r, gaussian(1.0), gaussian(0.5)), truth, rows, [1, 3, 6], rng)
    errors = ((weights - truth) ** 2).sum(axis=2)  # (3, r)
    law = np.array([1, 3, 6]) * 0.25 * d / (rows - d - 1)
    assert weights.shape == (3, r, d)
    assert (np.abs(errors.mean(axis=1) - law) < 6 * errors.std(axis=1) / np.sqrt(r)).all()


def test_without_noise_a_shared_design_projects_once(seed):
    rng = np.random.default_rng(seed)
    x, truth = rng.standard_normal((2, 4, 6)), rng.standard_normal((2, 6))
    weights = generators(FixedDesign(x, gaussian(0.0)), truth, 4, [1, 5], rng)
    projected = np.einsum("rij,rj->ri", np.linalg.pinv(x) @ x, truth)
    np.testing.assert_allclose(weights, np.stack([projected, projected]), atol=1e-10)
