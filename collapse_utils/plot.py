"""One look for the whole book: a colour and a marker per regime, theory as a thin dashed line."""

import matplotlib.pyplot as plt

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


def figure(n_panels: int = 1, **kwargs):
    """Return (fig, axes) of the book's size, 5.6 × 3.4 inches a panel, without top and right spines."""
    style = {"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 110, "savefig.dpi": 110, "font.size": 10}
    plt.rcParams.update(style)
    fig, axes = plt.subplots(1, n_panels, figsize=(5.6 if n_panels == 1 else 4.2 * n_panels, 3.4), layout="constrained", **kwargs)
    return fig, axes


def measured(ax, x, mean, error, regime: str, label: str | None = None):
    """Draw measurements as points with intervals (± error) in the regime's colour and marker."""
    name = regime.replace("_", "-") if label is None else label
    style = {"fmt": MARKERS[regime], "color": COLOURS[regime], "markersize": 4, "capsize": 2, "linewidth": 1}
    ax.errorbar(x, mean, yerr=error, label=name, **style)


def theory(ax, x, y, label: str | None = None, at: float = 0.6):
    """Draw theory as a thin black dashed line, labelled on the curve at the fraction `at` of its points."""
    ax.plot(x, y, color="black", linestyle="--", linewidth=0.9, zorder=1)
    if label:
        i = min(int(at * len(x)), len(x) - 1)
        ax.annotate(label, (x[i], y[i]), xytext=(4, 5), textcoords="offset points", fontsize=8.5, ha="right", va="bottom")
