"""Live, within the tab Compare: listen, see the answers follow the voice, keep the take."""

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from ser_core.figures.timeline import NOT_SURE, Heard, shares, timeline
from ser_core.ui.answers import Asked, live_take, live_words
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.listening import NotListening
from ser_core.ui.services import Services
from ser_core.ui.shown import answer_in_words, named, table
from ser_core.ui.theme import EMOTIONS, PLUMBING, emotion_name, safe

if TYPE_CHECKING:
    from ser_core.inference.live import LiveTake, LiveWords, Moment

_SHOWN_S = 60.0
_ASK_AGAIN_S = 0.5
_QUIET = "Nothing heard yet."
_SILENCE = "Silence."

PANEL = """
<div class="live" id="live-panel">
  <div class="live-answers" id="live-answers">{answers}</div>
  <label class="level">Level <meter id="live-level" min="-60" max="0" low="-45" high="-6" optimum="-20" value="-60"></meter></label>
  <div class="figure over-time" id="live-timeline" tabindex="0" role="group" aria-label="The last minute">{timeline}</div>
  <p class="unseen" id="live-said" aria-live="polite"></p>
</div>
"""


# what is shown


def stretches(moments: "Sequence[Moment]", hop_s: float) -> list[Heard]:
    """Moments as stretches of time: each stands for the time since the one before could have been."""
    heard = []
    for moment in moments:
        said = moment.prediction
        both = {"baseline": said.baseline, "personalised": said.personalised} if said else {}
        answers = {name: answer for name, answer in both.items() if answer}
        emotions = {name: answer.emotion for name, answer in answers.items()}
        unsure = frozenset(name for name, answer in answers.items() if not answer.sure)
        heard.append(Heard(moment.end_s - hop_s, moment.end_s, emotions, unsure))
    return heard


def answers_now(moment: "Moment | None", whose: str, calibrates: bool = False) -> str:
    """The answers of a moment, in big letters; the one that free speech gives, where there can be one, between the others."""
    for_whom = f"For {safe(whose)} (personalised)" if whose else "For you (personalised)"
    said = moment.prediction if moment else None
    instead = _QUIET if moment is None else _SILENCE
    first = answer_in_words("baseline", "For everybody (baseline)", said and said.baseline, instead)
    right = said.calibrated.answer if said and said.calibrated else None
    third = (
        answer_in_words("calibrated", f"For {safe(whose)} (calibrated)", right, instead) if calibrates or right else ""
    )
    nobody = "No labelled recording is enrolled." if whose else "Nobody is chosen: there is one answer only."
    second = answer_in_words("personalised", for_whom, said and said.personalised, nobody if said else instead)
    return first + third + second


def picture(moments: "Sequence[Moment]", hop_s: float, to_s: float) -> str:
    """The last minute."""
    to_s = max(to_s, _SHOWN_S)
    return timeline(stretches(moments, hop_s), EMOTIONS, to_s - _SHOWN_S, to_s, "live")


def words_now(words: "LiveWords | None") -> str:
    """The latest words, and what voice and words say together."""
    said = words.now() if words is not None else None
    if said is None or not said.text:
        problem = words.problem if words is not None else ""
        return f'<p class="live-words quiet">{safe(sentence(problem))}</p>' if problem else ""
    return f'<p class="live-words">“{safe(said.text)}” With these words: {_with(said)}.</p>'


def _with(said) -> str:
    both = [f"for everybody {named(said.baseline)}"]
    both += [f"for you {named(said.personalised)}"] if said.personalised else []
    return ", ".join(both)


def shown_now(take: "LiveTake", whose: str, words: "LiveWords | None" = None) -> dict:
    """What the page puts where, after each new moment."""
    from ser_core.inference.live import HOP_S

    if words is not None:
        words.look()
    newest = take.moments[-1]
    latest = take.moments[-round(_SHOWN_S / HOP_S) - 1 :]
    return {
        "answers": answers_now(newest, whose, take.calibrates) + words_now(words),
        "timeline": picture(latest, HOP_S, newest.end_s),
        "said": said_aloud(newest, words),
        "end_s": newest.end_s,
        "milliseconds": newest.milliseconds,
    }


def said_aloud(moment: "Moment", words: "LiveWords | None" = None) -> str:
    """A moment for a screen reader."""
    with_words = words.now() if words is not None else None
    said = moment.prediction
    if said is None:
        return "Silence"
    second = f", calibrated {named(said.calibrated.answer)}" if said.calibrated else ""
    second += f", personalised {named(said.personalised)}" if said.personalised else ""
    third = f"; with the words, {_with(with_words)}" if with_words and with_words.text else ""
    return f"Baseline {named(said.baseline)}{second}{third}"


def empty_panel() -> str:
    """Before anything is heard."""
    return PANEL.format(answers=answers_now(None, ""), timeline=timeline([], EMOTIONS, 0.0, _SHOWN_S, "live"))


def summary(heard: Sequence[Heard]) -> str:
    """Seconds of each emotion in both answers, and of those that were not sure, as a table."""
    first, second = (shares(heard, answer) for answer in ("baseline", "personalised"))
    heads = ["Emotion", "Baseline", *(["Personalised"] if second else [])]
    columns = [first, *([second] if second else [])]
    rows = [
        [emotion_name(emotion), *(f"{column.get(emotion, 0.0):.1f}&nbsp;s" for column in columns)]
        for emotion in (*EMOTIONS, NOT_SURE)
        if any(emotion in column for column in columns)
    ]
    if not rows:
        return '<p class="quiet">No speech was found in this take.</p>'
    return f'<div class="numbers">{table(heads, rows)}</div>'


def told(words: str, kind: str = "") -> str:
    """The line under the buttons."""
    return f'<div class="status" role="status"><p class="{kind}">{words}</p></div>'


# what happens


def begin(services: Services, name: str, model: str | None, personaliser: str | None, counts: bool, ticket: str):
    """Wait for the model and for room, then open a take: (token, ticket, status) as they come."""
    ticket = ticket or secrets.token_hex(8)
    if services.models.state(model or None) == "loading":
        yield "", ticket, told("The model is being loaded. This takes a few seconds …")
    services.models.recogniser(model or None)
    while place := services.listeners.place_in_row(ticket):
        yield (
            "",
            ticket,
            told(f"Others are listening just now. You are number {place} in the row; it goes on by itself."),
        )
        time.sleep(_ASK_AGAIN_S)
    services.take()
    take = live_take(services, Asked(name, model or None, personaliser or None))
    words = live_words(services, take) if counts else None
    token = services.listeners.open(ticket, take, services.whose(name), lambda grown: shown_now(grown, name, words))
    yield token, ticket, told("Waiting for the microphone …")


def began(services: Services, heard: str) -> tuple:
    """The page listens, or why it cannot: the buttons follow."""
    listens = bool(heard) and not heard.startswith("!")
    if not listens:
        with suppress(NotListening):
            services.listeners.close(heard[1:])  # others may be waiting for its place
    words = (
        "Listening. Speak; press Stop when you are done."
        if listens
        else "The microphone could not be used: see the note at the top of the page."
    )
    return gr.Button(visible=not listens), gr.Button(visible=listens), told(words, "" if listens else "problem")


def finish(services: Services, token: str) -> list:
    """The whole take, to play back and to save."""
    from ser_core.inference.live import HOP_S, as_json, as_table

    buttons = [gr.Button(visible=True), gr.Button(visible=False), ""]
    try:
        take = services.listeners.close(token)
    except NotListening as error:
        return [*buttons, told(sentence(error)), gr.Column(visible=False), *[gr.skip()] * 6]
    if not take.moments:
        return [*buttons, told("Too little was heard to keep."), gr.Column(visible=False), *[gr.skip()] * 6]
    heard = stretches(take.moments, HOP_S)
    drawn = timeline(heard, EMOTIONS, 0.0, max(take.duration_s, 5.0), "take")
    keep = services.files.document
    return [
        *buttons,
        told(f"{take.duration_s:.1f} s heard, {len(take.moments)} answers."),
        gr.Column(visible=True),
        keep("take.wav", take.wav()),
        f'<div class="figure over-time" tabindex="0" role="group" aria-label="The whole take">{drawn}</div>',
        summary(heard),
        gr.DownloadButton(value=keep("take.csv", as_table(take.moments).to_csv(index=False))),
        gr.DownloadButton(value=keep("take.json", as_json(take.moments))),
        gr.DownloadButton(value=keep("take.svg", drawn)),
    ]


# where it stands


@dataclass(frozen=True)
class Choices:
    """The components that say what is asked for, above both ways to ask."""

    chosen: gr.State
    model: gr.Dropdown
    personaliser: gr.Dropdown


def build(services: Services, choices: Choices) -> None:
    """Lay it out.

    Args:
        services: what it calls.
        choices: whose enrolment, which model, how it is used.
    """
    # tokens are handed to the page's own script, so they cannot be gr.State
    token, ticket = gr.Textbox(elem_id="live-token", **PLUMBING), gr.State("")
    gr.HTML('<div class="step"><h2>Speak, and watch</h2><p>The answers follow your voice, over the last three seconds. '
            "Up to ten minutes; nothing is stored unless you save it.</p></div>")  # fmt: skip
    with gr.Row(elem_classes="actions"):
        start = gr.Button("Listen", variant="primary", elem_id="live-start", scale=0, min_width=140)
        stop = gr.Button("Stop", variant="stop", elem_id="live-stop", visible=False, scale=0, min_width=140)
    counts = gr.Checkbox(
        True, label="Where Whisper is on this computer, write down the last six seconds, and let the words count as well",
        elem_id="live-words-count",
    )  # fmt: skip
    status = gr.HTML(told(""), elem_id="live-status")
    gr.HTML(empty_panel(), elem_id="live")
    with gr.Column(visible=False, elem_id="live-take") as whole:
        gr.HTML('<div class="step"><h2>Your take</h2></div>')
        sound = gr.Audio(
            type="filepath", format=None, interactive=False, buttons=["download"], label="The take", show_label=False,
            elem_id="live-sound",
        )  # fmt: skip
        drawn = gr.HTML(elem_id="live-drawn")
        table = gr.HTML(elem_id="live-summary")
        with gr.Row(elem_classes="actions"):
            csv, as_json, svg = (
                gr.DownloadButton(f"Save the {words}", size="sm", elem_id=f"live-{kind}", scale=0, min_width=150)
                for words, kind in (
                    ("time series (CSV)", "csv"),
                    ("time series (JSON)", "json"),
                    ("picture (SVG)", "svg"),
                )
            )

    private = {"api_visibility": "private", "show_progress": "hidden"}
    asked = [choices.chosen, choices.model, choices.personaliser, counts]
    opened = start.click(
        for_people(begin, services), [*asked, ticket], [token, ticket, status],
        js="(...all) => window.attune.live.prepare(all)", trigger_mode="once", concurrency_limit=None, **private,
    )  # fmt: skip
    opened.success(
        for_people(began, services), token, [start, stop, status], js="(token) => window.attune.live.listen(token)",
        **private,
    )  # fmt: skip
    stop.click(
        for_people(finish, services), token,
        [start, stop, token, status, whole, sound, drawn, table, csv, as_json, svg],
        js="(token) => window.attune.live.stop(token)", trigger_mode="once", **private,
    )  # fmt: skip
