"""The package's definitions by content: what code reaches, as digests in which references are digests themselves.

A definition is a function, a class or an assignment of a module. Its digest is that of its syntax tree without docstrings,
with the digest of each definition of ours in place of the name that refers to it. So a file that moves, a definition that
is carried elsewhere or a new one beside it change nothing; a changed one changes all that reach it, and nothing else.
"""

import ast
import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "collapse_utils"
ROUNDS = 12  # references are followed so far; a test says that none in the package is further away
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (ast.FunctionDef, ast.Lambda, *COMPREHENSIONS)
MARK = re.compile("⟦(.*?)⟧")  # ⟦module:name⟧ stands for a definition, ⟦module:*⟧ for all of a module


def digest(content: object) -> str:
    """Return the first 16 hex digits of the SHA-256 of a string, of bytes, or of anything as JSON."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content, sort_keys=True)
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


@functools.cache
def package() -> "Package":
    """Return the package as it lies beside the workflow, read once; what was found is kept in .build until a source changes."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    sources = {name: file.read_text(encoding="utf-8") for name, file in zip(names, files, strict=True)}
    kept, key = ROOT / ".build" / "definitions.json", digest([sys.version, Path(__file__).read_text(encoding="utf-8"), sources])
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        found = json.loads(kept.read_bytes())
        if found.pop("key") == key:
            return Package(**found)
    found = Package.of(sources)
    _keep(kept, json.dumps({"key": key, **vars(found)}))
    return found


def _keep(path: Path, text: str) -> None:
    """Put a text in place of a file, whole; where there is no folder or no room, leave it."""
    part = path.with_name(f"{path.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Package:
    """The definitions of a package.

    scopes: {module: {local name: what it stands for}}; texts: the tree of each definition, `module:name`, as text with marks for
    what it refers to; digests: their digests.
    """

    scopes: dict[str, dict[str, str]]
    texts: dict[str, str]
    digests: dict[str, str]

    @classmethod
    def of(cls, sources: dict[str, str]) -> "Package":
        """Return the definitions of the sources of modules, by their dotted names."""
        trees = {name: ast.parse(source).body for name, source in sources.items()}
        bodies = {name: _definitions(body) for name, body in trees.items()}
        own = {name: {local: f"{name}.{local}" for local in found if local} for name, found in bodies.items()}
        texts, scopes = {}, {name: imports(body) | own[name] for name, body in trees.items()}
        empty = cls(scopes, {}, {})
        for name, found in bodies.items():
            for local, body in found.items():
                if local:
                    texts[f"{name}:{local}"] = empty.text(body + found.get("", []), scopes[name], outside=True)
            everything = sorted(local for local in found if local not in ("", "__all__"))
            texts[f"{name}:*"] = " ".join(f"{local}=⟦{name}:{local}⟧" for local in everything)
        parts = {key: MARK.split(text) for key, text in texts.items()}  # text, mark, text, mark, …, text
        digests = dict.fromkeys(texts, "")
        for _ in range(ROUNDS):
            before = digests
            digests = {
                key: digest("".join(before.get(part, "") if i % 2 else part for i, part in enumerate(split)))
                for key, split in parts.items()
            }
        return cls(scopes, texts, digests)

    def text(self, body: list[ast.stmt], scope: dict[str, str], outside: bool = False) -> str:
        """Return statements as text, with marks for definitions of ours; with outside, other packages by their own names.

        scope: {local name: what it was imported as}; imports among the statements come on top.
        """
        known = scope | {local: path for statement in body for local, path in imports(ast.walk(statement)).items()}
        return _Writer(self, known, outside).write(body)

    def resolve(self, path: str) -> str | None:
        """Return `module:name` of a dotted path, `module:*` of a module, None for what is not ours."""
        module, rest = path, []
        while module and module not in self.scopes:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
        if not module:
            return None
        if not rest or rest[0] not in self.scopes[module]:
            return f"{module}:*"
        if (target := self.scopes[module][rest[0]]) != f"{module}.{rest[0]}":  # imported there from elsewhere
            return self.resolve(target)
        return f"{module}:{rest[0]}"

    def filled(self, text: str, apart: Iterable[str] = ()) -> str:
        """Return a text with digests in place of its marks; modules kept `apart` count by the names of their definitions."""

        def fill(mark):
            module, _, name = mark[1].partition(":")
            return name if module.rpartition(".")[2] in apart else self.digests.get(mark[1], "")

        return MARK.sub(fill, text)

    def reached(self, texts: Iterable[str]) -> list[str]:
        """Return the definitions that texts refer to, directly or through one another, sorted."""
        found: set[str] = set()
        queue = [key for text in texts for key in MARK.findall(text)]
        while queue:
            if (key := queue.pop()) not in found and key in self.texts:
                found.add(key)
                queue += MARK.findall(self.texts[key])
        return sorted(key for key in found if not key.endswith(":*"))

    def own(self, key: str) -> str:
        """Return the digest of a definition by itself: what it refers to counts by name alone."""
        return digest(MARK.sub(lambda mark: mark[1].partition(":")[2], self.texts[key]))


def imports(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Return {local name: dotted path} of the import statements among the nodes, those inside `if` and `try` included."""
    found = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= {alias.asname: alias.name} if alias.asname else {alias.name.split(".")[0]: alias.name.split(".")[0]}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If | ast.Try | ast.With):
            found |= imports(ast.iter_child_nodes(node))
    return found


def _definitions(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """{name: its statements} of a module; under "" those that belong to all: neither definition nor import nor docstring."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in body:
        names = [""]
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = [statement.name]
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if all(isinstance(target, ast.Name | ast.Tuple) for target in targets):
                names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        elif isinstance(statement, ast.Import | ast.ImportFrom) or _docstring(statement):
            names = []
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


def _docstring(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
    )


def _bound(scope: ast.AST) -> set[str]:
    """The parameters and variables of a function or of a comprehension, not those of the scopes inside it."""
    found, elsewhere, queue = set(), set(), list(ast.iter_child_nodes(scope))
    while queue:
        node = queue.pop()
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Global):
            elsewhere.update(node.names)
        if not isinstance(node, (*SCOPES, ast.ClassDef)):
            queue += ast.iter_child_nodes(node)
    return found - elsewhere


class _Writer:
    """Writes a syntax tree as text, the same for every version of Python: without docstrings, empty fields, imports of ours.

    References to definitions of ours become marks. With outside, names of other packages become what they were imported as.
    """

    def __init__(self, package: Package, scope: dict[str, str], outside: bool):
        self.package, self.scope, self.outside = package, scope, outside

    def write(self, node: object) -> str:
        """Return a node, a list of nodes or a plain value as text."""
        if isinstance(node, list):
            return f"[{', '.join(text for text in map(self.write, node) if text)}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if _docstring(node) or self._dropped(node):
            return ""
        if isinstance(node, ast.Name | ast.Attribute) and (reference := self._reference(node)):
            return reference
        within = self._within(node) if isinstance(node, SCOPES) else self
        outside = ("args", "decorator_list", "returns")  # of a scope, what is not of it alone
        filled = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        fields = [f"{name}={(self if name in outside else within).write(value)}" for name, value in filled]
        if isinstance(node, COMPREHENSIONS):  # the first iterable is evaluated outside
            fields.append(f"over={self.write(node.generators[0].iter)}")
        return f"{type(node).__name__}({', '.join(fields)})"

    def _within(self, node: ast.AST) -> "_Writer":
        """The writer of what stands in a scope: its parameters and variables are no definitions of ours."""
        bound = _bound(node)
        return _Writer(self.package, {name: path for name, path in self.scope.items() if name not in bound}, self.outside)

    def _dropped(self, node):
        """Whether a node is an import that its references make superfluous."""
        if isinstance(node, ast.Import):
            return self.outside or all(alias.name.split(".")[0] == PACKAGE for alias in node.names)
        return isinstance(node, ast.ImportFrom) and (self.outside or node.module.split(".")[0] == PACKAGE)

    def _reference(self, node):
        """The mark of a name or of a chain of attributes that leads to a definition of ours, with the attributes left over."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in self.scope):
            return None
        path = self.scope[node.id]
        while names and path in self.package.scopes and self.package.resolve(f"{path}.{names[0]}"):
            path = f"{path}.{names.pop(0)}"
        if (key := self.package.resolve(path)) is None and not self.outside:
            return None
        return ".".join([f"⟦{key}⟧" if key else path, *names])
