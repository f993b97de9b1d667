"""The picture of both answers over time, read back as XML."""

import re
import xml.etree.ElementTree as ET

from ser_core.figures.timeline import NOT_SURE, Heard, in_words, shares, timeline

EMOTIONS = ("neutral", "anger", "fear")
SVG = "{http://www.w3.org/2000/svg}"
HEARD = [
    Heard(0.0, 1.0, {}),
    Heard(1.0, 2.0, {"baseline": "anger", "personalised": "fear"}),
    Heard(2.0, 4.0, {"baseline": "anger", "personalised": "neutral"}),
]


def bars(picture: ET.Element) -> dict[str, list[tuple[float, float, float]]]:
    """(x, y, width) by the words of their titles, without the times."""
    found: dict[str, list] = {}
    for rect in picture.iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None:
            place = tuple(float(rect.get(name)) for name in ("x", "y", "width"))
            found.setdefault(title.text.partition(",")[0], []).append(place)
    return found


def test_answers_lie_in_the_lane_of_their_emotion_for_as_long_as_they_last():
    found = bars(ET.fromstring(timeline(HEARD, EMOTIONS, 0.0, 10.0, "live")))
    assert set(found) == {"baseline: anger", "personalised: fear", "personalised: neutral"}
    ((x, anger_y, width),) = found["baseline: anger"]  # two neighbours are one bar
    ((fear_x, fear_y, fear_width),) = found["personalised: fear"]
    assert abs(width / fear_width - 3) < 0.02 and x == fear_x
    assert found["personalised: neutral"][0][1] < anger_y < fear_y  # lanes in the order given


def test_what_lies_outside_is_cut_off():
    found = bars(ET.fromstring(timeline(HEARD, EMOTIONS, 3.0, 5.0, "live")))
    assert set(found) == {"baseline: anger", "personalised: neutral"}
    whole = bars(ET.fromstring(timeline(HEARD, EMOTIONS, 2.0, 4.0, "live")))
    assert found["baseline: anger"][0][2] * 2 - whole["baseline: anger"][0][2] < 0.2


def test_the_picture_tells_in_words_what_it_shows_and_the_answers_differ_by_pattern():
    drawn = timeline(HEARD, EMOTIONS, 0.0, 10.0, "take")
    picture = ET.fromstring(drawn)
    assert picture.get("role") == "img" and picture.get("aria-label") == in_words(HEARD)
    assert in_words(HEARD) == "Silence 1 s. Baseline: anger 3 s. Personalised: neutral 2 s, fear 1 s."
    assert "url(#take-hatch)" in drawn and re.search(r"id='take-hatch'", drawn)
    assert {text.text for text in picture.iter(f"{SVG}text")} >= {"Neutral", "Anger", "Fear", "Silence"}


def test_what_is_not_sure_is_an_empty_frame_in_the_lane_that_leads_and_said_in_words():
    heard = [*HEARD[1:], Heard(4.0, 5.0, {"baseline": "anger"}, frozenset({"baseline"}))]
    drawn = timeline(heard, EMOTIONS, 0.0, 10.0, "live")
    found = bars(ET.fromstring(drawn))
    (sure,), (unsure,) = found["baseline: anger"], found["baseline: not sure (perhaps anger)"]
    assert sure[1] == unsure[1] and abs(sure[2] / unsure[2] - 3) < 0.02  # it is a bar of its own
    filled = {
        rect.find(f"{SVG}title").text.partition(",")[0]: rect.get("fill")
        for rect in ET.fromstring(drawn).iter(f"{SVG}rect")
        if rect.find(f"{SVG}title") is not None
    }
    assert filled["baseline: not sure (perhaps anger)"] == "#fff" != filled["baseline: anger"]
    assert "Baseline: anger 3 s, not sure 1 s." in in_words(heard)
    assert shares(heard, "baseline") == {"anger": 3.0, NOT_SURE: 1.0}


def test_an_empty_picture_says_so():
    picture = ET.fromstring(timeline([], EMOTIONS, 0.0, 60.0, "live"))
    assert picture.get("aria-label") == "Nothing has been heard yet."


def test_a_name_can_bring_no_markup():
    drawn = timeline([Heard(0, 1, {"baseline": "<b>"})], ("<b>",), 0.0, 5.0, "live")
    assert "<b>" not in drawn and ET.fromstring(drawn) is not None


def test_shares_are_seconds_the_longest_first():
    assert list(shares(HEARD, "personalised").items()) == [("neutral", 2.0), ("fear", 1.0)]
