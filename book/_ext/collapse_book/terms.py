"""Definitions that appear at the words of the glossary, where a page names one as {term}."""

import re
from functools import cache

from docutils import nodes

from collapse_book.drawing import drawn

GLOSSARY = "book/glossary"
LINK = re.compile(r'<a class="reference internal" href="[^"]*#(term-[^"]+)"')
FORMULA = "\0"


def with_definitions(body: str, app) -> str:
    """Return the HTML of a page; each link to a word of the glossary carries its definition, which the style sheet shows."""
    known = definitions(app) if LINK.search(body) and GLOSSARY in app.env.found_docs else {}
    return LINK.sub(lambda link: link[0] + str(drawn("definition.html", text=known.get(link[1], ""))), body)


@cache
def definitions(app) -> dict[str, str]:
    """Return {anchor of a word: its definition as plain words, without the sentences that have formulas}."""
    found = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        text = " ".join(plain(paragraph) for paragraph in item.findall(nodes.paragraph))
        sentences = re.split(r"(?<=[.!?:]) ", " ".join(text.split()))
        said = " ".join(sentence for sentence in sentences if FORMULA not in sentence)
        found |= {anchor: said for term in item.findall(nodes.term) for anchor in term["ids"]}
    return found


def plain(paragraph: nodes.paragraph) -> str:
    """Return the words of a paragraph, a sign where a formula stands."""
    texts = paragraph.findall(nodes.Text)
    return "".join(FORMULA if isinstance(text.parent, nodes.math) else text.astext() for text in texts)
