"""Run cards: what a published number was computed from, as hashes of syntax trees without docstrings."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from collapse_utils import claims

ROOT = Path(__file__).resolve().parents[1]
FIGURES_ONLY = {"collapse_utils.plot"}  # a change there makes figures stale, not numbers


def code_hash(source: str) -> str:
    """Return a hash of Python source that ignores comments, layout and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            body[0] = ast.Pass()
    return digest(ast.dump(tree))


def digest(content: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of a string, of bytes, or of anything as JSON."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content, sort_keys=True)
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def code_cells(notebook: dict) -> dict[str, str]:
    """Return {cell id: source} of the code cells, papermill's injected one left out."""
    return {
        cell["id"]: cell["source"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and "injected-parameters" not in cell["metadata"].get("tags", [])
    }


def imported_modules(sources: list[str]) -> list[str]:
    """Return the modules of collapse_utils that the sources import, directly or through one another, sorted."""
    found: set[str] = set()
    queue = [name for source in sources for name in _imports(source)]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += _imports(_file(name).read_text(encoding="utf-8"))
    return sorted(found)


def inputs(notebook: dict) -> dict:
    """Return the hashes of everything that a notebook's numbers depend on, apart from parameters and versions."""
    cells = code_cells(notebook)
    modules = {name: _module_hash(name) for name in imported_modules(list(cells.values()))}
    judged = {id_: claim["test"] for id_, claim in claims.ledger().items() if f'"{id_}"' in "\n".join(cells.values())}
    return {
        "cells": {id_: code_hash(source) for id_, source in cells.items()},
        "modules": {name: value for name, value in modules.items() if name not in FIGURES_ONLY},
        "figures": {name: value for name, value in modules.items() if name in FIGURES_ONLY},
        "rules": {id_: digest(rule) for id_, rule in judged.items()},
    }


def changed(card: dict, notebook: dict) -> list[str]:
    """Return what differs between a card and the notebook and package beside it, e.g. 'cell judge-main'."""
    now, singular = inputs(notebook), {"cells": "cell", "modules": "module", "rules": "rule of"}
    return [
        f"{word} {name}"
        for kind, word in singular.items()
        for name in sorted(now[kind].keys() | card[kind].keys())
        if now[kind].get(name) != card[kind].get(name)
    ]


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _module_hash(module: str) -> str:
    return code_hash(_file(module).read_text(encoding="utf-8"))


def _imports(source: str) -> list[str]:
    """The modules of collapse_utils that one source imports, packages on the way included."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    ours = [name for name in names if name.split(".")[0] == "collapse_utils" and _file(name).exists()]
    parents = {".".join(name.split(".")[:k]) for name in ours for k in range(1, name.count(".") + 2)}
    return sorted(parents)
