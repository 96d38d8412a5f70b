"""Fixtures: the seeds of statistical tests (SEEDS=0-99 at night)."""

import os


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first, _, last = os.environ.get("SEEDS", "0").partition("-")
        metafunc.parametrize("seed", range(int(first), int(last or first) + 1))
