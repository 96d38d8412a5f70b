"""Parameters: the same check before the kernel starts and inside the notebook."""

import ast
import subprocess
import sys

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_utils import params
from workflow import chapters, files, values

CELL = """
from collapse_utils.params import Annotated, Field, Literal, NonNegativeInt, PositiveFloat, PositiveInt
seed: NonNegativeInt = 0
n_generations: PositiveInt = 10  # fits
noise: PositiveFloat = 1.0
share: Annotated[float, Field(ge=0, le=1)] = 0.5
arm: Literal["replace", "accumulate"] = "replace"
"""


def test_defaults_and_good_values_pass():
    checked = params.validate(params.declared(CELL), {"n_generations": 20, "noise": 2, "share": 1})
    assert checked == {"seed": 0, "n_generations": 20, "noise": 2, "share": 1, "arm": "replace"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_generatons": 20}, "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'"),
        ({"zzz": 1}, "unknown parameter 'zzz' = 1; Known: seed"),
        ({"n_generations": "20"}, "n_generations: must be a valid integer; got '20' (str)"),
        ({"n_generations": 2.5}, "got 2.5 (float)"),
        ({"noise": "1e-3"}, "must be a valid number; got '1e-3' (str); write 0.001."),
        ({"noise": "1e-7"}, "must be a valid number; got '1e-7' (str); write 1.0e-07."),
        ({"noise": "much"}, "must be a valid number; got 'much' (str)."),
        ({"n_generations": "true"}, "must be a valid integer; got 'true' (str); write True."),
        ({"n_generations": True}, "got True (bool)"),
        ({"n_generations": None}, "got None (NoneType)"),
        ({"n_generations": 0}, "must be greater than 0; got 0"),
        ({"seed": -1}, "greater than or equal to 0; got -1"),
        ({"noise": float("nan")}, "got nan"),
        ({"noise": float("inf")}, "must be a finite number; got inf"),
        ({"share": 1.01}, "less than or equal to 1; got 1.01"),
        ({"arm": "acumulate"}, "must be 'replace' or 'accumulate'; got 'acumulate'"),
        ({"arm": ["replace"]}, "got ['replace'] (list)"),
    ],
)
def test_bad_values_give_one_sentence(values, message):
    with pytest.raises(params.ParameterError) as error:
        params.validate(params.declared(CELL), values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unread_and_malformed_declarations():
    assert params.unread(params.declared(CELL), ["seed + n_generations", "noise = 2; print(arm)"]) == ["noise", "share"]
    with pytest.raises(params.ParameterError, match="literal default; got 2 \\* 3"):
        params.declared("from collapse_utils.params import PositiveInt\nn: PositiveInt = 2 * 3")
    with pytest.raises(params.ParameterError, match="each line must read"):
        params.declared("n = 3")


def test_a_bare_papermill_call_stops_with_the_sentence(tmp_path):
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    declare = nbformat.v4.new_code_cell(CELL.strip(), metadata={"tags": ["parameters"]})
    notebook.cells = [
        declare,
        nbformat.v4.new_code_cell("from collapse_utils import params\nparams.check()"),
        nbformat.v4.new_code_cell("print('worked')"),
    ]
    nbformat.write(notebook, tmp_path / "in.ipynb")

    def papermill(*extra):
        command = [sys.executable, "-m", "papermill", str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), *extra]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert papermill("-p", "n_generations", "20").returncode == 0
    wrong = papermill("-p", "n_generatons", "20")
    assert wrong.returncode != 0
    assert "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'" in wrong.stderr
    assert "must be greater than 0; got -3" in papermill("-p", "n_generations", "-3").stderr
    assert "must be a valid integer; got '1:30' (str)" in papermill("-p", "n_generations", "1:30").stderr
    assert papermill("-p", "noise", "1e-3", "-p", "n_generations", "010").returncode == 0
    injected = next(
        cell
        for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        if "noise" in cell.source and ":" not in cell.source
    )
    assert {"noise = 0.001", "n_generations = 10"} < set(injected.source.splitlines())
    (tmp_path / "values.yml").write_text("noise: 1e-3", encoding="utf-8")
    assert "must be a valid number; got '1e-3' (str); write 0.001" in papermill("-f", str(tmp_path / "values.yml")).stderr


PLAIN = {
    "5": 5, "-3": -3, "1_000": 1000, "1e-3": 0.001, "1E5": 100000.0, "1.": 1.0, ".5": 0.5, "1_0.5": 10.5, "-2.5e+2": -250.0,
    "true": True, "False": False, "null": None, "~": None, "None": None,
    "1:30": "1:30", "yes": "yes", "off": "off", "0x1F": "0x1F", "2026-01-31": "2026-01-31", "1_": "1_", "nan": "nan", "none": "none",
    "'010'": "010", "[1e-3, full, [1]]": [0.001, "full", [1]], "{a: 1}": {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), PLAIN.items())
def test_a_value_is_what_a_person_and_python_read_the_same_everywhere(text, value, tmp_path):
    found = [values.read(text), chapters.settings(f"name={text}")["name"]]
    (tmp_path / "scales.yml").write_text(f"chapter: {{smoke: {{name: {text}}}}}", encoding="utf-8")
    found.append(files.yaml(tmp_path / "scales.yml")["chapter"]["smoke"]["name"])
    found += values.construct(values.compose(f"[{text}]"))
    assert [(one, type(one)) for one in found] == [(value, type(value))] * 4


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()))
def test_what_python_prints_is_read_back(value):
    assert (values.read(repr(value)), type(values.read(repr(value)))) == (value, type(value))


@given(st.text("0123456789_+-.eE:", min_size=1, max_size=8))
def test_a_number_here_is_a_number_in_python_too(text):
    try:
        value = values.read(text)
    except values.ERRORS:
        return
    if type(value) in (int, float):
        assert ast.literal_eval(text) == value or value != value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("010", "a whole number does not begin with 0: write 10"),
        ("-007", "a whole number does not begin with 0: write -7"),
        ("[1, 08]", "a whole number does not begin with 0: write 8"),
        ("{a: 1, a: 2}", "a stands there twice; keep one"),
        ("&a [*a]", "it stands within itself"),
        ("!!timestamp 2026-01-31", "the tag !!timestamp is unknown"),
        ("!!python/name:os.system x", "the tag !!python/name:os.system is unknown"),
        ("!!bool yes", "'yes' is none of true"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)
def test_what_is_no_value_is_refused_with_the_fix(text, said):
    with pytest.raises(chapters.ChapterError) as error:
        chapters.settings(f"name={text}")
    assert said in str(error.value)
    assert str(error.value).endswith("put text in quotes.")
