"""Two builds of the book side by side: parameters, verdicts, numbers and tables that differ."""

from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader

from workflow import chapters, files, sentences

CUSTOM = chapters.ROOT / "_build" / "custom"
TEMPLATES = Environment(loader=FileSystemLoader(chapters.ROOT / "book" / "_ext" / "collapse_book" / "templates"), autoescape=True)
KINDS = ("parameter ", "number ", "table ")  # what is no verdict
TINY = np.finfo(float).tiny


def runs(name: str) -> dict[str, Path]:
    """Return {chapter: folder of its run} of a build, given by its name in _build/custom or by a path; "" is what was published."""
    if not name:
        found = {chapter: chapters.RESULTS / chapters.PUBLISHED / chapter for chapter in chapters.chapters()}
        return {chapter: folder for chapter, folder in found.items() if (folder / "card.json").exists()}
    for home in (CUSTOM / name, Path(name)):
        if (path := home / "_build" / "shown.json").exists():
            return {chapter: Path(entry["rerun"]) for chapter, entry in files.json(path).items()}
    known = ", ".join(sorted(path.parents[1].name for path in CUSTOM.glob("*/_build/shown.json"))) or "none yet"
    raise chapters.ChapterError(f"compare: A and B must be builds in _build/custom ({known}) or folders of builds; got {name!r}.")


def rows(first: Path, second: Path) -> list[tuple[str, str, str]]:
    """Return what differs between two runs of a chapter: (what, in the first, in the second)."""
    (cards, verdicts, numbers) = (
        [files.json(folder / f"{name}.json") for folder in (first, second)] for name in ("card", "verdicts", "numbers")
    )
    defaults = chapters.load(cards[0]["chapter"]).defaults
    sides = [{f"parameter {name}": str(value) for name, value in (defaults | card["parameters"]).items()} for card in cards]
    for side, said, cited in zip(sides, verdicts, numbers, strict=True):
        side |= {verdict["id"]: f"{verdict['verdict']} ({sentences.said(verdict)})" for verdict in said}
        side |= {f"number {key}": number["text"] for key, number in cited.items()}
    names = list(sides[0] | sides[1])
    told = [
        (f"table {name}", "", f"changed by at most {share:.2g} of its columns' sizes")
        for name, share in tables(first, second).items()
    ]
    return [(name, *(side.get(name, "–") for side in sides)) for name in names if sides[0].get(name) != sides[1].get(name)] + told


def tables(first: Path, second: Path) -> dict[str, float]:
    """Return, for each table that differs between two runs, the largest change of a number over the largest of its column.

    It is inf where a table, a row, a column or a word is in one of them alone.
    """
    names = sorted({path.name for folder in (first, second) for path in folder.glob("*.parquet")})
    found = {name.removesuffix(".parquet"): _change(first / name, second / name) for name in names}
    return {name: change for name, change in found.items() if change > 0}


def _change(*paths: Path) -> float:
    """The largest change between two tables, in the size of its column."""
    if not all(path.exists() for path in paths):
        return np.inf
    a, b = (files.table(path) for path in paths)
    if len(a) != len(b) or list(a) != list(b):
        return np.inf
    return max((_moved(a[name], b[name]) for name in a), default=0.0)


def _moved(a: pd.Series, b: pd.Series) -> float:
    """The largest change between two columns, over the largest number of the first; words are equal or they are not."""
    numeric = all(pd.api.types.is_numeric_dtype(column) for column in (a, b))
    if a.equals(b) or not numeric:
        return 0.0 if a.equals(b) else np.inf
    x, y = (column.to_numpy(float) for column in (a, b))
    finite = np.isfinite(x) & np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return np.inf
    return float(np.abs(x[finite] - y[finite]).max(initial=0.0) / np.abs(x[finite]).max(initial=TINY))


def shifts(first: Path, second: Path) -> dict[str, float]:
    """Return {claim: how far a judged mean lies from that of another run, at most, in its standard error}, over the columns where these are seeds."""
    known, now = (
        {verdict["id"]: verdict["evidence"] for verdict in files.json(folder / "verdicts.json")} for folder in (first, second)
    )
    return {id_: _shift(known[id_], now[id_]) for id_ in known if id_ in now}


def _shift(a: dict, b: dict) -> float:
    """The largest change between the means of two pieces of evidence, over the standard errors of the first."""
    if "values" in a:
        values = np.array(a["values"])  # (groups, replicates)
        change = np.abs(values.mean(axis=1) - np.mean(b["values"], axis=1))
        error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
    else:
        mean, error = np.array(a["mean"]), np.array(a["se"])
        change = np.abs(mean - b["mean"])
        if not error.any() and len(mean) > 1:
            error = np.full(len(mean), mean.std(ddof=1) / np.sqrt(len(mean)))
    moved = change > 1e-9 * (1 + change.max())
    return float((change[moved] / np.maximum(error[moved], TINY)).max(initial=0.0))


def page(first: str, second: str) -> tuple[Path, list[str]]:
    """Write the page of two builds; return its place, and the verdicts that differ, one sentence each."""
    builds, words = [runs(name) for name in (first, second)], [name or "published" for name in (first, second)]
    found = {chapter: rows(*(build[chapter] for build in builds)) for chapter in builds[0] if chapter in builds[1]}
    if not found:
        raise chapters.ChapterError(f"compare: {words[0]} and {words[1]} have no chapter in common.")
    target = chapters.ROOT / "_build" / "compared.html"
    target.parent.mkdir(exist_ok=True)
    target.write_text(TEMPLATES.get_template("compared.html").render(builds=words, chapters=found) + "\n", encoding="utf-8")
    return target, [sentence for chapter in found for sentence in turned(chapter, found[chapter], words)]


def turned(chapter: str, found: list[tuple[str, str, str]], words: list[str]) -> list[str]:
    """Return the verdicts among the rows of a chapter that differ in more than their numbers, one sentence each; words name the runs."""
    judged = [(what, *(text.split(" (")[0] for text in texts)) for what, *texts in found if not what.startswith(KINDS)]
    return [f"{chapter}: {what}: {a} in {words[0]}, {b} in {words[1]}" for what, a, b in judged if a != b]
