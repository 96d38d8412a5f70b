"""Parameters: the same check before the kernel starts and inside the notebook."""

import ast
import logging
import subprocess
import sys

import nbformat
import papermill
import pytest
from papermill.cli import papermill as command_line

from collapse_utils import params
from workflow import chapters

CELL = """
from collapse_utils.params import AtLeast, Float, Healing, Int, MixingRegime, PositiveFloat, ProperFraction, SmallOrLarge, ThreeOrMore
seed: AtLeast[0] = 0
n_generations: Int[2, 1_000] = 10  # fits
noise: PositiveFloat = 1.0
share: Float[0, 1] = 0.5
cold: ProperFraction = 0.3
size: SmallOrLarge = "small"
regime: MixingRegime = "mixture(0.5)"
others: list[Healing] = ["full"]
sixteenths: ThreeOrMore[int] = [1, 2, 4]
"""


def test_defaults_and_good_values_pass():
    given = {"n_generations": 1000, "noise": 2, "share": 1, "regime": "real_and_last(.5)", "others": []}
    checked = params.validate(params.declared(CELL), given)
    known = {"seed": 0, "cold": 0.3, "size": "small", "sixteenths": [1, 2, 4]}
    assert checked == known | given


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_generatons": 20}, "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'"),
        ({"zzz": 1}, "unknown parameter 'zzz' = 1; Known: seed"),
        ({"n_generations": "20"}, "n_generations: must be a valid integer; got '20' (str)"),
        ({"n_generations": 2.5}, "got 2.5 (float)"),
        ({"n_generations": True}, "got True (bool)"),
        ({"n_generations": None}, "got None (NoneType)"),
        ({"n_generations": 1}, "must be between 2 and 1,000; got 1 (int)"),
        ({"n_generations": 1001}, "must be between 2 and 1,000; got 1001 (int)"),
        ({"seed": -1}, "must be at least 0; got -1"),
        ({"noise": 0}, "must be above 0; got 0"),
        ({"noise": float("nan")}, "got nan"),
        ({"noise": float("inf")}, "must be a finite number; got inf"),
        ({"share": 1.01}, "must be between 0 and 1; got 1.01"),
        ({"share": "0.5"}, "must be a valid number; got '0.5' (str)"),
        ({"cold": 1}, "must be above 0 and below 1; got 1"),
        ({"size": "tiny"}, "must be 'small' or 'large'; got 'tiny'"),
        ({"size": ["small"]}, "got ['small'] (list)"),
        ({"regime": "mixture"}, "must be accumulate_subsample, mixture(p) or real_and_last(λ)"),
        ({"others": ["full", "lora"]}, "must be 'qlora', 'full' or 'head'; got ['full', 'lora']"),
        ({"sixteenths": [1, 2]}, "at least 3 items"),
        ({"sixteenths": [1, 2, 0.5]}, "must be a valid integer; got [1, 2, 0.5]"),
    ],
)
def test_bad_values_give_one_sentence(values, message):
    with pytest.raises(params.ParameterError) as error:
        params.validate(params.declared(CELL), values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unread_and_malformed_declarations():
    assert params.unread(
        params.declared(CELL), ["seed + n_generations * share", "noise = 2; print(cold, size, regime, others)"]
    ) == [
        "noise",
        "sixteenths",
    ]
    with pytest.raises(params.ParameterError, match="literal default; got 2 \\* 3"):
        params.declared("from collapse_utils.params import AtLeast\nn: AtLeast[1] = 2 * 3")
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

    def run(*extra):
        command = [sys.executable, "-m", "papermill", str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), *extra]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    right = run("-p", "n_generations", "20")
    assert right.returncode == 0
    assert "unknown parameter" not in right.stderr
    wrong = run("-p", "n_generatons", "20")
    assert wrong.returncode != 0
    assert "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'" in wrong.stderr
    assert "must be between 2 and 1,000; got -3" in run("-p", "n_generations", "-3").stderr


def lines(chapter):
    """Return {name: (type, default, words of the comment)} of a parameters cell, as they are written."""
    source = next(cell.source for cell in chapters.read(chapter).cells if cell.cell_type == "code")
    return {
        node.target.id: (
            ast.get_source_segment(source, node.annotation),
            ast.get_source_segment(source, node.value),
            source.splitlines()[node.end_lineno - 1].encode()[node.end_col_offset :].decode().partition("#")[2].strip(),
        )
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign)
    }


@pytest.mark.parametrize("chapter", chapters.chapters())
def test_papermill_reads_every_parameter_of_a_chapter(chapter, caplog):
    """All are listed with type, default and words, and none is called unknown or a line that cannot be parsed."""
    known = lines(chapter)
    assert set(known) == set(chapters.defaults(chapter))
    with caplog.at_level(logging.WARNING, logger="papermill"):
        shown = papermill.inspect_notebook(chapters.source(chapter))
        papermill.execute_notebook(chapters.source(chapter), None, chapters.defaults(chapter), prepare_only=True)
    assert not caplog.messages
    assert {name: (one["inferred_type_name"], one["default"], one["help"]) for name, one in shown.items()} == known


@pytest.mark.parametrize("chapter", ["02_linear_models", "05b_vae", "10b_healing"])
def test_papermill_s_help_names_every_parameter(chapter, caplog):
    from click.testing import CliRunner

    shown = CliRunner().invoke(command_line, ["--help-notebook", str(chapters.source(chapter))])
    assert shown.exit_code == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    for name, (kind, default, words) in lines(chapter).items():
        assert f"  {name}: {kind} (default {default})" in shown.output
        assert words in shown.output


def test_papermill_runs_a_chapter_without_a_warning(tmp_path):
    """Chapter 02 at its smallest; papermill's warnings and the kernel's own would stand on stderr."""
    small = {"d": 3, "n_samples": 11, "n_generations": 5, "n_short": 5, "n_replicates": 100, "dof": 6.0}
    settings = [word for name, value in small.items() for word in ("-p", name, str(value))]
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(chapters.source("02_linear_models")),
        str(tmp_path / "out.ipynb"),
        *settings,
    ]
    done = subprocess.run([*command, "-k", "python3", "--no-progress-bar"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    assert "Unable to parse" not in done.stderr
