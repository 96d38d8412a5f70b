"""Parameters of a chapter, read from its annotated `parameters` cell; one check for the workflow and for the notebook.

A type is spelled with letters, digits, commas and square brackets alone: papermill reads no more, and prints it in its help.
"""

import ast
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    Field,
    NonNegativeInt as NonNegativeInt,  # imported by notebooks published earlier, as Annotated, Field, Literal are
    PositiveInt as PositiveInt,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic_core import PydanticCustomError


def _described(kind: Any, words: str, **constraint: Any) -> Any:
    """Return the type with the constraint of a pydantic Field; a value beyond it is told what it must be."""

    def reworded(value, within):
        try:
            return within(value)
        except ValidationError as error:
            if not error.errors()[0]["type"].startswith(("greater", "less", "string_pattern")):
                raise  # of another type
            raise PydanticCustomError("range", f"Input should be {words}") from None

    return Annotated[kind, Field(**constraint), WrapValidator(reworded)]


class Int:
    """A whole number within bounds: Int[12, 200] from 12 to 200."""

    def __class_getitem__(cls, bounds: tuple[int, int]) -> Any:
        """Return the type of the whole numbers from the first bound to the second, both included."""
        low, high = bounds
        return _described(int, f"between {low:,} and {high:,}", ge=low, le=high)


class AtLeast:
    """A whole number without an upper bound: AtLeast[30] from 30 on."""

    def __class_getitem__(cls, low: int) -> Any:
        """Return the type of the whole numbers from low on."""
        return _described(int, f"at least {low:,}", ge=low)


class Float:
    """A number within bounds, whole or not: Float[0, 1] from 0 to 1."""

    def __class_getitem__(cls, bounds: tuple[int, int]) -> Any:
        """Return the type of the numbers from the first bound to the second, both included."""
        low, high = bounds
        return _described(float, f"between {low:,} and {high:,}", ge=low, le=high)


# What brackets cannot say: bounds that are left out, and bounds that are no whole numbers.
PositiveFloat = _described(float, "above 0", gt=0)
ProperFraction = _described(float, "above 0 and below 1", gt=0, lt=1)
InnerFraction = _described(float, "between 0.05 and 0.95", ge=0.05, le=0.95)  # of 20 things, one at least on either side
ProperFractionOrZero = _described(float, "at least 0 and below 1", ge=0, lt=1)
DegreesOfFreedom = _described(float, "above 4 and at most 100", gt=4, le=100)  # a fourth moment exists
EigenvalueRatio = _described(float, "between 1.5 and 10", ge=1.5, le=10)
RelativeError = _described(float, "above 0.01 and at most 0.3", gt=0.01, le=0.3)
SmallPenalty = _described(float, "between 1e-6 and 0.05", ge=1e-6, le=0.05)
SpectralExponent = _described(float, "between 1.2 and 4", ge=1.2, le=4)
SourceExponent = _described(float, "between 0.1 and 1", ge=0.1, le=1)
TailExponent = _described(float, "between 1.2 and 3", ge=1.2, le=3)
LighterTailExponent = _described(float, "between 1.3 and 3", ge=1.3, le=3)

# A choice of two or three is named by what it offers.
CpuOrCuda = Literal["cpu", "cuda"]
DiabetesDigitsOrMnist = Literal["diabetes", "digits", "mnist"]
DigitsOrMnist = Literal["digits", "mnist"]
DigitsMnistOrCifar10 = Literal["digits", "mnist", "cifar10"]
DigitsMnistOrCifar10 = Literal["digits", "mnist", "cifar10"]
GaussianOrBernoulli = Literal["gaussian", "bernoulli"]
SmallOrLarge = Literal["small", "large"]
Healing = Literal["lora", "qlora", "full", "head"]
DecoderSize = Literal["llama-tiny", "llama-small", "llama-1m", "gpt2-1m", "gpt2-9m", "llama-12m", "llama-42m", "llama-126m"]
SmallDecoderSize = Literal["llama-tiny", "llama-small", "gpt2-1m", "llama-1m"]
LargerDecoderSizeOrNone = Literal["none", "llama-small", "gpt2-1m", "llama-1m"]
RegimeOrNone = Literal["none", "accumulate_subsample", "replace_multiple", "mixture"]
MixingRegime = _described(
    str,
    "accumulate_subsample, mixture(p) or real_and_last(λ) with a number in the brackets",
    pattern=r"^(accumulate_subsample|(mixture|real_and_last)\(\d*\.?\d+\))$",
)

_T = TypeVar("_T")
ThreeOrMore = Annotated[list[_T], Field(min_length=3)]  # ThreeOrMore[int]: a list of at least three whole numbers


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
