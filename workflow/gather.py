"""What a sweep found: one table of its points, one of their costs, their notebooks."""

import json
import os
import shutil
from pathlib import Path

import nbformat
import pandas as pd

from collapse_utils import results
from workflow import cards, chapters, files, spelling
from workflow.sweeps import Sweep

SWEEPS = chapters.RESULTS / "sweeps"
WORDS = ("holds", "fails", "inconclusive")


def gather(sweep: Sweep, runs: list[chapters.Run]) -> pd.DataFrame:
    """Write points.parquet (parameters, numbers, verdicts), costs.parquet, verdicts.json and a folder with each point's notebook; return the points.

    A point without a finished run is marked `failed`, its numbers left empty. The first table depends on the runs
    alone, byte by byte; times, memory and versions are in the second. A list stands in both as JSON text.
    """
    rows, costs, said_of = [], [], []
    for point, row, run in zip(sweep.points, spelling.rows(sweep.points), runs, strict=True):
        card = run.folder / "card.json"
        done = card.exists()
        judged = files.json(run.folder / "verdicts.json") if done else []
        words = {f"verdict of {verdict['id']}": verdict["verdict"] for verdict in judged}
        rows.append(row | {"key": run.key, "state": "done" if done else "failed"} | (_numbers(run) if done else {}) | words)
        said_of += [{**verdict, "point": point, "chapter": run.chapter} for verdict in judged]
        if done:
            said = files.json(card)
            costs.append(
                row
                | {
                    "key": run.key,
                    **{name: said[name] for name in ("date", "wall_s", "peak_mb", "threads", "device")},
                    **said["versions"],
                }
            )
    scratch = sweep.folder.with_name(f".{sweep.name}-{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    table = pd.DataFrame(rows)
    table.to_parquet(scratch / "points.parquet", index=False)
    pd.DataFrame(costs).to_parquet(scratch / "costs.parquet", index=False)
    (scratch / "verdicts.json").write_text(json.dumps(said_of) + "\n", encoding="utf-8")
    for instance, run in zip(sweep.instances, runs, strict=True):
        if (run.folder / "executed.ipynb").exists():
            (scratch / instance).mkdir(parents=True)
            shutil.copy(run.folder / "executed.ipynb", scratch / instance / f"{run.chapter}.ipynb")
    _write_card(sweep, runs, scratch)
    shutil.rmtree(sweep.folder, ignore_errors=True)
    scratch.replace(sweep.folder)
    return table


def verdicts(folder: Path) -> pd.DataFrame:
    """Return one row a claim of a gathered sweep: at how many points it holds, fails, is inconclusive, and where it fails first."""
    table, varied = files.table(folder / "points.parquet"), files.json(folder / "card.json", files.SWEEP)["varied"]
    claims = [name for name in table.columns if name.startswith("verdict of ")]
    rows = []
    for name in claims:
        words = table[name]
        failing = table.loc[words == "fails", varied].astype(str)
        first = ", ".join(f"{k} = {v}" for k, v in failing.iloc[0].items()) if len(failing) else ""
        counts = {word: int((words == word).sum()) for word in WORDS}
        rows.append({"claim": name.removeprefix("verdict of "), **counts, "first failure": first})
    return pd.DataFrame(rows)


def publish(sweep: Sweep, table: pd.DataFrame) -> None:
    """Make the sweep gathered on this machine the published one: tables, card and small notebooks into results/sweeps/<name>."""
    target = SWEEPS / sweep.name
    notebooks = [_small(files.notebook(sweep.folder / instance / f"{sweep.chapter}.ipynb")) for instance in sweep.instances]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("points.parquet", "costs.parquet", "verdicts.json", "card.json"):
        shutil.copy(sweep.folder / name, target / name)
    (target / "notebooks").mkdir()
    for notebook, key in zip(notebooks, table["key"], strict=True):
        nbformat.write(notebook, target / "notebooks" / f"{key}.ipynb")


def _small(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An executed notebook with its text alone: its figures and the tables in its outputs take most of its room."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in [kind for kind in output.get("data", {}) if not kind.startswith("text/")]:
                del output["data"][kind]
    return notebook


def _numbers(run):
    """The numbers that a run's page cites, as floats."""
    numbers = files.json(run.folder / "numbers.json")
    tables = {name: files.table(run.folder / f"{name}.parquet") for name in {source["table"] for source in numbers.values()}}
    numeric = {key: source for key, source in numbers.items() if source["spec"] != "s"}  # the others are words
    return {key: float(results.lookup(tables[source["table"]], source | {"spec": ".17g"})) for key, source in numeric.items()}


def _write_card(sweep, runs, folder):
    card = {"sweep": sweep.name, "chapter": sweep.chapter, "scale": sweep.scale, "fixed": sweep.fixed}
    card |= {"varied": list(sweep.points[0]), "points": len(runs)}
    card["as_json"] = spelling.as_json(sweep.points)  # these columns of the tables hold JSON text
    card |= {"keys": cards.digest([run.key for run in runs]), "inputs": chapters.load(sweep.chapter).inputs}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
