import numpy as np
import pandas as pd
import pytest

from ser_core.figures.embeddings import MAX_LEGEND, in_order, map_of_stage, probes
from ser_core.labels import EMOTIONS


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.fixture
def points():
    rows = [
        {"utterance_id": f"u{place}", "speaker": f"s{place % 30:02d}", "gender": ("female", "male")[place % 2],
         "emotion": EMOTIONS[place % len(EMOTIONS)], "text_id": "01", "stage": stage, "x": float(place), "y": -float(place)}
        for stage in ("before", "after") for place in range(90)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("colour_by", ["emotion", "gender", "speaker"])
def test_every_class_has_a_look_of_its_own_that_stands_out_and_is_the_same_in_both_maps(points, colour_by):
    looks = []
    for stage in ("before", "after"):
        figure = map_of_stage(points, stage, colour_by)
        looks.append([(one.name, one.marker.color, one.marker.symbol) for one in figure.data])
        assert sum(len(one.x) for one in figure.data) == 90
    assert looks[0] == looks[1]
    assert len({look[1:] for look in looks[0]}) == len(looks[0]) == points[colour_by].nunique()
    for _, colour, _ in looks[0]:
        assert 1.05 / (_luminance(colour) + 0.05) >= 3
    if colour_by != "speaker":
        assert len({symbol for *_, symbol in looks[0]}) == len(looks[0])


def test_a_mark_lies_where_its_utterance_does_and_says_which_it_is(points):
    figure = map_of_stage(points, "after", "emotion")
    sadness = next(trace for trace in figure.data if trace.name == "Sadness")
    expected = points[(points["stage"] == "after") & (points["emotion"] == "sadness")]
    assert list(sadness.x) == expected["x"].tolist() and list(sadness.y) == expected["y"].tolist()
    assert list(sadness.customdata[0][:4]) == ["sadness", expected["speaker"].iloc[0], expected["gender"].iloc[0], "01"]


def test_one_step_is_as_long_across_as_up_and_a_long_legend_is_left_out(points):
    figure = map_of_stage(points, "before", "speaker")
    assert figure.layout.yaxis.scaleanchor == "x" and figure.layout.yaxis.scaleratio == 1
    assert points["speaker"].nunique() > MAX_LEGEND and not figure.layout.showlegend
    assert map_of_stage(points, "before", "emotion").layout.showlegend


def test_names_from_files_are_text_and_not_markup(points):
    figure = map_of_stage(points.assign(speaker="<b>x</b>"), "before", "speaker")
    assert figure.data[0].name == "&lt;b&gt;x&lt;/b&gt;" == figure.data[0].customdata[0][1]


def test_emotions_come_in_their_order_and_speakers_by_name():
    assert in_order(pd.Series(["anger", "calm", "neutral"]), "emotion") == ["neutral", "anger", "calm"]
    assert in_order(pd.Series(["b", "a"]), "speaker") == ["a", "b"]


def test_probes_stand_before_and_after_beside_their_chance_and_gaps_are_named():
    table = pd.DataFrame(
        [
            ("emotion", "before", 0.7, 0.6, 0.8, 0.125),
            ("emotion", "after", 0.8, 0.7, 0.9, 0.125),
            ("gender", "before", np.nan, np.nan, np.nan, np.nan),
            ("gender", "after", np.nan, np.nan, np.nan, np.nan),
        ],
        columns=["probe", "stage", "balanced_accuracy", "low", "high", "chance"],
    )
    figure = probes(table)
    before, after, _ = figure.data
    assert list(before.y) == ["emotion", "gender"] and before.x[0] == 0.7 and after.x[0] == 0.8
    assert before.marker.pattern.shape != after.marker.pattern.shape
    assert [line.x0 for line in figure.layout.shapes] == [0.125]
    assert before.text[1] == "not estimable"
