"""A Report as one self-contained page that opens offline: figures, tables, configuration, leak verdict, limits."""

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ser_core.data.tables import write_csv, write_json
from ser_core.data.whole import filled
from ser_core.evaluation import tables
from ser_core.evaluation.predictions import Predictions
from ser_core.evaluation.report import Comparison, Report
from ser_core.figures import fairness

LIMITS = (
    "An answer says what an utterance sounds like to a model, not what anybody feels.",
    "Intervals are 95 %. Those of methods come from resampling speakers: with fewer than about twenty they are rough, and somewhat too narrow for Gini (.92 instead of .95 with 20).",
    "A gap between groups is told from chance only beyond its band; groups under 10 utterances or 2 speakers are not estimable.",
    "Gini falls by itself as UAR rises; only the excess over its floor says something about people.",
    "What was measured on these recordings need not hold for other languages, microphones, or speech that is not acted.",
    "Inferring emotions of people at work or in education is prohibited in the EU (AI Act, Article 5(1)(f)).",
)

_LEAKS = {
    "speakers_on_both_sides": "speakers that were heard in training and tested",
    "heard_by_the_encoder": "tested speakers whom the encoder heard in its own training",
    "sentences_on_both_sides": "sentences that were also spoken in training (scripted corpora always have some; see new sentences)",
    "left_out_because_heard_in_training": "speakers left out because they were heard in training",
    "enrolment_among_targets": "enrolled recordings among those that are recognised",
    "training_speakers_unknown_of": "models whose training speakers are not written down",
}

_STYLE = """
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1F2937; background: #fff;
  max-width: 1080px; margin: 0 auto; padding: 1rem 1.2rem 3rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #E5E7EB; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } summary { cursor: pointer; color: #4B5563; }
.verdict { border-left: 4px solid #0072B2; padding: .1rem 0 .1rem 1rem; } .verdict.bad { border-color: #B23A00; }
.quiet { color: #4B5563; } pre { overflow-x: auto; background: #F3F4F6; padding: .8rem; font-size: .85rem; }
"""


def write_report(report: Report, predictions: Predictions, folder: Path) -> None:
    """predictions.csv, report.json, report.html, and table.md with the headline numbers."""
    gender_of = predictions.table.groupby("speaker")["gender"].first().to_dict()
    without_places = predictions.table.drop(columns="path", errors="ignore")  # on this machine
    with filled(folder) as hidden:
        write_csv(without_places, hidden / "predictions.csv")
        write_json(hidden / "report.json", report.to_json())
        (hidden / "table.md").write_text(tables.as_markdown(report), encoding="utf-8")
        (hidden / "report.html").write_text(report_page(report, gender_of), encoding="utf-8")


def report_page(report: Report, gender_of: Mapping[str, str], title: str = "Whom does it serve?") -> str:
    """The page, HTML.

    Args:
        report: what is shown.
        gender_of: of each speaker.
        title: at the top.
    """
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>"
        f"<h1>{escape(title)}</h1>{''.join(_sections(report, gender_of))}</body></html>"
    )


def _sections(report: Report, gender_of: Mapping[str, str]) -> Iterator[str]:
    methods = list(report.models)
    yield in_words(report)
    yield verdict(report)
    yield f"<h2>All methods</h2>{as_html(tables.headline(report))}"
    speakers = tables.speakers(report, gender_of)
    for first, name in [(one.against, one.model) for one in report.comparisons] or [(methods[0], None)]:
        figure = fairness.speakers(report, first, name, gender_of)
        yield _section(f"Speaker by speaker: {first}{f' and {name}' if name else ''}", figure, "speakers", speakers)
    for one in report.comparisons:
        yield _section(f"Who wins and who loses: {one.model}", fairness.change(one), "change", tables.change(report))
    yield _section("How uneven", fairness.ginis(report, methods), "gini", tables.ginis(report, methods))
    yield _section("Lorenz curve", fairness.lorenz(report, methods), "lorenz", tables.lorenz(report, methods))
    yield _section("Welfare", fairness.welfare(report, methods), "welfare", tables.welfare(report, methods))
    for attribute in report.models[methods[0]].groups:
        yield from _groups(report, attribute)
    for name, model in report.models.items():
        figure = fairness.confusion(model.confusion, model.emotions)
        yield _section(f"Confusion: {name}", figure, "confusion", tables.confusion(model.confusion, model.emotions))
    yield f"<h2>Limits</h2><ul>{''.join(f'<li>{escape(words)}</li>' for words in LIMITS)}</ul>"
    yield f"<h2>How this was made</h2><pre>{escape(json.dumps(report.configuration, indent=2, ensure_ascii=False))}</pre>"


def _groups(report: Report, attribute: str) -> Iterator[str]:
    by_method = {name: model.groups[attribute] for name, model in report.models.items()}
    emotions = next(iter(report.models.values())).emotions
    yield f"<h2>{escape(attribute.capitalize())}</h2>"
    if not any(len(of.recall) > 1 for of in by_method.values()):
        small = next(iter(by_method.values())).not_estimable
        yield f"<p>Not estimable: {escape('; '.join(f'{group}: {why}' for group, why in small.items()) or 'one group only')}.</p>"
        return
    for name, of in by_method.items():
        figure = fairness.recall_by_group(of, emotions)
        yield _section(f"Recall: {name}", figure, "recall", tables.groups(report, attribute), "h3")
    for kind, words in (("delta_sp", "Statistical parity difference"), ("delta_eo", "Equalised odds difference")):
        figure = fairness.differences(by_method, kind, emotions)
        yield _section(words, figure, "differences", tables.differences(report, attribute), "h3")


def in_words(report: Report) -> str:
    """What was measured, and what came out, in sentences."""
    first = report.comparisons[0].against if report.comparisons else next(iter(report.models))
    base = report.models[first]
    lines = [
        f"{base.n_utterances} utterances of {base.n_speakers} speakers, {len(base.emotions)} classes, "
        f"{base.n_seeds} seed{'' if base.n_seeds == 1 else 's'}. {first}: UAR {_number(base.uar)} "
        f"({span(base.uar_interval)}), worst speaker {_number(base.speaker_spread['min'])}."
    ]
    lines += [comparison_in_words(one) for one in report.comparisons]
    return "".join(f"<p>{escape(line)}</p>" for line in [*lines, *(f"Note: {note}." for note in report.notes)])


def comparison_in_words(one: Comparison, named: Callable[[str], str] = str) -> str:
    """A comparison, as a sentence; `named` says what a method is called."""
    n = len(one.change)
    sure = _claim(one)
    new = f"; on new sentences {one.difference_new_sentence:+.3f}, p {_p(one.p_new_sentence)}"
    return (
        f"{named(one.model)} against {named(one.against)}: UAR {signed(one.difference)} ({span(one.difference_interval)}), p {_p(one.p)}, "
        f"after Holm p {_p(one.p_holm)} ({sure}); {one.n_worse} of {n} speakers are worse off; excess Gini {signed(one.excess_gini_difference)} "
        f"({span(one.excess_gini_difference_interval)}){'' if pd.isna(one.difference_new_sentence) else new}."
    )


def _claim(one: Comparison) -> str:
    """A gain or a loss is claimed only where it also holds on sentences that were not enrolled, if those are known."""
    if not one.p_holm < 0.05:
        return "not told from chance"
    what = "a gain" if one.difference > 0 else "a loss"
    if pd.isna(one.difference_new_sentence):
        return f"{what}, if it also holds on other sentences than the enrolled ones"
    holds = one.p_new_sentence < 0.05 and one.difference * one.difference_new_sentence > 0
    return what if holds else f"{what} here, not shown on new sentences"


def verdict(report: Report) -> str:
    """What the leak check found."""
    if not report.leaks:
        return (
            '<p class="verdict bad"><b>Leaks: not known.</b> The table does not say whom the methods heard in training; '
            "if they heard these speakers, all numbers here are too good.</p>"
        )
    lines = []
    for name, found in report.leaks.items():
        words = found if isinstance(found, str) else ", ".join(map(str, found)) or "none"
        lines.append(f"<li>{escape(_LEAKS.get(name, name.replace('_', ' ')))}: {escape(words)}</li>")
    kind = "verdict bad" if report.leaks.get("training_speakers_unknown_of") else "verdict"
    return f'<div class="{kind}"><b>Leak check</b><ul>{"".join(lines)}</ul></div>'


def as_html(table: pd.DataFrame) -> str:
    """A table; a number that does not exist is "not estimable" or a dash."""
    head = "".join(f"<th scope='col'>{escape(str(name))}</th>" for name in table.columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in table.itertuples(index=False)
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _section(title: str, figure: go.Figure, reading: str, table: pd.DataFrame, level: str = "h2") -> str:
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    return (
        f"<{level}>{escape(title)}</{level}><p class='quiet'>{escape(fairness.READING[reading])}</p>{drawn}"
        f"<details><summary>The numbers</summary>{as_html(table)}</details>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return _number(value)
    return escape(str(value)) if value is not None else ""


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _p(value: float) -> str:
    return "not estimable" if pd.isna(value) else "< 0.001" if value < 0.001 else f"= {value:.3f}"


def signed(value: float) -> str:
    """A difference, in words where it cannot be estimated."""
    return "not estimable" if pd.isna(value) else f"{value:+.3f}"


def span(interval: tuple[float, float]) -> str:
    """From … to …, in words where it cannot be estimated."""
    return "interval not estimable" if pd.isna(interval[0]) else f"{interval[0]:.3f} to {interval[1]:.3f}"
