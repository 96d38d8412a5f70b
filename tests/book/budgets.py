"""What chapters, modules and functions measure, and the table of those above the limits: it may only shrink.

`python -m tests.book.budgets` lowers the table to what is measured now, drops what keeps within the limits, and raises nothing.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

import yaml

from workflow import cells, chapters
from workflow.definitions import ROOT

TABLE = Path(__file__).with_name("budgets.yml")
LIMITS = {  # visible and all in tokens, columns of the longest line of code, lines of code
    "chapters": {"visible": 2400, "all": 3000, "cells": 16, "figures": 4, "parameters": 12, "columns": cells.COLUMNS},
    "modules": {"lines": 250},
    "functions": {"lines": 30},
}
LOOSE = 0.03  # a size in the table may be so much above the real one
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def tokens(source: str) -> int:
    """Return the number of tokens of code: names, numbers, strings and signs; no comments, however the lines are broken."""
    return sum(token.type not in LAYOUT for token in tokenize.generate_tokens(io.StringIO(source).readline))


def held(source: str) -> set[int]:
    """Return the numbers of the lines that hold code: no comments, no docstrings, nothing blank."""
    found = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            found -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return found


def functions(node: ast.AST, within: str = ""):
    """Yield (name, node) of every function, those of classes and of other functions by their full names."""
    for inner in ast.iter_child_nodes(node):
        named = isinstance(inner, ast.FunctionDef | ast.ClassDef)
        name = f"{within}.{inner.name}".lstrip(".") if named else within
        if isinstance(inner, ast.FunctionDef):
            yield name, inner
        yield from functions(inner, name)


def sizes_of(name: str) -> dict[str, int]:
    """Return the sizes of a chapter; visible are the cells of code that a reader need not unfold."""
    chapter = chapters.load(name)
    code = [cell for cell in chapter.notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in code if not any(tag.startswith(("hide-", "remove-")) for tag in cell.metadata.get("tags", []))]
    figures = [cell for cell in code if "figure" in cell.metadata.get("mystnb", {})]
    return {
        "visible": sum(tokens(cell.source) for cell in shown),
        "all": sum(tokens(cell.source) for cell in code),
        "cells": len(code),
        "figures": len(figures),
        "parameters": len(chapter.parameters),
        "columns": cells.longest(chapter.cells),
    }


def measured() -> dict[str, dict[str, dict[str, int]]]:
    """Return {kind: {name: sizes}} of every chapter, module and function."""
    found = {"chapters": {name: sizes_of(name) for name in chapters.chapters()}, "modules": {}, "functions": {}}
    for path in sorted(path for top in ("collapse_utils", "workflow", "book/_ext") for path in (ROOT / top).rglob("*.py")):
        source, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        found["modules"][name] = {"lines": len(lines := held(source))}
        for function, node in functions(ast.parse(source)):
            found["functions"][f"{name}:{function}"] = {"lines": len(lines & set(range(node.lineno, node.end_lineno + 1)))}
    return found


def listed() -> dict[str, dict[str, dict[str, int]]]:
    """Return the table: of what is above a limit, the size that it may have."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def above(kind: str, name: str, sizes: dict[str, int], table: dict) -> list[str]:
    """Return what is larger than its limit, or than the table allows, as sentences."""
    allowed = LIMITS[kind] | table[kind].get(name, {})
    return [f"{name}: {size} {what}, at most {allowed[what]}" for what, size in sizes.items() if size > allowed[what]]


def lowered(table: dict, sizes: dict) -> dict:
    """Return the table without what is gone or within the limits, and with smaller sizes where they are smaller now."""
    return {
        kind: {
            name: kept
            for name, old in table[kind].items()
            if (now := sizes[kind].get(name))
            and (kept := {what: min(size, now[what]) for what, size in old.items() if now[what] > LIMITS[kind][what]})
        }
        for kind in LIMITS
    }


def loose(table: dict, sizes: dict) -> list[str]:
    """Return the entries of the table that are not needed any more, or larger than they need be."""
    low = lowered(table, sizes)
    return [
        f"{name}: {what} {size}, now {sizes[kind].get(name, {}).get(what)}"
        for kind in LIMITS
        for name, old in table[kind].items()
        for what, size in old.items()
        if low[kind].get(name, {}).get(what, 0) < (1 - LOOSE) * size
    ]


def main() -> int:
    """Lower the table; say what is above it."""
    table, sizes = listed(), measured()
    low = lowered(table, sizes)
    head = "".join(line for line in TABLE.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#"))
    TABLE.write_text(head + yaml.safe_dump(low, sort_keys=True, default_flow_style=None, width=120), encoding="utf-8")
    over = [said for kind in LIMITS for name, one in sizes[kind].items() for said in above(kind, name, one, low)]
    print("\n".join(f"too large: {said}" for said in over) or "Nothing is too large.")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
