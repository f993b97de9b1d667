"""What runs look like: states, progress, curves and results that the tab Train puts on the page.

A run is a folder: all that is shown is read from there, so that a page that is opened anew shows the same.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import gradio as gr
import pandas as pd

from ser_core.figures import training
from ser_core.figures.style import empty
from ser_core.training.jobs import Job, list_jobs
from ser_core.ui.errors import sentence
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import method_name, safe

_N_LISTED = 20
_N_LINES = 50

STATES = {
    "queued": ("Waiting", ""), "running": ("Running", "good"), "finished": ("Finished", "good"), "failed": ("Failed", "poor"),
    "stopped": ("Stopped", ""), "lost": ("Lost", "poor"),
}  # fmt: skip
"""A state in words, and the class of its pill."""

_MEANS = {
    "queued": "It starts by itself as soon as the device is free.",
    "running": "It goes on when this page or Attune is closed.",
    "finished": "Look at whom it serves, use its model, or take it along.",
    "failed": "What it had saved is whole. Where the reason lies outside of it (a full disk, a missing file), mend that, and Resume "
    "goes on; else start a new run with other settings.",
    "stopped": "Resume goes on from the last saved state, as if nothing had happened.",
    "lost": "Its process is gone and could not say why: the computer was switched off, or memory ran out. What it had saved is "
    "whole, and Resume goes on from there.",
}

NO_RUN = "No run yet. Go to “A new run”, choose a recipe and a corpus, and press Start."


@dataclass(frozen=True)
class Piece:
    """What one component shows.

    Attributes:
        key: as long as it is the same, so is what is shown.
        make: what is shown.
    """

    key: Hashable
    make: Callable[[], object]


@dataclass(frozen=True)
class Watched:
    """What a page watches.

    Attributes:
        listed: all runs, newest first.
        job: the one that is shown; None where there is none.
        beside: those it is compared with.
        smoothing: of the curves, 0 to 0.95.
        deleted: what could be brought back.
    """

    listed: list[Job]
    job: Job | None
    beside: list[Job]
    smoothing: float
    deleted: Path | None

    @property
    def compared(self) -> list[Job]:
        """The chosen run, and those beside it."""
        return [self.job, *self.beside] if self.job else []

    @property
    def is_moving(self) -> bool:
        """Whether any run is not over."""
        return any(not job.is_over for job in self.listed)


def watched(services: Services, name: str | None = None, beside: Sequence[str] = (), smoothing: float = 0.0) -> Watched:
    """Read the runs from disk.

    Args:
        services: for the workspace.
        name: the run to show; the newest one that is not over, or the newest, where there is none of the name.
        beside: names of those to compare it with.
        smoothing: of the curves.
    """
    listed = list_jobs(services.workspace)
    named = {job.name: job for job in listed}
    going_on = [job for job in listed if not job.is_over]
    job = named.get(name or "") or next(iter([*going_on, *listed]), None)
    others = [named[one] for one in beside or () if one in named and named[one] is not job]
    deleted = next(iter(services.workspace.runs.glob(".deleted-*")), None)
    return Watched(listed, job, others, smoothing or 0.0, deleted)


def pieces(now: Watched) -> list[Piece]:
    """All that depends on the runs, in the order of the outputs."""
    job, name = now.job, now.job.name if now.job else None
    choices = tuple((f"{one.name} ({STATES[one.state][0].lower()})", one.name) for one in now.listed)
    others = tuple((words, value) for words, value in choices if value != name)
    names = [short(one) for one in now.compared]
    histories = {
        name if names.count(name) == 1 else one.name: one.history()
        for name, one in zip(names, now.compared, strict=True)
    }
    has_gaps = any(training.gaps(history) for history in histories.values())
    drawn = (tuple((key, len(history)) for key, history in histories.items()), now.smoothing)
    return [
        _words(runs_table(now.listed)),
        Piece((choices, name), lambda: gr.Dropdown(choices=list(choices), value=name, interactive=bool(choices))),
        Piece(
            (others, *(one.name for one in now.beside)),
            lambda: gr.Dropdown(
                choices=list(others), value=[one.name for one in now.beside], multiselect=True, interactive=bool(others)
            ),
        ),
        _words(state_in_words(job)),
        _words(progress_in_words(job)),
        Piece(drawn, lambda: training.dev_curves(histories, now.smoothing, _named) if job else empty("No run yet")),
        Piece(drawn, lambda: training.loss_curves(histories, now.smoothing, _named) if job else empty("No run yet")),
        Piece(drawn, lambda: training.gap_curves(histories, now.smoothing, _named)),
        Piece(has_gaps, lambda: gr.Column(visible=has_gaps)),
        _words(results_table(now.compared)),
        _words(log_in_words(job)),
        _words(command_of(job)),
        *_buttons(now),
    ]


def _buttons(now: Watched) -> list[Piece]:
    job, deleted = now.job, now.deleted
    finished = job is not None and (job.folder / "predictions.csv").is_file()
    bring_back = f"Bring back {deleted.name.removeprefix('.deleted-')}" if deleted else ""
    return [
        _button(job is not None and job.can_stop),
        _button(job is not None and job.can_resume),
        _button(job is not None and job.is_over),
        Piece(bring_back, lambda: gr.Button(bring_back, visible=bool(deleted))),
        _button(finished),
        _button(job is not None and job.can_use),
        Piece(now.is_moving, lambda: gr.Timer(active=now.is_moving)),
    ]


def _words(words: str) -> Piece:
    return Piece(words, lambda: words)


def _button(can_be_pressed: bool) -> Piece:
    return Piece(can_be_pressed, lambda: gr.Button(interactive=can_be_pressed))


def pill(job: Job) -> str:
    """Its state, in a word."""
    words, kind = STATES[job.state]
    return f'<span class="pill {kind}">{words}</span>'


def runs_table(listed: Sequence[Job]) -> str:
    """One row a run, the newest first."""
    if not listed:
        return f'<p class="quiet">{NO_RUN}</p>'
    heads = ["Run", "State", "Recipe", "Corpus", "Started", "Best dev UAR"]
    rows = [
        [safe(short(job)), pill(job), safe(_recipe(job)), safe(_corpus(job)), when(job.created), _best(job.history())]
        for job in listed[:_N_LISTED]
    ]
    more = f'<p class="quiet">The newest {_N_LISTED} of {len(listed)}.</p>' if len(listed) > _N_LISTED else ""
    return f'<div class="numbers wide in-words">{table(heads, rows)}{more}</div>'


def state_in_words(job: Job | None) -> str:
    """State, why, and what to do; where it failed, with the end of the log."""
    if job is None:
        return f'<p class="quiet">{NO_RUN}</p>'
    begins = job.state == "queued" and job.progress.get("words") == "starting"
    lines = [f"<p>{pill(job)} {'It is being started.' if begins else _MEANS[job.state]}</p>"]
    if job.error and job.state == "failed":
        lines.append(f'<p class="problem">{safe(sentence(job.error))}</p>')
    log = job.log_tail(_N_LINES) if job.state in ("failed", "lost") else []
    its_end = f'<p class="quiet">The end of its log:</p>{_lines(log)}' if log else ""
    return f'<div class="status" role="status">{"".join(lines)}</div>{its_end}'


def progress_in_words(job: Job | None) -> str:
    """What it is doing, how far it is, and how long it will take."""
    if job is None or job.is_over:
        return ""
    share, eta_s = job.progress.get("share", 0.0), job.progress.get("eta_s")
    method, epoch, rest = (job.progress.get("words") or "starting").partition(": epoch")
    words = safe(sentence(f"{method_name(method)}{epoch}{rest}" if epoch else method))
    left = f" About {duration(eta_s)} to go." if eta_s is not None else ""
    silent_s = job.progress.get("heartbeat_age_s", 0.0)
    silent = f' <span class="quiet">No sign of life for {duration(silent_s)}.</span>' if silent_s > 10 else ""
    return (
        f'<div class="share"><progress max="1" value="{share:.4f}" aria-label="How much of the run is done"></progress>'
        f"<span>{100 * share:.0f}\N{NO-BREAK SPACE}%</span></div><p>{words}{left}{silent}</p>"
    )


def results_table(compared: Sequence[Job]) -> str:
    """What came out, one row a run and method."""
    rows = [row for job in compared for row in _results(job)]
    if not rows:
        return '<p class="quiet">The results come with the first epoch.</p>' if compared else ""
    heads = ["Method", "Run", "Epochs", "Best dev UAR", "Test UAR", "Worst-served speaker", "Excess Gini"]
    return f'<div class="numbers wide">{table(heads, rows)}</div>'


def _results(job: Job) -> list[list[str]]:
    history, report = job.history(), job.report() or {"models": {}}
    if history.empty:
        return []
    score = training.monitor({"": history})
    best = training.best_epochs(history, score).set_index("method")
    rows = []
    for method, epochs in history.groupby("method", sort=False):
        model = report["models"].get(method)
        found = f"{best.loc[method, score]:.3f} (epoch {best.loc[method, 'step']})" if method in best.index else "–"
        try:
            measured = [_uar(model), _number(model["speaker_spread"]["min"]), _number(model["excess_gini"])]
        except (KeyError, TypeError, ValueError):  # not tested, or by another version
            measured = ["–"] * 3
        rows.append([safe(method_name(method)), safe(short(job)), str(len(epochs)), found, *measured])
    return rows


def _uar(model: dict) -> str:
    low, high = model["uar_interval"]
    return _number(model["uar"]) + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _number(value: float | None) -> str:
    return "not estimable" if value is None or value != value else f"{value:.3f}"


def log_in_words(job: Job | None) -> str:
    """The last lines of the log."""
    lines = job.log_tail(_N_LINES) if job else []
    return _lines(lines) if lines else '<p class="quiet">Nothing was said yet.</p>'


def _lines(lines: Sequence[str]) -> str:
    text = safe("\n".join(lines))
    return f'<div class="log" tabindex="0" role="region" aria-label="The end of the log"><pre>{text}</pre></div>'


def command_of(job: Job | None) -> str:
    """What one would type for the same; empty where nobody knows."""
    return job.order.in_words(job.folder, resume=job.can_resume) if job and job.order else ""


def short(job: Job) -> str:
    """A run's name without its date."""
    return re.sub(r"^\d{4}-\d\d-\d\d_", "", job.name)


def when(time: str) -> str:
    """A time as people write it, where this computer is.

    >>> when("")
    'unknown'
    """
    try:
        return f"{datetime.fromisoformat(time).astimezone():%d %b, %H:%M}"
    except ValueError:
        return "unknown"


def duration(seconds: float) -> str:
    """
    >>> duration(34.4), duration(200), duration(9000)
    ('34 s', '3 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _named(method: str) -> str:
    return safe(method_name(method))


def _recipe(job: Job) -> str:
    return Path(job.order.recipe).stem if job.order else job.recipe.get("name", "unknown")


def _corpus(job: Job) -> str:
    asked = [named.partition("=")[0] for named in job.order.corpora] if job.order else []
    return job.recipe.get("corpus") or ", ".join(asked) or "unknown"


def _best(history: pd.DataFrame) -> str:
    score = training.monitor({"": history})
    best = training.best_epochs(history, score) if score == "dev_uar" else pd.DataFrame()
    return "–" if best.empty else f"{best[score].max():.3f}"
