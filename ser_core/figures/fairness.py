"""Whom does it serve? Figures of a Report, and how to read each in one plain sentence.

Groups differ by colour and symbol, methods by colour, dash and symbol: no figure needs its colours to be read.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go

from ser_core.evaluation.group import GroupReport
from ser_core.evaluation.report import Comparison, ModelReport, Report
from ser_core.figures.recognition import ANSWER_COLOURS
from ser_core.figures.style import GRID, INK, PAPER, QUIET, dress, empty, percent

READING = {
    "speakers": "Each line is one speaker, the worst served at the bottom: the open mark is the method compared with (usually the baseline), the filled one the "
    "other method, and a bar on a mark shows how far it may be off with so few utterances.",
    "lorenz": "If all speakers were served alike, the curve would lie on the straight line; the more it sags, the more "
    "uneven. Equally able speakers also sag a little by chance: that is the Gini's floor.",
    "gini": "The mark is how uneven the method is, the grey line how uneven equally able speakers would look by chance; only "
    "what is beyond the line says something about people.",
    "welfare": "At the left is the plain average; the further to the right, the more the worst-served speakers count. A "
    "curve that falls steeply leaves somebody behind.",
    "recall": "How often each emotion is recognised when it is spoken, group by group: marks far apart are a gap.",
    "differences": "The bar is the gap between the groups, the black line what chance alone reaches in 95 of 100 cases: a "
    "bar that stays below its line is no evidence of unfairness, and of twenty bars one passes it by chance.",
    "confusion": "Rows are what was spoken, columns what was answered; a row adds up to 100 %.",
    "change": "Each bar is one speaker: how many points of recall they win or lose against the baseline. Bars to the left "
    "are people who would be better off without it.",
}

_GROUP_MARKS = (
    ("#A3487B", "circle"), ("#0072B2", "square"), ("#9A6700", "diamond"), ("#00735A", "triangle-up"), ("#6F42A0", "cross"),
    ("#B23A00", "x"), ("#4B5563", "star"), ("#0E7490", "triangle-down"), ("#7A3E00", "pentagon"), ("#8A1C4A", "hexagon"),
    ("#2F6B1F", "bowtie"), ("#111827", "hourglass"),
)  # fmt: skip
_GENDER_PLACE = {"female": 0, "male": 1, "unknown": 6}
METHOD_LINES = (
    (ANSWER_COLOURS["baseline"], "solid", "circle"), (ANSWER_COLOURS["personalised"], "dash", "diamond"),
    ("#00735A", "dot", "square"), ("#6F42A0", "dashdot", "triangle-up"), ("#9A6700", "longdash", "cross"),
    ("#A3487B", "longdashdot", "x"), ("#374151", "solid", "star"),
)  # fmt: skip
_HATCHES = ("", "/", "\\", "x", "-", "|", "+")
Named = Callable[[str], str]
"""What a method is called, safe for plotly, which reads some HTML."""

WORSE, BETTER = "#B23A00", "#0072B2"
_LANE_PX, _SMALL_LANE_PX, _MANY = 24, 15, 40


def speakers(
    report: Report,
    first: str,
    second: str | None,
    group_of: Mapping[str, str],
    human: float | None = None,
    named: Named = escape,
) -> go.Figure:
    """UAR of each speaker with intervals, sorted by the first method; the second joined to it by a line.

    Args:
        report: of both methods.
        first: usually the baseline.
        second: the other; None draws the first alone.
        group_of: group (gender) of each speaker.
        human: UAR of human listeners, where it is known.
    """
    one, other = report.models[first], report.models[second] if second else None
    names = sorted(one.speaker_uar, key=one.speaker_uar.get)
    place = {name: number for number, name in enumerate(names)}
    figure = go.Figure()
    if other:
        figure.add_trace(_joining_lines(names, one, other))
    for group in sorted({group_of.get(name, "unknown") for name in names}):
        of_group = [name for name in names if group_of.get(name, "unknown") == group]
        for model, method, filled in ((one, first, other is None), (other, second, True)):
            if model:
                figure.add_trace(
                    _speaker_marks(
                        of_group, place, model, f"{named(method)}, {escape(group)}", group, filled, bool(other)
                    )
                )
    small = len(names) > _MANY
    dress(figure, (_SMALL_LANE_PX if small else _LANE_PX) * len(names) + 110)
    share_axis(figure, "x", "UAR")
    figure.update_yaxes(
        tickvals=list(place.values()), ticktext=[escape(name) for name in names], range=[-0.8, len(names) - 0.2], autorange=False,
        tickfont_size=10 if small else 13, showgrid=True, gridcolor=GRID, zeroline=False,
    )  # fmt: skip
    if human is not None:
        figure.add_vline(x=human, line={"color": INK, "dash": "dot", "width": 1.5}, annotation_text="human listeners")
    legend_above(figure)
    return figure


def lorenz(report: Report, methods: Sequence[str], named: Named = escape) -> go.Figure:
    """Share of all UAR that the worst-served share of speakers has."""
    figure = go.Figure(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", name="all alike", line={"color": QUIET, "width": 1}, hoverinfo="skip"
        )
    )
    for number, method in enumerate(methods):
        model, name = report.models[method], named(method)
        colour, dash, _ = METHOD_LINES[number % len(METHOD_LINES)]
        figure.add_trace(
            go.Scatter(
                x=model.lorenz["speakers"], y=model.lorenz["uar"], mode="lines", line={"color": colour, "dash": dash, "width": 2.5},
                name=f"{name} (Gini {_three(model.gini)})",
                hovertemplate="the worst-served %{x:.0%} have %{y:.1%} of all UAR<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    dress(figure, 420)
    share_axis(figure, "x", "share of speakers, the worst served first")
    share_axis(figure, "y", "share of all UAR")
    legend_above(figure)
    return figure


def ginis(report: Report, methods: Sequence[str], named: Named = escape) -> go.Figure:
    """Gini of each method with its interval, and its floor as a line."""
    figure = go.Figure()
    for number, method in enumerate(methods):
        model, name = report.models[method], named(method)
        colour, _, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        low, high = model.gini_interval
        figure.add_trace(
            go.Scatter(
                x=[model.gini], y=[name], mode="markers", name=name, showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": 12},
                error_x=error_bar([model.gini], [low], [high], colour),
                hovertemplate=f"{name}: Gini {_three(model.gini)} ({_three(low)} to {_three(high)}), floor "
                f"{_three(model.gini_floor)}<extra></extra>",
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=[model.gini_floor], y=[name], mode="markers", name="floor: equally able speakers", showlegend=number == 0,
                marker={"symbol": "line-ns-open", "size": 22, "color": QUIET, "line": {"width": 3}}, hoverinfo="skip",
            )
        )  # fmt: skip
    dress(figure, 46 * len(methods) + 100)
    figure.update_xaxes(title="Gini over speakers (0: all alike)", rangemode="tozero", title_font_color=QUIET)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    legend_above(figure)
    return figure


def welfare(report: Report, methods: Sequence[str], named: Named = escape) -> go.Figure:
    """Isoelastic welfare over the aversion to inequality."""
    figure = go.Figure()
    for number, method in enumerate(methods):
        curve, name = report.models[method].welfare_curve, named(method)
        colour, dash, _ = METHOD_LINES[number % len(METHOD_LINES)]
        figure.add_trace(
            go.Scatter(
                x=[float(alpha) for alpha in curve], y=list(curve.values()), mode="lines", name=name,
                line={"color": colour, "dash": dash, "width": 2.5}, hovertemplate="α %{x:g}: %{y:.3f}<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    dress(figure, 380)
    figure.update_xaxes(title="α: how much the worst served count", title_font_color=QUIET, gridcolor=GRID)
    share_axis(figure, "y", "welfare (UAR)")
    legend_above(figure)
    return figure


def recall_by_group(groups: GroupReport, emotions: Sequence[str]) -> go.Figure:
    """Recall of each class, a mark a group."""
    if not groups.recall:
        return empty("Not estimable: no two groups are large enough")
    figure = go.Figure()
    for number, (of, recall) in enumerate(groups.recall.items()):
        (colour, symbol), group = _group_mark(of, number), escape(of)
        figure.add_trace(
            go.Scatter(
                x=[recall.get(emotion) for emotion in emotions], y=[emotion.capitalize() for emotion in emotions], mode="markers",
                name=f"{group} ({groups.n_speakers[of]} speakers)", marker={"color": colour, "symbol": symbol, "size": 12},
                hovertemplate="%{y}, " + group + ": %{x:.1%}<extra></extra>",
            )
        )  # fmt: skip
    dress(figure, 44 * len(emotions) + 110)
    share_axis(figure, "x", "recall")
    figure.update_yaxes(autorange="reversed", automargin=True, gridcolor=GRID, showgrid=True)
    legend_above(figure)
    return figure


def differences(
    models: Mapping[str, GroupReport], kind: str, emotions: Sequence[str], named: Named = escape
) -> go.Figure:
    """Gap between groups for each class and method, with what chance reaches.

    Args:
        models: the groups' report of each method.
        kind: 'delta_sp' or 'delta_eo'.
        emotions: the order.
    """
    values = [value for groups in models.values() for value in getattr(groups, kind).values()]
    if not values or all(np.isnan(values)):
        return empty("Not estimable: no two groups are large enough")
    figure = go.Figure()
    classes = [emotion.capitalize() for emotion in emotions]
    for number, (method, groups) in enumerate(models.items()):
        name = named(method)
        colour, _, _ = METHOD_LINES[number % len(METHOD_LINES)]
        gap, band = getattr(groups, kind), getattr(groups, f"{kind}_band")
        figure.add_trace(
            go.Bar(
                x=classes, y=[gap.get(emotion) for emotion in emotions], name=name, offsetgroup=name,
                marker={"color": colour, "pattern": _pattern(number, colour), "line": {"color": colour, "width": 1}},
                hovertemplate="%{x}: %{y:.3f}<extra>" + name + "</extra>",
            )
        )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=classes, y=[band.get(emotion) for emotion in emotions], mode="markers", offsetgroup=name,
                name="what chance reaches (95 %)", showlegend=number == 0, legendgroup="band",
                marker={"symbol": "line-ew-open", "size": 16, "color": INK, "line": {"width": 3}},
                hovertemplate="chance reaches %{y:.3f}<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    dress(figure, 400)
    figure.update_layout(barmode="group", scattermode="group", bargap=0.25)
    share_axis(figure, "y", {"delta_sp": "ΔSP", "delta_eo": "ΔEO"}[kind], top=None)
    figure.update_xaxes(tickangle=-30, automargin=True)
    legend_above(figure)
    return figure


def confusion(counts: Sequence[Sequence[float]], emotions: Sequence[str]) -> go.Figure:
    """Truth by answer; rows are shares of what was spoken.

    Args:
        counts: (C, C), truth by prediction.
        emotions: C.
    """
    table = np.asarray(counts, dtype=float)
    if table.size == 0 or table.sum() == 0:
        return empty("No utterances")
    spoken = table.sum(axis=1, keepdims=True)
    share = np.divide(table, spoken, out=np.full(table.shape, np.nan), where=spoken > 0)
    named = [emotion.capitalize() for emotion in emotions]
    words = [["" if np.isnan(value) else f"{100 * value:.0f}" for value in row] for row in share]
    figure = go.Figure(
        go.Heatmap(
            z=share, x=named, y=[f"{name} ({n:g})" for name, n in zip(named, np.round(spoken[:, 0], 1), strict=True)],
            text=words, texttemplate="%{text}", zmin=0, zmax=1, colorscale=[[0, "#FFFFFF"], [1, "#00568A"]], showscale=False,
            hovertemplate="%{y} answered as %{x}: %{z:.1%}<extra></extra>", xgap=1, ygap=1,
        )
    )  # fmt: skip
    dress(figure, 40 * len(emotions) + 110)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(side="top", tickangle=-30, automargin=True)
    figure.update_layout(margin_t=40)
    return figure


def change(comparison: Comparison, named: Named = escape) -> go.Figure:
    """Change of each speaker's UAR against the other method, sorted."""
    names = sorted(comparison.change, key=comparison.change.get)
    points = [100 * comparison.change[name] for name in names]
    worse = [value < 0 for value in points]
    figure = go.Figure(
        go.Bar(
            x=points, y=names, orientation="h",
            marker={"color": [WORSE if bad else BETTER for bad in worse],
                    "line": {"color": [WORSE if bad else BETTER for bad in worse], "width": 1},
                    "pattern": {"shape": ["/" if bad else "" for bad in worse], "fillmode": "replace", "bgcolor": PAPER, "size": 7}},
            text=[f"{value:+.1f}" for value in points], textposition="outside", cliponaxis=False,
            customdata=[[name] for name in names], hovertemplate="%{y}: %{x:+.1f} points<extra></extra>",
        )
    )  # fmt: skip
    small = len(names) > _MANY
    dress(figure, (_SMALL_LANE_PX if small else _LANE_PX) * len(names) + 90)
    least, most = min([-1, *points]), max([1, *points])
    room = 0.35 * (most - least)  # for the numbers, on a narrow window too
    figure.update_xaxes(title=f"points of UAR<br>against {named(comparison.against)}", title_font_size=13,
                        range=[least - room, most + room], gridcolor=GRID,
                        zeroline=True, zerolinecolor=INK, title_font_color=QUIET)  # fmt: skip
    figure.update_yaxes(
        type="category",
        tickvals=names,
        ticktext=[escape(name) for name in names],
        tickfont_size=10 if small else 13,
        automargin=True,
    )
    return figure


def _joining_lines(names: Sequence[str], one: ModelReport, other: ModelReport) -> go.Scatter:
    x, y = [], []
    for number, name in enumerate(names):
        x += [one.speaker_uar[name], other.speaker_uar[name], None]
        y += [number, number, None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": "#9CA3AF", "width": 2}, hoverinfo="skip", showlegend=False)


def _speaker_marks(names, place, model: ModelReport, words: str, group: str, filled: bool, two: bool) -> go.Scatter:
    colour, symbol = _group_mark(group, 0)
    values = [model.speaker_uar[name] for name in names]
    low, high = zip(*(model.speaker_uar_interval[name] for name in names), strict=True) if names else ((), ())
    shift = (0.16 if filled else -0.16) if two else 0.0
    return go.Scatter(
        x=values, y=[place[name] + shift for name in names], mode="markers", name=words,
        marker={"color": colour, "symbol": symbol if filled else f"{symbol}-open", "size": 9, "line": {"width": 2, "color": colour}},
        error_x=error_bar(values, low, high, colour, thin=True),
        customdata=[[name, *bounds] for name, bounds in zip(names, zip(low, high, strict=True), strict=True)],
        hovertemplate="%{customdata[0]}: %{x:.3f} (%{customdata[1]:.2f} to %{customdata[2]:.2f})<extra>" + words + "</extra>",
    )  # fmt: skip


def error_bar(values, low, high, colour: str, thin: bool = False) -> dict:
    """From a value to both ends of its interval, as plotly wants it."""
    above = [max(0.0, top - value) for value, top in zip(values, high, strict=True)]
    below = [max(0.0, value - bottom) for value, bottom in zip(values, low, strict=True)]
    return {
        "type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour,
        "thickness": 0.8 if thin else 1.5, "width": 0 if thin else 5,
    }  # fmt: skip


def _group_mark(group: str, number: int) -> tuple[str, str]:
    return _GROUP_MARKS[_GENDER_PLACE.get(group, number) % len(_GROUP_MARKS)]


def _pattern(number: int, colour: str) -> dict | None:
    shape = _HATCHES[number % len(_HATCHES)]
    return (
        {"shape": shape, "fillmode": "replace", "fgcolor": colour, "bgcolor": PAPER, "size": 6, "solidity": 0.5}
        if shape
        else None
    )


def share_axis(figure: go.Figure, axis: str, title: str, top: float | None = 1.0) -> None:
    """An axis from 0, of shares up to 1 unless `top` is None."""
    settings = {
        "title": title, "title_font_color": QUIET, "gridcolor": GRID, "zeroline": True, "zerolinecolor": QUIET,
        "tickformat": ".0%" if top else ".2f", "rangemode": "tozero",
    }  # fmt: skip
    if top:
        settings |= {
            "range": [0, top + 0.02],
            "tickvals": [0, 0.25, 0.5, 0.75, 1.0],
            "ticktext": [percent(t / 4) for t in range(5)],
        }
    (figure.update_xaxes if axis == "x" else figure.update_yaxes)(**settings)


def legend_above(figure: go.Figure) -> None:
    """Names of what is drawn, above it."""
    figure.update_layout(
        showlegend=True, margin_t=16,
        legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom", "font_size": 12,
                "itemclick": False, "itemdoubleclick": False},
    )  # fmt: skip


def _three(value: float) -> str:
    return "not estimable" if np.isnan(value) else f"{value:.3f}"
