"""Published verdicts for machines: one record each, with claim, rule, evidence and run, and the schema that describes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt, TypeAdapter

from collapse_utils import claims
from workflow import cards, chapters, files, gather, sentences, spelling


class Part(BaseModel, extra="forbid"):
    """A part of a record."""


class Rule(Part):
    """The pass rule, in force when the run was judged."""

    kind: Literal["equal", "below", "slope", "ordered"] = Field(description="the verdict function of collapse_utils.claims")
    false_alarm: float | None = Field(None, description="of the test over all columns, or over all neighbouring pairs")
    band: float | None = Field(None, description="allowance relative to the predicted value")
    tolerance: float | None = Field(None, description="absolute allowance")
    log: bool | None = Field(None, description="a slope in log-log")


class Columns(Part):
    """What equal, below and slope judge; predicted and rival have one value for each column, or one for all."""

    n: PositiveInt = Field(description="replicates behind each mean")
    mean: list[float] = Field(description="measured means, one a column")
    se: list[float] = Field(description="their standard errors; 0 for a single replicate")
    predicted: list[float] = Field(description="what the claim asks for; in below a bound")
    rival: list[float] = Field(description="what the rival would have measured")
    at: list[float] | None = Field(None, description="where the columns lie, e.g. numbers of fits")
    x: list[float] | None = Field(None, description="first and last abscissa of a slope")


class Order(Part):
    """What ordered judges."""

    n: PositiveInt = Field(description="replicates, paired over the groups")
    groups: list[str] = Field(description="names, in the order that the claim asks for")
    values: list[list[float]] = Field(description="one row a group, one number a replicate")
    wins: list[int] = Field(description="replicates in which a group is below the next one")


class Card(Part):
    """The run."""

    file: str = Field(description="the whole run card, in the project")
    date: str
    device: str
    threads: PositiveInt
    wall_s: float = Field(description="seconds that the run took")
    parameters: dict[str, Any] = Field(description="all parameters of the chapter, as they were in this run")
    versions: dict[str, str] = Field(description="of the interpreter and the libraries")
    digests: dict[str, str] = Field(
        description="of the notebook's code cells, of all that they reach in the package, of the files read, of the pass rule"
    )


class Record(Part):
    """A claim, the verdict on it in one published run, and all that the verdict follows from."""

    id: str = Field(description="the claim", pattern=r"^[A-Z]+-\w+$")
    verdict: Literal["holds", "fails", "inconclusive"]
    sentence: str = Field(description="what decided it")
    says: str = Field(description="the claim, in our words")
    equation: str | None = Field(None, description="the claim, in TeX")
    source: Literal["paper", "ours"] = Field(description="whose claim it is")
    paper: str = Field(description="its key in the references")
    where: str = Field(description="its place in the paper")
    published: str | None = Field(None, description="the paper's own number")
    criterion: str = Field(description="the pass rule in words")
    against: str = Field(description="the rival in words")
    chapter: str
    scale: Literal["smoke", "laptop", "gpu", "paper"]
    sweep: str | None = Field(None, description="the published sweep that the run is a point of")
    point: dict[str, Any] | None = Field(None, description="the parameters that the sweep varies")
    rule: Rule
    evidence: Annotated[Columns | Order, Field(description="what the verdict is a function of")]
    card: Card


def records() -> list[dict]:
    """Return a record of every published verdict: of the chapters at both scales, then of the sweeps."""
    return [record.model_dump(mode="json", exclude_none=True) for record in (*_of_chapters(), *_of_sweeps())]


def schema() -> dict:
    """Return the JSON Schema of the records."""
    described = TypeAdapter(list[Record]).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Verdicts"} | described


def write(folder: Path) -> None:
    """Write verdicts.json and its schema, verdicts.schema.json, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("verdicts", records()), ("verdicts.schema", schema())):
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _of_chapters() -> Iterator[Record]:
    for scale in chapters.SCALES:
        for chapter in chapters.chapters():
            card = chapters.published(chapter, scale, "card")
            for verdict in chapters.published(chapter, scale, "verdicts") or []:
                run = {name: card[name] for name in ("date", "device", "threads", "wall_s", "versions")}
                run |= {
                    "file": f"results/{scale}/{chapter}/card.json",
                    "parameters": chapters.load(chapter).defaults | card["parameters"],
                }
                yield _record(verdict | {"chapter": chapter}, run, card)


def _of_sweeps() -> Iterator[Record]:
    for folder in sorted(path.parent for path in gather.SWEEPS.glob("*/card.json")):
        card, runs = files.json(folder / "card.json", dict), files.table(folder / "costs.parquet").to_dict("records")
        known = chapters.load(card["chapter"]).defaults | chapters.at_scale(card["chapter"], card["scale"]) | card["fixed"]
        for verdict in files.json(folder / "verdicts.json"):
            point = verdict["point"]
            own = next(run for run in runs if _point(run, point, card) == point)
            versions = dict(list(own.items())[list(own).index("device") + 1 :])
            run = {name: own[name] for name in ("date", "device", "threads", "wall_s")} | {"versions": versions}
            run |= {"file": f"results/sweeps/{folder.name}/card.json", "parameters": known | point}
            yield _record(verdict | {"sweep": folder.name}, run, card["inputs"])


def _point(run: dict, point: dict, card: dict) -> dict:
    """The point of a row of costs."""
    return spelling.point({name: run[name] for name in point}, card.get("as_json", []))


def _record(verdict: dict, run: dict, inputs: dict) -> Record:
    claim, own = claims.ledger()[verdict["id"]], ("id", "verdict", "chapter", "scale", "sweep", "point", "rule", "evidence")
    digests = {name: cards.digest(inputs[kind]) for name, kind in (("cells", "cells"), ("package", "uses"), ("files", "files"))}
    return Record(
        sentence=sentences.said(verdict),
        against=claim["rival"],
        card=run | {"digests": digests | {"rule": inputs["rules"][verdict["id"]]}},
        **{name: claim.get(name) for name in ("says", "equation", "source", "paper", "where", "published", "criterion")},
        **{name: verdict.get(name) for name in own},
    )
