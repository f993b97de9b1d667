"""Figures of studies show the numbers they were given: a line over growing conditions, else a lane a condition."""

import numpy as np
import pandas as pd
import pytest

from ser_core.figures.studies import study

SIZES = ["nobody enrolled", "1 of each", "2 of each"]
LANES = ["right enrolment", "one bad: noise at 0 dB", *(f"random draw {draw}" for draw in range(1, 5))]


def _results(conditions: list[str], methods: tuple[str, ...] = ("baseline", "ours")) -> pd.DataFrame:
    rows = [(method, condition) for method in methods for condition in conditions]
    uar = np.linspace(0.5, 0.8, len(rows))
    table = pd.DataFrame(rows, columns=["method", "condition"])
    return table.assign(change=uar, change_from=uar - 0.05, change_to=uar + 0.07)


def test_growing_conditions_are_a_line_of_each_method_in_the_order_of_the_study():
    results = _results(SIZES)
    lines = study(results, in_order=True).data
    assert [line.name for line in lines] == ["baseline", "ours"]
    for line in lines:
        own = results[results["method"] == line.name]
        assert list(line.x) == SIZES and line.y == pytest.approx(100 * own["change"])
        np.testing.assert_allclose(line.y + line.error_y.array, 100 * own["change_to"])
        np.testing.assert_allclose(line.y - line.error_y.arrayminus, 100 * own["change_from"])


def test_methods_for_which_nothing_changes_are_left_out():
    results = _results(SIZES)
    results.loc[results["method"] == "baseline", "change"] = 0.0
    assert {trace.name for trace in study(results, in_order=True).data} == {"ours"}
    assert not study(results.assign(change=0.0), in_order=True).data


def test_other_conditions_have_a_lane_each_and_random_draws_share_one():
    figure = study(_results(LANES), in_order=False)
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
        for trace in study(results, in_order=False).data
        for (condition,), value in zip(trace.customdata, trace.x, strict=True)
    }
    expected = (100 * results.set_index(["method", "condition"])["change"]).to_dict()
    assert drawn == pytest.approx(expected)


def test_each_method_is_once_in_the_legend_and_methods_differ_by_more_than_colour():
    for in_order, conditions in ((True, SIZES), (False, LANES), (False, LANES[:2])):
        figure = study(_results(conditions), in_order)
        assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["baseline", "ours"]
        assert len({(trace.name, trace.marker.symbol) for trace in figure.data}) == 2


@pytest.mark.parametrize("in_order", [True, False])
def test_a_method_with_markup_in_its_name_is_shown_as_it_is_written(in_order):
    figure = study(_results(SIZES, ("<b>bold</b>",)), in_order)
    assert {trace.name for trace in figure.data} == {"&lt;b&gt;bold&lt;/b&gt;"}


@pytest.mark.parametrize("in_order", [True, False])
def test_intervals_that_are_not_known_are_not_drawn(in_order):
    figure = study(_results(SIZES).assign(change_from=np.nan, change_to=np.nan), in_order)
    bars = [trace.error_y if in_order else trace.error_x for trace in figure.data]
    assert all(bar.array is None or not np.nansum(np.abs(np.asarray(bar.array, dtype=float))) for bar in bars)


@pytest.mark.parametrize(("in_order", "conditions"), [(True, SIZES), (False, LANES)])
def test_the_page_opens_without_reaching_out(in_order, conditions, tmp_path):
    study(_results(conditions), in_order).write_html(tmp_path / "figure.html", include_plotlyjs=True)
    page = (tmp_path / "figure.html").read_text(encoding="utf-8")
    assert "<script src=" not in page and "<link " not in page
