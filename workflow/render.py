"""The book's HTML, built by Jupyter Book where something that it shows has changed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from workflow import cards, chapters

# folders that the pages are made of, and files
SHOWN = ("book", "notebooks", "results", "sweeps", "workflow", "collapse_utils", "shipped/reports")
FILES = ("_config.yml", "_toc.yml", "constraints.txt", "scales.yml", "pyproject.toml", "CHANGELOG.md")


def home(*words: str) -> Path:
    """Return the folder of a build with other parameters, one for each scale, chapters and parameters."""
    said = "-".join(" ".join(words).split())
    plain = re.sub(r"[^\w.=,-]", "_", said)[:100]
    return chapters.ROOT / "_build" / "custom" / (plain if plain == said else f"{plain}-{cards.digest(said)}")


def book(runs: list[chapters.Run], pages: bool, home: Path) -> int:
    """Build the HTML in home/_build/html unless nothing that it shows has changed; return jupyter-book's exit code."""
    chapters.BUILD.mkdir(exist_ok=True)
    shown = {done.chapter: {"rerun": str(done.folder), "pages": pages} for done in runs}
    (chapters.BUILD / "shown.json").write_text(json.dumps(shown, indent=1), encoding="utf-8")
    key, out, stamp = _key(shown), home / "_build" / "html", home / "_build" / "html.key"
    if stamp.exists() and stamp.read_bytes() == key.encode() and (out / "index.html").exists():
        return 0
    stamp.unlink(missing_ok=True)
    shutil.rmtree(out, ignore_errors=True)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(chapters.BUILD / "shown.json", stamp.with_name("shown.json"))  # what `compare` reads
    status = _jupyter_book(home)
    if status == 0:
        stamp.write_text(key)
    return status


def _key(shown: dict) -> str:
    """A digest of all that the pages are made of."""
    found = [path for top in SHOWN for path in sorted((chapters.ROOT / top).rglob("*")) if path.is_file()]
    found = [path for path in found if "__pycache__" not in path.parts] + [chapters.ROOT / name for name in FILES]
    return cards.digest([shown, [(str(path.relative_to(chapters.ROOT)), cards.digest(path.read_bytes())) for path in found]])


def _jupyter_book(home: Path) -> int:
    """Call jupyter-book, every warning an error; its problems are printed, the rest goes to a log."""
    program = str(Path(sys.executable).with_name("jupyter-book"))
    command = [program, "build", ".", "--path-output", str(home), "--all", "-W", "-n", "--keep-going", "-q"]
    environment = os.environ | {"PYTHONPATH": str(chapters.ROOT)}
    done = subprocess.run(command, cwd=chapters.ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    (chapters.BUILD / "jupyter-book.log").write_text(said, encoding="utf-8")
    if done.returncode:
        problems = [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line]
        print("\n".join([*problems[:20], "The book was not built; the log: .build/jupyter-book.log"]), file=sys.stderr)
    return done.returncode
