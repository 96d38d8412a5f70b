"""Records: one for each published verdict, from which it can be judged again; the schema describes them and nothing else."""

import copy
import json

import pandas as pd
import pytest
from jsonschema import Draft202012Validator

from collapse_utils import claims
from workflow import cards, chapters, gather, records

EARLIER = {"pruning_exams": {"exam_share", "n_pairs"}}  # what its chapter still had when an official sweep was measured


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the book offers to download: (records, schema)."""
    folder = tmp_path_factory.mktemp("data") / "new"
    records.write(folder)
    return [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("verdicts", "verdicts.schema")]


def test_the_file_has_every_published_verdict_and_fits_its_schema(written):
    found, schema = written
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(found)
    published = [
        (verdict["id"], verdict["verdict"], json.dumps(verdict.get("point")))
        for path in chapters.RESULTS.glob("*/*/verdicts.json")
        for verdict in json.loads(path.read_text(encoding="utf-8"))
    ]
    assert sorted((one["id"], one["verdict"], json.dumps(one.get("point"))) for one in found) == sorted(published)
    assert len(published) > 1000


def test_a_record_can_be_judged_again(written):
    for one in written[0]:
        assert claims.decide(one["rule"], one["evidence"])[0] == one["verdict"], one["id"]
        claim = claims.ledger()[one["id"]]
        assert one["rule"] == claim["test"]
        assert one["card"]["digests"]["rule"] == cards.digest(claim["test"])
        assert (one["says"], one["against"], one["paper"]) == (claim["says"], claim["rival"], claim["paper"])


def test_a_record_knows_its_run(written):
    for one in written[0]:
        card = json.loads((chapters.ROOT / one["card"]["file"]).read_text(encoding="utf-8"))
        assert card["chapter"] == one["chapter"]
        inputs, digests = card.get("inputs", card), one["card"]["digests"]
        assert {digests["cells"], digests["package"]} == {cards.digest(inputs["cells"]), cards.digest(inputs["uses"])}
        fixed = card["fixed"] | one["point"] if "sweep" in one else card["parameters"]
        assert fixed.items() <= one["card"]["parameters"].items()
        known = set(chapters.load(one["chapter"]).defaults)
        assert set(one["card"]["parameters"]) == known | EARLIER.get(one.get("sweep"), set())
        assert {"python", "numpy", "torch"} <= set(one["card"]["versions"])


def test_the_points_of_a_sweep_have_runs_of_their_own(written):
    costs = pd.read_parquet(gather.SWEEPS / "linear_phase" / "costs.parquet")
    known = {(row.n_samples, row.noise, row.seed): row.wall_s for row in costs.itertuples()}
    assert len(known) == 33
    assert len(set(known.values())) > 10
    found = [one for one in written[0] if one.get("sweep") == "linear_phase"]
    assert {tuple(one["point"].values()) for one in found} == set(known)
    assert all(one["card"]["wall_s"] == known[tuple(one["point"].values())] for one in found)


def test_every_field_is_described_or_plain(written):
    plain = {"verdict", "chapter", "scale", "date", "device", "threads", "rule", "card"}
    for name, part in written[1]["$defs"].items():
        assert part["description"], name
        assert {field for field, said in part["properties"].items() if "description" not in said} <= plain, name


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: one.update(verdict="passes"),
        lambda one: one.pop("sentence"),
        lambda one: one.update(note="x"),
        lambda one: one["rule"].update(kind="near"),
        lambda one: one["rule"].update(alpha=0.1),
        lambda one: one["evidence"].update(n=0),
        lambda one: one["evidence"].pop("mean"),
        lambda one: one["evidence"].update(mean=["1"]),
        lambda one: one["card"].pop("versions"),
    ],
)
def test_the_schema_refuses_what_is_no_record(written, spoil):
    found, schema = written
    one = copy.deepcopy(next(one for one in found if one["rule"]["kind"] == "equal"))
    validator = Draft202012Validator(schema)
    assert validator.is_valid([one])
    spoil(one)
    assert not validator.is_valid([one])
