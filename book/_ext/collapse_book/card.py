"""The picture that other sites show beside a link to the book, drawn from the data of the front page's figure."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from collapse_book import chapter
from collapse_utils import plot

SIZE, DPI = (12.0, 6.3), 100  # inches, dots an inch: 1200 × 630, as such pictures are shown
LINES = {"replace": "throw the real data away", "accumulate": "keep them"}


def draw(path: Path, title: str) -> None:
    """Write the picture: the error over that of the first fit, measured, of the two regimes of the question."""
    paths = pd.read_parquet(chapter.folder("linear_models") / "paths.parquet")
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.35, h_pad=0.3)
    ax = figure.subplots()
    for regime, words in LINES.items():
        rows = paths[paths.regime == regime]
        ax.plot(rows.n, rows["mean"], color=plot.COLOURS[regime], linewidth=5)
        ax.annotate(
            words,
            (rows.n.iloc[-1], rows["mean"].iloc[-1]),
            (-10, 12),
            textcoords="offset points",
            ha="right",
            fontsize=26,
            color=plot.COLOURS[regime],
        )
    ax.set_xlabel("model fits, each on what the last ones wrote", fontsize=22)
    ax.set_ylabel("error / first error", fontsize=22)
    ax.tick_params(labelsize=18)
    ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Is model collapse inevitable?\n{title}", fontsize=32)
    figure.savefig(path)
