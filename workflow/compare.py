"""Two builds of the book side by side: parameters, verdicts and numbers that differ."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from workflow import chapters, files, sentences

CUSTOM = chapters.ROOT / "_build" / "custom"
TEMPLATES = Environment(loader=FileSystemLoader(chapters.ROOT / "book" / "_ext" / "collapse_book" / "templates"), autoescape=True)
KINDS = ("parameter ", "number ")  # what is no verdict


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
    defaults = chapters.load(cards[0]["chapter"]).defaults
    sides = [{f"parameter {name}": str(value) for name, value in (defaults | card["parameters"]).items()} for card in cards]
    for side, said, cited in zip(sides, verdicts, numbers, strict=True):
        side |= {verdict["id"]: f"{verdict['verdict']} ({sentences.said(verdict)})" for verdict in said}
        side |= {f"number {key}": number["text"] for key, number in cited.items()}
    names = list(sides[0] | sides[1])
    return [(name, *(side.get(name, "–") for side in sides)) for name in names if sides[0].get(name) != sides[1].get(name)]


def page(first: str, second: str) -> tuple[Path, list[str]]:
    """Write the page of two builds; return its place, and the verdicts that differ, one sentence each."""
    builds, words = [runs(name) for name in (first, second)], [name or "published" for name in (first, second)]
    found = {chapter: rows(*(build[chapter] for build in builds)) for chapter in builds[0] if chapter in builds[1]}
    if not found:
        raise chapters.ChapterError(f"compare: {words[0]} and {words[1]} have no chapter in common.")
    target = chapters.ROOT / "_build" / "compared.html"
    target.parent.mkdir(exist_ok=True)
    target.write_text(TEMPLATES.get_template("compared.html").render(builds=words, chapters=found) + "\n", encoding="utf-8")
    return target, [sentence for chapter in found for sentence in _said(chapter, found[chapter], words)]


def _said(chapter: str, found: list[tuple[str, str, str]], words: list[str]) -> list[str]:
    """The verdicts of a chapter that differ, one sentence each."""
    judged = [(what, *(text.split(" (")[0] for text in texts)) for what, *texts in found if not what.startswith(KINDS)]
    return [f"{chapter}: {what}: {a} in {words[0]}, {b} in {words[1]}" for what, a, b in judged if a != b]
