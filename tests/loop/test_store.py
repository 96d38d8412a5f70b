"""The store: killed at random points and rerun, a loop is bit-identical to one that was left alone."""

import resource
import signal
import time
from itertools import islice

import numpy as np
import pytest

from collapse_utils import feedback_loop
from collapse_utils.regimes import accumulate_subsample
from collapse_utils.store import StoreError, kept, load_arrays, resumable, save_arrays
from tests import support


class Gaussian:
    """A small model with something to lose: its mean, its deviation, and its share of the random stream."""

    delay = 0.0

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    @classmethod
    def fit(cls, data, rng):
        time.sleep(cls.delay)
        return cls(data.mean() + 0.01 * rng.standard_normal(), data.std())

    def sample(self, n, rng):
        time.sleep(self.delay)
        return rng.normal(self.mean, self.std, n)


REAL = np.random.default_rng(1).standard_normal(50)


def run(folder, n=8, settings=None, delay=0.0):
    Gaussian.delay = delay
    rng = np.random.default_rng(3)
    with resumable(
        folder,
        Gaussian.fit,
        settings or {"seed": 3},
        save=lambda model, path: save_arrays((model.mean, model.std), path),
        load=lambda path: Gaussian(*(float(value) for value in load_arrays(path))),
    ) as fit:
        return [(g.model.mean, g.model.std) for g in islice(feedback_loop(fit, REAL, accumulate_subsample, rng), n)]


def plain(n=8):
    rng = np.random.default_rng(3)
    return [(g.model.mean, g.model.std) for g in islice(feedback_loop(Gaussian.fit, REAL, accumulate_subsample, rng), n)]


def test_stored_loop_equals_the_plain_one_first_and_second_time(tmp_path):
    assert run(tmp_path) == plain()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert run(tmp_path) == plain()
    assert run(tmp_path, n=11) == plain(n=11)
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in before.items())


def test_killed_at_random_points_the_rerun_is_bit_identical(tmp_path, seed):
    rng = np.random.default_rng(seed)
    started = []
    for _ in range(6):
        child = support.spawned(run, tmp_path, 8, None, 0.02)
        deadline = time.time() + 20
        already = len(list(tmp_path.glob("0*")))
        while time.time() < deadline and child.is_alive() and len(list(tmp_path.glob("0*"))) <= already:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.06))
        child.kill()
        child.join()
        started.append(len(list(tmp_path.glob("0*"))))
    assert started[-1] > 2  # it did go on from where it stopped
    for step in tmp_path.glob("0*"):
        assert (step / "rng.json").exists()
    assert run(tmp_path) == plain()
    assert not list(tmp_path.glob(".*-partial"))


def test_another_run_a_second_process_and_damage_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(StoreError, match="holds another run"):
        run(tmp_path, settings={"seed": 4})
    with resumable(tmp_path, Gaussian.fit, {"seed": 3}), pytest.raises(StoreError, match="in use by another process"):
        run(tmp_path)
    (tmp_path / "0002-model" / "rng.json").write_text("{")
    with pytest.raises(StoreError, match="0002-model is damaged"):
        run(tmp_path)


def test_a_full_disk_loses_nothing(tmp_path):
    """A file-size limit stands for a full disk: the write fails half-way, the finished steps stay, no partial one does."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    run(tmp_path, n=3)
    done = sorted(path.name for path in tmp_path.glob("0*"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
        with pytest.raises(StoreError, match="cannot write .* finished steps are kept"):
            run(tmp_path, n=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert sorted(path.name for path in tmp_path.glob("0*")) == done
    assert not list(tmp_path.glob(".*-partial"))
    assert run(tmp_path) == plain()


def test_a_disk_without_room_is_refused_before_the_first_fit(tmp_path):
    fitted = []
    run = resumable(tmp_path / "run", lambda data, rng: fitted.append(data), {}, room=10**18)
    with pytest.raises(StoreError, match=r"must have 1e\+09 GB free for this run; got .* GB; choose another folder"):
        run.__enter__()
    assert not fitted
    with resumable(tmp_path / "run", lambda data, rng: data, {}, room=1000):
        pass


def test_without_a_folder_nothing_is_kept(tmp_path):
    def fit(data, rng):
        return data

    with kept("", "run", fit, {}) as plain:
        assert plain is fit
    with kept(str(tmp_path), "run", fit, {"seed": 1}) as stored:
        assert stored is not fit
    assert (tmp_path / "run" / "settings.json").exists()
    with pytest.raises(StoreError, match="holds another run"), kept(str(tmp_path), "run", fit, {"seed": 2}):
        pass
