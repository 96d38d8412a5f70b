"""The page of functions: every file beside the folders, every public name with the parameters that Python sees, words as they are written."""

import ast
import importlib
import inspect
import operator
import re

import pytest

from collapse_book import api
from tests.book.test_pages import build
from workflow import chapters
from workflow.cards import ROOT

PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"^`{5,}\{py:(function|class|method|property)\} ([\w.]+)(.*)$", re.MULTILINE)


def entries(name):
    """{name: (kind, what stands behind it)} of the entries of a module."""
    return {entry: (kind, given) for kind, entry, given in ENTRY.findall("\n".join(api.module(name)))}


def test_every_file_beside_the_folders_is_on_the_page_once():
    assert sorted(re.findall(r"```\{api\} (\w+)", PAGE)) == api.modules()
    assert {"loop", "store", "training"} < set(api.modules())


@pytest.mark.parametrize("name", api.modules())
def test_the_entries_are_the_public_names_with_their_parameters(name):
    module, found = importlib.import_module(f"collapse_utils.{name}"), entries(name)
    public = {key: inspect.unwrap(one) for key, one in vars(module).items() if not key.startswith("_") and callable(one)}
    own = {key for key, one in public.items() if inspect.isroutine(one) or inspect.isclass(one)}
    own = {key for key in own if public[key].__module__ == module.__name__}
    assert own
    assert {entry for entry in found if "." not in entry} == own
    for entry, (kind, given) in found.items():
        if kind in ("function", "method"):
            one = operator.attrgetter(entry)(module)
            wanted = [word for word in inspect.signature(one).parameters if word not in ("self", "cls")]
            arguments = ast.parse(f"def f{given}: ...").body[0].args
            assert [one.arg for one in ast.walk(arguments) if isinstance(one, ast.arg)] == wanted, entry


def test_signs_mean_themselves_nothing_is_imported_and_another_name_is_refused(tmp_path):
    source = '"""Costs $5 or *more*."""\nimport nothing_like_it\n\ndef f(x: "a" = 1, *, y=None) -> int:\n    """Return a_b*c_d* of {{ summary }} <b>, `x_1`.\n\n        y = $x$\n\n    [a](b)\n    """\n'
    tree = ast.parse(source)
    page, said = build(
        tmp_path, "\n\n".join(["# t", "```{api} lop\n```", api.prose(ast.get_docstring(tree)), *api.entries(tree, "m")])
    )
    assert re.fullmatch(r".*index\.md:3: ERROR: api: 'lop' is no file beside the folders; write one of claims, .*\n", said)
    assert "Costs $5 or *more*." in page
    assert "Return a_b*c_d* of {{ summary }} <b>, " in page
    assert re.search(r"<literal>\s+x_1", page)
    assert re.search(r'<literal_block[^>]*language="text"[^>]*>\s+y = \$x\$', page)
    assert "[a](b)" in page
    assert re.search(r'<desc_signature [^>]*ids="m.f"', page)


def test_classes_show_their_fields_and_methods():
    moments = entries("moments")
    assert moments["Moments"] == ("class", "(n: int = 0, mean: np.ndarray | float = 0.0, m2: np.ndarray | float = 0.0)")
    assert moments["Moments.add"] == ("method", "(samples: np.ndarray) -> 'Moments'")
    assert moments["Moments.se"] == ("property", "")
    assert entries("claims")["Verdict"][1].startswith("(id: str, verdict: str")


def test_a_file_that_is_none_is_refused():
    with pytest.raises(chapters.ChapterError, match=r"api: 'theory' is no file beside the folders; write one of claims, loop, "):
        api.module("theory")
