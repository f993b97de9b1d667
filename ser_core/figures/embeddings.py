"""How a network hears utterances: its map before and after the enrolment is used, and what probes read off.

Colour never stands alone: each class has a marker symbol too.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from ser_core.figures.recognition import ANSWER_COLOURS, EMOTION_COLOURS
from ser_core.figures.style import GRID, INK, PAPER, QUIET, dress, percent
from ser_core.labels import EMOTIONS, GENDERS, OTHER, REST

STAGE_NAMES = {"before": "Before: nobody enrolled", "after": "After: enrolment used"}
_SHORT = {"before": "Before", "after": "After"}

READING_MAP = (
    "Each mark is one utterance; marks that lie close together sound alike to the network. Only who is close to whom says "
    "something: how far apart two groups lie, how large they are and where on the page says nothing, and the two maps are "
    "drawn apart from each other."
)
READING_PROBES = (
    "A bar is how often a small classifier, trained anew, guesses right from what the network made of the utterance "
    "(all classes counting alike); the black line is what guessing blindly would reach."
)

MAX_LEGEND = 24
"""With more classes (speakers) names are found by pointing at a mark."""

_MORE_EMOTIONS = {
    "calm": "#3D7A8C", "boredom": "#8A5A44", "emphatic": "#A500E1", "negative": "#C30F0F", "idle": "#8787FF",
    REST: "#767676",
}  # fmt: skip
_EMOTION_SYMBOLS = dict(zip(
    EMOTIONS,
    ("circle", "triangle-up", "square", "x", "diamond", "triangle-down", "star", "circle-open", "square-open", "cross",
     "triangle-up-open", "diamond-open", "cross-open"),
    strict=True,
))  # fmt: skip
_NOT_KNOWN = "not known"
_NO_CLASS_MARKS = {OTHER: (QUIET, "hexagon-open"), _NOT_KNOWN: (QUIET, "asterisk-open")}
_GENDER_MARKS = {"female": ("#A3487B", "circle"), "male": ("#0072B2", "square"), "unknown": ("#4B5563", "star")}
_COLOURS = (*EMOTION_COLOURS.values(), *_MORE_EMOTIONS.values())
_SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "x",
    "star",
    "triangle-down",
    "cross",
    "pentagon",
    "hexagon",
    "bowtie",
)
_STAGE_BARS = {
    "before": (ANSWER_COLOURS["baseline"], ""),
    "after": (ANSWER_COLOURS["personalised"], "/"),
}
_HALO = ", ".join(f"{x}px {y}px 1px {PAPER}" for x in (-1, 1) for y in (-1, 1))
"""Around numbers that lie on marks."""

_MAP_PX, _LEGEND_ROW_PX, _PER_LEGEND_ROW = 380, 24, 3


def map_of_stage(points: pd.DataFrame, stage: str, colour_by: str) -> go.Figure:
    """One map of one network.

    Args:
        points: of one method and fold: utterance_id, speaker, gender, emotion, text_id, stage, x, y.
        stage: 'before' or 'after'.
        colour_by: 'emotion', 'gender' or 'speaker'; the classes of both stages have the same marks.
    """
    classes = in_order(points[colour_by], colour_by)
    of_stage = points[points["stage"] == stage]
    figure = go.Figure()
    for place, name in enumerate(classes):
        figure.add_trace(
            _marks(
                of_stage[of_stage[colour_by] == name],
                name if colour_by == "speaker" else name.capitalize(),
                *_look(colour_by, name, place),
            )
        )
    n_rows = -(-len(classes) // _PER_LEGEND_ROW) if len(classes) <= MAX_LEGEND else 0
    _as_map(figure, STAGE_NAMES[stage], n_rows)
    return figure


def _as_map(figure: go.Figure, title: str, n_rows: int) -> None:
    """Bare axes of one scale, the title above, a legend of so many rows below (0 for none)."""
    dress(figure, _MAP_PX + 34 + _LEGEND_ROW_PX * n_rows)
    bare = {"visible": True, "showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "showline": True,
            "linecolor": GRID, "mirror": True}  # fmt: skip
    figure.update_xaxes(**bare)
    figure.update_yaxes(**bare, scaleanchor="x", scaleratio=1)
    figure.update_layout(
        title={"text": title, "font": {"size": 15, "color": INK}, "x": 0, "xref": "paper", "yref": "container", "y": 0.985, "yanchor": "top"},
        showlegend=n_rows > 0, margin={"l": 8, "r": 8, "t": 34, "b": 10 + _LEGEND_ROW_PX * n_rows},
        legend={"orientation": "h", "x": 0, "y": -0.02, "xanchor": "left", "yanchor": "top", "entrywidth": 0.32,
                "entrywidthmode": "fraction", "itemsizing": "constant", "font": {"size": 12}},
        hoverlabel={"bgcolor": PAPER, "font": {"color": INK}},
    )  # fmt: skip


def clusters(points: pd.DataFrame, title: str = "") -> go.Figure:
    """The clusters inside one speaker: a mark an utterance by its emotion, joined to the middle of its cluster.

    Args:
        points: of one speaker: utterance_id, speaker, gender, emotion, text_id, cluster (-1 for none), x, y.
        title: above the figure.
    """
    figure = go.Figure()
    there = points[points["cluster"] >= 0]
    middle = there.groupby("cluster")[["x", "y"]].mean()
    ends = {axis: zip(there[axis], middle[axis].reindex(there["cluster"]), strict=True) for axis in ("x", "y")}
    spokes = {axis: [value for pair in pairs for value in (*pair, None)] for axis, pairs in ends.items()}
    line = {"color": QUIET, "width": 1}
    figure.add_trace(go.Scatter(**spokes, mode="lines", line=line, opacity=0.5, hoverinfo="skip", showlegend=False))
    named = points.assign(emotion=points["emotion"].fillna(_NOT_KNOWN))
    for place, name in enumerate(classes := in_order(named["emotion"], "emotion")):
        figure.add_trace(_marks(named[named["emotion"] == name], name.capitalize(), *_look("emotion", name, place)))
    figure.add_trace(
        go.Scatter(x=middle["x"], y=middle["y"], mode="text", text=[str(number + 1) for number in middle.index],
                   textfont={"size": 15, "color": INK, "weight": "bold", "shadow": _HALO}, hoverinfo="skip", showlegend=False)
    )  # fmt: skip
    _as_map(figure, _plain(title), -(-len(classes) // _PER_LEGEND_ROW))
    return figure


def probes(table: pd.DataFrame) -> go.Figure:
    """What fresh probes read off before and after, with the chance of each.

    Args:
        table: of one method and fold: probe, stage, balanced_accuracy, low, high, chance; what is nan is not drawn.
    """
    names = list(dict.fromkeys(table["probe"]))
    figure = go.Figure()
    for stage, (colour, pattern) in _STAGE_BARS.items():
        of_stage = table[table["stage"] == stage].set_index("probe").reindex(names)
        figure.add_trace(_bars(of_stage, _SHORT[stage], colour, pattern))
    chance = table.groupby("probe")["chance"].max()
    for place, name in enumerate(names):
        if pd.notna(chance[name]):
            figure.add_shape(type="line", x0=chance[name], x1=chance[name], y0=place - 0.45, y1=place + 0.45,
                             line={"color": INK, "width": 3})  # fmt: skip
    figure.add_trace(go.Scatter(x=[None], y=[names[0] if names else None], mode="markers", name="Guessing",
                                marker={"symbol": "line-ns-open", "size": 14, "color": INK, "line": {"width": 3}}))  # fmt: skip
    dress(figure, 84 * max(1, len(names)) + 78)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    figure.update_xaxes(range=[0, 1.16], tickvals=ticks, ticktext=[percent(tick) for tick in ticks], gridcolor=GRID, zeroline=True,
                        zerolinecolor=QUIET)  # fmt: skip
    figure.update_yaxes(autorange="reversed", tickvals=names, ticktext=[name.capitalize() for name in names])
    fixed = {"itemclick": False, "itemdoubleclick": False}
    figure.update_layout(
        barmode="group", bargap=0.25, bargroupgap=0.08, margin_t=44, showlegend=True,
        legend={"orientation": "h", "x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top", **fixed},
    )  # fmt: skip
    return figure


def in_order(values: pd.Series, colour_by: str) -> list[str]:
    """The classes that occur, as they are shown everywhere: emotions and genders in their order, speakers by name."""
    known: Sequence[str] = {"emotion": EMOTIONS, "gender": GENDERS}.get(colour_by, ())
    there = set(values)
    return [name for name in known if name in there] + sorted(there - set(known))


def _look(colour_by: str, name: str, place: int) -> tuple[str, str]:
    """Colour and symbol; classes beyond the table repeat colours with other symbols."""
    emotions: Mapping[str, str] = {**EMOTION_COLOURS, **_MORE_EMOTIONS}
    if colour_by == "emotion" and name in emotions:
        return emotions[name], _EMOTION_SYMBOLS[name]
    if colour_by == "emotion" and name in _NO_CLASS_MARKS:
        return _NO_CLASS_MARKS[name]
    if colour_by == "gender" and name in _GENDER_MARKS:
        return _GENDER_MARKS[name]
    return _COLOURS[place % len(_COLOURS)], _SYMBOLS[(place + place // len(_COLOURS)) % len(_SYMBOLS)]


def _marks(points: pd.DataFrame, title: str, colour: str, symbol: str) -> go.Scatter:
    edge = {"width": 2, "color": colour} if symbol.endswith("-open") else {"width": 0.7, "color": PAPER}
    shown = points[["emotion", "speaker", "gender", "text_id", "utterance_id"]].fillna(_NOT_KNOWN).astype(str)
    return go.Scatter(
        x=points["x"], y=points["y"], mode="markers", name=_plain(title), customdata=shown.map(_plain).to_numpy(),
        marker={"color": colour, "symbol": symbol, "size": 8, "line": edge},
        hovertemplate="%{customdata[0]}, %{customdata[1]} (%{customdata[2]})<br>sentence %{customdata[3]}"
        "<br>%{customdata[4]}<extra></extra>",
    )  # fmt: skip


def _bars(of_stage: pd.DataFrame, name: str, colour: str, pattern: str) -> go.Bar:
    value = of_stage["balanced_accuracy"]
    looks = {"shape": pattern, "fillmode": "replace", "fgcolor": colour, "bgcolor": PAPER, "solidity": 0.55, "size": 7}
    return go.Bar(
        name=name, orientation="h", y=list(of_stage.index), x=value.tolist(), textposition="outside", cliponaxis=False,
        text=["not estimable" if pd.isna(one) else percent(one) for one in value],
        marker={"color": colour, "line": {"color": colour, "width": 1}, "pattern": looks if pattern else None},
        customdata=of_stage[["low", "high"]].map(_share).to_numpy(),
        hovertemplate="%{y}: %{x:.1%} (%{customdata[0]} to %{customdata[1]})<extra>" + name + "</extra>",
    )  # fmt: skip


def _share(value: float) -> str:
    return "?" if pd.isna(value) else percent(value)


def _plain(text: str) -> str:
    """plotly reads a little HTML in names; people's files may hold some."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
