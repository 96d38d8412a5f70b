"""Sweeps: every point refused before anything runs, tables, figures and pages; costs from records."""

import dataclasses
import io
import json
import shutil
import types

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from collapse_book import figure, scorecard, sweep as pages
from collapse_utils import claims, plot
from collapse_utils.params import ParameterError
from tests.support import SMALL, write_sweep as write
from workflow import cards, chapters, costs, files, gather, spelling, sweeps, verdicts
from workflow.cards import ROOT

HEAD = "title: t\nchapter: linear_models\nscale: smoke\n"


def test_products_zips_and_lists_expand_in_order(tmp_path):
    sweep = {
        "title": "t", "chapter": "linear_models", "scale": "smoke", "grid": {"seed": [1, 2]}, "zip": {"d": [4, 8], "n_samples": [20, 40]},
        "points": [{"noise": 1.0}, {"noise": 3.0}],
    }  # fmt: skip
    points = sweeps.read(write(tmp_path, sweep)).points
    assert len(points) == 8
    assert points[0] == {"seed": 1, "d": 4, "n_samples": 20, "noise": 1.0}
    assert points[-1] == {"seed": 2, "d": 8, "n_samples": 40, "noise": 3.0}
    assert {(point["d"], point["n_samples"]) for point in points} == {(4, 20), (8, 40)}
    assert len(set(sweeps.read(write(tmp_path, sweep)).instances)) == 8


def test_a_typo_in_the_37th_point_is_refused_with_its_line(tmp_path):
    lines = ["title: t", "chapter: linear_models", "scale: smoke", "points:"] + [f"  - {{seed: {k}, d: 8}}" for k in range(60)]
    lines[4 + 36] = "  - {seed: 36, dd: 8}"
    with pytest.raises(ParameterError, match=r"small\.yml, line 41: linear_models: unknown parameter 'dd' = 8; did you mean 'd'"):
        sweeps.read(write(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grids": {"d": [4]}}, r"line \d+: unknown key 'grids'"),
        ({"grid": {"d": 4}}, r"line \d+: grid: d must be a list of values"),
        ({"grid": {"d": [4, "many"]}}, r"line \d+: .*must be a valid integer; got 'many'"),
        ({"grid": {"d": [4, 1000]}}, r"line \d+: .*d: must be between 2 and 200; got 1000"),
        ({"grid": {"d": [4, 4]}}, r"every point must be listed once"),
        ({"zip": {"seed": [1, 2], "dof": [5.0]}}, r"line \d+: zip: dof must have as many values as seed \(2\); got 1"),
        ({"zip": {"d": [4]}}, r"line \d+: d is varied twice"),
        ({"fixed": {"n_replicats": 5}}, r"line \d+: .*did you mean 'n_replicates'"),
        ({"grid": None}, r"line \d+: grid must be a mapping; got None"),
        ({"title": 3}, r"line 1: title must be given, as text; got 3; put it in quotes"),
        ({"retries": 11}, r"line \d+: retries must be less than or equal to 10; got 11"),
        ({"show": {"x": "d", "y": "acc-last", "why": 1}}, r"line \d+: show: unknown key 'why'; known: label, lines, log, names, panels, theory, x, y"),
        ({"chapter": "99"}, r"small\.yml, line 2: chapter '99' must name one of"),
        ({"scale": "gpu"}, r"small\.yml, line 3: .*has no scale 'gpu'"),
        ({"fixed": {"d": 3}}, r"line 5: d is varied, and given in `fixed` as well; keep one"),
        ({"show": {"x": "nope", "y": "acc-last"}}, r"line \d+: show: x must be a parameter that is varied, d or noise; got 'nope'"),
        ({"show": {"x": "d", "y": "acc-lst"}}, r"line \d+: show: linear_models has no number 'acc-lst' \(did you mean 'acc-last'"),
        ({"show": {"x": "d", "y": "acc-last", "theory": ["none"]}}, r"show: linear_models has no number 'none'"),
        ({"show": {"x": "d", "y": "acc-last", "lines": "seed"}}, r"show: lines must be a parameter that is varied"),
        ({"show": {"x": "d"}}, r"line \d+: show: y is missing"),
        ({"show": {"x": "d", "y": 3}}, r"line \d+: show: y must name numbers: one, a list, or a mapping to labels; got 3"),
        (HEAD + "grid: {d: [!foo 5]}", r"small\.yml cannot be read \(line 4: the tag !foo is unknown\); mend it"),
        (HEAD + "grid:\n  d: [4,\n   2001-13-45]", r"line 6: .*must be a valid integer; got '2001-13-45'"),
        (HEAD + "grid: {d: !foo [5]}", r"line 4: the tag !foo is unknown"),
        (HEAD + "grid: {d: [[5, !foo 5]]}", r"line 4: the tag !foo is unknown"),
        (HEAD + "grid:\n  d: [4,\n   010]", r"line 6: a whole number does not begin with 0: write 10"),
        (HEAD + "grid: {d: [1:30]}", r"line 4: .*must be a valid integer; got '1:30'"),
        (HEAD + "grid: {d: [0x1F]}", r"line 4: .*must be a valid integer; got '0x1F'"),
        (HEAD + "grid: {d: &a [*a]}", r"line 4: it stands within itself"),
        (HEAD + "grid: {d: []}", r"line 4: grid: d has no values: the list is empty"),
        (HEAD + "zip: {d: [], seed: []}", r"line 4: zip: d has no values: the list is empty"),
        (HEAD + "points: []", r"line 4: points has no values: the list is empty"),
        (HEAD + "points:\n- {d: 4, seed: 1}\n- {d: 5}", r"line 6: points must all give the same parameters, d, seed; got d"),
        (HEAD + "question: 5\ngrid: {d: [4]}", r"line 4: question must be given, as text; got 5; put it in quotes"),
        ({"official": "yes"}, r"line \d+: official must be true or false; got 'yes'"),
        ({"retries": True}, r"line \d+: retries must be a valid integer; got True"),
        ({"show": {"x": "d", "y": []}}, r"line \d+: show: y has no values: the list is empty"),
        ({"show": {"x": "d", "y": {"acc-last": None}}}, r"line \d+: show: y: acc-last must be given, as text; got None; put it in quotes"),
        ({"grid": {"d": [4], "noise": [1.0, 2]}, "zip": {"seed": [0]}, "show": {"x": "seed", "y": "acc-last", "log": "x"}},
         r"line \d+: show: log x needs values above 0; got \[0, 0\]"),
        (HEAD + "grid: {[1, 2]: [5]}", r"line 4: a key must be a word; got a list"),
        (HEAD + "? [1, 2]\n: 5", r"line 4: a key must be a word; got a list"),
        (HEAD + "grid: {d: [4]}\ngrid: {d: [5]}", r"line 5: grid stands there twice"),
        (HEAD + "points:\n- {d: 4, d: 5}", r"line 5: d stands there twice"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        sweeps.plans(sweeps.read(write(tmp_path, change if isinstance(change, str) else SMALL | change)))
    assert "\n" not in str(caught.value)


def test_a_chapter_is_named_as_on_the_command_line(tmp_path):
    assert sweeps.read(write(tmp_path, HEAD + "grid: {d: [4]}")).chapter == "linear_models"


def test_a_missing_or_broken_file_is_refused(tmp_path):
    with pytest.raises(chapters.ChapterError, match="must name one of: .*linear_phase"):
        sweeps.read("linear_phases")
    with pytest.raises(files.FileError, match=r"small\.yml cannot be read \(line 2: .*\); mend it"):
        sweeps.read(write(tmp_path, "title: [1,"))


ODD = [5, "5", True, "True", None, "None", 1e-05, "1e-05", 0.5, "mixture(0.05)", "a/b", "a_b", "/a/b", "../../up", "..", "", "a b",
       ["full", "head"], ["full"], "full", [], [[1], [2]], "x" * 300, "é" * 300, "x" * 299, "a\nb", "010"]  # fmt: skip


def test_any_value_names_a_folder_of_its_own_within_the_sweep(tmp_path):
    folders = [spelling.folder({"value": value}) for value in ODD]
    assert len(set(folders)) == len(ODD)
    for folder in folders:
        (tmp_path / folder).mkdir()  # one level, short enough, and not there yet
        assert (tmp_path / folder).resolve().parent == tmp_path
    plain = {"d": 40, "noise": 0.5, "rate": 1e-05, "third": "mixture(0.05)", "corpus": "tinystories+novels", "hydrogens": True}
    assert spelling.folder(plain) == "d~40/noise~0.5/rate~1e-05/third~mixture(0.05)/corpus~tinystories+novels/hydrogens~True"
    assert spelling.folder({"others": ["full", "head"]}).startswith("others~full,head-")


def test_a_table_holds_any_value_and_gives_it_back(tmp_path):
    columns = {
        "list": [["full", "head"], [], ["full"]],
        "none": [None, 5, 1e-05],
        "mixed": [1, "one", True],
        "large": [2**70, 1, 2],
    }
    plain = {"number": [1, 0.5, 1e-05], "text": ["a", "[1]", "5"], "switch": [True, False, True]}
    points = [dict(zip(columns | plain, row, strict=True)) for row in zip(*(columns | plain).values(), strict=True)]
    assert spelling.as_json(points) == list(columns)
    pd.DataFrame(spelling.rows(points)).to_parquet(tmp_path / "points.parquet")
    table = pd.read_parquet(tmp_path / "points.parquet")
    assert table["list"].tolist() == ['["full", "head"]', "[]", '["full"]']
    assert table[list(plain)].to_dict("list") == plain
    back = [spelling.point(row, list(columns)) for row in table.to_dict("records")]
    assert back == points


def test_a_sweep_over_lists_and_switches_is_gathered_drawn_and_a_record_of_cost(tmp_path, monkeypatch):
    """Runs as the chapters published them, at points of lists and of true and false: the table, the figure, the page."""
    monkeypatch.setattr(chapters, "BUILD", tmp_path / "build")
    monkeypatch.setattr(gather, "SWEEPS", tmp_path / "results" / "sweeps")
    lists = {"chapter": "healing", "grid": {"methods": [["full", "head"], ["full"], []], "rate": [0.00001, 0.001]}}
    lists["show"] = {"x": "rate", "y": "healing-quarter-lora", "panels": "methods"}
    switches = {
        "chapter": "molecules",
        "grid": {"hydrogens": [True, False]},
        "show": {"x": "hydrogens", "y": "drawn", "lines": "hydrogens"},
    }
    for name, content in (("lists", lists), ("switches", switches)):
        if name == "switches":
            content["show"]["y"] = next(iter(chapters.published("molecules", "laptop", "numbers")))
        sweep = sweeps.read(write(tmp_path, {"title": "t", "scale": "smoke", "question": "q"} | content, name))
        runs = sweeps.plans(sweep)
        for planned in runs:
            shutil.copytree(chapters.RESULTS / "laptop" / planned.chapter, planned.folder)
            shutil.copy(chapters.source(planned.chapter), planned.folder / "executed.ipynb")
        table = gather.gather(sweep, runs)
        assert (table["state"] == "done").all()
        for point, instance in zip(sweep.points, sweep.instances, strict=True):
            assert (sweep.folder / instance / f"{sweep.chapter}.ipynb").exists(), point
        gather.publish(sweep, table)
        page = "".join(pages.page(sweep))
        assert page.count("data:image/png") == 2
        assert page.count(" download>notebook") == len(runs)
        judged = gather.verdicts(sweep.folder)
        assert len(judged) > 3
        assert (judged[["holds", "fails", "inconclusive"]].sum(axis=1) == len(runs)).all()
    again = sweeps.read(write(tmp_path, {"title": "t", "scale": "smoke", "question": "q"} | lists, "lists"))
    assert "[&#34;full&#34;, &#34;head&#34;]" in "".join(pages.page(again))
    costs._recorded.cache_clear()
    monkeypatch.setattr(chapters, "RESULTS", tmp_path / "results")
    shutil.rmtree(tmp_path / "build")
    assert [entry["overrides"]["methods"] for entry in costs._recorded("healing")][::2] == lists["grid"]["methods"]
    assert {entry["overrides"]["hydrogens"] for entry in costs._recorded("molecules")} == {True, False}
    costs._recorded.cache_clear()


def test_a_file_whose_name_begins_with_a_dot_is_refused(tmp_path):
    with pytest.raises(chapters.ChapterError, match="must not begin with a dot"):
        sweeps.read(write(tmp_path, SMALL, ".."))  # its folder would be that of all runs, which gathering replaces


def test_a_thousand_points_are_planned_from_one_look_at_the_chapter(tmp_path, monkeypatch):
    looks, inputs = [], cards.inputs
    chapters.load.cache_clear()
    monkeypatch.setattr(cards, "inputs", lambda *given: looks.append(1) or inputs(*given))
    sweep = sweeps.read(write(tmp_path, SMALL | {"grid": {"seed": list(range(1000))}, "show": {"x": "seed", "y": "acc-last"}}))
    assert len({planned.key for planned in sweeps.plans(sweep)}) == 1000
    assert len(looks) == 1


def test_figures_have_the_colours_of_the_book_and_words_on_their_axes():
    assert [figure._regime(label) for label in ("replace, fit 20", "mixture(p), last fit", "accumulate-subsample", "first fit")] == [
        "replace", "mixture", "accumulate_subsample", None,
    ]  # fmt: skip
    sweep = sweeps.read("linear_phase")
    table = pd.read_parquet(gather.SWEEPS / "linear_phase" / "points.parquet")
    ax = plt.figure().add_subplot()
    figure._panel(ax, sweep, table[table["noise"] == 1.0])
    drawn = {bars.get_label(): bars.lines[0] for bars in ax.containers}
    assert drawn["replace, fit 20"].get_color() == plot.COLOURS["replace"]
    assert drawn["accumulate, fit 20"].get_color() == plot.COLOURS["accumulate"]
    assert drawn["accumulate, fit 20"].get_marker() == plot.MARKERS["accumulate"]
    assert any(bars.has_yerr for bars in ax.containers)
    plt.close()
    assert figure.words_of(sweep)["noise"] == "noise σ"
    assert figure.words_of(sweep)["n_replicates"] == "n_replicates: independent designs and noises"
    wide, narrow = (plt.imread(io.BytesIO(figure.draw(sweep, table, columns))).shape for columns in (3, 1))
    assert wide[1] > wide[0]
    assert narrow[1] < narrow[0]


def test_a_share_is_a_number_on_its_axis_and_a_regime_without_one_a_level():
    sweep = sweeps.read("real_share_vae")
    table = pd.read_parquet(gather.SWEEPS / "real_share_vae" / "points.parquet")
    ax = plt.figure().add_subplot()
    figure._panel(ax, sweep, table)
    drawn = {bars.get_label(): bars.lines[0] for bars in ax.containers}
    shares = drawn["mixture(p), last fit"].get_xdata().tolist()
    assert shares == [float(name.split("(")[1][:-1]) for name in table["third"] if "mixture" in name]
    (level,) = [line for line in ax.lines if line.get_label() == "accumulate-subsample, last fit"]
    assert level.get_ydata()[0] == table.set_index("third")["vae-third"]["accumulate_subsample"]
    plt.close()


@pytest.mark.parametrize("name", sweeps.names())
def test_a_published_figure_has_words_of_its_own_for_what_it_varies(name):
    """The comment in a parameters cell is written for who sets the parameter, not for who reads an axis."""
    show = sweeps.read(name).show
    assert {show.x, show.panels, show.lines} - {None} <= set(show.names)


@pytest.mark.parametrize("name", sweeps.names())
def test_published_sweeps_are_fresh_and_shown(name):
    sweep = sweeps.read(name)
    card = json.loads((gather.SWEEPS / name / "card.json").read_text(encoding="utf-8"))
    stale = cards.differing(card["inputs"], chapters.load(sweep.chapter).inputs)
    said = f"{name} was published before a change of: {', '.join(stale)}; run: make publish SWEEP={name}"
    assert not stale or sweep.official, said  # official files are not everybody's: then the page says it
    assert bool(stale) == ("Measured with earlier code" in "".join(pages.page(sweep)))
    assert (card["chapter"] != sweep.chapter) == (f"the chapter was `{card['chapter']}` then" in "".join(pages.page(sweep)))
    table = pd.read_parquet(gather.SWEEPS / name / "points.parquet")
    assert (table["state"] == "done").all()
    assert card["varied"] == list(sweep.points[0])
    assert table[card["varied"]].to_dict("records") == sweep.points
    assert f"```{{sweep}} {name}\n```\n" in (ROOT / "book" / "sweeps" / f"{name}.md").read_text(encoding="utf-8")
    listed = gather.SWEEPS / name / "verdicts.json"  # published since sweeps keep them
    for verdict in json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else []:
        assert verdict["rule"] == claims.ledger()[verdict["id"]]["test"], verdict["id"]
        assert claims.decide(verdict["rule"], verdict["evidence"]) == (verdict["verdict"], verdict["summary"]), verdict["id"]
    page = "".join(pages.page(sweep))
    kept = {path.stem for path in (gather.SWEEPS / name / "notebooks").glob("*.ipynb")}
    assert kept in (set(), set(table["key"]))
    assert all(f"{key}.ipynb" in page for key in kept)
    assert all(f">{claim}<" in page for claim in gather.verdicts(gather.SWEEPS / name)["claim"])


def test_what_was_varied_stands_in_the_card_wherever_the_columns_stand(tmp_path):
    shutil.copytree(gather.SWEEPS / "linear_phase", tmp_path / "sweep")
    table = pd.read_parquet(tmp_path / "sweep" / "points.parquet")
    table.loc[3, "verdict of GER-1"] = "fails"
    table[["state", *(name for name in reversed(table.columns) if name != "state")]].to_parquet(
        tmp_path / "sweep" / "points.parquet"
    )
    judged = gather.verdicts(tmp_path / "sweep").set_index("claim")
    at = ", ".join(f"{name} = {table.loc[3, name]}" for name in ("n_samples", "noise", "seed"))
    assert judged.loc["GER-1", "first failure"] == at


def test_the_scorecard_shows_what_only_a_sweep_judges(tmp_path, monkeypatch):
    judged = claims.ordered("DAY-11", before=np.zeros(14), after=np.ones(14))
    verdict = dataclasses.asdict(judged) | {"scale": "laptop", "chapter": "ntk_training"}
    other = verdict | {"id": "DAY-13c"}
    points = [{"corpus": corpus, "n_train": 100} for corpus in ("mnist", "cifar10")]
    (tmp_path / "sweeps" / "images").mkdir(parents=True)
    listed = [verdict | {"point": points[0]}, *(other | {"point": point} for point in points)]
    (tmp_path / "sweeps" / "images" / "verdicts.json").write_text(json.dumps(listed), encoding="utf-8")
    monkeypatch.setattr(chapters, "RESULTS", tmp_path)
    found = verdicts.published()
    assert set(found) == {"DAY-11"}  # two points judge the other: neither is *the* verdict
    assert found["DAY-11"]["scale"] == "laptop, mnist"
    assert 'href="sweeps/images.html"' in "".join(scorecard.papers())


def test_costs_follow_the_recorded_runs(monkeypatch):
    small, large = (chapters.plan("linear_models", "laptop", {"n_replicates": k}) for k in (100, 1_000_000))
    assert costs.expect(small).seconds < costs.expect(large).seconds
    assert costs.expect(large).scaled
    published = chapters.published("downstream", "smoke", "card")
    assert costs.expect(chapters.plan("downstream", "smoke")).seconds >= published["wall_s"]
    monkeypatch.setattr(costs, "_recorded", lambda chapter: [])
    assert costs.expect(small) is None
    monkeypatch.setattr(chapters, "cost_law", lambda chapter: "__import__('os').getpid()")
    monkeypatch.setattr(
        costs, "_recorded", lambda chapter: [{"scale": "smoke", "wall_s": 1.0, "peak_mb": 1.0, "threads": 1, "overrides": {}}]
    )
    with pytest.raises(chapters.ChapterError, match="cost must be arithmetic on parameters"):
        costs.expect(large)


def test_no_cost_is_named_without_a_record_of_the_kind_and_a_far_one_is_called_so(monkeypatch, tmp_path):
    monkeypatch.setattr(chapters, "BUILD", tmp_path)  # the published records alone
    costs._recorded.cache_clear()
    for chapter in (
        "language_models",
        "vae",
        "molecules",
        "layer_pruning",
        "ntk_training",
    ):  # another corpus, a GPU
        assert costs.expect(chapters.plan(chapter, "gpu")) is None
    assert costs.expect(chapters.plan("vae", "smoke", {"third": "mixture(0.9)"})) is None
    card = chapters.published("discrete", "smoke", "card")
    found = costs.expect(chapters.plan("discrete", "smoke", {"seed": 7}))
    assert (found.seconds, found.runs, found.apart) == (card["wall_s"], 1, ())
    near = costs.expect(chapters.plan("discrete", "smoke", {"n_times": 210}))
    assert (near.seconds, near.apart) == (card["wall_s"], ("n_times",))
    assert near.basis.endswith("with other n_times")
    # a sweep ran layer_pruning at seven points when it had other parameters: no records of the chapter as it is
    assert costs.expect(chapters.plan("layer_pruning", "smoke", {"seed": 7})).runs <= 2
    far = [costs.expect(chapters.plan("linear_models", "laptop", {"n_replicates": k})) for k in (4000, 900_000)]
    assert ["an extrapolation" in found.basis for found in far] == [False, True]
    costs._recorded.cache_clear()


def test_published_sweeps_are_records_of_cost_and_names_are_not_scaled():
    sweep = sweeps.read("language_temperature")
    recorded = costs._recorded("language_models")
    assert len(recorded) >= 2 + len(sweep.points)
    assert {entry["overrides"]["size"] for entry in recorded if "cold" in entry["overrides"]} == {"llama-tiny", "llama-small"}
    longer = {"n_tokens": 48000, "vocabulary": 400, "n_fits": 3, "n_seeds": 2}
    small, large = (
        costs.expect(chapters.plan("language_models", "laptop", longer | {"size": f"llama-{s}"})) for s in ("tiny", "small")
    )
    assert small.seconds < large.seconds


@pytest.mark.parametrize("chapter", [name for name in chapters.chapters() if chapters.cost_law(name)])
def test_a_law_of_cost_reads_declared_numbers_and_agrees_with_what_was_published(chapter, monkeypatch, tmp_path):
    monkeypatch.setattr(chapters, "BUILD", tmp_path)  # whatever was run here: the published records alone
    costs._recorded.cache_clear()
    for scale in ("smoke", "laptop"):
        card = chapters.published(chapter, scale, "card")
        run = dataclasses.replace(chapters.plan(chapter, scale), overrides={"seed": 1} | card["parameters"])  # no such record
        found = costs.expect(run)
        assert found.scaled
        assert 0.4 < found.seconds / card["wall_s"] < 2.5
    costs._recorded.cache_clear()


@pytest.mark.parametrize("chapter", chapters.chapters())
def test_kernels_have_the_threads_that_were_declared(chapter):
    for scale in ("smoke", chapters.PUBLISHED):
        declared = chapters.resources(chapter, scale).get("threads", 1)  # a machine with fewer cores gives those it has
        assert min(2, declared) <= chapters.published(chapter, scale, "card")["threads"] <= declared


def test_words_that_a_page_cites_are_no_columns(tmp_path):
    """A chapter may cite words (a list of steps); a sweep gathers its numbers."""
    pd.DataFrame([{"first": 1.5, "steps": "4.9, 3.7"}]).to_parquet(tmp_path / "summary.parquet")
    cited = {
        name: {"column": name, "spec": spec, "table": "summary", "where": {}, "text": "1.50"}
        for name, spec in (("first", ".2f"), ("steps", "s"))
    }
    (tmp_path / "numbers.json").write_text(json.dumps(cited), encoding="utf-8")
    assert gather._numbers(types.SimpleNamespace(folder=tmp_path)) == {"first": 1.5}
