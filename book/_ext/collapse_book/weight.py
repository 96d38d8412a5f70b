"""What a page loads: the parts of MathJax, the icons and the rules of style that some page uses, and nothing else."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

from workflow.chapters import ROOT

MATHJAX = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
SERVED = (
    "startup.js",
    "core.js",
    "a11y/assistive-mml.js",
    "input/tex.js",
    "input/tex/extensions",
    "output/chtml.js",
    "output/chtml",
)
UNUSED = (
    "scripts/fontawesome.js",
    "locales",
    "vendor/fontawesome/webfonts/fa-regular-400.*",
    "design-tabs.js",
    "sphinx-design.min.css",
)
ICON = re.compile(r"(?:\.fa-[\w-]+:{1,2}before,?)+\{content:\"[^\"]*\"\}")
GLYPH = re.compile(r'"\\([ef][0-9a-f]{3})"')
RULES = ("@media", "@supports", "@layer", "@container")  # what holds rules, which may be dropped one by one
OURS = {path.name for path in (ROOT / "book" / "_static").glob("*.css")}  # nothing in these is without use


def lighten(out: Path) -> None:
    """Copy the parts of MathJax that are asked for, and take from the theme's files what no page uses."""
    for name in SERVED:
        source, target = MATHJAX / name, out / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    static = out / "_static"
    for path in [path for name in (*UNUSED, "scripts/*.map", "styles/*.map") for path in static.glob(name)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = _words([*out.rglob("*.html"), *static.rglob("*.js")])
    for path in static.rglob("*.css"):
        if path.name not in OURS:
            path.write_text(pruned(path.read_text(encoding="utf-8"), words), encoding="utf-8")
    theme = static / "styles" / "pydata-sphinx-theme.css"
    theme.write_text(_with_few_icons(theme.read_text(encoding="utf-8"), words, static), encoding="utf-8")


def pruned(css: str, words: set[str]) -> str:
    """Return the rules of a style sheet whose classes are all among words, or are made of one that ends in a hyphen."""
    found, rest = [], re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    while rest:
        head, opening, rest = rest.partition("{")
        if not opening:
            return "".join([*found, head])
        statements, _, head = head.rpartition(";")  # @import and @charset end without a block
        found.append(statements + ";" if statements else "")
        body, rest = _block(rest)
        if head.strip().startswith(RULES):
            kept = pruned(body, words)
            found.append(f"{head}{{{kept}}}" if kept.strip() else "")
        elif head.strip().startswith("@"):
            found.append(f"{head}{{{body}}}")
        elif kept := [one for one in _selectors(head) if _used(one, words)]:
            found.append(f"{','.join(kept)}{{{body}}}")
    return "".join(found)


def _block(text: str) -> tuple[str, str]:
    """The text up to the brace that closes a block that is open, and the text after it."""
    depth = 1
    for brace in re.finditer(r"[{}]", text):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[: brace.start()], text[brace.end() :]
    raise ValueError(f"weight: a style sheet ends within a block: {text[:80]!r}.")


def _selectors(head: str) -> list[str]:
    """The selectors of a rule; commas within parentheses separate none."""
    return re.findall(r"(?:[^,(]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))+", head)


def _used(selector: str, words: set[str]) -> bool:
    """Whether a selector can match: what stands in parentheses may be absent."""
    while "(" in selector and (plain := re.sub(r":[\w-]+\([^()]*\)|\([^()]*\)", "", selector)) != selector:
        selector = plain
    names = re.findall(r"\.(-?[A-Za-z_][\w-]*)", re.sub(r"\[[^\]]*\]", "", selector))
    return all(name in words or any(name[: k + 1] in words for k, sign in enumerate(name) if sign == "-") for name in names)


def _words(files: list[Path]) -> set[str]:
    """Everything that may be the name of a class in pages and scripts."""
    return {word for path in files for word in re.findall(r"[A-Za-z_][\w-]*", path.read_text(encoding="utf-8"))}


def _with_few_icons(css: str, words: set[str], static: Path) -> str:
    """The theme's style sheet with the icons that pages use; their font is cut down to these and written beside it."""
    folder = static / "vendor" / "fontawesome" / "webfonts"
    css = ICON.sub(lambda rule: rule[0] if words & set(re.findall(r"\.(fa-[\w-]+)", rule[0])) else "", css)
    for source in sorted(folder.glob("*.ttf")):
        font = TTFont(source)
        cut = subset.Subsetter()
        cut.populate(unicodes=[int(code, 16) for code in GLYPH.findall(css)])
        cut.subset(font)
        font.flavor = "woff"
        font.save(source.with_suffix(".woff"))
        source.unlink()
        source.with_suffix(".woff2").unlink(missing_ok=True)
    return re.sub(
        r'url\([^)]*/([\w-]+)\.woff2\) format\("woff2"\),url\([^)]*\.ttf\) format\("truetype"\)',
        r'url(../vendor/fontawesome/webfonts/\1.woff) format("woff")',
        css,
    )
