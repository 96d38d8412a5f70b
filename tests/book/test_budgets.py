"""Chapters, modules and functions are small: what is larger than its limit stands in a table that may only shrink."""

import copy

import pytest

from tests.book import budgets

TABLE = budgets.listed()
SIZES = budgets.measured()


@pytest.mark.parametrize("kind", budgets.LIMITS)
def test_nothing_grows_above_its_limit_or_above_the_table(kind):
    large = [said for name, sizes in SIZES[kind].items() for said in budgets.above(kind, name, sizes, TABLE)]
    assert large == [], "make it smaller: it is two things"


def test_the_table_is_as_low_as_what_it_lists():
    assert budgets.loose(TABLE, SIZES) == [], "lower it: python -m tests.book.budgets"


def test_tokens_are_counted_and_not_how_they_are_set():
    assert budgets.tokens("f(x, y)") == budgets.tokens("f(  # the first two\n    x,\n\n    y\n)") == 6
    assert budgets.tokens("if a:\n    b") == budgets.tokens("if a: b") == 4
    assert budgets.tokens('"""A text\nof two lines."""') == 1
    assert budgets.tokens("a = 1; b = 2") == budgets.tokens("a = 1\nb = 2") + 1


SOURCE = '''"""A module."""

A = 1  # one

def f(x):
    """Return.

    More."""
    # nothing
    text = """
    long"""
    return text


class B:
    """A class."""

    def f(self):
        def inner():
            return 1

        return inner
'''


def test_lines_hold_code():
    held = budgets.held(SOURCE)
    assert len(held) == 10
    sizes = {
        name: len(held & set(range(node.lineno, node.end_lineno + 1)))
        for name, node in budgets.functions(budgets.ast.parse(SOURCE))
    }
    assert sizes == {"f": 4, "B.f": 4, "B.f.inner": 2}


def test_the_table_goes_down_and_never_up():
    sizes = {
        "chapters": {"a": {"visible": 2500, "all": 3500, "cells": 16}},
        "modules": {},
        "functions": {"m.py:f": {"lines": 35}},
    }
    table = {
        "chapters": {"a": {"all": 4000, "cells": 17}, "gone": {"cells": 20}},
        "modules": {},
        "functions": {"m.py:f": {"lines": 31}},
    }
    before = copy.deepcopy(table)
    assert budgets.lowered(table, sizes) == {
        "chapters": {"a": {"all": 3500}},
        "modules": {},
        "functions": {"m.py:f": {"lines": 31}},
    }
    assert table == before
    assert budgets.loose(table, sizes) == ["a: all 4000, now 3500", "a: cells 17, now 16", "gone: cells 20, now None"]
    table["chapters"] = {"a": {"all": 3550, "visible": 2500}}  # a little lower is let be
    assert budgets.loose(table, sizes) == []
    assert budgets.above("functions", "m.py:f", sizes["functions"]["m.py:f"], table) == ["m.py:f: 35 lines, at most 31"]
    assert budgets.above("chapters", "a", sizes["chapters"]["a"], table) == []
    assert budgets.above("chapters", "new", {"figures": 5}, table) == ["new: 5 figures, at most 4"]
