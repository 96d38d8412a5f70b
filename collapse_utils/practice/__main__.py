"""python -m collapse_utils.practice DATA --model copula --target y --out FOLDER: your table and your generator in the loop."""

import argparse
import difflib
import shlex
import sys
import time
from pathlib import Path

import matplotlib

from collapse_utils import parallel
from collapse_utils.practice import report, rules, sources
from collapse_utils.practice.frames import Frame
from collapse_utils.practice.measures import GROUPS, MEASURES, available
from collapse_utils.practice.models import MODELS
from collapse_utils.practice.share import predicted, smallest_share
from collapse_utils.practice.study import REGIMES, study
from collapse_utils.store import StoreError

matplotlib.use("Agg")
BROKEN, REFUSED, STOPPED = 1, 2, 130  # exit codes
LOSS = "energy_distance"
RULE = "what must not be at the last fit, 'MEASURE OP NUMBER [* null]', such as 'energy_distance > 2 * null'"
FALLING = "tail_mass_1", "tail_mass_01", "variance_ratio", "scale", "log_volume", "nearest_neighbour_ratio"  # in worse rows


class _Parser(argparse.ArgumentParser):
    """Refuses in one sentence."""

    def error(self, message: str):
        raise ValueError(f"command: {message}; --help says what there is.")


def main(words: list[str] | None = None) -> int:
    """Run the study that the words ask for and write its report; 0, or 1 where a rule is broken, 2 for what cannot be run."""
    words = sys.argv[1:] if words is None else words
    try:
        return _run(_parser().parse_args(words), shlex.join(["python", "-m", "collapse_utils.practice", *words]))
    except StoreError as error:
        print(_about_the_store(str(error)), file=sys.stderr)
    except OSError as error:
        print(
            f"report: cannot write {error.filename or 'to the disk'} ({error.strerror or error}); free some space or choose another --out, "
            "and run it again: finished loops are kept.",
            file=sys.stderr,
        )
    except ValueError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was.", file=sys.stderr)
        return STOPPED
    return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m collapse_utils.practice", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Run a generator on its own output, beginning with your table, and report how far it goes from real rows.",
        epilog="exit codes: 0; 1 where a --fail-if is so; 2 for what cannot be run; 130 where you stopped it",
    )  # fmt: skip
    add = parser.add_argument
    add("data", help=".csv, .parquet, .txt, a folder of pictures, or one of " + ", ".join(sources.EMBEDDED))
    add("--model", default="copula", help=", ".join(MODELS) + ", or package.module:function (default: %(default)s)")
    add("--target", default="", help="a column that is predicted from the others")
    add("--regimes", nargs="+", default=["replace", "accumulate"], metavar="REGIME", help=", ".join(REGIMES))
    add("--share", nargs="+", type=float, default=[], metavar="P", help="shares of real rows in every round, e.g. 0.1 0.5")
    add("--fits", type=int, default=10, help="model fits, the first on real rows (default: %(default)s)")
    add("--seeds", type=int, default=10, help="halves of the table, each with loops of its own (default: %(default)s)")
    add("--seed", type=int, default=0, help="the first of them (default: %(default)s)")
    add("--measures", nargs="+", default=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    add("--compared", type=int, default=1000, help="rows of either side for what is pairwise (default: %(default)s)")
    add("--missing", default="refuse", help="empty cells: refuse, drop (their rows) or fill (default: %(default)s)")
    add(
        "--fail-if", action="append", default=[], metavar="RULE", help=f"{RULE}; may be repeated; measures: {', '.join(MEASURES)}"
    )
    add("--keep-within", type=float, metavar="BAND", help="search the least real share with --loss within BAND times its first")
    add("--loss", metavar="MEASURE", help=f"the measure of --keep-within (default: {LOSS})")
    add("--out", default="own", help="folder of the report (default: %(default)s)")
    add("--cores", type=int, default=0, help="loops at a time (default: all cores)")
    return parser


def _run(args: argparse.Namespace, command: str) -> int:
    set_rules = [rules.parse(text) for text in args.fail_if]
    frame, out = sources.read(args.data, args.missing), Path(args.out).expanduser()
    cores = args.cores or parallel.cores()
    if cores < 1:
        raise ValueError(f"command: --cores must be at least 1; got {args.cores}.")
    rules.check(set_rules, available(frame.columns, len(frame.rows), args.measures, args.target), args.measures)
    _check_loss(args, frame)
    found = study(
        frame, args.model, regimes=args.regimes, shares=args.share, n_fits=args.fits, n_seeds=args.seeds, measures=args.measures,
        target=args.target, seed=args.seed, folder=out / "kept", progress=Progress(), processes=cores, n_compared=args.compared,
    )  # fmt: skip
    judged = rules.judged(found, set_rules)
    share = _share(args, frame, out, cores) if args.keep_within is not None else None
    page = report.write(found, out, judged, command, share)
    for rule in judged[~judged["holds"].astype(bool)].itertuples():
        print(_broken(rule, args.fits))
    hold = f"{int(judged['holds'].astype(bool).sum())} of {len(judged)} rules hold" if set_rules else "no rule was set"
    print(f"{hold}; the report: {page}")
    return BROKEN if not judged["holds"].all() else 0


class Progress:
    """Says on stderr how many loops are done and about how long the others will take: on one line of a terminal, else now and then."""

    def __init__(self, stream=None):
        self.stream = sys.stderr if stream is None else stream
        self.began, self.before, self.said = time.monotonic(), None, -1.0

    def __call__(self, done: int, jobs: int) -> None:
        """Tell of `done` loops of `jobs`; the pace is that of the loops since the first call."""
        if self.before is None:
            self.before = done
        spent, new = time.monotonic() - self.began, done - self.before
        left = f", {_duration(spent / new * (jobs - done))} left" if new and done < jobs else ""
        line = f"{done} of {jobs} loops{left}"
        if self.stream.isatty():
            self.stream.write(f"\r\033[K{line}" + ("\n" if done == jobs else ""))
        elif done == jobs or self.said < 0 or done / jobs >= self.said + 0.1:
            self.said = done / jobs if done < jobs else self.said + 1
            self.stream.write(f"{line}\n")
        self.stream.flush()


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _check_loss(args: argparse.Namespace, frame: Frame) -> None:
    """Refuse what --keep-within cannot look for, before anything runs."""
    loss, band = args.loss or LOSS, args.keep_within
    if band is None:
        if args.loss:
            raise ValueError(f"command: --loss {loss} is of --keep-within; give both, such as --keep-within 1.5.")
        return
    if not 1 < band < float("inf"):
        raise ValueError(f"command: --keep-within must be a number above 1, the value at the first fit; got {band:g}.")
    if args.fits < 2:
        raise ValueError(
            f"command: --keep-within compares the last fit with the first; --fits must be at least 2; got {args.fits}."
        )
    if loss not in MEASURES:
        near = difflib.get_close_matches(loss, MEASURES, n=1, cutoff=0)[0]
        raise ValueError(f"command: --loss must be a measure; got {loss!r}; did you mean {near!r}? Known: {', '.join(MEASURES)}.")
    if loss in FALLING:
        raise ValueError(f"command: --loss must grow as rows get worse; got {loss}, which falls; {LOSS} grows.")
    group = [MEASURES[loss].group]
    if loss not in available(frame.columns, len(frame.rows), group, args.target):
        raise ValueError(f"command: --loss {loss} is not measured, it needs {rules.lacks(loss, group)}.")


def _share(args, frame, out: Path, cores: int) -> dict:
    """The smallest share of real rows in words; also where none is needed, or none is enough."""
    loss, band = args.loss or LOSS, args.keep_within
    given = {"loss": loss, "band": band}
    try:
        found = smallest_share(
            frame, args.model, loss, band, horizon=args.fits, n_seeds=args.seeds, seed=args.seed, target=args.target,
            folder=out / "kept-shares", processes=cores,
        )  # fmt: skip
    except ValueError as error:
        if not str(error).startswith("band:"):
            raise
        return given | {"words": str(error)}
    if not found.high:
        return given | {
            "words": f"None: without a real row {loss} at fit {args.fits} stays within {band:g} times its first value.",
            "share": 0.0,
        }
    share, se = found.share, float(found.moments.se[0])
    words = (
        f"With {share:.3f} ± {2 * se:.3f} of the rows real in every round, {loss} at fit {args.fits} is {band:g} times that of the "
        f"first fit; with more it is less. Found by bisection to {found.high - found.low:.3f}; the error is two standard errors over the seeds."
    )
    theory = None
    if (args.model, loss) == ("gaussian", "drift"):
        theory = predicted(loss, len(frame.rows) // 2, args.fits, band)
        words += f" Theory says {theory:.3f}."
    return given | {"words": words, "share": share, "se": se, "theory": theory}


def _broken(rule, fits: int) -> str:
    where = f" in column {rule.column}" if rule.column else ""
    arm = rules.arm_name(rule.regime, rule.share)
    return f"broken: {rule.rule}: {report.number(rule.mean)}{where} under {arm} at fit {fits}, the bound is {report.number(rule.bound)}."


def _about_the_store(said: str) -> str:
    """The sentence of a store, without the settings of two studies, and with what to do."""
    if said.startswith("store: cannot write"):
        what = said.removeprefix("store: ").partition(";")[0]
        return f"report: {what}; free some space or choose another --out, and run it again: finished loops are kept."
    if "holds another run" in said:
        return f"report: {said.split()[1]} holds another study; choose another --out, or remove that folder."
    return said


if __name__ == "__main__":
    sys.exit(main())
