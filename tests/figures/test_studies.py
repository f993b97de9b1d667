"""Figures of studies show the numbers they were given: a line over growing conditions, a lane a condition, a mark a speaker."""

import numpy as np
import pandas as pd
import pytest

from ser_core.figures.fairness import METHOD_LINES
from ser_core.figures.studies import changes, gaps, shifts

SIZES = ["nobody enrolled", "1 of each", "2 of each"]
LANES = ["right enrolment", "one bad: noise at 0 dB", *(f"random draw {draw}" for draw in range(1, 5))]


def _results(conditions: list[str], methods: tuple[str, ...] = ("baseline", "ours")) -> pd.DataFrame:
    rows = [(method, condition) for method in methods for condition in conditions]
    uar = np.linspace(0.5, 0.8, len(rows))
    table = pd.DataFrame(rows, columns=["method", "condition"])
    return table.assign(change=uar, change_from=uar - 0.05, change_to=uar + 0.07)


def test_growing_conditions_are_a_line_of_each_method_in_the_order_of_the_study():
    results = _results(SIZES)
    lines = changes(results, in_order=True).data
    assert [line.name for line in lines] == ["baseline", "ours"]
    for line in lines:
        own = results[results["method"] == line.name]
        assert list(line.x) == SIZES and line.y == pytest.approx(100 * own["change"])
        np.testing.assert_allclose(line.y + line.error_y.array, 100 * own["change_to"])
        np.testing.assert_allclose(line.y - line.error_y.arrayminus, 100 * own["change_from"])


def test_methods_for_which_nothing_changes_are_left_out():
    results = _results(SIZES)
    results.loc[results["method"] == "baseline", "change"] = 0.0
    assert {trace.name for trace in changes(results, in_order=True).data} == {"ours"}
    assert not changes(results.assign(change=0.0), in_order=True).data


def test_other_conditions_have_a_lane_each_and_random_draws_share_one():
    figure = changes(_results(LANES), in_order=False)
    assert list(figure.layout.yaxis.ticktext) == [*LANES[:2], "random draws"]
    marks = {}
    for trace in figure.data:
        for (condition,), place in zip(trace.customdata, trace.y, strict=True):
            marks.setdefault(round(place), []).append((trace.name, condition))
    assert marks[0] == [("baseline", LANES[0]), ("ours", LANES[0])]
    assert sorted(marks[2]) == sorted((method, draw) for method in ("baseline", "ours") for draw in LANES[2:])


def test_every_number_is_drawn_once_at_its_place():
    results = _results(LANES)
    drawn = {
        (trace.name, condition): value
        for trace in changes(results, in_order=False).data
        for (condition,), value in zip(trace.customdata, trace.x, strict=True)
    }
    expected = (100 * results.set_index(["method", "condition"])["change"]).to_dict()
    assert drawn == pytest.approx(expected)


def test_each_method_is_once_in_the_legend_and_methods_differ_by_more_than_colour():
    for in_order, conditions in ((True, SIZES), (False, LANES), (False, LANES[:2])):
        figure = changes(_results(conditions), in_order)
        assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["baseline", "ours"]
        assert len({(trace.name, trace.marker.symbol) for trace in figure.data}) == 2


@pytest.mark.parametrize("in_order", [True, False])
def test_a_method_with_markup_in_its_name_is_shown_as_it_is_written(in_order):
    figure = changes(_results(SIZES, ("<b>bold</b>",)), in_order)
    assert {trace.name for trace in figure.data} == {"&lt;b&gt;bold&lt;/b&gt;"}


@pytest.mark.parametrize("in_order", [True, False])
def test_intervals_that_are_not_known_are_not_drawn(in_order):
    figure = changes(_results(SIZES).assign(change_from=np.nan, change_to=np.nan), in_order)
    bars = [trace.error_y if in_order else trace.error_x for trace in figure.data]
    assert all(bar.array is None or not np.nansum(np.abs(np.asarray(bar.array, dtype=float))) for bar in bars)


@pytest.mark.parametrize(("in_order", "conditions"), [(True, SIZES), (False, LANES)])
def test_the_page_opens_without_reaching_out(in_order, conditions, tmp_path):
    changes(_results(conditions), in_order).write_html(tmp_path / "figure.html", include_plotlyjs=True)
    page = (tmp_path / "figure.html").read_text(encoding="utf-8")
    assert "<script src=" not in page and "<link " not in page


# speakers and their shifts

PANELS = (("feature_shift", "uar"), ("label_shift", "uar"), ("feature_shift", "ccc"))
WORDS = {"feature_shift": "feature shift", "label_shift": "label shift", "uar": "UAR", "ccc": "CCC"}


def _speakers(methods: tuple[str, ...] = ("baseline", "ours")) -> pd.DataFrame:
    rows = [(method, f"s{s}") for method in methods for s in range(5)]
    x = np.linspace(0.1, 0.9, len(rows))
    table = pd.DataFrame(rows, columns=["method", "speaker"])
    return table.assign(uar=1 - x, feature_shift=3 * x, label_shift=0.5 * x)


def test_every_speaker_is_a_mark_in_every_panel_that_has_numbers():
    table = _speakers()
    figure = shifts(table, PANELS, WORDS)
    drawn = {
        (trace.name, trace.xaxis, speaker): (x, y)
        for trace in figure.data
        for speaker, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    }
    assert len(figure.data) == 4 and len(drawn) == 20 and all(trace.mode == "markers" for trace in figure.data)
    for row in table.itertuples():
        assert drawn[row.method, "x", row.speaker] == (row.feature_shift, row.uar)
        assert drawn[row.method, "x2", row.speaker] == (row.label_shift, row.uar)
    titles = (figure.layout.xaxis.title.text, figure.layout.xaxis2.title.text, figure.layout.yaxis2.title.text)
    assert titles == ("feature shift", "label shift", "UAR")


def test_each_method_of_a_scatter_is_once_in_the_legend_and_looks_the_same_in_every_panel():
    figure = shifts(_speakers(), PANELS, WORDS)
    assert [trace.name for trace in figure.data if trace.showlegend] == ["baseline", "ours"]
    looks = {(trace.name, trace.marker.symbol, trace.marker.color) for trace in figure.data}
    assert len(looks) == 2 and len({symbol for _, symbol, _ in looks}) == len({colour for *_, colour in looks}) == 2


def test_the_first_method_looks_as_it_does_elsewhere():
    table = _gaps()
    for trace in (shifts(_speakers(), PANELS, WORDS).data[0], gaps(table).data[0]):
        assert (trace.marker.color, trace.marker.symbol) == (METHOD_LINES[0][0], METHOD_LINES[0][2])


def test_names_with_markup_are_shown_as_they_are_written():
    table = _speakers(("<b>bold</b>",)).assign(speaker="<i>who</i>")
    for trace in shifts(table, PANELS, WORDS).data:
        assert trace.name == "&lt;b&gt;bold&lt;/b&gt;" and set(trace.customdata) == {"&lt;i&gt;who&lt;/i&gt;"}


# gaps


def _gaps(methods: tuple[str, ...] = ("baseline", "ours")) -> pd.DataFrame:
    rows = [(method, k) for method in methods for k in (2, 4, 14)]
    gap = np.linspace(0.2, 0.02, len(rows))
    return pd.DataFrame(rows, columns=["method", "n_train"]).assign(gap=gap, gap_from=gap - 0.04, gap_to=gap + 0.05)


def test_gaps_are_a_line_of_each_method_over_the_number_of_speakers():
    table = _gaps()
    figure = gaps(table)
    assert [line.name for line in figure.data] == ["baseline", "ours"]
    assert list(figure.layout.xaxis.tickvals) == [2, 4, 14]
    for line in figure.data:
        own = table[table["method"] == line.name]
        assert list(line.x) == [2, 4, 14] and line.y == pytest.approx(100 * own["gap"])
        np.testing.assert_allclose(line.y + line.error_y.array, 100 * own["gap_to"])
        np.testing.assert_allclose(line.y - line.error_y.arrayminus, 100 * own["gap_from"])
