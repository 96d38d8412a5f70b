"""Verdicts: what is published, what this machine reran, how many there are of each, what differs."""

import os
from pathlib import Path

from collapse_utils import claims
from workflow import chapters, files, sentences

VERBS = (("holds", "hold"), ("fails", "fail"), ("is undecided", "are undecided"))
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
    """Return the scorecard in two sentences, the papers' claims and our own apart: what was judged, and how."""
    papers = len(list(claims.FOLDER.glob("*.yml")))
    told = []
    for source, whose in (("paper", f"claims of {papers} papers"), ("ours", "claims of our own")):
        tally = counts(source)
        judged = [tally[word] for word in ("holds", "fails", "inconclusive")]
        verbs = [one if n == 1 else many for n, (one, many) in zip(judged, VERBS, strict=True)]
        found = ", ".join(f"{n} {verb}" for n, verb in zip(judged, verbs, strict=True))
        told.append(f"Of {sum(tally.values())} {whose} we judged {sum(judged)}: {found}.")
    return " ".join(told)


def differences(run: chapters.Run) -> list[str]:
    """Return the verdicts of a run that differ from the committed ones of its scale, one sentence each."""
    committed = chapters.published(run.chapter, run.scale, "verdicts")
    if run.custom or committed is None:
        return []
    before = {verdict["id"]: verdict["verdict"] for verdict in committed}
    now = {v["id"]: v for v in files.json(run.folder / "verdicts.json")}
    gone = [f"{id_}: committed as {before[id_]}, not judged now" for id_ in before.keys() - now.keys()]
    return gone + [
        f"{id_}: committed as {before.get(id_, 'not judged')}, now {v['verdict']} ({sentences.said(v)})"
        for id_, v in now.items()
        if v["verdict"] != before.get(id_)
    ]
