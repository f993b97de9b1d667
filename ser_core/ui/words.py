"""What was said, in the tab Compare: written down or typed, what it adds to the voice, and where both put the emotion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from ser_core.figures import recognition
from ser_core.figures.style import empty, percent
from ser_core.ui.answers import Visit, document, with_words
from ser_core.ui.errors import for_people, foreseen, sentence
from ser_core.ui.saving import picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.shown import table, told
from ser_core.ui.theme import emotion_name, safe

if TYPE_CHECKING:
    from ser_core.inference.recogniser import Answer, WithWords

NOTHING = "Type what was said, or let Whisper write it down"
_HARDLY = 0.05
"""Below this the words are said to change hardly anything (total variation distance)."""


@dataclass(frozen=True)
class Parts:
    """The components."""

    counts: gr.Checkbox
    text: gr.Textbox
    note: gr.HTML
    answers: gr.HTML
    moved: gr.HTML
    plane: gr.Plot
    plane_note: gr.HTML


_TWO_NETWORKS = (
    "The answers at the top hear the voice alone. Voice and words are answered by a network of their own, which was trained "
    "with both; so even without the words its answer can differ from the one at the top."
)


# what is shown


def answers_table(said: "WithWords | None", voice: tuple["Answer", "Answer | None"] | None) -> str:
    """Voice, words, and both; for everybody and for the enrolled speaker."""
    if said is None or voice is None:
        return ""
    rows = [
        ("Voice alone", *voice),
        ("Words alone", said.words, None),
        ("Voice and words", said.baseline, said.personalised),
        ("The same network, words left out", *said.unread),
    ]
    if not said.text:
        rows = rows[:1]
    for_you = any(row[2] for row in rows)
    head = ["From", "For everybody", *(["For you"] if for_you else [])]
    cells = [[name, _cell(first), *([_cell(second)] if for_you else [])] for name, first, second in rows]
    more = f'<p class="quiet">{_TWO_NETWORKS}</p>' if said.text else ""
    return f'<div class="numbers in-words">{table(head, cells)}{more}</div>'


def _cell(answer: "Answer | None") -> str:
    return told(answer) if answer else "–"


def moved_in_words(said: "WithWords | None") -> str:
    """Was it the words, or the voice?"""
    if said is None or not said.text:
        return ""
    before, after = said.unread[1] or said.unread[0], said.personalised or said.baseline
    if before.emotion != after.emotion:
        first = f"The words changed the answer of the network that reads: without them {_named(before)}, with them {_named(after)}."
    elif said.moved_by_words < _HARDLY:
        first = f"The words changed hardly anything: {_named(after)}, with and without them."
    else:
        gains = {name: after.probabilities[name] - before.probabilities[name] for name in after.probabilities}
        emotion = max(gains, key=gains.get)
        first = (
            f"The words did not change which emotion is named ({_named(after)}), but raised {emotion_name(emotion).lower()} "
            f"by {100 * gains[emotion]:.0f} points, to {percent(after.probabilities[emotion])}."
        )
    stronger = "the words" if said.moved_by_words > said.moved_by_voice else "the voice"
    return (
        f"<p>{first}</p><p>More of this answer comes from {stronger}: leaving out the words moves it by "
        f"{percent(said.moved_by_words)}, leaving out the voice by {percent(said.moved_by_voice)}.</p>"
    )


def _named(answer: "Answer") -> str:
    words = f"{emotion_name(answer.emotion).lower()}, {percent(answer.probabilities[answer.emotion])}"
    return words if answer.sure else f"{words}, not sure"


def plane_of(said: "WithWords | None", reader) -> tuple:
    """The arousal–valence plane and what it is."""
    if said is None or not {"arousal", "valence"} <= set(said.attributes.get("baseline", ())):
        return empty("No arousal and valence from this model yet", 160), ""
    pseudo = reader.attributes_from != "listeners"
    figure = recognition.plane(said.attributes, reader.attribute_range, landmarks=pseudo)
    low, high = reader.attribute_range
    source = (
        "pseudo-attributes: learned from where the emotions lie in the circumplex, not from listeners' ratings"
        if pseudo
        else "learned from listeners' ratings"
    )
    at = "; ".join(
        f"{_WHO[kind]}: {', '.join(f'{name} {value:.1f}' for name, value in values.items())}"
        for kind, values in said.attributes.items()
    )
    return figure, f"<p>{at}. Scale {low:g} to {high:g}; {source}.</p>"


_WHO = {"baseline": "For everybody", "personalised": "For you"}


def _note(words: str) -> str:
    return f'<p class="quiet" role="status">{words}</p>' if words else ""


# what happens


def fresh(services: Services, visit: Visit | None, text: str, about: str | None, counts: bool) -> list:
    """Another answer is shown, or none: its own words come with it. What was typed before any recording is about the first."""
    now = visit.now if visit else None
    if now is None:
        return ["", None, *_noted(answer(services, visit, "", counts))]
    if about is None and text.strip() and not now.text:
        visit.update(now, text=text)
    return [visit.now.text, now.at, *_noted(answer(services, visit, visit.now.text, counts))]


def write_down(
    services: Services,
    visit: Visit | None,
    about: str | None,
    counts: bool,
    progress=gr.Progress(),  # noqa: B008
) -> tuple:
    """A recording came without words: they are written down, if Whisper is here. Whoever typed meanwhile is right."""
    now = visit.now if visit else None
    if now is None or not counts or now.text or now.at != about:
        return gr.skip(), gr.skip()
    if missing := services.scribe.why_not:
        return gr.skip(), _note(safe(missing))
    progress(0.0, desc="Whisper writes down what was said")
    try:
        said = services.scribe.write(now.recording.waveform)
    except ValueError as error:
        if not foreseen(error):
            raise
        return gr.skip(), _note(safe(sentence(error)))
    there = visit.now
    if (
        there is None or there.at != now.at or there.text
    ):  # another answer is shown, or somebody typed, or it was erased
        return gr.skip(), gr.skip()
    visit.update(there, text=said.text, language=said.language or "")
    if not said.text:
        return gr.skip(), _note("Whisper heard no words. You can type them.")
    written = f"Written by {safe(said.model)} in {said.seconds:.1f} s. Whisper can invent words: correct it where it is wrong."
    return said.text, _note(written)


def typed(services: Services, visit: Visit | None, text: str, about: str | None, counts: bool) -> list:
    """The words changed: by the person, for otherwise the answer knows them already."""
    now = visit.now if visit else None
    if now is None or now.at != about or now.text == text:
        return [gr.skip()] * 6
    visit.update(now, text=text, language="")
    return _noted(answer(services, visit, text, counts))


def _noted(answered: list) -> list:
    """With an empty note in place of none: the one that stands there is about something else."""
    *shown, note, file = answered
    return [*shown, note if isinstance(note, str) else "", file]


def count(services: Services, visit: Visit | None, about: str | None, counts: bool) -> list:
    """The words of the answer that is shown, counted."""
    now = visit.now if visit else None
    if now is None or now.at != about:
        return [gr.skip()] * 6
    return answer(services, visit, now.text, counts)


def answer(services: Services, visit: Visit | None, text: str, counts: bool) -> list:
    """What voice and words say together, about the answer that is shown."""
    now = visit.now if visit else None
    if now is None:
        return ["", "", empty(NOTHING, 160), "", "", gr.skip()]
    recogniser = services.models.recogniser(now.asked.model)
    if recogniser.info.reader is None:
        note = _note(f"The model {safe(recogniser.info.name)} reads no words; it hears only.")
        return ["", "", empty("This model reads no words", 160), "", note, gr.skip()]
    try:
        said = with_words(services, now, text if counts else "")
    except ValueError as error:
        if not foreseen(error):
            raise
        return ["", "", empty("The words could not be read", 160), "", _note(safe(sentence(error))), gr.skip()]
    visit.update(now, words=said)
    voice = (now.prediction.baseline, now.prediction.personalised)
    note = gr.skip()
    if said.note:
        note = _note(safe(sentence(said.note)))
    elif text and not counts:
        note = _note("The words do not count just now.")
    file = gr.DownloadButton(value=services.files.document("answer.json", document([visit.now], visit)))
    return [answers_table(said, voice), moved_in_words(said), *plane_of(said, recogniser.info.reader), note, file]


# where it stands


def box() -> tuple[gr.Checkbox, gr.Textbox, gr.HTML]:
    """Where the words are typed; under the recording."""
    counts = gr.Checkbox(True, label="Let the words count as well", elem_id="compare-words-count")
    text = gr.Textbox(
        label="What was said (English)",
        placeholder=NOTHING,
        lines=2,
        max_lines=6,
        max_length=20_000,
        elem_id="compare-words",
    )
    return counts, text, gr.HTML(elem_id="compare-words-note")


def results() -> tuple[gr.HTML, gr.HTML, gr.Plot, gr.HTML]:
    """What they add; beside and below the answers."""
    gr.HTML('<div class="step"><h2>Voice and words</h2></div>')
    with gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=300):
            answers = gr.HTML(elem_id="compare-words-answers")
            moved = gr.HTML(elem_id="compare-words-moved", elem_classes="explained")
        with gr.Column(scale=1, min_width=300):
            plane = gr.Plot(
                empty(NOTHING, 160), show_label=False, elem_id="compare-plane", elem_classes="figure", container=False
            )
            note = gr.HTML(elem_id="compare-plane-note", elem_classes="explained")
            with gr.Row(elem_classes="actions"):
                picture_buttons("compare-plane", "attune-arousal-valence")
    return answers, moved, plane, note


def connect(services: Services, parts: Parts, visit: gr.State, saved: gr.DownloadButton, private: dict) -> "Chain":
    """Events of the panel; whoever answers anew calls what comes back.

    Args:
        services: what is called.
        parts: the panel.
        visit: what was answered.
        saved: the button that saves the answer.
        private: options of all events.
    """
    about = gr.State(None)  # which answer the text in the box belongs to: when it was made
    shown = [parts.answers, parts.moved, parts.plane, parts.plane_note, parts.note, saved]
    # always_last: what came last is what counts, also while something is still being written
    apart = {**private, "concurrency_id": "words", "trigger_mode": "always_last"}
    writing = {**private, "concurrency_id": "writing", "trigger_mode": "always_last"}

    def do(handler):
        return for_people(handler, services)

    steps = (
        {"fn": do(fresh), "inputs": [visit, parts.text, about, parts.counts], "outputs": [parts.text, about, *shown], **apart},
        {"fn": do(write_down), "inputs": [visit, about, parts.counts], "outputs": [parts.text, parts.note], **writing},
        {"fn": do(count), "inputs": [visit, about, parts.counts], "outputs": shown, **apart},
    )  # fmt: skip
    # not .input, which may tell of the words before the last key
    parts.text.change(do(typed), [visit, parts.text, about, parts.counts], shown, **apart)
    parts.counts.input(**steps[2]).then(**steps[1]).then(**steps[2])
    return Chain(steps)


@dataclass(frozen=True)
class Chain:
    """What follows an answer; the answer from the voice stands there already."""

    steps: tuple[dict, dict, dict]

    def follows(self, event) -> None:
        """Its words come into the box, or are written down, and are counted."""
        shown, write, counted = self.steps
        event.success(**shown).then(**write).then(**counted)
