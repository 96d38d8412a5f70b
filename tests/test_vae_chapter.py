"""The chapter on autoencoders with other images and at another rung, executed at a size that takes seconds."""

import numpy as np
import papermill
import pytest
import torch
from test_vae import write_faces, write_idx

from collapse_utils import images, vae
from collapse_utils.training import Recipe
from workflow import chapters

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


def test_the_chapter_on_letters_at_the_gpu_rung(tmp_path, seed):
    """An idx data set by path, with a test part of its own, through the rung that nobody ran; on the CPU, with two fits a line."""
    for name, n in (("train", 256), ("t10k", 64)):
        x, y = letters(n, 20, np.random.default_rng([seed, n]))
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", x)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", y)
    tiny = {"data": str(tmp_path), "n_images": 200, "epochs": 0.7, "n_fits": 3, "n_seeds": 2, "device": "cpu"}
    tiny["third"] = "mixture(0.5)"
    rung = chapters.plan("05b_vae", "gpu", tiny).overrides
    assert rung["n_images"] == 200
    done = papermill.execute_notebook(
        chapters.source("05b_vae"), tmp_path / "done.ipynb", rung, kernel_name="python3", progress_bar=False
    )
    text = {cell["id"]: "".join(str(output) for output in cell.outputs) for cell in done.cells if cell.cell_type == "code"}
    assert "200 images to train on, 50 held out, 400 pixels" in text["images"]
    assert all(name in text["verdicts"] for name in ("GER-16a", "GER-16b", "MAD-6b", "SHU-9b"))
    assert "GER-11" not in text["verdicts"]  # the paper's own claim is judged on its own images only
    assert "BER-3" not in text["verdicts"]  # nor this one without that regime


def test_the_model_of_the_paper_s_rung_trains_on_faces(tmp_path, monkeypatch, seed):
    from PIL import Image

    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tones = np.random.default_rng(seed).integers(0, 256, (20, 3))
    pictures = [Image.new("RGB", (178, 218), tuple(map(int, tone))) for tone in tones]
    for part in ("train", "test"):
        write_faces(tmp_path / "celeba" / images.FACES["folder"], part, pictures, [i % 2 == 0 for i in range(20)])
    rung = chapters.plan("05b_vae", "paper", {}).overrides
    real = images.load(rung["data"], 16)
    shape = vae.shape(*real.train.shape[1:3])
    assert shape == (3, 64, (32, 64, 128, 256, 512), 128)
    model = vae.Autoencoding(shape, Recipe(rate=2e-3, epochs=4, batch=8, decay=0.0))(real.train, np.random.default_rng(seed))
    assert model.losses[-1] < model.losses[0]
    assert model.sample(2, np.random.default_rng(0)).shape == (2, 3, 64, 64)
    assert torch.isfinite(torch.tensor(list(model.score(real.test, 1).values()))).all()
