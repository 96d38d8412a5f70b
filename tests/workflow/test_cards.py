"""Run cards know definitions by their content: what moves, comes along or is said otherwise changes nothing, a law its chapters."""

import ast
import re
from unittest import mock

import pytest

from tests.support import changed
from workflow import cards, chapters, definitions

CHAPTERS = chapters.chapters()
NOTEBOOKS = {chapter: chapters.read(chapter) for chapter in CHAPTERS}
FILES = sorted((definitions.ROOT / definitions.PACKAGE).rglob("*.py"))
SOURCES = {
    ".".join(file.relative_to(definitions.ROOT).with_suffix("").parts).removesuffix(".__init__"): file.read_text(encoding="utf-8")
    for file in FILES
}


def digests(sources, notebooks=NOTEBOOKS):
    """{chapter: what a card of it says, but for the names of what is used}."""
    package = definitions.Package.of(sources)
    return {chapter: {**cards.inputs(notebook, package), "uses": {}} for chapter, notebook in notebooks.items()}


@pytest.fixture(scope="module")
def before():
    return digests(SOURCES)


def stale(before, sources, notebooks=NOTEBOOKS):
    """The chapters whose numbers a change of the package or of notebooks touches."""
    now = digests(sources, notebooks)
    return {chapter for chapter in CHAPTERS if now[chapter]["cells"] != before[chapter]["cells"]}


def module_of(pattern):
    """The module with a text, and its source."""
    return next((name, source) for name, source in SOURCES.items() if re.search(pattern, source))


def edited(pattern, replacement):
    """The sources with the one text that fits the pattern replaced."""
    name, source = module_of(pattern)
    text, count = re.subn(pattern, replacement, source, count=1)
    assert count == 1
    return SOURCES | {name: text}


def definition(name, source):
    """The text of a definition in a source, decorators included."""
    node = next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno]) + "\n"


def reaching(*names):
    """The chapters that say in their cards that they use one of the definitions."""
    inputs = {chapter: cards.inputs(notebook)["uses"] for chapter, notebook in NOTEBOOKS.items()}
    return {chapter for chapter, uses in inputs.items() if any(f"{used}".endswith(names) for used in uses)}


def moved(text):
    """A text with every module of the package in another place: from collapse_utils import x as y, from …x import f, import …."""
    text = re.sub(r"from collapse_utils import (\w+) as (\w+)", r"from collapse_utils.house import \1 as \2", text)
    text = re.sub(r"from collapse_utils\.(?!house)", "from collapse_utils.house.", text)
    return re.sub(r"from collapse_utils import (?!feedback_loop|follow|Generation)", "from collapse_utils.house import ", text)


def test_a_house_that_moves_makes_nothing_stale(before):
    """Every module goes into a folder of its own, imports rewritten, also those over several names and lines."""

    def split(source):  # one import a line, so that each can be rewritten by itself
        tree, lines = ast.parse(source), source.splitlines()
        for node in sorted(
            (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "collapse_utils"), key=lambda n: -n.lineno
        ):
            each = [f"from collapse_utils import {a.name}" + (f" as {a.asname}" if a.asname else "") for a in node.names]
            lines[node.lineno - 1 : node.end_lineno] = [" " * node.col_offset + line for line in each]
        return "\n".join(lines)

    sources = {name: moved(split(source)) for name, source in SOURCES.items()}
    sources = {re.sub(r"^collapse_utils\.", "collapse_utils.house.", name): source for name, source in sources.items()}
    sources["collapse_utils.house"] = ""
    notebooks = {chapter: copied(notebook, lambda source: moved(split(source))) for chapter, notebook in NOTEBOOKS.items()}
    assert "house" in str(notebooks)
    now = digests(sources, notebooks)
    for chapter in CHAPTERS:
        assert now[chapter]["cells"] == before[chapter]["cells"], chapter
        assert now[chapter] | {"files": {}} == before[chapter] | {"files": {}}, chapter


def copied(notebook, change):
    """The notebook with the sources of its code cells changed."""
    cells = [{**cell, "source": change(cell["source"])} if cell["cell_type"] == "code" else cell for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def test_a_definition_that_is_carried_to_another_module_makes_nothing_stale(before):
    home, source = module_of(r"\ndef vertex\(")
    text = definition("vertex", source)
    target = module_of(r"\ndef chi_parallel\(")[0]
    assert home != target
    sources = SOURCES | {home: source.replace(text, f"from {target} import vertex\n"), target: SOURCES[target] + "\n\n" + text}
    assert reaching(".vertex")
    assert stale(before, sources) == set()


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'("""Estimates|"""[^"]*)(?=[\s\S]*\nclass Moments)', r"\1 Other words."),
        (r"\n(@\w+[^\n]*\n)?class Moments", "\ndef unheard_of(x):\n    return 2 * x\n\\g<0>"),
        (r"\nclass Moments", "\n# why\n\\g<0>"),
    ],
    ids=["a docstring", "a new function", "a comment"],
)
def test_what_no_number_depends_on_makes_nothing_stale(before, pattern, replacement):
    assert stale(before, edited(pattern, replacement)) == set()


def test_a_bent_law_makes_its_chapters_stale(before):
    name, source = module_of(r"\ndef first_risk\(")
    text = definition("first_risk", source)
    bent = SOURCES | {name: source.replace(text, text.replace("return ", "return 1.1 * ", 1))}
    assert stale(before, bent) == reaching("linear.first_risk") == {"linear_models", "long_loops", "strong_collapse"}


@pytest.mark.parametrize(
    ("function", "among", "written"),
    [
        ("subset", "concat", None),
        ("slope", "ledger", r"claims\.slope"),
        ("merge", "prune", r"pruning\.merge|layers\.merge"),
        ("_Llama", "_Llama", None),
    ],
)
def test_a_changed_definition_makes_those_stale_that_reach_it(before, function, among, written):
    """Counted a second way where the chapters write its name."""
    name = next(n for n, s in SOURCES.items() if all(re.search(rf"\n(def|class) {one}\b", s) for one in (function, among)))
    text = definition(function, SOURCES[name])
    found = stale(before, SOURCES | {name: SOURCES[name].replace(text, text.rstrip("\n") + "\n    unheard_of = 3\n")})
    assert found == reaching(f"{name.rpartition('.')[2]}.{function}")
    assert 0 < len(found) < len(CHAPTERS)
    sources = {chapter: "\n".join(cards.code_cells(notebook).values()) for chapter, notebook in NOTEBOOKS.items()}
    assert written is None or found == {chapter for chapter in CHAPTERS if re.search(written, sources[chapter])}


def test_another_module_under_the_same_name_makes_the_chapter_stale(before):
    swap = {
        "linear_models": copied(
            NOTEBOOKS["linear_models"], lambda source: source.replace("theory import linear", "theory import gaussian")
        )
    }
    assert stale(before, SOURCES, NOTEBOOKS | swap) == {"linear_models"}


def test_another_package_under_the_same_name_makes_its_chapters_stale(before):
    """`import t as student` must not become `norm as student` unseen, in a module as in a cell."""
    name, source = module_of(r"from scipy\.special import bdtr, stdtrit")
    swapped = SOURCES | {name: source.replace("import bdtr, stdtrit", "import bdtr, nrdtrisd as stdtrit")}
    assert len(stale(before, swapped)) == len(CHAPTERS)
    cell = {
        "linear_models": copied(
            NOTEBOOKS["linear_models"], lambda text: text.replace("import pandas as pd", "import numpy as pd")
        )
    }
    assert stale(before, SOURCES, NOTEBOOKS | cell) == {"linear_models"}


def test_a_change_of_the_plots_makes_figures_stale_and_no_number(before):
    name = next(name for name in SOURCES if name.endswith(".plot"))
    changed = SOURCES | {name: SOURCES[name].replace("3.4)", "3.5)")}
    assert stale(before, changed) == set()
    now = digests(changed)
    assert all(now[chapter]["figures"] != before[chapter]["figures"] for chapter in CHAPTERS)


def test_how_a_parameter_is_typed_changes_no_number_but_its_value_does(before):
    def first(change):
        return copied(
            NOTEBOOKS["gaussian"],
            lambda text: re.sub(r"n_fits: [^\n=]*\[[^\n]*?\] = 50|n_fits: .* = 50", change, text, count=1),
        )

    assert stale(before, SOURCES, NOTEBOOKS | {"gaussian": first("n_fits: int = 50")}) == set()
    assert stale(before, SOURCES, NOTEBOOKS | {"gaussian": first("n_fits: int = 51")}) == {"gaussian"}


def test_rules_are_found_whatever_the_quotes(before):
    single = copied(NOTEBOOKS["linear_models"], lambda text: re.sub(r'"(GER-\w+)"', r"'\1'", text))
    now = digests(SOURCES, {"linear_models": single})["linear_models"]
    assert now["rules"] == before["linear_models"]["rules"]
    assert now["rules"]


def test_a_file_that_is_read_is_an_input(tmp_path, monkeypatch):
    source = 'from collapse_utils import mirror\nspeed = mirror.project_file("speed.json").read_text()'
    notebook = {"cells": [{"cell_type": "code", "id": "a", "source": source, "metadata": {}}]}
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    found = []
    for content in ("1", "2"):
        (tmp_path / "speed.json").write_text(content)
        cards._content.cache_clear()
        found.append(cards.inputs(notebook))
    cards._content.cache_clear()
    assert list(found[0]["files"]) == ["speed.json"]
    assert found[0]["cells"] == found[1]["cells"]
    assert cards.changed(found[0], notebook | {"cells": []})
    assert found[0]["files"] != found[1]["files"]
    assert cards.key(found[0]) != cards.key(found[1])
    with pytest.raises(ValueError, match="as plain text"):
        cards.inputs({"cells": [{**notebook["cells"][0], "source": source.replace('"speed.json"', "'speed' + '.json'")}]})


def test_a_module_used_as_a_value_counts_with_all_that_it_defines():
    sources = {"collapse_utils": "", "collapse_utils.laws": "def a():\n    return 1\n\ndef b():\n    return 2\n"}

    def cell(source):
        cells = [{"cell_type": "code", "id": "a", "source": "from collapse_utils import laws\n" + source, "metadata": {}}]
        return lambda changed: cards.inputs({"cells": cells}, definitions.Package.of(changed))["cells"]

    other = sources | {"collapse_utils.laws": sources["collapse_utils.laws"].replace("2", "3")}
    assert cell("laws.a()")(sources) == cell("laws.a()")(other)
    assert cell("getattr(laws, name)()")(sources) != cell("getattr(laws, name)()")(other)


def test_statements_of_a_module_and_mutual_references_count():
    source = "import os\nos.environ['A'] = '1'\n\ndef even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    cells = [{"cell_type": "code", "id": "a", "source": "from collapse_utils.laws import even\neven(3)", "metadata": {}}]

    def inputs(text):
        return cards.inputs({"cells": cells}, definitions.Package.of({"collapse_utils": "", "collapse_utils.laws": text}))

    assert inputs(source)["cells"] != inputs(source.replace("'1'", "'2'"))["cells"]
    assert inputs(source)["cells"] != inputs(source.replace("n != 0", "n > 0"))["cells"]
    assert set(inputs(source)["uses"]) == {"laws.even", "laws.odd"}


def test_a_parameter_or_variable_named_like_a_definition_is_none():
    """And one that is so named in a scope inside leaves the others alone."""

    def marks(source):
        package = definitions.Package.of({"collapse_utils.m": f"def law(x):\n    return x\n\n\n{source}"})
        return re.findall("⟦.*?⟧", package.texts["collapse_utils.m:f"])

    law = ["⟦collapse_utils.m:law⟧"]
    assert marks("def f(law):\n    return law(1)\n") == []
    assert marks("def f(*, law=2, **rest):\n    return lambda y: law\n") == []
    assert marks("def f(x):\n    law = 3\n    return law\n") == []
    assert marks("def f(x):\n    return [law for law in x]\n") == []
    assert marks("def f(x):\n    return [law for law in x], law(x)\n") == law
    assert marks("def f(x):\n    def g(law):\n        return law\n    return law(g)\n") == law
    assert marks("def f(x, g=law):\n    return g(x)\n") == law
    assert marks("def f(x):\n    return sum(law for law in law(x))\n") == law
    assert marks("def f(x):\n    global law\n    law = law(x)\n") == law


def test_no_reference_is_further_away_than_the_rounds_go():
    package = definitions.package()

    def far(key):
        seen, edge, steps = {key}, {key}, 0
        while edge:
            edge = {mark for one in edge for mark in definitions.MARK.findall(package.texts[one])} - seen
            seen, steps = seen | edge, steps + 1
        return steps

    assert max(map(far, package.texts)) < definitions.ROUNDS
    assert all(mark in package.texts for text in package.texts.values() for mark in definitions.MARK.findall(text))


def test_the_message_names_the_cell_and_the_definition_that_changed():
    card = cards.inputs(NOTEBOOKS["linear_models"])
    name, source = module_of(r"\ndef first_risk\(")
    text = definition("first_risk", source)
    package = definitions.Package.of(SOURCES | {name: source.replace(text, text.replace("return ", "return 1.1 * ", 1))})
    said = cards.changed(card, NOTEBOOKS["linear_models"], package)
    assert said[-1] == "`theory.linear.first_risk`"
    assert all(word.startswith("cell ") for word in said[:-1])


def test_files_of_the_project_are_read_by_name_alone():
    """Whatever a cell or the package reads below the project goes through mirror.project_file, but for what is checked otherwise."""
    allowed = {
        "collapse_utils.mirror",
        "collapse_utils.claims",
        "collapse_utils.molecules.conformers",
        "collapse_utils.pruning.pretrained",
    }  # rules are hashed, a SHA-256 pinned, weights hashed
    for name, source in SOURCES.items():
        for word in ("__file__", "PROJECT", "SHIPPED"):
            assert name in allowed or not re.search(rf"\b{word}\b", source), f"{name} uses {word}"
    for chapter, notebook in NOTEBOOKS.items():
        for id_, source in cards.code_cells(notebook).items():
            names = {
                node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in ast.walk(ast.parse(source))
            }
            if 'mirror.project_file("shipped/deep-thin/card.json")' in source:  # beside it, the card of another model
                names -= {"SHIPPED"}
            assert not names & {"__file__", "PROJECT", "SHIPPED", "FOLDER", "ROOT", "getcwd", "cwd"}, f"{chapter}, cell {id_}"


def test_what_was_found_is_kept_until_a_source_changes(project):
    kept, law = project / ".build" / "definitions.json", project / "collapse_utils" / "theory" / "linear.py"
    kept.parent.mkdir(exist_ok=True)

    def digests():
        definitions.package.cache_clear()
        return definitions.package().digests

    first = digests()
    with mock.patch.object(definitions.Package, "of", side_effect=AssertionError):
        assert digests() == first
    kept.write_bytes(kept.read_bytes()[:-10])  # as a kill may leave it
    assert digests() == first
    with changed(law, lambda text: f"{text}\n\ndef new(x):\n    return x\n"):
        assert set(digests()) - set(first) == {"collapse_utils.theory.linear:new"}
    assert digests() == first
