"""A training as it goes: losses and the dev score by epoch; several runs in one figure.

A method has its colour and symbol, a loss term and a run their dash: no figure needs its colours to be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd
import plotly.graph_objects as go

from ser_core.figures.fairness import METHOD_LINES, Named, legend_above
from ser_core.figures.style import GRID, INK, QUIET, dress, empty

READING = {
    "dev": "How well the dev speakers, who are not learned from, are recognised after each epoch. The star is the best epoch: "
    "its weights are kept. A curve that falls while the loss still falls learns by heart.",
    "gaps": "Mean differences between groups after each epoch, over the emotions: how often each is answered (ΔSP), on the dev "
    "speakers and where it is adapted to, and how often it is recognised or mistaken for (ΔEO), on the dev speakers. A handful of "
    "speakers has a difference by chance.",
    "losses": "What the training makes smaller, term by term; each point is the mean over one epoch of the training speakers.",
}

_ABOUT = ("method", "stage", "epoch", "seconds", "waited_for_data_s")
_DEV = "dev_"
_GAP = "_delta_"
_TERMS = {
    "dev_delta_sp": "ΔSP on dev", "dev_delta_eo": "ΔEO on dev", "target_delta_sp": "ΔSP where it is adapted to",
}  # fmt: skip
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_HEIGHT = 340


def terms(history: pd.DataFrame) -> list[str]:
    """The loss terms that a run's metrics name."""
    return [name for name in history.columns if name not in _ABOUT and not name.startswith(_DEV) and _GAP not in name]


def gaps(history: pd.DataFrame) -> list[str]:
    """The differences between groups that a run's metrics name."""
    return [name for name in history.columns if _GAP in name]


def monitor(histories: Mapping[str, pd.DataFrame]) -> str:
    """The dev score that is drawn, such as dev_uar; empty where there is none yet."""
    found = [
        name for history in histories.values() for name in history.columns if name.startswith(_DEV) and _GAP not in name
    ]
    return "dev_uar" if "dev_uar" in found else next(iter(found), "")


def best_epochs(history: pd.DataFrame, score: str) -> pd.DataFrame:
    """The row of the best epoch of each method's last stage, the first one where several are as good; none where that stage
    has no score and its last epoch is kept.

    Args:
        history: one row an epoch and method.
        score: a column; a loss is best where it is lowest.
    """
    if history.empty or score not in history:
        return pd.DataFrame(columns=["method", "step", score])
    counted = _counted(history)
    last = counted[counted["stage"] == counted.groupby("method")["stage"].transform("last")].dropna(subset=[score])
    by_method = last.groupby("method", sort=False)[score]
    return last.loc[by_method.idxmin() if score.endswith("loss") else by_method.idxmax()]


def smoothed(values: pd.Series, weight: float) -> pd.Series:
    """Exponential mean over epochs, unbiased at the start as in TensorBoard: 0 leaves all as it is, towards 1 flattens.

    >>> smoothed(pd.Series([0.0, 1.0]), 0.5).round(3).tolist()
    [0.0, 0.667]
    """
    return values.ewm(alpha=1.0 - weight, adjust=True).mean()


def dev_curves(histories: Mapping[str, pd.DataFrame], smoothing: float = 0.0, named: Named = escape) -> go.Figure:
    """The dev score by epoch.

    Args:
        histories: of each run by what it is called, one row an epoch and method.
        smoothing: 0 to 0.95; what was measured stays visible behind.
        named: what a method is called.
    """
    score = monitor(histories)
    if not score:
        return empty("The first epoch is not over yet", _HEIGHT)
    figure = go.Figure()
    for at, (run, history) in enumerate(histories.items()):
        if score in history:
            _add_run(figure, _Run(run, at, histories, named), _counted(history), [score], smoothing)
            figure.add_trace(_stars(best_epochs(history, score), score))
    _dress(figure, "UAR of the dev speakers" if score == "dev_uar" else score.replace("_", " "))
    return figure


def loss_curves(histories: Mapping[str, pd.DataFrame], smoothing: float = 0.0, named: Named = escape) -> go.Figure:
    """Every loss term by epoch; the rest as `dev_curves`."""
    figure, drawn = go.Figure(), False
    for at, (run, history) in enumerate(histories.items()):
        if not history.empty and terms(history):
            _add_run(figure, _Run(run, at, histories, named), _counted(history), terms(history), smoothing)
            drawn = True
    if not drawn:
        return empty("The first epoch is not over yet", _HEIGHT)
    _dress(figure, "loss")
    return figure


def gap_curves(histories: Mapping[str, pd.DataFrame], smoothing: float = 0.0, named: Named = escape) -> go.Figure:
    """Differences between groups by epoch; the rest as `dev_curves`."""
    having = {run: history for run, history in histories.items() if gaps(history)}
    if not having:
        return empty("These runs compare no groups", _HEIGHT)
    figure = go.Figure()
    for at, (run, history) in enumerate(having.items()):
        _add_run(figure, _Run(run, at, having, named), _counted(history), gaps(history), smoothing)
    _dress(figure, "mean difference between groups")
    return figure


def numbers(histories: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What is drawn, one row an epoch, method and run."""
    parts = [_counted(history).assign(run=run) for run, history in histories.items() if not history.empty]
    if not parts:
        return pd.DataFrame()
    whole = pd.concat(parts, ignore_index=True)
    return whole[["run", "method", "stage", "epoch", *(name for name in whole if name not in ("run", *_ABOUT, "step"))]]


class _Run:
    """How one run's curves look and what they are called."""

    def __init__(self, run: str, place: int, histories: Mapping[str, pd.DataFrame], named: Named):
        self.run, self.place, self.named = run, place, named
        self.is_alone = len(histories) == 1
        found = [name for history in histories.values() if not history.empty for name in history["method"].unique()]
        self.methods = [
            "baseline",
            *(name for name in dict.fromkeys(found) if name != "baseline"),
        ]  # also before it is there

    def look(self, method: str, number: int, n_terms: int) -> "_Look":
        colour, _, symbol = METHOD_LINES[self.methods.index(method) % len(METHOD_LINES)]
        return _Look(colour, symbol, _DASHES[(self.place * n_terms + number) % len(_DASHES)])

    def called(self, method: str, term: str, n_terms: int) -> str:
        words = self.named(method) if n_terms == 1 else f"{self.named(method)}, {escape(_TERMS.get(term, term))}"
        return words if self.is_alone else f"{escape(self.run)}: {words}"


@dataclass(frozen=True)
class _Look:
    colour: str
    symbol: str
    dash: str


def _counted(history: pd.DataFrame) -> pd.DataFrame:
    """With `step`: epochs of a method counted over its stages."""
    return history.assign(step=history.groupby("method").cumcount() + 1)


def _add_run(figure: go.Figure, run: _Run, history: pd.DataFrame, columns: list[str], smoothing: float) -> None:
    for method, rows in history.groupby("method", sort=False):
        own = [column for column in columns if rows[column].notna().any()]
        for number, column in enumerate(own):
            points = rows.dropna(subset=[column])
            name, look = run.called(method, column, len(own)), run.look(method, number, len(columns))
            if smoothing > 0:
                figure.add_trace(_line(points, points[column], name, look, behind=True))
            values = smoothed(points[column], smoothing) if smoothing > 0 else points[column]
            figure.add_trace(_line(points, values, name, look))


def _line(points: pd.DataFrame, values: pd.Series, name: str, look: _Look, behind: bool = False) -> go.Scatter:
    return go.Scatter(
        x=points["step"], y=values, mode="lines" if behind else "lines+markers", name=name, showlegend=not behind,
        line={"color": look.colour, "dash": "solid" if behind else look.dash, "width": 1 if behind else 2.5},
        marker={"symbol": look.symbol, "size": 7, "color": look.colour},
        opacity=0.35 if behind else 1, hoverinfo="skip" if behind else None, customdata=points["stage"].map(escape),
        hovertemplate=None if behind else "epoch %{x} (%{customdata}): %{y:.3f}<extra>" + name + "</extra>",
    )  # fmt: skip


def _stars(best: pd.DataFrame, score: str) -> go.Scatter:
    return go.Scatter(
        x=best["step"], y=best[score], mode="markers", showlegend=False,
        marker={"symbol": "star", "size": 15, "color": INK, "line": {"color": "#FFFFFF", "width": 1.5}},
        hovertemplate="best: epoch %{x}, %{y:.3f}<extra></extra>",
    )  # fmt: skip


def _dress(figure: go.Figure, title: str) -> None:
    dress(figure, _HEIGHT)
    figure.update_xaxes(title="epoch", title_font_color=QUIET, gridcolor=GRID, tickformat="d", rangemode="tozero")
    figure.update_yaxes(title=title, title_font_color=QUIET, gridcolor=GRID, zeroline=False)
    legend_above(figure)
