"""Parameters of a chapter, read from its annotated `parameters` cell; one check for the workflow and for the notebook."""

import ast
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

__all__ = [
    "Annotated", "Field", "Literal", "NonNegativeFloat", "NonNegativeInt", "Parameter", "ParameterError", "PositiveFloat", "PositiveInt",
    "check", "declared", "unread", "validate",
]  # fmt: skip


class ParameterError(ValueError):
    """A parameter that is unknown, has the wrong type or value, or is read by no cell."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: its name, its type with the range, its default."""

    name: str
    annotation: Any
    default: Any


def declared(source: str) -> dict[str, Parameter]:
    """Return the parameters that a parameters cell declares, `name: Type = literal`, in order.

    Raises ParameterError for a line that is neither an import nor such a declaration.
    """
    found, scope = {}, {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "<parameters>", "exec"), scope)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            annotation = eval(compile(ast.Expression(node.annotation), "<parameters>", "eval"), scope)
            name = node.target.id
            try:
                found[name] = Parameter(name, annotation, ast.literal_eval(node.value))
            except ValueError:
                raise ParameterError(f"parameters: {name} must have a literal default; got {ast.unparse(node.value)}.") from None
        else:
            raise ParameterError(f"parameters: each line must read `name: Type = literal`; got `{ast.unparse(node)}`.")
    return found


def validate(parameters: Mapping[str, Parameter], values: Mapping[str, Any], where: str = "parameters") -> dict[str, Any]:
    """Return the defaults updated with values, each of its declared type and range.

    Raises ParameterError with the value and the allowed ones, or with the nearest known name.
    """
    for name, value in values.items():
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ParameterError(f"{where}: unknown parameter {name!r} = {value!r}; {hint}Known: {', '.join(parameters)}.")
    checked = {name: parameter.default for name, parameter in parameters.items()} | dict(values)
    for name, value in checked.items():
        try:
            TypeAdapter(parameters[name].annotation).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ParameterError(
                f"{where}: {name}: {_sentence(reason)}; got {value!r} ({type(value).__name__}){_hint(value)}."
            ) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise ParameterError(f"{where}: {name}: must be a finite number; got {value!r}.")
    return checked


def unread(parameters: Mapping[str, Parameter], cells: list[str]) -> list[str]:
    """Return the declared parameters that none of the later code cells reads."""
    read = {
        node.id
        for cell in cells
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return [name for name in parameters if name not in read]


def check() -> None:
    """Check the parameters of the running notebook, those that papermill injected included; silent when all is well.

    Raises ParameterError before any work is done: call it in the imports cell.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise ParameterError("params.check: must run inside a notebook; got a plain Python process.")
    scope = shell.user_ns
    parameters = {name: Parameter(name, kind, scope.get(name)) for name, kind in scope.get("__annotations__", {}).items()}
    if not parameters:
        raise ParameterError("params.check: no executed cell declares parameters; run the parameters cell first.")
    injected = {
        node.targets[0].id
        for cell in scope["In"]
        if cell.startswith("# Parameters")  # papermill's first line
        for node in ast.parse(cell).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    validate(parameters, {name: scope[name] for name in [*parameters, *sorted(injected - set(parameters))]})


def _hint(value: Any) -> str:
    """How text that means a number or a switch is written: papermill reads `true` as text, and its files of YAML 1e-3."""
    if value in ("true", "false"):
        return f"; write {value.capitalize()}"
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        number = repr(float(value))
        return f"; write {number if '.' in number else number.replace('e', '.0e')}"
    return ""


def _sentence(reason: str) -> str:
    return reason.removeprefix("Input ").replace("should", "must")
