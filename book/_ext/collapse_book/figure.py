"""The figure of a sweep, drawn from its stored table: numbers against a parameter, in the book's colours, theory dashed."""

import ast
import io
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from collapse_utils import plot
from workflow import chapters
from workflow.sweeps import Sweep

OTHERS = (("#332288", "h"), ("#999933", "<"), ("#882255", ">"), ("#555555", "*"))  # what belongs to no regime


def draw(sweep: Sweep, table: pd.DataFrame, columns: int = 3) -> bytes:
    """Return the figure as PNG, its panels in so many columns at most: one where the screen is narrow.

    A number with a standard error in the table (`name-se`) has an interval of two of them.
    """
    done, panels, words = table[table["state"] == "done"], sweep.show.panels, words_of(sweep)
    values = list(done[panels].unique()) if panels else [None]
    figure, axes = _axes(len(values), min(columns, len(values)))
    for ax, value in zip(axes, values, strict=True):
        _panel(ax, sweep, done if panels is None else done[done[panels] == value])
        ax.set(title=f"{words[panels]} = {short(value)}" if panels else "")
        ax.title.set_size(9)
    figure.supxlabel(words[sweep.show.x], fontsize=10)
    figure.supylabel(sweep.show.label, fontsize=10)
    handles, named = axes[0].get_legend_handles_labels()
    fits = max(1, int(figure.get_figwidth() * 13 / (5 + max(map(len, named)))))
    figure.legend(handles, named, loc="outside upper center", ncols=min(fits, len(named)), frameon=False, fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110)
    plt.close(figure)
    return stream.getvalue()


def _axes(panels: int, columns: int) -> tuple:
    """A figure in the book's look, and its panels."""
    rows = -(-panels // columns)
    width = 3.4 * columns if panels > 1 else 5.6
    plt.close(plot.figure()[0])  # sets the book's look; its own size is for one panel
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, 3.0 * rows + 0.8), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for ax in axes.flat[panels:]:
        ax.remove()
    return figure, list(axes.flat[:panels])


def words_of(sweep: Sweep) -> dict[str, str]:
    """Return {parameter: what it is}, as the comments of the parameters cell say, or as `show: names` does."""
    source = next(iter(chapters.load(sweep.chapter).cells.values()))
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].partition(";")[0].strip()
            found[node.target.id] = f"{node.target.id}: {comment}" if comment else node.target.id
    return found | sweep.show.names


def _panel(ax, sweep, part):
    """One panel: measurements as points, theory as thin dashed lines."""
    x, lines = sweep.show.x, sweep.show.lines
    part, shareless = _shares(part, x)
    curves = [(value, curve.sort_values(x)) for value, curve in part.groupby(lines)] if lines else [(None, part)]
    if words := not pd.api.types.is_any_real_numeric_dtype(part[x]):  # on the axis, in place of numbers
        curves = [(value, curve.assign(**{x: curve[x].map(short)})) for value, curve in curves]
    _points(ax, sweep, curves, linewidth=0 if words else 0.6)
    _levels(ax, sweep, shareless)
    _theory(ax, sweep, curves)
    _ticks(ax, sweep, words)


def _points(ax, sweep, curves, linewidth):
    """Measurements with intervals of two standard errors; a second arm of the same regime is drawn hollow."""
    lines, used, others = sweep.show.lines, set(), iter(OTHERS)
    words = sweep.show.names.get(lines, lines)
    for name, label in sweep.show.y.items():
        regime = _regime(label)
        colour, marker = (plot.COLOURS[regime], plot.MARKERS[regime]) if regime else next(others)
        style = {"color": colour, "marker": marker, "markersize": 4.5, "capsize": 2, "linewidth": linewidth, "elinewidth": 1}
        for value, curve in curves:
            error = next((2 * curve[one] for one in _errors(name) if one in curve), None)
            said = label if lines is None else f"{label}, {words} = {short(value)}"
            face = "white" if colour in used else colour
            ax.errorbar(curve[sweep.show.x], curve[name], error, label=said, markerfacecolor=face, **style)
            used.add(colour)


def _levels(ax, sweep, shareless):
    """A dotted line for each regime without a share, beside the points of mixture(p)."""
    for name, label in sweep.show.y.items():
        for value, level in zip(shareless[sweep.show.x], shareless[name], strict=True) if label.startswith("mixture(p)") else ():
            here = label.replace("mixture(p)", value.replace("_", "-"))
            ax.axhline(level, color=plot.COLOURS.get(value, "0.4"), linestyle=":", linewidth=1.2, label=here)


def _theory(ax, sweep, curves):
    """Theory as thin dashed lines, each label said once."""
    style, said = {"color": "black", "linestyle": "--", "linewidth": 0.9, "zorder": 5}, set()
    for name, label in sweep.show.theory.items():
        for _, curve in curves:
            ax.plot(curve[sweep.show.x], curve[name], label=None if label in said else label, **style)
            said.add(label)


def _ticks(ax, sweep, words):
    """Words are turned; logarithmic axes have plain numbers at 1, 2 and 5."""
    for tick in ax.get_xticklabels() if words else ():
        tick.set(rotation=30, ha="right", rotation_mode="anchor")
    for axis in sweep.show.log:
        getattr(ax, f"set_{axis}scale")("log")
        ticks = getattr(ax, f"{axis}axis")
        ticks.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_formatter(NullFormatter())


def _shares(part, x):
    """The points of regimes mixture(p), with p in place of the name, and the points of other regimes, which have no share."""
    shares = part[x].astype(str).str.extract(r"^mixture\((.+)\)$")[0].astype(float)
    if shares.isna().all():
        return part, part[:0]
    return part[shares.notna()].assign(**{x: shares.dropna()}), part[shares.isna()]


def _regime(label):
    """The regime that a label begins with, as in "replace-multiple" or "mixture(p), last fit"; None where it is another thing."""
    fits = [regime for regime in plot.COLOURS if label.replace("-", "_").startswith(regime)]
    return max(fits, key=len, default=None)


def _errors(name):
    """What the standard error of a number is called in the chapters' tables."""
    return f"{name}-se", f"{name}_se", f"{name.removesuffix('-mean')}-se"


def short(value: Any) -> str:
    """Return a value as the figure and the page show it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
