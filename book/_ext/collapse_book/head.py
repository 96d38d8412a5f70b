"""What a page says of itself to search engines and to those who share or cite it, and the settings that need an address."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from docutils import nodes
from markupsafe import Markup

from collapse_book.drawing import drawn
from workflow import chapters

CITATION = yaml.safe_load((chapters.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CARD = "_static/card.png"
SETTINGS = ("collapse_site", "collapse_repository")
NUMBER = re.compile(r"^[\d.]+ ")  # of a chapter, before its title
LONG = 40  # characters: shorter paragraphs say too little of a page
BUTTONS = {
    "use_edit_page_button": True,
    "use_issues_button": True,
    "use_repository_button": True,
    "repository_branch": "main",
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
}


def configure(config) -> None:
    """Turn on what needs an address: canonical ones, links to edit, to report and to launch. Without one they are off.

    Raises ValueError for an address that is none.
    """
    for name in SETTINGS:
        parts = urlsplit(config[name])
        if config[name] and (parts.scheme not in ("http", "https") or not parts.netloc):
            raise ValueError(f'{name} must be an address like https://example.org/book, or ""; got {config[name]!r}.')
    if config.collapse_site:
        config.html_baseurl = config.collapse_site.rstrip("/") + "/"
    if config.collapse_repository:
        config.html_theme_options = config.html_theme_options | BUTTONS | {"repository_url": config.collapse_repository}


def tags(pagename: str, context: dict, doctree: nodes.document, config) -> Markup:
    """Return the description of a page for search engines and for the cards that other sites show of a link."""
    card = (config.html_baseurl or "../" * pagename.count("/")) + CARD
    return drawn("head.html", text=description(doctree), card=card, **_identity(pagename, context, config))


def citation(pagename: str, context: dict, config) -> Markup:
    """Return the box that says how a page is cited, for readers and for BibTeX."""
    key = pagename.rpartition("/")[2].replace("_", "-")
    return drawn("cite.html", key=key, version=CITATION["version"], **_identity(pagename, context, config))


def _identity(pagename: str, context: dict, config) -> dict:
    """What a page is, by whom and from when."""
    numbered = str(Markup(context["title"]).striptags())
    return {
        "title": NUMBER.sub("", numbered),
        "book": config.html_title,
        "url": f"{config.html_baseurl}{pagename}.html" if config.html_baseurl else "",
        "authors": [one.get("name") or f"{one['given-names']} {one['family-names']}" for one in CITATION["authors"]],
        "date": str(CITATION["date-released"]),
    }


def description(doctree: nodes.document) -> str:
    """The first paragraph of a page that is long enough and has no formula, as plain words; else what the project is."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().replace(" []", "").split())
        if not list(paragraph.findall(nodes.math)) and len(text) > LONG:
            return text if len(text) <= 200 else text[:200].rpartition(" ")[0] + " …"
    return f"{CITATION['title']}."


def write_addresses(app, out: Path) -> None:
    """Write the page for addresses that lead nowhere and, where the book has an address, its site map."""
    site, pages = app.config.html_baseurl, sorted(app.env.found_docs)
    base = urlsplit(site).path or "/"
    (out / "404.html").write_text(
        drawn("missing.html", base=base, book=app.config.html_title, root=app.config.root_doc), encoding="utf-8"
    )
    if site:
        (out / "sitemap.xml").write_text(drawn("sitemap.xml", site=site, pages=pages), encoding="utf-8")
        (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {site}sitemap.xml\n", encoding="utf-8")
