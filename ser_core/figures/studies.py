"""Figures of studies, method by method, with intervals: what a condition changes, what depends on what, what more speakers bring."""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ser_core.figures.embeddings import clusters
from ser_core.figures.fairness import METHOD_LINES, Named, error_bar, legend_above
from ser_core.figures.style import GRID, INK, QUIET, dress, empty, percent

DRAW = "random draw"


def changes(results: pd.DataFrame, in_order: bool, named: Named = escape) -> go.Figure:
    """Points of UAR that a speaker gains against nobody enrolled: over growing conditions as a line, else a lane a condition.

    Methods that use no enrolment are left out: nothing changes for them.

    Args:
        results: one row a method and condition: change, change_from, change_to (studies/conditions.py).
        in_order: conditions grow from left to right.
        named: what a method is called.
    """
    changes = results.groupby("method", sort=False)["change"].transform(lambda change: change.abs().max()) > 0
    points = results[changes].copy()
    points[["change", "change_from", "change_to"]] *= 100
    if points.empty:
        return empty("The enrolment changes nothing")
    figure = _lines(points, "condition", "change", named, first=1) if in_order else _lanes(points, named)
    dress(figure, figure.layout.height)
    _points_axis(figure, "y" if in_order else "x", AXIS)
    legend_above(figure)
    return figure


AXIS = "points of UAR gained against nobody enrolled"


def gaps(results: pd.DataFrame, named: Named = escape) -> go.Figure:
    """The personalisation gap over the number of training speakers, a line a method.

    Args:
        results: one row a method and number of speakers: n_train, gap, gap_from, gap_to (studies/speaker_count.py).
        named: what a method is called.
    """
    points = results.copy()
    points[["gap", "gap_from", "gap_to"]] *= 100
    figure = _lines(points, "n_train", "gap", named)
    dress(figure, figure.layout.height)
    _points_axis(figure, "y", "personalisation gap, points of UAR")
    sizes = sorted(set(results["n_train"]))
    figure.update_xaxes(title="training speakers", title_font_color=QUIET, tickvals=sizes, zeroline=False)
    legend_above(figure)
    return figure


def label_curves(results: pd.DataFrame, named: Named = escape) -> go.Figure:
    """UAR over the share of labels, a line a method.

    Args:
        results: one row a method and share: labels, n_labels, uar, uar_from, uar_to (studies/label_budget.py).
        named: what a method is called.
    """
    points = results.sort_values("labels", kind="stable").copy()
    points[["uar", "uar_from", "uar_to"]] *= 100
    n_labels = points.groupby("labels")["n_labels"].first()
    points["budget"] = [f"{percent(labels)} ({n_labels[labels]:.0f})" for labels in points["labels"]]
    figure = _lines(points, "budget", "uar", named, unit="%{y:.1f} %")
    dress(figure, figure.layout.height)
    figure.update_yaxes(title="UAR, per cent", title_font_color=QUIET, gridcolor=GRID, zeroline=False)
    figure.update_xaxes(title="training utterances with a label", title_font_color=QUIET, zeroline=False)
    legend_above(figure)
    return figure


def clusters_and_gains(shown: pd.DataFrame, speakers: pd.DataFrame, named: Named = escape) -> go.Figure:
    """One speaker's clusters, and over all speakers their purity against what is gained.

    Args:
        shown: of one speaker, as figures.embeddings.clusters takes it.
        speakers: one row a speaker: purity, and for each method 'gain, METHOD' (studies/clusters.py).
        named: what a method is called.
    """
    figure = make_subplots(
        cols=2, horizontal_spacing=0.12, subplot_titles=(escape(str(shown["speaker"].iloc[0])), "All speakers")
    )
    for trace in clusters(shown).data:
        figure.add_trace(trace.update(legend="legend2"), row=1, col=1)
    words = {"purity": "purity of the clusters by emotion", "gain": "UAR gained"}
    for number, column in enumerate([name for name in speakers if name.startswith("gain, ")], start=1):
        method = named(column.removeprefix("gain, "))
        marks = _speakers(speakers.rename(columns={column: "gain"}), "purity", "gain", words, method, number)
        figure.add_trace(marks, row=1, col=2)
    dress(figure, 520)
    bare = {
        "showticklabels": False,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
        "showline": True,
        "linecolor": GRID,
        "mirror": True,
    }
    figure.update_xaxes(**bare, col=1)
    figure.update_yaxes(**bare, scaleanchor="x", scaleratio=1, col=1)
    figure.update_xaxes(title=_small(words["purity"]), gridcolor=GRID, zeroline=False, col=2)
    figure.update_yaxes(title=_small(words["gain"]), gridcolor=GRID, zeroline=True, zerolinecolor=INK, col=2)
    for number, words in enumerate(figure.layout.annotations):
        words.update(x=(0.0, 0.56)[number], xanchor="left", font={"size": 15, "color": INK})
    figure.update_layout(
        margin={"t": 72, "b": 130}, showlegend=True,
        legend={"orientation": "h", "x": 0.56, "y": 1.09, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}},
        legend2={"orientation": "h", "x": 0, "y": -0.22, "xanchor": "left", "yanchor": "top", "font": {"size": 12},
                 "entrywidth": 0.13, "entrywidthmode": "fraction"},
    )  # fmt: skip
    return figure


def _small(title: str) -> dict:
    return {"text": title, "standoff": 6, "font": {"size": 13, "color": QUIET}}


def shifts(
    speakers: pd.DataFrame, panels: Sequence[tuple[str, str]], words: Mapping[str, str], named: Named = escape
) -> go.Figure:
    """Performance against shift: a panel a pair, a mark a speaker and method.

    Args:
        speakers: one row a method and speaker (studies/label_shift.py).
        panels: columns on x and on y; those whose columns are not there are left out.
        words: what a column is called.
        named: what a method is called.
    """
    shown = [pair for pair in panels if set(pair) <= set(speakers)]
    figure = make_subplots(cols=len(shown), horizontal_spacing=0.12)
    for number, (method, rows) in enumerate(speakers.groupby("method", sort=False)):
        for column, (x, y) in enumerate(shown, start=1):
            marks = _speakers(rows, x, y, words, named(method), number).update(showlegend=column == 1)
            figure.add_trace(marks, row=1, col=column)
    dress(figure, 420)
    for column, (x, y) in enumerate(shown, start=1):
        figure.update_xaxes(
            title=words[x], title_font_color=QUIET, gridcolor=GRID, zeroline=False, rangemode="tozero", col=column
        )
        figure.update_yaxes(title=words[y], title_font_color=QUIET, gridcolor=GRID, zeroline=False, col=column)
    legend_above(figure)
    return figure


def gap_changes(results: pd.DataFrame, reference: str, named: Named = escape) -> go.Figure:
    """What a condition changes of the mean ΔEO, a lane a condition.

    Args:
        results: one row a method and condition: eo_change, eo_change_from, eo_change_to (studies/bias_features.py).
        reference: the condition that the others are compared with.
        named: what a method is called.
    """
    names = {"eo_change": "change", "eo_change_from": "change_from", "eo_change_to": "change_to"}
    points = results[results["condition"] != reference].rename(columns=names)
    points[list(names.values())] *= 100
    figure = _lanes(points, named)
    dress(figure, figure.layout.height)
    _points_axis(figure, "x", "points of mean ΔEO, against the recordings as they are")
    legend_above(figure)
    return figure


def frontier(results: pd.DataFrame, panels: Mapping[str, str], named: Named = escape) -> go.Figure:
    """Accuracy against the difference between groups: a panel a kind of difference, a mark a method, with intervals.

    Args:
        results: one row a method: uar, uar_from, uar_to, and for each kind KIND, KIND_from, KIND_to, KIND_band
            (studies/cross_corpus.py).
        panels: the kinds, and what they are called.
        named: what a method is called.
    """
    figure = make_subplots(cols=len(panels), shared_yaxes=True, horizontal_spacing=0.06)
    for number, row in enumerate(results.itertuples()):
        colour, _, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        is_open = "-open" if number >= len(METHOD_LINES) else ""
        for column, kind in enumerate(panels, start=1):
            x, low, high = (getattr(row, f"{kind}{ending}") for ending in ("", "_from", "_to"))
            figure.add_trace(
                go.Scatter(
                    x=[x], y=[row.uar], mode="markers", name=named(row.method), legendgroup=str(number),
                    showlegend=column == 1,
                    marker={"symbol": symbol + is_open, "size": 12, "color": colour},
                    error_x=error_bar([x], [low], [high], colour, thin=True),
                    error_y=error_bar([row.uar], [row.uar_from], [row.uar_to], colour, thin=True),
                    hovertemplate=f"{panels[kind]} %{{x:.3f}}, UAR %{{y:.3f}}<extra>{named(row.method)}</extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
            figure.add_trace(
                go.Scatter(
                    x=[getattr(row, f"{kind}_band")], y=[row.uar], mode="markers", showlegend=False, legendgroup=str(number),
                    marker={"symbol": "line-ns-open", "size": 16, "color": colour, "line": {"width": 2.5}},
                    hovertemplate=f"chance reaches {panels[kind]} %{{x:.3f}}<extra>{named(row.method)}</extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
    dress(figure, 460)
    for column, words in enumerate(panels.values(), start=1):
        figure.update_xaxes(
            title=f"mean {words} between groups", title_font_color=QUIET, gridcolor=GRID, rangemode="tozero", col=column
        )
        figure.update_yaxes(gridcolor=GRID, zeroline=False, col=column)
    figure.update_yaxes(title="UAR on the target", title_font_color=QUIET, col=1)
    legend_above(figure)
    return figure


def _speakers(rows: pd.DataFrame, x: str, y: str, words: Mapping[str, str], name: str, number: int) -> go.Scatter:
    colour, _, symbol = METHOD_LINES[number % len(METHOD_LINES)]
    hover = f"%{{customdata}}<br>{words[x]}: %{{x:.3f}}<br>{words[y]}: %{{y:.3f}}<extra>{name}</extra>"
    return go.Scatter(
        x=rows[x], y=rows[y], mode="markers", name=name, legendgroup=name, customdata=rows["speaker"].map(escape),
        marker={"symbol": symbol, "size": 10, "color": colour, "opacity": 0.8}, hovertemplate=hover,
    )  # fmt: skip


def _points_axis(figure: go.Figure, axis: str, title: str) -> None:
    update = {"x": figure.update_xaxes, "y": figure.update_yaxes}[axis]
    update(title=title, title_font_color=QUIET, gridcolor=GRID, zeroline=True, zerolinecolor=INK, rangemode="tozero")


def _lines(
    points: pd.DataFrame, x: str, y: str, named: Named, first: int = 0, unit: str = "%{y:+.1f} points"
) -> go.Figure:
    """A line a method with the intervals Y_from to Y_to; `first` is the place of its look, 0 that of the baseline."""
    figure = go.Figure()
    for number, (method, rows) in enumerate(points.groupby("method", sort=False), start=first):
        colour, dash, symbol = METHOD_LINES[number % len(METHOD_LINES)]
        figure.add_trace(
            go.Scatter(
                x=rows[x], y=rows[y], mode="lines+markers", name=named(method),
                line={"color": colour, "dash": dash, "width": 2.5}, marker={"symbol": symbol, "size": 10, "color": colour},
                error_y=error_bar(rows[y], rows[f"{y}_from"], rows[f"{y}_to"], colour),
                hovertemplate="%{x}: " + unit + "<extra>" + named(method) + "</extra>",
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
