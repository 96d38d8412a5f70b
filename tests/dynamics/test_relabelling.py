"""Networks in the loop: rows and labels, batches, and labels that follow the softmax."""

import numpy as np
import torch

from collapse_utils import feedback_loop, follow
from collapse_utils.dynamics import mlp, relabelling, softmax
from collapse_utils.regimes import accumulate, replace


def learner(seed, sampled=True):
    starts = mlp.initial(2, [3, 4, 3], np.random.default_rng(seed), "gaussian")
    return relabelling.Learner(starts, 0.5, 30, 6, sampled)


def real(seed):
    rng = np.random.default_rng([seed, 1])
    x = torch.as_tensor(rng.standard_normal((2, 12, 3)), dtype=torch.float32)
    return relabelling.data(x, x.argmax(-1))


def test_rows_come_back_as_tensors(seed):
    x, y = relabelling.tensors(real(seed))
    assert x.shape == (2, 12, 3)
    assert (x.argmax(-1) == y).all()


def test_batches_are_epochs_of_permutations(seed):
    order = relabelling.batches(12, 5, 4, np.random.default_rng(seed))
    assert order.shape == (5, 4)
    assert sorted(order[:3].flatten().tolist()) == list(range(12))


def test_sampled_labels_follow_the_softmax(seed):
    model = learner(seed).fit(real(seed), np.random.default_rng(seed))
    p = softmax.logits(model.networks, relabelling.tensors(real(seed))[0]).softmax(-1).numpy()
    rng, count = np.random.default_rng(seed), 4000
    drawn = np.stack([model.sample(12, rng).rows[1] for _ in range(count)])  # (draws, N, R)
    for k in range(3):
        share, expected = (drawn == k).mean(axis=0).T, p[..., k]
        assert (np.abs(share - expected) < 6 * np.sqrt(expected * (1 - expected) / count) + 1e-3).all()
    likeliest = learner(seed, False).fit(real(seed), np.random.default_rng(seed))
    assert (p.argmax(-1) == likeliest.sample(12, rng).rows[1].T).all()


def test_one_start_and_the_same_inputs_in_every_fit(seed):
    """The loop relabels the real inputs, whether they are kept or not; a fit on the same rows in the same order is the same."""
    for mix, sizes in ((replace, [12, 12, 12]), (accumulate, [12, 24, 36])):
        loop = feedback_loop(learner(seed).fit, real(seed), mix, np.random.default_rng(seed))
        generations = [next(loop) for _ in range(3)]
        assert [len(g.data.rows[0]) for g in generations] == sizes
        assert all((g.data.rows[0][-12:] == real(seed).rows[0]).all() for g in generations)
    again = [learner(seed).fit(real(seed), np.random.default_rng(seed)).networks for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(again[0].weights, again[1].weights))
    losses = follow(
        feedback_loop(learner(seed).fit, real(seed), replace, np.random.default_rng(seed)),
        lambda g: softmax.cross_entropy(g.model.networks, *relabelling.tensors(real(seed))).numpy(),
        2,
    )
    assert losses.shape == (2, 2)
    assert (losses[:, 0] < np.log(3)).all()  # it has learned something
