"""One look for the whole book: a colour and a marker per regime, measurements with two standard errors, theory dashed."""

import matplotlib.pyplot as plt
import numpy as np

from collapse_utils.panels import Panels

COLOURS = {
    "replace": "#D55E00",
    "accumulate": "#0072B2",
    "accumulate_subsample": "#009E73",
    "mixture": "#CC79A7",
    "replace_multiple": "#E69F00",
    "real_and_last": "#56B4E9",
    "fresh_real_and_last": "#7F7F7F",
}
MARKERS = {
    "replace": "o",
    "accumulate": "s",
    "accumulate_subsample": "^",
    "mixture": "D",
    "replace_multiple": "v",
    "real_and_last": "P",
    "fresh_real_and_last": "X",
}
SERIES = [
    ("#0072B2", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "o"),
    ("#E69F00", "v"),
    ("#D55E00", "D"),
    ("#56B4E9", "P"),
    ("0.5", "X"),
]
LOOK = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "errorbar.capsize": 2,
    "figure.dpi": 110,
    "font.size": 10,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "lines.linewidth": 1,
    "lines.markersize": 4,
    "savefig.dpi": 110,
}


def figure(n_panels: int = 1, size: tuple[float, float] | None = None, xlabel: str = "", ylabel: str = "", **kwargs):
    """Return (fig, axes) in the book's look, 5.0 × 3.4 inches, or 4.2 × 3.4 a panel where there are several, side by side.

    size, in inches, is of the whole; xlabel is written under every panel, ylabel beside the first; kwargs go to subplots.
    """
    plt.rcParams.update(LOOK)
    size = size or (5.0 if n_panels == 1 else 4.2 * n_panels, 3.4)
    fig, axes = plt.subplots(1, n_panels, figsize=size, layout="constrained", FigureClass=Panels, **kwargs)
    for ax in np.ravel(axes):
        ax.set_xlabel(xlabel)
    np.ravel(axes)[0].set_ylabel(ylabel)
    return fig, axes


def look(series: str | int) -> dict[str, str]:
    """Return the colour and marker of a regime, by its name, or of the k-th series of a figure whose series are no regimes."""
    colour, marker = (COLOURS[series], MARKERS[series]) if isinstance(series, str) else SERIES[series]
    return {"color": colour, "marker": marker}


def measured(ax, x, samples, series: str | int, label: str | None = None, se=None, unit=1.0, **style):
    """Draw means with intervals of two standard errors, in the look of a regime or of the k-th series.

    samples: Moments, or an array (replicates, k), or the means (k,) with their standard errors se. Both are divided by
    unit, a number or (k,). A regime is labelled by its name unless a label is given.
    """
    if hasattr(samples, "se"):
        samples, se = samples.mean, samples.se
    elif se is None:
        samples, se = np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1) / np.sqrt(len(samples))
    mean, error = np.asarray(samples) / unit, 2 * np.abs(np.asarray(se) / unit)
    ax.errorbar(x, mean, error, label=_name(series, label), **({"linestyle": "none"} | look(series) | style))


def seeds(ax, x, paths, series: str | int, label: str | None = None, **style):
    """Draw one thin line a run, paths (runs, k), and their mean in the look of the series, labelled once."""
    colour, marker = look(series).values()
    ax.plot(x, np.transpose(paths), color=colour, **({"linewidth": 0.5, "alpha": 0.4} | style))
    ax.plot(x, np.mean(paths, axis=0), marker, color=colour, label=_name(series, label))


def theory(ax, x, y, label: str | None = None, at: float = 0.6):
    """Draw theory as a thin black dashed line, labelled on the curve at the fraction `at` of its points."""
    ax.plot(x, y, color="black", linestyle="--", linewidth=0.9, zorder=1)
    if label:
        i = min(int(at * len(x)), len(x) - 1)
        note(ax, label, (x[i], y[i]), offset=(4, 5), ha="right", va="bottom", color="black")


def note(ax, text: str, at: tuple, offset: tuple[float, float] = (0, 3), **style):
    """Write a small grey remark at a point (x, y) of the data, moved by offset, in points."""
    ax.annotate(text, at, offset, textcoords="offset points", **({"fontsize": 9.5, "color": "0.35"} | style))


def ticks(axis, values=None):
    """Mark a logarithmic axis, ax.xaxis or ax.yaxis, with plain numbers: those of the values that are in view.

    Without values: 1, 2 and 5 in every decade, 1 alone where there are more than three.
    """
    low, high = sorted(axis.get_view_interval())
    if values is None:
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)))
        values = np.outer(decades, [1, 2, 5, 10] if high < 1000 * low else [1, 10]).ravel()
    shown = sorted({value for value in values if low <= value <= high})
    axis.set_ticks(shown, [f"{value:g}" for value in shown])
    axis.set_ticks([], minor=True)


def _name(series: str | int, label: str | None) -> str | None:
    return series.replace("_", "-") if label is None and isinstance(series, str) else label
