"""Code cells set at 100 columns: `python -m workflow.cells [CHAPTER …]`, of every chapter if none is named."""

import json
import subprocess
import sys
from pathlib import Path

from workflow import cards, chapters

COLUMNS = 100


def formatted(sources: list[str]) -> list[str]:
    """Return the sources of cells as ruff sets them: a `;` at the end of a cell, which hides its value, stays."""
    cells = [{"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": one} for one in sources]
    notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 4}
    ruff = str(Path(sys.executable).with_name("ruff"))
    command = [
        ruff,
        "format",
        "--isolated",
        f"--line-length={COLUMNS}",
        "--target-version=py311",
        "--stdin-filename=cells.ipynb",
        "-",
    ]
    done = subprocess.run(command, input=json.dumps(notebook), capture_output=True, text=True, check=True)
    return ["".join(cell["source"]) for cell in json.loads(done.stdout)["cells"]]


def tidied(text: str) -> str:
    """Return a notebook's text with its code cells formatted and everything else as it was.

    The parameters cell is left alone: papermill reads it line by line. Raises ValueError where a digest would change.
    """
    notebook = json.loads(text)
    before = cards.inputs(_joined(notebook))
    cells = [
        cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    for cell, source in zip(cells, formatted(["".join(cell["source"]) for cell in cells]), strict=True):
        cell["source"] = source.splitlines(keepends=True)
    if cards.inputs(_joined(notebook)) != before:
        raise ValueError("cells: formatting has changed what a run card knows; nothing was written.")
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def longest(sources: dict[str, str]) -> int:
    """Return the length of the longest line of a chapter's cells, given by their ids."""
    return max(len(line) for source in sources.values() for line in source.splitlines())


def _joined(notebook: dict) -> dict:
    """The notebook as nbformat reads it: each source one string."""
    return notebook | {"cells": [cell | {"source": "".join(cell["source"])} for cell in notebook["cells"]]}


def main() -> int:
    """Format the chapters named, or all; say which were changed, and which lines are left too long for ruff to break."""
    for name in map(chapters.find, sys.argv[1:]) if sys.argv[1:] else chapters.chapters():
        path = chapters.source(name)
        before = path.read_text(encoding="utf-8")
        if (after := tidied(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(f"{name}: formatted")
        for id_, source in cards.code_cells(chapters.read(name)).items():
            for line in source.splitlines():
                if len(line) > COLUMNS:
                    print(f"{name}, cell {id_}: {len(line)} columns, break it by hand: {line.strip()[:80]} …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
