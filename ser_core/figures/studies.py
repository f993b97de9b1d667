"""Figures of studies: what every condition changes for a speaker, method by method, with intervals."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from ser_core.figures.fairness import METHOD_LINES, Named, error_bar, legend_above
from ser_core.figures.style import GRID, INK, QUIET, dress, empty

DRAW = "random draw"


def study(results: pd.DataFrame, in_order: bool, named: Named = escape) -> go.Figure:
    """Points of UAR that a speaker gains against nobody enrolled: over growing conditions as a line, else a lane a condition.

    Methods that use no enrolment are left out: nothing changes for them.

    Args:
        results: one row a method and condition: change, change_from, change_to (studies/base.py).
        in_order: conditions grow from left to right.
        named: what a method is called.
    """
    changes = results.groupby("method", sort=False)["change"].transform(lambda change: change.abs().max()) > 0
    points = results[changes].copy()
    points[["change", "change_from", "change_to"]] *= 100
    if points.empty:
        return empty("The enrolment changes nothing")
    figure = _line(points, named) if in_order else _lanes(points, named)
    dress(figure, figure.layout.height)
    axis = figure.update_yaxes if in_order else figure.update_xaxes
    axis(title=AXIS, title_font_color=QUIET, gridcolor=GRID, zeroline=True, zerolinecolor=INK, rangemode="tozero")
    legend_above(figure)
    return figure


AXIS = "points of UAR gained against nobody enrolled"


def _line(points: pd.DataFrame, named: Named) -> go.Figure:
    figure = go.Figure()
    for number, (method, rows) in enumerate(points.groupby("method", sort=False), start=1):
        colour, dash, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        figure.add_trace(
            go.Scatter(
                x=rows["condition"], y=rows["change"], mode="lines+markers", name=named(method),
                line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 10, "color": colour},
                error_y=error_bar(rows["change"], rows["change_from"], rows["change_to"], colour),
                hovertemplate="%{x}: %{y:+.1f} points<extra>" + named(method) + "</extra>",
            )
        )  # fmt: skip
    figure.update_layout(height=420)
    return figure


def _lanes(points: pd.DataFrame, named: Named) -> go.Figure:
    """Random draws share a lane, without their intervals."""
    drawn = points["condition"].str.startswith(DRAW)
    lanes = [*dict.fromkeys(points["condition"][~drawn]), *(["random draws"] if drawn.any() else [])]
    methods = list(dict.fromkeys(points["method"]))
    figure = go.Figure()
    for number, method in enumerate(methods):
        colour, _, symbol = METHOD_LINES[(number + 1) % len(METHOD_LINES)]
        shift = 0.24 * (number - (len(methods) - 1) / 2)
        for is_draw in (False, True):
            rows = points[(points["method"] == method) & (drawn == is_draw)]
            places = [lanes.index("random draws" if is_draw else condition) + shift for condition in rows["condition"]]
            figure.add_trace(
                go.Scatter(
                    x=rows["change"], y=places, mode="markers", name=named(method), legendgroup=method, showlegend=not is_draw,
                    marker={"symbol": symbol, "size": 6 if is_draw else 10, "color": colour, "opacity": 0.6 if is_draw else 1},
                    error_x=None if is_draw else error_bar(rows["change"], rows["change_from"], rows["change_to"], colour),
                    customdata=rows[["condition"]],
                    hovertemplate="%{customdata[0]}: %{x:+.1f} points<extra>" + named(method) + "</extra>",
                )
            )  # fmt: skip
    figure.update_layout(height=46 * len(lanes) + 100)
    figure.update_yaxes(
        tickvals=list(range(len(lanes))), ticktext=[escape(lane) for lane in lanes], range=[len(lanes) - 0.5, -0.5],
        showgrid=True, gridcolor=GRID, zeroline=False,
    )  # fmt: skip
    return figure
