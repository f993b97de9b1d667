"""Guided recording, within the tab Enrol: one emotion after the other, with a countdown, hands free if wanted.

The page's own script (enrol.js) counts down, presses Record and Stop of the recorder, and asks for the next one; what
is stored is decided here. With a microphone of this computer the recording is made here too.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import gradio as gr

from ser_core.data.audio import AudioRejected, read_recording
from ser_core.inference.archives import as_flac
from ser_core.inference.profiles import EnrolledUtterance, Profile
from ser_core.inference.recording import NoMicrophone, input_devices, record
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.services import Services
from ser_core.ui.theme import EMOTIONS, PLUMBING, emotion_name, prompt, safe

PAGE = -1
"""The choice of the page's microphone, among this computer's."""

_THIS_PAGE = ("This page's microphone", PAGE)

_LONGEST_S = 8.0
_SHOW_EVERY_S = 0.2
_SPOKE_ABOVE_DBFS, _PAUSE_S = -40.0, 1.2
"""Recording ends when somebody spoke and has been silent for so long."""


# what is shown


def step_of(profile: Profile | None, emotion: str, source: int, words: str = "", problem: bool = False) -> str:
    """The sentence to say now, and what became of the one before."""
    if profile is None or not emotion:
        return ""
    done = sum(each in profile.emotions for each in EMOTIONS)
    text, hint = prompt(emotion)
    kind = "poor" if problem else "good"
    said = f'<p class="pill {kind}" role="{"alert" if problem else "status"}">{words}</p>' if words else ""
    where = "page" if source == PAGE else "computer"
    return (
        f'<div id="guided-now" data-source="{where}"><p class="quiet">{done} of {len(EMOTIONS)} enrolled</p>'
        f'<h3><i style="background: var(--{emotion})" aria-hidden="true"></i>{emotion_name(emotion)}</h3>'
        f'<blockquote>“{text}”</blockquote><p class="hint">{hint}</p>{said}</div>'
    )


def verdict_in_words(stored: EnrolledUtterance) -> str:
    """What was recorded, in a line."""
    advice = stored.quality.get("advice") or ["Good."]
    if not stored.has_speech:
        advice = ["No speech was found in it; it is kept because you did it once more."]
    return f"{emotion_name(stored.emotion)}: {stored.duration_s:.1f} s saved. {safe(advice[0])}"


def meter(level_dbfs: float, seconds: float) -> str:
    """The level of this computer's microphone."""
    return (
        f'<label class="level">{seconds:.0f} s <meter min="-60" max="0" low="-45" high="-6" optimum="-20" '
        f'value="{level_dbfs:.0f}">{level_dbfs:.0f} dB</meter></label>'
    )


def sources() -> tuple[list[tuple[str, int]], str]:
    """Microphones to choose from, and what is missing, in words."""
    offered = [_THIS_PAGE]
    try:
        found = input_devices()
    except NoMicrophone as error:
        return offered, sentence(error)
    found = sorted(found, key=lambda one: not one.is_default)
    return offered + [(f"This computer's {one.name} ({one.rate_hz / 1000:g} kHz)", one.index) for one in found], ""


# what happens


class ComputerTake:
    """A recording by one of this computer's microphones, in a thread of its own, which ends by itself."""

    def __init__(self, device: int):
        self.dropped = False
        self._device, self._stop = device, threading.Event()
        self._levels: queue.SimpleQueue = queue.SimpleQueue()
        self._result: queue.SimpleQueue = queue.SimpleQueue()
        self._spoke, self._silent_since = False, time.monotonic()
        threading.Thread(target=self._record, name="computer-microphone", daemon=True).start()

    def stop(self) -> None:
        """End it now; what was recorded is kept."""
        self._stop.set()

    def levels(self) -> Iterator[tuple[float, float]]:
        """(level in dBFS, seconds) about five times a second, until it has ended."""
        began = shown = time.monotonic()
        while (level := self._levels.get()) is not None:
            if time.monotonic() - shown >= _SHOW_EVERY_S:
                shown = time.monotonic()
                yield level, shown - began

    def waveform(self):
        """(N,) float32, 16 kHz.

        Raises:
            NoMicrophone: it could not be used.
        """
        result = self._result.get()
        if isinstance(result, Exception):
            raise result
        return result

    def _record(self) -> None:
        try:
            self._result.put(record(_LONGEST_S, self._device, self._hear, self._over))
        except Exception as error:
            self._result.put(error)
        self._levels.put(None)

    def _hear(self, level_dbfs: float) -> None:
        if level_dbfs > _SPOKE_ABOVE_DBFS:
            self._spoke, self._silent_since = True, time.monotonic()
        self._levels.put(level_dbfs)

    def _over(self) -> bool:
        return self._stop.is_set() or (self._spoke and time.monotonic() - self._silent_since > _PAUSE_S)


_TAKES: dict[str, ComputerTake] = {}
"""Of each page, by its session, the take under way: its Stop button finds it here."""


def next_emotion(profile: Profile, after: str = "") -> str:
    """The first one that is missing, looking on from the one before; nothing when none is."""
    place = EMOTIONS.index(after) + 1 if after in EMOTIONS else 0
    in_turn = [*EMOTIONS[place:], *EMOTIONS[:place]]
    return next((emotion for emotion in in_turn if emotion not in profile.emotions), "")


def guide(services: Services, how: str, name: str, emotion: str, source: int, request: gr.Request = None) -> list:
    """Show what to say: 'start', 'repeat' the same one, 'skip' it, or go to the 'next'."""
    drop_here(services, request)
    profile = services.chosen(name)
    if how == "repeat":
        return [emotion, step_of(profile, emotion, source), None, gr.Column(visible=True), gr.Column(visible=False)]
    emotion = next_emotion(profile, emotion if how in ("skip", "next") else "")
    if not emotion and how == "start":
        gr.Info("All seven are recorded. “Record again” on a card replaces one, “Add another” adds one.")
    there = bool(emotion)
    shown = step_of(profile, emotion, source)
    return [emotion, shown, None, gr.Column(visible=there), gr.Column(visible=not there)]


def keep(
    services: Services, upload: str | None, name: str, agreed: bool, emotion: str, source: int, dropped: str = ""
) -> tuple:
    """A guided recording was made: store it, or say why not; one that was broken off is dropped."""
    if upload is None:
        return gr.skip(), "", gr.skip()
    try:
        if dropped or not emotion:
            return gr.skip(), "", None
        return *_kept(
            services, name, emotion, source, lambda old: services.enrol(name, emotion, upload, agreed, old)
        ), gr.skip()
    finally:
        services.files.forget_upload(upload)


def record_here(services: Services, name: str, agreed: bool, emotion: str, source: int, request: gr.Request):
    """Record with a microphone of this computer: its level as it goes, then what became of it."""
    if services.is_shared:
        raise NoMicrophone("where Attune is shared, its own microphones stay closed; record with your browser's")
    take = _TAKES[request.session_hash] = ComputerTake(source)
    try:
        for level_dbfs, seconds in take.levels():
            yield meter(level_dbfs, seconds), gr.skip(), gr.skip()
        waveform = take.waveform()
    finally:
        take.stop()
        _TAKES.pop(request.session_hash, None)
    if take.dropped:
        yield "", gr.skip(), ""
        return

    def store(old: str | None) -> EnrolledUtterance:
        recording = read_recording(as_flac(waveform))  # too short, silent and clipped are told first
        return services.enrol_waveform(name, emotion, recording.waveform, agreed, old)

    yield "", *_kept(services, name, emotion, source, store)


def stop_here(services: Services, request: gr.Request) -> None:
    """Stop was pressed."""
    take = _TAKES.get(request.session_hash)
    if take:
        take.stop()


def drop_here(_services: Services, request: gr.Request = None) -> None:
    """What this computer's microphone records just now is not wanted any more."""
    take = _TAKES.get(request.session_hash) if request else None
    if take:
        take.dropped = True
        take.stop()


def _kept(services: Services, name: str, emotion: str, source: int, store: Callable) -> tuple:
    """What the panel shows, and whether the page may go on by itself."""
    clips = [clip for clip in services.chosen(name).utterances if clip.emotion == emotion]
    try:
        stored = store(clips[-1].utterance_id if clips else None)
    except AudioRejected as error:
        return step_of(services.profile(name), emotion, source, f"{safe(sentence(error))} Press Repeat.", True), ""
    words = verdict_in_words(stored)
    poor = stored.quality.get("verdict") == "poor" and stored.has_speech
    words += " Better press Repeat, or Skip to keep it." if poor else ""
    return step_of(services.profile(name), emotion, source, words, poor), "" if poor else "go on"


# where it stands


@dataclass
class Panel:
    """The panel's components, laid out where it is made."""

    column: gr.Column = field(init=False)

    def __post_init__(self):
        with gr.Column(visible=False, elem_id="guided", elem_classes="guided") as self.column:
            self.step = gr.HTML(elem_id="guided-step")
            gr.HTML('<p id="guided-count" aria-live="assertive"></p>')
            self.level = gr.HTML(elem_id="guided-level")
            self.audio = gr.Audio(
                sources=["microphone"], type="filepath", format=None, editable=False, buttons=[],
                waveform_options=gr.WaveformOptions(sample_rate=16000), label="Guided recording", show_label=False,
                elem_id="guided-audio",
            )  # fmt: skip
            with gr.Row(elem_classes="actions"):
                names = {"stop": "Stop", "repeat": "Repeat", "skip": "Skip", "pause": "Pause", "finish": "Finish"}
                for part, words in names.items():
                    button = gr.Button(words, size="sm", elem_id=f"guided-{part}", min_width=80, scale=0)
                    setattr(self, part, button)
            self.source = gr.Dropdown(
                [("This page's microphone", PAGE)], value=PAGE, label="Microphone", elem_id="guided-source"
            )
            self.missing = gr.HTML(elem_id="guided-missing")
            self.here = gr.Button("Record here", elem_id="guided-here", **PLUMBING)
            self.goes_on = gr.Textbox(elem_id="guided-goes-on", **PLUMBING)
            self.dropped = gr.Textbox(elem_id="guided-dropped", **PLUMBING)
        self.emotion = gr.State("")


def connect(services: Services, panel: Panel, start: gr.Button, cards: gr.Column, chosen, agreed, refresh) -> None:
    """Events.

    Args:
        services: what they call.
        panel: what they fill.
        start: the button that begins.
        cards: what the panel stands in place of.
        chosen: the name of the profile in use.
        agreed: whether one may record.
        refresh: handler and outputs that show on the cards what was stored.
    """

    def do(handler, *bound):
        return for_people(handler, services, *bound)

    private = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "concurrency_id": "enrol",
        "concurrency_limit": 1,
    }
    shown = [panel.emotion, panel.step, panel.audio, panel.column, cards]
    inputs = [chosen, panel.emotion, panel.source]
    again = {"fn": None, "js": "() => window.attune.guided.begin()"}
    show_cards, card_parts = refresh

    start.click(do(found_sources), None, [panel.source, panel.missing], **private).then(
        do(guide, "start"), inputs, shown, **private
    ).success(**again)
    for button, how in ((panel.repeat, "repeat"), (panel.skip, "skip")):
        button.click(
            do(guide, how), inputs, shown, js="(...all) => (window.attune.guided.halt(), all)", **private
        ).success(**again)  # fmt: skip
    panel.pause.click(do(drop_here), None, None, js="() => window.attune.guided.pause()", **private)
    panel.stop.click(do(stop_here), None, None, js="() => window.attune.guided.stop()", **private)
    panel.finish.click(
        do(finish), None, [panel.step, panel.column, cards],
        js="() => window.attune.guided.halt()", **private,
    ).then(show_cards, [chosen, agreed], card_parts, **private)  # fmt: skip

    kept = {"outputs": [panel.step, panel.goes_on]}
    by_page = panel.audio.stop_recording(
        do(keep),
        [panel.audio, chosen, agreed, panel.emotion, panel.source, panel.dropped],
        [*kept["outputs"], panel.audio],
        js="(...all) => window.attune.guided.taken(all)",
        **private,
    )
    by_computer = panel.here.click(
        do(record_here), [chosen, agreed, panel.emotion, panel.source], [panel.level, *kept["outputs"]],
        api_visibility="private", show_progress="hidden", trigger_mode="once",
    )  # fmt: skip
    for recorded in (by_page, by_computer):
        recorded.success(
            do(go_on),
            [panel.goes_on, *inputs],
            [*shown, panel.goes_on],
            js="(...all) => window.attune.guided.breathe(all)",
            **private,
        ).success(show_cards, [chosen, agreed], card_parts, **private).success(
            None, panel.goes_on, None, js="(goes_on) => window.attune.guided.on(goes_on)"
        )
    panel.source.input(
        do(lambda services, name, emotion, source: step_of(services.profile(name), emotion, source)),
        inputs,
        panel.step,
        **private,
    )


def found_sources(services: Services) -> tuple:
    """Look which microphones there are now."""
    offered, missing = ([_THIS_PAGE], "") if services.is_shared else sources()
    few = len(offered) == 1
    return gr.Dropdown(offered, value=PAGE, visible=not few), f'<p class="quiet">{missing}</p>' if missing else ""


def finish(services: Services, request: gr.Request = None) -> list:
    """Back to the cards."""
    drop_here(services, request)
    return ["", gr.Column(visible=False), gr.Column(visible=True)]


def go_on(services: Services, goes_on: str, name: str, emotion: str, source: int) -> list:
    """To the next emotion, if what was recorded will do."""
    if not goes_on:
        return [*[gr.skip()] * 5, ""]
    return [*guide(services, "next", name, emotion, source), goes_on]
