"""Chapters, scales and runs: what is to be executed, with which validated parameters, into which folder."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import nbformat

from collapse_utils import params
from workflow import cards, files, values

ROOT = cards.ROOT
BUILD = ROOT / ".build"
RESULTS = ROOT / "results"
SCALES = ("smoke", "laptop", "gpu", "paper")
PUBLISHED = "laptop"  # the scale of the committed outputs: the defaults of the parameters cells


class ChapterError(ValueError):
    """A chapter, scale or parameter that does not exist, or a chapter that cannot be run."""


@dataclass(frozen=True)
class Run:
    """One chapter at one scale with its parameters; `folder` is a function of everything that the run depends on."""

    chapter: str
    scale: str
    overrides: dict[str, Any]  # what is injected: the scale's values and the user's
    custom: bool  # whether the user changed parameters: then there is no committed verdict to compare with
    key: str

    @property
    def folder(self) -> Path:
        return BUILD / "runs" / self.chapter / f"{self.scale}-{self.key}"

    @property
    def label(self) -> str:
        """The chapter, with the parameters that differ from those of its scale."""
        known = at_scale(self.chapter, self.scale)
        own = [f"{name} = {value}" for name, value in self.overrides.items() if known.get(name, self) != value]
        return f"{self.chapter} ({', '.join(own)})" if own else self.chapter

    def verdicts(self) -> list[dict]:
        """The verdicts of the finished run."""
        return files.json(self.folder / "verdicts.json")


def _pages() -> dict[str, str]:
    """{chapter: its page}, of the numbered parts, in the order of the table of contents: the book numbers them from 1 in this order."""
    parts = files.yaml(ROOT / "_toc.yml")["parts"]
    pages = [entry["file"] for part in parts if part.get("numbered") for entry in part["chapters"]]
    return {page.rpartition("/")[2]: page for page in pages}


def chapters() -> list[str]:
    """Return the chapters in the order of the table of contents."""
    return list(_pages())


def page(chapter: str) -> str:
    """Return where a chapter lies, its notebook in the project and its page in the book, e.g. notebooks/solvable/kde."""
    return _pages()[chapter]


def find(name: str) -> str:
    """Return the chapter of this name, of this number in the book, or the one whose name begins so.

    Raises ChapterError, with the candidates, where there is none or more than one.
    """
    known = chapters()
    numbered = {str(k): chapter for k, chapter in enumerate(known, start=1)}
    exact = name if name in known else numbered.get(name)
    hits = [exact] if exact else [chapter for chapter in known if chapter.startswith(name)] if name else []
    if len(hits) > 1:
        raise ChapterError(f"chapter {name!r} must name one chapter; these begin so: {', '.join(hits)}.")
    if not hits:
        raise ChapterError(
            f"chapter {name!r} must name one of: {', '.join(f'{k} {chapter}' for k, chapter in numbered.items())}."
        )
    return hits[0]


def source(chapter: str) -> Path:
    """Return the path of a chapter's notebook."""
    return ROOT / f"{page(chapter)}.ipynb"


def read(chapter: str) -> nbformat.NotebookNode:
    """Return a chapter's notebook, anew; raises FileError where it is missing, no notebook, or not Python."""
    return files.notebook(source(chapter))


@dataclass(frozen=True)
class Chapter:
    """A chapter as it was read: everything that plans, sweeps and pages ask of its notebook."""

    name: str
    notebook: nbformat.NotebookNode  # shared by all who read it: nobody changes it
    parameters: dict[str, params.Parameter]

    @cached_property
    def cells(self) -> dict[str, str]:
        """The source of each code cell by its id, the parameters cell first."""
        return cards.code_cells(self.notebook)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The values of the parameters cell."""
        return {name: parameter.default for name, parameter in self.parameters.items()}

    @cached_property
    def inputs(self) -> dict:
        """What a run's numbers depend on; raises the sentence for the claim file or the module that cannot be read."""
        files.ledger()
        try:
            return cards.inputs(self.notebook)
        except (SyntaxError, ValueError) as error:
            for path in sorted((ROOT / "collapse_utils").rglob("*.py")):
                files.module(path)
            raise ChapterError(f"{self.name}: {error}") from None
        except KeyError as error:  # of a claim
            raise ChapterError(
                f"{self.name}: a claim that it judges has no {error} in book/claims; write its pass rule first."
            ) from None


@cache
def load(name: str) -> Chapter:
    """Return a chapter, read once.

    Raises FileError for what is no notebook, ChapterError without a parameters cell or with a parameter that no cell reads.
    """
    notebook = read(name)
    return Chapter(name, notebook, _declared(name, notebook))


def _declared(chapter: str, notebook: dict) -> dict[str, params.Parameter]:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if not cells or "parameters" not in cells[0]["metadata"].get("tags", []):
        raise ChapterError(f"{chapter}: the first code cell must be tagged `parameters`.")
    try:
        found = params.declared(cells[0]["source"])
        params.validate(found, {}, where=chapter)
    except params.ParameterError:
        raise
    except Exception as error:  # what it imports and the types it names are code, and run
        said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise ChapterError(f"{chapter}: the parameters cell cannot be read ({said}); mend it.") from None
    if idle := params.unread(found, [cell["source"] for cell in cells[1:]]):
        raise ChapterError(f"{chapter}: no cell reads the parameter {', '.join(map(repr, idle))}; use it or remove it.")
    return found


def plan(chapter: str, scale: str, custom: dict[str, Any] | None = None) -> Run:
    """Return the run of a chapter at a scale, its parameters validated before anything starts."""
    return plans(chapter, scale, [custom or {}])[0]


def planned(scale: str, names: str = "", parameters: str = "") -> list[Run]:
    """Return the runs of the chapters named (with commas), or of the whole book, with parameters as `settings` reads them.

    In the whole book each chapter that has the scale takes those parameters that it declares; one declared by none is refused.
    """
    custom = settings(parameters)
    if names:
        return [plan(find(name), scale, custom) for name in names.split(",")]
    book = [name for name in chapters() if has_scale(name, scale)]
    known = {name: load(name).parameters for name in book} if custom else {}
    for key, value in custom.items():
        if not any(key in names for names in known.values()):
            raise params.ParameterError(f"book: unknown parameter {key!r} = {value!r}; no chapter declares it.")
    return [plan(name, scale, {key: value for key, value in custom.items() if key in known[name]}) for name in book]


def plans(chapter: str, scale: str, customs: list[dict[str, Any]]) -> list[Run]:
    """Return the runs of a chapter with several sets of parameters, all validated before anything starts."""
    require_scale(chapter, scale)
    known, lock = at_scale(chapter, scale), cards.digest((ROOT / "constraints.txt").read_bytes())
    parameters, inputs = load(chapter).parameters, load(chapter).inputs
    runs = []
    for custom in customs:
        overrides = known | custom
        params.validate(parameters, overrides, where=chapter)
        runs.append(Run(chapter, scale, overrides, bool(custom), cards.key(inputs, lock=lock, parameters=overrides)))
    return runs


def at_scale(chapter: str, scale: str) -> dict[str, Any]:
    """Return what scales.yml changes in a chapter's parameters at a scale."""
    return _scales(chapter).get(scale) or {}


def has_scale(chapter: str, scale: str) -> bool:
    """Return whether a chapter has a scale: the published one always, another where scales.yml gives it.

    Raises ChapterError for what is no scale.
    """
    if scale not in SCALES:
        raise ChapterError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}.")
    return scale == PUBLISHED or scale in _scales(chapter)


def require_scale(chapter: str, scale: str) -> None:
    """Raise ChapterError where a chapter has no such scale."""
    if not has_scale(chapter, scale):
        known = [name for name in SCALES if has_scale(chapter, name)]
        raise ChapterError(f"{chapter} has no scale {scale!r} in scales.yml; it has {', '.join(known)}.")


def resources(chapter: str, scale: str) -> dict[str, int]:
    """Return what scales.yml declares for a chapter at a scale: threads, mem_mb, gpu."""
    return (_scales(chapter).get("resources") or {}).get(scale, {})


def cost_law(chapter: str) -> str | None:
    """Return the arithmetic expression in the parameters that scales.yml gives for the cost of a chapter, or None."""
    return _scales(chapter).get("cost")


def replicates(chapter: str) -> str | None:
    """Return the parameter that scales.yml names for the number of a chapter's replicates, or None."""
    return _scales(chapter).get("replicates")


def _scales(chapter: str) -> dict[str, Any]:
    return _every_scale().get(chapter) or {}


@cache
def _every_scale() -> dict[str, Any]:
    """scales.yml, read once: a scheduler asks for the resources of every waiting job again and again."""
    return files.yaml(ROOT / "scales.yml")


def settings(text: str) -> dict[str, Any]:
    """Return {'n': 20, 'others': ['full', 'head']} for 'n=20 others=[full, head]', values as `values.read` reads them.

    Raises ChapterError for a word that is not name=value, a name given twice, or what is no value.
    """
    found: dict[str, Any] = {}
    for word in re.split(r"\s+(?=[^\s=]+=)", text.strip()) if text.strip() else ():
        name, _, value = word.partition("=")
        if not (name.isidentifier() and value):
            raise ChapterError(f"parameters must be given as name=value, separated by spaces; got {word!r}.")
        if name in found:
            raise ChapterError(f"parameters: {name} is given twice, the second time as {value!r}; give it once.")
        try:
            found[name] = values.read(value)
        except values.ERRORS as error:
            raise ChapterError(
                f"parameters: {name}: {value!r} is no value ({values.reason(error)}); put text in quotes."
            ) from None
    return found


def published(chapter: str, scale: str, name: str) -> Any:
    """Return results/<scale>/<chapter>/<name>.json, or None where nothing was published."""
    path = RESULTS / scale / chapter / f"{name}.json"
    return files.json(path) if path.exists() else None
