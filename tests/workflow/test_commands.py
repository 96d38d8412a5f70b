"""The workflow on this machine: every chapter at smoke scale, bad input, a theory bent by ten per cent, the built book."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from collapse_utils import claims
from workflow import __main__ as main, chapters, costs, files, power, publish, sweeps, verdicts
from workflow.cards import ROOT

CHAPTERS = chapters.chapters()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HTML = ROOT / "_build" / "html"


def workflow(*arguments, cwd=ROOT, **kwargs):
    environment = os.environ | {"PYTHONPATH": str(cwd), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "workflow", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


@pytest.fixture(scope="module")
def book():
    """One `make book`: every chapter executed at smoke scale, judged, and the pages rendered."""
    return workflow("book", "--cores", "2")


@pytest.fixture
def copy(tmp_path):
    """A copy of the project to break."""
    ignore = shutil.ignore_patterns(".venv", ".build", "_build", ".git", ".snakemake", "__pycache__", ".pytest_cache")
    shutil.copytree(ROOT, tmp_path / "project", ignore=ignore)
    return tmp_path / "project"


def test_make_book_runs_judges_and_renders(book):
    assert book.returncode == 0, book.stdout + book.stderr
    assert (HTML / "index.html").exists()
    page = (HTML / "book" / "scorecard.html").read_text(encoding="utf-8")
    assert page.count("<br><small>smoke</small>") == sum(
        len(chapters.published(chapter, "smoke", "verdicts")) for chapter in CHAPTERS
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_verdict_is_vacuous_at_smoke_scale_and_none_has_changed(book, chapter):
    run = chapters.plan(chapter, "smoke")
    judged = json.loads((run.folder / "verdicts.json").read_text(encoding="utf-8"))
    ledger = claims.ledger()
    undecided = {verdict["id"] for verdict in judged if verdict["verdict"] not in ("holds", "fails")}
    assert not {id_ for id_ in undecided if ledger[id_]["least_scale"] == "smoke"}
    assert verdicts.differences(run) == []


def test_a_second_run_executes_nothing(book):
    again = workflow("run")
    assert again.returncode == 0
    assert "due at smoke scale" not in again.stderr


def test_pages_load_nothing_from_another_host(book):
    for page in HTML.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loads = re.findall(
            r"""<(?:script|img|iframe|source)[^>]+src=["'](https?:|//)[^"']+|<link[^>]+href=["'](https?:|//)""", text
        )
        assert not loads, f"{page.name} loads from the network"
        assert "unpkg.com" not in text
        assert "cdn." not in text
    for style in HTML.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*["']?https?:""", style.read_text(encoding="utf-8", errors="ignore")), (
            style.name
        )


def test_an_old_address_leads_to_its_chapter(book):
    moved = yaml.safe_load((ROOT / "book" / "moved.yml").read_text(encoding="utf-8"))
    assert moved["notebooks/02_linear_models"] == "linear_models"
    for old, chapter in moved.items():
        page = HTML / f"{old}.html"
        (target,) = set(re.findall(r'(?:url=|href="|replace\(")([^"]+)"', page.read_text(encoding="utf-8")))
        assert (page.parent / target).resolve() == (HTML / f"{chapters.page(chapter)}.html").resolve()
        assert (page.parent / target).exists()


def test_every_image_has_an_alternative_text(book):
    for chapter in CHAPTERS:
        text = (HTML / f"{chapters.page(chapter)}.html").read_text(encoding="utf-8")
        article = text[text.index("<article") : text.index("</article>")]
        images = re.findall(r"<img[^>]*>", article)
        assert images
        assert all(re.search(r'alt="[^"]{40,}"', image) for image in images), chapter


def test_the_inventory_and_the_pages_name_the_book_and_its_version(book):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    lines = (HTML / "objects.inv").read_bytes().split(b"\n", 3)
    assert [line.decode() for line in lines[1:3]] == ["# Project: Model collapse, line by line", f"# Version: {version}"]
    for page in [HTML / "book" / "intro.html", *(HTML / f"{chapters.page(chapter)}.html" for chapter in CHAPTERS)]:
        (said,) = re.findall(r'<meta name="description" content="([^"]+)">', page.read_text(encoding="utf-8"))
        assert 40 < len(said) < 220, page.name
        assert not re.search(r"\\|\[]", said), said


# What is wider than its place: displayed formulas, formulas in the text, tables; each with the box that scrolls it, if any.
WIDE = """() => [...document.querySelectorAll('article div.math mjx-container, article span.math, article table')].flatMap(item => {
  const inner = item.querySelector('mjx-math') ?? item, place = item.matches('table') ? item.parentElement : item;
  if (inner.getBoundingClientRect().right <= place.getBoundingClientRect().right + 2) return [];
  const box = item.closest('.table-wrap, .pst-scrollable-table-container, div.output, mjx-container[display], span.math');
  const scrolls = box !== null && ['auto', 'scroll'].includes(getComputedStyle(box).overflowX);
  return [[item.tagName, scrolls, item.textContent.slice(0, 60)]];
})"""
UNREACHED = """() => [...document.querySelectorAll('article :is(.table-wrap, .pst-scrollable-table-container)')]
  .filter(box => (box.scrollWidth > box.clientWidth && box.tabIndex !== 0) || !box.getAttribute('role') || !box.getAttribute('aria-label')).length"""


@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: browser tests run where Debian's chromium is installed"
)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_pages_in_a_browser_without_a_network(book, scheme, width):
    from playwright.sync_api import sync_playwright

    options = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options.split())
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        page, errors, requests = context.new_page(), [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        pages = [
            "intro",
            "running",
            "scorecard",
            "notation",
            "data",
            "differences",
            *(f"sweeps/{name}" for name in sweeps.names()),
        ]
        for name in [*(f"book/{page}" for page in pages), *(chapters.page(chapter) for chapter in CHAPTERS)]:
            page.goto(f"file://{HTML}/{name}.html")
            page.wait_for_function("window.MathJax?.startup?.promise !== undefined || !document.querySelector('.math')")
            page.evaluate("window.MathJax?.startup?.promise")
            assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0, name
            raw, done = page.evaluate(
                "[document.querySelectorAll('.math').length, document.querySelectorAll('mjx-container').length]"
            )
            assert raw == 0 or done >= raw, name
            assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1, name
            wide = page.evaluate(WIDE)
            assert [item for item in wide if not item[1]] == [], f"{name}: cut"
            assert wide == [] or width < 1280, f"{name}: wider than its place"
            assert page.evaluate(UNREACHED) == 0, f"{name}: a wide table that the keyboard does not reach"
        browser.close()
    assert [error for error in errors if "theme mode" not in error] == []  # the theme reports its own first start
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--chapter", "linear_models", "--set", "n_generatons=20"],
            "unknown parameter 'n_generatons' = 20; did you mean 'n_generations'",
        ),
        (["run", "--chapter", "linear_models", "--set", "n_generations=many"], "must be a valid integer; got 'many' (str)"),
        (["run", "--chapter", "linear_models", "--set", "n_generations=-2"], "got -2 (int)"),
        (["run", "--chapter", "linear_models", "--set", "n_generations=null"], "got None (NoneType)"),
        (["run", "--chapter", "linear_models", "--set", "seed 3"], "name=value, separated by spaces; got 'seed 3'"),
        (["run", "--chapter", "99"], "chapter '99' must name one of"),
        (
            ["run", "--chapter", "linear_models", "--scale", "laptpo"],
            "scale must be one of smoke, laptop, gpu, paper; got 'laptpo'",
        ),
        (["run", "--chapter", "linear_models", "--scale", "gpu"], "has no scale 'gpu' in scales.yml"),
        (["run", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["cost", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["book", "--scale", "nope"], "scale must be one of smoke, laptop, gpu, paper; got 'nope'"),
        (["run", "--chapter", "linear_models", "--set", "d=5 d=6"], "d is given twice, the second time as '6'; give it once"),
        (["run", "--chapter", "linear_models", "--set", "d=[1,2"], "d: '[1,2' is no value (did not find expected"),
        (["run", "--chapter", "linear_models", "--set", "d=@x"], "d: '@x' is no value (found character"),
        (["run", "--chapter", "linear_models", "--set", "d=2001-13-45"], "d: must be a valid integer; got '2001-13-45' (str)"),
        (
            ["run", "--chapter", "linear_models", "--set", "d=!!python/x"],
            "d: '!!python/x' is no value (the tag !!python/x is unknown)",
        ),
        (
            ["run", "--chapter", "linear_models", "--set", "seed=010"],
            "seed: '010' is no value (a whole number does not begin with 0: write 10)",
        ),
        (["run", "--chapter", "linear_models", "--set", "seed=1:30"], "seed: must be a valid integer; got '1:30' (str)"),
        (["run", "--chapter", "language_models", "--set", 'size="a b" seed=3'], "got 'a b' (str)"),
        (["run", "--cores", "0"], "JOBS (--cores) must be a whole number from 1; got '0'"),
        (["run", "--gpus", "one"], "GPUS (--gpus) must be a whole number from 1; got 'one'"),
        (["run", "--executor", "slrum"], "EXECUTOR must be one of those installed"),
        (["sweep", "--sweep", "linear_phase", "--set", "n_replicats=3"], "P (--set) is not used here; got 'n_replicats=3'"),
        (["sweep", "--sweep", "linear_phase", "--scale", "laptopp"], "SCALE (--scale) is not used here; got 'laptopp'"),
        (
            ["cost", "--sweep", "linear_phase", "--chapter", "linear_models"],
            "CHAPTER (--chapter) is not used here; got 'linear_models'",
        ),
        (["publish", "--scale", "gpu"], "SCALE (--scale) is not used here; got 'gpu'"),
        (["read", "--cores", "2"], "JOBS (--cores) is not used here; got '2'; known are: none"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_before_anything_runs(copy, arguments, message):
    done = workflow(*arguments, cwd=copy)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (copy / ".build" / "runs").exists()


@pytest.fixture
def make(tmp_path):
    """Call make with an environment that is this one."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".ready").touch()
    return lambda *words, cwd=ROOT: subprocess.run(
        ["make", f"VENV={tmp_path}/venv", *words], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not shutil.which("make"), reason="no make on this machine")
def test_make_passes_every_variable_on_and_knows_no_other(make, tmp_path):
    refused = make("run", "CHAPTERS=kde")
    assert refused.returncode == 2
    assert "CHAPTERS is no variable of this Makefile; known are: " in refused.stderr
    for verb in ("book", "publish"):
        for name, variable in main.IN_MAKE.items():
            said = make(verb, f"{variable}=-0 $$HOME").stderr
            assert "'-0 $HOME'" in said, (verb, variable)  # refused by the verb or by its own check, but never lost
            assert ("is not used here" in said) == (name not in main.USED[verb]), (verb, variable)
    said = make("cost", "CHAPTER=linear_models", f'P=d=5"; touch {tmp_path}/left; echo "').stderr
    assert "must be a valid integer; got '5\"; touch" in said
    assert not (tmp_path / "left").exists()


def test_a_chapter_is_read_once_for_its_plan_its_costs_and_its_sweep(monkeypatch):
    opened, notebook = [], files.notebook
    monkeypatch.setattr(files, "notebook", lambda path: opened.append(path) or notebook(path))
    chapters.load.cache_clear()
    (run,) = chapters.planned("smoke", "linear_models", "d=8 seed=3")
    assert costs.expect(run) is not None
    assert power.seconds(run, {"n_replicates": 2000}) > 0
    assert len(sweeps.plans(sweeps.read("linear_phase"))) > 20
    assert opened == [chapters.source("linear_models")]


def test_what_is_published_is_read_anew(copy, monkeypatch, tmp_path):
    for name, value in (("ROOT", copy), ("RESULTS", copy / "results"), ("BUILD", tmp_path)):
        monkeypatch.setattr(chapters, name, value)
    before = chapters.load("tails")
    run = chapters.Run("tails", "laptop", {}, False, "0")
    shutil.copytree(copy / "results" / "laptop" / "tails", run.folder)
    executed = chapters.read("tails")
    executed.metadata["collapse"]["date"] = "2001-01-01"
    nbformat.write(executed, run.folder / "executed.ipynb")
    publish.publish(run)
    assert chapters.load("tails").notebook.metadata["collapse"]["date"] == "2001-01-01"
    assert before.notebook.metadata["collapse"]["date"] != "2001-01-01"
    chapters.load.cache_clear()


def test_a_corrupt_notebook_and_an_unread_parameter(copy):
    path = copy / "notebooks" / "solvable" / "linear_models.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:1000], encoding="utf-8")
    done = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert done.returncode == 2
    assert "notebooks/solvable/linear_models.ipynb cannot be read" in done.stderr
    path.write_text(text.replace("seed: AtLeast[0] = 0", "seed: AtLeast[0] = 0\\nspare: AtLeast[0] = 0"), encoding="utf-8")
    done = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert done.returncode == 2
    assert "no cell reads the parameter 'spare'" in done.stderr


def test_a_failing_cell_is_named_and_the_others_keep_their_results(copy):
    path = copy / "notebooks" / "solvable" / "linear_models.ipynb"
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace('"stacked = ', '"stakced = ')
        .replace("stacked = np.linalg", "stakced = np.linalg"),
        encoding="utf-8",
    )
    done = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert done.returncode == 1
    assert "cell 'theorem-1' failed with NameError" in done.stderr
    assert len(list((copy / ".build" / "failed").glob("linear_models-smoke-*.ipynb"))) == 1
    assert not list((copy / ".build" / "runs").rglob("card.json"))


def test_a_theory_bent_by_ten_per_cent_fails_and_is_reported(copy):
    path = copy / "collapse_utils" / "theory" / "linear.py"
    path.write_text(
        path.read_text(encoding="utf-8").replace("return noise**2 * d /", "return 1.1 * noise**2 * d /"), encoding="utf-8"
    )
    done = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert done.returncode == 1
    assert re.search(r"GER-1 +fails", done.stdout)
    assert re.search(r"GER-2a: committed as holds, now fails", done.stderr)


def test_a_docstring_reruns_nothing_and_code_does(copy):
    before = chapters_key(copy)
    path = copy / "collapse_utils" / "solvable" / "linear.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"""Return', '"""Give back', 1), encoding="utf-8")
    assert chapters_key(copy) == before
    path.write_text(text.replace("copies, left =", "left, copies = 0, 0\n        copies, left ="), encoding="utf-8")
    assert chapters_key(copy) != before


def chapters_key(root: Path) -> str:
    probe = "from workflow import chapters; print(chapters.plan('linear_models', 'smoke').key)"
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", probe], cwd=root, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_full_disk_gives_one_sentence_and_no_half_written_run(copy):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    done = workflow("run", "--chapter", "linear_models", cwd=copy, preexec_fn=small_files)
    assert done.returncode != 0
    assert "free some space and rerun" in done.stderr + (copy / ".build" / "snakemake.log").read_text()
    assert not list((copy / ".build" / "runs").rglob("card.json"))


def test_killed_in_mid_run_a_rerun_completes(copy):
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "workflow", "run", "--chapter", "linear_models"]
    child = subprocess.Popen(command, cwd=copy, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while "started" not in child.stderr.readline():
        assert child.poll() is None
    time.sleep(3)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stderr.close()
    assert not list((copy / ".build" / "runs").rglob("card.json"))
    again = workflow("run", "--chapter", "linear_models", cwd=copy)
    assert again.returncode == 0, again.stderr
    assert len(list((copy / ".build" / "runs").rglob("card.json"))) == 1
    assert not list((copy / ".build" / "runs").glob("*/.*"))


def test_the_plain_snakemake_command_works(copy):
    """As a user types it: no PYTHONPATH, and a chapter's number that the command line reads as an integer."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("snakemake")), "-c1", "--config", "chapter=linear_models", "scale=smoke"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((copy / ".build" / "runs" / "linear_models").glob("smoke-*/card.json"))) == 1


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
