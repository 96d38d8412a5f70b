"""The tables of bends: which verdict notices which bent law, and which regime fed with another's data."""

from collapse_book.drawing import Heading, Part, drawn
from workflow import bending, bent, chapters


def tables() -> list[Part]:
    """Return the page's summary and its two tables, laws and regimes, what no verdict notices first."""
    laws, arms = bending.by_name(list(bent.laws())), bending.by_name(list(bent.arms()))
    turned = {id_ for own in laws.values() for row in own for id_ in row["turned"]}
    unseen = len(bending.blank(laws))
    small = len(laws) - len(bending.blank({name: [row for row in own if row["scale"] == "smoke"] for name, own in laws.items()}))
    said = (
        f"{len(laws)} laws: {small} are noticed at smoke scale, {len(laws) - small - unseen} at laptop scale, "
        f"{unseen} by no verdict. {len(turned)} claims turned under one bend or another. "
        f"The table took {sum(row['seconds'] for row in bending.measured()) / 60:.0f} minutes on one core."
    )
    if old := bending.stale():
        said += f" **Measured with earlier code:** {', '.join(old)}."
    return [said, Heading("Laws"), _table("law", laws), Heading("Regimes"), _table("regime", arms)]


def _table(head: str, found: dict[str, list[dict]]) -> Part:
    blank = bending.blank(found)
    order = [*blank, *(name for name in found if name not in blank)]
    return drawn("bends.html", head=head, rows=[_row(name, found[name]) for name in order if found[name]])


def _row(name: str, own: list[dict]) -> dict:
    return {
        "name": name,
        "turned": [_link(row, _turned(row)) for row in own if row["turned"]],
        "why": bending.UNSEEN.get(name, ""),
        "moved": [_link(row, row["moved"]) for row in own if row["moved"]],
        "idle": [_link(row, [_idle(row)]) for row in own if not (row["turned"] or row["moved"])],
    }


def _turned(row: dict) -> list[str]:
    """The verdicts that turned; with a minus where the law had to be lowered."""
    return [f"{id_} (−)" if factor < 1 else id_ for id_, (_, _, factor) in row["turned"].items()]


def _idle(row: dict) -> str:
    """A chapter that uses the law and judges nothing by it; where an assertion notices, or a cell does not end, with the cell."""
    seen = [f"rival of {id_}" for id_ in row["rival"]] + [f"assertion in {cell}" for cell in row["broken"]]
    seen += [f"{cell} does not end" if "no end" in error else f"{cell} stops" for cell, error in row["stopped"].items()][:1]
    return row["chapter"] + (f" ({', '.join(seen)})" if seen else "")


def _link(row: dict, words: list[str]) -> dict:
    return {"page": chapters.page(row["chapter"]), "text": ", ".join(words), "scale": row["scale"]}
