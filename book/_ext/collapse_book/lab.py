"""The theory lab: a widget of _static/lab on a page, with a still figure for readers without scripts."""

import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from collapse_book import chapter as chapter_page
from collapse_book.drawing import raw

WIDGETS = {  # each with a script of its name
    "regimes": "one loop, five regimes",
    "mixture": "help, hurt, floor",
    "chain": "twenty Gaussian chains",
    "sampler": "the steps of a sampler",
    "tails": "a cut tail and some real rows",
    "signal": "a signal through a deep network",
    "weight": "the weight of new real rows",
    "taught": "a scaling law with a teacher's labels",
}
STYLE, ENGINE = "lab.css", "lab/engine.js"  # only pages with a widget load them
MARK = re.compile(r'class="lab docutils container" id="lab-(\w+)"')  # of a widget on a page


class Lab(SphinxDirective):
    """A widget by its name and, where the page has none beside it, the chapter and the cell of its still figure."""

    required_arguments = 1
    optional_arguments = 2

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()
        name, *still = self.arguments
        if name not in WIDGETS:
            raise self.error(f"lab: {name!r} is no widget; write one of {', '.join(WIDGETS)}.")
        box, beside = nodes.container(classes=["lab"], ids=[f"lab-{name}"]), nodes.container(classes=["still"])
        if len(still) == 1 or (still and still[1] not in chapter_page.pictures(still[0])):
            raise self.error(f"lab: {' '.join(still)!r} is no figure; write a chapter and a cell of it with a figure.")
        if still:
            beside += raw(chapter_page.figure(*still, self.env.docname))
        caption = chapter_page.caption(*still) if still else f"*With scripts there are sliders here: {WIDGETS[name]}.*"
        self.state.nested_parse(StringList(caption.splitlines(), "caption"), 0, beside)
        box += beside
        return [box]


def on_page_context(app, pagename, templatename, context, doctree):
    """Load the lab's engine and the scripts of the page's widgets."""
    if found := MARK.findall(context.get("body", "")):
        app.add_css_file(STYLE)
        for script in (ENGINE, *(f"lab/{name}.js" for name in found)):
            app.add_js_file(script)
