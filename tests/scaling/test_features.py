"""Random features without features: the reduced draws against the model with every matrix drawn, students against their laws."""

import numpy as np
import pytest

from collapse_utils import feedback_loop, follow
from collapse_utils.regimes import accumulate, replace
from collapse_utils.scaling import features
from collapse_utils.theory import scaling_laws as law


def far(samples, predicted):
    """Distance of the mean from the prediction, in standard errors."""
    return (samples.mean(axis=0) - predicted) / (samples.std(axis=0, ddof=1) / np.sqrt(len(samples)))


def in_full(lam, n, t, penalty, rng):
    """Signal and noise part of one model: rows and features drawn."""
    m = len(lam)
    x, u = np.sqrt(lam) * rng.standard_normal((t, m)), rng.standard_normal((n, m)) / np.sqrt(m)
    back = u.T @ np.linalg.solve(u @ x.T @ x @ u.T + penalty * np.eye(n), u @ x.T)
    signal = ((np.sqrt(lam)[:, None] * (np.eye(m) - back @ x)) ** 2).sum() / (2 * m)
    return signal, ((np.sqrt(lam)[:, None] * back) ** 2).sum() / 2


@pytest.mark.parametrize(("n", "t", "penalty"), [(8, 20, 0.0), (8, 20, 0.02), (20, 8, 0.02), (12, 12, 0.05)])
def test_reduced_draws_follow_the_law_of_the_whole_model(n, t, penalty, seed):
    rng, lam = np.random.default_rng(seed), law.spectrum(40, 1.0)
    whole = np.array([in_full(lam, n, t, penalty, rng) for _ in range(1500)])
    ours = np.array([features.losses(lam, n, t, [penalty], rng)[:, 0] for _ in range(1500)])
    spread = np.sqrt(whole.var(axis=0) / 1500 + ours.var(axis=0) / 1500)
    assert (np.abs(whole.mean(axis=0) - ours.mean(axis=0)) < 6 * spread).all()
    assert (np.abs(whole.mean(axis=0) - ours.mean(axis=0)[::-1]) > 6 * spread).all()


def test_without_ridge_the_ratio_of_whole_numbers_is_exact(seed):
    rng, lam = np.random.default_rng(seed), law.spectrum(60, 0.7)
    alone = np.array([features.unlearned(lam, 10, rng)[-1] for _ in range(3000)]) / 120
    both = np.array([features.losses(lam, 17, 10, [0.0], rng)[0, 0] for _ in range(3000)])
    assert abs(far(both, law.finite(17, 10) * alone.mean())) < 6
    assert abs(far(both, alone.mean() / (1 - 10 / 17))) > 6


def fits(students, lam, rows, mix, count, rng, replicates):
    truth = rng.standard_normal((replicates, len(lam))) / np.sqrt(len(lam))
    loop = feedback_loop(students.fit, features.Student(students, truth).sample(rows, rng), mix, rng)
    return follow(loop, lambda g: ((g.model.w - truth) ** 2 @ lam) / 2, count)


@pytest.mark.parametrize("n_features", [np.inf, 90])
def test_a_chain_of_students_follows_its_recursion(n_features, seed):
    rng, lam, r = np.random.default_rng(seed), law.spectrum(300, 1.0), 300
    students = features.Students(lam, r, features=n_features)
    losses = fits(students, lam, 40, replace, 4, rng, r)
    predicted = law.chain(lam, 40, 4, n_features)
    error = losses.std(axis=0) / np.sqrt(r)
    assert (np.abs(losses.mean(axis=0) - predicted) < 5 * error + 0.04 * predicted).all()
    other = law.chain(lam, 40, 4, 90 if np.isinf(n_features) else np.inf)
    assert (np.abs(losses.mean(axis=0) - other) > 5 * error + 0.04 * other).any()


def test_features_integrated_out_are_features_drawn(seed):
    """One interpolator with 30 features of its own: the mean loss with U drawn, and with one chi-squared number."""
    rng, lam, rows, r = np.random.default_rng(seed), law.spectrum(50, 1.0), 12, 3000
    ours = fits(features.Students(lam, r, features=30), lam, rows, replace, 1, rng, r)[:, 0]
    assert abs(far(np.array([in_full(lam, 30, rows, 1e-9, rng)[0] for _ in range(600)]), ours.mean())) < 6


def test_accumulating_noise_free_labels_moves_nothing(seed):
    rng, lam = np.random.default_rng(seed), law.spectrum(200, 1.0)
    students = features.Students(lam, 3)
    losses = fits(students, lam, 15, accumulate, 5, rng, 3)
    np.testing.assert_allclose(losses, losses[:, :1] * np.ones(5), rtol=1e-9)


def test_fixed_features_leave_what_they_cannot_say(seed):
    rng, lam = np.random.default_rng(seed), law.spectrum(120, 1.0)
    values, best, rest = features.projected(lam, 20, 400, rng, chunk=50)
    assert values.shape == best.shape == (400, 20)
    assert abs(far(rest / 2, law.chain(lam, 20, 1)[0])) < 8
    power = (values * best**2).sum(axis=1) + rest
    assert abs(far(power, lam.sum() / 120)) < 6


def test_noise_and_what_is_unresolved_are_in_the_labels(seed):
    rng = np.random.default_rng(seed)
    students = features.Students(np.ones(3), 2, noise=0.3)
    teacher = features.Student(students, np.zeros((2, 3)), np.array([0.0, 4.0]))
    _, y = teacher.sample(40_000, rng).rows
    np.testing.assert_allclose(y.var(axis=0), [0.09, 4.09], rtol=0.05)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda lam, rng: features.losses(lam, 60, 20, [0.0], rng), r"at most the 50 latents; got \(60, 20\)"),
        (lambda lam, rng: features.losses(lam, 20, 10, [-1.0], rng), "penalty must be at least 0; got -1"),
        (lambda lam, rng: features.unlearned(lam, 51, rng), "between 1 and the 50 latents; got 51"),
        (lambda lam, rng: features.projected(lam, 51, 1, rng), "at most the 50 latents; got 51"),
        (lambda lam, rng: fits(features.Students(lam, 2, penalty=-0.1), lam, 5, replace, 1, rng, 2), "at least 0; got -0.1"),
        (lambda lam, rng: fits(features.Students(lam, 2, features=5), lam, 5, replace, 1, rng, 2), "exceed the 5 rows.*got 5"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, says):
    with pytest.raises(ValueError, match=f"^features: .*{says}"):
        call(law.spectrum(50, 1.0), np.random.default_rng(0))
