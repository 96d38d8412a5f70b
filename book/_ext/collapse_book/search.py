"""What a search finds: words of the text, claims by their id, words of the glossary; no code, no output of it, no formula."""

from docutils import nodes

SKIPPED = (nodes.literal_block, nodes.math, nodes.math_block)


def on_builder_inited(app) -> None:
    """Let the index see each page without what nobody searches for."""
    if app.builder.format != "html":
        return
    feed = app.builder.index_page
    app.builder.index_page = lambda pagename, doctree, title: feed(pagename, searched(doctree), title)


def searched(doctree: nodes.document) -> nodes.document:
    """Return a copy of a page without code, outputs and formulas; the captions of figures stay."""
    copy = doctree.deepcopy()
    for node in list(copy.findall(skipped)):
        node.parent.remove(node)
    return copy


def skipped(node: nodes.Node) -> bool:
    """Return whether a node is code, a formula, or HTML that code has written."""
    return isinstance(node, SKIPPED) or (isinstance(node, nodes.raw) and "output" in node["classes"])
