"""The table of architectures is what is found: every causal language model of `transformers`, cut, generated, saved, loaded."""

import pytest

from tests.pruning import architectures

SOME = ("bloom", "llama", "lfm2", "diffllama")  # of every sort one, in every run


def test_the_table_has_every_architecture_and_none_that_goes_wrong():
    table = architectures.table()
    assert list(table) == architectures.KINDS
    for row in table.values():
        found = {row[name] for name in architectures.CUTS}
        assert found <= {"equal", "refused", "stops"} or row["remark"].startswith("not tried"), row


@pytest.mark.parametrize("kind", SOME)
def test_some_rows_of_the_table_are_what_is_found(kind):
    architectures.quiet()
    assert architectures.examine(kind) == architectures.table()[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in architectures.KINDS if kind not in SOME])
def test_a_row_of_the_table_is_what_is_found(kind):
    architectures.quiet()
    assert architectures.examine(kind) == architectures.table()[kind]
