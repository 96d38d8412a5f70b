"""Two builds of the book side by side: parameters, verdicts and numbers that differ."""

import html
from pathlib import Path

from workflow import chapters, files

CUSTOM = chapters.ROOT / "_build" / "custom"
STYLE = "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}td,th{border-bottom:1px solid #999;padding:.3em .7em;text-align:left;vertical-align:top}.wrap{overflow-x:auto}:root{color-scheme:light dark}"


def runs(name: str) -> dict[str, Path]:
    """Return {chapter: folder of its run} of a build, given by its name in _build/custom or by a path; "" is what was published."""
    if not name:
        found = {chapter: chapters.RESULTS / chapters.PUBLISHED / chapter for chapter in chapters.chapters()}
        return {chapter: folder for chapter, folder in found.items() if (folder / "card.json").exists()}
    for home in (CUSTOM / name, Path(name)):
        if (path := home / "_build" / "shown.json").exists():
            return {chapter: Path(entry["rerun"]) for chapter, entry in files.json(path).items()}
    known = ", ".join(sorted(path.parents[1].name for path in CUSTOM.glob("*/_build/shown.json"))) or "none yet"
    raise chapters.ChapterError(f"compare: A and B must be builds in _build/custom ({known}) or folders of builds; got {name!r}.")


def rows(first: Path, second: Path) -> list[tuple[str, str, str]]:
    """Return what differs between two runs of a chapter: (what, in the first, in the second)."""
    (cards, verdicts, numbers) = (
        [files.json(folder / f"{name}.json") for folder in (first, second)] for name in ("card", "verdicts", "numbers")
    )
    defaults = chapters.defaults(cards[0]["chapter"])
    sides = [{f"parameter {name}": str(value) for name, value in (defaults | card["parameters"]).items()} for card in cards]
    for side, said, cited in zip(sides, verdicts, numbers, strict=True):
        side |= {verdict["id"]: f"{verdict['verdict']} ({verdict['summary']})" for verdict in said}
        side |= {f"number {key}": number["text"] for key, number in cited.items()}
    names = list(sides[0] | sides[1])
    return [(name, *(side.get(name, "–") for side in sides)) for name in names if sides[0].get(name) != sides[1].get(name)]


def page(first: str, second: str) -> tuple[Path, list[str]]:
    """Write the page of two builds; return its place, and the verdicts that differ, one sentence each."""
    builds, words = [runs(name) for name in (first, second)], [name or "published" for name in (first, second)]
    both = [chapter for chapter in builds[0] if chapter in builds[1]]
    if not both:
        raise chapters.ChapterError(f"compare: {words[0]} and {words[1]} have no chapter in common.")
    parts, said = [], []
    for chapter in both:
        found = rows(*(build[chapter] for build in builds))
        lines = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in found)
        head = "<tr><th></th>" + "".join(f"<th>{html.escape(word)}</th>" for word in words) + "</tr>"
        table = f'<div class="wrap"><table>{head}{lines}</table></div>' if found else "<p>Nothing differs.</p>"
        parts.append(f"<h2>{chapter}</h2>{table}")
        verdicts = [
            (what, *(text.split(" (")[0] for text in texts))
            for what, *texts in found
            if not what.startswith(("parameter ", "number "))
        ]
        said += [
            f"{chapter}: {what}: {before} in {words[0]}, {now} in {words[1]}" for what, before, now in verdicts if before != now
        ]
    target = chapters.ROOT / "_build" / "compared.html"
    target.parent.mkdir(exist_ok=True)
    title = f"What changed: {html.escape(words[0])} and {html.escape(words[1])}"
    target.write_text(f"<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{''.join(parts)}\n", encoding="utf-8")  # fmt: skip
    return target, said
