"""The shape of the project: layers, public names, notebooks, style."""

import ast
import collections
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from collapse_utils import params
from workflow import cards, chapters, definitions

ROOT = cards.ROOT
PACKAGE = sorted((ROOT / "collapse_utils").rglob("*.py"))
CHAPTERS = chapters.chapters()


def test_the_contracts_are_kept():
    """Who may import whom, indirect imports as well: pyproject.toml says it, import-linter looks."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def reached(package):
    """The definitions of the package that a cell, the workflow, the book's code, the lab, a benchmark or a shipped command reaches."""
    sources = ["\n".join(chapters.load(chapter).cells.values()) for chapter in CHAPTERS]
    for top in ("workflow", "book/_ext", "benchmarks", "shipped"):
        sources += [path.read_text(encoding="utf-8") for path in (ROOT / top).rglob("*.py")]
    sources.append((ROOT / "tests/book/test_lab.py").read_text(encoding="utf-8"))  # what the lab's laws are compared with
    trees = map(ast.parse, sources)
    texts = [package.text(tree.body, definitions.imports(ast.walk(tree))) for tree in trees]
    return set(package.reached(texts))


def test_a_label_names_one_place_of_the_book():
    prose = [path.read_text(encoding="utf-8") for path in (ROOT / "book").rglob("*.md")]
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        prose += [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    labels = collections.Counter(re.findall(r"^:label: (\S+)", "\n".join(prose), re.MULTILINE))
    assert [label for label, times in labels.items() if times > 1] == []


def test_every_public_name_is_reached():
    """By references, not by words; tests do not count."""
    package = definitions.package()
    public = {key for key in package.texts if not re.search(r":(_|\*)", key)}
    assert len(public) > 300
    assert public - reached(package) == set(), "used by nothing but tests: delete it, or move it into its test"


def test_every_public_definition_is_documented():
    for path in PACKAGE:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.relative_to(ROOT)}: {node.name} has no docstring"


def test_the_package_loads_numpy_and_no_other_library():
    probe = "import sys; before = set(sys.modules); import collapse_utils; print(*(name.partition('.')[0] for name in set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in found
    libraries = set(importlib.metadata.packages_distributions()) - {"numpy", "collapse_utils"}
    assert not libraries & set(found)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_notebooks_keep_the_rules(chapter):
    notebook = chapters.read(chapter)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    nbformat.validate(notebook)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", "".join(cell.source for cell in notebook.cells)), "a lost backslash"
    assert notebook.cells[0].source.startswith("# ")
    assert next(iter(chapters.load(chapter).parameters)) == "seed"
    assert "params.check()" in code[1].source
    assert re.search(r"^## (Claims and v|V)erdicts$", "\n".join(cell.source for cell in notebook.cells), re.M)
    assert any("nbval-check-output" in cell.metadata.get("tags", []) for cell in code)
    figures = [cell for cell in code if any("image/png" in output.get("data", {}) for output in cell.outputs)]
    assert figures
    for cell in figures:
        assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40, cell["id"]
        assert cell.metadata["mystnb"]["figure"]["caption"], cell["id"]
        assert len(cell.outputs) == 1, f"{cell['id']} shows more than its figure"
    for cell in code:
        assert cell.outputs or cell.execution_count, f"{cell['id']} was not run"
        assert not re.search(r"^\s*[%!]", cell.source, re.M), f"{cell['id']} uses a magic"
        for output in cell.outputs:
            assert output.output_type != "error", cell["id"]
            assert output.get("name") != "stderr", f"{cell['id']} prints a warning"
            assert not re.search(r"/(home|work|root|Users|tmp)/", str(output.get("text", ""))), cell["id"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_exercises_are_answered(chapter):
    text = "\n".join(cell.source for cell in chapters.read(chapter).cells)
    asked, answered = re.findall(r"```\{exercise\}[^`]*:label: (\S+)", text), re.findall(r"```\{solution\} (\S+)", text)
    assert len(asked) >= 3
    assert asked == answered


def test_scales_and_claims_name_existing_things():
    declared = yaml.safe_load((ROOT / "scales.yml").read_text(encoding="utf-8"))
    assert set(declared) <= set(CHAPTERS)
    for chapter, scales in declared.items():
        for scale in scales:
            if scale not in ("resources", "cost", "replicates"):
                params.validate(chapters.load(chapter).parameters, scales[scale] or {}, where=f"{chapter} {scale}")


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["codespell", "."]], ids=" ".join
)
def test_style(command):
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def test_the_readme_s_example_runs_and_stays_below_the_bound():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S).group(1)
    assert len(code.strip().splitlines()) <= 8
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    risks = [float(value) for value in re.findall(r"\d+\.\d+", done.stdout)]
    assert len(risks) == 10
    assert risks[-1] < 1.7 * risks[0]  # π²/6 = 1.645, five standard errors above; replace would stand at ten


@pytest.mark.parametrize("name", CHAPTERS)
def test_displayed_formulas_stand_in_paragraphs_of_their_own(name):
    """A $$ in the midst of a paragraph is read as two inline formulas, and the text between as a third."""
    for cell in nbformat.read(chapters.source(name), 4).cells:
        lines = cell.source.split("\n") if cell.cell_type == "markdown" else []
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
            assert not (re.fullmatch(r"\$\$.+\$\$", line.strip()) and (before.strip() or after.strip())), line


NUMBERED = r"(?i)\b(equations?|eqs?\.|exercises?|chapters?|theorems?|lemmas?|propositions?|corollar(?:y|ies)|figures?|figs?\.|tables?) \(?\d"
# a number that a paper gave stands beside the paper:
ELSEWHERE = r"(?i)paper|\{cite|et al|the same|our count|gerstgrasser|kazdan|shumailov|dohmatob|alemohammad"


def shown_texts():
    """(Where, text) of everything written by hand that a page shows: prose, captions, words in the figures of a cell, sweeps."""
    for page in sorted((ROOT / "book").glob("*.md")):
        yield page.name, page.read_text(encoding="utf-8")
    for sweep in sorted((ROOT / "sweeps").rglob("*.yml")):
        yield sweep.name, sweep.read_text(encoding="utf-8")
    for chapter in CHAPTERS:
        for cell in chapters.read(chapter).cells:
            where = f"{chapter} {cell.id}"
            if cell.cell_type == "markdown":
                yield where, cell.source
            else:
                strings = [node.value for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Constant)]
                figure = cell.metadata.get("mystnb", {})
                strings += [figure.get("figure", {}).get("caption"), figure.get("image", {}).get("alt")]
                yield where, "\n".join(text for text in strings if isinstance(text, str))


def test_nobody_types_a_number_that_the_book_gives():
    """Equations, exercises, theorems and figures are numbered when the book is rendered: a number typed beside one goes stale."""
    typed = [
        f"{where}: {line.strip()[:120]}"
        for where, text in shown_texts()
        for line in text.splitlines()
        if re.search(NUMBERED, line) and not re.search(ELSEWHERE, line)
    ]
    assert typed == []


def test_the_citation_has_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version


def test_titles_of_the_references_are_plain_text():
    """The bibliography is no TeX: a formula in a title is shown as its source."""
    titles = re.findall(
        r"^\s*(?:book)?title\s*=\s*\{(.*)\},$", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M
    )
    assert len(titles) > 30
    assert [title for title in titles if re.search(r"[$\\^_]", title)] == []


def test_the_contents_number_the_chapters_and_nothing_else():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    numbered = [entry["file"] for part in toc["parts"] if part.get("numbered") for entry in part["chapters"]]
    assert sorted(numbered) == sorted(
        str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "notebooks").rglob("*.ipynb")
    )
    assert len({Path(file).name for file in numbered}) == len(numbered)


def test_the_chapters_of_a_subject_stand_together():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in [part for part in toc["parts"] if part.get("numbered")]:
        subjects = [subject for subject, _ in itertools.groupby(Path(entry["file"]).parent for entry in part["chapters"])]
        assert len(set(subjects)) == len(subjects), part["caption"]


def test_a_chapter_is_found_by_name_beginning_and_number():
    for number, chapter in enumerate(CHAPTERS, start=1):
        assert chapters.find(chapter) == chapters.find(str(number)) == chapter
    assert chapters.find("univ") == "universality"
    with pytest.raises(chapters.ChapterError, match="'linear' must name one chapter; these begin so: linear_models, linear_vae"):
        chapters.find("linear")
    for wrong in ("0", str(len(CHAPTERS) + 1), "02", "", "kde2"):
        with pytest.raises(chapters.ChapterError, match=f"{wrong!r} must name one of: 1 {CHAPTERS[0]}, 2 "):
            chapters.find(wrong)
