"""A sweep through Slurm, with a job that is killed and a resume. Needs a cluster; `.ci/slurm` starts one of one machine."""

import re
import shutil
import subprocess
import time

import pandas as pd
import pytest
import yaml

from tests import support
from tests.support import ROOT, SMALL, write_sweep

pytestmark = pytest.mark.skipif(
    not shutil.which("sbatch") or subprocess.run(["sinfo"], capture_output=True, check=False).returncode != 0,
    reason="no Slurm cluster answers (.ci/slurm starts one)",
)
PROFILE = {  # what a user writes once for a cluster; this one keeps no accounts, so that the queue tells how jobs end
    "slurm-status-command": "squeue", "slurm-no-account": True, "slurm-keep-successful-logs": True,
    "slurm-init-seconds-before-status-checks": 5, "default-resources": ["runtime=30"],
}  # fmt: skip


@pytest.fixture
def profile(tmp_path, monkeypatch):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(PROFILE))
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(tmp_path / "profile"))


def told(folder, call, words):
    """What a call said, then what Snakemake noted of Slurm's jobs; no place on this machine is named."""
    noted = (folder / ".build" / "snakemake.log").read_text(encoding="utf-8")
    kept = r"submitted with SLURM jobid|SLURM-job .* failed|steps \("
    lines = [f"$ {call}", *words.strip().splitlines(), *(line for line in noted.splitlines() if re.search(kept, line))]
    return re.sub(r" ?\(?(log: )?(?<![\w.])/\S+", "", "\n".join(lines)) + "\n"


def queue():
    """The numbers of the jobs that run or wait."""
    return subprocess.run(["squeue", "--noheader", "--format=%i %T"], capture_output=True, text=True, check=True).stdout.split()


def test_a_sweep_on_slurm_is_cancelled_resumed_and_equal_to_one_here(copy, profile):
    here = support.workflow("sweep", "--cores", "2", "--sweep", write_sweep(copy, SMALL, "here"), cwd=copy)
    assert here.returncode == 0, here.stderr
    there = write_sweep(copy, SMALL | {"fixed": SMALL["fixed"] | {"seed": 0}}, "there")  # other keys: every point runs again
    shutil.rmtree(copy / ".build" / "runs")
    (ROOT / ".build").mkdir(exist_ok=True)
    slurm = ["--cores", "2", "--executor", "slurm"]
    log = [f"$ sinfo\n{subprocess.run(['sinfo'], capture_output=True, text=True, check=True).stdout}"]
    child = support.started("sweep", "--sweep", there, *slurm, cwd=copy, stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while "RUNNING" not in (jobs := queue()) and time.time() < deadline:
        time.sleep(0.1)
    job = jobs[jobs.index("RUNNING") - 1]
    subprocess.run(["scancel", "--signal=KILL", job], check=True)
    error = child.communicate(timeout=300)[1].decode()
    call = "make sweep SWEEP=there.yml EXECUTOR=slurm JOBS=2"
    log.append(told(copy, f"{call} &\n$ scancel --signal=KILL {job}", error))
    assert child.returncode == 1, error
    assert "4 runs due at smoke scale by slurm" in error
    assert "Not finished: linear_models" in error
    cards = {path: path.stat().st_mtime_ns for path in (copy / ".build" / "runs").rglob("card.json")}
    assert len(cards) == 3
    again = support.workflow("sweep", "--sweep", there, *slurm, cwd=copy)
    assert again.returncode == 0, again.stderr
    assert "1 of 4 runs due" in again.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in cards.items())
    logs = list((copy / ".build" / "snakemake" / ".snakemake" / "slurm_logs").rglob("*.log"))
    assert len(logs) == 5  # four points, one of them twice: by Slurm, and by nothing else
    tables = [pd.read_parquet(copy / ".build" / "sweeps" / name / "points.parquet") for name in ("here", "there")]
    numbers = [table.select_dtypes("number") for table in tables]
    pd.testing.assert_frame_equal(*numbers, check_exact=True)
    (ROOT / ".build" / "slurm.log").write_text("\n".join([*log, told(copy, call, again.stderr)]), encoding="utf-8")
