"""Every file that the book's pages are made of, read once: a damaged one is named before an hour is spent."""

from workflow import chapters, files, sweeps


def pages() -> None:
    """Read chapters, modules, claims, sweeps and what was published; raises the sentence for the first that is damaged."""
    for name in ("_toc.yml", "_config.yml", "scales.yml"):
        files.yaml(chapters.ROOT / name)
    for path in sorted((chapters.ROOT / "collapse_utils").rglob("*.py")):
        files.module(path)
    files.ledger()
    for chapter in chapters.chapters():
        notebook = chapters.load(chapter).notebook
        if "collapse" in notebook.metadata:
            files.fits(chapters.source(chapter), notebook.metadata["collapse"], files.SHAPES["card"])
    for path in sorted(chapters.RESULTS.rglob("*.json")):
        files.json(path, files.SWEEP if path.name == "card.json" and path.parents[1].name == "sweeps" else None)
    for path in sorted(chapters.RESULTS.rglob("*.parquet")):
        files.table(path)
    for name in sweeps.names():
        sweeps.read(name)
