"""Files that the workflow reads: a damaged one is named in one sentence, with its line or cell and what mends it."""

import ast
import warnings
from collections.abc import Iterable
from json import loads
from pathlib import Path
from typing import Any, Literal

import nbformat
import pandas as pd
from pydantic import BaseModel, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError, create_model
from yaml import YAMLError

from collapse_utils import claims
from workflow import values
from workflow.cards import ROOT


class FileError(ValueError):
    """A file that cannot be read."""


class Given(BaseModel, strict=True, extra="forbid"):
    """What scales.yml gives the runs of a chapter at a scale."""

    threads: PositiveInt = 1
    mem_mb: PositiveInt = 1
    gpu: NonNegativeInt = 0


class Rungs(BaseModel, strict=True, extra="forbid"):
    """A chapter in scales.yml."""

    smoke: dict[str, Any] | None = None
    laptop: dict[str, Any] | None = None
    gpu: dict[str, Any] | None = None
    paper: dict[str, Any] | None = None
    resources: dict[Literal["smoke", "laptop", "gpu", "paper"], Given] | None = None
    cost: str | None = None
    replicates: str | None = None


def _shape(**kinds):
    """A mapping that has these entries, among others: those that the workflow reads."""
    return create_model("Shape", **{name: (kind, ...) for name, kind in kinds.items()})


PAPER = _shape(paper=str, name=str, title=str, version=str, claims=dict[str, dict])
RUN = {
    "parameters": dict,
    "date": str,
    "wall_s": float,
    "peak_mb": float,
    "threads": int,
    "device": str,
    "versions": dict,
    "figures": dict,
}
SWEEP = _shape(chapter=str, scale=str, fixed=dict, varied=list[str], inputs=dict)
SHAPES = {  # what the files of a name hold
    "scales": dict[str, Rungs | None],
    "_toc": _shape(parts=list[_shape(chapters=list[_shape(file=str)])]),
    "card": _shape(chapter=str, scale=str, results=dict, **RUN),
    "numbers": dict[str, _shape(column=str, spec=str, table=str, text=str, where=dict)],
    "shown": dict[str, _shape(rerun=str)],
    "verdicts": list[_shape(id=str, verdict=str, summary=str, scale=str, rule=dict, evidence=dict)],
}


def yaml(path: Path, shape: Any = None) -> Any:
    """Return the values of a YAML file of the shape that its name, or the caller, tells; raises FileError."""
    try:
        content = values.read(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise damaged(path, str(error)) from None
    except values.ERRORS as error:
        raise damaged(path, f"line {values.line(error)}: {values.reason(error)}", "mend that line") from None
    return fits(path, content, shape or SHAPES.get(path.stem, dict))


def json(path: Path, shape: Any = None) -> Any:
    """Return the content of a JSON file of the shape that its name, or the caller, tells; raises FileError."""
    try:
        content = loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from None
    return fits(path, content, shape or SHAPES.get(path.stem, Any))


def table(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Return a Parquet table that has some columns; raises FileError."""
    try:
        found = pd.read_parquet(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        raise damaged(path, str(error)) from None
    if missing := [name for name in columns if name not in found]:
        raise damaged(path, f"the column {missing[0]!r} is missing")
    return found


def notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook that is one, every code cell of it Python and named by an id; raises FileError."""
    flaw: dict = {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", nbformat.warnings.MissingIDFieldWarning)
            warnings.simplefilter("error", nbformat.warnings.DuplicateCellId)
            content = path.read_text(encoding="utf-8")
            loads(content)  # whose errors name the line
            found = nbformat.reads(content, as_version=4, capture_validation_error=flaw)
    except Exception as error:  # nbformat's own are many: of versions, of what is no mapping, of cells without a source
        raise damaged(path, str(error)) from None
    if flaw or not isinstance(found.get("cells"), list):
        raise damaged(path, str(getattr(flaw.get("ValidationError"), "message", "it has no cells")))
    for number, cell in enumerate(found.cells, 1):
        if "id" not in cell:
            raise damaged(path, f"cell {number} has no id; save it as notebook format 4.5")
        if cell.cell_type == "code":
            python(path, cell.source, f"cell {cell.id!r}, ")
    return found


def python(path: Path, source: str, place: str = "") -> ast.Module:
    """Return the syntax tree of Python source that stands in a file; raises FileError."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise damaged(path, f"{place}line {error.lineno or 1}: {error.msg}", "mend that line") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, brackets without end
        raise damaged(path, f"{place}{error}") from None


def module(path: Path) -> ast.Module:
    """Return the syntax tree of a file of Python; raises FileError."""
    try:
        return python(path, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise damaged(path, str(error)) from None


def ledger() -> dict[str, dict]:
    """Return every claim by id, as `claims.ledger` does; raises FileError for a claim file that is damaged."""
    try:
        return claims.ledger()
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        for path in sorted(claims.FOLDER.glob("*.yml")):
            yaml(path, PAPER)
        raise FileError(str(error)) from None  # a claim that stands in two files


def fits(path: Path, content: Any, shape: Any) -> Any:
    """Return the content of a file if it has the shape; raises FileError with its first flaw."""
    try:
        TypeAdapter(shape).validate_python(content)
        return content
    except ValidationError as error:
        raise damaged(path, sentence(error.errors()[0]), "mend it" * (path.suffix == ".yml")) from None


def sentence(flaw: dict) -> str:
    """Return what pydantic found wrong in a file: the place, what must stand there, and what does."""
    place = ": ".join(str(word) for word in flaw["loc"] if word != "[key]") or "it"
    said = {"missing": "is missing", "extra_forbidden": "is unknown"}.get(flaw["type"])
    rule = flaw["msg"].removeprefix("Input ").removeprefix("Value error, ").replace("should", "must")
    rule = rule.replace("valid dictionary", "mapping").split(" or instance")[0]
    return f"{place} {said or rule + '; got ' + repr(flaw['input'])[:60]}"


def damaged(path: Path, why: str, fix: str = "") -> FileError:
    """Return the sentence about a file that cannot be read."""
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    fix = fix or ("remove its folder and rerun" if ".build" in path.parts else "restore it, e.g. by `git checkout`")
    words = " ".join(why.split()).rstrip(".")
    return FileError(f"{place} cannot be read ({words[:160]}{'…' * (len(words) > 160)}); {fix}.")
