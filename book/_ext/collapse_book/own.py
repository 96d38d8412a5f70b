"""A report on a table, as the command wrote it: its command, its rules, panels, and the way to the whole of it."""

import json
import re
import shutil
from pathlib import Path

from markupsafe import Markup

from collapse_book.drawing import Part, drawn
from collapse_utils import mirror
from collapse_utils.practice import report, rules
from workflow import chapters

FOLDER = mirror.PROJECT / "shipped" / "reports"
WIDTH = 84  # characters of a line of code on a page
AT = "../data/own"  # from the page, where copy puts them


def shown(name: str) -> list[Part]:
    """Return what the book shows of the shipped report on a table: its command, what became of its rules, and its panels."""
    if name not in names():
        raise chapters.ChapterError(f"own: {name!r} must name a report of shipped/reports: {', '.join(names())}.")
    settings = json.loads((FOLDER / name / "settings.json").read_text(encoding="utf-8"))
    panels = [
        {"name": f"{name}/{path.name}", "alt": re.search(r'aria-label="([^"]*)"', path.read_text(encoding="utf-8")).group(1)}
        for path in sorted((FOLDER / name).glob("*.svg"))
    ]
    return [
        f"```sh\n{_folded(settings['command'])}\n```",
        Markup(drawn("own.html", name=name, at=AT, panels=panels, rows=[_row(rule) for rule in settings["rules"]])),
    ]


def names() -> list[str]:
    """Return the names of the shipped reports."""
    return sorted(path.name for path in FOLDER.iterdir() if (path / "settings.json").exists())


def copy(out: Path) -> None:
    """Put the reports and their panels next to the pages of a book in the folder out."""
    for name in names():
        target = out / "data" / "own" / name
        target.mkdir(parents=True, exist_ok=True)
        for file in (FOLDER / name).iterdir():
            shutil.copy(file, target)


def _folded(command: str) -> str:
    """A command on several lines, each with as many options as it has room for."""
    lines = [""]
    for part in re.split(r" (?=--)", command):
        if lines[-1] and len(lines[-1]) + len(part) > WIDTH:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return " \\\n".join(lines)


def _row(rule: dict) -> dict:
    share = float("nan") if rule["share"] is None else rule["share"]
    found = f"{report.number(rule['mean'])} ± {report.number(2 * rule['se'], 2)}"
    where = f" ({rule['column']})" if rule["column"] else ""
    return {
        "rule": rule["rule"],
        "arm": rules.arm_name(rule["regime"], share),
        "found": found + where,
        "bound": report.number(rule["bound"]),
        "holds": rule["holds"],
    }
