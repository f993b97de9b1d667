"""What all plotly figures share: paper, ink, axes, and a figure that is still empty."""

from textwrap import wrap

import plotly.graph_objects as go

INK, QUIET, GRID, PAPER = "#1F2937", "#4B5563", "#E5E7EB", "#FFFFFF"
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14, "color": INK}
_MODEBAR = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale", "toImage"]
_LINE = 36  # characters that a narrow window has room for; plotly breaks no lines
_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 34}
_LAYOUT = {
    "template": "none", "font": FONT, "paper_bgcolor": PAPER, "plot_bgcolor": PAPER, "dragmode": False, "margin": _MARGIN,
    "uirevision": "keep", "modebar": {"remove": _MODEBAR},
}  # fmt: skip
_X = {"fixedrange": True, "tickfont": {"color": QUIET}, "automargin": True}
_Y = {"fixedrange": True, "automargin": True, "ticks": "outside", "ticklen": 6, "tickcolor": PAPER}


def dress(figure: go.Figure, height: int) -> None:
    """White in light and dark pages alike: the colours were chosen against it. Nothing zooms: a page is scrolled there."""
    figure.update_layout(_LAYOUT, height=height)
    figure.update_xaxes(_X)
    figure.update_yaxes(_Y)


def empty(words: str, height: int = 200) -> go.Figure:
    """A figure that says what to do to see something."""
    text = "<br>".join(wrap(words, _LINE))
    note = {"text": text, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    return go.Figure(  # in one piece, for the page has two dozen: ten times as fast as to update a figure
        layout={
            **_LAYOUT, "height": height, "margin": {**_MARGIN, "b": 8}, "xaxis": {**_X, "visible": False},
            "yaxis": {**_Y, "visible": False}, "annotations": [{**note, "font": {"color": QUIET}}],
        }
    )  # fmt: skip


def percent(probability: float) -> str:
    """A probability as people read it.

    >>> percent(0.624), percent(0.004), percent(0.0)
    ('62\xa0%', '0.4\xa0%', '0\xa0%')
    """
    places = 1 if 0.0005 <= probability < 0.01 else 0
    return f"{100 * probability:.{places}f}\N{NO-BREAK SPACE}%"
