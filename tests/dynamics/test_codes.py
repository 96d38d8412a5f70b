"""The search for codes against gradients, quadratic programs and what is known of the best ones."""

import numpy as np
import pytest
from scipy.optimize import minimize

from collapse_utils.dynamics import codes
from collapse_utils.theory import neural_collapse as law


def test_the_gradient_is_that_of_the_loss(seed):
    rng = np.random.default_rng(seed)
    w, h = codes.starts(3, 5, 4, rng)
    x = np.concatenate([w, h], axis=1)
    value, slope = codes._value(x, 0.3, 1.0)
    assert np.allclose(value, 0.3 * np.log(codes.loss(w, h, 0.3)))
    step = rng.standard_normal(x.shape)
    step -= (step * x).sum(axis=-1, keepdims=True) * x
    ahead, behind = (codes._value(codes._unit(x + s * 1e-5 * step), 0.3, 1.0)[0] for s in (1, -1))
    assert np.allclose((ahead - behind) / 2e-5, (slope * step).sum(axis=(1, 2)), atol=1e-8)


def test_starts_that_are_searched_together_end_as_they_do_alone(seed):
    w, h = codes.starts(6, 5, 3, np.random.default_rng(seed))
    together = codes.descend(w, h, 0.2)
    for i in range(6):
        alone = codes.descend(w[i : i + 1], h[i : i + 1], 0.2)
        assert np.allclose(codes.loss(*alone, 0.2), codes.loss(*together, 0.2)[i], rtol=1e-6)


def test_no_other_minimiser_does_better(seed):
    w, h = codes.starts(12, 6, 4, np.random.default_rng(seed))
    ours = codes.loss(*codes.descend(w, h, 0.4), 0.4).min()

    def free(v):
        parts = codes._unit(v.reshape(2, 1, 6, 4))
        return codes.loss(parts[0], parts[1], 0.4)[0]

    theirs = min(minimize(free, np.stack([w[i], h[i]]).ravel()).fun for i in range(3))
    assert ours <= theirs + 1e-6
    assert ours == pytest.approx(law.simplices_loss((2, 4), 0.4), abs=1e-9)


def test_weights_that_are_held_stay(seed):
    w, h = codes.starts(2, 5, 3, np.random.default_rng(seed))
    kept, moved = codes.descend(w, h, 0.3, held=True)
    assert np.allclose(kept, w)
    assert (codes.loss(kept, moved, 0.3) < codes.loss(w, h, 0.3)).all()


def test_the_margin_is_a_distance_to_a_hull(seed):
    """Against a quadratic program over the hull's weights; a random code and the solved ones."""
    (w,), _ = codes.starts(1, 7, 3, np.random.default_rng(seed))

    def distance(k):
        rest = np.delete(w, k, axis=0)
        whole = {"type": "eq", "fun": lambda v: v.sum() - 1}
        found = minimize(lambda v: ((v @ rest - w[k]) ** 2).sum(), np.full(6, 1 / 6), bounds=6 * [(0, 1)], constraints=[whole])
        return found.fun**0.5

    assert codes.margin(w) == pytest.approx(min(map(distance, range(7))), abs=1e-3)
    angles = 2 * np.pi * np.arange(7) / 7
    assert codes.margin(np.column_stack([np.cos(angles), np.sin(angles)])) == pytest.approx(law.best_margin(7, 2))


def test_a_weight_within_the_hull_has_no_margin():
    assert codes.margin(np.array([[1.0, 0], [1.0, 0], [-1.0, 0]])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("k", "angle"), [(6, 90), (7, 77.8695), (9, 70.5288)])
def test_the_hard_max_problem_is_that_of_packing(seed, k, angle):
    w, h = codes.descend(*codes.starts(20, k, 3, np.random.default_rng(seed)), 0.05, tolerance=1e-5)
    i = codes.loss(w, h, 0.05).argmin()
    packed = codes.hard_max(w[i], h[i])
    assert codes.closest(packed) == pytest.approx(np.cos(np.radians(angle)), abs=1e-4)
    assert codes.margin(packed) >= 1 - codes.closest(packed) - 1e-9


def test_a_code_remembers_its_temperature(seed):
    """Hot codes of seven classes, cooled, stay two even simplices; exchanged with cold ones, heated, they would not."""
    rng, frames = np.random.default_rng(seed), np.array([law.frame(sizes) for sizes in law.families(7, 5)])

    def family(w):
        return np.abs(np.linalg.eigvalsh(w.mT @ w)[:, None] - frames).max(axis=2).argmin(axis=1)

    hot = codes.anneal(*codes.starts(20, 7, 5, rng), [1.2])
    cooled = codes.anneal(*hot, [0.6, 0.4, 0.3])
    cold = codes.descend(*codes.starts(20, 7, 5, rng), 0.15)
    heated = codes.anneal(*cold, [0.4, 0.6, 0.8])
    assert np.mean(family(cooled[0]) == family(hot[0])) == np.mean(family(heated[0]) == family(cold[0])) == 1
    assert family(hot[0]).mean() > 0.5 > family(cold[0]).mean()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda rng: codes.starts(3, 1, 4, rng), "at least 2 classes and 2 dimensions; got 1 and 4"),
        (lambda rng: codes.descend(*codes.starts(3, 4, 3, rng), 0.0), "temperature must be positive; got 0.0"),
    ],
)
def test_bad_input_is_refused(seed, call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(np.random.default_rng(seed))
