"""The part of a sweep's page that is measured: the question, what was run, the figure, verdicts and files."""

import base64

import pandas as pd

from collapse_book import figure
from collapse_book.drawing import Part, drawn
from workflow import cards, chapters, files, gather, spelling
from workflow.sweeps import Sweep


def page(sweep: Sweep) -> list[Part]:
    """Return what was published of a sweep, or what to type where nothing was, or where its file has changed since."""
    folder = gather.SWEEPS / sweep.name
    if not (folder / "card.json").exists():
        return [sweep.question, f"This sweep has not been run: `make sweep SWEEP={sweep.name}`."]
    table, costs = (files.table(folder / f"{name}.parquet", ["key"]) for name in ("points", "costs"))
    shown = {*sweep.points[0], *sweep.show.y, *sweep.show.theory}
    if not shown <= set(table.columns):
        said = f"The file of this sweep has changed since it was published: `make publish SWEEP={sweep.name}`."
        return [sweep.question, said]
    wide, narrow = (base64.b64encode(figure.draw(sweep, table, columns)).decode() for columns in (3, 1))
    found = drawn(
        "sweep.html",
        sweep=sweep,
        wide=wide,
        narrow=narrow,
        alt=_alt(sweep, table),
        words=gather.WORDS,
        verdicts=gather.verdicts(folder).to_dict("records"),
        points=_points(sweep, table),
    )
    return [sweep.question, _ran(sweep, table, costs), found]


def _ran(sweep: Sweep, table: pd.DataFrame, costs: pd.DataFrame) -> str:
    """What was run, at what cost, and whether its code has changed since."""
    varied = "; ".join(
        f"`{name}` = {', '.join(figure.short(value) for value in table[name].unique())}" for name in sweep.points[0]
    )
    kept = ", ".join(f"`{name}` = {value}" for name, value in sweep.fixed.items())
    card = files.json(gather.SWEEPS / sweep.name / "card.json", files.SWEEP)
    return (
        f"**{len(table)} runs** of {{doc}}`/{chapters.page(sweep.chapter)}` at {sweep.scale} scale: {varied}"
        f"{'; throughout ' + kept if kept else ''}. Together {costs['wall_s'].sum() / 60:.0f} minutes of one core,\n"
        f"at most {costs['peak_mb'].max():.0f} MB each." + _earlier(card, sweep.chapter)
    )


def _earlier(card: dict, chapter: str) -> str:
    """What has changed since a sweep was run: its code, or the chapter that it ran."""
    old = cards.differing(card["inputs"], chapters.load(chapter).inputs)
    said = f"{', '.join(old)} changed since" if card["chapter"] == chapter else f"the chapter was `{card['chapter']}` then"
    return f" **Measured with earlier code** ({said})." if old else ""


def _alt(sweep: Sweep, table: pd.DataFrame) -> str:
    """The figure in words."""
    against = figure.words_of(sweep)[sweep.show.x]
    said = f"{', '.join(sweep.show.y.values())} against {against} at the {len(table)} points of the sweep"
    said += ", in small multiples" * (sweep.show.panels is not None)
    return said + ("; theory dashed." if sweep.show.theory else ".")


def _points(sweep: Sweep, table: pd.DataFrame) -> list[dict]:
    """Each point with its executed notebook, or with where a rerun puts it."""
    kept = gather.SWEEPS / sweep.name / "notebooks"
    return [
        {"values": list(row.values()), "key": key, "kept": (kept / f"{key}.ipynb").exists(), "instance": instance}
        for row, key, instance in zip(spelling.rows(sweep.points), table["key"], sweep.instances, strict=True)
    ]
