"""The bending table as a page: which verdict notices which bent law, from what workflow.bending measured; blank rows first."""

import functools
import html
import json

from workflow import bending, cards, chapters

SCALES = ("smoke", "laptop")


@functools.cache
def measured() -> list[dict]:
    """Return the rows of results/bending, each with its law, chapter, scale and whether the chapter has changed since."""
    found = []
    for path in sorted(bending.FOLDER.glob("*/*.json"), key=lambda path: SCALES.index(path.parent.name)):
        table = json.loads(path.read_text(encoding="utf-8"))
        where = {"chapter": table["chapter"], "scale": table["scale"]}
        where["stale"] = table["key"] != bending.fingerprint(bending.planned(where["chapter"], where["scale"]))
        found += [{"law": law, **where, **row} for law, row in table["rows"].items()]
    return found


def rows(names: list[str]) -> dict[str, list[dict]]:
    """Return {law: its rows, in the order of the book}; at laptop scale only those of laws that turn nothing at smoke scale."""
    order, found = chapters.chapters(), {}
    for name in names:
        own = [row for row in measured() if row["law"] == name]
        small = [row for row in own if row["scale"] == "smoke"]
        found[name] = sorted(small if any(row["turned"] for row in small) else own, key=lambda row: order.index(row["chapter"]))
    return found


def blank(found: dict[str, list[dict]]) -> list[str]:
    """Return the laws that no verdict noticed at any scale."""
    return [name for name, own in found.items() if not any(row["turned"] for row in own)]


def markdown() -> str:
    """Return the page's summary and its two tables, laws and regimes, as MyST Markdown."""
    theory, regimes = rows(list(bending.laws())), rows(list(bending.arms()))
    noticed = {id_ for own in theory.values() for row in own for id_ in row["turned"]}
    unseen, seconds = blank(theory), sum(row["seconds"] for row in measured())
    small = sum(any(row["turned"] for row in own if row["scale"] == "smoke") for own in theory.values())
    said = (
        f"{len(theory)} laws: {small} noticed at smoke scale, {len(theory) - small - len(unseen)} at laptop scale, {len(unseen)} by no "
        f"verdict. {len(noticed)} claims turned under one bend or another; the whole table took {seconds / 60:.0f} minutes on one core."
    )
    stale = sorted({row["chapter"] for row in measured() if row["stale"]})
    note = f"\n\n**Measured with earlier code:** {', '.join(stale)}; `python -m workflow.bending` measures them again." if stale else ""
    arms = {name: own for name, own in regimes.items() if own}
    return f"{said}{note}\n\n## Laws\n\n{_table('law', theory)}\n\n## Regimes\n\n{_table('regime', arms)}"


def _table(head: str, found: dict[str, list[dict]]) -> str:
    first = [name for name, own in found.items() if not any(row["turned"] for row in own)]
    body = "".join(_row(name, found[name]) for name in [*first, *(name for name in found if name not in first)])
    heads = "".join(f"<th>{text}</th>" for text in (head, "verdicts that turn", "evidence moved, verdict stayed", "no verdict there"))
    return f'```{{raw}} html\n<div class="table-wrap"><table class="verdicts"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>\n```'


def _row(name: str, own: list[dict]) -> str:
    turned = "; ".join(filter(None, (_turned(row) for row in own))) or "<b>none</b>"
    moved = "; ".join(f"{_link(row, ', '.join(row['moved']))}" for row in own if row["moved"]) or "–"
    idle = "; ".join(_idle(row) for row in own if not (row["turned"] or row["moved"])) or "–"
    return f"<tr><td>{name}</td><td>{turned}</td><td>{moved}</td><td>{idle}</td></tr>"


def _turned(row: dict) -> str:
    """The verdicts that turned in one chapter; a minus where the law had to be lowered, the scale where it is not smoke."""
    words = [f"{id_}{' (−)' if factor < 1 else ''}" for id_, (_, _, factor) in row["turned"].items()]
    return _link(row, ", ".join(words)) if words else ""


def _idle(row: dict) -> str:
    """A chapter that uses the law and judges nothing by it, with the cell that asserts something of it, if one does."""
    seen = sorted({*row["broken"], *row["stopped"]})
    return _link(row, row["chapter"].split("_")[0]) + (f" ({', '.join(seen)})" if seen else "")


def _link(row: dict, text: str) -> str:
    scale = "" if row["scale"] == "smoke" else f" <small>{row['scale']}</small>"
    return f'<a href="../notebooks/{row["chapter"]}.html#verdicts">{html.escape(text)}</a>{scale}'
