"""Snakemake, called once for all runs that are due; one call at a time in a folder."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

from workflow import chapters
from workflow.execute import ExecutionError


def execute(plans: list[chapters.Run], config: dict, args) -> tuple[list[chapters.Run], bool]:
    """Run what is planned and not yet done, through Snakemake; return the finished runs and whether something is missing.

    Snakemake holds the project's lock as well, so that nothing else starts here while it lives, whoever was killed.
    With $COLLAPSE_STORE, a place that a storage plugin of Snakemake knows, every finished run is kept there as well.
    """
    due = [plan for plan in plans if not (plan.folder / "card.json").exists()]
    status, store = 0, _store()
    if due or store:
        where = f"by {args.executor}, {args.cores} jobs at a time" if args.executor else f"on {args.cores} cores"
        print(f"{len(due)} of {len(plans)} runs due at {plans[0].scale} scale {where}", file=sys.stderr)
        started = time.perf_counter()
        status = _snakemake(config | {"store": store}, len(due), args)
        print(f"done in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    finished = [plan for plan in plans if (plan.folder / "card.json").exists()]
    if missing := [plan.label for plan in plans if plan not in finished]:
        shown = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        print(f"Not finished: {shown}; the log: .build/snakemake.log", file=sys.stderr)
    elif status and store:
        print(f"All runs finished, but not all are stored in {store}; the log: .build/snakemake.log", file=sys.stderr)
    return finished, bool(missing or (store and status))


def _store() -> str:
    """Where every finished run is kept as well, by $COLLAPSE_STORE; raises ChapterError for a place that no plugin knows."""
    store = os.environ.get("COLLAPSE_STORE", "")
    if not store:
        return ""
    if not (store.startswith("/") or "://" in store) or set(store) & set("{}\n"):
        raise chapters.ChapterError(
            f"COLLAPSE_STORE must be an absolute folder or an address like s3://bucket/runs, without braces; got {store!r}."
        )
    from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

    registry = StoragePluginRegistry()
    registry.collect_plugins()
    if not any(plugin.storage_provider.is_valid_query(f"{store}/run.zip") for plugin in registry.plugins.values()):
        raise chapters.ChapterError(
            f"COLLAPSE_STORE: no storage plugin that is installed ({', '.join(registry.plugins) or 'none is'}) knows {store!r}; "
            "for a folder: pip install snakemake-storage-plugin-fs."
        )
    return store.rstrip("/")


def _snakemake(config: dict, due: int, args) -> int:
    """Call Snakemake and show what its jobs say; return its exit code. Raises ExecutionError where no due job was started."""
    path, log = chapters.BUILD / "config.json", chapters.BUILD / "snakemake.log"
    path.write_text(json.dumps(config))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    here = ["--cores", str(args.cores), "--resources", f"mem_mb={memory}", f"gpu={args.gpus}"]
    there = ["--executor", args.executor, "--jobs", str(args.cores), "--latency-wait", "30"]
    command = [sys.executable, "-m", "snakemake", *(there if args.executor else here), "--nolock", "--keep-going", "--rerun-incomplete",
               "--rerun-triggers", "mtime", "--scheduler", "greedy", "--directory", str(chapters.BUILD / "snakemake"),
               "--snakefile", str(chapters.ROOT / "Snakefile"), "--configfile", str(path)]  # fmt: skip
    with log.open("w") as stream, _display(due) as pipe:
        environment = os.environ | {"PYTHONPATH": str(chapters.ROOT), "COLLAPSE_PROGRESS": str(pipe)}
        passed = {"cwd": chapters.ROOT, "env": environment, "pass_fds": [args.lock.fileno()]}  # with the lock
        status = subprocess.run(command, stdout=stream, stderr=stream, check=False, **passed).returncode
    if due and status and "Job stats:" not in (said := log.read_text(encoding="utf-8", errors="replace")):
        lines = [line.strip() for line in said.splitlines() if line.strip()] or [f"exit code {status}"]
        why = next((line for line in lines if "rror" in line), lines[-1]).rstrip(":")
        raise ExecutionError(f"Snakemake started no job ({why}); what was gathered before stays; the log: .build/snakemake.log.")
    return status


@contextlib.contextmanager
def _display(total: int):
    """Yield the path of a pipe; what the jobs write there is shown, with the count of those done."""
    pipe = chapters.BUILD / "progress"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)

    def show(done=0):
        with os.fdopen(os.open(pipe, os.O_RDWR), encoding="utf-8") as lines:
            while line := lines.readline().rstrip():
                done += line.startswith(("✓", "✗"))
                print(f"  [{done}/{total}] {line}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield pipe
    finally:
        pipe.open("a").write("\n")  # the empty line ends the display
        thread.join()
        pipe.unlink()


@contextlib.contextmanager
def only_one():
    """Hold the project's lock, and yield it; the system releases it when its last holder ends, however that ends."""
    chapters.BUILD.mkdir(exist_ok=True)
    with (chapters.BUILD / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise chapters.ChapterError("another run is under way in this folder; wait for it or stop it.") from None
        yield lock
