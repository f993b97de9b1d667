"""Figures of studies: UAR under every condition, method by method, with intervals."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from ser_core.figures.fairness import METHOD_LINES, Named, error_bar, legend_above, share_axis
from ser_core.figures.style import GRID, dress

DRAW = "random draw"


def study(results: pd.DataFrame, in_order: bool, named: Named = escape) -> go.Figure:
    """UAR of each method: over growing conditions as a line, else a lane a condition.

    Args:
        results: one row a method and condition (studies/base.py).
        in_order: conditions grow from left to right.
        named: what a method is called.
    """
    return _line(results, named) if in_order else _lanes(results, named)


def _line(results: pd.DataFrame, named: Named) -> go.Figure:
    figure = go.Figure()
    for number, (method, rows) in enumerate(results.groupby("method", sort=False)):
        colour, dash, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        figure.add_trace(
            go.Scatter(
                x=rows["condition"], y=rows["uar"], mode="lines+markers", name=named(method),
                line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 10, "color": colour},
                error_y=error_bar(rows["uar"], rows["uar_from"], rows["uar_to"], colour),
                hovertemplate="%{x}: %{y:.3f}<extra>" + named(method) + "</extra>",
            )
        )  # fmt: skip
    dress(figure, 420)
    share_axis(figure, "y", "UAR")
    low = max(0.0, float(results["uar_from"].min()) - 0.05)
    figure.update_yaxes(
        range=[low, min(1.0, float(results["uar_to"].max()) + 0.03)], tickvals=None, ticktext=None, tickformat=".0%"
    )
    legend_above(figure)
    return figure


def _lanes(results: pd.DataFrame, named: Named) -> go.Figure:
    """Random draws share a lane, without their intervals."""
    drawn = results["condition"].str.startswith(DRAW)
    lanes = [*dict.fromkeys(results["condition"][~drawn]), *(["random draws"] if drawn.any() else [])]
    methods = list(dict.fromkeys(results["method"]))
    figure = go.Figure()
    for number, method in enumerate(methods):
        colour, _, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        shift = 0.24 * (number - (len(methods) - 1) / 2)
        for is_draw in (False, True):
            rows = results[(results["method"] == method) & (drawn == is_draw)]
            places = [lanes.index("random draws" if is_draw else condition) + shift for condition in rows["condition"]]
            figure.add_trace(
                go.Scatter(
                    x=rows["uar"], y=places, mode="markers", name=named(method), legendgroup=method, showlegend=not is_draw,
                    marker={"symbol": symbol, "size": 6 if is_draw else 10, "color": colour, "opacity": 0.6 if is_draw else 1},
                    error_x=None if is_draw else error_bar(rows["uar"], rows["uar_from"], rows["uar_to"], colour),
                    customdata=rows[["condition"]], hovertemplate="%{customdata[0]}: %{x:.3f}<extra>" + named(method) + "</extra>",
                )
            )  # fmt: skip
    dress(figure, 46 * len(lanes) + 100)
    share_axis(figure, "x", "UAR")
    low, high = float(results["uar_from"].min()), float(results["uar_to"].max())
    figure.update_xaxes(range=[max(0.0, low - 0.04), min(1.0, high + 0.04)], tickvals=None, ticktext=None)
    figure.update_yaxes(
        tickvals=list(range(len(lanes))), ticktext=[escape(lane) for lane in lanes], range=[len(lanes) - 0.5, -0.5],
        showgrid=True, gridcolor=GRID, zeroline=False,
    )  # fmt: skip
    legend_above(figure)
    return figure
