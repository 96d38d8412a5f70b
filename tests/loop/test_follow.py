"""What a chapter writes again and again: along a loop, means with their errors, slopes, numbers for the prose."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from collapse_utils import Generation, follow, moments, plot, results

PATH = np.array([[1.0, 2.0, 4.0, 8.0], [3.0, 3.0, 5.0, 9.0], [2.0, 1.0, 6.0, 7.0]])  # (replicates, fits)


def loop():
    """Generations whose model is what was to be measured, without an end: whoever asks for too many gets an IndexError."""
    t = 0
    while True:
        yield Generation(t, None, PATH[:, t])
        t += 1


def test_follow_stacks_what_is_measured_at_every_fit():
    assert np.array_equal(follow(loop(), lambda g: g.model, 4), PATH)
    assert np.array_equal(follow(loop(), lambda g: np.outer(g.model, [1, 2]), 2)[:, :, 1], 2 * PATH[:, :2])


def test_follow_looks_at_the_fits_asked_for_and_at_no_later_one():
    measured = []
    found = follow(loop(), lambda g: measured.append(g.t) or {"value": g.model, "double": 2 * g.model}, np.array([1, 3]))
    assert measured == [0, 2]
    assert np.array_equal(found["value"], PATH[:, [0, 2]])
    assert np.array_equal(found["double"], 2 * PATH[:, [0, 2]])


def test_a_frame_has_a_row_for_each_column_of_the_samples():
    table = moments.frame(PATH, unit=2.0, regime="replace", n=np.arange(1, 5))
    assert list(table.columns) == ["regime", "n", "replicates", "mean", "se"]
    assert np.allclose(table["mean"], PATH.mean(0) / 2)
    assert np.allclose(table["se"], PATH.std(0, ddof=1) / 3**0.5 / 2)
    assert set(table["replicates"]) == {3}
    assert table.equals(moments.frame(moments.Moments().add(PATH[:1]).add(PATH[1:]), 2.0, regime="replace", n=np.arange(1, 5)))


def test_slopes_are_those_of_polyfit():
    x = np.array([1.0, 2.0, 4.0, 7.0])
    assert np.allclose(moments.slopes(x, PATH), np.polyfit(x, PATH.T, 1)[0])
    assert np.allclose(moments.slopes(x, PATH, log=True), np.polyfit(np.log(x), np.log(PATH.T), 1)[0])
    assert moments.slopes(x, x**-0.7, log=True) == pytest.approx([-0.7])


def test_numbers_are_columns_of_one_row(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        results, "number", lambda key, name, column, spec, **where: seen.update({key: (name, column, spec, where)})
    )
    results.numbers("paths", {"last": "mean:.2f", "last-share": "share, all:.0%"}, n=3)
    assert seen == {"last": ("paths", "mean", ".2f", {"n": 3}), "last-share": ("paths", "share, all", ".0%", {"n": 3})}


def test_rows_are_glued_by_their_own_values(monkeypatch):
    glued = {}
    monkeypatch.setattr(
        results, "_tables", {"paths": pd.DataFrame({"regime": ["a", "a", "b"], "n": [1, 2, 1], "mean": [3, 4, 5]})}
    )
    monkeypatch.setattr("IPython.display.display", lambda shown, **_: glued.update({shown[results.NUMBER_MIME]["key"]: shown}))
    results.rows("paths", {"{regime}-{n}": "mean:.1f"}, "regime", "n")
    assert {key: shown[results.NUMBER_MIME]["text"] for key, shown in glued.items()} == {"a-1": "3.0", "a-2": "4.0", "b-1": "5.0"}
    assert glued["a-2"][results.NUMBER_MIME]["where"] == {"regime": "a", "n": 2}
    with pytest.raises(LookupError, match="must match one row"):
        results.rows("paths", {"{regime}": "mean:.1f"}, "regime")


def test_a_summary_is_a_row_whose_values_are_all_glued(monkeypatch):
    glued = []
    monkeypatch.setattr("IPython.display.display", lambda shown, **kwargs: glued.append(shown))
    results.summary("page", {"rise": (0.1234, ".1%"), "fits": (7, "d")})
    assert [(n["key"], n["text"], n["table"]) for n in (shown[results.NUMBER_MIME] for shown in glued[1:])] == [
        ("page-rise", "12.3%", "summary"),
        ("page-fits", "7", "summary"),
    ]
    assert glued[0].frame.to_dict("records") == [{"rise": 0.1234, "fits": 7}]


def test_frames_become_one_table_and_a_cell_may_run_again(monkeypatch):
    monkeypatch.setattr(results, "_tables", {})
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    results.table("paths", {"replace": pd.DataFrame({"n": [1, 2]}), "accumulate": pd.DataFrame({"n": [1]})}, key="regime")
    assert shown[0].frame.to_dict("list") == {"regime": ["replace", "replace", "accumulate"], "n": [1, 2, 1]}
    results.table("paths", pd.DataFrame({"n": [3]}))  # a cell that is run again, with another parameter
    assert shown[1].frame.to_dict("list") == {"n": [3]}


@pytest.mark.parametrize("samples", [PATH, moments.Moments().add(PATH)], ids=["samples", "moments"])
def test_points_stand_at_the_means_with_two_standard_errors(samples):
    fig, ax = plot.figure(xlabel="fits", ylabel="loss")
    plot.measured(ax, range(4), samples, "accumulate_subsample", unit=2.0)
    points, _, (bars,) = ax.containers[0]
    error = PATH.std(0, ddof=1) / 3**0.5
    assert np.allclose(points.get_ydata(), PATH.mean(0) / 2)
    assert np.allclose([segment[1, 1] - segment[0, 1] for segment in bars.get_segments()], 2 * error)
    assert (points.get_color(), points.get_marker()) == (plot.COLOURS["accumulate_subsample"], "^")
    assert ax.get_legend_handles_labels()[1] == ["accumulate-subsample"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fits", "loss")
    plt.close(fig)


def test_a_table_of_means_is_drawn_with_its_own_errors_and_runs_are_labelled_once():
    fig, (left, right) = plot.figure(2, xlabel="fits", ylabel="loss")
    table = pd.DataFrame({"mean": [1.0, 2.0], "se": [0.1, 0.2]})
    plot.measured(left, [1, 2], table["mean"], 1, "wide", table["se"], linestyle="-")
    assert np.allclose([np.ptp(segment[:, 1]) for segment in left.containers[0][2][0].get_segments()], [0.4, 0.8])
    plot.seeds(right, range(4), PATH, "replace")
    assert len(right.lines) == 4
    assert np.allclose(right.lines[-1].get_ydata(), PATH.mean(0))
    assert right.get_legend_handles_labels()[1] == ["replace"]
    assert (right.get_xlabel(), right.get_ylabel()) == ("fits", "")
    plt.close(fig)


def test_a_figure_hands_on_each_panel_and_is_left_as_it_was():
    fig, (left, right) = plot.figure(2, sharey=True, ylabel="loss")
    plot.theory(left, [1, 2], [1, 2], "left")
    plot.measured(right, range(4), PATH, "replace")
    before = fig.canvas.buffer_rgba().tobytes() if fig.canvas.draw() is None else b""
    panels = fig.panels()
    fig.canvas.draw()
    assert fig.canvas.buffer_rgba().tobytes() == before
    assert len(panels) == 2
    assert ["<!-- left -->" in svg for svg in panels] == [True, False]
    assert ["<!-- loss -->" in svg for svg in panels] == [True, True]  # a shared axis is named on both
    assert all(svg.count("<!-- 2 -->") >= 1 for svg in panels)  # and has its numbers
    plt.close(fig)


def test_a_bar_of_colours_stays_with_its_panels():
    fig, (left, right) = plot.figure(2)
    fig.colorbar(left.imshow(PATH), ax=[left, right])
    assert len(fig.panels()) == 1
    plt.close(fig)


def test_logarithmic_axes_have_plain_numbers_where_they_are_in_view():
    fig, ax = plot.figure()
    ax.plot([1, 2, 8], [0.3, 1.0, 0.2])
    ax.set(yscale="log")
    plot.ticks(ax.yaxis, [0.01, 0.2, 0.5, 1, 5])
    fig.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels() if label.get_text()] == ["0.2", "0.5", "1"]
    assert not [label.get_text() for label in ax.get_yticklabels(minor=True) if label.get_text()]
    assert ax.get_ylim()[0] > 0.1
    ax.set(xscale="log", xlim=(0.15, 12))
    plot.ticks(ax.xaxis)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.2", "0.5", "1", "2", "5", "10"]
    ax.set(xlim=(0.05, 200))
    plot.ticks(ax.xaxis)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "1", "10", "100"]
    plt.close(fig)
