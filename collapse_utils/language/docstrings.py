"""English text that every installation has: the documentation inside the pinned packages, read without importing them."""

import ast
import dataclasses
import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path

from collapse_utils import mirror
from collapse_utils.language import texts

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "matplotlib")
SKIPPED = {"tests", "externals", "distutils"}  # folders that hold no text, others' text, or that not every Python has
LEAST = 500  # characters of a document


def read(names: Sequence[str]) -> list[str]:
    """Return the docstrings of modules, classes and functions in files such as numpy/linalg/_linalg.py, a document each.

    Examples (`>>>` and their output) are left out. Raises OSError for a file that is not installed.
    """
    return [_document(_folder(name.split("/")[0]).parent / name, name) for name in names]


def corpus(source: str) -> texts.Corpus:
    """Return the text that a trained decoder is judged on: docstrings that the shipped one has not seen, or any that texts.load knows.

    validation is for distances and choices, test for losses and questions; train is empty for docstrings. A file or a folder is
    named "text by path". Raises what read and texts.load raise.
    """
    if source != "docstrings":
        found = texts.load(source)
        named = {"python-docs", *texts.OFFICIAL} >= set(source.split("+"))
        return dataclasses.replace(found, name=source if named else "text by path")
    card = json.loads(mirror.project_file("shipped/deep-thin/card.json").read_text(encoding="utf-8"))
    validation, test = read(card["validation"]), read(card["held out"])
    return texts.Corpus("docstrings, unseen", [], validation, test, sha256(validation + test))


def sha256(documents: Sequence[str]) -> str:
    """Return the SHA-256 of documents, for a run card."""
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def names() -> list[str]:
    """Return the names of all files of PACKAGES whose documentation is long enough to be read."""
    tops = [_folder(package) for package in PACKAGES]
    found = [(file, file.relative_to(top.parent).as_posix()) for top in tops for file in sorted(top.rglob("*.py"))]
    return [name for file, name in found if not SKIPPED & set(name.split("/")) and len(_document(file, name)) >= LEAST]


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None:
        raise OSError(f"docstrings: {package} must be installed; install the project's requirements.")
    return Path(found.origin).parent


def _document(file: Path, name: str) -> str:
    if not file.is_file():
        raise OSError(f"docstrings: {name} must be installed; got another version of {name.split('/')[0]}; see requirements.txt.")
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    parts = [found for node in tree if isinstance(node, nodes) and (found := ast.get_docstring(node))]
    text = "\n".join(line.rstrip() for part in parts for line in [*part.splitlines(), ""])
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"^ *>>>.*(\n.+)*", "", text, flags=re.M)).strip()
