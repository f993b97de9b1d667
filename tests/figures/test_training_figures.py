"""Curves of a training against hand-made histories."""

import numpy as np
import pandas as pd
import pytest

from ser_core.figures import training


def history(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(
        {"method": "baseline", "stage": "finetune", "epoch": range(1, n + 1), "seconds": 0.1, **columns}
    )


@pytest.fixture
def two_methods() -> pd.DataFrame:
    first = history(emotion=[2.0, 1.0, 0.5], dev_uar=[0.2, 0.6, 0.6])
    second = history(emotion=[1.0, 0.5, 0.4], gender=[0.7, 0.6, 0.5], dev_uar=[0.3, 0.2, 0.1]).assign(method="cfa")
    return pd.concat([second, first], ignore_index=True)


def drawn(figure) -> dict[str, list[float]]:
    """Named lines; neither stars nor what lies behind."""
    return {trace.name: list(trace.y) for trace in figure.data if trace.showlegend}


def test_each_method_has_a_line_of_its_own_and_its_best_epoch_a_star(two_methods):
    figure = training.dev_curves({"run": two_methods})
    assert drawn(figure) == {"baseline": [0.2, 0.6, 0.6], "cfa": [0.3, 0.2, 0.1]}
    stars = [trace for trace in figure.data if trace.marker.symbol == "star"]
    assert sorted(zip(stars[0].x, stars[0].y, strict=True)) == [(1, 0.3), (2, 0.6)]  # the first of two that are as good


def test_a_loss_is_best_where_it_is_lowest():
    best = training.best_epochs(history(dev_loss=[0.9, 0.4, 0.6]), "dev_loss")
    assert best["step"].tolist() == [2]


def test_the_best_epoch_is_one_of_the_last_stage():
    stages = history(dev_uar=[0.9, 0.1, 0.3, 0.2]).assign(stage=["pretrain", "pretrain", "finetune", "finetune"])
    assert training.best_epochs(stages, "dev_uar")["step"].tolist() == [3]


def test_every_term_has_a_dash_of_its_own_and_a_method_without_a_term_no_line(two_methods):
    figure = training.loss_curves({"run": two_methods})
    assert drawn(figure) == {
        "cfa, emotion": [1.0, 0.5, 0.4],
        "cfa, gender": [0.7, 0.6, 0.5],
        "baseline": [2.0, 1.0, 0.5],
    }
    dashes = {trace.name: trace.line.dash for trace in figure.data}
    assert dashes["cfa, emotion"] != dashes["cfa, gender"]


def test_two_runs_in_one_figure_can_be_told_apart_without_colour(two_methods):
    figure = training.dev_curves({"first": two_methods, "second": two_methods})
    lines = [trace for trace in figure.data if trace.showlegend]
    assert {trace.name for trace in lines} == {"first: baseline", "first: cfa", "second: baseline", "second: cfa"}
    assert len({(trace.line.dash, trace.marker.symbol) for trace in lines}) == 4


def test_a_method_keeps_its_colour_from_run_to_run(two_methods):
    figure = training.dev_curves({"first": two_methods, "second": two_methods[two_methods["method"] == "cfa"]})
    colours = {trace.name: trace.line.color for trace in figure.data if trace.showlegend}
    assert colours["first: cfa"] == colours["second: cfa"] != colours["first: baseline"]


def test_smoothing_is_the_unbiased_exponential_mean_and_leaves_what_was_measured_visible(two_methods):
    values, weight = [0.2, 0.6, 0.6], 0.8
    expected = []  # TensorBoard's own: a running sum, divided by the weight that it has so far
    running = 0.0
    for n, value in enumerate(values, start=1):
        running = weight * running + (1 - weight) * value
        expected.append(running / (1 - weight**n))
    figure = training.dev_curves({"run": two_methods}, weight)
    assert drawn(figure)["baseline"] == pytest.approx(expected)
    behind = [list(trace.y) for trace in figure.data if trace.name == "baseline" and not trace.showlegend]
    assert behind == [values]


def test_without_smoothing_all_stays_as_it_was():
    values = pd.Series(np.random.default_rng(0).normal(size=9))
    assert training.smoothed(values, 0.0).tolist() == pytest.approx(values.tolist())


@pytest.mark.parametrize("draw", [training.dev_curves, training.loss_curves])
def test_before_the_first_epoch_the_figure_says_so(draw):
    for figure in (draw({}), draw({"run": pd.DataFrame()})):
        assert not figure.data and "first epoch" in figure.layout.annotations[0].text


def test_a_run_that_has_just_begun_does_not_hide_the_one_beside_it(two_methods):
    assert "old: baseline" in drawn(training.dev_curves({"new": pd.DataFrame(), "old": two_methods}))


def test_names_from_elsewhere_are_no_markup(two_methods):
    figure = training.loss_curves({"<b>run</b>": two_methods, "other": two_methods.assign(method="<i>x</i>")})
    assert not any("<b>" in name or "<i>" in name for name in drawn(figure))


def test_the_numbers_are_what_is_drawn(two_methods):
    table = training.numbers({"run": two_methods, "new": pd.DataFrame()})
    assert list(table.columns) == ["run", "method", "stage", "epoch", "emotion", "gender", "dev_uar"]
    assert table["dev_uar"].tolist() == two_methods["dev_uar"].tolist()


def test_differences_between_groups_are_drawn_apart_from_losses_and_are_no_dev_score():
    history = pd.DataFrame({
        "method": "cfa", "stage": ["source", "joint", "joint"], "epoch": [1, 1, 2], "emotion": [1.0, 0.8, 0.7],
        "dev_uar": [0.5, None, None], "dev_delta_sp": [0.3, 0.2, 0.1], "target_delta_sp": [0.4, 0.3, 0.2],
    })  # fmt: skip
    assert training.terms(history) == ["emotion"] and training.monitor({"run": history}) == "dev_uar"
    figure = training.gap_curves({"run": history}, named=str)
    assert {trace.name: list(trace.y) for trace in figure.data} == {
        "cfa, ΔSP on dev": [0.3, 0.2, 0.1],
        "cfa, ΔSP where it is adapted to": [0.4, 0.3, 0.2],
    }
    assert training.best_epochs(history, "dev_uar").empty  # the last epoch of the joint stage is kept
    assert (
        "compare no groups"
        in training.gap_curves({"run": history[["method", "stage", "epoch"]]}).layout.annotations[0].text
    )
