"""How a point of a sweep is spelt, whatever its values are: as a folder, and as a row of a table."""

import json
import re
from typing import Any

from workflow import cards, values

Point = dict[str, Any]


def folder(point: Point) -> str:
    """Return the folder of a point, e.g. d~40/noise~0.5: readable, its own, and never outside the folder it is put in."""
    return "/".join(f"{name}~{_word(value)}" for name, value in point.items())


def as_json(points: list[Point]) -> list[str]:
    """Return the parameters that a table keeps as JSON text: those whose values are not all numbers, all text, or all true or false."""
    return [name for name in points[0] if not _alike([point[name] for point in points])]


def rows(points: list[Point]) -> list[Point]:
    """Return the points as a table keeps them; a list is text like ["full", "head"]."""
    kept = as_json(points)
    return [{name: text(value) if name in kept else value for name, value in point.items()} for point in points]


def point(row: Point, kept: list[str]) -> Point:
    """Return a point from its row, those of its values that are `kept` as JSON text read again."""
    return {name: json.loads(value) if name in kept else value for name, value in row.items()}


def text(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False)


def _alike(given):
    kinds = {type(value) for value in given}
    if kinds <= {int, float}:
        return all(abs(value) < 2**63 for value in given)  # what a column of numbers can hold
    return kinds in ({str}, {bool})


def _word(value):
    """A value as Python prints it; where that is no plain word, or reads as another value, a plain one with a hash."""
    said = value if isinstance(value, str) else str(value) if isinstance(value, int | float | None) else text(value)
    plain = re.sub(r'[\\/:*?"<>|]', "_", re.sub(r'["\[\]{}]', "", said).replace(", ", ","))
    plain = "".join(letter if letter.isprintable() else "_" for letter in plain)[:80]
    try:
        own = type(values.read(said)) is type(value)  # the text "5" is not the number 5
    except values.ERRORS:
        own = isinstance(value, str)
    return said if own and plain == said else f"{plain}-{cards.digest(text(value))[:8]}"
