"""The tab Fairness: whom does it serve well, and whom does it not? One test set, seen from several sides."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

import gradio as gr
import pandas as pd
import soundfile

from ser_core.data.audio import SAMPLE_RATE, read_recording
from ser_core.data.tables import to_csv, to_json
from ser_core.evaluation import tables
from ser_core.evaluation.group import attributes
from ser_core.evaluation.human import HumanLine, human_line
from ser_core.evaluation.report import Report
from ser_core.figures import fairness
from ser_core.figures.report_page import LIMITS, comparison_in_words, report_page, verdict
from ser_core.figures.style import empty
from ser_core.ui import embedding, studies
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.test_sets import FILTERS, LAYOUTS, MANIFEST, WORDS, TestSet, demo, from_corpus, from_file
from ser_core.ui.theme import PLUMBING, method_name, safe

DEMO, CORPUS, FILE = "demo", "corpus", "file"
EVERYBODY = "Everybody"
GENDER = "gender"
_N_SHOWN = 400

INTRO = """
<div class="step"><h2>Whom does it serve?</h2><p>An average hides people. Choose a test set, and see speaker by speaker and
group by group who is understood, who is not, and who would be better off without personalisation.</p></div>
"""

WORDS_USED = """
<details class="tips"><summary>What the words mean</summary><ul>
<li><b>UAR</b> (unweighted average recall): for each emotion the share of utterances that is recognised, then the mean over the
emotions. 1 is always right; guessing among eight emotions gives 0.125.</li>
<li><b>Baseline</b>: the model for everybody. The other methods first hear some recordings of the person (the enrolment).</li>
<li><b>0.70 to 0.80</b> behind a number: with other speakers it would lie in there, 95 times in 100.</li>
<li><b>Gini</b>: how unevenly people are served; 0 is all alike. <b>Excess Gini</b>: what is left of it when chance is taken away.</li>
<li><b>p</b>: how often chance alone would make such a difference; below 0.05 is taken seriously. <b>Holm</b>: stricter, because
several methods are looked at.</li>
<li><b>Statistical parity</b>: is an emotion named equally often for both groups? <b>Equalised odds</b>: is it recognised, and named
by mistake, equally often?</li>
</ul></details>
"""

FIGURES = {
    "speakers": "Speaker by speaker", "change": "Who wins and who loses", "gini": "How uneven", "lorenz": "Lorenz curve",
    "welfare": "Welfare", "recall": "Recall of each emotion", "delta_sp": "Statistical parity difference, ΔSP",
    "delta_eo": "Equalised odds difference, ΔEO", "confusion": "What is taken for what", "speaker": "This speaker",
}  # fmt: skip
_READING = {
    **{name: name for name in FIGURES},
    "delta_sp": "differences",
    "delta_eo": "differences",
    "speaker": "confusion",
}


class Looking:
    """What one page looks at: a test set, narrowed, with its report."""

    def __init__(self, test_set: TestSet, methods: Sequence[str], wanted: dict[str, list[str]], attribute: str):
        self.test_set = test_set
        self.looked_at = test_set.narrowed(wanted, methods)
        self.groups = attributes(self.looked_at.table)
        self.attribute = attribute if attribute in self.groups else next(iter(self.groups), "")
        self.is_narrowed = any(values for name, values in wanted.items() if name != "corpus")
        key = (tuple(methods), tuple((name, tuple(values)) for name, values in wanted.items()))
        asked = [name for name in dict.fromkeys((GENDER, self.attribute)) if name in self.groups]
        self.report: Report = test_set.report(self.looked_at, key, asked)

    @property
    def table(self) -> pd.DataFrame:
        """Predictions that are looked at."""
        return self.looked_at.table

    @property
    def first(self) -> str:
        """The method that others are compared with unless one says otherwise."""
        return self.looked_at.methods[0]

    @property
    def gender_of(self) -> dict[str, str]:
        """Of each speaker, as the table says."""
        return self.table.groupby("speaker")["gender"].first().to_dict()

    def against(self, detail: str | None) -> str:
        """What a method is compared with."""
        found = next((one for one in self.report.comparisons if one.model == detail), None)
        return found.against if found else self.first

    def detail(self, wanted: str | None) -> str | None:
        """The method that is set beside the first; None where there is none."""
        others = self.looked_at.methods[1:]
        return wanted if wanted in others else next(iter(others), None)


# what is shown


def tiles(looking: Looking) -> str:
    """The numbers to look at first, a tile a method."""
    compared = {one.model: one for one in looking.report.comparisons}
    parts = []
    for name, model in looking.report.models.items():
        low, high = model.uar_interval
        uneven = _number(model.excess_gini) + _from_to(*model.excess_gini_interval)
        against = compared.get(name)
        worse = (
            f"<dt>worse off than with {safe(method_name(against.against)).lower()}</dt><dd>{against.n_worse} of {len(against.change)}</dd>"
            if against
            else ""
        )
        parts.append(
            f'<article class="tile"><h3>{safe(method_name(name))}</h3>'
            f'<p class="big">{_number(model.uar)}</p><p class="quiet">UAR{_from_to(low, high)}</p><dl>'
            f"<dt>worst-served speaker</dt><dd>{_number(model.speaker_spread['min'])} ({safe(model.worst_speakers[0])})</dd>"
            f"<dt>unevenness beyond chance (excess Gini)</dt><dd>{uneven}</dd>{worse}"
            + "".join(
                f"<dt>UAR {safe(group)}</dt><dd>{_number(uar)}</dd>" for group, uar in model.uar_by_gender.items()
            )
            + "</dl></article>"
        )
    return f'{plainly(looking)}<div class="tiles">{"".join(parts)}</div>'


def plainly(looking: Looking) -> str:
    """What came out, for somebody who has never seen a statistic."""
    model = looking.report.models[looking.first]
    guessing = 100 / max(1, sum(known == known for known in model.recall.values()))
    lines = [
        f"Of 100 utterances, as many of each emotion, <b>{100 * model.uar:.0f}</b> are recognised by {_whose(looking.first)}; "
        f"guessing would give {guessing:.0f}. The worst-served person gets {100 * model.speaker_spread['min']:.0f}, the best "
        f"{100 * model.speaker_spread['max']:.0f}."
    ]
    if looking.report.comparisons:
        best = max(looking.report.comparisons, key=lambda one: looking.report.models[one.model].uar)
        other = looking.report.models[best.model]
        lines.append(
            f"With {safe(method_name(best.model)).lower()} it is <b>{100 * other.uar:.0f}</b>, the worst-served person gets "
            f"{100 * other.speaker_spread['min']:.0f}, and {best.n_worse} of {len(best.change)} people are worse off."
        )
    return f'<div class="plainly">{"".join(f"<p>{line}</p>" for line in lines)}</div>'


def _whose(name: str) -> str:
    return "the model for everybody" if name.endswith("baseline") else safe(method_name(name))


def in_words(looking: Looking) -> str:
    """What came out, in sentences; and notes."""
    model = looking.report.models[looking.first]
    seeds = f", mean of {model.n_seeds} seeds" if model.n_seeds > 1 else ""
    lines = [
        f"{model.n_utterances} utterances of {model.n_speakers} speakers, {sum(known == known for known in model.recall.values())} emotions{seeds}."
    ]
    lines += [comparison_in_words(one, method_name) for one in looking.report.comparisons]
    if line := human_of(looking):
        lines.append(f"Human listeners: UAR {line.uar:.3f}, Gini {line.gini:.3f} ({line.source}).")
    lines += [f"Note: {note}." for note in looking.report.notes]
    return f'<div class="explained">{"".join(f"<p>{safe(line)}</p>" for line in lines)}</div>'


def human_of(looking: Looking) -> HumanLine | None:
    """How well people do, where it was measured on the same corpus, all of it."""
    return None if looking.is_narrowed else human_line(looking.table["corpus"].unique())


def gap_in_words(looking: Looking) -> str:
    """The gap in UAR between the groups, and what chance reaches; sizes of the groups."""
    if not looking.attribute:
        return '<p class="quiet">The table names no groups (gender, age, language …): nothing can be compared.</p>'
    lines = []
    for name, model in looking.report.models.items():
        of = model.groups[looking.attribute]
        if of.uar_gap != of.uar_gap:
            lines.append(f"{method_name(name)}: not estimable, fewer than two groups are large enough.")
            continue
        if of.uar_gap_band != of.uar_gap_band:
            lines.append(
                f"{method_name(name)}: the gap in UAR is {of.uar_gap:.3f}; what chance reaches cannot be said, because every "
                f"corpus has one of the groups only."
            )
            continue
        chance = "more than" if of.uar_gap > of.uar_gap_band else "no more than"
        lines.append(
            f"{method_name(name)}: the gap in UAR is {of.uar_gap:.3f}, {chance} the {of.uar_gap_band:.3f} that chance reaches."
        )
    small = looking.report.models[looking.first].groups[looking.attribute].not_estimable
    lines += [f"{group}: not estimable ({why})." for group, why in small.items()]
    return f'<div class="explained">{"".join(f"<p>{safe(line)}</p>" for line in lines)}</div>'


def figures_of(looking: Looking, detail: str | None, group: str, speaker: str) -> dict:
    """Every figure by name."""
    report, methods = looking.report, list(looking.report.models)
    shown = detail or looking.first
    by_method = {name: model.groups.get(looking.attribute) for name, model in report.models.items()}
    emotions = report.models[looking.first].emotions
    known = {name: of for name, of in by_method.items() if of is not None}
    no_groups = empty("The table names no groups")
    line = human_of(looking)
    named = lambda name: safe(method_name(name))  # noqa: E731
    comparison = next((one for one in report.comparisons if one.model == detail), None)
    drawn = {
        "speakers": fairness.speakers(
            report, looking.against(detail), detail, looking.gender_of, line.uar if line else None, named
        ),
        "change": fairness.change(comparison, named) if comparison else empty("Choose a second method to compare"),
        "gini": fairness.ginis(report, methods, named),
        "lorenz": fairness.lorenz(report, methods, named),
        "welfare": fairness.welfare(report, methods, named),
        "recall": fairness.recall_by_group(known[shown], emotions) if shown in known else no_groups,
        "delta_sp": fairness.differences(known, "delta_sp", emotions, named) if known else no_groups,
        "delta_eo": fairness.differences(known, "delta_eo", emotions, named) if known else no_groups,
        "confusion": fairness.confusion(_counts(_of_group(looking, group), shown, emotions), emotions),
        "speaker": fairness.confusion(_counts(_of_speaker(looking, speaker), shown, emotions), emotions),
    }
    drawn["recall"].update_xaxes(title=f"recall by {named(shown)}")
    for name in ("confusion", "speaker"):
        drawn[name].update_xaxes(title=f"answered by {named(shown)}")
    return drawn


def tables_of(looking: Looking, detail: str | None, group: str, speaker: str) -> dict[str, pd.DataFrame]:
    """The numbers behind every figure by name."""
    report, methods = looking.report, list(looking.report.models)
    shown = detail or looking.first
    emotions = report.models[looking.first].emotions
    differences = tables.differences(report, looking.attribute) if looking.attribute else pd.DataFrame()
    return {
        "speakers": tables.speakers(report, looking.gender_of),
        "change": tables.change(report),
        "gini": tables.ginis(report, methods),
        "lorenz": tables.lorenz(report, methods),
        "welfare": tables.welfare(report, methods),
        "recall": tables.groups(report, looking.attribute) if looking.attribute else pd.DataFrame(),
        "delta_sp": differences,
        "delta_eo": differences,
        "confusion": tables.confusion(_counts(_of_group(looking, group), shown, emotions), emotions),
        "speaker": utterances(looking, speaker),
    }


def utterances(looking: Looking, speaker: str) -> pd.DataFrame:
    """One row an utterance of a speaker: what was spoken, and what each method answered (with the first seed)."""
    part = _of_speaker(looking, speaker)
    part = part[part["seed"] == part["seed"].min()]
    wide = part.pivot_table(index="utterance_id", columns="method", values="predicted_emotion", aggfunc="first")
    about = part.drop_duplicates("utterance_id").set_index("utterance_id")
    columns = [name for name in ("emotion", "intensity", "text_id", "sentence") if name in about]
    methods = [name for name in looking.looked_at.methods if name in wide]
    return about[columns].join(wide[methods]).reset_index()


def to_hear(rows: pd.DataFrame, method: str) -> list[tuple[str, str]]:
    """Utterances to choose from: what was spoken, and what was answered."""
    return [
        (f"{one['utterance_id']}: {one['emotion']}, answered {one.get(method, '?')}", one["utterance_id"])
        for one in rows.to_dict("records")
    ]


def as_html(numbers: pd.DataFrame) -> str:
    """A table of numbers; what does not exist is a dash."""
    if numbers.empty:
        return '<p class="quiet">Nothing to show.</p>'
    rows = [[_cell(value) for value in row] for row in numbers.head(_N_SHOWN).itertuples(index=False)]
    more = f'<p class="quiet">The first {_N_SHOWN} of {len(numbers)} rows; save the table for all.</p>'
    inside = table([safe(name) for name in numbers.columns], rows) + (more if len(numbers) > _N_SHOWN else "")
    return f'<div class="numbers wide">{inside}</div>'


def _cell(value: object) -> str:
    if isinstance(value, float):
        return _number(value)
    return "–" if value is None else safe(str(value))


def _number(value: float) -> str:
    return "not estimable" if value != value else f"{value:.3f}"


def _from_to(low: float, high: float) -> str:
    return "" if low != low else f", {low:.3f} to {high:.3f}"


def _counts(part: pd.DataFrame, method: str, emotions: Sequence[str]):
    part = part[part["method"] == method]
    truth, said = (pd.Categorical(part[column], list(emotions)) for column in ("emotion", "predicted_emotion"))
    return pd.crosstab(truth, said, dropna=False).to_numpy() / max(1, part["seed"].nunique())


def _of_group(looking: Looking, group: str) -> pd.DataFrame:
    if group == EVERYBODY or not looking.attribute:
        return looking.table
    return looking.table[looking.table["speaker"].map(looking.groups[looking.attribute]) == group]


def _of_speaker(looking: Looking, speaker: str) -> pd.DataFrame:
    return looking.table[looking.table["speaker"] == speaker]


# what happens


def open_demo(services: Services, opened: TestSet | None) -> list:
    """The results that ship."""
    return opened_page(services, demo())


def open_if_empty(services: Services, opened: TestSet | None) -> list:
    """When somebody comes to the tab for the first time: the demo."""
    return [gr.skip()] * _N_ALL if opened is not None else opened_page(services, demo())


def open_file(services: Services, path: str | None, opened: TestSet | None) -> list:
    """A table of predictions was chosen."""
    return [gr.skip()] * _N_ALL if path is None else opened_page(services, from_file(path))


def evaluate(
    services: Services,
    layout: str,
    folder: str,
    models: list[str],
    split: str,
    stop: Event,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
) -> list:
    """Recognise a corpus now."""

    def told(share: float, words: str) -> None:
        progress(share, desc=words)

    try:
        return opened_page(services, from_corpus(services, layout, folder, models, split, told, stop.is_set))
    except ValueError as error:
        if type(error).__name__ != "Cancelled":  # its room takes seconds to import
            raise
        gr.Info(sentence(error))
        return [gr.skip()] * _N_ALL


def opened_page(services: Services, test_set: TestSet) -> list:
    """Everything, for a test set that was just opened."""
    methods = test_set.methods
    offered = [(method_name(name), name) for name in methods]
    filters = []
    for column in FILTERS:
        values = test_set.values(column)
        filters.append(
            gr.Dropdown(
                choices=[(WORDS.get(v, v), v) for v in values], value=[], multiselect=True, visible=bool(values)
            )
        )
    looking = Looking(test_set, methods, {}, GENDER)
    return [
        test_set,
        test_set.maps,
        f'<p class="status" role="status">{safe(test_set.title)}.</p>{verdict(looking.report)}',
        gr.CheckboxGroup(choices=offered, value=methods, visible=len(methods) > 1),
        *filters,
        *shown_page(looking, "speaker_reference", EVERYBODY, ""),
    ]


def look(services: Services, test_set: TestSet | None, methods, *choices) -> list:
    """Something was chosen: the same test set, seen otherwise."""
    if test_set is None:
        return [gr.skip()] * _N_PAGE
    return shown_page(*_chosen(test_set, methods, choices))


def shown_page(looking: Looking, detail: str | None, group: str, speaker: str) -> list:
    """All that depends on what is looked at."""
    detail = looking.detail(detail)
    others = [(method_name(name), name) for name in looking.looked_at.methods[1:]]
    in_attribute = sorted(looking.groups[looking.attribute].dropna().unique()) if looking.attribute else []
    group = group if group in in_attribute else EVERYBODY
    worst_first = tables.speakers(looking.report, {})["speaker"].tolist()
    speaker = speaker if speaker in worst_first else worst_first[0]
    drawn = figures_of(looking, detail, group, speaker)
    numbers = tables_of(looking, detail, group, speaker)
    heard = to_hear(numbers["speaker"], detail or looking.first) if looking.test_set.has_audio else []
    return [
        tiles(looking),
        in_words(looking),
        gr.Dropdown(choices=others, value=detail, visible=len(others) > 1),
        gr.Dropdown(choices=list(looking.groups), value=looking.attribute or None, visible=len(looking.groups) > 1),
        gap_in_words(looking),
        gr.Dropdown(choices=[EVERYBODY, *in_attribute], value=group, visible=bool(in_attribute)),
        gr.Dropdown(choices=worst_first, value=speaker),
        gr.Dropdown(choices=heard, value=None, visible=bool(heard)),
        gr.Audio(value=None, visible=bool(heard)),
        *(drawn[name] for name in FIGURES),
        *(as_html(numbers[name]) for name in FIGURES),
    ]


def play(services: Services, test_set: TestSet | None, utterance: str | None, speaker: str) -> str | None:
    """One utterance of the test set, as it was recorded."""
    if test_set is None or not utterance:
        return None
    own = test_set.table[test_set.table["speaker"] == speaker]
    rows = own[own["utterance_id"] == utterance]
    recording = read_recording(rows["path"].iloc[0])
    file = io.BytesIO()
    soundfile.write(file, recording.waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return services.files.document("utterance.wav", file.getvalue())


def save_table(services: Services, name: str, test_set: TestSet | None, methods, *choices) -> str:
    """The numbers behind a figure."""
    looking, detail, group, speaker = _chosen(test_set, methods, choices)
    return services.files.document(f"{name}.csv", to_csv(tables_of(looking, detail, group, speaker)[name]))


def save_figure(services: Services, name: str, test_set: TestSet | None, methods, *choices) -> str:
    """A figure as a page of its own that opens offline."""
    figure = figures_of(*_chosen(test_set, methods, choices))[name]
    return services.files.document(f"{name}.html", figure.to_html(include_plotlyjs=True, config={"displaylogo": False}))


def save_report(services: Services, kind: str, test_set: TestSet | None, methods, *choices) -> str:
    """The whole report of what is looked at, with every attribute."""
    looking, *_ = _chosen(test_set, methods, choices)
    if kind == "predictions":
        return services.files.document("predictions.csv", to_csv(looking.table.drop(columns="path", errors="ignore")))
    report = looking.test_set.report(looking.looked_at, ("whole", *map(str, (methods, choices))), None)
    if kind == "json":
        return services.files.document("report.json", to_json(report.to_json()))
    return services.files.document("report.html", report_page(report, looking.gender_of, looking.test_set.title))


def _chosen(test_set: TestSet | None, methods, choices) -> tuple[Looking, str | None, str, str]:
    *wanted, detail, attribute, group, speaker = choices
    chosen = [test_set.methods[0], *(name for name in test_set.methods[1:] if name in methods)]
    named = {column: list(values or []) for column, values in zip(FILTERS, wanted, strict=True) if values}
    looking = Looking(test_set, chosen, named, attribute)
    return looking, looking.detail(detail), group, speaker


def begin(services: Services, running: Event | None) -> Event:
    """A new evaluation, which can be stopped; the page's last one is, if it still runs."""
    stop(services, running)
    return Event()


def stop(services: Services, running: Event | None) -> None:
    """Stop the evaluation that runs; what was embedded is kept."""
    if running is not None:
        running.set()


def offer_models(services: Services) -> gr.Dropdown:
    """The models that can be used here, when the page has come."""
    try:
        names = [info.name for info in services.models.offered()]
    except ValueError:  # the tab Compare says why
        names = []
    return gr.Dropdown(choices=names, value=names[:1], multiselect=True, interactive=bool(names))


# where it stands


@dataclass(frozen=True)
class Part:
    """The tab laid out.

    Attributes:
        outputs: what a test set that was opened fills, as `opened_page` gives it.
        models: the list of models, which follows what is trained.
    """

    outputs: list
    models: gr.Dropdown


def build(services: Services, tab: gr.Tab, page: gr.Blocks) -> Part:
    """Lay the tab out.

    Args:
        services: what it calls.
        tab: the tab, which opens the demo results when somebody comes for the first time.
        page: the page, which asks for the models when it has come.
    """
    opened, running = gr.State(None), gr.State(None)  # neither may have a listener: gradio would hash what is in them
    parts: dict = {}
    gr.HTML(INTRO + WORDS_USED)
    _sources(parts)
    parts["title"] = gr.HTML(elem_id="fairness-title")
    with gr.Row(equal_height=False):
        parts["methods"] = gr.CheckboxGroup([], label="Compare", elem_id="fairness-methods", visible=False)
    with gr.Accordion("Only some utterances", open=False, elem_id="fairness-filters"), gr.Row():
        for column, words in FILTERS.items():
            parts[column] = gr.Dropdown(
                [], multiselect=True, label=words, elem_id=f"fairness-{column}", visible=False, min_width=180
            )
    parts["tiles"] = gr.HTML(elem_id="fairness-tiles")
    with gr.Accordion("In words", open=True, elem_id="fairness-words"):
        parts["words"] = gr.HTML()
    parts["detail"] = gr.Dropdown(
        [], label="Set beside the baseline, in the figures below", elem_id="fairness-detail", visible=False
    )
    parts["clicked"] = gr.Button("The clicked speaker", elem_id="fairness-clicked", **PLUMBING)
    with gr.Tabs(elem_id="fairness-views"):
        with gr.Tab("Speakers", id="speakers"):
            _figure(parts, "speakers")
            _figure(parts, "change")
        with gr.Tab("Evenness", id="evenness"):
            for name in ("gini", "lorenz", "welfare"):
                _figure(parts, name)
        with gr.Tab("Groups", id="groups"):
            parts["attribute"] = gr.Dropdown([], label="Groups by", elem_id="fairness-attribute", visible=False)
            parts["gap"] = gr.HTML(elem_id="fairness-gap")
            for name in ("recall", "delta_sp", "delta_eo"):
                _figure(parts, name)
        with gr.Tab("Confusion", id="confusion"):
            parts["group"] = gr.Dropdown([EVERYBODY], value=EVERYBODY, label="Of whom", elem_id="fairness-group")
            _figure(parts, "confusion")
        with gr.Tab("One speaker", id="one"):
            parts["speaker"] = gr.Dropdown([], label="Speaker (the worst served first)", elem_id="fairness-speaker")
            _figure(parts, "speaker")
            parts["utterance"] = gr.Dropdown(
                [], value=None, label="Listen to an utterance", elem_id="fairness-utterance", visible=False
            )
            parts["audio"] = gr.Audio(
                visible=False, show_label=False, elem_id="fairness-audio", interactive=False, buttons=[]
            )
        with gr.Tab("Embeddings", id="embeddings") as embeddings:
            parts["maps"] = embedding.build(services, embeddings).outputs[0]
        with gr.Tab("Studies", id="studies") as of_studies:
            studies.build(services, of_studies)
    with gr.Row(elem_classes="actions"):
        for kind, words in (
            ("html", "the report (HTML)"),
            ("json", "the report (JSON)"),
            ("predictions", "the predictions (CSV)"),
        ):
            parts[f"save_{kind}"] = SaveButton(f"Save {words}", f"fairness-report-{kind}", 180)
    limits = "".join(f"<li>{safe(words)}</li>" for words in LIMITS)
    gr.HTML(f'<details class="tips"><summary>What these numbers cannot say</summary><ul>{limits}</ul></details>')
    return Part(_events(services, parts, opened, running, tab, page), parts["models"])


def _sources(parts: dict) -> None:
    with gr.Tabs(elem_id="fairness-sources"):
        with gr.Tab("Demo results", id=DEMO):
            gr.HTML(
                '<p class="quiet">Cross-validated predictions on 20 actors of RAVDESS (Livingstone &amp; Russo 2018, CC BY-NC-SA '
                "4.0), for the baseline and four ways to use an enrolment: the table only, no audio.</p>"
            )
            parts["demo"] = gr.Button(
                "Open the demo results", elem_id="fairness-demo", size="sm", scale=0, min_width=200
            )
        with gr.Tab("A corpus on this computer", id=CORPUS):
            with gr.Row():
                parts["layout"] = gr.Dropdown(
                    [(name if name != MANIFEST else "any table (CSV with path and speaker)", name) for name in LAYOUTS],
                    value=LAYOUTS[0], label="Layout", elem_id="fairness-layout", min_width=180,
                )  # fmt: skip
                parts["folder"] = gr.Textbox(
                    label="Folder, or the CSV",
                    placeholder="/path/to/the/corpus",
                    elem_id="fairness-folder",
                    min_width=260,
                )
                parts["models"] = gr.Dropdown(
                    [], multiselect=True, label="Models", elem_id="fairness-models", interactive=False, min_width=200
                )
                parts["split"] = gr.Textbox(label="Only this split (optional)", elem_id="fairness-split", min_width=140)
            with gr.Row(elem_classes="actions"):
                parts["evaluate"] = gr.Button(
                    "Evaluate", variant="primary", elem_id="fairness-evaluate", size="sm", scale=0, min_width=140
                )
                parts["stop"] = gr.Button("Stop", elem_id="fairness-stop", size="sm", scale=0, min_width=100)
            parts["progress"] = gr.HTML(
                '<p class="quiet">Speakers whom a model heard in its training are left out. Nothing is copied but embeddings.</p>',
                elem_id="fairness-progress",
            )
        with gr.Tab("A table of predictions", id=FILE):
            parts["file"] = gr.UploadButton(
                "Choose a table (CSV)",
                file_types=[".csv", ".gz"],
                elem_id="fairness-table",
                size="sm",
                scale=0,
                min_width=200,
            )
            gr.HTML(
                '<p class="quiet">One row an utterance: speaker, emotion, predicted_emotion (or p_anger, p_fear, …); and where '
                "known utterance_id, method, seed, gender, age, language, corpus, or any column that names groups.</p>"
            )


def _figure(parts: dict, name: str) -> None:
    """A figure, how to read it, the numbers behind it, and how to save both."""
    gr.HTML(f'<div class="step"><h2>{FIGURES[name]}</h2><p>{fairness.READING[_READING[name]]}</p></div>')
    elem_id = f"fairness-figure-{name.replace('_', '-')}"
    parts[f"figure_{name}"] = gr.Plot(
        empty("Open a test set first"), show_label=False, elem_id=elem_id, elem_classes="figure", container=False
    )
    with gr.Accordion("The numbers", open=False, elem_id=f"{elem_id}-numbers"):
        parts[f"numbers_{name}"] = gr.HTML()
    with gr.Row(elem_classes="actions"):
        parts[f"csv_{name}"] = SaveButton("Save the numbers (CSV)", f"{elem_id}-csv", 180)
        parts[f"html_{name}"] = SaveButton("Save the figure (HTML)", f"{elem_id}-html", 180)
        picture_buttons(elem_id, f"attune-{name}")


def _events(services: Services, parts: dict, opened, running, tab, page) -> list:
    """What happens; all that a test set fills."""

    def do(handler, *bound):
        return for_people(handler, services, *bound)

    in_turn = {"concurrency_id": "fairness", "concurrency_limit": 2, "api_visibility": "private"}
    views = [
        parts[name]
        for name in ("tiles", "words", "detail", "attribute", "gap", "group", "speaker", "utterance", "audio")
    ]
    views += [parts[f"figure_{name}"] for name in FIGURES] + [parts[f"numbers_{name}"] for name in FIGURES]
    filters = [parts[column] for column in FILTERS]
    whole = [opened, parts["maps"], parts["title"], parts["methods"], *filters, *views]
    chosen = [
        opened,
        parts["methods"],
        *filters,
        *(parts[name] for name in ("detail", "attribute", "group", "speaker")),
    ]
    opening = {"outputs": whole, "show_progress_on": parts["tiles"], **in_turn}
    tab.select(do(open_if_empty), opened, trigger_mode="once", **opening)
    parts["demo"].click(do(open_demo), opened, trigger_mode="once", **opening)
    parts["file"].upload(do(open_file), [parts["file"], opened], **opening)
    asked = [parts[name] for name in ("layout", "folder", "models", "split")]
    parts["evaluate"].click(
        do(begin), running, running, api_visibility="private", show_progress="hidden", trigger_mode="once"
    ).then(
        do(evaluate),
        [*asked, running],
        whole,
        show_progress_on=parts["progress"],
        **{**in_turn, "concurrency_id": "evaluate", "concurrency_limit": 1},
    )
    parts["stop"].click(do(stop), running, None, api_visibility="private", concurrency_limit=None)
    looking = {"fn": do(look), "inputs": chosen, "outputs": views, "show_progress_on": parts["tiles"],
               "trigger_mode": "always_last", **in_turn}  # fmt: skip
    again = [parts["methods"], *filters, *(parts[name] for name in ("detail", "attribute", "group", "speaker"))]
    gr.on([component.input for component in again], **looking)
    parts["clicked"].click(**looking, js="(...chosen) => [...chosen.slice(0, -1), window.attune.clicked]")
    parts["utterance"].input(do(play), [opened, parts["utterance"], parts["speaker"]], parts["audio"], **in_turn)
    for name in FIGURES:
        parts[f"csv_{name}"].makes(do(save_table, name), chosen, **in_turn)
        parts[f"html_{name}"].makes(do(save_figure, name), chosen, **in_turn)
    for kind in ("html", "json", "predictions"):
        parts[f"save_{kind}"].makes(do(save_report, kind), chosen, **in_turn)
    page.load(do(offer_models), None, parts["models"], api_visibility="private", show_progress="hidden")
    return whole


_N_PAGE = 9 + 2 * len(FIGURES)
_N_ALL = 4 + len(FILTERS) + _N_PAGE
