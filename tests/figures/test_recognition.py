import pytest

from ser_core.figures.recognition import ANSWER_COLOURS, ANSWER_PATTERNS, EMOTION_COLOURS, answers, levels
from ser_core.figures.style import empty
from ser_core.labels import APP_EMOTIONS

_FLAT = dict.fromkeys(APP_EMOTIONS, 1 / 7)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("page", ["#ffffff", "#0b0f19"])
@pytest.mark.parametrize("colour", sorted({*EMOTION_COLOURS.values(), *ANSWER_COLOURS.values()}))
def test_every_colour_stands_out_in_light_and_dark(colour: str, page: str):
    lighter, darker = sorted((luminance(colour), luminance(page)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 3


def test_every_emotion_has_its_own_colour():
    assert len({EMOTION_COLOURS[emotion] for emotion in APP_EMOTIONS}) == len(APP_EMOTIONS)


def test_the_answers_differ_by_more_than_colour():
    assert len(set(ANSWER_PATTERNS.values())) == len(ANSWER_PATTERNS) == len(set(ANSWER_COLOURS.values())) == 3


def test_both_answers_stand_in_one_order_on_one_scale():
    figure = answers(APP_EMOTIONS, {"baseline": _FLAT, "personalised": {**_FLAT, "anger": 0.9}})
    names = [emotion.capitalize() for emotion in APP_EMOTIONS]
    assert [bar.name for bar in figure.data] == ["Baseline", "Personalised"]
    assert all(list(bar.y) == names for bar in figure.data)
    assert figure.layout.xaxis.range[0] == 0 and figure.layout.xaxis.range[1] >= 1
    assert figure.data[1].text[APP_EMOTIONS.index("anger")] == "90\N{NO-BREAK SPACE}%"


def test_nobody_enrolled_gives_one_set_of_bars():
    assert [bar.name for bar in answers(APP_EMOTIONS, {"baseline": _FLAT}).data] == ["Baseline"]


def test_a_third_answer_has_its_place_between_the_others_and_room():
    two, three = (
        answers(APP_EMOTIONS, dict.fromkeys(names, _FLAT)) for names in (("baseline", "personalised"), ANSWER_PATTERNS)
    )
    assert [bar.name for bar in three.data] == ["Baseline", "Calibrated", "Personalised"]
    assert three.layout.height > two.layout.height


def test_each_answer_has_a_line_over_loudness_with_gaps_where_nothing_is_heard():
    figure = levels((-10, 0, 10), {"baseline": [None, 0.5, 0.4], "personalised": [0.1, 0.9, 0.8]},
                    {"baseline": "fear", "personalised": "anger"})  # fmt: skip
    assert [line.name for line in figure.data] == ["Baseline: fear", "Personalised: anger"]
    assert figure.data[0].y[0] is None and list(figure.data[1].y) == [0.1, 0.9, 0.8]
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert figure.data[0].marker.symbol != figure.data[1].marker.symbol


def test_an_empty_figure_says_what_to_do():
    assert empty("Record first").layout.annotations[0].text == "Record first"
