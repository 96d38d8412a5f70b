"""Sweeps: one chapter over many points, from sweeps/<name>.yml, every point validated before anything runs."""

import ast
import difflib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, PrivateAttr, ValidationError

from collapse_utils import params
from workflow import chapters, files, spelling, values

FOLDER = chapters.ROOT / "sweeps"
SAID = {  # what pydantic finds, in our words; what is not here it says itself
    "string_type": "must be given, as text; got {!r}; put it in quotes",
    "list_type": "must be a list of values; got {!r}",
    "bool_type": "must be true or false; got {!r}",
    "too_short": "has no values: the list is empty",
}


def _labelled(label: str = "") -> BeforeValidator:
    """Names of numbers, one or a list, become a mapping of names to labels: the label given, or the name itself."""

    def read(value: Any) -> Any:
        listed = [value] if isinstance(value, str) else value
        if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
            return {name: label or name for name in listed}
        if isinstance(value, dict):
            return value
        raise ValueError("must name numbers: one, a list, or a mapping to labels")

    return BeforeValidator(read)


class Show(BaseModel, strict=True, extra="forbid", frozen=True):
    """How the numbers of a sweep are drawn: which, against what, in how many panels and lines."""

    x: str
    y: Annotated[dict[str, str], Field(min_length=1), _labelled()]
    theory: Annotated[dict[str, str], Field(min_length=1), _labelled("theory")] = {}
    label: str = "value"
    names: dict[str, str] = {}
    panels: str | None = None
    lines: str | None = None
    log: Literal["", "x", "y", "xy", "yx"] = ""


class Sweep(BaseModel, strict=True, extra="forbid", frozen=True):
    """A sweep file: what it varies, point by point, and how its numbers are drawn. As `read` returns it, `points` has them all."""

    title: str
    chapter: Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]  # 3 names one, too
    scale: str
    question: str = ""
    fixed: dict[str, Any] = {}
    grid: dict[str, Annotated[list, Field(min_length=1)]] = {}
    zip: dict[str, Annotated[list, Field(min_length=1)]] = {}
    points: Annotated[list[dict[str, Any]], Field(min_length=1)] = []
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    official: bool = False  # whether it reads official files, so that not everybody can run it again
    show: Show | None = None
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name of its file."""
        return self._name

    @property
    def folder(self) -> Path:
        """Where the sweep is gathered on this machine."""
        return chapters.BUILD / "sweeps" / self.name

    @property
    def instances(self) -> list[str]:
        """The folder of each point, e.g. d~40/noise~0.5."""
        return [spelling.folder(point) for point in self.points]


def names() -> list[str]:
    """Return the sweeps that the project has, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


def find(name: str) -> Path:
    """Return the file of a sweep, given by its name or by a path, which is taken from the folder of the caller."""
    return Path(name).resolve() if name.endswith((".yml", ".yaml")) else FOLDER / f"{name}.yml"


def read(name: str) -> Sweep:
    """Return the sweep of sweeps/<name>.yml (or of a path) with every point validated against its chapter's parameters.

    Raises ChapterError or ParameterError in one sentence that names the file and the line.
    """
    file, sweep = _opened(name)
    file.require(not file.path.stem.startswith("."), ("title",), "the name of a sweep's file must not begin with a dot")
    chapter = file.ask(("chapter",), chapters.find, sweep.chapter)
    file.ask(("scale",), chapters.require_scale, chapter, sweep.scale)
    _check_values(file, sweep, chapters.load(chapter))
    points = _points(file, sweep)
    if sweep.show:
        _check_show(file, sweep.show, chapters.load(chapter), points)
    sweep = sweep.model_copy(update={"chapter": chapter, "points": points, "grid": {}, "zip": {}})
    sweep._name = file.path.stem
    return sweep


def plans(sweep: Sweep) -> list[chapters.Run]:
    """Return the run of every point, in their order."""
    return chapters.plans(sweep.chapter, sweep.scale, [sweep.fixed | point for point in sweep.points])


@dataclass(frozen=True)
class _File:
    """A sweep's file, which knows the line of each entry by its place, the way to it, as ("grid", "d", 3)."""

    path: Path
    root: yaml.Node

    def line(self, place: tuple) -> int:
        """The line of an entry, from 1, or of what it would stand in."""
        node, mark = self.root, self.root.start_mark
        for step in place:
            if isinstance(node, yaml.MappingNode):
                mark, node = next(((key.start_mark, value) for key, value in node.value if key.value == step), (mark, None))
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
                mark = node.start_mark
        return mark.line + 1

    def refusal(self, place: tuple, sentence: str) -> chapters.ChapterError:
        """What is said about an entry, with its line."""
        return chapters.ChapterError(f"{self.path.name}, line {self.line(place)}: {sentence}.")

    def require(self, condition: bool, place: tuple, sentence: str) -> None:
        """Refuse an entry where a condition does not hold."""
        if not condition:
            raise self.refusal(place, sentence)

    def ask(self, place: tuple, function: Callable, *arguments: Any) -> Any:
        """Call a function; what it refuses is refused with the line of an entry."""
        try:
            return function(*arguments)
        except (params.ParameterError, chapters.ChapterError) as error:
            raise type(error)(f"{self.path.name}, line {self.line(place)}: {error}") from None


def _opened(name: str) -> tuple[_File, Sweep]:
    """A sweep's file and what it holds; the first entry that must not stand there so is refused."""
    path = find(name)
    try:
        root = values.compose(path.read_text(encoding="utf-8"))
        content = values.construct(root) if isinstance(root, yaml.MappingNode) else None
    except FileNotFoundError:
        raise chapters.ChapterError(f"sweep {name!r} must name one of: {', '.join(names())}; or a file by path.") from None
    except (OSError, *values.ERRORS) as error:
        raise files.damaged(path, f"line {values.line(error)}: {values.reason(error)}", "mend it") from None
    if content is None:
        raise chapters.ChapterError(f"{path}: must be a mapping with the keys {', '.join(sorted(Sweep.model_fields))}.")
    file = _File(path, root)
    try:
        return file, Sweep.model_validate(content)
    except ValidationError as error:
        flaw = error.errors()[0]
    raise file.refusal(flaw["loc"], _sentence(flaw))


def _sentence(flaw: dict) -> str:
    """What is wrong with an entry, in one sentence."""
    *above, last = flaw["loc"]
    if flaw["type"] == "extra_forbidden":
        known = (Show if above else Sweep).model_fields
        return ": ".join([*above, f"unknown key {last!r}; known: {', '.join(sorted(known))}"])
    said = SAID.get(flaw["type"])
    place = ": ".join(str(word) for word in flaw["loc"] if word != "[key]")
    return f"{place} {said.format(flaw['input'])}" if said else files.sentence(flaw)


def _check_values(file: _File, sweep: Sweep, chapter: chapters.Chapter) -> None:
    """Each value fits its parameter, and each parameter is given in one way."""
    columns = [(kind, *column) for kind in ("grid", "zip") for column in getattr(sweep, kind).items()]
    entries = [((kind, name, k), name, value) for kind, name, column in columns for k, value in enumerate(column)]
    entries += [(("points", k, name), name, value) for k, point in enumerate(sweep.points) for name, value in point.items()]
    file.require(bool(entries), ("chapter",), "one of grid, zip, points must say what is varied")
    ways: dict[str, str] = {}
    for place, name, value in [*((("fixed", *pair[:1]), *pair) for pair in sweep.fixed.items()), *entries]:
        head = place[: place.index(name, 1) + 1]
        way = ways.setdefault(name, place[0])
        said = "varied, and given in `fixed` as well; keep one" if way == "fixed" else "varied twice"
        file.require(way == place[0], head, f"{name} is {said}")
        file.ask(place if name in chapter.parameters else head, params.validate, chapter.parameters, {name: value}, chapter.name)


def _points(file: _File, sweep: Sweep) -> list[dict[str, Any]]:
    """The product of grid, zip and points; none is listed twice."""
    lengths = {name: len(column) for name, column in sweep.zip.items()}
    for name, length in lengths.items():
        first, size = next(iter(lengths.items()))
        said = f"zip: {name} must have as many values as {first} ({size}); got {length}"
        file.require(length == size, ("zip", name), said)
    for k, point in enumerate(sweep.points):
        said = f"points must all give the same parameters, {', '.join(sweep.points[0])}; got {', '.join(point)}"
        file.require(point.keys() == sweep.points[0].keys(), ("points", k), said)
    factors = [[{name: value} for value in column] for name, column in sweep.grid.items()]
    factors.append([dict(zip(sweep.zip, row, strict=True)) for row in zip(*sweep.zip.values(), strict=True)] or [{}])
    factors.append([{name: point[name] for name in sweep.points[0]} for point in sweep.points] or [{}])
    found = [dict(itertools.chain(*map(dict.items, parts))) for parts in itertools.product(*factors)]
    seen = set()
    for point in found:
        text = json.dumps(point, sort_keys=True)
        file.require(text not in seen, ("title",), f"every point must be listed once; got {point} twice")
        seen.add(text)
    return found


def _check_show(file: _File, show: Show, chapter: chapters.Chapter, points: list[dict]) -> None:
    """What is drawn: numbers of the chapter's page against parameters that the sweep varies."""
    varied, words = list(points[0]), " or ".join(points[0])
    for key, name in {"x": show.x, "panels": show.panels or show.x, "lines": show.lines or show.x}.items():
        file.require(name in varied, ("show", key), f"show: {key} must be a parameter that is varied, {words}; got {name!r}")
    for name in show.names:
        file.require(name in varied, ("show", "names", name), f"show: names gives words for {words}; got {name!r}")
    at = [point[show.x] for point in points if type(point[show.x]) in (int, float) and "x" in show.log]
    file.require(all(x > 0 for x in at), ("show", "log"), f"show: log x needs values above 0; got {at}")
    known, published = _numbers(chapter), chapters.published(chapter.name, chapters.PUBLISHED, "numbers") or {}
    for key, name in [*(("y", name) for name in show.y), *(("theory", name) for name in show.theory)]:
        near = difflib.get_close_matches(name, published, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        fits = any(re.fullmatch(pattern, name) for pattern in known)
        file.require(fits, ("show", key, name), f"show: {chapter.name} has no number {name!r}{hint}")


def _numbers(chapter: chapters.Chapter) -> list[str]:
    """What the numbers of a chapter's page are called, as patterns: published ones, and all text in its code."""
    known = [re.escape(name) for name in chapters.published(chapter.name, chapters.PUBLISHED, "numbers") or {}]
    for source in chapter.cells.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):  # f"mean-{name}", say
                parts = (re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values)
                known.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                known.append(re.sub(r"\\{\w+(:[^}]*)?\\}", ".+", re.escape(node.value)))  # "mean-{name}", to be filled in
    return known
