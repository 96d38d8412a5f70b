"""The book with other parameters, in a folder of its own, compared with what was published."""

import json

from tests.support import workflow
from workflow import chapters


def test_the_whole_book_takes_other_parameters_into_a_folder_of_its_own(copy):
    done = workflow("book", "--chapter", "tails", "--set", "n_learners=60 seed=3", "--cores", "1", cwd=copy)
    home = copy / "_build" / "custom" / "smoke-tails-n_learners=60-seed=3" / "_build" / "html"
    assert done.returncode == 0, done.stdout + done.stderr
    assert "What changed" in (home / "book" / "scorecard.html").read_text(encoding="utf-8")
    assert "seed = 3" in (home / "notebooks" / "scaling" / "tails.html").read_text(encoding="utf-8")
    assert not (copy / "_build" / "html").exists()
    other = copy / "_build" / "custom" / "other" / "_build" / "shown.json"  # the same chapter, as it was published
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"tails": {"rerun": str(copy / "results" / "laptop" / "tails"), "pages": True}}))
    compared = workflow("compare", "--a", "other", "--b", "smoke-tails-n_learners=60-seed=3", cwd=copy)
    assert compared.returncode == 0, compared.stderr
    page = (copy / "_build" / "compared.html").read_text(encoding="utf-8")
    assert "<td>parameter seed</td><td>0</td><td>3</td>" in page
    assert "<td>number " in page
    assert workflow("compare", "--b", "smoke-tails-n_learners=60-seed=3", cwd=copy).stdout.startswith(
        compared.stdout.splitlines()[0][:8]
    )
    unknown = workflow("compare", "--a", "nothing", cwd=copy)
    assert unknown.returncode == 2
    assert "must be builds in _build/custom (other, smoke-tails-n_learners=60-seed=3)" in unknown.stderr
    runs = {run.chapter: run.overrides for run in chapters.planned("smoke", "", "seed=3 n_learners=60")}
    assert runs["tails"]["n_learners"] == 60
    assert "n_learners" not in runs["gaussian"]
    assert all(values["seed"] == 3 for values in runs.values())
    refused = workflow("book", "--set", "n_learnrs=60", cwd=copy)
    assert refused.returncode == 2
    assert "unknown parameter 'n_learnrs' = 60; no chapter declares it" in refused.stderr
