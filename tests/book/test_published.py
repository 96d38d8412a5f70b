"""What is published follows from the code beside it: cards are fresh, verdicts and numbers can be recomputed."""

import ast
import io
import json

import numpy as np
import pandas as pd
import pytest

from collapse_book import scorecard
from collapse_utils import claims, results
from workflow import cards, chapters, verdicts

CHAPTERS = chapters.chapters()
LAPTOP = chapters.PUBLISHED


@pytest.mark.parametrize("chapter", CHAPTERS)
@pytest.mark.parametrize("scale", ["smoke", LAPTOP])
def test_the_run_card_is_fresh(chapter, scale):
    card = chapters.published(chapter, scale, "card")
    assert card is not None, f"run: make publish CHAPTER={chapter}"
    stale = cards.differing(card, chapters.load(chapter).inputs)
    assert not stale, (
        f"{chapter} ({scale}) was published before a change of: {', '.join(stale)}; run: make publish CHAPTER={chapter}"
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_notebook_shows_the_published_run(chapter):
    notebook, card = chapters.read(chapter), chapters.published(chapter, LAPTOP, "card")
    assert notebook.metadata["collapse"] == card
    assert {cell["id"]: cards.digest(cell["outputs"]) for cell in notebook.cells if cell.get("outputs")} == card["outputs"]
    folder = chapters.RESULTS / LAPTOP / chapter
    assert {file.name: cards.digest(file.read_bytes()) for file in folder.glob("*.parquet")} == card["results"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_published_verdicts_follow_from_their_evidence_and_the_claim_files(chapter):
    ledger = claims.ledger()
    for scale in ("smoke", LAPTOP):
        for verdict in chapters.published(chapter, scale, "verdicts"):
            assert verdict["rule"] == ledger[verdict["id"]]["test"], verdict["id"]
            assert claims.decide(verdict["rule"], verdict["evidence"]) == (verdict["verdict"], verdict["summary"]), verdict["id"]
            assert ledger[verdict["id"]]["chapter"] == chapter


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_numbers_in_the_prose_follow_from_the_stored_tables(chapter):
    folder = chapters.RESULTS / LAPTOP / chapter
    for number in chapters.published(chapter, LAPTOP, "numbers").values():
        frame = pd.read_parquet(io.BytesIO((folder / f"{number['table']}.parquet").read_bytes()))
        assert results.lookup(frame, number) == number["text"], number["key"]


def test_every_claim_with_a_test_is_judged_where_it_says():
    judged = verdicts.published()
    for id_, claim in claims.ledger().items():
        if "test" in claim and claim["least_scale"] in ("smoke", LAPTOP):  # the others read *not run* until they are
            assert id_ in judged, f"{id_} has a test but no verdict"
            assert judged[id_]["chapter"] == claim["chapter"]
    assert sum(sum(verdicts.counts(source).values()) for source in ("paper", "ours")) == len(claims.ledger())


def test_every_claim_has_a_row_on_the_scorecard():
    page = "".join(scorecard.papers())
    assert all(f">{id_}<" in page for id_ in claims.ledger())


def test_the_readme_says_what_the_scorecard_says():
    assert f"<!-- summary -->{verdicts.summary()}<!-- /summary -->" in (cards.ROOT / "README.md").read_text(encoding="utf-8")


def test_a_changed_rule_or_cell_makes_the_card_stale(monkeypatch):
    notebook, card = chapters.read(CHAPTERS[0]), chapters.published(CHAPTERS[0], LAPTOP, "card")
    rules = json.loads(json.dumps(card))
    id_ = next(iter(rules["rules"]))
    rules["rules"][id_] = "0"
    assert cards.changed(rules, notebook) == [f"rule of {id_}"]
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    last.source += "\nx = 1"
    assert cards.changed(card, notebook) == [f"cell {last['id']}"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_run_that_followed_the_rival_would_not_have_passed(chapter):
    for scale in ("smoke", LAPTOP):
        for verdict in chapters.published(chapter, scale, "verdicts"):
            evidence = verdict["evidence"]
            if verdict["verdict"] == "holds" and "mean" in evidence:
                followed = np.broadcast_to(evidence["rival"], len(evidence["mean"])).tolist()
                assert claims.decide(verdict["rule"], evidence | {"mean": followed})[0] != "holds", verdict["id"]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_is_judged_is_no_constant(chapter):
    """A verdict on numbers that are written down in the cell could not fail."""
    for source in chapters.load(chapter).cells.values():
        for node in ast.walk(ast.parse(source)):
            name = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if name in ("equal", "below", "slope", "ordered") and ast.unparse(node.func.value) == "claims":
                judged = node.args[2:3] if name == "slope" else node.args[1:2] or [keyword.value for keyword in node.keywords]
                for expression in judged:
                    assert any(isinstance(part, ast.Name) for part in ast.walk(expression)), f"{chapter}: {ast.unparse(node)}"
