"""The scorecard: every claim with the paper's number, ours, the published verdict and the one of this machine; and what runs cost."""

from pathlib import Path

from collapse_book.drawing import Heading, Part, drawn
from collapse_utils import claims
from workflow import chapters, files, power, sentences, verdicts

FAILS_FIRST = ("fails", "inconclusive", "holds", "not run")
KINDS = {"paper": "of the papers", "ours": "our own"}


def papers() -> list[Part]:
    """Return what filters the claims, then a section a paper, the papers with most verdicts first, in each what fails first."""
    ours, here = verdicts.published(), verdicts.rerun()
    found = [files.yaml(path, files.PAPER) for path in sorted(claims.FOLDER.glob("*.yml"))]
    found.sort(key=lambda paper: (-sum(id_ in ours for id_ in paper["claims"]), paper["name"]))
    sections, everything = [], []
    for paper in found:
        judged = {id_: claim for id_, claim in paper["claims"].items() if "test" in claim}
        rest = {id_: claim for id_, claim in paper["claims"].items() if "test" not in claim}
        sections += [Heading(paper["name"]), f"*{paper['title']}* ({paper['version']}) {{cite}}`{paper['paper']}`"]
        rows = [_row(id_, claim, ours.get(id_), here.get(id_)) for id_, claim in judged.items()]
        rows.sort(key=lambda row: FAILS_FIRST.index(row["published"]["word"]))
        everything += rows
        if rows:
            sections.append(drawn("scorecard.html", rows=rows, rerun=bool(here)))
        if rest:
            sections.append(drawn("not-taken-up.html", claims=rest))
    choices = {
        "verdict": [(word, word) for word in FAILS_FIRST],
        "source": list(KINDS.items()),
        "chapter": [(name, name.replace("_", " ")) for name in chapters.chapters()],
        "definition": [(str(k), f"definition {k}") for k in range(1, 9)],
        "scale": sorted({(row["scale"], row["scale"]) for row in everything if row["scale"]}),
    }
    return [drawn("filter.html", choices=choices, total=len(everything)), *sections]


def changes() -> list[Part]:
    """Return what the runs shown changed: verdicts that differ from the published ones, and the numbers of the prose side by side."""
    ours, shown = verdicts.published(), verdicts.shown()
    runs = [_changed(chapter, Path(entry["rerun"]), ours) for chapter, entry in shown.items() if entry.get("pages")]
    said = "The pages of this build show runs with other parameters or at another scale than the published ones."
    return [Heading("What changed"), said, drawn("changes.html", runs=runs)] if runs else []


def costs() -> list[Part]:
    """Return the measured cost of every chapter at each published scale, as a Markdown table."""
    rows = ["| chapter | smoke | laptop | peak memory |", "|---|---|---|---|"]
    for chapter in chapters.chapters():
        cards = [chapters.published(chapter, scale, "card") for scale in ("smoke", chapters.PUBLISHED)]
        walls = [f"{card['wall_s']:.0f} s" if card else "not run" for card in cards]
        peak = max((card["peak_mb"] for card in cards if card), default=None)
        rows.append(f"| {{doc}}`/{chapters.page(chapter)}` | {walls[0]} | {walls[1]} | {f'{peak} MB' if peak else '–'} |")
    return ["\n".join(rows)]


def _changed(chapter: str, folder: Path, ours: dict[str, dict]) -> dict:
    """The verdicts and numbers of one run beside the published ones."""
    card, judged, now = (files.json(folder / f"{name}.json") for name in ("card", "verdicts", "numbers"))
    before = chapters.published(chapter, chapters.PUBLISHED, "numbers") or {}
    both = [(ours.get(verdict["id"]), verdict | {"card": card}) for verdict in judged]
    return {
        "chapter": chapter,
        "parameters": ", ".join(f"{name} = {value}" for name, value in card["parameters"].items()),
        "verdicts": [
            {"id": new["id"], "before": _cell(old), "now": _cell(new), "said": sentences.said(new)}
            for old, new in both
            if old is None or old["verdict"] != new["verdict"]
        ],
        "numbers": [(key, before.get(key, {}).get("text", "–"), number["text"]) for key, number in now.items()],
    }


def _row(id_: str, claim: dict, ours: dict | None, here: dict | None) -> dict:
    """What the row of a claim shows."""
    kinds = ["Ours."] * (claim["source"] == "ours") + ["An analogue."] * ("analogue" in claim["criterion"].lower())
    swept = ours and "sweep" in ours
    return {
        "id": id_,
        "page": f"sweeps/{ours['sweep']}.html" if swept else f"../{chapters.page(claim['chapter'])}.html#{id_}",
        "claim": claim,
        "kinds": " ".join(kinds),
        "published": _cell(ours),
        "here": _cell(here),
        "scale": ours["scale"].partition(",")[0] if ours else "",
        "said": sentences.said(ours) if ours else "",
        "size": _size(claim, ours) if ours else "",
    }


def _cell(verdict: dict | None) -> dict:
    """What the cell of a verdict shows: the word, the scale and, where it is inconclusive, what would decide it."""
    if verdict is None:
        return {"word": "not run"}
    advice = power.note(verdict["card"], verdict) if verdict["card"] else ""
    return {"word": verdict["verdict"], "scale": verdict["scale"], "advice": advice}


def _size(claim: dict, verdict: dict) -> str:
    """What was drawn, and where it was judged: the columns' labels (fits, sizes …), or how many seeds the columns are."""
    evidence = verdict["evidence"]
    at, n = evidence.get("at", []), evidence["n"]
    if claim.get("over") == "seeds" and at:
        return f"{len(at)} seeds"
    unit = "seeds" if verdict["rule"]["kind"] == "ordered" else "replicates"
    where = "" if not at else f", at {at[0]:g}" if len(at) == 1 else f", at {min(at):g} to {max(at):g}"
    return f"{f'{n} {unit}' if n > 1 else 'deterministic'}{where}"
