"""Fixtures: the seeds of statistical tests (SEEDS=0-99 at night), and what is slow, which runs at night or by `-m slow`."""

import os

import pytest


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        first, _, last = os.environ.get("SEEDS", "0").partition("-")
        metafunc.parametrize("seed", range(int(first), int(last or first) + 1))


def pytest_collection_modifyitems(config, items):
    if "SEEDS" in os.environ or "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run by `make nightly`, or by `pytest -m slow`"))
