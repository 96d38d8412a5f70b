"""Values as a person and Python read them: one YAML reader for `P=`, sweeps, scales.yml and the other files of the workflow."""

import re
from typing import Any, ClassVar

import yaml

TAG = "tag:yaml.org,2002:"
WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None, "~": None, "": None}
DIGITS = r"[0-9](?:_?[0-9])*"
PATTERNS = {
    "bool": r"true|True|false|False",
    "null": r"null|None|~|",
    "int": rf"[-+]?{DIGITS}",
    "float": rf"[-+]?(?:{DIGITS}\.?(?:{DIGITS})?|\.{DIGITS})(?:[eE][-+]?{DIGITS})?|[-+]?\.inf|\.nan",
}
ERRORS = (yaml.YAMLError, ValueError, RecursionError)  # of what cannot be read


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's where it is there: ten times faster
    """YAML whose words are read as in Python: 1e-3 and 1_000 are numbers; 1:30, yes, 0x1F and 2026-01-31 are text.

    Refused are a whole number that begins with 0, a key that stands twice, a list within itself, and tags beyond YAML's core.
    """

    yaml_implicit_resolvers: ClassVar = {
        None: [(TAG + kind, re.compile(rf"(?:{pattern})\Z")) for kind, pattern in PATTERNS.items()]
    }
    yaml_constructors: ClassVar = {}


def read(text: str) -> Any:
    """Return the value of a YAML text; raises one of ERRORS."""
    return yaml.load(text, Loader=Loader)


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, which know their lines; raises one of ERRORS."""
    return yaml.compose(text, Loader=Loader)


def construct(node: yaml.Node) -> Any:
    """Return the value of a node; raises one of ERRORS."""
    return Loader("").construct_object(node, deep=True)


def reason(error: Exception) -> str:
    """Return why a text could not be read, in a few words."""
    said = str(getattr(error, "problem", None) or error).splitlines()[0]
    return {"found unconstructable recursive node": "it stands within itself"}.get(said, said.partition("; use sys")[0])


def line(error: Exception, default: int = 1) -> int:
    """Return the line, from 1, in which a text could not be read."""
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else default


def _unknown(_, node):
    _refuse(node, f"the tag {node.tag.replace(TAG, '!!')} is unknown")


def _refuse(node, problem):
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _word(loader, node):
    text = loader.construct_scalar(node)
    return WORDS[text] if text in WORDS else _refuse(node, f"{text!r} is none of {', '.join(filter(None, WORDS))}")


def _int(loader, node):
    text = loader.construct_scalar(node)
    if re.match(r"[-+]?0[0-9_]", text):
        _refuse(node, f"a whole number does not begin with 0: write {int(text)}")
    return int(text)


def _float(loader, node):
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


def _list(loader, node):
    return loader.construct_sequence(node, deep=True)


def _mapping(loader, node):
    if not isinstance(node, yaml.MappingNode):
        _refuse(node, "not a mapping")
    found = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            _refuse(key, "a key must be a word; got a list or a mapping")
        if (name := loader.construct_object(key)) in found:
            _refuse(key, f"{key.value} stands there twice; keep one")
        found[name] = loader.construct_object(value, deep=True)
    return found


for _kind, _constructor in {"bool": _word, "null": _word, "int": _int, "float": _float, "seq": _list, "map": _mapping}.items():
    Loader.add_constructor(TAG + _kind, _constructor)
Loader.add_constructor(TAG + "str", yaml.SafeLoader.construct_scalar)
Loader.add_constructor(None, _unknown)
