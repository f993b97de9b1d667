"""A part of the tab Fairness: studies that ship, open questions answered by experiment."""

from typing import TYPE_CHECKING

import gradio as gr

from ser_core.data.tables import to_csv
from ser_core.figures.style import empty
from ser_core.ui.errors import for_people
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import method_name, safe

if TYPE_CHECKING:
    from ser_core.studies.base import Numbers, Study
    from ser_core.studies.stored import StoredStudy

WAITING = "The studies come when this tab is opened"


# what is shown


def shown(studies: "list[StoredStudy]", place: int) -> list:
    """One study: the list to choose from, how to read it, the figure, the numbers."""
    if not studies:
        return [gr.Dropdown(choices=[], value=None), "No study is stored.", empty("No study is stored"), ""]
    from ser_core.studies import STUDIES

    one = studies[place]
    study = STUDIES[one.name]
    choices = [(f"{STUDIES[other.name].title} ({other.corpus})", number) for number, other in enumerate(studies)]
    figure = study.figure(one.tables, lambda name: safe(method_name(name)))
    told = numbers(study.numbers(one.tables, method_name))
    return [gr.Dropdown(choices=choices, value=place), reading(one, study), figure, told]


def reading(one: "StoredStudy", study: "Study") -> str:
    """How to read it, and where it comes from."""
    design = one.about.get("design", {})
    first = one.results.iloc[0]
    seeds = f", {design['n_seeds']} seed{'' if design['n_seeds'] == 1 else 's'}" if design else ""
    heard = " ".join(study.by_design) or "The networks had never heard any of these speakers."
    return (
        f"<p>{safe(study.reading)}</p><p>Measured on {safe(one.corpus)}: {int(first['n_speakers'])} speakers, "
        f"{int(first['n_utterances'])} utterances{seeds}; commit {safe(str(one.about.get('commit', ''))[:7])}. {safe(heard)}</p>"
        f"{outcome(one, study)}"
    )


def outcome(one: "StoredStudy", study: "Study") -> str:
    """What came out, in words."""
    lines = "".join(f"<li>{safe(line)}</li>" for line in study.told(one.tables, method_name))
    return f"<p>What came out:</p><ul>{lines}</ul>" if lines else ""


def numbers(told: "Numbers") -> str:
    """What came out, as a table."""
    heads, rows = ([safe(cell) for cell in told.heads], [[safe(cell) for cell in row] for row in told.rows])
    return f'<div class="numbers wide">{table(heads, rows)}</div>'


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
        '<div class="step"><h2>Open questions, answered by experiment</h2>'
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
