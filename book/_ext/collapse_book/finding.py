"""What a reader sees first and last of a chapter: its finding, the takeaways, claims with verdicts; and numbers of runs anywhere."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from collapse_book import chapter as chapter_page
from collapse_book.drawing import drawn, raw
from workflow import chapters


class Finding(SphinxDirective):
    """The first screen of a chapter: question, answer, its one figure, what it means for you, and the verdicts.

    The argument is the cell of the figure; the content is question, answer and meaning, in paragraphs.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        chapter, cell = self.env.docname.rpartition("/")[2], self.arguments[0]
        if cell not in chapter_page.pictures(chapter):
            raise self.error(f"finding: {cell!r} is no cell of {chapter} with a figure.")
        box = nodes.container(classes=["finding"])
        self.state.nested_parse(self.content, self.content_offset, box)
        question, *answer = box.children
        question["classes"].append("question")
        picture = raw(chapter_page.figure(chapter, cell, self.env.docname))
        chips = raw(drawn("chips.html", verdicts=chapter_page.judged(chapter)))
        box.children = []
        box += [question, *answer[:-1], picture, *answer[-1:], chips]
        return [box]


class Takeaway(SphinxDirective):
    """A box with what a section leaves you with."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        box = nodes.container(classes=["takeaway"])
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


class Verdicts(SphinxDirective):
    """The claims that a chapter judges: each with its verdict and, unfolded, equation, pass rule and rival. Ids are anchors."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        chapter = self.env.docname.rpartition("/")[2]
        box = nodes.container(classes=["claims"], ids=[] if "verdicts" in self.state.document.ids else ["verdicts"])
        for verdict in chapter_page.judged(chapter):
            box += addnodes.index(entries=[("single", verdict["id"], verdict["id"], "main", None)])
            box += raw(drawn("claim.html", verdict=verdict))
            self.state.nested_parse(StringList(_statement(verdict["claim"]).splitlines(), "claim"), 0, box)
            box += raw("</details>")
        return [box]


class Result(SphinxRole):
    """A number of a published run, as its chapter cites it: {result}`linear_models:acc-last`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        chapter, _, key = self.text.partition(":")
        try:
            text = chapter_page.numbers(chapters.find(chapter))[key]["text"]
            return [nodes.inline("", text, classes=["result"])], []
        except (chapters.ChapterError, KeyError, FileNotFoundError):
            raise ExtensionError(f"{self.env.docname}: {self.text!r} is no number of a chapter; write name:key.") from None


class Headline(SphinxDirective):
    """A figure of a chapter with its caption, for another page."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        box = nodes.container(classes=["headline"])
        box += raw(chapter_page.figure(*self.arguments, self.env.docname))
        self.state.nested_parse(StringList(chapter_page.caption(*self.arguments).splitlines(), "caption"), 0, box)
        return [box]


def _statement(claim: dict) -> str:
    """What unfolds under a claim, as MyST Markdown."""
    lines = [f"*{claim['where'].strip()}.*"]
    if "published" in claim:
        lines.append(f"*Published:* {claim['published'].strip()}")
    if "equation" in claim:
        lines.append(f"$$\n{claim['equation'].strip()}\n$$")
    return "\n\n".join([*lines, f"*Holds if:* {claim['criterion'].strip()}", f"*Rival:* {claim['rival'].strip()}"])
