import numpy as np
import pandas as pd
import pytest

from ser_core.figures.embeddings import MAX_LEGEND, clusters, in_order, map_of_stage, probes
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


_SEEN_BY = {  # Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB
    "everybody": np.eye(3),
    "no red cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no blue cones": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def _lab(colour: str, eyes: np.ndarray) -> np.ndarray:
    """CIE 1976 L*a*b*, D65, of an sRGB colour as those eyes see it."""
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    xyz = to_xyz @ np.clip(eyes @ linear, 0, 1) / to_xyz.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", _SEEN_BY.values(), ids=list(_SEEN_BY))
@pytest.mark.parametrize("new", ["emphatic", "negative", "idle"])
def test_the_classes_of_the_children_corpus_are_told_from_all_others_by_any_eyes(points, new, eyes):
    colours = {one.name.lower(): one.marker.color for one in map_of_stage(points, "after", "emotion").data}
    seen = {name: _lab(colour, eyes) for name, colour in colours.items()}
    assert min(np.linalg.norm(seen[new] - other) for name, other in seen.items() if name != new) > 12


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


@pytest.fixture
def one_speaker(points):
    """Six utterances: two clusters with their middles at (1, 1) and (10, 0), and one in none."""
    x, y = [0.0, 2.0, 1.0, 9.0, 11.0, 5.0], [0.0, 0.0, 3.0, 1.0, -1.0, 5.0]
    emotion = ["anger", "anger", "fear", "other", None, "anger"]
    return points.iloc[:6].assign(speaker="s", emotion=emotion, x=x, y=y, cluster=[0, 0, 0, 3, 3, -1])


def test_each_mark_of_a_cluster_is_joined_to_its_middle_where_the_number_stands(one_speaker):
    lines, *marks, numbers = clusters(one_speaker, "s").data
    ends = list(zip(lines.x, lines.y, strict=True))
    assert ends[2::3] == [(None, None)] * 5
    assert list(zip(ends[0::3], ends[1::3], strict=True)) == [
        ((0, 0), (1, 1)), ((2, 0), (1, 1)), ((1, 3), (1, 1)), ((9, 1), (10, 0)), ((11, -1), (10, 0)),
    ]  # fmt: skip
    assert list(zip(numbers.x, numbers.y, numbers.text, strict=True)) == [(1, 1, "1"), (10, 0, "4")]
    assert {mark.name: len(mark.x) for mark in marks} == {"Anger": 3, "Fear": 1, "Not known": 1, "Other": 1}


def test_an_emotion_looks_the_same_in_clusters_and_maps_and_what_is_no_class_like_none_of_them(points, one_speaker):
    every = pd.concat([points.iloc[:26], one_speaker]).assign(cluster=-1)
    looks = {mark.name: (mark.marker.color, mark.marker.symbol) for mark in clusters(every).data if mark.name}
    of_map = {
        mark.name: (mark.marker.color, mark.marker.symbol) for mark in map_of_stage(points, "after", "emotion").data
    }
    assert of_map.items() <= looks.items() and set(looks) - set(of_map) == {"Not known", "Other"}
    assert len({symbol for _, symbol in looks.values()}) == len(looks)


def test_a_speaker_in_no_cluster_has_marks_only_and_a_name_is_text(one_speaker):
    figure = clusters(one_speaker.assign(cluster=-1), "<b>x</b>")
    lines, *marks, numbers = figure.data
    assert not lines.x and not len(numbers.x) and sum(len(mark.x) for mark in marks) == 6
    assert figure.layout.title.text == "&lt;b&gt;x&lt;/b&gt;"
