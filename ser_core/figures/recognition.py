"""What was heard in one utterance: its answers on one scale, and how they depend on loudness.

Colours follow Okabe and Ito (https://jfly.uni-koeln.de/color/), darkened where they would not stand out (3:1) against
both white and a dark page. Colour never stands alone: answers differ by pattern, emotions by name.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from ser_core.data.circumplex import PAD
from ser_core.figures.style import GRID, PAPER, QUIET, dress, percent

ANSWER_COLOURS = {"baseline": "#0072B2", "calibrated": "#009E73", "personalised": "#D55E00"}
ANSWER_PATTERNS = {"baseline": "", "calibrated": "x", "personalised": "/"}
_LINES = {"baseline": ("solid", "circle"), "personalised": ("dash", "diamond")}
EMOTION_COLOURS = {
    "neutral": "#7A7A7A",
    "happiness": "#BD8400",
    "sadness": "#0072B2",
    "anger": "#D55E00",
    "fear": "#8C5FC4",
    "disgust": "#009E73",
    "surprise": "#C9699E",
}

_ROOM_FOR_NUMBERS = 1.14
_TICKS = [0.0, 0.25, 0.5, 0.75, 1.0]
_EMOTION_PX, _MORE_PX = 52, 16
"""Height of an emotion with two bars, and of each further one."""


def answers(emotions: Sequence[str], said: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Grouped bars, one group an emotion, from top to bottom in the order given, on a scale from 0 to 1.

    Args:
        emotions: the order.
        said: by answer ('baseline', 'calibrated', 'personalised'), those there are, the probability of each emotion.
    """
    figure = go.Figure([_bars(answer, emotions, probabilities) for answer, probabilities in said.items()])
    _dress(figure, (_EMOTION_PX + _MORE_PX * max(0, len(said) - 2)) * len(emotions) + 70)
    figure.update_layout(barmode="group", bargap=0.28, bargroupgap=0.08, showlegend=True)
    fixed = {"itemclick": False, "itemdoubleclick": False}
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom", **fixed})
    return figure


def levels(
    gains_db: Sequence[float], lines: Mapping[str, Sequence[float | None]], named: Mapping[str, str]
) -> go.Figure:
    """How sure each answer stays of its emotion when the same words come in louder or quieter.

    Args:
        gains_db: how much louder, (M,).
        lines: by answer ('baseline', 'personalised'), the probability of its emotion at each, (M); None where nothing is
            heard.
        named: by answer, the emotion it named at the loudness that was recorded.
    """
    figure = go.Figure()
    for answer, probabilities in lines.items():
        dash, symbol = _LINES[answer]
        figure.add_trace(
            go.Scatter(
                name=f"{answer.capitalize()}: {named[answer]}", x=list(gains_db), y=list(probabilities),
                mode="lines+markers", line={"color": ANSWER_COLOURS[answer], "dash": dash, "width": 2.5},
                marker={"symbol": symbol, "size": 8}, hovertemplate="%{x:+d} dB: %{y:.1%}<extra>" + answer + "</extra>",
            )
        )  # fmt: skip
    _dress(figure, 260)
    figure.update_layout(showlegend=True, margin_b=48)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"})
    figure.update_yaxes(range=[0, 1.05], tickvals=_TICKS, ticktext=[percent(tick) for tick in _TICKS], autorange=False,
                        gridcolor=GRID)  # fmt: skip
    figure.update_xaxes(range=[min(gains_db) - 2, max(gains_db) + 2], tickvals=list(gains_db)[::2], title="Loudness against the recording, dB",
                        ticktext=[f"{gain:+d}" for gain in gains_db[::2]])  # fmt: skip
    return figure


def plane(attributes: Mapping[str, Mapping[str, float]], scale: tuple[float, float], landmarks: bool) -> go.Figure:
    """Where answers lie between unpleasant and pleasant, calm and excited.

    Args:
        attributes: by answer ('baseline', 'personalised'), arousal and valence.
        scale: lowest and highest value.
        landmarks: name the places where the emotions lie in the circumplex.
    """
    low, high = scale
    middle, reach = (low + high) / 2, (high - low) / 2
    figure = go.Figure()
    figure.add_hline(y=middle, line={"color": GRID, "width": 1.5})
    figure.add_vline(x=middle, line={"color": GRID, "width": 1.5})
    for emotion, colour in EMOTION_COLOURS.items() if landmarks else ():
        arousal, valence, _ = PAD[emotion]
        figure.add_annotation(
            x=middle + reach * valence, y=middle + reach * arousal, text=emotion.capitalize(), showarrow=False,
            font={"color": colour, "size": 12}, xanchor={"fear": "right", "anger": "left"}.get(emotion, "center"),
        )  # fmt: skip
    for answer, values in attributes.items():
        _, symbol = _LINES[answer]
        figure.add_trace(
            go.Scatter(
                name=answer.capitalize(), x=[values["valence"]], y=[values["arousal"]], mode="markers",
                marker={"color": ANSWER_COLOURS[answer], "symbol": symbol, "size": 15, "line": {"color": PAPER, "width": 1.5}},
                hovertemplate="valence %{x:.1f}, arousal %{y:.1f}<extra>" + answer + "</extra>",
            )
        )  # fmt: skip
    dress(figure, 340)
    axis = {"range": [low - 0.04 * reach, high + 0.04 * reach], "zeroline": False, "gridcolor": GRID, "showgrid": False}
    figure.update_xaxes(**axis, title=f"Valence: unpleasant {low:g} to pleasant {high:g}")
    figure.update_yaxes(**axis, title=f"Arousal: calm {low:g} to excited {high:g}")
    figure.update_xaxes(title_font_size=13)
    figure.update_yaxes(title_font_size=13)
    figure.update_layout(showlegend=True, margin_b=52)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"})
    return figure


def _bars(answer: str, emotions: Sequence[str], probabilities: Mapping[str, float]) -> go.Bar:
    values = [probabilities[emotion] for emotion in emotions]
    return go.Bar(
        name=answer.capitalize(), orientation="h", y=[emotion.capitalize() for emotion in emotions], x=values,
        text=[percent(value) for value in values], textposition="outside", cliponaxis=False,
        marker={
            "color": ANSWER_COLOURS[answer], "line": {"color": ANSWER_COLOURS[answer], "width": 1},
            "pattern": {"shape": ANSWER_PATTERNS[answer], "fillmode": "replace", "fgcolor": ANSWER_COLOURS[answer],
                         "bgcolor": PAPER, "solidity": 0.55, "size": 7} if ANSWER_PATTERNS[answer] else None,
        },
        hovertemplate="%{y}, " + answer + ": %{x:.1%}<extra></extra>",
    )  # fmt: skip


def _dress(figure: go.Figure, height: int) -> None:
    """An axis of probability, emotions from top to bottom."""
    dress(figure, height)
    figure.update_xaxes(
        range=[0, _ROOM_FOR_NUMBERS], tickvals=_TICKS, ticktext=[percent(tick) for tick in _TICKS], gridcolor=GRID,
        zeroline=True, zerolinecolor=QUIET, fixedrange=True, tickfont_color=QUIET,
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
