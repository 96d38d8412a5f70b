"""What a sweep found: one table of its points, one of their costs, a figure, and its page of the book."""

import base64
import html
import json
import os
import shutil
from pathlib import Path

import pandas as pd

from collapse_utils import results
from workflow import cards, chapters
from workflow.sweeps import Sweep

SWEEPS = chapters.RESULTS / "sweeps"
WORDS = ("holds", "fails", "inconclusive")


def gather(sweep: Sweep, runs: list[chapters.Run]) -> pd.DataFrame:
    """Write points.parquet (parameters, numbers, verdicts), costs.parquet, verdicts.json and a folder with each point's notebook; return the points.

    A point without a finished run is marked `failed`, its numbers left empty. The first table depends on the runs
    alone, byte by byte; times, memory and versions are in the second.
    """
    rows, costs, said_of = [], [], []
    for point, run in zip(sweep.points, runs, strict=True):
        card = run.folder / "card.json"
        done = card.exists()
        judged = json.loads((run.folder / "verdicts.json").read_text(encoding="utf-8")) if done else []
        words = {f"verdict of {verdict['id']}": verdict["verdict"] for verdict in judged}
        rows.append(point | {"key": run.key, "state": "done" if done else "failed"} | (_numbers(run) if done else {}) | words)
        said_of += [{**verdict, "point": point, "chapter": run.chapter} for verdict in judged]
        if done:
            said = json.loads(card.read_text(encoding="utf-8"))
            costs.append(
                point
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


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a claim: at how many points it holds, fails, is inconclusive, and where it fails first."""
    claims = [name for name in table.columns if name.startswith("verdict of ")]
    varied = list(table.columns[: list(table.columns).index("key")])
    rows = []
    for name in claims:
        words = table[name]
        failing = table.loc[words == "fails", varied].astype(str)
        first = ", ".join(f"{k} = {v}" for k, v in failing.iloc[0].items()) if len(failing) else ""
        counts = {word: int((words == word).sum()) for word in WORDS}
        rows.append({"claim": name.removeprefix("verdict of "), **counts, "first failure": first})
    return pd.DataFrame(rows)


def draw(sweep: Sweep, table: pd.DataFrame, path: Path) -> None:
    """Draw the numbers named in `show` against a parameter, in small multiples; theory dashed."""
    import matplotlib.pyplot as plt
    import seaborn
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    show, names = sweep.show, shown(sweep)
    panels, lines, log = show.get("panels"), show.get("lines"), show.get("log", "")
    done = table[table["state"] == "done"]
    keep = [name for name in dict.fromkeys((show["x"], panels, lines)) if name]
    long = done.rename(columns=names).melt(keep, list(names.values()), "number", show.get("label", "value"))
    named = not pd.api.types.is_numeric_dtype(long[show["x"]])
    points_only = {"linewidth": 0} if named else {}  # names have no order to join
    grid = seaborn.relplot(
        long, x=show["x"], y=show.get("label", "value"), hue=lines or "number", style="number" if len(names) > 1 else None, markers=["o", "s", "D", "^"][: len(names)] if len(names) > 1 else None,
        col=panels, col_wrap=min(3, long[panels].nunique()) if panels else None, kind="line", dashes=False, palette="colorblind", height=3, aspect=1.2,
        marker=None if len(names) > 1 else "o", facet_kws={"despine": True}, **points_only,
    )  # fmt: skip
    theory = show.get("theory", [])
    for at, ax in grid.axes_dict.items() if panels else [(None, grid.ax)]:
        part = done if panels is None else done[done[panels] == at]
        for name in [theory] if isinstance(theory, str) else theory:
            for _, curve in part.groupby(lines) if lines else [(None, part)]:
                curve = curve.sort_values(show["x"])
                ax.plot(curve[show["x"]], curve[name], color="black", linestyle="--", linewidth=0.9, zorder=5)
        if named:
            plt.setp(ax.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
        for axis in log:
            getattr(ax, f"set_{axis}scale")("log")
            ticks = getattr(ax, f"{axis}axis")
            ticks.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
            ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ticks.set_minor_formatter(NullFormatter())
    grid.savefig(path, dpi=110)
    plt.close(grid.figure)


def shown(sweep: Sweep) -> dict[str, str]:
    """Return {number: its label in the figure}; `show: y` is a name, a list of names, or names with labels."""
    y = sweep.show["y"]
    return dict(y) if isinstance(y, dict) else {name: name for name in ([y] if isinstance(y, str) else y)}


def publish(sweep: Sweep, table: pd.DataFrame) -> None:
    """Make the sweep gathered on this machine the published one: tables, card and figure into results/sweeps/<name>."""
    target = SWEEPS / sweep.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("points.parquet", "costs.parquet", "verdicts.json", "card.json"):
        shutil.copy(sweep.folder / name, target / name)
    draw(sweep, table, target / "figure.png")


def markdown(sweep: Sweep) -> str:
    """Return the part of a sweep's page that is measured: the question, what was run, the figure, verdicts and files."""
    folder = SWEEPS / sweep.name
    if not (folder / "card.json").exists():
        return f"{sweep.question}\n\nThis sweep has not been run: `make sweep SWEEP={sweep.name}`."
    table, costs = pd.read_parquet(folder / "points.parquet"), pd.read_parquet(folder / "costs.parquet")
    varied = "; ".join(
        f"`{name}` = {', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in table[name].unique())}"
        for name in sweep.points[0]
    )
    kept = ", ".join(f"`{name}` = {value}" for name, value in sweep.fixed.items())
    image = base64.b64encode((folder / "figure.png").read_bytes()).decode()
    alt = f"{', '.join(shown(sweep).values())} against {sweep.show['x']} at the {len(table)} points of the sweep"
    alt += ", in small multiples" * ("panels" in sweep.show) + ("; theory dashed." if "theory" in sweep.show else ".")
    rows = "".join(
        f"<tr><td>{row['claim']}</td>" + "".join(f'<td class="verdict {word if row[word] else "not-run"}">{row[word]}</td>' for word in WORDS)
        + f"<td>{html.escape(row['first failure'])}</td></tr>" for row in verdicts(table).to_dict("records")
    )  # fmt: skip
    head = "".join(f"<th>{word}</th>" for word in ("claim", *WORDS, "first failure"))
    return f"""{sweep.question}

**{len(table)} runs** of {{doc}}`/notebooks/{sweep.chapter}` at {sweep.scale} scale: {varied}{"; throughout " + kept if kept else ""}. Together {costs["wall_s"].sum() / 60:.0f} minutes of one core,
at most {costs["peak_mb"].max():.0f} MB each.

```{{raw}} html
<figure class="align-center"><img alt="{alt}" src="data:image/png;base64,{image}"></figure>
<div class="table-wrap"><table class="scorecard"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
<p class="run-line"><a href="../../data/sweeps/{sweep.name}/points.csv" download>points.csv</a> · <a href="../../data/sweeps/{sweep.name}/costs.csv" download>costs.csv</a>.
<code>make sweep SWEEP={sweep.name}</code> repeats it and leaves each point's notebook under <code>.build/sweeps/{sweep.name}/</code>.</p>
```
"""


def _numbers(run):
    """The numbers that a run's page cites, as floats."""
    numbers = json.loads((run.folder / "numbers.json").read_text(encoding="utf-8"))
    tables = {name: pd.read_parquet(run.folder / f"{name}.parquet") for name in {source["table"] for source in numbers.values()}}
    return {key: float(results.lookup(tables[source["table"]], source | {"spec": ".17g"})) for key, source in numbers.items()}


def _write_card(sweep, runs, folder):
    card = {"sweep": sweep.name, "chapter": sweep.chapter, "scale": sweep.scale, "fixed": sweep.fixed, "points": len(runs)}
    card |= {"keys": cards.digest([run.key for run in runs]), "inputs": cards.inputs(chapters.read(sweep.chapter))}
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
