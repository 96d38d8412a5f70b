"""Run cards: what a published number was computed from, as digests of what its cells reach."""

import ast
import re
from functools import cache

from collapse_utils import claims
from workflow import definitions
from workflow.definitions import ROOT, digest

FIGURES = ("plot", "panels")  # a change in them makes figures stale
GUARDS = "params"  # and one in it nothing: it only refuses
READS = "⟦collapse_utils.mirror:project_file⟧"  # what reads a file of the project, in a cell or a definition
READ = re.compile(rf"func={READS}, args=\[Constant\(value='([^']+)'\)\]")


def code_cells(notebook: dict) -> dict[str, str]:
    """Return {cell id: source} of the code cells, papermill's injected one left out."""
    return {
        cell["id"]: cell["source"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and not _tagged(cell, "injected-parameters")
    }


def inputs(notebook: dict, package: definitions.Package | None = None) -> dict:
    """Return the digests of everything that a notebook's numbers depend on, apart from parameters and versions.

    cells: each with all that it reaches in the package, the parameters cell by its names and values alone; figures: what is
    reached in `plot`; rules: of the claims that are named; files: of the project that are read. `uses` says what is reached.
    """
    package, cells = package or definitions.package(), code_cells(notebook)
    declared = [cell["id"] for cell in notebook["cells"] if _tagged(cell, "parameters")]
    trees = {id_: ast.parse(source) for id_, source in cells.items()}
    texts = _texts(package, {id_: tree for id_, tree in trees.items() if id_ not in declared})
    reached = [key for key in package.reached(texts.values()) if _module(key) != GUARDS]
    words = {
        node.value
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    digests = {id_: digest(package.filled(text, (*FIGURES, GUARDS))) for id_, text in texts.items()}
    return {
        "cells": {id_: digests.get(id_) or digest(_values(tree)) for id_, tree in trees.items()},
        "uses": {_short(key): package.own(key) for key in reached if _module(key) not in FIGURES},
        "figures": {key.partition(":")[2]: package.digests[key] for key in reached if _module(key) in FIGURES},
        "rules": {id_: digest(claim["test"]) for id_, claim in claims.ledger().items() if id_ in words},
        "files": {file: _content(file) for file in _files([*texts.values(), *(package.texts[key] for key in reached)])},
    }


def changed(card: dict, notebook: dict, package: definitions.Package | None = None) -> list[str]:
    """Return what differs between a card and the notebook and package beside it, e.g. 'cell judge-main', '`linear.risk`'."""
    return differing(card, inputs(notebook, package))


def differing(card: dict, now: dict) -> list[str]:
    """Return what differs between a card and inputs, as `changed` does."""
    known = {"cells": "cell", "rules": "rule of", "files": "file"}
    found = [
        f"{word} {name}"
        for kind, word in known.items()
        for name in sorted(now[kind].keys() | card.get(kind, {}).keys())
        if now[kind].get(name) != card.get(kind, {}).get(name)
    ]
    before = set(card.get("uses", {}).values())
    return found + [f"`{name}`" for name, own in now["uses"].items() if found and own not in before]


def key(inputs: dict, **others: object) -> str:
    """Return what names the folder of a run: a digest of what its numbers depend on, and of others, such as parameters."""
    return digest({kind: found for kind, found in inputs.items() if kind != "uses"} | others)


def _texts(package: definitions.Package, trees: dict[str, ast.Module]) -> dict[str, str]:
    """The cells as texts with marks; what one imports, the cells behind it know."""
    scope: dict[str, str] = {}
    texts = {}
    for id_, tree in trees.items():
        scope |= definitions.imports(ast.walk(tree))
        texts[id_] = package.text(tree.body, scope)
    return texts


def _values(tree: ast.Module) -> dict[str, str]:
    """{name: default} of a parameters cell: how a type is written changes no number."""
    lines = (node for node in tree.body if isinstance(node, ast.AnnAssign))
    return {ast.unparse(node.target): ast.unparse(node.value) for node in lines if node.value is not None}


def _files(texts: list[str]) -> list[str]:
    """The files that texts with marks read by mirror.project_file("…"), sorted; raises ValueError where the name is computed."""
    files = [file for text in texts for file in READ.findall(text)]
    if len(files) != sum(text.count(READS) for text in texts):
        raise ValueError("mirror.project_file: the file must be given as plain text, so that the run card knows it.")
    return sorted(set(files))


def _module(key: str) -> str:
    return key.partition(":")[0].rpartition(".")[2]


def _short(key: str) -> str:
    module, _, name = key.partition(":")
    return f"{module.removeprefix(definitions.PACKAGE + '.')}.{name}"


def _tagged(cell: dict, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


@cache
def _content(file: str) -> str:
    path = ROOT / file
    if path.is_dir():
        return digest([[found.name, digest(found.read_bytes())] for found in sorted(path.rglob("*")) if found.is_file()])
    return digest(path.read_bytes())
