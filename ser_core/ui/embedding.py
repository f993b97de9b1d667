"""A part of the tab Fairness: what the network hears before and after the enrolment is used, and what can be read off it.

Below it stands ui/clusters.py, which looks at the same test set.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
import pandas as pd

from ser_core.data.tables import to_csv
from ser_core.figures import embeddings
from ser_core.figures.style import empty, percent
from ser_core.ui import clusters
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import signed, table
from ser_core.ui.theme import personaliser_name, safe

if TYPE_CHECKING:
    from ser_core.inference.embedding_view import Maps

COLOURS = (("Emotion", "emotion"), ("Speaker", "speaker"), ("Gender", "gender"))
WAITING = "The maps come when this tab is opened"
ALL = "all"
"""In the column fold: all networks together."""

INTRO = """
<p>Before a network names an emotion, it turns the utterance into a list of numbers, its embedding. Here are the embeddings of
speakers the network has never heard: once with nobody enrolled, and once with their own recordings used.</p>
"""

WHAT_PROBES_SAY = """
<ul>
<li>A probe that finds the gender shows that the gender <b>can be read</b> off the embedding, not that the network
<b>uses</b> it, nor that it treats anybody worse: the other views of this tab look at that.</li>
<li>A probe at the level of guessing shows that <b>this</b> simple probe finds nothing; a cleverer one might.</li>
<li>Probes for emotion and gender are asked about speakers they have not learned from. The probe for the speaker tells apart
the few speakers of one map, from other utterances of the same recording session; among more speakers it would be harder.</li>
<li>Once a speaker's recordings are <b>added</b> to what is heard, that speaker is easier to recognise: this is how some
personalisers work, and no fault by itself.</li>
</ul>
"""


@dataclass(frozen=True)
class Part:
    """What a tab needs to show freshly computed maps: `outputs` take what `showing` gives back."""

    outputs: list[gr.components.Component]


# what is shown


def showing(maps: "Maps | None" = None) -> list:
    """Everything, for the first network and coloured by emotion; None shows the maps that ship.

    Returns:
        Values for `Part.outputs`.
    """
    from ser_core.inference.embedding_view import BadMaps

    try:
        now = _maps(maps)
    except BadMaps as error:
        nothing = empty("There are no maps here")
        no_choice = gr.Dropdown(choices=[], value=None, interactive=False)
        words = f'<p class="problem" role="alert">{safe(sentence(error))}</p>'
        return [
            maps,
            f'<div class="status">{words}</div>',
            no_choice,
            no_choice,
            "emotion",
            nothing,
            nothing,
            "",
            nothing,
            "",
        ]
    methods = list(dict.fromkeys(now.points["method"]))
    return [
        maps,
        _about(now, is_demo=maps is None),
        gr.Dropdown(choices=[(personaliser_name(name), name) for name in methods], value=methods[0], interactive=True),
        _networks(now, methods[0], None),
        "emotion",
        *_views(now, methods[0], _folds(now, methods[0])[0], "emotion"),
    ]


def _about(maps: "Maps", is_demo: bool) -> str:
    n = maps.points["utterance_id"].nunique()
    n_speakers = maps.points["speaker"].nunique()
    source = "An example that ships with Attune, cross-validated: " if is_demo else "Computed just now: "
    return f'<p class="quiet">{source}{safe(maps.corpus)}, {n} utterances of {n_speakers} speakers.</p>'


def _networks(maps: "Maps", method: str, wanted: int | None) -> gr.Dropdown:
    folds = _folds(maps, method)
    named = [(_network_name(maps, method, fold, place, len(folds)), fold) for place, fold in enumerate(folds)]
    return gr.Dropdown(choices=named, value=wanted if wanted in folds else folds[0], interactive=len(folds) > 1)


def _network_name(maps: "Maps", method: str, fold: int, place: int, n: int) -> str:
    speakers = sorted(_of(maps.points, method, fold)["speaker"].unique())
    names = f"{speakers[0]} … {speakers[-1]}" if len(speakers) > 1 else speakers[0]
    return f"{place + 1} of {n}: {names}" if n > 1 else names


def _views(maps: "Maps", method: str, fold: int, colour: str) -> list:
    """Both maps, how true they are, and the probes: as a figure and as a table."""
    points = _of(maps.points, method, fold)
    together = _of(maps.probes, method, ALL)
    return [
        embeddings.map_of_stage(points, "before", colour),
        embeddings.map_of_stage(points, "after", colour),
        _how_true(_of(maps.kept, method, fold)),
        embeddings.probes(together) if len(together) else empty("Not estimable: too few speakers"),
        _probes_table(together, _of(maps.probes, method, str(fold)), len(_folds(maps, method))),
    ]


def _how_true(kept: pd.DataFrame) -> str:
    share = kept["kept"].mean()
    said = (
        f"A flat picture of a list of numbers is never the whole truth: of the ten utterances nearest to one in the "
        f"embedding, on average {10 * share:.0f} are nearest to it on the map too."
    )
    return f"<p>{embeddings.READING_MAP} {said}</p>"


def _probes_table(together: pd.DataFrame, of_one: pd.DataFrame, n_networks: int) -> str:
    """All networks together; and, where there are several, the one on the map."""
    heads = ["A probe for the", "Before", "After", "Change", "Guessing blindly"]
    rows = []
    for name in dict.fromkeys(together["probe"]):
        before, after = (_row(together, name, stage) for stage in ("before", "after"))
        row = [name, _number(before), _number(after), _change(before, after), _share(before, "chance")]
        if n_networks > 1:
            row += [_share(_row(of_one, name, stage), "balanced_accuracy") for stage in ("before", "after")]
        rows.append(row)
    if n_networks > 1:
        heads = [*heads, "This network: before", "after"]
    asked = together["n_utterances"].max() if len(together) else 0
    of = f" of {n_networks} networks together" if n_networks > 1 else ""
    note = (
        f'<p class="quiet">Balanced accuracy{of}, {asked:.0f} utterances; in brackets 95 % intervals over speakers.</p>'
    )
    return f'<div class="numbers">{table(heads, rows)}</div>{note}' if rows else '<p class="quiet">Not estimable.</p>'


def _row(probes: pd.DataFrame, name: str, stage: str) -> pd.Series | None:
    found = probes[(probes["probe"] == name) & (probes["stage"] == stage)]
    return found.iloc[0] if len(found) else None


def _share(row: pd.Series | None, column: str) -> str:
    return "not estimable" if row is None or pd.isna(row[column]) else percent(row[column])


def _number(row: pd.Series | None) -> str:
    share = _share(row, "balanced_accuracy")
    known = row is not None and pd.notna(row["low"])
    interval = f" ({100 * row['low']:.0f} to {100 * row['high']:.0f})" if known else ""
    return share + interval.replace(" ", "\N{NO-BREAK SPACE}")


def _change(before: pd.Series | None, after: pd.Series | None) -> str:
    both = [None if row is None else row["balanced_accuracy"] for row in (before, after)]
    return "–" if any(value is None or pd.isna(value) for value in both) else signed(both[1] - both[0])


def _maps(maps: "Maps | None") -> "Maps":
    from ser_core.inference.embedding_view import demo_maps

    return demo_maps() if maps is None else maps


def _folds(maps: "Maps", method: str) -> list[int]:
    return sorted(int(fold) for fold in maps.points.loc[maps.points["method"] == method, "fold"].unique())


def _of(rows: pd.DataFrame, method: str, fold: int | str) -> pd.DataFrame:
    return rows[(rows["method"] == method) & (rows["fold"] == fold)]


# what happens


def fill(services: Services, maps: "Maps | None") -> list:
    """The tab was opened."""
    return showing(maps)


def other_method(services: Services, maps: "Maps | None", method: str, fold: int, colour: str) -> list:
    """Another method was chosen: the same network number where it has that."""
    now = _maps(maps)
    fold = fold if fold in _folds(now, method) else _folds(now, method)[0]
    return [_networks(now, method, fold), *_views(now, method, fold, colour)]


def other_view(services: Services, maps: "Maps | None", method: str, fold: int, colour: str) -> list:
    """Another network or colour was chosen."""
    return _views(_maps(maps), method, fold, colour)


def save(services: Services, kind: str, maps: "Maps | None") -> str:
    """All points, or all probes, as a file."""
    now = _maps(maps)
    content = now.points.round(3) if kind == "map" else now.probes
    return services.files.document(f"embeddings-{kind}.csv", to_csv(content))


# where it stands


def build(services: Services, tab: gr.Tab) -> Part:
    """Lay the part out.

    Args:
        services: what it calls.
        tab: in which it lies; it is filled when that is opened.
    """
    maps = gr.State(None)  # None: those that ship; no listener, gradio would hash all that is in it
    gr.HTML(
        f'<div class="step"><h2>Before and after the enrolment is used</h2></div><div class="explained">{INTRO}</div>'
    )
    about = gr.HTML(elem_id="embedding-about")
    with gr.Row(equal_height=False):
        method = gr.Dropdown(
            [], label="How the enrolment is used", elem_id="embedding-method", interactive=False, min_width=220
        )
        fold = gr.Dropdown([], label="Network, by the speakers it has not heard", elem_id="embedding-fold", interactive=False,
                           min_width=220)  # fmt: skip
        colour = gr.Radio(
            list(COLOURS), value="emotion", label="Coloured by", elem_id="embedding-colour", min_width=220
        )
    with gr.Row(equal_height=False):
        plots = [_map(stage) for stage in ("before", "after")]
    reading = gr.HTML(elem_id="embedding-reading", elem_classes="explained")
    gr.HTML(
        '<div class="step"><h2>What can be read off the embedding</h2></div>'
        f'<div class="explained"><p>{embeddings.READING_PROBES}</p></div>'
    )
    bars = gr.Plot(empty(WAITING), show_label=False, elem_id="embedding-probes", elem_classes="figure", container=False)
    numbers = gr.HTML(elem_id="embedding-numbers")
    with gr.Accordion("What a probe says, and what it does not", open=False, elem_id="embedding-limits"):
        gr.HTML(f'<div class="explained law">{WHAT_PROBES_SAY}</div>')
    with gr.Row(elem_classes="actions"):
        saves = {
            kind: SaveButton(words, f"embedding-save-{kind}", 160)
            for kind, words in (("map", "Save the maps (CSV)"), ("probes", "Save the probes (CSV)"))
        }
        picture_buttons("embedding-probes", "attune-probes")
    views = [*plots, reading, bars, numbers]
    outputs = [maps, about, method, fold, colour, *views]
    _events(services, tab, outputs, views, saves)
    clusters.build(services, tab, maps)
    return Part(outputs)


def _map(stage: str) -> gr.Plot:
    with gr.Column(min_width=300):
        plot = gr.Plot(
            empty(WAITING, 380), show_label=False, elem_id=f"embedding-{stage}", elem_classes="figure", container=False
        )
        with gr.Row(elem_classes="actions"):
            picture_buttons(f"embedding-{stage}", f"attune-map-{stage}")
    return plot


def _events(services: Services, tab: gr.Tab, outputs: list, views: list, saves: dict[str, SaveButton]) -> None:
    maps, _, method, fold, colour = outputs[:5]
    chosen = [maps, method, fold, colour]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    tab.select(for_people(fill, services), maps, outputs, **private)
    method.input(for_people(other_method, services), chosen, [fold, *views], trigger_mode="always_last", **private)
    gr.on(
        [fold.input, colour.input],
        for_people(other_view, services),
        chosen,
        views,
        trigger_mode="always_last",
        **private,
    )
    for kind, button in saves.items():
        button.makes(for_people(save, services, kind), [maps], **private)
