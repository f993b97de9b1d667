"""A part of the tab Fairness: studies that ship. What if the enrolment is larger, wrong, or another one?"""

from typing import TYPE_CHECKING

import gradio as gr

from ser_core.data.tables import to_csv
from ser_core.figures.studies import DRAW
from ser_core.figures.style import empty
from ser_core.ui.errors import for_people
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import method_name, safe

if TYPE_CHECKING:
    from ser_core.studies.stored import StoredStudy

WAITING = "The studies come when this tab is opened"


# what is shown


def shown(studies: "list[StoredStudy]", place: int) -> list:
    """One study: the list to choose from, how to read it, the figure, the numbers."""
    if not studies:
        return [gr.Dropdown(choices=[], value=None), "No study is stored.", empty("No study is stored"), ""]
    from ser_core.figures.studies import study as study_figure
    from ser_core.studies import STUDIES

    one = studies[place]
    study = STUDIES[one.name]
    choices = [(f"{STUDIES[other.name].TITLE} ({other.corpus})", number) for number, other in enumerate(studies)]
    figure = study_figure(one.results, study.IN_ORDER, lambda name: safe(method_name(name)))
    return [gr.Dropdown(choices=choices, value=place), reading(one, study.READING), figure, numbers(one)]


def reading(one: "StoredStudy", words: str) -> str:
    """How to read it, and where it comes from."""
    design = one.about.get("design", {})
    first = one.results.iloc[0]
    seeds = f", {design['n_seeds']} seed{'' if design['n_seeds'] == 1 else 's'}" if design else ""
    return (
        f"<p>{safe(words)}</p><p>Measured on {safe(one.corpus)}: {int(first['n_speakers'])} speakers whom the networks had "
        f"never heard, {int(first['n_utterances'])} utterances{seeds}; commit {safe(str(one.about.get('commit', ''))[:7])}.</p>"
    )


def numbers(one: "StoredStudy") -> str:
    """UAR and what changed for the speakers, under every condition."""
    heads = ["Method, condition", "UAR", "Change of a speaker", "95 % interval", "p (Holm)", "Speakers worse off"]
    rows = [
        [
            f"{safe(method_name(row.method))}, {safe(row.condition)}", f"{row.uar:.3f}", f"{100 * row.change:+.1f} points",
            f"{100 * row.change_from:+.1f} to {100 * row.change_to:+.1f}",
            "–" if row.p_holm != row.p_holm else f"{row.p_holm:.3f}", f"{row.share_worse:.0%}",
        ]
        for row in one.results.itertuples()
        if not row.condition.startswith(DRAW)
    ]  # fmt: skip
    note = '<p class="quiet">Changes are against the same method with nobody enrolled, on the same utterances.</p>'
    return f'<div class="numbers wide">{table(heads, rows)}</div>{note}'


# what happens


def choose(services: Services, place: int | None) -> list:
    """A study was chosen, or the tab was opened."""
    from ser_core.studies.stored import stored_studies

    return shown(stored_studies(), place or 0)


def save(services: Services, place: int | None) -> str:
    """The numbers of a study."""
    from ser_core.studies.stored import stored_studies

    one = stored_studies()[place or 0]
    return services.files.document(f"{one.name}-{one.corpus}.csv", to_csv(one.results))


# where it stands


def build(services: Services, tab: gr.Tab) -> None:
    """Lay the part out; it is filled when `tab` is opened."""
    gr.HTML(
        '<div class="step"><h2>What if the enrolment is larger, wrong, or another one?</h2>'
        "<p>Studies that were run before Attune was shipped, on real speech.</p></div>"
    )
    chosen = gr.Dropdown([], label="Study", elem_id="studies-study")
    words = gr.HTML(elem_id="studies-reading", elem_classes="explained")
    figure = gr.Plot(empty(WAITING), show_label=False, elem_id="studies-figure", elem_classes="figure", container=False)
    with gr.Accordion("The numbers", open=False, elem_id="studies-numbers"):
        table_shown = gr.HTML()
    with gr.Row(elem_classes="actions"):
        csv = SaveButton("Save the numbers (CSV)", "studies-csv", 180)
        picture_buttons("studies-figure", "attune-study")
    outputs = [chosen, words, figure, table_shown]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on([tab.select, chosen.input], for_people(choose, services), chosen, outputs, **private)
    csv.makes(for_people(save, services), [chosen], **private)
