"""A part of the tab Fairness, below the embeddings: the clusters inside one speaker, and what they agree with."""

from typing import TYPE_CHECKING

import gradio as gr
import pandas as pd

from ser_core.data.tables import to_csv
from ser_core.figures import embeddings
from ser_core.figures.style import empty, percent
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import safe

if TYPE_CHECKING:
    from ser_core.inference.embedding_view import Maps

WAITING = "The clusters come when this tab is opened"
LEAST = 4
"""Utterances that a speaker with clusters has at least."""

INTRO = """
<p>Nobody labelled these clusters: utterances of one speaker that sound alike to the encoder were put together. A mark is an
utterance and its colour the emotion; the number is the cluster's, and an utterance without a line lies between two clusters and
is in none.</p>
"""

WHAT_AGREES = {
    "emotion": "how far the clusters are emotions",
    "sentence": "how far they follow what is said, not how",
    "intensity": "how far they follow how strongly it is said",
}
"""Of each label the clusters may agree with: what it tells."""

_N_SHOWN = 400


# what is shown


def showing(maps: "Maps | None" = None, wanted: str | None = None) -> list:
    """The speaker wanted, or the one of median purity; and the table of all. None shows the clusters that ship.

    Returns:
        The speakers to choose from, what is said of them all, the figure, what is said of the one, the table.
    """
    from ser_core.inference.cluster_view import middle_speaker
    from ser_core.inference.embedding_view import BadMaps

    try:
        now = _maps(maps)
    except BadMaps as error:
        return _nothing(f'<p class="quiet">{safe(sentence(error))}</p>')
    if now.clusters.empty:
        return _nothing('<p class="quiet">There are no clusters: no layers of an encoder are at hand.</p>')
    names = sorted(now.clusters["speaker"].unique())
    speaker = wanted if wanted in names else middle_speaker(now.agreement)
    chosen = gr.Dropdown(choices=names, value=speaker, interactive=len(names) > 1)
    return [chosen, _about(now, is_demo=maps is None), *_of_speaker(now, speaker), _table_of_all(now.agreement)]


def _nothing(words: str) -> list:
    return [gr.Dropdown(choices=[], value=None, interactive=False), words, empty("There are no clusters here"), "", ""]


def _about(maps: "Maps", is_demo: bool) -> str:
    source = "An example that ships with Attune" if is_demo else "Computed just now"
    n_speakers = maps.clusters["speaker"].nunique()
    s = "" if n_speakers == 1 else "s"
    what = f"{safe(maps.corpus)}, {len(maps.clusters)} utterances of {n_speakers} speaker{s}, enrolled ones too"
    return f'<p class="quiet">{source}: {what}.</p>'


def _of_speaker(maps: "Maps", speaker: str) -> list:
    """The figure, and how to read it."""
    own = maps.clusters[maps.clusters["speaker"] == speaker]
    if (own["cluster"] < 0).all():
        return [empty("No clusters of this speaker"), f"<p>{_why_none(own, speaker)}</p>"]
    agreement = maps.agreement[maps.agreement["speaker"] == speaker].set_index("label")
    return [embeddings.clusters(own, speaker), in_words(own, agreement, speaker)]


def _why_none(own: pd.DataFrame, speaker: str) -> str:
    if len(own) < LEAST:
        s = "" if len(own) == 1 else "s"
        return f"{safe(speaker)} has {len(own)} utterance{s}: too few for clusters, which need at least {LEAST}."
    return (
        f"The {len(own)} utterances of {safe(speaker)} sound the same to the encoder: there is nothing to put together."
    )


def in_words(own: pd.DataFrame, agreement: pd.DataFrame, speaker: str) -> str:
    """One speaker's clusters and what they agree with, in sentences.

    Args:
        own: the speaker's utterances (columns `cluster_view.POINTS`).
        agreement: the speaker's rows of `cluster_view.agreement_table`, by label.
        speaker: as the corpus calls them.
    """
    emotion, n_in = agreement.loc["emotion"], int((own["cluster"] >= 0).sum())
    s = "" if emotion["n_clusters"] == 1 else "s"
    lines = [
        f"{safe(speaker)} has {emotion['n_clusters']} cluster{s}. {n_in} of their {len(own)} utterances are in one"
        f"{_left_out(len(own) - n_in)}.",
        _purity_in_words(emotion, n_in),
        "Adjusted Rand index, which is 1 where clusters and a label divide the utterances alike and 0 where they agree no more "
        "than by chance:",
    ]
    agrees = "".join(
        f"<li>with the {label} <b>{_index(agreement.loc[label, 'adjusted_rand'])}</b>: {what}</li>"
        for label, what in WHAT_AGREES.items()
    )
    drawn = (
        "The picture shows the two directions in which these utterances differ most; the clusters were found in all of them, so "
        "that two may overlap here."
    )
    return f'{"".join(f"<p>{line}</p>" for line in lines)}<ul>{agrees}</ul><p class="quiet">{drawn}</p>'


def _left_out(n: int) -> str:
    if n == 0:
        return ""
    return "; 1 lies between two and is in none" if n == 1 else f"; {n} lie between two and are in none"


def _purity_in_words(emotion: pd.Series, n_in: int) -> str:
    if pd.isna(emotion["purity"]):
        return "The share with the commonest emotion of their cluster is not estimable: that takes two clusters and two emotions."
    whose = "these" if emotion["n"] == n_in else f"the {int(emotion['n'])} of these whose emotion is known"
    return (
        f"<b>{percent(emotion['purity'])}</b> of {whose} have the commonest emotion of their cluster; random clusters of the same "
        f"sizes would reach {percent(emotion['purity_of_chance'])}."
    )


def _table_of_all(agreement: pd.DataFrame) -> str:
    """A row a speaker, and the mean of those that are known."""
    emotion = agreement[agreement["label"] == "emotion"].set_index("speaker")
    index = agreement.pivot(index="speaker", columns="label", values="adjusted_rand")
    numbers = emotion[["n_clusters", "purity", "purity_of_chance"]].join(index[list(WHAT_AGREES)])
    heads = ["Speaker", "Clusters", "Purity", "By chance", *(f"Rand index: {label}" for label in WHAT_AGREES)]
    rows = [_cells(safe(speaker), row) for speaker, row in numbers.head(_N_SHOWN).iterrows()]
    rows.append(_cells(f"<b>Mean\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{len(numbers)}</b>", numbers.mean(), "{:.1f}"))
    note = (
        "Purity: the share of utterances that have the commonest emotion of their cluster; by chance: of random clusters of the "
        "same sizes. Rand index: adjusted, of the clusters and a label."
    )
    if len(numbers) > _N_SHOWN:
        note += f" The first {_N_SHOWN} of {len(numbers)} speakers; save the table for all."
    return f'<div class="numbers">{table(heads, rows)}</div><p class="quiet">{note}</p>'


def _cells(name: str, row: pd.Series, as_count: str = "{:.0f}") -> list[str]:
    shares = [_share(row[column]) for column in ("purity", "purity_of_chance")]
    return [name, as_count.format(row["n_clusters"]), *shares, *(_index(row[label]) for label in WHAT_AGREES)]


def _share(value: float) -> str:
    return "not estimable" if pd.isna(value) else percent(value)


def _index(value: float) -> str:
    return "not estimable" if pd.isna(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def _maps(maps: "Maps | None") -> "Maps":
    from ser_core.inference.embedding_view import demo_maps

    return demo_maps() if maps is None else maps


# what happens


def fill(services: Services, maps: "Maps | None", speaker: str | None) -> list:
    """The tab was opened: the speaker chosen before, if they are in this test set."""
    return showing(maps, speaker)


def other_speaker(services: Services, maps: "Maps | None", speaker: str) -> list:
    """Another speaker was chosen."""
    return _of_speaker(_maps(maps), speaker)


def save(services: Services, kind: str, maps: "Maps | None") -> str:
    """All utterances with their clusters, or what the clusters agree with, as a file."""
    now = _maps(maps)
    content = now.clusters.round(3) if kind == "points" else now.agreement
    return services.files.document(f"clusters-{kind}.csv", to_csv(content))


# where it stands


def build(services: Services, tab: gr.Tab, maps: gr.State) -> None:
    """Lay the part out.

    Args:
        services: what it calls.
        tab: in which it lies; it is filled when that is opened.
        maps: of the test set that is looked at; None for those that ship.
    """
    gr.HTML(f'<div class="step"><h2>Clusters inside one speaker</h2></div><div class="explained">{INTRO}</div>')
    about = gr.HTML(elem_id="clusters-about")
    speaker = gr.Dropdown([], label="Speaker", elem_id="clusters-speaker", interactive=False)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300):
            figure = gr.Plot(
                empty(WAITING, 380), show_label=False, elem_id="clusters-figure", elem_classes="figure", container=False
            )
        with gr.Column(scale=2, min_width=300):
            words = gr.HTML(elem_id="clusters-words", elem_classes="explained law")
    with gr.Accordion("All speakers", open=False, elem_id="clusters-all"):
        numbers = gr.HTML(elem_id="clusters-numbers")
    with gr.Row(elem_classes="actions"):
        saves = {
            kind: SaveButton(said, f"clusters-save-{kind}", 160)
            for kind, said in (("points", "Save the clusters (CSV)"), ("agreement", "Save the table (CSV)"))
        }
        picture_buttons("clusters-figure", "attune-clusters")
    private = {"api_visibility": "private", "show_progress": "hidden"}
    outputs = [speaker, about, figure, words, numbers]
    tab.select(for_people(fill, services), [maps, speaker], outputs, **private)
    one = for_people(other_speaker, services)
    speaker.input(one, [maps, speaker], [figure, words], trigger_mode="always_last", **private)
    for kind, button in saves.items():
        button.makes(for_people(save, services, kind), [maps], **private)
