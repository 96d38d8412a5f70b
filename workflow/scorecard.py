"""The scorecard: every claim with the paper's number, ours, the published verdict and the one of this machine."""

import html
import os
from pathlib import Path

from collapse_utils import claims
from workflow import cards, chapters, files, power

ORDER = ("holds", "fails", "inconclusive", "not run", "not taken up")


def shown() -> dict[str, dict]:
    """Return what this build shows, {chapter: {"rerun": folder or None, "pages": bool}}, as the workflow wrote it."""
    path = Path(os.environ.get("COLLAPSE_SHOWN", chapters.BUILD / "shown.json"))
    return files.json(path) if path.exists() else {}


def published() -> dict[str, dict]:
    """Return {claim: verdict} of the published scale, each with its chapter and card."""
    found = {}
    for chapter in chapters.chapters():
        card = chapters.published(chapter, chapters.PUBLISHED, "card")
        for verdict in chapters.published(chapter, chapters.PUBLISHED, "verdicts") or []:
            found[verdict["id"]] = {**verdict, "chapter": chapter, "card": card}
    return _from_sweeps() | found


def _from_sweeps() -> dict[str, dict]:
    """Return {claim: verdict} of the claims that exactly one point of one published sweep judges, with what it ran on."""
    found: dict[str, list[dict]] = {}
    for path in sorted((chapters.RESULTS / "sweeps").glob("*/verdicts.json")):
        for verdict in files.json(path):
            found.setdefault(verdict["id"], []).append({**verdict, "sweep": path.parent.name, "card": None})
    return {
        id_: {**one, "scale": ", ".join([one["scale"], *(v for v in one["point"].values() if isinstance(v, str))])}
        for id_, (one, *others) in found.items()
        if not others
    }


def rerun() -> dict[str, dict]:
    """Return {claim: verdict} of the runs on this machine that the build shows."""
    found = {}
    for chapter, entry in shown().items():
        folder = entry.get("rerun")
        if folder and (Path(folder) / "verdicts.json").exists():
            verdicts, card = (files.json(Path(folder) / f"{name}.json") for name in ("verdicts", "card"))
            found |= {verdict["id"]: {**verdict, "chapter": chapter, "card": card} for verdict in verdicts}
    return found


def counts(source: str) -> dict[str, int]:
    """Return how many claims of a source, `paper` or `ours`, have each published verdict, *not run* and *not taken up* included."""
    ours, tally = published(), dict.fromkeys(ORDER, 0)
    for id_, claim in files.ledger().items():
        if claim["source"] == source:
            tally[status(claim, ours.get(id_))] += 1
    return tally


def status(claim: dict, verdict: dict | None) -> str:
    """Return the word for a claim: its verdict, *not run* (it has a chapter), or *not taken up*."""
    if verdict:
        return verdict["verdict"]
    return "not run" if "test" in claim else "not taken up"


def summary() -> str:
    """Return the scorecard in one line, the papers' claims and our own apart."""
    papers = len(list(claims.FOLDER.glob("*.yml")))
    parts = []
    for source, whose in (("paper", f"claims of {papers} papers"), ("ours", "of our own")):
        tally = counts(source)
        parts.append(f"{sum(tally.values())} {whose}: " + ", ".join(f"{tally[word]} {word}" for word in ORDER if tally[word]))
    return "; ".join(parts) + "."


def differences(run: chapters.Run) -> list[str]:
    """Return the verdicts of a run that differ from the committed ones of its scale, one sentence each."""
    committed = chapters.published(run.chapter, run.scale, "verdicts")
    if run.custom or committed is None:
        return []
    before = {verdict["id"]: verdict["verdict"] for verdict in committed}
    now = {v["id"]: v for v in files.json(run.folder / "verdicts.json")}
    gone = [f"{id_}: committed as {before[id_]}, not judged now" for id_ in before.keys() - now.keys()]
    return gone + [
        f"{id_}: committed as {before.get(id_, 'not judged')}, now {v['verdict']} ({v['summary']})"
        for id_, v in now.items()
        if v["verdict"] != before.get(id_)
    ]


def markdown() -> str:
    """Return the scorecard's tables as MyST Markdown, one section a paper, judged claims before the others."""
    ours, here = published(), rerun()
    papers = [files.yaml(path, files.PAPER) for path in sorted(claims.FOLDER.glob("*.yml"))]
    papers.sort(key=lambda paper: (-sum(id_ in ours for id_ in paper["claims"]), paper["name"]))
    parts = [f"{summary()}\n"]
    for paper in papers:
        judged = {id_: claim for id_, claim in paper["claims"].items() if "test" in claim}
        rest = {id_: claim for id_, claim in paper["claims"].items() if "test" not in claim}
        parts.append(f"\n## {paper['name']}\n\n*{paper['title']}* ({paper['version']}) {{cite}}`{paper['paper']}`\n")
        if judged:
            rows = "".join(_row(id_, claim, ours.get(id_), here.get(id_)) for id_, claim in judged.items())
            head = "<tr><th>claim</th><th>published</th><th>rerun here</th><th>ours</th><th>paper</th></tr>"
            parts.append(
                _raw(f'<div class="table-wrap"><table class="scorecard"><thead>{head}</thead><tbody>{rows}</tbody></table></div>')
            )
        if rest:
            items = "".join(
                f"<li><b>{id_}</b> {html.escape(claim['says'].strip())} <i>({_where(claim)})</i></li>"
                for id_, claim in rest.items()
            )
            parts.append(_raw(f"<details><summary>{len(rest)} not taken up</summary><ul>{items}</ul></details>"))
    return "\n".join(parts)


def changes() -> str:
    """Return what the runs shown changed: verdicts that differ from the published ones, and the numbers of the prose side by side."""
    ours, parts = published(), []
    for chapter, entry in shown().items():
        if entry.get("pages"):
            parts += _changed(chapter, Path(entry["rerun"]), ours)
    if not parts:
        return ""
    said = "The pages of this build show runs with other parameters or at another scale than the published ones."
    return f"\n## What changed\n\n{said}\n\n" + _raw("".join(parts))


def _changed(chapter: str, folder: Path, ours: dict[str, dict]) -> list[str]:
    """The verdicts and numbers of one run beside the published ones, as HTML."""
    card, verdicts, now = (files.json(folder / f"{name}.json") for name in ("card", "verdicts", "numbers"))
    before = chapters.published(chapter, chapters.PUBLISHED, "numbers") or {}
    parameters = ", ".join(f"{name} = {value}" for name, value in card["parameters"].items())
    rows = ""
    for verdict in verdicts:
        other = ours.get(verdict["id"])
        if other is None or other["verdict"] != verdict["verdict"]:
            words = _cell(other["verdict"] if other else "not run", other) + _cell(verdict["verdict"], {**verdict, "card": card})
            rows += f"<tr><td>{verdict['id']}</td>{words}<td>{html.escape(verdict['summary'])}</td></tr>"
    parts = [f"<h3>{chapter}</h3><p>{html.escape(parameters)}</p>"]
    parts.append(f'<table class="verdicts"><tbody>{rows}</tbody></table>' if rows else "<p>No verdict differs.</p>")
    if now:
        texts = [(key, before.get(key, {}).get("text", "–"), number["text"]) for key, number in now.items()]
        lines = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in line) + "</tr>" for line in texts)
        table = f'<table class="verdicts"><tbody>{lines}</tbody></table>'
        parts.append(f"<details><summary>{len(now)} numbers, published and here</summary>{table}</details>")
    return parts


def run_line(chapter: str, card: dict | None) -> str:
    """Return the line that says which run a page shows, with the files behind its figures (HTML)."""
    if card is None:
        return "This chapter has not been run yet."
    up = "../" * chapters.page(chapter).count("/")
    values = ", ".join(f"{name} = {value}" for name, value in card["parameters"].items()) or "the defaults of the parameters cell"
    tables = " · ".join(
        f'<a href="{up}data/{chapter}/{Path(name).stem}.csv" download>{Path(name).stem}.csv</a>' for name in card["results"]
    )
    notebook = chapters.read(chapter)
    stale = cards.changed(card, notebook)
    note = f" <b>Measured with earlier code</b> ({', '.join(stale)} changed since)." if stale else ""
    if cards.inputs(notebook)["figures"] != card["figures"]:
        note += " Figures drawn with an earlier version of the plotting module; the numbers are not affected."
    return (
        f"Run shown: {card['scale']} scale, {card['date']}, {card['wall_s']:.0f} s on {card['threads']} "
        f"{'thread' if card['threads'] == 1 else 'threads'} ({card['device']}), "
        f"{card['peak_mb']} MB; parameters: {html.escape(values)}.{note}"
        + (f" Data behind the figures: {tables}." if tables else "")
        + f' <a href="{up}data/{chapter}/{chapter}.ipynb" download>This notebook</a>.'
    )


def _row(id_: str, claim: dict, ours: dict | None, here: dict | None) -> str:
    page = f"sweeps/{ours['sweep']}.html" if ours and "sweep" in ours else f"../{chapters.page(claim['chapter'])}.html#verdicts"
    link = f'<a href="{page}">{id_}</a>'
    number = html.escape(claim.get("published", "–").strip())
    measured = html.escape(ours["summary"]) + _size(claim, ours) if ours else "–"
    kinds = ["Ours."] * (claim["source"] == "ours") + ["An analogue."] * ("analogue" in claim["criterion"].lower())
    kind = f" <small>{' '.join(kinds)}</small>" if kinds else ""
    said = f"{link} {html.escape(claim['says'].strip())} <i>({_where(claim)})</i>{kind}"
    words = _cell(status(claim, ours), ours) + _cell(status(claim, here), here)
    return f"<tr><td>{said}</td>{words}<td>{measured}</td><td>{number}</td></tr>"


def _cell(word: str, verdict: dict | None) -> str:
    scale = f"<br><small>{verdict['scale']}</small>" if verdict else ""
    advice = power.note(verdict["card"], verdict) if verdict and verdict["card"] else ""
    if advice:
        scale += f'<br><small class="advice">{html.escape(advice)}</small>'
    return f'<td class="verdict {word.replace(" ", "-")}">{word if verdict else "not run"}{scale}</td>'


def _size(claim: dict, verdict: dict) -> str:
    """What was drawn, and where it was judged: the columns' labels (fits, sizes …), or how many seeds the columns are."""
    evidence = verdict["evidence"]
    at, n = evidence.get("at", []), evidence["n"]
    if claim.get("over") == "seeds" and at:
        return f"<br><small>{len(at)} seeds</small>"
    unit = "seeds" if verdict["rule"]["kind"] == "ordered" else "replicates"
    where = "" if not at else f", at {at[0]:g}" if len(at) == 1 else f", at {min(at):g} to {max(at):g}"
    return f"<br><small>{f'{n} {unit}' if n > 1 else 'deterministic'}{where}</small>"


def _where(claim: dict) -> str:
    return html.escape(claim["where"].strip())


def _raw(text: str) -> str:
    return f"```{{raw}} html\n{text}\n```\n"
