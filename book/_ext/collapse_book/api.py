"""The functions of the package, as their source describes them; read without an import, so a page needs no library of theirs."""

import ast
import inspect
import re

from collapse_book.drawing import Heading, Part
from collapse_utils import mirror
from workflow import chapters, files

FOLDER = mirror.PROJECT / "collapse_utils"
PUNCTUATION = re.compile(r"([!-/:-@\[-_{-~])")  # of ASCII, but for the grave accent
CODE = re.compile(r"(`[^`\n]+`)")
FENCE = "`" * 5


def module(name: str) -> list[Part]:
    """Return the section of a file of the package: what it is for, then its public functions and classes, each with an anchor.

    name: of a file beside the folders of `collapse_utils`. Raises ChapterError for another name.
    """
    if name not in modules():
        raise chapters.ChapterError(f"api: {name!r} is no file beside the folders; write one of {', '.join(modules())}.")
    tree = files.module(FOLDER / f"{name}.py")
    return [Heading(name), prose(ast.get_docstring(tree)), *entries(tree, f"collapse_utils.{name}"), *_constants(tree)]


def modules() -> list[str]:
    """Return the names of the files beside the folders of the package."""
    return sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


def entries(tree: ast.Module, path: str) -> list[Part]:
    """Return the entries of a module's public functions and classes, a class with its public methods, as MyST text."""
    found = []
    for node in tree.body:
        if not _public(node):
            continue
        inner = [_entry(member, "method", path, node.name) for member in node.body if _public(member)] if _is_class(node) else []
        found.append(_entry(node, "class" if _is_class(node) else "function", path, inner=inner))
    return found


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return the parameters of a function without self, or the fields of a class as its constructor takes them."""
    if _is_class(node):
        own = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and not one.target.id.startswith("_")]
        return signature(own).partition(" -> ")[0] if own else f"({', '.join(map(_field, fields))})" if fields else ""
    given = ast.unparse(node.args)
    bound = not any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    given = re.sub(r"^(self|cls)(, |$)", "", given) if bound else given
    return f"({given})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def prose(docstring: str | None) -> Part:
    """Return a docstring as MyST text: its paragraphs as plain words with code in graves, its indented lines as they stand."""
    parts = [block for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring or "")) if block]
    return "\n\n".join(f"```text\n{inspect.cleandoc(part)}\n```" if part.startswith(" ") else _escaped(part) for part in parts)


def _entry(node: ast.stmt, kind: str, path: str, owner: str = "", inner: list[Part] = ()) -> Part:
    name = f"{owner}.{node.name}" if owner else node.name
    plain = [one.id for one in node.decorator_list if isinstance(one, ast.Name)]
    kind, given = ("property", "") if "property" in plain else (kind, signature(node))
    options = [f":module: {path}", *[f":{word}:" for word in ("classmethod", "staticmethod") if word in plain]]
    fence = FENCE if owner else FENCE + "`"
    return "\n".join([f"{fence}{{py:{kind}}} {name}{given}", *options, "", prose(ast.get_docstring(node)), "", *inner, fence])


def _constants(tree: ast.Module) -> list[Part]:
    """What a module names besides, one line each, as it is written; what is longer is left to the source."""
    lines = [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id[0].isupper()
    ]
    short = [line for line in lines if len(line) <= 120]
    return ["\n".join(["Names with a value:", "", "```python", *short, "```"])] if short else []


def _public(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def _is_class(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef)


def _field(node: ast.AnnAssign) -> str:
    return ast.unparse(node)


def _escaped(text: str) -> str:
    """Words in which no sign means anything but itself, code in graves apart."""
    return "".join(part if CODE.fullmatch(part) else PUNCTUATION.sub(r"\\\1", part) for part in CODE.split(text))
