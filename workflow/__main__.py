"""The verbs behind the Makefile: python -m workflow book | read | pdf | run | sweep | compare | cost | publish (see --help)."""

import argparse
import os
import pkgutil
import sys

from collapse_utils.params import ParameterError
from workflow import chapters, check, compare, costs, engine, files, gather, pdf, power, publish, render, sweeps, verdicts
from workflow.execute import ExecutionError

EXECUTOR = "snakemake_executor_plugin_"

USED = {  # what each verb takes
    "book": ("scale", "chapter", "set", "cores", "executor", "gpus"),
    "read": (),
    "pdf": (),
    "run": ("scale", "chapter", "set", "decide", "cores", "executor", "gpus"),
    "sweep": ("sweep", "cores", "executor", "gpus"),
    "compare": ("a", "b"),
    "cost": ("scale", "chapter", "set", "sweep", "cores"),
    "publish": ("chapter", "sweep", "cores", "executor", "gpus"),
}
IN_MAKE = {name: name.upper() for name in ("scale", "chapter", "sweep", "decide", "executor", "gpus", "a", "b")} | {
    "set": "P",
    "cores": "JOBS",
}


def main() -> int:
    """Parse the command line, run the verb; bad input gives one sentence and exit code 2, a failed chapter 1."""
    args = _parser().parse_args()
    args.set = " ".join(filter(None, args.set))
    try:
        _check(args)
        if args.verb in ("cost", "compare"):  # they execute nothing, and may look on while a sweep runs
            return VERBS[args.verb](args)
        with engine.only_one() as args.lock:
            return VERBS[args.verb](args)
    except (chapters.ChapterError, files.FileError, ParameterError, ExecutionError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"workflow: {error.strerror or error}: {error.filename or ''}; nothing was lost, rerun once it is mended.",
            file=sys.stderr,
        )
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workflow")
    parser.add_argument("verb", choices=list(USED))
    said = {
        "scale": "smoke (if not given), laptop, gpu or paper",
        "chapter": "a chapter's name, the beginning of it, or its number in the book; several with commas",
        "decide": "minutes a chapter for reruns with as many replicates as a verdict needs",
        "sweep": "a file of sweeps/ by its name, or any file by its path",
        "cores": "cores here (if not given, all); on a cluster, jobs at a time",
        "executor": "a Snakemake executor, e.g. slurm; its settings in $SNAKEMAKE_PROFILE",
        "gpus": "runs on a GPU at a time here (if not given, one)",
        "a": "a build to compare, by its name in _build/custom (if not given, what was published)",
        "b": "the build to compare it with",
    }
    for name, words in said.items():
        parser.add_argument(f"--{name}", default="", help=words)
    parser.add_argument("--set", action="append", default=[], help='parameters, e.g. "n_generations=20 seed=3"; may be repeated')
    return parser


def _check(args) -> None:
    """Refuse what a verb would ignore and what nobody can run; fill in what was not given."""
    by_file = args.sweep and "sweep" in USED[args.verb]  # the sweep's file says the scale, the chapter, the parameters
    used = [name for name in USED[args.verb] if not (by_file and name in ("scale", "chapter", "set"))]
    for name, variable in IN_MAKE.items():
        if (value := getattr(args, name)) and name not in used:
            known, verb = ", ".join(IN_MAKE[one] for one in used) or "none", f"{args.verb} with SWEEP" if by_file else args.verb
            raise chapters.ChapterError(f"{verb}: {variable} (--{name}) is not used here; got {value!r}; known are: {known}.")
    for name, default in (("cores", os.cpu_count()), ("gpus", 1)):
        value = getattr(args, name) or str(default)
        if not (value.isdecimal() and int(value) > 0):
            raise chapters.ChapterError(f"{IN_MAKE[name]} (--{name}) must be a whole number from 1; got {value!r}.")
        setattr(args, name, int(value))
    args.decide = _minutes(args.decide)
    modules = [found.name for found in pkgutil.iter_modules() if found.name.startswith(EXECUTOR)]
    installed = [name.removeprefix(EXECUTOR).replace("_", "-") for name in modules if not name.endswith("_jobstep")]
    if args.executor and args.executor not in installed:
        raise chapters.ChapterError(
            f"EXECUTOR must be one of those installed, {', '.join(installed)}; got {args.executor!r}; others: pip install snakemake-executor-plugin-<name>."
        )
    args.scale = args.scale or "smoke"
    if args.verb in ("book", "read", "pdf"):
        check.pages()


def _minutes(text: str) -> float:
    """The minutes of DECIDE; 0 where it was not given."""
    try:
        minutes = float(text or 0)
    except ValueError:
        minutes = -1.0
    if not 0 < minutes < float("inf") and text:
        raise chapters.ChapterError(f"DECIDE (--decide) must be minutes, a number above 0, e.g. DECIDE=10; got {text!r}.")
    return minutes


def book(args) -> int:
    """Rerun every chapter, judge it, render the book; the pages show the published run, or this one at another scale.

    With parameters the pages show the runs with them, in a folder of their own beside the book.
    """
    runs, failed = _execute_chapters(args)
    wrong = _judge(runs)
    home = render.home(args.scale, args.chapter, args.set) if args.set else chapters.ROOT
    status = render.book(runs, pages=args.scale != "smoke" or bool(args.set), home=home)
    print(verdicts.summary())
    if status == 0:
        print(f"The book: {(home / '_build' / 'html' / 'index.html').relative_to(chapters.ROOT)}")
    return 1 if failed or wrong or status else 0


def read(args) -> int:
    """Render the book with the published outputs and execute nothing."""
    status = render.book([], pages=False, home=chapters.ROOT)
    if status == 0:
        print("The book: _build/html/index.html")
    return status


def paper(args) -> int:
    """Print the book, as `read` renders it, into one PDF."""
    if status := read(args):
        return status
    target = chapters.ROOT / "_build" / pdf.TARGET
    sheets = pdf.write(chapters.ROOT / "_build" / "html", pdf.contents(), target)
    print(f"The book on paper: {target.relative_to(chapters.ROOT)}, {sheets} sheets")
    return 0


def run(args) -> int:
    """Execute chapters and print their verdicts; with DECIDE again with more replicates, where a verdict is inconclusive."""
    runs, failed = _execute_chapters(args)
    wrong = _judge(runs, show=True)

    def again(plan: chapters.Run, settings: str) -> bool:
        done, missing = engine.execute([plan], {"scale": plan.scale, "chapter": plan.chapter, "p": settings}, args)
        return not (missing or _judge(done, show=True))

    decided = [power.decide(done, args.decide, again) for done in runs if args.decide]
    return 1 if failed or wrong or not all(decided) else 0


def sweep(args) -> int:
    """Run every point of a sweep that is not done yet, gather the tables, print the verdicts."""
    planned = sweeps.read(args.sweep)
    table, incomplete = _sweep(planned, args)
    failed = table[table["state"] != "done"]
    print(gather.verdicts(planned.folder).to_string(index=False))
    print(f"{len(table) - len(failed)} of {len(table)} points done: {planned.folder.relative_to(chapters.ROOT)}/points.parquet")
    return 1 if incomplete else 0


def compare_two(args) -> int:
    """Write the page of what differs between two builds, print the verdicts that do."""
    page, said = compare.page(args.a, args.b)
    print("\n".join(said or ["No verdict differs."]))
    print(f"Parameters, verdicts and numbers side by side: {page.relative_to(chapters.ROOT)}")
    return 0


def cost(args) -> int:
    """Print what runs will cost, chapter by chapter or for a whole sweep, from recorded runs; nothing is executed."""
    runs = sweeps.plans(sweeps.read(args.sweep)) if args.sweep else chapters.planned(args.scale, args.chapter, args.set)
    expected = [(run, costs.expect(run)) for run in runs if not (run.folder / "card.json").exists()]
    print(f"{len(runs) - len(expected)} of {len(runs)} runs are done already")
    for run, found in [] if args.sweep else expected:
        figures = f"{found.seconds:.0f} s, {found.peak_mb:.0f} MB, {found.basis}" if found else "no run like it is recorded"
        print(f"{run.label}: {figures}")
    known = [found for _, found in expected if found]
    seconds, memory = sum(found.seconds for found in known), max((found.peak_mb for found in known), default=0)
    far = sum(found.beyond > costs.FAR for found in known)
    notes = [(len(expected) - len(known), "without a record, not counted"), (far, "extrapolated far beyond the records")]
    if expected:
        minutes = seconds / 60
        said = (
            [
                f"{minutes:.1f} minutes of one core, about {minutes / min(args.cores, len(expected)):.1f} on {args.cores} cores",
                f"{memory:.0f} MB a run",
            ]
            if known
            else []
        )
        said += [f"{sum(costs.disk(run) for run, _ in expected):.0f} MB on disk", *(f"{n} {note}" for n, note in notes if n)]
        print(f"{len(expected)} runs due: {'; '.join(said)}")
    return 0


def _sweep(planned: sweeps.Sweep, args) -> tuple:
    """Run what is due of a sweep and gather it; return its table, and whether something is missing."""
    runs = sweeps.plans(planned)
    _, incomplete = engine.execute(runs, {"sweep": str(sweeps.find(args.sweep))}, args)
    return gather.gather(planned, runs), incomplete


def publish_all(args) -> int:
    """Run chapters at smoke and laptop scale, or a sweep, and make those runs the published ones."""
    if args.sweep:
        planned = sweeps.read(args.sweep)
        if not planned.show:
            raise chapters.ChapterError(f"publish: the sweep {args.sweep} must say in `show` what is drawn; got none.")
        table, incomplete = _sweep(planned, args)
        if incomplete:
            return 1
        gather.publish(planned, table)
        print(f"published the sweep {planned.name}")
        return 0
    for scale in ("smoke", chapters.PUBLISHED):
        args.scale = scale
        runs, failed = _execute_chapters(args)
        for done in runs:
            publish.publish(done)
            print(f"published {done.chapter} at {scale} scale")
        if failed:
            return 1
    publish.update_readme()
    return 0


def _execute_chapters(args) -> tuple[list[chapters.Run], bool]:
    plans = chapters.planned(args.scale, args.chapter, args.set)
    return engine.execute(plans, {"scale": args.scale, "chapter": args.chapter, "p": args.set}, args)


def _judge(runs: list[chapters.Run], show: bool = False) -> bool:
    """Print the verdicts that differ from the committed ones (and with show all of them); return whether any does."""
    wrong = False
    for done in runs:
        if show:
            print("\n".join(power.lines(done)), flush=True)
        for difference in verdicts.differences(done):
            print(f"{done.chapter} ({done.scale}) {difference}", file=sys.stderr)
            wrong = True
    return wrong


VERBS = {"book": book, "read": read, "pdf": paper, "run": run, "sweep": sweep} | {
    "compare": compare_two, "cost": cost, "publish": publish_all
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
