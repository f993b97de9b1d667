"""The tab About: the models that are here and their cards, where data is kept, the law, versions."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

import ser_core
from ser_core.ui.errors import for_people
from ser_core.ui.services import Services
from ser_core.ui.shown import table
from ser_core.ui.theme import emotion_name, personaliser_name, safe
from ser_core.workspace import ASSETS

if TYPE_CHECKING:
    from ser_core.inference.models import ModelInfo

PACKAGES = (
    "torch", "torchaudio", "transformers", "accelerate", "openai-whisper", "gradio", "plotly", "pandas", "sounddevice",
    "soundfile", "silero-vad", "SQLAlchemy", "scikit-learn", "safetensors", "huggingface-hub",
)  # fmt: skip

WHAT = """
<p>Attune guesses which of seven emotions an utterance sounds like, and first learns how <em>you</em> sound: one recorded
sentence for each emotion is enough. It gives two answers side by side, the one everybody would get and the one for you,
and shows why they differ.</p>
<p>An answer says how something <em>sounds</em> to a model, not what somebody feels. It is often wrong: the cards below
say how often, and for whom.</p>
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

KEYS = (
    ("Alt+R", "records and stops: the guided sentence, the card in which you are, or your utterance in Compare"),
    ("Tab, Shift+Tab", "go from one thing to the next and back"),
    ("Enter, Space", "press what is chosen"),
)


class FetchFailed(ValueError):
    """A model's weights could not be downloaded."""


# what is shown


def model_in_words(info: "ModelInfo", reason: str) -> str:
    """What a model is, and whether it can be used here."""
    ways = ", ".join(personaliser_name(name) for name in info.personalisers)
    emotions = ", ".join(emotion_name(emotion).lower() for emotion in info.emotions)
    can = '<span class="pill good">ready to use</span>'
    cannot = '<span class="pill">its weights are not on this computer</span>'
    return (
        f"<h3>{safe(info.name)}</h3><p>{cannot if reason else can}</p>"
        f"<p>Emotions: {emotions}.<br>Ways to use an enrolment: {ways}.</p>"
    )


def kept_where(services: Services) -> str:
    """Folders, what is in them, and how much."""
    workspace = services.workspace
    places = (
        ("Profiles: names, recordings and what is computed from them", workspace.profiles),
        ("What the page plays and saves just now; emptied when Attune ends", workspace.temporary),
        ("Downloaded weights", workspace.models),
        ("Embedded corpora", workspace.embeddings),
        ("Trainings", workspace.runs),
    )
    rows = [[words, f"<code>{safe(str(path))}</code>", _size(path)] for words, path in places]
    n = len(services.names())
    return (
        f'<div class="numbers">{table(["What", "Where", "Size"], rows)}</div>'
        f"<p>{n} profile{'' if n == 1 else 's'} on this computer. Nothing is sent anywhere; the one thing here that ever "
        "uses a network is the button that downloads a model's weights. To delete a person, use “Erase this profile”; to "
        "delete everything, end Attune and delete the folder.</p>"
    )


def versions(services: Services) -> list[tuple[str, str, str]]:
    """Name, version and licence of Attune, Python and the packages it stands on."""
    rows = [("Attune", ser_core.__version__, ""), ("Python", platform.python_version(), "PSF")]
    for name in PACKAGES:
        about = metadata.metadata(name)
        licence = about.get("License-Expression") or (about.get("License") or "").strip().splitlines()[:1]
        licence = licence if isinstance(licence, str) else (licence[0] if licence else "")
        rows.append((name, about["Version"], licence[:60] or _classified(about)))
    return rows


def for_a_report(services: Services) -> str:
    """What a person who reports a bug should copy; nothing about people."""
    state = services.models.state()
    model = services.models.recogniser().info.name if state == "ready" else f"({state})"
    device = str(services.models.recogniser().device) if state == "ready" else "-"
    lines = [f"model {model}, device {device}", f"{platform.system()} {platform.release()} {platform.machine()}"]
    return "\n".join([*(f"{name} {version}" for name, version, _ in versions(services)), *lines])


def _shipped_names() -> list[str]:
    """As `inference.models.shipped_models`, but without what that imports: the page is laid out before torch is there."""
    return sorted(path.parent.name for path in (ASSETS / "models").glob("*/model.json"))


def _classified(about) -> str:
    licences = [one for one in about.get_all("Classifier") or () if one.startswith("License ::")]
    return licences[0].rpartition(":: ")[2] if licences else ""


def _size(path: Path) -> str:
    files = [path] if path.is_file() else path.rglob("*") if path.is_dir() else []
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return f"{n_bytes / 1e6:.1f}&nbsp;MB" if n_bytes else "nothing yet"


# what happens


def fill(services: Services) -> list:
    """The tab was opened: everything as it is now."""
    from ser_core.inference.models import shipped_models

    filled = []
    models = {info.name: info for info in shipped_models()}
    for info in map(models.get, _shipped_names()):
        reason = info.why_unavailable(services.workspace)
        card = info.folder / "README.md"
        filled += [
            model_in_words(info, reason),
            gr.Button(visible=bool(reason)),
            info.card,
            gr.DownloadButton(value=services.files.document(f"{info.name}-card.md", card.read_text(encoding="utf-8"))),
        ]
    rows = [list(map(safe, row)) for row in versions(services)]
    named = f'<div class="numbers">{table(["What", "Version", "Licence"], rows)}</div>'
    return [*filled, kept_where(services), named, for_a_report(services)]


def fetch(services: Services, name: str, progress: gr.Progress = gr.Progress()):  # noqa: B008
    """Download a model's weights, by the very command a person would type: the page itself stays offline."""
    progress(0.0, desc=f"Downloading the weights of {name}")
    command = [sys.executable, "-m", "ser_core", "models", "fetch", name, "--workspace", str(services.workspace.root)]
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=online)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it could not be started"])[-1]
        raise FetchFailed(f"the weights could not be downloaded: {why.partition(': ')[2] or why}")
    return (
        f'<p class="pill good" role="status">The weights of {safe(name)} are here. Start Attune again to use them.</p>'
    )


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
    fetched = gr.HTML(elem_id="about-fetched")
    for name in _shipped_names():
        with gr.Column(elem_classes="about-model"):
            said = gr.HTML(elem_id=f"about-{name.replace('.', '-')}", elem_classes="explained")
            button = gr.Button("Download its weights (uses the network)", size="sm", visible=False, scale=0,
                               min_width=280, elem_id=f"about-fetch-{name.replace('.', '-')}")  # fmt: skip
            with gr.Accordion(f"Card of {name}: data, licence, accuracy, fairness, limits", open=False):
                card = gr.Markdown(elem_classes="card-text")
                save = gr.DownloadButton("Save this card", size="sm", scale=0, min_width=140)
            button.click(
                for_people(fetch, services, name), None, fetched, api_visibility="private", show_progress_on=fetched,
                trigger_mode="once",
            )  # fmt: skip
            outputs += [said, button, card, save]
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
