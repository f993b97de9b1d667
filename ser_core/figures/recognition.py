"""What was heard in one utterance: two answers on one scale, and which enrolled recordings counted.

Colours follow Okabe and Ito (https://jfly.uni-koeln.de/color/), darkened where they would not stand out (3:1) against
both white and a dark page. Colour never stands alone: answers differ by pattern, emotions by name.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

ANSWER_COLOURS = {"baseline": "#0072B2", "personalised": "#D55E00"}
ANSWER_PATTERNS = {"baseline": "", "personalised": "/"}
EMOTION_COLOURS = {
    "neutral": "#7A7A7A",
    "happiness": "#BD8400",
    "sadness": "#0072B2",
    "anger": "#D55E00",
    "fear": "#8C5FC4",
    "disgust": "#009E73",
    "surprise": "#C9699E",
}

_INK, _QUIET, _GRID, _PAPER = "#1F2937", "#4B5563", "#E5E7EB", "#FFFFFF"
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14, "color": _INK}
_ROOM_FOR_NUMBERS = 1.14
_TICKS = [0.0, 0.25, 0.5, 0.75, 1.0]
_BAR_PX, _ANSWER_PX = 34, 52


def two_answers(
    emotions: Sequence[str], baseline: Mapping[str, float], personalised: Mapping[str, float] | None = None
) -> go.Figure:
    """Grouped bars, one group an emotion, from top to bottom in the order given, on a scale from 0 to 1.

    Args:
        emotions: the order.
        baseline: probability of each emotion, for everybody.
        personalised: the same for the enrolled speaker; None where nobody is enrolled.
    """
    figure = go.Figure()
    for answer, probabilities in (("baseline", baseline), ("personalised", personalised)):
        if probabilities is not None:
            figure.add_trace(_bars(answer, emotions, probabilities))
    height = _ANSWER_PX * len(emotions) + 70
    _dress(figure, height)
    figure.update_layout(barmode="group", bargap=0.28, bargroupgap=0.08, showlegend=True)
    fixed = {"itemclick": False, "itemdoubleclick": False}
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom", **fixed})
    return figure


def attention(clips: Sequence[str], emotions: Sequence[str], weights: Sequence[float]) -> go.Figure:
    """Bars of how much each enrolled recording counted, from 0 to 1.

    Args:
        clips: what each is called, (K).
        emotions: of each, for its colour, (K).
        weights: of each, summing to one, (K).
    """
    names = [f"{place}. {clip}" for place, clip in enumerate(clips, 1)]  # two may have one name
    colours = [EMOTION_COLOURS.get(emotion, _QUIET) for emotion in emotions]
    bars = go.Bar(
        orientation="h", y=names, x=list(weights), marker_color=colours, showlegend=False,
        text=[percent(weight) for weight in weights], textposition="outside", cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    _dress(figure, _BAR_PX * len(names) + 40)
    figure.update_yaxes(ticktext=list(clips), tickvals=names)
    figure.update_layout(bargap=0.35)
    return figure


def empty(words: str, height: int = 200) -> go.Figure:
    """A figure that says what to do to see something."""
    figure = go.Figure()
    figure.add_annotation(text=words, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_color=_QUIET)
    _dress(figure, height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_layout(margin_b=8)
    return figure


def percent(probability: float) -> str:
    """A probability as people read it.

    >>> percent(0.624), percent(0.004), percent(0.0)
    ('62\xa0%', '0.4\xa0%', '0\xa0%')
    """
    places = 1 if 0.0005 <= probability < 0.01 else 0
    return f"{100 * probability:.{places}f}\N{NO-BREAK SPACE}%"


def _bars(answer: str, emotions: Sequence[str], probabilities: Mapping[str, float]) -> go.Bar:
    values = [probabilities[emotion] for emotion in emotions]
    return go.Bar(
        name=answer.capitalize(), orientation="h", y=[emotion.capitalize() for emotion in emotions], x=values,
        text=[percent(value) for value in values], textposition="outside", cliponaxis=False,
        marker={
            "color": ANSWER_COLOURS[answer], "line": {"color": ANSWER_COLOURS[answer], "width": 1},
            "pattern": {"shape": ANSWER_PATTERNS[answer], "fillmode": "replace", "fgcolor": ANSWER_COLOURS[answer],
                         "bgcolor": _PAPER, "solidity": 0.55, "size": 7} if ANSWER_PATTERNS[answer] else None,
        },
        hovertemplate="%{y}, " + answer + ": %{x:.1%}<extra></extra>",
    )  # fmt: skip


def _dress(figure: go.Figure, height: int) -> None:
    """White in light and dark pages alike: the colours were chosen against it."""
    figure.update_layout(
        template="none", height=height, font=_FONT, paper_bgcolor=_PAPER, plot_bgcolor=_PAPER, dragmode=False,
        margin={"l": 8, "r": 8, "t": 8, "b": 34}, uirevision="keep", modebar={"remove": _MODEBAR},
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, _ROOM_FOR_NUMBERS], tickvals=_TICKS, ticktext=[percent(tick) for tick in _TICKS], gridcolor=_GRID,
        zeroline=True, zerolinecolor=_QUIET, fixedrange=True, tickfont_color=_QUIET,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, fixedrange=True, ticks="outside", ticklen=6,
                        tickcolor=_PAPER)  # fmt: skip


_MODEBAR = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale", "toImage"]
