"""Parameters: the same check before the kernel starts and inside the notebook."""

import ast
import logging
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from hypothesis import given, strategies as st
from papermill.cli import papermill as command_line

from collapse_utils import params
from tests import support
from workflow import chapters, files, values

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
        ({"noise": "1e-3"}, "must be a valid number; got '1e-3' (str); write 0.001."),
        ({"noise": "1e-7"}, "must be a valid number; got '1e-7' (str); write 1.0e-07."),
        ({"noise": "much"}, "must be a valid number; got 'much' (str)."),
        ({"n_generations": "true"}, "must be a valid integer; got 'true' (str); write True."),
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
        ({"others": ["full", "adapters"]}, "must be 'lora', 'qlora', 'full' or 'head'; got ['full', 'adapters']"),
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
    assert "must be a valid integer; got '1:30' (str)" in run("-p", "n_generations", "1:30").stderr
    assert run("-p", "noise", "1e-3", "-p", "n_generations", "010").returncode == 0
    injected = next(
        cell
        for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        if "noise" in cell.source and ":" not in cell.source
    )
    assert {"noise = 0.001", "n_generations = 10"} < set(injected.source.splitlines())
    (tmp_path / "values.yml").write_text("noise: 1e-3", encoding="utf-8")
    assert "must be a valid number; got '1e-3' (str); write 0.001" in run("-f", str(tmp_path / "values.yml")).stderr


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
    assert set(known) == set(chapters.load(chapter).defaults)
    with caplog.at_level(logging.WARNING, logger="papermill"):
        shown = papermill.inspect_notebook(chapters.source(chapter))
        papermill.execute_notebook(chapters.source(chapter), None, chapters.load(chapter).defaults, prepare_only=True)
    assert not caplog.messages
    assert {name: (one["inferred_type_name"], one["default"], one["help"]) for name, one in shown.items()} == known


@pytest.mark.parametrize("chapter", ["linear_models", "vae", "healing"])
def test_papermill_s_help_names_every_parameter(chapter, caplog):
    from click.testing import CliRunner

    shown = CliRunner().invoke(command_line, ["--help-notebook", str(chapters.source(chapter))])
    assert shown.exit_code == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    for name, (kind, default, words) in lines(chapter).items():
        assert f"  {name}: {kind} (default {default})" in shown.output
        assert words in shown.output


def test_papermill_alone_runs_a_chapter_with_a_file_of_parameters_without_a_warning(tmp_path):
    """Chapter linear_models at its smallest; papermill's warnings and the kernel's own would stand on stderr."""
    small = {"d": 3, "n_samples": 11, "n_generations": 5, "n_short": 5, "n_replicates": 100, "dof": 6.0}
    (tmp_path / "small.yml").write_text(yaml.safe_dump(small), encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("papermill")),
        str(chapters.source("linear_models")),
        str(tmp_path / "out.ipynb"),
    ]
    command += ["-f", str(tmp_path / "small.yml"), "-k", "python3", "--no-progress-bar"]
    done = subprocess.run(command, env=support.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    assert "Unable to parse" not in done.stderr
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    injected = next(cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert {f"{name} = {value}" for name, value in small.items()} < set(injected.splitlines())


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
