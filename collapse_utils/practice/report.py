"""The report of a study: one page that needs no network, with its tables beside it, each file whole or not there at all."""

import io
import json
import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader

from collapse_utils import plot
from collapse_utils.practice import rules
from collapse_utils.practice.measures import MEASURES, needs
from collapse_utils.practice.study import Study

DRAWN = {  # what has a panel: its measure, the words at the axis, how values by column are joined
    "energy_distance": ("energy distance", "first"),
    "real_test_loss": ("loss on real rows", "first"),
    "marginal_distance": ("distance of a column, mean", "mean"),
    "correlation_mean": ("change of correlations, mean", "mean"),
    "variance_ratio": ("variance, over real", "mean"),
    "log_volume": ("log volume, change", "first"),
    "tail_mass_1": ("mass beyond 1 % quantiles, over real", "mean"),
    "lost_categories": ("categories lost", "sum"),
    "nearest_neighbour_ratio": ("nearest-neighbour ratio", "first"),
}
MIXTURES = ["#CC79A7", "#882255", "#332288", "#999933", "#117733", "#AA4499"]  # shares of real rows, one after the other
OWN = ["#E69F00", "#56B4E9", "#7F7F7F"]  # regimes of the reader's own
SIZE = (3.7, 2.7)  # inches of a panel
TEMPLATES = Environment(loader=PackageLoader(__package__, ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def write(study: Study, folder: Path, judged: pd.DataFrame, command: str, share: dict | None = None) -> Path:
    """Write report.html, the tables measures, null and last as .parquet and .csv, and settings.json, with the rules; return the page.

    judged: of rules.judged; command: what repeats the study; share: what a search for the smallest share of real rows gave:
    loss, band, words and, where it was found, share, se and theory. Raises OSError where a file cannot be written: what was there stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = rules.last(study)
    for name, table in (("measures", study.table), ("null", study.null), ("last", last)):
        stream = io.BytesIO()
        table.to_parquet(stream, index=False)
        put(folder / f"{name}.parquet", stream.getvalue())
        put(folder / f"{name}.csv", table.to_csv(index=False).encode())
    said = judged.astype(object).where(judged.notna(), None).to_dict("records")
    settings = study.settings | {"command": command, "rules": said, "share": share}
    put(folder / "settings.json", json.dumps(settings, indent=1).encode())
    put(folder / "report.html", page(study, judged, command, share).encode())
    return folder / "report.html"


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: beside its place, then moved there. Raises OSError."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        with scratch.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def page(study: Study, judged: pd.DataFrame, command: str, share: dict | None = None) -> str:
    """Return the report of a study as one HTML page; arguments as for write."""
    last = rules.last(study)
    last["arm"] = [rules.arm_name(*arm) for arm in zip(last["regime"], last["share"])]
    arms = list(dict.fromkeys(last["arm"]))
    judged = judged.assign(arm=[rules.arm_name(*arm) for arm in zip(judged["regime"], judged["share"])])
    return TEMPLATES.get_template("report.html").render(
        study=study.settings, kinds=_kinds(study), command=command, share=share, arms=arms, looks=_looks(study),
        figures=figures(study), whole=_whole(last, arms), worst=_worst(last, arms), headline=_headline(last),
        rules=judged.to_dict("records"), broken=int((~judged["holds"].astype(bool)).sum()),
        definitions=_definitions(study), privacy=_privacy(study), left_out=_left_out(study), number=number,
    )  # fmt: skip


def number(value: float, digits: int = 3) -> str:
    """Return a number to so many digits, as it is read: no powers of ten from a ten-thousandth to a million."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}" if value else "0"
    places = max(digits - 1 - int(np.floor(np.log10(abs(value)))), 0)
    return f"{value:,.{min(places, 6)}f}"


def _looks(study: Study) -> dict[str, dict]:
    """Colour and marker of each arm: those of the book for its regimes."""
    mixtures, own, found = iter(MIXTURES * 9), iter(OWN * 9), {}
    for regime, share in study.table[rules.ARM].drop_duplicates().itertuples(index=False):
        if not np.isnan(share):
            found[rules.arm_name(regime, share)] = plot.look("mixture") | {"color": next(mixtures)}
        elif regime in plot.COLOURS:
            found[rules.arm_name(regime, share)] = plot.look(regime)
        else:
            found[rules.arm_name(regime, share)] = {"color": next(own), "marker": "*"}
    return found


def figures(study: Study) -> list[dict]:
    """Return a panel a measure that was measured: its name, its SVG, and in words what it shows (alt)."""
    found, looks = [], _looks(study)
    for name, (words, join) in DRAWN.items():
        table = study.table[study.table["measure"] == name]
        null = study.null[study.null["measure"] == name].groupby("seed")["value"].agg(join)
        if table.empty or null.empty or not (table["value"].any() or null.any()):  # nothing was ever lost
            continue
        fig, ax = plot.figure(size=SIZE, xlabel="model fits", ylabel=words)
        ends, groups = [], table.groupby(rules.ARM, dropna=False, sort=False)
        for k, (arm, part) in enumerate(groups):
            paths = part.groupby(["seed", "fit"])["value"].agg(join).unstack()
            label = rules.arm_name(*arm)
            se = paths.std(ddof=1).to_numpy() / np.sqrt(len(paths))
            beside = paths.columns + 0.3 * (k + 0.5 - len(groups) / 2) / len(groups)  # intervals that do not cover each other
            plot.measured(ax, beside, paths.mean().to_numpy(), 0, se=se, **{"linestyle": "-"} | looks[label])
            ends.append(f"{label} {number(paths.mean().iloc[-1])}")
        ax.axhline(null.mean(), color="black", linestyle="--", linewidth=0.9, zorder=1)
        ax.margins(y=0.12)
        ax.xaxis.get_major_locator().set_params(integer=True)
        alt = f"{words} over the fits, at the last: {', '.join(ends)}; real rows against real rows: {number(null.mean())}."
        found.append({"name": name, "svg": _inline(fig, len(found), alt), "alt": alt})
        plt.close(fig)
    return found


def _inline(fig, place: int, alt: str) -> str:
    """A figure as an SVG element whose ids no other on the page has."""
    svg = re.sub(r"^.*?(?=<svg )", "", fig.panels()[0], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>f{place}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    said = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"|<svg height="[^"]*"', r"<svg \1", svg, count=1).replace(
        "<svg ", f'<svg role="img" aria-label="{said}" ', 1
    )


def _whole(last: pd.DataFrame, arms: list[str]) -> list[dict]:
    """A row a measure of the whole table: mean and two standard errors of each arm, and the null."""
    rows = []
    for name, part in last[last["column"] == ""].groupby("measure", sort=False):
        at = part.set_index("arm")
        cells = [f"{number(at.loc[arm, 'mean'])} ± {number(2 * at.loc[arm, 'se'], 2)}" for arm in arms]
        rows.append({"name": name, "words": MEASURES[name].words, "cells": cells, "null": number(part["null"].iloc[0])})
    return rows


def _worst(last: pd.DataFrame, arms: list[str]) -> list[dict]:
    """A row a measure by column: of each arm the column that is furthest from its null."""
    rows = []
    for name, part in last[last["column"] != ""].groupby("measure", sort=False):
        far = (part["mean"] - part["null"].fillna(MEASURES[name].same)).abs().groupby(part["arm"]).idxmax()
        at = part.loc[far].set_index("arm")
        cells = [f"{at.loc[arm, 'column']}: {number(at.loc[arm, 'mean'])} (real {number(at.loc[arm, 'null'])})" for arm in arms]
        rows.append({"name": name, "words": MEASURES[name].words, "cells": cells})
    return rows


def _headline(last: pd.DataFrame) -> list[dict]:
    """Of each arm how far its rows are, in units of what two real samples are apart."""
    part = last[last["measure"] == "energy_distance"]
    return [{"arm": arm, "times": number(mean / null, 2)} for arm, mean, null in zip(part["arm"], part["mean"], part["null"])]


def _definitions(study: Study) -> list[dict]:
    """A row a definition: its rule and, for each arm, whether it is met."""
    table, words = rules.definitions(study), {True: "met", False: "not met", None: "not judged"}
    rows = []
    for (place, name, rule), part in table.groupby(["number", "name", "rule"], sort=True):
        rows.append({"number": place, "name": name, "rule": rule, "cells": [words[met] for met in part["met"]]})
    return rows


def _privacy(study: Study) -> list[dict]:
    """Of each arm the two measures of memory at the first and the last fit, with the null's."""
    rows = []
    for arm, part in study.table.groupby(rules.ARM, dropna=False, sort=False):
        row = {"arm": rules.arm_name(*arm)}
        for name in ("nearest_neighbour_ratio", "copied_rows"):
            at = part[part["measure"] == name].groupby("fit")["value"].mean()
            row[name] = [number(at.iloc[0]), number(at.iloc[-1])] if len(at) else None
            row[f"{name}_null"] = number(study.null[study.null["measure"] == name]["value"].mean())
        rows.append(row)
    return [row for row in rows if row["copied_rows"]]


def _kinds(study: Study) -> dict[str, int]:
    return {"numbers": int(study.columns.numbers.sum()), "categories": int((~study.columns.numbers).sum())}


def _left_out(study: Study) -> list[str]:
    """What was asked for and not measured, with the reason."""
    measured, asked = set(study.table["measure"]), study.settings["measures"]
    missing = [name for name, measure in MEASURES.items() if measure.group in asked and name not in measured]
    return [f"{name} (needs {needs(name) or 'a column of numbers'})" for name in missing]
