"""Each kind of file that the workflow reads, damaged in a copy of the project: one sentence that names it, exit code 2."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support import changed, replaced
from workflow import chapters, check, gather, sweeps

CHAPTER = "linear_models"
RUN, COST = (
    ["run", "--chapter", "linear_models"],
    ["cost", "--chapter", "linear_models", "--scale", "laptop", "--set", "n_replicates=777"],
)
SWEPT = ["publish", "--sweep", "orthogonal_images"]


def cell(change):
    """A change of the chapter's first code cell behind the parameters, as text of the notebook's file."""

    def changed(text):
        notebook = json.loads(text)
        change([cell for cell in notebook["cells"] if cell["cell_type"] == "code"][2], notebook)
        return json.dumps(notebook)

    return changed


def half(text):
    return text[: len(text) // 2]


NOTEBOOK = f"{chapters.page(CHAPTER)}.ipynb"
CLAIMS = "book/claims/gerstgrasser2024.yml"


@pytest.mark.parametrize(
    ("verb", "file", "content", "said"),
    [
        (RUN, NOTEBOOK, half, r"line \d+ column"),
        (RUN, NOTEBOOK, "", "line 1 column 1"),
        (RUN, NOTEBOOK, "[]", "has no"),
        (RUN, NOTEBOOK, b"\xff\xfe", "utf-8"),
        (RUN, NOTEBOOK, cell(lambda one, _: one.update(source=["x = 1\n", "def f(:"])), r"cell 'theorem-1', line 2: invalid syntax"),
        (["read"], NOTEBOOK, cell(lambda one, _: one.update(source="x = (")), r"cell 'theorem-1', line 1"),
        (RUN, NOTEBOOK, cell(lambda one, _: one.pop("source")), "'source' is a required property"),
        (RUN, NOTEBOOK, cell(lambda one, _: one.pop("id")), "[Cc]ell .*id"),
        (RUN, NOTEBOOK, cell(lambda _, whole: whole["cells"].append(whole["cells"][0])), "Non-unique cell id"),
        (RUN, NOTEBOOK, replaced("seed: AtLeast", "seed: AtLest"), "parameters cell .*NameError: .*AtLest"),
        (RUN, NOTEBOOK, replaced("seed: AtLeast[0] = 0", "seed: AtLeast[0] = 0\\nspare: AtLeast[0] = 0"), "no cell reads the parameter 'spare'"),
        (RUN, NOTEBOOK, replaced("import AtLeast", "import AtLest"), "parameters cell .*ImportError: .*AtLest"),
        (["read"], NOTEBOOK, cell(lambda _, whole: whole["metadata"].update(collapse={})), "chapter is missing"),
        (RUN, CLAIMS, replaced("claims:", "claims: ]"), r"line \d+: "),
        (RUN, CLAIMS, "", "it must be a mapping; got None"),
        (RUN, CLAIMS, replaced("claims:", "claimed:"), "claims is missing"),
        (RUN, CLAIMS, b"name: \xff", "utf-8"),
        (["read"], CLAIMS, replaced("claims:", "claims: ]"), r"line \d+: "),
        (RUN, "collapse_utils/images/vae.py", replaced("def ", "def def "), r"line \d+: invalid syntax"),
        (["read"], "collapse_utils/images/vae.py", b"# \xff", "utf-8"),
        (RUN, "scales.yml", replaced("smoke: {", "smoke: {{"), r"line \d+: "),
        (RUN, "scales.yml", "- 1", r"it must be a mapping; got \[1\]"),
        (RUN, "scales.yml", replaced("smoke: {", "smok: {"), "smok is unknown"),
        (RUN, "scales.yml", replaced("gaussian:", "linear_models:"), "linear_models stands there twice; keep one"),
        (RUN, "scales.yml", replaced("{smoke: {threads: 2}", "{smoke: {threads: 0}"), "threads must be greater than 0; got 0"),
        (RUN, "scales.yml", replaced("n_replicates: 500", "n_replicates: 0500"), "does not begin with 0: write 500"),
        (COST, "scales.yml", replaced("cost: n_replicates * d * (n_samples *", "cost: n_replicates * d * * (n_samples *"), "cannot be computed"),
        (COST, "scales.yml", replaced("cost: n_replicates * d * (n_samples *", "cost: 1 / 0 * (n_samples *"), "division by zero"),
        (RUN, "_toc.yml", replaced("parts:", "parts: ]"), r"line \d+: "),
        (RUN, "_toc.yml", replaced("parts:", "part:"), "parts is missing"),
        (["read"], "_config.yml", "title: [", r"line \d+: "),
        (COST, f"results/laptop/{CHAPTER}/card.json", half, r"line \d+ column"),
        (COST, f"results/smoke/{CHAPTER}/card.json", replaced("wall_s", "wall"), "wall_s is missing"),
        (COST, "results/sweeps/linear_phase/card.json", "[]", r"it must be a mapping; got \[\]"),
        (COST, "results/sweeps/linear_phase/costs.parquet", half, "Parquet"),
        (["read"], "results/sweeps/linear_phase/points.parquet", b"PAR1", "Parquet"),
        (["read"], f"results/laptop/{CHAPTER}/verdicts.json", half, r"line \d+ column"),
        (["read"], f"results/laptop/{CHAPTER}/verdicts.json", "{}", r"it must be a valid list; got \{\}"),
        (["read"], f"results/laptop/{CHAPTER}/numbers.json", '{"a": 1}', "a must be a mapping; got 1"),
        (["read"], "results/sweeps/linear_phase/verdicts.json", half, r"line \d+ column"),
        (["read"], "sweeps/linear_phase.yml", replaced("grid:", "grid: ]"), r"line \d+: "),
        (["sweep", "--sweep", "linear_phase"], "sweeps/linear_phase.yml", "", "must be a mapping with the keys"),
        (["sweep", "--sweep", "linear_phase"], "sweeps/linear_phase.yml", b"\xff", "utf-8"),
        (COST, f".build/runs/{CHAPTER}/smoke-0/card.json", "{", "line 1 column 2.*remove its folder and rerun"),
        (["compare", "--a", "x"], "_build/custom/x/_build/shown.json", '{"a": ', "line 1 column 7"),
        (["compare", "--a", "x"], "_build/custom/x/_build/shown.json", '{"a": {"rerun": null}}', "rerun must be a valid string"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_in_one_sentence(project, refused, verb, file, content, said):
    with changed(project / file, content):
        line = refused(*verb)
    assert Path(file).stem in line
    assert re.search(said, line), line


def finished(runs):
    """Put what the chapter published where finished runs lie."""
    for run in runs:
        shutil.copytree(chapters.RESULTS / chapters.PUBLISHED / run.chapter, run.folder)
        shutil.copy(chapters.source(run.chapter), run.folder / "executed.ipynb")


@pytest.mark.parametrize(
    ("verb", "name", "content"),
    [
        (RUN, "verdicts.json", "["),
        (["publish", "--chapter", "linear_models"], "executed.ipynb", half),
        (SWEPT, "executed.ipynb", half),
        (SWEPT, "card.json", half),
        (SWEPT, "numbers.json", half),
        (SWEPT, "epochs.parquet", half),
    ],
)
def test_a_damaged_run_is_named_and_what_was_published_stays(project, refused, verb, name, content):
    runs = sweeps.plans(sweeps.read("orthogonal_images")) if verb == SWEPT else [chapters.plan(CHAPTER, "smoke")]
    finished(runs)
    kept = {path: path.read_bytes() for path in (project / "results").rglob("*") if path.is_file()}
    name = next(path.name for path in runs[-1].folder.glob("*.parquet")) if name.endswith(".parquet") else name
    with changed(runs[-1].folder / name, content):
        line = refused(*verb)
    assert ".build/" in line
    assert line.endswith("; remove its folder and rerun.")
    assert kept == {path: path.read_bytes() for path in (project / "results").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("runs", "must be an absolute folder or an address like s3://bucket/runs"),
        ("/runs/{chapter}", "without braces; got '/runs/{chapter}'"),
        ("nowhere://bucket", "knows 'nowhere://bucket'"),
    ],
)
def test_a_store_that_nothing_knows_is_refused(project, refused, monkeypatch, store, said):
    monkeypatch.setenv("COLLAPSE_STORE", store)
    assert said in refused(*RUN)


def test_an_undamaged_project_is_read_in_silence(project, capsys):
    check.pages()
    assert capsys.readouterr() == ("", "")
    assert gather.SWEEPS.is_relative_to(project)


def test_a_claim_that_stands_in_two_files_is_named(project, refused):
    with changed(project / "book" / "claims" / "twice.yml", (project / CLAIMS).read_bytes()):
        assert "stands in gerstgrasser2024.yml and in twice.yml" in refused(*RUN)
