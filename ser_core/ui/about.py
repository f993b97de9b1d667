"""The tab About: the models that are here and their cards, where data is kept, the law, versions."""

import atexit
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path

import gradio as gr

import ser_core
from ser_core.inference.models import ModelInfo, read_model, shipped_models
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import emotion_name, personaliser_name, safe
from ser_core.workspace import ASSETS

PACKAGES = (
    "torch", "torchaudio", "transformers", "accelerate", "openai-whisper", "gradio", "plotly", "pandas", "sounddevice",
    "soundfile", "silero-vad", "SQLAlchemy", "scikit-learn", "fairlearn", "safetensors", "huggingface-hub",
)  # fmt: skip

WHAT = """
<p>Attune guesses which of seven emotions an utterance sounds like, and first learns how <em>you</em> sound: one recorded
sentence for each emotion is enough. It gives two answers side by side, the one everybody would get and the one for you,
and shows why they differ; a third one where you just talked for a while.</p>
<p>An answer says how something <em>sounds</em> to a model, not what somebody feels. It is often wrong: the cards below
say how often, and for whom.</p>
"""

WAYS = f"""
<ul>
<li><b>{personaliser_name("speaker_reference")}</b> works out what is your voice and what is the emotion you said, and takes
your voice away before it guesses; recordings of yours that then sound like the new one vote for their emotion.</li>
<li><b>Attention</b> looks among your recordings (all, the neutral ones only, or the emotional ones only) for those that are
like the new utterance, and adds what it hears in them.</li>
<li><b>Calibrated</b> needs no labels: it compares what the model says of your free speech with the emotions that the training
speakers who sound most like you really had, and corrects the answer for everybody by the difference.</li>
</ul>
"""

LAW = """
<ul>
<li><b>At work and in education</b> it is prohibited in the EU to infer people's emotions from their voices, but for medical
and safety reasons (AI Act, Article 5(1)(f), since 2 February 2025).</li>
<li><b>People must be told</b> when such a system is used on them (Article 50(3), since 2 August 2026).</li>
<li><b>Voices are personal data</b>, and sensitive ones: record only people who agreed, and erase what is no longer needed.</li>
<li>Elsewhere other laws hold. This is not legal advice.</li>
</ul>
"""

WHISPER = "whisper-base.en"
"""The size that the button fetches: English, as the text model, and fast enough for a computer without a graphics card."""

_LOOK_EVERY_S = 0.5

KEYS = (
    (
        "Alt+R",
        "records and stops: the guided sentence, the card (or free speech) in which you are, or your utterance in Compare",
    ),
    ("Tab, Shift+Tab", "go from one thing to the next and back"),
    ("Enter, Space", "press what is chosen"),
)


# what is shown


def model_in_words(info: ModelInfo, reason: str, news: str = "") -> str:
    """What a model is, whether it can be used here (or the reason why not), and news of its download."""
    ways = "; ".join(personaliser_name(name) for name in info.personalisers)
    emotions = ", ".join(emotion_name(emotion).lower() for emotion in info.emotions)
    can = '<p><span class="pill good">ready to use</span></p>'
    cannot = (
        '<p><span class="pill">its weights are not on this computer</span></p><p>The button gets them, and so does '
        f"<code>python -m ser_core models fetch {safe(info.name)}</code>. They are kept; nothing about you is sent.</p>"
    )
    return (
        f"<h3>{safe(info.name)}</h3>{cannot if reason else can}"
        f"<p>Emotions: {emotions}.<br>Ways to use an enrolment: {ways}.</p>{news}"
    )


def whisper_in_words(reason: str, news: str = "") -> str:
    """Who writes down what is said, whether it is here (or the reason why not), and news of its download."""
    here = '<p><span class="pill good">ready to use</span></p>'
    missing = (
        '<p><span class="pill">not on this computer</span></p><p>Without it the words can be typed in Compare. The button '
        f"gets it, and so does <code>python -m ser_core models fetch {WHISPER}</code>; other sizes and languages: "
        "<code>python -m ser_core transcribe --help</code>. It is kept, and writes on this computer; nothing is sent.</p>"
    )
    return (
        f"<h3>Whisper, which writes down what is said</h3>{missing if reason else here}<p>OpenAI, MIT licence. It can "
        f"invent words, more often in long pauses; so it is given only what a voice-activity detector takes for speech, "
        f"and what it wrote can be corrected.</p>{news}"
    )


def shown_card(card: str) -> str:
    """A card in Markdown, whose tables scroll by themselves on narrow pages and can be reached by keyboard."""
    return re.sub(r"((?:^\|.*\n?)+)", r'<div class="scroll" tabindex="0">\n\n\1\n</div>\n', card, flags=re.MULTILINE)


def kept_where(services: Services) -> str:
    """Folders, what is in them, and how much."""
    workspace = services.workspace
    places = (
        ("Profiles: names, recordings, free speech, and what is computed from them", workspace.profiles),
        (
            "What the page plays and saves just now; gone when Attune ends, at the latest when it starts again",
            workspace.temporary,
        ),
        ("Downloaded weights", workspace.models),
        ("Embedded corpora, never your recordings", workspace.embeddings),
        ("Trainings", workspace.runs),
        ("Models that were trained here and put to use", workspace.trained),
    )
    n = len(services.names())
    if services.is_shared:
        return (
            f"<p>{n} profile{'' if n == 1 else 's'} of this account, on the computer that runs Attune for your group; only you see "
            "them here, and whoever runs it can read its database. Trainings, fetched weights and embedded corpora belong to all "
            "who sign in. To delete a person, use “Erase this profile”.</p>"
        )
    rows = [[words, f"<code>{safe(path.name)}</code>", _size(path)] for words, path in places]
    if workspace.database:
        rows[0][1:] = ["the database that <code>SER_DATABASE</code> names", ""]
    return (
        f"<p>All of it is in the folder <code>{safe(str(workspace.root))}</code>.</p>"
        f'<div class="numbers in-words">{table(["What", "Where", "Size"], rows)}</div>'
        f"<p>{n} profile{'' if n == 1 else 's'} on this computer. Nothing is sent anywhere; the one thing here that ever "
        "uses a network is the button that downloads a model's weights. To delete a person, use “Erase this profile”; to "
        "delete everything, end Attune and delete the folder.</p>"
    )


def versions() -> list[tuple[str, str, str]]:
    """Name, version and licence of Attune, Python and the packages it stands on."""
    attune = ("Attune", ser_core.__version__, "none stated yet; the weights have their own, see their cards")
    packages = [(name, metadata.version(name), _licence(metadata.metadata(name))) for name in PACKAGES]
    return [attune, ("Python", platform.python_version(), "PSF-2.0"), *packages]


def for_a_report(services: Services) -> str:
    """What a person who reports a bug should copy; nothing about people."""
    from ser_core.training.provenance import provenance

    origin = provenance()
    state = services.models.state()
    model = services.models.recogniser().info.name if state == "ready" else f"({state})"
    device = str(services.models.recogniser().device) if state == "ready" else "-"
    commit = f"commit {origin['commit'][:12]}{', modified' if origin['modified'] else ''}"
    lines = [
        commit,
        f"model {model}, device {device}",
        f"{platform.system()} {platform.release()} {platform.machine()}",
    ]
    return "\n".join([*(f"{name} {version}" for name, version, _ in versions()), *lines])


def _licence(about) -> str:
    """As a package's metadata name it: in one of three places."""
    stated = (about.get("License-Expression") or about.get("License") or "").strip().splitlines()
    classified = [one.rpartition(":: ")[2] for one in about.get_all("Classifier") or () if one.startswith("License ::")]
    return [*stated[:1], *classified, "not stated"][0]


def _size(path: Path) -> str:
    """In words, of a file or of all in a folder; what vanishes meanwhile counts nothing."""
    n_bytes = 0
    for file in (path, *(Path(folder, name) for folder, _, names in os.walk(path) for name in names)):
        with suppress(OSError):
            n_bytes += file.stat().st_size if file.is_file() else 0
    return f"{n_bytes / 1e6:.1f}&nbsp;MB" if n_bytes else "nothing yet"


# what happens


def fill(services: Services) -> list:
    """The tab was opened: everything as it is now."""
    filled = []
    for info in shipped_models():
        reason = info.why_unavailable(services.workspace)
        filled += [
            model_in_words(info, reason),
            gr.Button(visible=bool(reason)),
            shown_card(info.card),
            gr.DownloadButton(value=services.files.document(f"{info.name}-card.md", info.card)),
        ]
    rows = [list(map(safe, row)) for row in versions()]
    named = f'<div class="numbers in-words">{table(["What", "Version", "Licence"], rows)}</div>'
    missing = services.scribe.why_not
    whisper = [whisper_in_words(missing), gr.Button(visible=bool(missing))]
    return [*filled, *whisper, kept_where(services), named, for_a_report(services)]


def fetch(services: Services, name: str) -> Iterator[tuple]:
    """Download a model's weights, by the very command a person would type: the page itself stays offline.

    Yields:
        What is said of the model, how far it is included; and its button. When nobody waits for more, it ends.
    """
    info = read_model(ASSETS / "models" / name)
    yield from _downloading(services, name, info.why_unavailable(services.workspace), partial(model_in_words, info))


def fetch_whisper(services: Services) -> Iterator[tuple]:
    """The same for the Whisper that writes down what was said."""
    yield from _downloading(services, WHISPER, services.scribe.why_not, whisper_in_words)


def _downloading(services: Services, name: str, missing: str, in_words: Callable[[str, str], str]) -> Iterator[tuple]:
    command = [sys.executable, "-m", "ser_core", "models", "fetch", name, "--workspace", str(services.workspace.root)]
    online = {variable: value for variable, value in os.environ.items() if variable != "HF_HUB_OFFLINE"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=online
    ) as download:
        atexit.register(download.kill)  # the app may end meanwhile
        try:
            said = None
            while said is None:
                news = f"<p><b>Downloading its weights: {_size(services.workspace.models / name)}</b></p>"
                yield in_words(missing, news), gr.Button(interactive=False)
                said = _last_words(download)
        finally:
            download.kill()
            atexit.unregister(download.kill)
    if not download.returncode:
        news = (
            '<p class="pill good" role="status">Its weights are here. Reload this page to use it in Compare; from its '
            "next start Attune uses the best model that is here.</p>"
        )
        yield in_words("", news), gr.Button(visible=False)
        return
    _, told, why = said.rpartition("attune models: ")
    news = f'<p class="pill poor" role="alert">{safe(sentence(why))}</p>' if told else ""
    yield in_words(missing, news), gr.Button(interactive=True)
    if not told:
        raise RuntimeError(said)  # a bug


def _last_words(process: subprocess.Popen) -> str | None:
    """What it wrote to standard error, once it has ended; None while it goes on."""
    try:
        return process.communicate(timeout=_LOOK_EVERY_S)[1]
    except subprocess.TimeoutExpired:
        return None


# where it stands


def build(services: Services, tab: gr.Tab) -> None:
    """Lay the tab out.

    Args:
        services: what it calls.
        tab: the tab, which is filled when it is opened.
    """
    outputs = []
    gr.HTML(f'<div class="step"><h2>What this is</h2></div><div class="explained">{WHAT}</div>')
    gr.HTML('<div class="step"><h2>Models</h2></div>')
    for name in (info.name for info in shipped_models()):
        with gr.Column(elem_classes="about-model"):
            said = gr.HTML(elem_id=f"about-{name.replace('.', '-')}", elem_classes="explained")
            button = gr.Button("Download its weights (uses the network)", size="sm", visible=False, scale=0,
                               min_width=280, elem_id=f"about-fetch-{name.replace('.', '-')}")  # fmt: skip
            with gr.Accordion(f"Card of {name}: data, licence, accuracy, fairness, limits", open=False):
                card = gr.Markdown(elem_classes="card-text", sanitize_html=False)  # ours; tabindex must stay
                save = gr.DownloadButton("Save this card", size="sm", scale=0, min_width=140)
            button.click(
                for_people(fetch, services, name), None, [said, button], api_visibility="private",
                show_progress="hidden", trigger_mode="once",
            )  # fmt: skip
            outputs += [said, button, card, save]
    with gr.Column(elem_classes="about-model"):
        said = gr.HTML(elem_id="about-whisper", elem_classes="explained")
        button = gr.Button("Download Whisper base.en (uses the network, 0.3 GB)", size="sm", visible=False, scale=0,
                           min_width=280, elem_id="about-fetch-whisper")  # fmt: skip
        button.click(
            for_people(fetch_whisper, services), None, [said, button], api_visibility="private",
            show_progress="hidden", trigger_mode="once",
        )  # fmt: skip
        outputs += [said, button]
    gr.HTML(f'<div class="step"><h2>Ways to use an enrolment</h2></div><div class="explained law">{WAYS}</div>')
    gr.HTML('<div class="step"><h2>Where data is kept</h2></div>')
    outputs.append(gr.HTML(elem_id="about-data", elem_classes="explained"))
    gr.HTML(f'<div class="step"><h2>The law</h2></div><div class="explained law">{LAW}</div>')
    keys = "".join(f"<li><b>{key}</b> {what}</li>" for key, what in KEYS)
    gr.HTML(f'<div class="step"><h2>Keyboard</h2></div><div class="explained law"><ul>{keys}</ul></div>')
    gr.HTML('<div class="step"><h2>Versions and licences</h2></div>')
    outputs.append(gr.HTML(elem_id="about-versions"))
    report = gr.Textbox(label="For a bug report", lines=6, max_lines=24, interactive=False, buttons=["copy"],
                        elem_id="about-report")  # fmt: skip
    tab.select(for_people(fill, services), None, [*outputs, report], api_visibility="private", show_progress="minimal")
