"""Free speech, within the tab Enrol: the second way, for which no emotion has to be acted."""

from dataclasses import dataclass, fields

import gradio as gr

from ser_core.data.audio import AudioRejected
from ser_core.inference.profiles import Profile, RemovedUtterance
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.services import Services
from ser_core.ui.theme import safe

WHAT = """
<p>No emotion has to be acted here: talk for <b>30 to 60 seconds</b> about anything, best about something nice
<em>and</em> something annoying. At least 15 seconds of it must be speech, pauses do not count; it is cut into sentences, and what
you say is not written down.</p>
<p>It corrects what the model says too often of <em>you</em>. It cannot learn how you sound when you are angry, and talk in
one mood only can mislead it: the sentences above usually do more. You can keep both.</p>
"""


# what is shown


def in_words(profile: Profile | None) -> str:
    """How much free speech is kept; nothing where there is none."""
    if profile is None or not profile.talk:
        return ""
    return f"{sum(part.duration_s for part in profile.talk):.0f} s of free speech"


def title(profile: Profile | None) -> str:
    """Of the panel, open or not."""
    kept = in_words(profile)
    return f"Or just talk ({kept} kept)" if kept else "Or just talk"


@dataclass(frozen=True)
class Shown:
    """What the panel shows beside what is stored.

    Attributes:
        problem: why the last recording was refused.
        hints: what seems odd about it, in words.
        anew: whether the talk that is kept is to be replaced.
        removed: what “Undo” would bring back.
    """

    problem: str = ""
    hints: tuple[str, ...] = ()
    anew: bool = False
    removed: tuple[RemovedUtterance, ...] = ()


@dataclass(frozen=True)
class Parts:
    """What the panel is made of; the same names hold its components, or their updates."""

    panel: object
    state: object
    audio: object
    again: object
    keep: object
    delete: object
    undo: object
    anew: object
    removed: object

    def parts(self) -> list:
        """In the order handlers give them back."""
        return [getattr(self, part.name) for part in fields(self)]


def state_of(profile: Profile | None, may: bool, shown: Shown) -> str:
    """What is kept, what is wrong, and what seems odd."""
    problem = f'<div role="alert"><span class="pill poor">problem: {safe(shown.problem)}</span></div>'
    parts = [problem] if shown.problem else []
    if profile is not None and profile.talk:
        n, seconds = len(profile.talk), sum(part.duration_s for part in profile.talk)
        said = f"{seconds:.0f} s of speech in {n} parts, kept"
        advice = "".join(f'<p class="advice">{safe(words)}</p>' for words in shown.hints)
        parts.append(f'<div role="status"><span class="pill good">{said}</span>{advice}</div>')
    elif not may:
        parts.append('<p class="quiet">Tick the box in step 1 to record.</p>')
    elif not parts:
        parts.append('<span class="pill" role="status">nothing kept yet</span>')
    return "".join(parts)


def parts_of(services: Services, profile: Profile | None, agreed: bool, shown: Shown = Shown()) -> list:  # noqa: B008 - frozen
    """The panel's parts as they should be now.

    Args:
        services: where the speech is.
        profile: whose; None for nobody.
        agreed: whether one may record.
        shown: what else it shows.
    """
    may = services.may_record(profile, agreed)
    kept = profile is not None and bool(profile.talk)
    plays = kept and not shown.anew
    records = may and not plays
    synthetic = profile is not None and profile.consent is not None and profile.consent.is_nobodys
    return Parts(
        panel=gr.Accordion(label=title(profile), visible=profile is not None and (kept or not synthetic)),
        state=state_of(profile, may, shown),
        audio=gr.Audio(
            value=services.talk_playback(profile) if plays else None, interactive=records, visible=records or plays
        ),
        again=gr.Button(visible=plays and may),
        keep=gr.Button(visible=kept and shown.anew),
        delete=gr.Button(visible=plays),
        undo=gr.Button(visible=bool(shown.removed)),
        anew=shown.anew,
        removed=shown.removed,
    ).parts()


# what happens


def save(services: Services, upload: str | None, name: str, agreed: bool, anew: bool, removed: tuple) -> list:
    """Somebody talked, or chose a file: store it in the place of the earlier one, or say why not."""
    if upload is None:
        return [gr.skip()] * len(fields(Parts))
    earlier = services.store.kept_talk(name) if services.profile(name) else ()
    try:
        services.add_talk(name, upload, agreed)
    except AudioRejected as error:
        return _now(services, name, agreed, Shown(sentence(error), anew=anew, removed=removed))
    return _now(services, name, agreed, Shown(hints=services.talk_hints(name), removed=earlier))


def delete(services: Services, name: str, agreed: bool) -> list:
    """Delete it; “Undo” appears."""
    return _now(services, name, agreed, Shown(removed=services.swap_talk(name)))


def undo(services: Services, removed: tuple, name: str, agreed: bool) -> list:
    """Bring it back; what stands there by now can be brought back in turn."""
    return _now(services, name, agreed, Shown(removed=services.swap_talk(name, removed or ())))


def change_mode(services: Services, anew: bool, name: str, agreed: bool) -> list:
    """Show the recorder in place of the player, or the other way round; what is stored stays meanwhile."""
    return _now(services, name, agreed, Shown(anew=anew))


def _now(services: Services, name: str, agreed: bool, shown: Shown) -> list:
    return parts_of(services, services.profile(name), agreed, shown)


# where it stands


def panel() -> Parts:
    """Lay it out."""
    with gr.Accordion(title(None), open=False, visible=False, elem_id="enrol-talk") as around:
        gr.HTML(WHAT, elem_classes="explained")
        state = gr.HTML(elem_id="enrol-talk-state")
        audio = gr.Audio(
            sources=["microphone", "upload"], type="filepath", format=None, editable=False, buttons=[],
            waveform_options=gr.WaveformOptions(sample_rate=16000), label="Free speech: recording", show_label=False,
            elem_id="enrol-talk-audio", visible=False,
        )  # fmt: skip
        with gr.Row(elem_classes="actions"):
            names = {"again": "Talk anew", "keep": "Back", "delete": "Delete the free speech", "undo": "Undo"}
            buttons = {
                part: gr.Button(words, size="sm", visible=False, elem_id=f"enrol-talk-{part}", min_width=110, scale=0)
                for part, words in names.items()
            }
    return Parts(around, state, audio, **buttons, anew=gr.State(False), removed=gr.State(()))


def connect(services: Services, parts: Parts, chosen: gr.State, agreed: gr.State, refresh: tuple) -> None:
    """Events.

    Args:
        services: what they call.
        parts: what they fill.
        chosen: the name of the profile in use.
        agreed: whether one may record.
        refresh: handler, inputs and outputs that show how far the enrolment is.
    """

    def do(handler, *bound):
        return for_people(handler, services, *bound)

    private = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "concurrency_id": "enrol",
        "concurrency_limit": 1,
    }
    outputs, who = parts.parts(), [chosen, agreed]
    cutting = {**private, "show_progress": "minimal", "show_progress_on": parts.state}
    new_talk = [parts.audio.stop_recording, parts.audio.upload]
    done = [
        gr.on(new_talk, do(save), [parts.audio, *who, parts.anew, parts.removed], outputs, **cutting),
        parts.delete.click(do(delete), who, outputs, **private),
        parts.undo.click(do(undo), [parts.removed, *who], outputs, **private),
    ]
    for button, anew in ((parts.again, True), (parts.keep, False)):
        button.click(do(change_mode, anew), who, outputs, **private)
    handler, asked, shown = refresh
    for event in done:
        event.success(handler, asked, shown, **private)
