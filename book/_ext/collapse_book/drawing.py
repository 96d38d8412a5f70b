"""How a page is drawn: by parts, and by directives that put them on it."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from sphinx.util.docutils import SphinxDirective

from collapse_utils.params import ParameterError
from workflow import chapters, files

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True, trim_blocks=True, lstrip_blocks=True
)

THEME = Path(__file__).with_name("templates") / "theme"  # templates of the theme that ours take the place of

Part = str  # of a page: MyST Markdown, a Heading, or HTML where it is Markup


class Heading(str):
    """The title of a section, which what follows belongs to."""


def drawn(template: str, **values: object) -> Markup:
    """Return a template of this folder filled with values, which are escaped, as HTML."""
    return Markup(TEMPLATES.get_template(template).render(values))


def raw(html: str) -> nodes.raw:
    """Return HTML as a node of a page."""
    return nodes.raw("", str(html), format="html")


def directive(draw: Callable[..., list[Part]], arguments: int) -> type[SphinxDirective]:
    """Return the directive that puts on a page what draw(*arguments) returns."""
    return type("Drawn", (_Drawn,), {"draw": staticmethod(draw), "required_arguments": arguments})


class _Drawn(SphinxDirective):
    draw: ClassVar[Callable[..., list[Part]]]

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # what it shows lies in other files than the page
        try:
            parts = self.draw(*self.arguments)
        except (chapters.ChapterError, files.FileError, ParameterError) as error:
            raise self.error(str(error)) from None
        top = place = nodes.Element()
        for part in parts:
            if isinstance(part, Heading):
                place = self._section(part)
                top += place
            elif isinstance(part, Markup):
                place += raw(part)
            else:
                self.state.nested_parse(StringList(part.splitlines(), self.name), self.content_offset, place)
        return top.children

    def _section(self, title: str) -> nodes.section:
        section = nodes.section("", nodes.title(title, title), names=[nodes.fully_normalize_name(title)])
        self.set_source_info(section)
        self.state.document.note_implicit_target(section, section)
        return section
