"""Parameters: the same check before the kernel starts and inside the notebook."""

import subprocess
import sys

import nbformat
import pytest

from collapse_utils import params

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
