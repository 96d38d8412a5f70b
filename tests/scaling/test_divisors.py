"""Greatest common divisors by a transformer: pairs kept apart, labels mixed as said, learning that stops where its teacher does."""

import numpy as np
import pytest
import torch
from scipy.stats import binom

from collapse_utils.scaling.divisors import Encoders, Task, _held_out, learn, mixed

pytestmark = pytest.mark.usefixtures("one_thread")


def test_pairs_to_learn_from_and_to_be_examined_on_never_meet(seed):
    rng, task = np.random.default_rng(seed), Task(base=10, digits=3, largest=30)
    exam, drawn = task.exam(20, rng), task.draw(20_000, rng)
    assert exam.shape == (30, 20, 2)
    assert drawn.shape == (20_000, 2)
    assert (np.gcd(exam[..., 0], exam[..., 1]) == np.arange(1, 31)[:, None]).all()
    assert exam.max() < 1000
    assert _held_out(exam.reshape(-1, 2)).all()
    assert not _held_out(drawn).any()
    divisor = task.correct(drawn)
    assert divisor.max() <= 30
    for k in (1, 2, 5):  # the hash favours no divisor: 6/(π k)², within five standard errors and the finite range
        assert abs((divisor == k).mean() - 6 / (np.pi * k) ** 2) < 0.02


def test_a_task_with_too_few_pairs_is_refused():
    with pytest.raises(ValueError, match=r"too few pairs below 10\*\*1 have the divisor \d+; use more digits"):
        Task(base=10, digits=1, largest=9).exam(5, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"times must ascend by batches of 64 at least; got \[640, 640\]"):
        learn(Task(), Task().correct, [640, 640], np.zeros((100, 1, 2), int), np.random.default_rng(0))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_labels_are_the_teacher_s_with_the_stated_share(share, seed):
    rng, task = np.random.default_rng(seed), Task()
    pairs = task.draw(5000, rng)
    taught = (mixed(task, lambda pairs: np.full(len(pairs), 99), share, rng)(pairs) == 99) & (task.correct(pairs) != 99)
    low, high = binom.ppf([5e-7, 1 - 5e-7], 5000, share)
    assert low - 10 <= taught.sum() <= high + 10


def test_digits_are_read_in_the_base():
    model = Encoders(Task(base=12, digits=3))
    a, b = torch.tensor([[[5 + 12 * 7 + 144 * 2, 11]]]), torch.tensor([[[11, 5 + 12 * 7 + 144 * 2]]])
    assert not torch.allclose(model(a), model(b))  # the places of the two numbers differ
    assert model(a).shape == (1, 1, 101)


def test_each_network_is_the_one_that_torch_builds_of_its_weights():
    task, width = Task(base=7, digits=2, largest=9), 32
    models, pairs = Encoders(task, 2), torch.from_numpy(task.draw(20, np.random.default_rng(0)))
    with torch.no_grad():
        models.flat += torch.randn_like(models.flat) / 10  # biases and norms begin at 0 and 1
    found, w = models(pairs.expand(2, -1, -1)).detach(), models.weights()
    for i in range(2):
        layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        norm, read, attention = torch.nn.LayerNorm(width), torch.nn.Linear(width, 10), layer.self_attn
        own = [(w[name], w[f"{name} bias"]) for name in ("project", "mix", "up", "down", "read")]
        state = [(attention.in_proj_weight, attention.in_proj_bias)]
        state += [(m.weight, m.bias) for m in (attention.out_proj, layer.linear1, layer.linear2, read)]
        with torch.no_grad():
            for (weight, bias), (stacked, biases) in zip(state, own, strict=True):
                weight.copy_(stacked[i].T)
                bias.copy_(biases[i, 0])
            for j, module in enumerate((layer.norm1, layer.norm2, norm)):
                module.weight.copy_(w["scale"][i, j, 0])
                module.bias.copy_(w["shift"][i, j, 0])
        digits = torch.stack([pairs[:, 0] % 7, pairs[:, 0] // 7, pairs[:, 1] % 7, pairs[:, 1] // 7], dim=1)
        x = w["digit"][i, 0][digits] + w["place"][i, :, 0]
        torch.testing.assert_close(found[i], read(norm(layer(x).mean(dim=1))), rtol=1e-4, atol=1e-5)


def test_students_side_by_side_have_their_own_teachers():
    task = Task(base=6, digits=3, largest=12)
    rng = np.random.default_rng(0)
    ones = lambda pairs: np.ones(len(pairs), int)  # noqa: E731
    exam = task.exam(30, rng)
    students = learn(task, mixed(task, ones, [1.0, 0.0], rng), [6400, 19_200], exam, rng, n_students=2)
    assert students.marks.shape == (2, 2, 12)
    assert students.marks[0, -1, 1:].max() == 0.0
    assert students.marks[1, -1, 1] > 0.2  # two
    assert (students(exam[:2])[0] == 1).all()
    assert students(exam[:2]).shape == (2, 30)


def test_a_student_of_a_teacher_that_says_one_learns_one_and_repeats_itself():
    task = Task(base=6, digits=3, largest=12)

    def run():
        rng = np.random.default_rng(0)
        return learn(task, lambda pairs: np.ones(pairs.shape[:-1], int), [6400, 12800], task.exam(30, rng), rng)

    student = run()
    assert (student.marks[0, -1, 0], student.marks[0, -1, 1:].max()) == (1.0, 0.0)
    assert (run().marks == student.marks).all()


def test_correct_answers_teach_divisors_that_the_last_digit_shows():
    task, rng = Task(base=6, digits=3, largest=12), np.random.default_rng(1)
    exam = task.exam(40, rng)
    marks = learn(task, task.correct, [51_200], exam, rng).marks[0, -1]
    assert marks[[0, 1, 2]].min() > 0.8  # one, two and three
    assert marks[[4, 6, 10]].max() < 0.2  # five, seven and eleven
