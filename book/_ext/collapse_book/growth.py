"""How time and memory grow, as `benchmarks/bench_growth.py` measured it: the slopes in log-log."""

import numpy as np
from scipy.stats import linregress

from collapse_book.drawing import Part
from collapse_utils import mirror
from workflow import files

FILE = "benchmarks/growth.json"
LEAST = 4.0  # megabytes that must be there, and be added, before a slope of memory says anything


def tables() -> list[Part]:
    """Return a table of the tasks: what grows, from where to where, seconds at the end, and the powers of time and memory."""
    found = files.json(mirror.project_file(FILE), dict)
    head = "| model | task | what grows | seconds | time | last step | memory |"
    rows = [head, "|---|---|---|---|---|---|---|", *(_row(growth) for growth in found["growths"])]
    return ["\n".join(rows), f"Measured on {found['threads']} thread of a processor that calls itself {found['processor']}."]


def power(sizes: list[float], values: list[float]) -> tuple[float, float]:
    """Return the slope of values over sizes in log-log, by least squares, and its standard error."""
    fit = linregress(np.log(sizes), np.log(values))
    return float(fit.slope), float(fit.stderr)


def _row(growth: dict) -> str:
    sizes, seconds, megabytes = (growth[name] for name in ("sizes", "seconds", "megabytes"))
    (time, error), (last, _) = power(sizes, seconds), power(sizes[-2:], seconds[-2:])
    grew = megabytes[-1] - megabytes[-2] > LEAST and megabytes[-2] > LEAST
    memory = f"{power(sizes[-2:], megabytes[-2:])[0]:.1f}, {megabytes[-1]:.0f} MB" if grew else f"{megabytes[-1]:.0f} MB"
    span = f"{growth['grows']}, {sizes[0]:,} to {sizes[-1]:,}"
    return f"| {growth['model']} | {growth['task']} | {span} | {seconds[0]:.2g} to {seconds[-1]:.2g} | {time:.2f} ± {error:.2f} | {last:.2f} | {memory} |"
