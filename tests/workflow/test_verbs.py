"""The verbs of the command line and of make: what each takes, and what is refused before anything runs."""

import json
import shutil
import subprocess
import sys

import pytest

from tests import support
from workflow import __main__ as main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--chapter", "linear_models", "--set", "n_generatons=20"],
            "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'",
        ),
        (["run", "--chapter", "linear_models", "--set", "n_generations=many"], "must be a valid integer; got 'many' (str)"),
        (["run", "--chapter", "linear_models", "--set", "n_generations=-2"], "got -2 (int)"),
        (["run", "--chapter", "linear_models", "--set", "n_generations=null"], "got None (NoneType)"),
        (["run", "--chapter", "linear_models", "--set", "seed 3"], "name=value, separated by spaces; got 'seed 3'"),
        (["run", "--chapter", "99"], "chapter '99' must name one of"),
        (
            ["run", "--chapter", "linear_models", "--scale", "laptpo"],
            "scale must be one of smoke, laptop, gpu, paper; got 'laptpo'",
        ),
        (["run", "--chapter", "linear_models", "--scale", "gpu"], "has no scale 'gpu' in scales.yml"),
        (["run", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["cost", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["book", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["run", "--chapter", "linear_models", "--set", "d=5 d=6"], "d is given twice, the second time as '6'; give it once"),
        (["run", "--chapter", "linear_models", "--set", "n_generatons=20", "--set", "d=5"], "n_generatons"),
        (["run", "--chapter", "linear_models", "--set", "d=[1,2"], "d: '[1,2' is no value (did not find expected"),
        (["run", "--chapter", "linear_models", "--set", "d=@x"], "d: '@x' is no value (found character"),
        (["run", "--chapter", "linear_models", "--set", "d=2001-13-45"], "d: must be a valid integer; got '2001-13-45' (str)"),
        (
            ["run", "--chapter", "linear_models", "--set", "d=!!python/x"],
            "d: '!!python/x' is no value (the tag !!python/x is unknown)",
        ),
        (
            ["run", "--chapter", "linear_models", "--set", "seed=010"],
            "seed: '010' is no value (a whole number does not begin with 0: write 10)",
        ),
        (["run", "--chapter", "linear_models", "--set", "seed=1:30"], "seed: must be a valid integer; got '1:30' (str)"),
        (["run", "--chapter", "language_models", "--set", 'size="a b" seed=3'], "got 'a b' (str)"),
        (["run", "--cores", "0"], "JOBS (--cores) must be a whole number from 1; got '0'"),
        (["run", "--gpus", "one"], "GPUS (--gpus) must be a whole number from 1; got 'one'"),
        (["run", "--executor", "slrum"], "EXECUTOR must be one of those installed"),
        (["sweep", "--sweep", "linear_phase", "--set", "n_replicats=3"], "P (--set) is not used here; got 'n_replicats=3'"),
        (["sweep", "--sweep", "linear_phase", "--scale", "laptopp"], "SCALE (--scale) is not used here; got 'laptopp'"),
        (
            ["cost", "--sweep", "linear_phase", "--chapter", "linear_models"],
            "CHAPTER (--chapter) is not used here; got 'linear_models'",
        ),
        (["publish", "--scale", "gpu"], "SCALE (--scale) is not used here; got 'gpu'"),
        (["read", "--cores", "2"], "JOBS (--cores) is not used here; got '2'; known are: none"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_before_anything_runs(project, refused, arguments, message):
    assert message in refused(*arguments)
    assert not (project / ".build" / "runs").exists()


def test_a_process_refuses_by_its_exit_code(copy):
    done = support.workflow("run", "--chapter", "linear_models", "--set", "n_generatons=20", cwd=copy)
    assert done.returncode == 2
    assert done.stderr.startswith("linear_models: unknown parameter 'n_generatons' = 20; did you mean 'n_generations'")
    assert done.stderr.count("\n") == 1
    assert not (copy / ".build" / "runs").exists()


@pytest.mark.parametrize("verb", main.USED)
def test_a_verb_refuses_what_it_would_ignore(project, refused, verb):
    for name, variable in main.IN_MAKE.items():
        if name not in main.USED[verb]:
            assert f"{verb}: {variable} (--{name}) is not used here; got '-0'" in refused(verb, f"--{name}=-0")


def test_publishing_wants_to_know_what_is_drawn(project, refused, tmp_path):
    file = support.write_sweep(tmp_path, {name: support.SMALL[name] for name in support.SMALL if name != "show"}, "blind")
    assert refused("publish", "--sweep", file) == f"publish: the sweep {file} must say in `show` what is drawn; got none."


@pytest.fixture
def make(tmp_path):
    """Call make with a Python that writes down the words that it was given."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    code = f"import json, sys; json.dump(sys.argv[1:], open({str(tmp_path / 'words')!r}, 'w'))"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".ready").touch()

    def call(*words):
        command = ["make", f"VENV={tmp_path}/venv", *words]
        return subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True, check=False)

    return call


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
@pytest.mark.parametrize("verb", main.USED)
def test_make_passes_every_variable_on_as_it_is_and_knows_no_other(make, tmp_path, verb):
    odd = {variable: f"-0 $HOME '{name}' \"; touch {tmp_path}/left; echo \"" for name, variable in main.IN_MAKE.items()}
    done = make(verb, *(f"{variable}={value.replace('$', '$$')}" for variable, value in odd.items()))
    assert done.returncode == 0, done.stderr
    words = json.loads((tmp_path / "words").read_text(encoding="utf-8"))
    assert words[:3] == ["-m", "workflow", verb]
    assert dict(word.split("=", 1) for word in words[3:]) == {f"--{name}": odd[main.IN_MAKE[name]] for name in main.IN_MAKE}
    assert not (tmp_path / "left").exists()
    refused = make(verb, "CHAPTERS=kde")
    assert refused.returncode == 2
    assert "CHAPTERS is no variable of this Makefile; known are: " in refused.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
def test_make_own_passes_on_what_it_is_given_and_wants_a_table(make, tmp_path):
    odd = f"-0 $HOME 'x' \"; touch {tmp_path}/left; echo \""
    options = {"MODEL": "--model", "TARGET": "--target", "OUT": "--out", "FAIL_IF": "--fail-if", "JOBS": "--cores"}
    done = make("own", *(f"{name}={odd.replace('$', '$$')}" for name in ("DATA", *options)))
    assert done.returncode == 0, done.stderr
    words = json.loads((tmp_path / "words").read_text(encoding="utf-8"))
    assert words == ["-m", "collapse_utils.practice", odd, *(f"{option}={odd}" for option in options.values())]
    assert not (tmp_path / "left").exists()
    assert make("own", "DATA=wine").returncode == 0
    assert json.loads((tmp_path / "words").read_text(encoding="utf-8")) == ["-m", "collapse_utils.practice", "wine"]
    assert "say which table, e.g. make own DATA=wine" in make("own").stderr
    assert (
        "CHAPTER is no variable of this Makefile; known are: PYTHON VENV JOBS DATA"
        in make("own", "DATA=wine", "CHAPTER=kde").stderr
    )
    assert "DATA is no variable of this Makefile" in make("run", "DATA=wine").stderr
