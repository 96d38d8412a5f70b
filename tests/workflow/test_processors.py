"""A run once more, and as other processors compute it: the same bytes on one, no verdict that turns, numbers within bounds."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from collapse_utils.parallel import THREADS
from tests import support
from tests.support import changed, replaced
from workflow import chapters, compare, files

NEWER = [name for name in __cpu_dispatch__ if __cpu_features__[name]]  # what numpy uses on this processor beyond the oldest
SWITCHES = {  # what ATen, oneDNN, MKL, OpenBLAS and numpy are told to leave out
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in NEWER if name != "X86_V3"),
    },
    "SSE4": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": " ".join(NEWER),
    },
}  # fmt: skip
LIGHT = "digits_mixing"  # products, eigenvalues and trained networks
SMALL = {"n_features": 100, "largest": 320, "n_seeds": 4, "n_networks": 2}
BOUND = 1e-8  # of the largest number of a column
SINGLE = dict.fromkeys(
    ("digits_mixing", "layer_pruning", "markov", "ntk_linearised", "vae"), 1e-2
)  # products in single precision
CHAOTIC = {  # standard errors: training amplifies rounding; numpy orders the rows that a random subset keeps in another way
    "language_models": 5.0, "molecules": 2.0, "ntk_training": 2.0, "healing": 5.0, "discrete": 5.0, "kde": 5.0,
}  # fmt: skip
PROBE = """
import json, sys
import numpy, scipy.linalg, threadpoolctl, torch
from numpy._core._multiarray_umath import __cpu_features__
x = torch.linspace(-1, 1, 300 * 300).view(300, 300)
layer = torch.nn.Conv2d(1, 8, 3)
print(json.dumps({
    "ATen": torch.backends.cpu.get_cpu_capability(),
    "numpy": [name for name in sys.argv[1:] if __cpu_features__[name]],
    "OpenBLAS": sorted({found["architecture"] for found in threadpoolctl.threadpool_info() if found["internal_api"] == "openblas"}),
    "products": [float((x.to(kind) @ x.to(kind)).double().sin().sum()) for kind in (torch.float32, torch.float64)],
}))
"""


def by_day(chapter, *others, day=True):
    return pytest.param(chapter, *others, marks=() if chapter == LIGHT and day else pytest.mark.slow)


def ran(project, chapter, name, variables=None):
    """Run a chapter of a copy of the project at smoke scale, or smaller, once a name; return the folder of its run."""
    folder = project / ".build" / "runs" / chapter / f"smoke-{name}"
    if not folder.exists():
        threads = str(min(chapters.resources(chapter, "smoke").get("threads", 1), os.cpu_count()))
        given = chapters.at_scale(chapter, "smoke") | (SMALL if chapter == LIGHT else {})
        environment = support.environment(project) | dict.fromkeys(THREADS, threads) | (variables or {})
        command = [sys.executable, "-m", "workflow.execute", chapter, "smoke", name, json.dumps(given)]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def turned(first, second):
    """The verdicts that differ between two runs of a chapter, one sentence each."""
    return compare.turned(first.parent.name, compare.rows(first, second), (first.name, second.name))


@pytest.mark.parametrize("chapter", [by_day(chapter) for chapter in chapters.chapters()])
def test_the_same_run_has_the_same_bytes(copy, chapter):
    """Same seed, threads and processor: every table byte by byte."""
    first, again = (files.json(ran(copy, chapter, name) / "card.json") for name in ("first", "again"))
    assert first["results"]
    assert first["results"] == again["results"]


@pytest.mark.parametrize(
    ("chapter", "name"), [by_day(chapter, name, day=name == "SSE4") for chapter in chapters.chapters() for name in SWITCHES]
)
def test_no_verdict_turns_on_another_processor(copy, chapter, name):
    """Instruction sets switched off: other orders of sums in every library, so that numbers may differ by rounding."""
    first, other = ran(copy, chapter, "first"), ran(copy, chapter, name, SWITCHES[name])
    assert turned(first, other) == []
    chaotic = chapter in CHAOTIC
    apart = compare.shifts(first, other) if chaotic else compare.tables(first, other)
    bound = CHAOTIC[chapter] if chaotic else SINGLE.get(chapter, BOUND)
    assert max(apart.values(), default=0.0) < bound, apart


@pytest.mark.slow
@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no products in bfloat16")
@pytest.mark.parametrize("chapter", ["language_models", "markov", "healing"])
def test_no_verdict_turns_in_bfloat16(copy, chapter):
    first = ran(copy, chapter, "first")
    precision = replaced("precision: str | None = None", 'precision: str | None = "bfloat16"')
    with changed(copy / "collapse_utils" / "training.py", precision):
        half = ran(copy, chapter, "bfloat16")
    assert turned(first, half) == []
    assert compare.tables(first, half)  # it was in use


def test_a_switch_reaches_every_library():
    """Each of ATen, numpy and OpenBLAS says so itself; MKL's products differ in their last bits."""

    def probe(variables):
        command = [sys.executable, "-c", PROBE, *NEWER]
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    plain, switched = probe({}), probe(SWITCHES["SSE4"])
    assert [library for library in plain if plain[library] == switched[library]] == []


def test_tables_are_compared_by_the_size_of_their_columns(tmp_path):
    frame = pd.DataFrame({"regime": ["replace", "accumulate"], "n": [1, 2], "mean": [100.0, 1e-9], "se": [float("nan"), 2.0]})
    other = {
        "same": frame, "moved": frame.assign(mean=[100.0, 0.5]), "gone": frame[:1], "words": frame.assign(regime="replace"),
        "known": frame.assign(se=[1.0, 2.0]), "renamed": frame.rename(columns={"se": "error"}),
    }  # fmt: skip
    for name, table in other.items():
        for folder, content in (("a", frame), ("b", table)):
            (tmp_path / folder).mkdir(exist_ok=True)
            content.to_parquet(tmp_path / folder / f"{name}.parquet")
    found = compare.tables(tmp_path / "a", tmp_path / "b")
    assert found == dict.fromkeys(("gone", "known", "renamed", "words"), float("inf")) | {"moved": pytest.approx(0.005)}


def test_a_judged_mean_moves_by_so_many_of_its_standard_errors(tmp_path):
    evidence = {
        "columns": ({"mean": [1.0, 2.0], "se": [0.1, 0.2]}, {"mean": [1.0, 2.3], "se": [0.1, 0.1]}, 1.5),
        "seeds": ({"mean": [1.0, 3.0], "se": [0.0, 0.0]}, {"mean": [1.0, 2.0], "se": [0.0, 0.0]}, 1.0),
        "order": ({"values": [[0.0, 2.0], [5.0, 5.0]]}, {"values": [[2.0, 4.0], [5.0, 5.0]]}, 2.0),
        "one": ({"mean": [1.0], "se": [0.0]}, {"mean": [1.0], "se": [0.0]}, 0.0),
    }
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        words = {"verdict": "holds", "summary": "", "scale": "smoke", "rule": {}}
        listed = [{"id": id_, "evidence": both[i]} | words for id_, both in evidence.items()]
        (tmp_path / folder / "verdicts.json").write_text(json.dumps(listed), encoding="utf-8")
    found = compare.shifts(tmp_path / "a", tmp_path / "b")
    assert found == pytest.approx({id_: wanted for id_, (*_, wanted) in evidence.items()})
