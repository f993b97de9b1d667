"""What all plotly figures share: paper, ink, axes, and a figure that is still empty."""

import plotly.graph_objects as go

INK, QUIET, GRID, PAPER = "#1F2937", "#4B5563", "#E5E7EB", "#FFFFFF"
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 14, "color": INK}
_MODEBAR = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale", "toImage"]


def dress(figure: go.Figure, height: int) -> None:
    """White in light and dark pages alike: the colours were chosen against it. Nothing zooms: a page is scrolled there."""
    figure.update_layout(
        template="none", height=height, font=FONT, paper_bgcolor=PAPER, plot_bgcolor=PAPER, dragmode=False,
        margin={"l": 8, "r": 8, "t": 8, "b": 34}, uirevision="keep", modebar={"remove": _MODEBAR},
    )  # fmt: skip
    figure.update_xaxes(fixedrange=True, tickfont_color=QUIET, automargin=True)
    figure.update_yaxes(fixedrange=True, automargin=True, ticks="outside", ticklen=6, tickcolor=PAPER)


def empty(words: str, height: int = 200) -> go.Figure:
    """A figure that says what to do to see something."""
    figure = go.Figure()
    figure.add_annotation(text=words, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_color=QUIET)
    dress(figure, height)
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
