"""Reports on three tables that scikit-learn carries, as `python -m collapse_utils.practice` writes them.

    python -m shipped.reports shipped/reports

makes what is shipped, in a few minutes: of each table the page, the values at the last fit, the settings with the rules, and panels.
"""

import contextlib
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from collapse_utils.practice import __main__ as command, report, sources
from collapse_utils.practice.study import Study

TABLES = {  # what the command is told of each, and the panels that are kept
    "wine": (
        "--model copula --target target --fail-if 'energy_distance > 2 * null' --fail-if 'real_test_loss > 0.3'",
        ("energy_distance", "real_test_loss", "log_volume"),
    ),
    "iris": (
        "--model kde --target target --fail-if 'variance_ratio > 1.5 * null' --fail-if 'lost_categories > 0.5'",
        ("energy_distance", "real_test_loss", "variance_ratio"),
    ),
    "linnerud": (
        "--model gaussian --regimes replace accumulate real_and_last --fail-if 'log_volume < -15'",
        ("energy_distance", "variance_ratio", "log_volume"),
    ),
}
KEPT = ("report.html", "last.csv", "settings.json")


def write(folder: Path, name: str) -> int:
    """Run the command on a table and keep what is shipped of its report in folder/name; return the exit code."""
    target, (words, kept) = folder.resolve() / name, TABLES[name]
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        code = command.main([name, *shlex.split(words), "--out", name])
        for file in KEPT:
            shutil.copy(Path(name) / file, target)
        tables = [pd.read_parquet(Path(name) / f"{table}.parquet") for table in ("measures", "null")]
    panels = report.figures(Study(*tables, {}, sources.read(name).columns))
    for panel in panels:
        if panel["name"] in kept:
            (target / f"{panel['name']}.svg").write_text(panel["svg"], encoding="utf-8")
    return code


if __name__ == "__main__":
    for known in TABLES:
        write(Path(sys.argv[1]), known)
