"""What a run costs beyond its chapter's own computing, how busy a sweep keeps the cores, how long a plan takes."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from workflow import chapters
from workflow.cards import ROOT

CHAPTER, CORES = "linear_models", int(os.environ.get("CORES", min(4, os.cpu_count())))
POINTS = int(os.environ.get("POINTS", 64))
PLAIN = """
import json, os, sys
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # figures are drawn and turned into PNG, as by a kernel
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(sys.stdin):
    shell.run_cell(cell, store_history=True).raise_error()
"""
STEPS = """
import io, json, pathlib, sys, tempfile, time
clock = time.perf_counter
started = clock()
import nbformat, numpy, pandas, pydantic, scipy.special, yaml
libraries = clock()
from workflow import chapters, execute
ours = clock()
import papermill
engine = clock()
run = chapters.plan(sys.argv[1], "smoke")
scratch = pathlib.Path(tempfile.mkdtemp())
planned = clock()
notebook = execute._papermill(run, scratch)
executed = clock()
cells = sum(cell.metadata.papermill.duration or 0 for cell in notebook.cells)
execute._collect(run, notebook, scratch, 0.0)
steps = {"libraries": libraries - started + engine - ours, "ours": ours - libraries, "kernel": executed - planned - cells}
print(json.dumps(steps | {"cells": cells, "collection": clock() - executed}))
"""


def child(*command, cwd=ROOT, **settings):
    """Run a command in a process of its own; return its output, the seconds it took and those its processes computed."""
    environment = os.environ | {"PYTHONPATH": str(cwd), "OMP_NUM_THREADS": "1"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True, **settings)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture
def project(tmp_path):
    """A copy of the project, so that nothing of it is done already."""
    kept = shutil.ignore_patterns(".venv", ".build", "_build", ".git", ".snakemake", "__pycache__", ".pytest_cache")
    return shutil.copytree(ROOT, tmp_path / "project", ignore=kept)


def sweep(folder, points, **changes):
    """Write a sweep over seeds; return its path."""
    content = {"title": "t", "chapter": CHAPTER, "scale": "smoke", "grid": {"seed": list(range(points))}} | changes
    path = folder / f"seeds-{points}.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def test_overhead_of_a_run(benchmark):
    """One run as the workflow starts it, against the same cells in a plain IPython process: least of three each."""
    run = chapters.plan(CHAPTER, "smoke")
    cells = [cell.source for cell in chapters.read(CHAPTER).cells if cell.cell_type == "code"]
    cells.insert(1, "\n".join(f"{name} = {value!r}" for name, value in run.overrides.items()))
    plain = min(child(sys.executable, "-c", PLAIN, input=json.dumps(cells))[1] for _ in range(3))
    bare = min(child(sys.executable, "-c", "pass")[1] for _ in range(3))
    steps = [json.loads(child(sys.executable, "-c", STEPS, CHAPTER)[0]) for _ in range(3)]
    least = {name: min(step[name] for step in steps) for name in steps[0]}

    def job():
        command = (sys.executable, "-m", "workflow.execute", CHAPTER, "smoke", "bench", json.dumps(run.overrides))
        shutil.rmtree(chapters.BUILD / "runs" / CHAPTER / "smoke-bench", ignore_errors=True)
        return child(*command)

    benchmark.pedantic(job, rounds=3)
    shutil.rmtree(chapters.BUILD / "runs" / CHAPTER / "smoke-bench")
    whole = benchmark.stats.stats.min
    beyond = whole - plain - least["libraries"]
    benchmark.extra_info["overhead"] = round(beyond, 2)
    rows = {
        "the chapter's cells in a plain IPython process": plain,
        "the same run by the workflow": whole,
        "  the interpreter": bare,
        "  libraries: pandas, papermill, pydantic, scipy.special": least["libraries"],
        "  our modules": least["ours"],
        "  kernel: start, first answer, injection, end": least["kernel"],
        "  cells, by the kernel": least["cells"],
        "  collection, clean-up, writing": least["collection"],
        "beyond the chapter and the libraries (wanted: at most 3)": beyond,
    }
    print("\n" + "\n".join(f"{name:60} {seconds:6.2f} s" for name, seconds in rows.items()))
    assert whole > least["cells"] > 0


def test_what_a_user_waits_for(benchmark, project):
    """One call of `python -m workflow run`, from the command to the prompt: what lies before and after the job's own time."""
    command = [sys.executable, "-m", "workflow", "run", "--chapter", CHAPTER, "--cores", "1"]
    marks = {"runs due": "the command in front, until it has planned", "▸": "Snakemake's start, the job's start with its libraries",
             "✓": "the job", "": "Snakemake's end, verdicts"}  # fmt: skip
    taken = []

    def call():
        shutil.rmtree(project / ".build", ignore_errors=True)
        environment = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
        child, clock, steps = (
            subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True),
            time.perf_counter(),
            {},
        )
        for mark, name in marks.items():
            while (line := child.stderr.readline()) and not (mark and mark in line):
                pass
            clock, steps[name] = time.perf_counter(), time.perf_counter() - clock
        assert child.wait() == 0
        taken.append(steps)

    benchmark.pedantic(call, rounds=3)
    least = {name: min(steps[name] for steps in taken) for name in taken[0]}
    beside = sum(least.values()) - least["the job"]
    benchmark.extra_info["beside the job"] = round(beside, 2)
    print("\n" + "\n".join(f"{name:60} {seconds:6.2f} s" for name, seconds in (least | {"beside the job": beside}).items()))
    assert least["the job"] > 0


def test_a_sweep_keeps_the_cores_busy(benchmark, project, tmp_path):
    """Seconds computed by all processes of a sweep over the wall time of the cores, planning and gathering included."""
    file, taken = sweep(tmp_path, POINTS), []
    command = (sys.executable, "-m", "workflow", "sweep", "--sweep", file, "--cores", str(CORES))
    benchmark.pedantic(lambda: taken.append(child(*command, cwd=project)), rounds=1)
    _, wall, busy = taken[0]
    jobs = pd.concat(pd.read_csv(path, sep="\t") for path in (project / ".build" / "runs").rglob("benchmark.tsv"))
    share = busy / wall / CORES
    benchmark.extra_info["busy"] = round(share, 3)
    print(f"\n{len(jobs)} points on {CORES} cores: {wall:.0f} s, cores busy {share:.1%} (wanted: 85 %); "
          f"a job is under way on {jobs['s'].sum() / wall / CORES:.1%} of them")  # fmt: skip
    assert len(jobs) == POINTS
    assert 0 < share <= 1.1


@pytest.mark.parametrize("verb", ["cost", "snakemake -n"])
def test_a_thousand_points_are_planned(benchmark, tmp_path, verb):
    """The dry run of a sweep of a thousand points: ours, which adds up what it will cost, and Snakemake's own."""
    file = sweep(tmp_path, 1000)
    dry = ("snakemake", "-n", "-c4", "--quiet", "--directory", str(tmp_path), "--snakefile", str(ROOT / "Snakefile"))
    command = ("workflow", "cost", "--sweep", file) if verb == "cost" else (*dry, "--config", f"sweep={file}")
    out, wall, _ = benchmark.pedantic(child, (sys.executable, "-m", *command), rounds=1)
    print(f"\na thousand points planned by `{verb}`: {wall:.1f} s (wanted: at most 20)")
    assert "1000" in out


def test_the_package_s_own_import(benchmark):
    """Seconds of `import collapse_utils`, once numpy is there, over those of numpy: the least of five processes each."""
    probe = "import time; t = time.process_time(); import numpy; n = time.process_time(); import collapse_utils; print(n - t, time.process_time() - n)"
    found = benchmark.pedantic(lambda: [child(sys.executable, "-c", probe)[0].split() for _ in range(5)], rounds=1)
    numpy, ours = (min(map(float, column)) for column in zip(*found, strict=True))
    benchmark.extra_info["ratio"] = round(ours / numpy, 3)
    print(f"\nimport collapse_utils: {ours / numpy:.2f} of numpy's import, {1000 * ours:.0f} ms (wanted: at most 100 ms)")
