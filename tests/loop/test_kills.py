"""SIGKILL of a loop of autoencoders or denoisers, in mid-fit and between fits: the rerun ends with the same bytes."""

import time
from itertools import islice

import numpy as np
import pytest
import torch

from collapse_utils import feedback_loop, regimes
from collapse_utils.images import pictures as images, vae
from collapse_utils.molecules import conformers, diffusion as molecules
from collapse_utils.store import resumable
from collapse_utils.training import Recipe
from tests import support

N_FITS = 3


def autoencoder(checkpoint):
    recipe = Recipe(rate=5e-3, epochs=4, batch=32, decay=0.0)
    return vae.VAEFit(vae.shape(1, 8), recipe, checkpoint=checkpoint), images.load("digits", 200).train, vae.VAE.save


def denoiser(checkpoint):
    graph, rows = conformers.load("enumerated", 8, 4, 7)
    recipe = Recipe(rate=1e-2, batch=8, decay=0.0)
    train = molecules.DiffusionFit(
        molecules.Graphs(graph, 1.1), rows[0], 24, recipe, hidden=16, steps=4, eta=0.0, checkpoint=checkpoint
    )
    return train, rows, molecules.Diffusion.save


KINDS = {"vae": (vae, autoencoder), "molecules": (molecules, denoiser)}


def losses(kind, folder, checkpoint=True):
    """The bytes of the training losses of a resumable loop, and of its last sample."""
    torch.set_num_threads(1)
    fit, data, save = KINDS[kind][1](folder / "state" if checkpoint else None)
    with resumable(folder / "store", fit, {}, save, fit.load) as kept:
        loop = list(islice(feedback_loop(kept, data, regimes.accumulate, np.random.default_rng(3)), N_FITS))
        sample = loop[-1].model.sample(4, np.random.default_rng(0))
        return [g.model.losses.tobytes() for g in loop] + [np.asarray(sample[-1]).tobytes()]


def slowly(kind, folder, ready):
    """In a process of its own: the same, a checkpoint every fourth step, and time to be killed in."""
    module = KINDS[kind][0]
    plain = module.train

    def train(network, loss, *rest, **options):
        return plain(network, lambda *given: (time.sleep(0.02), loss(*given))[1], *rest, every=4, **options)

    module.train = train
    ready.set()
    losses(kind, folder)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere_the_rerun_ends_with_the_same_bytes(kind, tmp_path):
    for place in ("state", "store/0000-model", "store/0001-sample", "state"):
        started = time.time()
        ready = support.SPAWN.Event()
        child = support.spawned(slowly, kind, tmp_path, ready)
        assert ready.wait(120)
        path = tmp_path / place
        while not (path.exists() and (place != "state" or path.stat().st_mtime > started)):
            assert child.is_alive(), f"it ended before {place} was there"
            assert time.time() < started + 120
            time.sleep(0.002)
        child.kill()
        child.join()
    assert (tmp_path / "state").exists()
    assert losses(kind, tmp_path) == losses(kind, tmp_path / "plain", checkpoint=False)
    assert not (tmp_path / "state").exists()
