"""Sweeps: one chapter over many points, from sweeps/<name>.yml, every point validated before anything runs."""

import ast
import difflib
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from collapse_utils import params
from workflow import chapters, files, spelling, values

FOLDER = chapters.ROOT / "sweeps"
KEYS = {"title", "question", "chapter", "scale", "fixed", "grid", "zip", "points", "retries", "official", "show"}
VARIED = {"grid", "zip", "points"}
SHOW = {"x", "y", "label", "names", "theory", "panels", "lines", "log"}


@dataclass(frozen=True)
class Sweep:
    """A sweep file: what it varies, point by point, and how its numbers are drawn."""

    name: str
    title: str
    chapter: str
    scale: str
    points: list[dict[str, Any]]  # what is varied, the same parameters in each; `fixed` apart
    question: str = ""
    fixed: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    official: bool = False  # whether it reads official files, so that not everybody can run it again
    show: dict[str, Any] = field(default_factory=dict)

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
    path, root, nodes = _opened(name)
    lines = {key: nodes.get(key, (root,))[0] for key in KEYS}
    plain = {
        key: _text(path, value) if key == "chapter" else _value(path, value)
        for key, (_, value) in nodes.items()
        if key not in VARIED
    }
    for key in ("title", "chapter", "scale", *(("question",) if "question" in plain else ())):
        said = f"got {plain[key]!r}; put it in quotes" if key in plain else "it is missing"
        _require(isinstance(plain.get(key), str), path, lines[key], f"{key} must be given, as text; {said}")
    _require(not path.stem.startswith("."), path, lines["title"], "the name of a sweep's file must not begin with a dot")
    chapter = _at(path, lines["chapter"], chapters.find, plain["chapter"])
    _at(path, lines["scale"], chapters.require_scale, chapter, plain["scale"])
    retries = plain.get("retries", 0)
    _require(
        type(retries) is int and 0 <= retries <= 10, path, lines["retries"], f"retries must lie between 0 and 10; got {retries!r}"
    )
    official = plain.get("official", False)
    _require(type(official) is bool, path, lines["official"], f"official must be true or false; got {official!r}")
    points = _points(path, nodes, chapters.load(chapter).parameters, chapter, lines)
    if "show" in nodes:
        _check_show(path, lines["show"], plain["show"], chapter, points)
    given = {key: plain[key] for key in ("question", "fixed", "show") if key in plain} | {
        "retries": retries,
        "official": official,
    }
    return Sweep(path.stem, plain["title"], chapter=chapter, scale=plain["scale"], points=points, **given)


def _opened(name):
    """The path of a sweep, the node of its file, and {key: (key node, value node)}."""
    path = find(name)
    try:
        root = values.compose(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise chapters.ChapterError(f"sweep {name!r} must name one of: {', '.join(names())}; or a file by path.") from None
    except (OSError, *values.ERRORS) as error:
        raise files.damaged(path, f"line {values.line(error)}: {values.reason(error)}", "mend it") from None
    if not isinstance(root, yaml.MappingNode):
        raise chapters.ChapterError(f"{path}: must be a mapping with the keys {', '.join(sorted(KEYS))}.")
    nodes = {key.value: (key, value) for key, value in _pairs(path, root, root)}
    for key, _ in nodes.values():
        _require(key.value in KEYS, path, key, f"unknown key {key.value!r}; known: {', '.join(sorted(KEYS))}")
    return path, root, nodes


def plans(sweep: Sweep) -> list[chapters.Run]:
    """Return the run of every point, in their order."""
    return chapters.plans(sweep.chapter, sweep.scale, [sweep.fixed | point for point in sweep.points])


def _points(path, nodes, declared, chapter, lines):
    """Every point as {name: value}, the values validated; none is listed twice, and none varies what is fixed."""
    fixed = {key.value: (key, value) for key, value in _pairs(path, *nodes["fixed"])} if "fixed" in nodes else {}
    for key, value in fixed.values():
        _validate(path, key, value, declared, chapter)
    points, seen = [], set()
    for point in _expand(path, nodes):
        for name, (key, value) in point.items():
            _require(name not in fixed, path, key, f"{name} is varied, and given in `fixed` as well; keep one")
            _validate(path, key, value, declared, chapter)
        points.append({name: _value(path, value) for name, (_, value) in point.items()})
        same = points[0].keys()
        said = f"points must all give the same parameters, {', '.join(same)}; got {', '.join(point)}"
        _require(same == point.keys(), path, next(iter(point.values()))[0], said)
        points[-1] = {name: points[-1][name] for name in same}
        text = json.dumps(points[-1], sort_keys=True)
        _require(text not in seen, path, lines["title"], f"every point must be listed once; got {points[-1]} twice")
        seen.add(text)
    return points


def _check_show(path, line, show, chapter, points):
    """What is drawn: numbers of the chapter's page against parameters that the sweep varies."""
    varied = list(points[0])
    _require(isinstance(show, dict) and set(show) <= SHOW and {"x", "y"} <= set(show), path, line,
             f"show has the keys {', '.join(sorted(SHOW))}, x and y at least; got {show!r}")  # fmt: skip
    for key in ("x", "panels", "lines"):
        name = show.get(key, varied[0])
        _require(
            name in varied, path, line, f"show: {key} must be a parameter that is varied, {' or '.join(varied)}; got {name!r}"
        )
    _require(
        show.get("log", "") in ("", "x", "y", "xy", "yx"), path, line, f"show: log must be x, y or xy; got {show.get('log')!r}"
    )
    names = show.get("names", {})
    _require(
        isinstance(names, dict) and set(names) <= set(varied),
        path,
        line,
        f"show: names gives words for {' or '.join(varied)}; got {names!r}",
    )
    drawn = [show[key] for key in ("y", "theory") if key in show]
    _require(
        all(isinstance(y, str | list | dict) and y for y in drawn),
        path,
        line,
        f"show: y and theory are names of numbers; got {drawn}",
    )
    words = [show.get("label", ""), *names.values(), *(word for y in drawn if isinstance(y, dict) for word in y.values())]
    _require(all(isinstance(word, str) for word in words), path, line, f"show: labels and names are text; got {words}")
    at = [point[show["x"]] for point in points if type(point[show["x"]]) in (int, float) and "x" in show.get("log", "")]
    _require(all(x > 0 for x in at), path, line, f"show: log x needs values above 0; got {at}")
    known = _numbers(chapter)
    for name in [number for names in drawn for number in listed(names)]:
        fits = [number for number in known if re.fullmatch(number, str(name))]
        near = difflib.get_close_matches(str(name), chapters.published(chapter, chapters.PUBLISHED, "numbers") or {}, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        _require(bool(fits), path, line, f"show: {chapter} has no number {name!r}{hint}")


def listed(value: Any) -> list:
    """Return the names in `show: y` or `show: theory`: one, a list, or names with labels."""
    return [value] if isinstance(value, str) else list(value)


def _numbers(chapter):
    """What the numbers of a chapter's page are called, as patterns: published ones, and all text in its code."""
    known = [re.escape(name) for name in chapters.published(chapter, chapters.PUBLISHED, "numbers") or {}]
    for source in chapters.load(chapter).cells.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):  # f"mean-{name}", say
                parts = (re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values)
                known.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                known.append(re.escape(node.value))
    return known


def _expand(path, nodes):
    """Every point as {name: (key node, value node)}: the product of grid, zip and points."""
    factors = []
    if "grid" in nodes:
        for key, node in _pairs(path, *nodes["grid"]):
            factors.append([{key.value: (key, value)} for value in _listed(path, key, node, f"grid: {key.value}")])
    if "zip" in nodes:
        columns = {key: _listed(path, key, node, f"zip: {key.value}") for key, node in _pairs(path, *nodes["zip"])}
        (first, size), *_ = ((key, len(column)) for key, column in columns.items())
        for key, column in columns.items():
            said = f"zip: {key.value} must have as many values as {first.value} ({size}); got {len(column)}"
            _require(len(column) == size, path, key, said)
        factors.append([{key.value: (key, column[k]) for key, column in columns.items()} for k in range(size)])
    if "points" in nodes:
        entries = _listed(path, *nodes["points"], "points", "mappings")
        factors.append([{name.value: (name, value) for name, value in _pairs(path, item, item)} for item in entries])
    key = nodes.get("chapter", (next(iter(nodes.values()))[0],))[0]
    _require(bool(factors), path, key, "one of grid, zip, points must say what is varied")
    for combination in itertools.product(*factors):
        merged: dict = {}
        for part in combination:
            for name, pair in part.items():
                _require(name not in merged, path, pair[0], f"{name} is varied twice")
                merged[name] = pair
        yield merged


def _listed(path, key, node, name, of="values"):
    """The nodes of a list that has at least one."""
    _require(node.tag == f"{values.TAG}seq", path, key, f"{name} must be a list of {of}")
    _require(node.value, path, key, f"{name} has no {of}: the list is empty")
    return node.value


def _pairs(path, key, node):
    """The keys and values of a mapping, as nodes; every key is a word and stands there once."""
    _require(isinstance(node, yaml.MappingNode) and node.value, path, key, "must be a mapping, `name: value`")
    seen = set()
    for name, _ in node.value:
        _require(isinstance(name, yaml.ScalarNode), path, name, "a key must be a word; got a list or a mapping")
        _require(name.value not in seen, path, name, f"{name.value} stands there twice; keep one")
        seen.add(name.value)
    return node.value


def _validate(path, key, value, declared, chapter):
    where = value if key.value in declared else key
    _at(path, where, params.validate, declared, {key.value: _value(path, value)}, chapter)


def _at(path, node, function, *arguments):
    """Call a function; what it refuses is refused with the file and the line."""
    try:
        return function(*arguments)
    except (params.ParameterError, chapters.ChapterError) as error:
        raise type(error)(f"{path.name}, line {node.start_mark.line + 1}: {error}") from None


def _text(path, node):
    """A node as it is written: 02 names a chapter and is no number."""
    return node.value if isinstance(node, yaml.ScalarNode) else _value(path, node)


def _value(path, node):
    """The value of a YAML node."""
    try:
        return values.construct(node)
    except values.ERRORS as error:
        line, why = values.line(error, node.start_mark.line + 1), values.reason(error)
    said = f"{node.value!r} is no value ({why}); put text in quotes" if isinstance(node, yaml.ScalarNode) else why
    raise chapters.ChapterError(f"{path.name}, line {line}: {said}.")


def _require(condition, path, node, sentence):
    if not condition:
        raise chapters.ChapterError(f"{path.name}, line {node.start_mark.line + 1}: {sentence}.")
