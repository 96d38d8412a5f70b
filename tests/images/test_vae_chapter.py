"""The chapter on autoencoders with other images and at another scale, executed at a size that takes seconds."""

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from papermill.exceptions import PapermillExecutionError

from collapse_utils.images import pictures as images, vae
from collapse_utils.training import Recipe
from tests import support
from tests.images.files import write_faces, write_idx
from workflow import chapters, sweeps

pytestmark = pytest.mark.usefixtures("one_thread")


def letters(n, side, rng):
    """Bytes (n, side, side) and classes of the letters A to D, drawn by PIL at random places and in random tones."""
    from PIL import Image, ImageDraw, ImageFont

    x, y, font = np.zeros((n, side, side), np.uint8), rng.integers(0, 4, n).astype(np.uint8), ImageFont.load_default(side - 6)
    for i in range(n):
        picture = Image.new("L", (side, side))
        place, tone = rng.integers(1, 6, 2), int(rng.integers(120, 256))
        ImageDraw.Draw(picture).text((int(place[0]), int(place[1]) - 2), "ABCD"[y[i]], fill=tone, font=font)
        x[i] = np.asarray(picture)
    return x, y


def executed(overrides, **variables):
    """The chapter with these parameters: the text of its code cells, by id."""
    return {id_: "".join(map(str, outputs)) for id_, outputs in support.executed("vae", overrides, **variables).items()}


TINY = {"n_images": 200, "epochs": 0.7, "n_fits": 3, "n_seeds": 2, "device": "cpu"}


def test_the_chapter_on_letters_at_the_gpu_scale_also_where_fits_were_lost_to_a_kill(tmp_path, seed):
    """An idx data set by path, with a test part of its own, through the scale that nobody ran; on the CPU, with three fits a line."""
    for name, n in (("train", 256), ("t10k", 64)):
        x, y = letters(n, 20, np.random.default_rng([seed, n]))
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", x)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", y)
    own = {"data": str(tmp_path), "third": "mixture(0.5)", "keep": str(tmp_path / "kept")}
    planned = chapters.plan("vae", "gpu", TINY | own).overrides
    assert planned["n_images"] == 200
    text = executed(planned)
    assert "200 images to train on, 50 held out, 400 pixels" in text["images"]
    assert all(name in text["verdicts"] for name in ("GER-16a", "GER-16b", "MAD-6b", "SHU-9b"))
    assert "GER-11" not in text["verdicts"]  # the paper's own claim is judged on its own images only
    assert "BER-3" not in text["verdicts"]  # nor this one without that regime
    for line, lost in (("replace-1.0-0.0", "0002-model"), ("accumulate-1.0-0.02", "0001-sample")):
        found = max((tmp_path / "kept").glob(f"{line}-*/{lost}"))
        for path in [path for path in found.parent.iterdir() if path.is_dir() and path.name[:4] >= lost[:4]]:
            shutil.rmtree(path)
    again = executed(planned)
    assert again["run"] == text["run"]
    assert again["verdicts"] == text["verdicts"]


def test_the_sweep_of_the_gpu_scale_on_cifar10(tmp_path, monkeypatch, seed):
    """A small file in the official layout; bernoulli pixels; a run that lost fits to a kill ends with the same numbers."""
    rng, folder = np.random.default_rng(seed), tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, n in (("data_batch_1", 200), ("test_batch", 50)):
        x, y = letters(n, 32, rng)
        coloured = np.stack([x, x // 2, 255 - x], axis=1).reshape(n, -1)  # (n, 3072)
        (folder / name).write_bytes(pickle.dumps({b"data": coloured, b"labels": y.tolist()}, protocol=2))
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    sweep = sweeps.read(str(sweeps.FOLDER / "gpu" / "vae_images.yml"))
    assert [planned.overrides["data"] for planned in sweeps.plans(sweep)] == ["mnist", "cifar10"]
    planned = sweeps.plans(sweep)[1].overrides
    assert (planned["n_images"], planned["n_fits"], planned["n_seeds"]) == (4000, 10, 5)
    text = executed(planned | TINY | {"likelihood": "bernoulli"})
    assert "200 images to train on, 50 held out, 3072 pixels" in text["images"]
    assert "squared" not in text["run"]
    assert "GER-16b" in text["verdicts"]


def test_a_disk_too_small_for_all_jobs_is_refused_before_any_fit(tmp_path):
    """Room for one run is not enough; rival: each job asks for itself alone."""
    weights, n_fits = vae.n_parameters(vae.shape(1, 8)), 3
    one = 4 * (n_fits * (weights + 200 * 64) + 3 * weights)
    (tmp_path / "sitecustomize.py").write_text(
        f"import shutil\nshutil.disk_usage = lambda folder: type('Usage', (), {{'free': {3 * one}}})\n", encoding="utf-8"
    )
    tiny, path = TINY | {"data": "digits", "keep": str(tmp_path / "kept")}, os.pathsep.join([str(tmp_path), str(support.ROOT)])
    with pytest.raises(PapermillExecutionError, match=r"kept must have 0\.0\d+ GB free for this run"):
        executed(tiny, PYTHONPATH=path)
    assert not list((tmp_path / "kept").glob("*/*-model"))


def test_the_model_of_the_paper_s_scale_trains_on_faces(tmp_path, monkeypatch, seed):
    from PIL import Image

    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tones = np.random.default_rng(seed).integers(0, 256, (20, 3))
    pictures = [Image.new("RGB", (178, 218), tuple(map(int, tone))) for tone in tones]
    for part in ("train", "test"):
        write_faces(tmp_path / "celeba" / images.FACES["folder"], part, pictures, [i % 2 == 0 for i in range(20)])
    planned = chapters.plan("vae", "paper", {}).overrides
    real = images.load(planned["data"], 16)
    shape = vae.shape(*real.train.shape[1:3])
    assert shape == (3, 64, (32, 64, 128, 256, 512), 128)
    model = vae.VAEFit(shape, Recipe(rate=2e-3, epochs=4, batch=8, decay=0.0))(real.train, np.random.default_rng(seed))
    assert model.losses[-1] < model.losses[0]
    assert model.sample(2, np.random.default_rng(0)).shape == (2, 3, 64, 64)
    assert torch.isfinite(torch.tensor(list(model.score(real.test, 1).values()))).all()
