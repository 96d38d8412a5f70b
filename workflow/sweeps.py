"""Sweeps: one chapter over many points, from sweeps/<name>.yml, every point validated before anything runs."""

import ast
import difflib
import itertools
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from snakemake.utils import Paramspace

from collapse_utils import params
from workflow import chapters

FOLDER = chapters.ROOT / "sweeps"
KEYS = {"title", "question", "chapter", "scale", "fixed", "grid", "zip", "points", "retries", "show"}
SHOW = {"x", "y", "label", "names", "theory", "panels", "lines", "log"}


@dataclass(frozen=True)
class Sweep:
    """A sweep file: what it varies, point by point, and how its numbers are drawn."""

    name: str
    title: str
    question: str
    chapter: str
    scale: str
    points: list[dict[str, Any]]  # what is varied; `fixed` apart
    fixed: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    show: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the sweep is gathered on this machine."""
        return chapters.BUILD / "sweeps" / self.name

    @property
    def instances(self) -> list[str]:
        """The folder of each point, e.g. d~40/noise~0.5, as Snakemake's Paramspace names them."""
        return list(Paramspace(pd.DataFrame(self.points, dtype=object)).instance_patterns)


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
    path = find(name)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise chapters.ChapterError(f"sweep {name!r} must name one of: {', '.join(names())}; or a file by path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise chapters.ChapterError(f"{path}: cannot be read ({' '.join(str(error).split())}).") from None
    if not isinstance(root, yaml.MappingNode):
        raise chapters.ChapterError(f"{path}: must be a mapping with the keys {', '.join(sorted(KEYS))}.")
    nodes = {key.value: (key, value) for key, value in _pairs(path, root, root)}
    for key, _ in nodes.values():
        _require(key.value in KEYS, path, key, f"unknown key {key.value!r}; known: {', '.join(sorted(KEYS))}")
    plain = {key: _value(path, value) for key, (_, value) in nodes.items()}
    lines = {key: nodes.get(key, (root,))[0] for key in KEYS}
    for key in ("title", "chapter", "scale"):
        said = f"got {plain[key]!r}; put it in quotes" if key in plain else "it is missing"
        text = isinstance(plain.get(key), str) or (key == "chapter" and isinstance(plain.get(key), int))
        _require(text, path, lines[key], f"{key} must be given, as text; {said}")
    chapter = _at(path, lines["chapter"], chapters.find, nodes["chapter"][1].value)  # 02 is text here, not the number 2
    _at(path, lines["scale"], chapters.plans, chapter, plain["scale"], [])
    retries = plain.get("retries", 0)
    _require(
        isinstance(retries, int) and 0 <= retries <= 10,
        path,
        lines["retries"],
        f"retries must lie between 0 and 10; got {retries!r}",
    )
    points = _points(path, nodes, chapters.declared(chapter, chapters.read(chapter)), chapter, lines)
    if "show" in nodes:
        _check_show(path, lines["show"], plain["show"], chapter, list(points[0]))
    question = str(plain.get("question", ""))
    return Sweep(
        path.stem,
        plain["title"],
        question,
        chapter,
        plain["scale"],
        points,
        plain.get("fixed", {}),
        retries,
        plain.get("show", {}),
    )


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
        text = json.dumps(points[-1], sort_keys=True)
        _require(text not in seen, path, lines["title"], f"every point must be listed once; got {points[-1]} twice")
        seen.add(text)
    return points


def _check_show(path, line, show, chapter, varied):
    """What is drawn: numbers of the chapter's page against parameters that the sweep varies."""
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
        all(isinstance(y, str | list | dict) for y in drawn), path, line, f"show: y and theory are names of numbers; got {drawn}"
    )
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
    for cell in chapters.read(chapter)["cells"]:
        for node in ast.walk(ast.parse(cell["source"])) if cell["cell_type"] == "code" else ():
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
        for key, values in _pairs(path, *nodes["grid"]):
            _require(
                isinstance(values, yaml.SequenceNode) and values.value, path, key, f"grid: {key.value} must be a list of values"
            )
            factors.append([{key.value: (key, value)} for value in values.value])
    if "zip" in nodes:
        columns = list(_pairs(path, *nodes["zip"]))
        for key, values in columns:
            _require(isinstance(values, yaml.SequenceNode), path, key, f"zip: {key.value} must be a list of values")
            first = columns[0]
            same = len(values.value) == len(first[1].value)
            _require(
                same,
                path,
                key,
                f"zip: {key.value} must have as many values as {first[0].value} ({len(first[1].value)}); got {len(values.value)}",
            )
        rows = zip(*(values.value for _, values in columns), strict=True)
        factors.append([{key.value: (key, value) for (key, _), value in zip(columns, row, strict=True)} for row in rows])
    if "points" in nodes:
        key, entries = nodes["points"]
        _require(isinstance(entries, yaml.SequenceNode) and entries.value, path, key, "points must be a list of mappings")
        factors.append([{name.value: (name, value) for name, value in _pairs(path, item, item)} for item in entries.value])
    key = nodes.get("chapter", (next(iter(nodes.values()))[0],))[0]
    _require(bool(factors), path, key, "one of grid, zip, points must say what is varied")
    for combination in itertools.product(*factors):
        merged: dict = {}
        for part in combination:
            for name, pair in part.items():
                _require(name not in merged, path, pair[0], f"{name} is varied twice")
                merged[name] = pair
        yield merged


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


def _value(path, node):
    """The Python value of a YAML node: text, numbers, lists and mappings."""
    if isinstance(node, yaml.MappingNode):
        return {_value(path, name): _value(path, value) for name, value in _pairs(path, node, node)}
    if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
        return [_value(path, value) for value in node.value]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        why = chapters.reason(error)
    value = repr(node.value) if isinstance(node, yaml.ScalarNode) else "a list"
    raise chapters.ChapterError(
        f"{path.name}, line {node.start_mark.line + 1}: {value} is no value in YAML ({why}); put text in quotes."
    )


def _require(condition, path, node, sentence):
    if not condition:
        raise chapters.ChapterError(f"{path.name}, line {node.start_mark.line + 1}: {sentence}.")
