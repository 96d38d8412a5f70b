"""The gpu rungs of the chapters on networks at initialisation and in training: their own parameters through the same notebooks, everything that only costs time made tiny."""

import json
import os
import subprocess
import sys

import pytest

from workflow import chapters

TINY = {
    "criticality": {"width": 20, "n_networks": 1000, "n_wide": 50, "grid": 20},
    "orthogonal_init": {"width": 20, "narrow": 10, "n_networks": 1000},
    "ntk_tensors": {"n_deep": 10, "n_slip": 5, "n_gaussian": 1000, "n_haar": 200},
    "ntk_recursions": {"wide": 30, "n_wide": 100},
    "depth": {"n_linear": 10_000, "n_skips": 1000},
    "ntk_training": {
        "n_train": 60, "n_test": 40, "width": 6, "shallow": 2, "deep": 3, "n_seeds": 10, "n_epochs": 50,
    },
    "ntk_linearised": {"widest": 64, "n_wide": 4},
    "noise_warning": {"n_seeds": 8, "n_images": 100, "n_steps": 40, "n_generations": 2},
    "tiny_subspace": {"n_seeds": 2, "n_images": 100, "n_steps": 40},
    "subspace_noise": {"n_seeds": 2, "n_fits": 3, "n_images": 100, "n_loop": 100, "n_steps": 200},
}  # fmt: skip


def executed(chapter, tiny):
    """Run a chapter's gpu rung with some values made tiny; return its card."""
    run = chapters.plan(chapter, "gpu", tiny)
    command = [sys.executable, "-m", "workflow.execute", chapter, "gpu", run.key, json.dumps(run.overrides)]
    environment = os.environ | {"PYTHONPATH": str(chapters.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=chapters.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads((run.folder / "card.json").read_text(encoding="utf-8"))


BY_DAY = ("depth", "subspace_noise")  # closed forms, networks; the others by night


@pytest.mark.parametrize("chapter", [pytest.param(name, marks=() if name in BY_DAY else pytest.mark.slow) for name in TINY])
def test_the_rung_runs_through_the_same_notebook(chapter):
    corpus = {"corpus": "digits"} if chapter in ("ntk_training", "ntk_linearised") else {}
    rung = chapters.plan(chapter, "gpu").overrides
    card = executed(chapter, TINY[chapter] | corpus)
    assert card["scale"] == "gpu"
    assert card["parameters"] == rung | TINY[chapter] | corpus
    assert set(rung) - set(TINY[chapter]) - set(corpus) <= {"depth"}  # what stays as it is: a hundred layers


@pytest.mark.skipif(not os.environ.get("COLLAPSE_DATA"), reason="needs the official files: set COLLAPSE_DATA")
@pytest.mark.parametrize(("corpus", "judged"), [("mnist", "DAY-11"), ("cifar10", "DAY-12a")])
def test_official_images_are_judged_by_the_paper_s_own_claims(corpus, judged):
    tiny = TINY["ntk_training"] | {"corpus": corpus}
    assert executed("ntk_training", tiny)["data"].keys() == {corpus, f"{corpus}, test"}
    verdicts = json.loads((chapters.plan("ntk_training", "gpu", tiny).folder / "verdicts.json").read_text(encoding="utf-8"))
    assert judged in {verdict["id"] for verdict in verdicts}
    assert "DAY-11a" not in {verdict["id"] for verdict in verdicts}
