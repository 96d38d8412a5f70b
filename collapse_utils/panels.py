"""Figures that a page can take apart: beside the picture of the whole, an SVG of each panel, to be stacked on a phone."""

import io
import re
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

MIME = "application/vnd.collapse.panels+json"
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "collapse"}  # letters as shapes: the same on every device
MARGIN = 0.04  # inches around a panel


class Panels(Figure):
    """A figure whose panels travel with it: MIME, a list of SVG texts, transparent, each cropped to what it draws."""

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {MIME: self.panels()}

    def panels(self) -> list[str]:
        """Return the panels as SVG, from left to right and top to bottom; the figure is left as it was."""
        self.draw_without_rendering()  # places everything once and for all
        with plt.rc_context(STYLE), _still(self):
            return [self._panel(axes) for axes in self._together()]

    def _together(self) -> list[list]:
        """The axes of each panel: those of one cell of the grid, and what stands apart, such as a bar of colours, with all of it."""
        cells: dict = {}
        for ax in self.axes:
            spec = ax.get_subplotspec()
            cells.setdefault(spec and (spec.rowspan.start, spec.colspan.start), []).append(ax)
        apart = [*cells.pop(None, []), *self.legends, *self.texts]
        return [list(self.axes)] if apart else [cells[place] for place in sorted(cells)]

    def _panel(self, axes) -> str:
        for ax in self.axes:
            ax.set_visible(ax in axes)
        for ax in axes:  # what it shares with its neighbour it says itself
            ax.tick_params(labelleft=ax.yaxis.get_ticks_position() != "right")
            if not ax.get_ylabel():
                ax.set_ylabel(
                    next((other.get_ylabel() for other in ax.get_shared_y_axes().get_siblings(ax) if other.get_ylabel()), "")
                )
        buffer = io.StringIO()
        self.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=MARGIN, metadata={"Date": None})
        return re.sub(r"(\.\d{3})\d+", r"\1", buffer.getvalue())  # a thousandth of a point is enough


@contextmanager
def _still(figure: Figure):
    """Nothing moves while panels are shown and hidden; afterwards all is as before."""
    engine, seen = figure.get_layout_engine(), [(ax, ax.get_visible(), ax.get_ylabel()) for ax in figure.axes]
    ticks = [ax.yaxis.get_tick_params().get("labelleft", True) for ax in figure.axes]
    figure.set_layout_engine("none")
    try:
        yield
    finally:
        for (ax, visible, label), left in zip(seen, ticks, strict=True):
            ax.set_visible(visible)
            ax.set_ylabel(label)
            ax.tick_params(labelleft=left)
        figure.set_layout_engine(engine)
