"""The bending test: a law bent by a tenth turns the verdict that rests on it, and the published table has no gap."""

import ast
import json

import numpy as np
import pytest

from collapse_utils.theory.criticality import Critical
from collapse_utils.theory.gaussian import Path
from workflow import bending, bent

ENDS = {"published_runs"}  # with replace for accumulate its labels become separable, which is refused before a verdict
SAME = {"topology_loop"}  # its claim is that no regime closes the gap, so exchanged regimes turn nothing
TABLES = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(bending.FOLDER.glob("*/*.json"))]


@pytest.fixture(scope="module")
def rows():
    """Rows of chapter linear_models at a small size, in a process of its own: nothing bent, one law raised, one regime swapped."""

    def run():
        bent.install("linear_models")
        small = {"n_generations": 6, "n_short": 5, "n_replicates": 1500, "d": 8, "n_samples": 40}
        cells, found = bent.compiled(bending.planned("linear_models", "smoke", small)), {}
        unbent = bent.reach(cells)
        first = next(iter(unbent["reached"].values()))
        bent.bends(cells, unbent, {"": first, "linear.replace": first, "regimes.accumulate": first}, found.__setitem__)
        return {"unbent": unbent, **found}

    return bent.in_copy(run)


def test_nothing_bent_turns_nothing(rows):
    assert rows["unbent"]["verdicts"]
    assert not rows["unbent"]["stopped"]
    assert not rows[""]["turned"]
    assert not rows[""]["moved"]


def test_a_bent_law_turns_its_verdict_and_no_other(rows):
    assert {id_: word for id_, (_, word, _) in rows["linear.replace"]["turned"].items()} == {"GER-1": "fails"}


def test_a_swapped_regime_fails(rows):
    assert rows["regimes.accumulate"]["turned"]["GER-2a"][1] == "fails"
    assert "GER-1" not in rows["regimes.accumulate"]["turned"]


def test_an_assertion_hides_no_verdict():
    def run():
        bent.install("linear_models")
        cells = [("one", compile("x = 0", "", "exec"), set())]
        tree = bent._Assertions("two").visit(ast.parse("assert x\ny = 1\n1 / 0"))
        cells += [("two", compile(ast.fix_missing_locations(tree), "", "exec"), set())]
        scope = bent._scope()
        return bent.go_on([*cells, ("three", compile("z = y", "", "exec"), set())], scope), sorted(bent.WATCH.broken), scope["z"]

    stopped, broken, z = bent.in_copy(run)
    assert list(stopped) == ["two"]
    assert stopped["two"].startswith("ZeroDivisionError")
    assert (broken, z) == (["two"], 1)


def test_every_number_of_a_law_is_bent():
    assert bent.raised(2.0) == pytest.approx(2.2)
    assert bent.raised(np.int64(3)) == 4
    assert bent.raised(True) is True
    path = bent.raised(Path(np.ones(2), np.zeros(2)))
    assert isinstance(path, Path)
    assert path.variance.tolist() == pytest.approx([1.1, 1.1])
    point = bent.raised(Critical(1.0, 2.0, np.nan, "half-stable"))
    assert (point.c_w, point.kind) == (pytest.approx(2.2), "half-stable")
    with pytest.raises(TypeError, match="must return numbers"):
        bent.raised(object())


def test_the_table_has_a_row_for_every_law_and_none_is_blank():
    found = bending.by_name(list(bent.laws()))
    assert not [name for name, own in found.items() if not own and name not in bending.UNSEEN], "run: python -m workflow.bending"
    assert set(bending.blank(found)) == set(bending.UNSEEN)


def test_every_regime_that_is_used_is_noticed():
    used = {name for table in TABLES for name in table["unbent"]["reached"] if name.startswith("regimes.")}
    found = bending.by_name(sorted(used))
    assert len(used) >= 7
    assert not bending.blank(found)


def test_every_chapter_that_uses_regimes_has_a_verdict_that_fails_when_they_are_swapped():
    for table in TABLES:
        swapped = [row for name, row in table["rows"].items() if name.startswith("regimes.")]
        if swapped:
            fails = any(word == "fails" for row in swapped for _, word, _ in row["turned"].values())
            ends = table["chapter"] in ENDS and any(row["stopped"] for row in swapped)
            assert fails or ends or table["chapter"] in SAME, table["chapter"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table['chapter']}-{table['scale']}")
def test_the_unbent_run_has_the_committed_verdicts(table):
    assert table["unbent"]["differs"] == {}
    assert not table["unbent"]["stopped"]
    assert not table["unbent"]["broken"]
