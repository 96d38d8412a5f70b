"""Sweeps: one chapter over many points, from sweeps/<name>.yml, every point validated before anything runs."""

import itertools
import json
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
SHOW = {"x", "y", "label", "theory", "panels", "lines", "log"}


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


def read(name: str) -> Sweep:
    """Return the sweep of sweeps/<name>.yml (or of a path) with every point validated against its chapter's parameters.

    Raises ChapterError or ParameterError in one sentence that names the file and the line.
    """
    path = Path(name) if name.endswith((".yml", ".yaml")) else FOLDER / f"{name}.yml"
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise chapters.ChapterError(f"sweep {name!r} must name one of: {', '.join(names())}; or a file by path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise chapters.ChapterError(f"{path}: cannot be read ({' '.join(str(error).split())}).") from None
    if not isinstance(root, yaml.MappingNode):
        raise chapters.ChapterError(f"{path}: must be a mapping with the keys {', '.join(sorted(KEYS))}.")
    nodes = {key.value: (key, value) for key, value in root.value}
    for key, _ in nodes.values():
        _require(key.value in KEYS, path, key, f"unknown key {key.value!r}; known: {', '.join(sorted(KEYS))}")
    plain = {key: _value(value) for key, (_, value) in nodes.items()}
    for key in ("title", "chapter", "scale"):
        _require(isinstance(plain.get(key), str), path, nodes.get(key, (root,))[0], f"{key} must be given, as text")
    chapter = chapters.find(plain["chapter"])
    shown, retries = plain.get("show", {}), plain.get("retries", 0)
    _require(
        isinstance(shown, dict) and set(shown) <= SHOW,
        path,
        nodes.get("show", (root,))[0],
        f"show has the keys {', '.join(sorted(SHOW))}",
    )
    _require(
        isinstance(retries, int) and 0 <= retries <= 10,
        path,
        nodes.get("retries", (root,))[0],
        "retries must lie between 0 and 10",
    )
    declared = chapters.declared(chapter, chapters.read(chapter))
    points = []
    for point in _expand(path, nodes):
        for key, value in point.values():
            _validate(path, key, value, declared, chapter)
        points.append({name: _value(value) for name, (_, value) in point.items()})
    for key, value in _pairs(path, *nodes["fixed"]) if "fixed" in nodes else ():
        _validate(path, key, value, declared, chapter)
    seen: set[str] = set()
    for point in points:
        _require(
            (text := json.dumps(point, sort_keys=True)) not in seen,
            path,
            root,
            f"every point must be listed once; got {point} twice",
        )
        seen.add(text)
    question = str(plain.get("question", ""))
    return Sweep(path.stem, plain["title"], question, chapter, plain["scale"], points, plain.get("fixed", {}), retries, shown)


def plans(sweep: Sweep) -> list[chapters.Run]:
    """Return the run of every point, in their order."""
    return chapters.plans(sweep.chapter, sweep.scale, [sweep.fixed | point for point in sweep.points])


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
        key, listed = nodes["points"]
        _require(isinstance(listed, yaml.SequenceNode) and listed.value, path, key, "points must be a list of mappings")
        factors.append([{name.value: (name, value) for name, value in _pairs(path, item, item)} for item in listed.value])
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
    _require(isinstance(node, yaml.MappingNode) and node.value, path, key, "must be a mapping of parameters")
    return [(name, value) for name, value in node.value]


def _validate(path, key, value, declared, chapter):
    try:
        params.validate(declared, {key.value: _value(value)}, where=chapter)
    except params.ParameterError as error:
        line = (value if key.value in declared else key).start_mark.line + 1
        raise params.ParameterError(f"{path.name}, line {line}: {error}") from None


def _value(node):
    """The Python value of a YAML node."""
    return (
        yaml.safe_load(yaml.serialize(node))
        if not isinstance(node, yaml.ScalarNode)
        else yaml.SafeLoader("").construct_object(node)
    )


def _require(condition, path, node, sentence):
    if not condition:
        raise chapters.ChapterError(f"{path.name}, line {node.start_mark.line + 1}: {sentence}.")
