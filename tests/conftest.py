"""Fixtures: the seeds of statistical tests (SEEDS=0-99 at night), what is slow, copies of the project, refusals of its verbs."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests import support


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first, _, last = os.environ.get("SEEDS", "0").partition("-")
        metafunc.parametrize("seed", range(int(first), int(last or first) + 1))


LONGEST = [f"tests/{name}.py" for name in (
    "workflow/test_commands", "workflow/test_sweep_runs", "workflow/test_custom_book", "workflow/test_runs", "language/test_transformer",
    "images/test_vae_chapter", "pruning/test_other_models", "dynamics/test_rungs", "loop/test_kills",
)]  # fmt: skip


def pytest_collection_modifyitems(config, items):
    """What takes longest comes first, so that two workers end together; what is slow is skipped by day."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
    if "SEEDS" in os.environ or "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run by `make nightly`, or by `pytest -m slow`"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project, one a module; each test takes back what it changes there, by `support.changed`."""
    return support.copied(tmp_path_factory.mktemp("copy") / "project")


@pytest.fixture
def project(copy, monkeypatch):
    """The copy as this process's project: every path of our modules leads there, and nothing read before is kept."""
    ours = [
        module for name, module in sys.modules.items() if name.split(".")[0] in ("workflow", "collapse_utils", "collapse_book")
    ]

    def forget():
        for module in ours:
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()

    for module in ours:
        for name, value in list(vars(module).items()):
            if isinstance(value, Path) and value.is_relative_to(support.ROOT):
                monkeypatch.setattr(module, name, copy / value.relative_to(support.ROOT))
    forget()
    yield copy
    shutil.rmtree(copy / ".build", ignore_errors=True)
    monkeypatch.undo()
    forget()


@pytest.fixture
def refused(monkeypatch, capsys):
    """Call a verb in this process and return the one sentence that it says; it must end with exit code 2."""
    from workflow import __main__ as main

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["workflow", *words])
        capsys.readouterr()
        assert main.main() == 2
        *progress, line = capsys.readouterr().err.strip().splitlines()
        assert all(re.search(r"^\d+ of \d+ runs due|^done in", said) for said in progress), progress
        assert line.endswith(".")
        return line

    return call
