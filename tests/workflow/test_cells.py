"""Code cells set at 100 columns: the source of cells changes, and nothing else; no run card notices."""

import json

import pytest

from workflow import cards, cells, chapters

LONG = "total = sum(value * weight for value, weight in zip(values_of_the_first_part, weights_of_the_first_part, strict=True))"


def test_lines_are_broken_and_what_a_cell_says_stays():
    found = cells.formatted([LONG, "x = 1;", "ax.legend( frameon = False );", "# a remark\n\n\n\nf(x)", ""])
    assert max(len(line) for line in found[0].splitlines()) <= cells.COLUMNS
    assert found[1:] == ["x = 1;", "ax.legend(frameon=False);", "# a remark\n\n\nf(x)", ""]


@pytest.mark.parametrize("chapter", ["gaussian", "molecules", "layer_pruning"])
def test_a_chapter_keeps_its_layout_its_outputs_and_its_digests(chapter):
    text = chapters.source(chapter).read_text(encoding="utf-8")
    notebook = json.loads(text)
    (cell,) = [cell for cell in notebook["cells"] if cell["id"] == "imports"]
    cell["source"] += [
        "\n",
        "\n",
        f"def spare(values_of_the_first_part, weights_of_the_first_part):\n    {LONG}\n    return total",
    ]
    long = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    tidy = cells.tidied(long)
    assert tidy != long
    assert cells.tidied(tidy) == tidy
    before, after = json.loads(long), json.loads(tidy)
    inputs = [cards.inputs(cells._joined(one)) for one in (before, after)]
    assert inputs[0] == inputs[1] != cards.inputs(chapters.read(chapter))
    assert cells.longest(cards.code_cells(cells._joined(before))) > cells.COLUMNS
    for one in (before, after):
        for cell in one["cells"]:
            if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
                cell["source"] = []
    assert before == after


def test_a_change_that_a_card_would_notice_is_refused(monkeypatch):
    text = chapters.source("gaussian").read_text(encoding="utf-8")
    monkeypatch.setattr(cells, "formatted", lambda sources: [*sources[:-1], sources[-1] + "\nspare = 1"])
    with pytest.raises(ValueError, match="formatting has changed what a run card knows; nothing was written"):
        cells.tidied(text)
