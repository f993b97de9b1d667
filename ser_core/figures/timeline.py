"""Both answers over time: a lane an emotion, the baseline above, the personalised answer below, silence in grey.

Drawn as SVG by hand, not by plotly: it changes two and a half times a second while somebody speaks. An emotion is told
by its lane and an answer by its place and pattern, so that no colour is needed to read it. An answer that is not sure is an
empty frame in the lane of the emotion that leads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from ser_core.figures.recognition import ANSWER_COLOURS

_LANE_PX, _LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX, _WIDTH_PX = 26, 84, 10, 26, 24, 760
_BAR_PX, _BAR_AT_PX = 10, {"baseline": 2, "personalised": 13}
_INK, _QUIET, _GRID, _SILENCE = "#1F2937", "#4B5563", "#E5E7EB", "#D1D5DB"
_FONT = "font-family='system-ui,-apple-system,Segoe UI,Roboto,sans-serif'"
_TICKS_S = (5, 10, 30, 60, 120)

NOT_SURE = "not sure"


@dataclass(frozen=True)
class Heard:
    """One stretch of time.

    Attributes:
        start_s, end_s: from when to when.
        answers: emotions by name of the answer ('baseline', 'personalised'); empty for silence.
        unsure: names of the answers that are not sure of it.
    """

    start_s: float
    end_s: float
    answers: Mapping[str, str]
    unsure: frozenset[str] = frozenset()


def timeline(heard: Sequence[Heard], emotions: Sequence[str], from_s: float, to_s: float, name: str) -> str:
    """The picture, as one <svg> element.

    Args:
        heard: stretches in order, none overlapping.
        emotions: the lanes, from top to bottom.
        from_s: left edge.
        to_s: right edge.
        name: tells the pictures of one page apart.
    """
    scale = (_WIDTH_PX - _LEFT_PX - _RIGHT_PX) / (to_s - from_s)
    x_of = lambda second: _LEFT_PX + (min(max(second, from_s), to_s) - from_s) * scale  # noqa: E731
    height = _TOP_PX + _LANE_PX * len(emotions) + _BOTTOM_PX
    seen = [stretch for stretch in heard if stretch.end_s > from_s and stretch.start_s < to_s]
    parts = [
        _pattern(name),
        f"<rect width='{_WIDTH_PX}' height='{height}' fill='#fff'/>",
        *_silence(seen, len(emotions), x_of),
        *_lanes(emotions),
        *_seconds(from_s, to_s, len(emotions), x_of),
        *(bar for answer in _BAR_AT_PX for bar in _bars(seen, answer, emotions, x_of, name)),
        *_legend(name),
    ]
    said = escape(in_words(seen), quote=True)
    return (
        f"<svg class='timeline' role='img' aria-label='{said}' viewBox='0 0 {_WIDTH_PX} {height}' {_FONT} "
        f"xmlns='http://www.w3.org/2000/svg'>{''.join(parts)}</svg>"
    )


def in_words(heard: Sequence[Heard]) -> str:
    """What the picture shows, for those who do not see it.

    >>> in_words([Heard(0, 1, {}), Heard(1, 4, {"baseline": "anger", "personalised": "fear"})])
    'Silence 1 s. Baseline: anger 3 s. Personalised: fear 3 s.'
    """
    silent = sum(stretch.end_s - stretch.start_s for stretch in heard if not stretch.answers)
    said = [f"Silence {silent:.0f} s."] if silent else []
    for answer in _BAR_AT_PX:
        lasted = shares(heard, answer)
        if lasted:
            said.append(f"{answer.capitalize()}: {', '.join(f'{e} {s:.0f} s' for e, s in lasted.items())}.")
    return " ".join(said) or "Nothing has been heard yet."


def shares(heard: Sequence[Heard], answer: str) -> dict[str, float]:
    """Seconds of each emotion that an answer named, and of `NOT_SURE`, the longest first."""
    lasted: dict[str, float] = {}
    for stretch in heard:
        if answer in stretch.answers:
            emotion = NOT_SURE if answer in stretch.unsure else stretch.answers[answer]
            lasted[emotion] = lasted.get(emotion, 0.0) + stretch.end_s - stretch.start_s
    return dict(sorted(lasted.items(), key=lambda item: -item[1]))


def _pattern(name: str) -> str:
    colour = ANSWER_COLOURS["personalised"]
    return (
        f"<defs><pattern id='{name}-hatch' width='5' height='5' patternUnits='userSpaceOnUse' "
        f"patternTransform='rotate(45)'><rect width='5' height='5' fill='#fff'/><rect width='3' height='5' "
        f"fill='{colour}'/></pattern></defs>"
    )


def _fill(answer: str, name: str, sure: bool = True) -> str:
    colour = ANSWER_COLOURS[answer]
    if not sure:
        return f"fill='#fff' stroke='{colour}' stroke-width='1.2'"
    inside = f"url(#{name}-hatch)" if answer == "personalised" else colour
    return f"fill='{inside}' stroke='{colour}' stroke-width='.8'"


def _silence(heard, n_lanes: int, x_of) -> list[str]:
    height = _LANE_PX * n_lanes
    return [
        f"<rect x='{x_of(start):.1f}' y='{_TOP_PX}' width='{x_of(end) - x_of(start):.1f}' height='{height}' "
        f"fill='{_SILENCE}' opacity='.45'/>"
        for start, end, silent in _runs(heard, lambda stretch: not stretch.answers)
        if silent
    ]


def _lanes(emotions) -> list[str]:
    lines = []
    for place, emotion in enumerate(emotions):
        y = _TOP_PX + place * _LANE_PX
        lines += [
            f"<line x1='{_LEFT_PX}' x2='{_WIDTH_PX - _RIGHT_PX}' y1='{y}' y2='{y}' stroke='{_GRID}'/>",
            f"<text x='{_LEFT_PX - 8}' y='{y + _LANE_PX / 2 + 4:.0f}' text-anchor='end' font-size='13' "
            f"fill='{_INK}'>{escape(emotion.capitalize())}</text>",
        ]
    return lines


def _seconds(from_s: float, to_s: float, n_lanes: int, x_of) -> list[str]:
    bottom = _TOP_PX + _LANE_PX * n_lanes
    step = next((step for step in _TICKS_S if (to_s - from_s) / step <= 12), _TICKS_S[-1])
    first = -int(-from_s // step) * step
    ticks = range(first, int(to_s) + 1, step)
    return [f"<line x1='{_LEFT_PX}' x2='{_WIDTH_PX - _RIGHT_PX}' y1='{bottom}' y2='{bottom}' stroke='{_QUIET}'/>"] + [
        f"<text x='{x_of(tick):.1f}' y='{bottom + 16}' text-anchor='middle' font-size='12' fill='{_QUIET}'>{tick} s</text>"
        for tick in ticks
    ]


def _bars(heard, answer: str, emotions, x_of, name: str) -> list[str]:
    bars = []
    for start, end, (emotion, sure) in _runs(heard, lambda one: (one.answers.get(answer), answer not in one.unsure)):
        if emotion in emotions:
            y = _TOP_PX + emotions.index(emotion) * _LANE_PX + _BAR_AT_PX[answer]
            width = max(1.5, x_of(end) - x_of(start))
            words = escape(emotion) if sure else f"{NOT_SURE} (perhaps {escape(emotion)})"
            bars.append(
                f"<rect x='{x_of(start):.1f}' y='{y}' width='{width:.1f}' height='{_BAR_PX}' {_fill(answer, name, sure)}>"
                f"<title>{answer}: {words}, {start:.1f} to {end:.1f} s</title></rect>"
            )
    return bars


def _legend(name: str) -> list[str]:
    parts, x = [], _LEFT_PX
    for words, fill in (
        ("Baseline", _fill("baseline", name)),
        ("Personalised", _fill("personalised", name)),
        ("Not sure", f"fill='#fff' stroke='{_QUIET}' stroke-width='1.2'"),
        ("Silence", f"fill='{_SILENCE}' opacity='.7'"),
    ):
        parts.append(f"<rect x='{x}' y='8' width='18' height='10' {fill}/>")
        parts.append(f"<text x='{x + 24}' y='17' font-size='13' fill='{_INK}'>{words}</text>")
        x += 40 + 8 * len(words)
    return parts


def _runs(heard, value_of) -> list[tuple[float, float, object]]:
    """Neighbours of one value joined: (start, end, value)."""
    runs = []
    for value, stretches in groupby(heard, key=value_of):
        stretches = list(stretches)
        runs.append((stretches[0].start_s, stretches[-1].end_s, value))
    return runs
