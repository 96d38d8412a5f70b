"""Sphinx extension of the book: what its pages show of runs, claims and sweeps, and the site around them."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sphinx.errors import ConfigError

from collapse_book import api, bends, chapter, drawing, finding, growth, head, lab, own, scorecard, search, site, sweep
from workflow import sweeps, verdicts

DIRECTIVES = {
    "scorecard": (scorecard.papers, 0),
    "changes": (scorecard.changes, 0),
    "costs": (scorecard.costs, 0),
    "growth": (growth.tables, 0),
    "bending": (bends.tables, 0),
    "api": (api.module, 1),
    "own": (own.shown, 1),
    "sweep": (lambda name: sweep.page(sweeps.read(name)), 1),
}


def on_config_inited(app, config):
    """Name the book and its version in the inventory by which other books link to it; give the pages {{ summary }}."""
    config.project, config.version, config.release = config.html_title, site.PROJECT["version"], site.PROJECT["version"]
    config.myst_substitutions = config.myst_substitutions | {"summary": verdicts.summary()}
    config.add_module_names, config.toc_object_entries = False, False  # of the functions, under headings that name their file
    config.nitpick_ignore_regex = [*config.nitpick_ignore_regex, ("py:class", ".*")]  # types of other packages
    config.templates_path.append(str(drawing.THEME))
    try:
        head.configure(config)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def setup(app):
    """Register with Sphinx."""
    for name in head.SETTINGS:
        app.add_config_value(name, "", "html")
    for name, (draw, arguments) in DIRECTIVES.items():
        app.add_directive(name, drawing.directive(draw, arguments))
    for directive in (finding.Finding, finding.Headline, finding.Takeaway, finding.Verdicts, lab.Lab):
        app.add_directive(directive.__name__.lower(), directive)
    app.add_role("result", finding.Result())
    app.connect("config-inited", on_config_inited)
    app.connect("builder-inited", search.on_builder_inited)
    app.connect("source-read", chapter.on_source_read)
    app.connect("html-page-context", lab.on_page_context)
    app.connect("html-page-context", site.on_page_context, priority=900)
    app.connect("build-finished", site.on_build_finished)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
        "env_version": hash(json.dumps(verdicts.shown())),
    }
