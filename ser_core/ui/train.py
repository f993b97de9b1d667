"""The tab Train: choose a recipe, a corpus and how much is to learn; check it; start it in a process of its own."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from ser_core.data.corpora import CORPORA
from ser_core.recipe import Recipe, read_recipe, recipe_names
from ser_core.training.jobs import Order, start_job
from ser_core.ui import runs
from ser_core.ui.errors import for_people, foreseen, sentence
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.test_sets import LAYOUTS, MANIFEST, NoFolder
from ser_core.ui.theme import safe

if TYPE_CHECKING:  # takes seconds to import
    from ser_core.training.check import Checked

FIRST = "smoke"
"""The recipe that is chosen at first: it takes seconds and needs nothing that does not ship."""

INTRO = """
<div class="step"><h2>Train a model of your own</h2><p>From recordings on this computer that say who speaks and what was
meant. A run goes on in the background, also when this page is closed.</p></div>
"""

KEPT = """
<p class="quiet">A run is a folder in Attune's own (the tab About says where): settings, curves, weights, predictions, report.
Your recordings stay where they are, only numbers computed from them are kept beside the runs. Nothing is sent anywhere.</p>
"""

ENCODERS = {
    "": "The recipe's own", "compact": "Compact (ships with Attune)", "whisper": "Whisper tiny.en, or another Whisper",
    "wav2vec2": "wav2vec 2.0, HuBERT or WavLM",
}  # fmt: skip

TUNES = {
    "none": "Only the new layers (seconds to minutes)",
    "last": "The encoder's last layers as well",
    "lora": "Small adapters inside the encoder (LoRA)",
    "all": "Everything (the slowest)",
    "convolutions": "Convolutions on the encoder's layers",
}

CLASSES = {
    "app": "The seven of this app (its model can be used in Compare)",
    "corpus": "All that the corpus has",
    "shared": "Those that all corpora share",
}

SETTINGS = {
    "emotions": "data.emotions", "tune": "encoder.tune", "encoder_rate": "encoder.learning_rate", "epochs": "training.epochs",
    "batch_size": "training.batch_size", "learning_rate": "training.learning_rate", "patience": "training.patience",
    "test_share": "data.test_share",
}  # fmt: skip
"""What the form asks, and what it is called in a recipe."""

_ROLES = {
    "train": "Learning (train)",
    "unlabelled": "Heard without emotions",
    "target": "Adapted to, emotions untold",
    "dev": "Choosing the epoch (dev)",
    "test": "Measuring at the end (test)",
}


@dataclass(frozen=True)
class Form:
    """What was filled in; the names of the components as well, in their order."""

    recipe: str
    layout: str
    folder: str
    target_layout: str
    target_folder: str
    unlabelled_layout: str
    unlabelled_folder: str
    encoder: str
    source: str
    emotions: str
    tune: str
    encoder_rate: float | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    patience: int | None
    test_share: float | None
    seed: int | None
    further: str
    more: str
    device: str
    threads: int | None
    tensorboard: bool


_FIELDS = [item.name for item in fields(Form)]


def order_of(form: Form) -> Order:
    """The order that the form stands for; what is as in the recipe is left out.

    Raises:
        NoFolder: it does not say where the corpus is.
        BadRecipe: the recipe cannot be read.
    """
    recipe = read_recipe(form.recipe)
    encoder = form.encoder or recipe.encoder.name
    source = form.source.strip()
    return Order(
        recipe=form.recipe,
        corpora=(
            corpus_of(form.layout, form.folder),
            *_lines(form.further),
            *_unlabelled(form, recipe),
            *_target(form, recipe),
        ),
        encoder=f"{encoder}={source}" if source else form.encoder,
        settings=(*_changed(form, recipe), *map(_without_emotions, _unlabelled(form, recipe)), *_lines(form.more)),
        seed=form.seed or 0,
        device=form.device or "auto",
        threads=form.threads or 0,
        tensorboard=form.tensorboard,
    )


def _target(form: Form, recipe: Recipe) -> list[str]:
    """The corpus that is adapted to, named last, where the recipe adapts to one."""
    if not recipe.data.target:
        return []
    if not form.target_folder.strip():
        raise NoFolder("say where the corpus is that is adapted to: its folder on this computer")
    return [corpus_of(form.target_layout, form.target_folder)]


def _unlabelled(form: Form, recipe: Recipe) -> list[str]:
    """The corpus that is heard without its emotions, where one is named for a recipe that learns without labels."""
    if not (learns_unlabelled(recipe) and form.unlabelled_folder.strip()):
        return []
    return [corpus_of(form.unlabelled_layout, form.unlabelled_folder)]


def learns_unlabelled(recipe: Recipe) -> bool:
    """Whether a stage of it learns from speech without labels."""
    from ser_core.methods import METHODS

    return METHODS[recipe.method].learns_unlabelled


def _without_emotions(corpus: str) -> str:
    return f"data.unlabelled={json.dumps([corpus.partition('=')[0]])}"


def corpus_of(layout: str, folder: str) -> str:
    """NAME=DIR, as the command line takes it.

    Raises:
        NoFolder: empty.
    """
    if not folder.strip():
        raise NoFolder("say where the corpus is: the folder's path on this computer")
    path = Path(folder.strip().strip("\"'")).expanduser().absolute()
    if layout != MANIFEST:
        return f"{layout}={path}"
    own = path.parent.name if path.stem in ("manifest", "metadata") else path.stem
    return f"{own}_table={path}" if own in CORPORA else f"{own}={path}"


def _changed(form: Form, recipe: Recipe) -> list[str]:
    """key=value of what is not as in the recipe."""
    asked = {SETTINGS[name]: getattr(form, name) for name in SETTINGS}
    if form.tune == "none":
        del asked["encoder.learning_rate"]
    own = {key: getattr(getattr(recipe, key.partition(".")[0]), key.partition(".")[2]) for key in asked}
    return [f"{key}={value}" for key, value in asked.items() if value is not None and value != own[key]]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


# what is shown


def recipe_title(name: str) -> str:
    """A recipe's name in words.

    >>> recipe_title("cfa_adversary"), recipe_title("source_only")
    ('CFA adversary', 'Source only')
    """
    first, *others = name.split("_")
    return " ".join([first.upper() if first in ("cfa", "papt", "tapt") else first.capitalize(), *others])


def recipe_in_words(recipe: Recipe) -> str:
    """What it does, where it comes from, and what is trained beside it."""
    paper = f" From {safe(recipe.paper)}." if recipe.paper else ""
    beside = ", ".join(recipe_title(name).lower() for name in recipe.beside)
    compared = f" Beside it, to compare with: {safe(beside)}." if beside else ""
    return f"<p>{safe(recipe.about)}{paper}{compared}</p>"


def checked_in_words(checked: "Checked") -> str:
    """Who does what, what the leak check found, and what it will take."""
    sizes = checked.sizes
    heads = ["Used for", *(str(name) for name in sizes.columns[1:])]
    rows = [[_ROLES[row[0]], *map(str, row[1:])] for row in sizes.itertuples(index=False)]
    lines = [f"<p>Leak check: {'; '.join(_leaks(checked.verdict))}.</p>"]
    lines += [f"<p>Note: {safe(note)}.</p>" for note in checked.notes]
    if checked.estimate is not None:
        lines.append(f"<p>It takes {safe(checked.estimate.in_words)}.</p>")
    return (
        f'<p class="pill good" role="status">This can be started.</p><div class="numbers wide">{table(heads, rows)}</div>'
        f'<div class="explained">{"".join(lines)}</div>'
    )


_LEAKS = {
    "speakers_on_both_sides": "speakers on two sides: {}",
    "adapted_to_other_speakers_of": "adapted to other speakers of {}, without their emotions",
    "heard_by_the_encoder": "test speakers whom the encoder has heard: {}",
    "sentences_on_both_sides": "sentences on two sides: {}",
}


def _leaks(verdict: dict) -> list[str]:
    lines = []
    for name, found in verdict.items():
        words = ", ".join(map(str, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        lines.append(safe(_LEAKS.get(name, name.replace("_", " ") + ": {}").format(words or "none")))
    return lines


def problem_in_words(problem: ValueError) -> str:
    """Why it cannot be started."""
    return f'<div class="status"><p class="problem" role="alert">{safe(sentence(problem))}</p></div>'


# what happens


def choose_recipe(services: Services, name: str) -> list:
    """A recipe was chosen: its words and its settings."""
    recipe = read_recipe(name)
    own = f"The recipe's own: {ENCODERS[recipe.encoder.name].partition(' (')[0]}"
    return [
        recipe_in_words(recipe),
        gr.Dropdown(choices=[(own if not key else words, key) for key, words in ENCODERS.items()]),
        recipe.encoder.tune,
        gr.Number(value=recipe.encoder.learning_rate, visible=recipe.encoder.tune != "none"),
        recipe.training.epochs,
        recipe.training.batch_size,
        recipe.training.learning_rate,
        recipe.training.patience,
        recipe.data.test_share,
        "shared" if recipe.data.emotions == "shared" else "app",
        gr.Row(visible=bool(recipe.data.target)),
        gr.Row(visible=learns_unlabelled(recipe)),
        "",
    ]


def choose_tune(services: Services, tune: str) -> gr.Number:
    """The encoder's learning rate is asked for where it learns."""
    return gr.Number(visible=tune != "none")


def check(services: Services, *filled) -> str:
    """Look whether it can be started, and what it would take."""
    from ser_core.training.check import check_order

    try:
        return checked_in_words(check_order(_allowed_order(services, filled), services.workspace))
    except ValueError as error:
        return _problem(error)


def start(services: Services, *filled) -> list:
    """Start it, and show it."""
    try:
        job = start_job(_allowed_order(services, filled), services.workspace)
    except ValueError as error:
        return [_problem(error), *[gr.skip()] * (1 + runs.N_OUTPUTS)]
    started = f'<p class="pill good" role="status">Started: {safe(job.name)}.</p>'
    return [started, gr.Tabs(selected="runs"), *runs.open_page(services, job.name)]


def _allowed_order(services: Services, filled: tuple) -> Order:
    """What was filled in, if it names no path that must not be read."""
    order = order_of(Form(*filled))
    for named in (*order.corpora, *([order.encoder] if "=" in order.encoder else [])):
        services.may_read(Path(named.partition("=")[2]).expanduser())
    for setting in order.settings:
        value = setting.partition("=")[2].strip("\"' ")
        if set(value) & set("/\\~") or value in (".", ".."):
            services.may_read(Path(value).expanduser())
    return order


def _problem(error: ValueError) -> str:
    if not foreseen(error):
        raise error
    return problem_in_words(error)


# where it stands


def build(services: Services, tab: gr.Tab, page: gr.Blocks, around: runs.Around) -> None:
    """Lay the tab out.

    Args:
        services: what it calls.
        tab: the tab, which reads the runs anew when somebody comes back.
        page: the page, which looks for runs when it has come.
        around: what it changes in other tabs.
    """
    gr.HTML(INTRO)
    timer = gr.Timer(runs.LOOK_EVERY_S, active=False)
    with gr.Tabs(elem_id="train-views") as views:
        with gr.Tab("A new run", id="new"):
            parts = _form()
        with gr.Tab("Runs", id="runs"):
            watching = runs.RunsPart(services, timer)
    gr.HTML(KEPT)
    _events(services, parts, views, watching)
    watching.connect(services, page, tab, views, around)


def _form() -> dict:
    """The components by the names of Form's fields, and others."""
    parts: dict = {}
    recipe = read_recipe(FIRST)
    _what(parts, recipe)
    _how_much(parts, recipe)
    _more(parts, recipe)
    with gr.Row(elem_classes="actions"):
        parts["check"] = gr.Button("Check", size="sm", elem_id="train-check", scale=0, min_width=120)
        parts["start"] = gr.Button("Start", variant="primary", size="sm", elem_id="train-start", scale=0, min_width=140)
    parts["checked"] = gr.HTML(
        '<p class="quiet">Check says who would be learned from, whether anything leaks, and how long it takes. Start checks, too.</p>',
        elem_id="train-checked",
    )
    return parts


def _what(parts: dict, recipe: Recipe) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280):
            parts["recipe"] = gr.Dropdown(
                [(recipe_title(name), name) for name in recipe_names()],
                value=FIRST,
                label="Recipe",
                elem_id="train-recipe",
            )
            parts["about"] = gr.HTML(recipe_in_words(recipe), elem_id="train-about", elem_classes="explained")
        with gr.Column(min_width=280):
            parts["layout"] = _layout("Layout of the corpus", "train-layout")
            parts["folder"] = gr.Textbox(
                label="Its folder, or the CSV", placeholder="/path/to/the/corpus", elem_id="train-folder"
            )
        with gr.Column(min_width=280):
            parts["encoder"] = gr.Dropdown(
                [(words, name) for name, words in ENCODERS.items()], value="", label="Encoder", elem_id="train-encoder"
            )
            parts["source"] = gr.Textbox(
                label="Folder of its weights (optional)", placeholder="/path/to/the/weights", elem_id="train-source"
            )
    with gr.Row(equal_height=False, visible=False) as parts["adapts"]:
        parts["target_layout"] = _layout("Layout of the corpus that is adapted to", "train-target-layout")
        parts["target_folder"] = gr.Textbox(
            label="Its folder, or the CSV: speakers and their gender are heard, emotions are not told",
            placeholder="/path/to/the/corpus", elem_id="train-target-folder", min_width=280,
        )  # fmt: skip

    with gr.Row(equal_height=False, visible=False) as parts["pretrains"]:
        parts["unlabelled_layout"] = _layout("Layout of a corpus nobody labelled", "train-unlabelled-layout", MANIFEST)
        parts["unlabelled_folder"] = gr.Textbox(
            label="Its folder, or the CSV (optional): heard before emotions are taught; path and speaker are enough",
            placeholder="/path/to/the/corpus", elem_id="train-unlabelled-folder", min_width=280,
        )  # fmt: skip


def _layout(label: str, elem_id: str, first: str = LAYOUTS[0]) -> gr.Dropdown:
    return gr.Dropdown(
        [(name if name != MANIFEST else "any table (CSV with path and speaker)", name) for name in LAYOUTS],
        value=first, label=label, elem_id=elem_id, min_width=280,
    )  # fmt: skip


def _how_much(parts: dict, recipe: Recipe) -> None:
    parts["emotions"] = gr.Radio(
        [(words, name) for name, words in CLASSES.items()], value="app", label="Emotions", elem_id="train-emotions"
    )
    parts["tune"] = gr.Radio(
        [(words, name) for name, words in TUNES.items()], value=recipe.encoder.tune, label="What learns",
        elem_id="train-tune",
    )  # fmt: skip
    with gr.Row(equal_height=False):
        _number(parts, "epochs", "Epochs", recipe.training.epochs)
        _number(parts, "batch_size", "Batch size", recipe.training.batch_size)
        _number(parts, "learning_rate", "Learning rate", recipe.training.learning_rate, 1e-4)
        _number(parts, "encoder_rate", "Learning rate, encoder", recipe.encoder.learning_rate, 1e-5, visible=False)
        _number(parts, "patience", "Patience (0: none)", recipe.training.patience)
        _number(parts, "test_share", "Share of test speakers", recipe.data.test_share, 0.05)
        _number(parts, "seed", "Seed", 0)


def _number(parts: dict, name: str, label: str, value: float, step: float = 1, visible: bool = True) -> None:
    parts[name] = gr.Number(
        value, label=label, precision=0 if step == 1 else None, step=step, visible=visible, min_width=130,
        elem_id=f"train-{name.replace('_', '-')}",
    )  # fmt: skip


def _more(parts: dict, recipe: Recipe) -> None:
    with gr.Accordion("More", open=False, elem_id="train-more"):
        with gr.Row(equal_height=False):
            parts["further"] = gr.Textbox(
                label="Further corpora, one NAME=FOLDER a line", placeholder="emodb=/path/to/emodb", lines=2,
                elem_id="train-further", min_width=260,
            )  # fmt: skip
            parts["more"] = gr.Textbox(
                label="Further settings, one key=value a line", placeholder="training.accumulate=4\nencoder.lora_rank=16", lines=2,
                elem_id="train-settings", min_width=260,
            )  # fmt: skip
        with gr.Row(equal_height=False):
            parts["device"] = gr.Dropdown(
                [("The best there is", "auto"), ("CPU", "cpu"), ("CUDA", "cuda"), ("Apple (MPS)", "mps")], value="auto",
                label="Device", elem_id="train-device", min_width=160,
            )  # fmt: skip
            _number(parts, "threads", "CPU threads (0: all)", 0)
            parts["tensorboard"] = gr.Checkbox(
                label="Write TensorBoard files as well", elem_id="train-tensorboard", min_width=220
            )


def _events(services: Services, parts: dict, views: gr.Tabs, watching: runs.RunsPart) -> None:
    private = {"api_visibility": "private"}
    filled = [parts[name] for name in _FIELDS]
    chosen = ("about", "encoder", "tune", "encoder_rate", "epochs", "batch_size", "learning_rate", "patience", "test_share",
              "emotions", "adapts", "pretrains", "checked")  # fmt: skip
    parts["recipe"].input(
        for_people(choose_recipe, services), parts["recipe"], [parts[name] for name in chosen], show_progress="hidden",
        trigger_mode="always_last", **private,
    )  # fmt: skip
    parts["tune"].input(
        for_people(choose_tune, services), parts["tune"], parts["encoder_rate"], show_progress="hidden",
        trigger_mode="always_last", **private,
    )  # fmt: skip
    in_turn = {"concurrency_id": "train-check", "concurrency_limit": 1, "trigger_mode": "once", **private}
    parts["check"].click(
        for_people(check, services), filled, parts["checked"], show_progress_on=parts["checked"], **in_turn
    )
    parts["start"].click(
        for_people(start, services), filled, [parts["checked"], views, *watching.outputs], show_progress_on=parts["checked"],
        **in_turn,
    )  # fmt: skip
