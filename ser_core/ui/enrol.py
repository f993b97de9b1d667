"""The tab Enrol: agree, say whose voice it is, and record one sentence per emotion."""

from dataclasses import dataclass, fields

import gradio as gr

from ser_core.data.audio import AudioRejected
from ser_core.inference.profiles import EnrolledUtterance, Erased, Profile, RemovedUtterance, UnknownProfile
from ser_core.ui.services import NoProfileChosen, Services, for_people, sentence
from ser_core.ui.theme import EMOTIONS, emotion_name, prompt, safe

NOBODY = ""
"""The choice of no profile, in both tabs."""

NOTICE = """
<div class="step"><h2>1. Before you start</h2></div>
<div class="notice">
<ul>
<li><b>What is kept:</b> the name you give and the recordings you make on this page, in one database file in Attune's
folder on this computer, until you erase them.</li>
<li><b>Nothing is sent anywhere.</b> Attune works without a network.</li>
<li><b>How to erase:</b> “Delete” on a card removes one recording, “Erase this profile” removes everything at once.</li>
<li><b>The law:</b> inferring emotions at work or in education is prohibited in the EU (AI Act, Article 5(1)(f)).</li>
</ul>
</div>
"""

TIPS = """
<h3>For a good recording</h3>
<ul>
<li>A quiet room, and the microphone a hand's width away.</li>
<li>Press Record, speak right away, press Stop. Three seconds are plenty.</li>
<li>Play it back. If it does not sound like the emotion to you, record it again.</li>
<li><b>No microphone?</b> The arrow under Record takes a file: WAV, FLAC, OGG or MP3, half a second to 30 seconds.</li>
<li><b>“No microphone found”?</b> Plug one in, or allow this page to use it (the sign to the left of the address), then
reload the page.</li>
</ul>
"""

CONSENT = "I have read this, and the voice I record is mine or its owner agrees"

_ENCOURAGED = {
    0: "Start with any card.",
    1: "A start. Each further recording makes the answers more personal.",
    len(EMOTIONS): "All done. Go to Compare and try it.",
}


# what is shown


def step(title: str, words: str = "") -> str:
    """A heading, and perhaps a line under it."""
    return f'<div class="step"><h2>{title}</h2>{f"<p>{words}</p>" if words else ""}</div>'


def told(words: str, colour: str = "good") -> gr.HTML:
    """A line that says what was done; no words, no line."""
    return gr.HTML(f'<p class="pill {colour}" role="status">{words}</p>', visible=bool(words))


def words_of(emotion: str) -> str:
    """A card's name, sentence and hint."""
    text, hint = prompt(emotion)
    heading = f'<h3><i style="background: var(--{emotion})" aria-hidden="true"></i>{emotion_name(emotion)}</h3>'
    return f'<div class="words">{heading}<blockquote>“{text}”</blockquote><p class="hint">{hint}</p></div>'


def state_of(clip: EnrolledUtterance | None, problem: str = "") -> str:
    """A card's pill, and what to do, in words."""
    if problem:
        return f'<div role="alert"><span class="pill poor">problem: {safe(problem)}</span></div>'
    if clip is None:
        return '<span class="pill">missing</span>'
    verdict = clip.quality.get("verdict", "")
    colour = "poor" if verdict == "poor" else "good"
    said = {"good": "good quality", "usable": "usable", "poor": "better record again"}.get(verdict, "")
    advice = "".join(f'<p class="advice">{safe(words)}</p>' for words in clip.quality.get("advice", ()))
    pill = f'<span class="pill {colour}">recorded {clip.duration_s:.1f} s{f" · {said}" if said else ""}</span>'
    return f'<div role="status">{pill}{advice}</div>'


def progress_of(profile: Profile | None, agreed: bool) -> str:
    """How far the enrolment is, and what comes next."""
    if profile is None:
        return '<div class="status" role="status"><p>Choose a profile, or create one, to see its seven cards.</p></div>'
    done = [emotion in profile.emotions for emotion in EMOTIONS]
    dots = "".join(f'<i class="{"done" if one else ""}"></i>' for one in done)
    next_step = _ENCOURAGED.get(sum(done), "It works already. Each further recording makes the answers more personal.")
    if not agreed:
        next_step = "Tick the box in step 1 to record."
    return (
        f'<div class="progress" role="status"><strong>{sum(done)} of {len(EMOTIONS)} enrolled</strong>'
        f'<span class="dots" aria-hidden="true">{dots}</span><span class="status">{next_step}</span></div>'
    )


def erased_in_words(erased: Erased) -> str:
    """What an erasure destroyed."""
    what = "1 recording" if erased.n_utterances == 1 else f"{erased.n_utterances} recordings"
    size = f" and all that was computed from them ({max(1, erased.n_bytes // 1000)} kB)" if erased.n_utterances else ""
    return f"Erased “{safe(erased.name)}”: {what}{size}. Nothing of it is left."


def choices(services: Services) -> list[tuple[str, str]]:
    """Everybody who has a profile, and nobody."""
    return [("Nobody", NOBODY), *((name, name) for name in services.names())]


@dataclass(frozen=True)
class Card:
    """What a card is made of; the same names hold its components, or their updates."""

    audio: object
    state: object
    again: object
    keep: object
    delete: object
    undo: object
    removed: object

    def parts(self) -> list:
        """In the order handlers give them back."""
        return [getattr(self, part.name) for part in fields(self)]


def card_of(
    services: Services,
    profile: Profile | None,
    emotion: str,
    agreed: bool,
    problem: str = "",
    again: bool = False,
    removed: list[RemovedUtterance] | None = None,
) -> list:
    """A card's parts as they should be now.

    Args:
        services: where its recording is.
        profile: whose card; None for nobody's.
        emotion: which card.
        agreed: whether one may record.
        problem: why the last recording was refused.
        again: whether the person wants to replace the recording.
        removed: what “Undo” would bring back.
    """
    clips = [clip for clip in profile.utterances if clip.emotion == emotion] if profile else []
    clip = clips[-1] if clips else None
    records = bool(profile and agreed and (clip is None or again))
    plays = clip is not None and not again
    value = services.playback(profile.name, clip.utterance_id) if plays else None
    return Card(
        audio=gr.Audio(value=value, interactive=records, visible=records or plays),
        state=state_of(clip, problem),
        again=gr.Button(visible=plays and agreed),
        keep=gr.Button(visible=clip is not None and again),
        delete=gr.Button(visible=plays),
        undo=gr.Button(visible=bool(removed) and clip is None),
        removed=removed,
    ).parts()


# what happens


def show(services: Services, name: str, agreed: bool, shown: tuple[str, bool] | None) -> list:
    """Another profile, or consent given or taken back: everything but the step of the notice.

    What is shown already is left alone: somebody may be recording.
    """
    if shown == (name, agreed):
        return [gr.skip()] * (7 + len(EMOTIONS) * len(fields(Card)))
    try:
        profile = services.profile(name)
    except UnknownProfile:  # erased in another window
        profile, name = None, NOBODY
    cards = [part for emotion in EMOTIONS for part in card_of(services, profile, emotion, agreed)]
    return [
        (name, agreed),
        name,
        gr.Dropdown(choices=choices(services), value=name or NOBODY),
        progress_of(profile, agreed),
        gr.Column(visible=profile is not None),
        gr.Button(visible=profile is not None),
        gr.Column(visible=False),
        *cards,
    ]


def offer(services: Services) -> gr.Dropdown:
    """When the page has come: everybody who has a profile, made here or elsewhere; who is chosen stays chosen."""
    return gr.Dropdown(choices=choices(services))


def restore_choice(services: Services, remembered: str, name: str) -> str:
    """After a reload: the profile chosen before, if it still exists and nobody was quicker to choose another."""
    return name or (remembered if remembered in services.names() else NOBODY)


def create(services: Services, name: str, agreed: bool) -> tuple:
    """Make a profile and choose it."""
    profile = services.create(name, agreed)
    return profile.name, "", told(f"Profile “{safe(profile.name)}” is ready.")


def ask_before_erasing(services: Services, name: str) -> tuple:
    """Say what would be lost."""
    profile = services.profile(name)
    if profile is None:
        raise NoProfileChosen("choose the profile to erase first")
    n = len(profile.utterances)
    what = f"“{safe(profile.name)}” and {'1 recording' if n == 1 else f'{n} recordings'}"
    return told(""), gr.Column(visible=True), told(f"This erases {what} for ever.", "poor")


def erase(services: Services, name: str) -> tuple:
    """Erase the profile, and say what is gone."""
    return NOBODY, gr.Column(visible=False), told(erased_in_words(services.erase(name)))


def save(services: Services, emotion: str, upload: str | None, name: str, agreed: bool) -> list:
    """A recording was made or a file chosen: store it, or say why not."""
    if upload is None:
        return [gr.skip()] * (len(fields(Card)) + 1)
    problem = ""
    try:
        services.enrol(name, emotion, upload, agreed)
    except AudioRejected as error:
        problem = sentence(error)
    return _one_card(services, emotion, name, agreed, problem=problem, again=bool(problem))


def delete(services: Services, emotion: str, name: str, agreed: bool) -> list:
    """Delete one recording; “Undo” appears."""
    removed = services.remove(name, emotion)
    return _one_card(services, emotion, name, agreed, removed=removed)


def undo(services: Services, emotion: str, removed: list[RemovedUtterance] | None, name: str, agreed: bool) -> list:
    """Bring it back."""
    services.restore(name, removed or ())
    return _one_card(services, emotion, name, agreed)


def record_again(services: Services, emotion: str, again: bool, name: str, agreed: bool) -> list:
    """Show the recorder in place of the player, or the other way round; the stored recording stays meanwhile."""
    return _one_card(services, emotion, name, agreed, again=again)


def _one_card(services: Services, emotion: str, name: str, agreed: bool, **options) -> list:
    profile = services.profile(name)
    return [progress_of(profile, agreed), *card_of(services, profile, emotion, agreed, **options)]


# where it stands


def build(services: Services, chosen: gr.State, remembered: gr.BrowserState, page: gr.Blocks) -> None:
    """Lay the tab out.

    Args:
        services: what it calls.
        chosen: the name of the profile in use; whoever sets it makes all tabs follow.
        remembered: the same, for the next visit.
        page: the page, which asks for the choice of the last visit when it has come.
    """
    agreed, shown = gr.State(False), gr.State(None)
    gr.HTML(NOTICE)
    consent = gr.Checkbox(label=CONSENT, elem_id="enrol-consent", container=False)

    gr.HTML(step("2. Whose voice?"))
    with gr.Row(equal_height=False, elem_classes="whose"):
        profile = gr.Dropdown([("Nobody", NOBODY)], value=NOBODY, label="Profile in use", elem_id="enrol-profile")
        new_name = gr.Textbox(label="Or a new name", placeholder="Name", elem_id="enrol-name", max_lines=1)
        create_it = gr.Button("Create profile", variant="primary", elem_id="enrol-create", min_width=140, scale=0)
        erase_it = gr.Button("Erase this profile", elem_id="enrol-erase", visible=False, min_width=160, scale=0)
    with gr.Column(visible=False, elem_classes="question") as question:
        warning = gr.HTML()
        with gr.Row():
            confirm = gr.Button("Erase for ever", variant="stop", elem_id="enrol-erase-confirm", scale=0, min_width=160)
            cancel = gr.Button("Keep it", elem_id="enrol-erase-cancel", scale=0, min_width=120)
    message = gr.HTML(elem_id="enrol-message", visible=False)

    gr.HTML(step("3. Say each sentence", "It is saved when you stop. Any sentence in any language will do as well."))
    progress = gr.HTML(progress_of(None, False), elem_id="enrol-progress")
    with gr.Column(visible=False, elem_classes="cards") as all_cards:
        cards = {emotion: _card(emotion) for emotion in EMOTIONS}
        with gr.Column(elem_classes=["card", "tips"]):
            gr.HTML(TIPS)

    def do(handler, *bound):
        return for_people(handler, services, *bound)

    # one after the other, so that what is shown last is what is stored
    private = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "concurrency_id": "enrol",
        "concurrency_limit": 1,
    }
    everything = [
        shown,
        remembered,
        profile,
        progress,
        all_cards,
        erase_it,
        question,
        *(p for card in cards.values() for p in card.parts()),
    ]
    gr.on(
        [chosen.change, agreed.change],
        do(show),
        [chosen, agreed, shown],
        everything,
        trigger_mode="always_last",
        **private,
    )
    page.load(do(offer), None, profile, **private)
    page.load(do(restore_choice), [remembered, chosen], chosen, **private)
    consent.input(lambda ticked: ticked, consent, agreed, **private)
    profile.input(lambda name: (name, told("")), profile, [chosen, message], **private)
    gr.on([create_it.click, new_name.submit], do(create), [new_name, agreed], [chosen, new_name, message], **private)
    erase_it.click(do(ask_before_erasing), chosen, [message, question, warning], **private)
    cancel.click(lambda: gr.Column(visible=False), None, question, **private)
    confirm.click(do(erase), chosen, [chosen, question, message], **private)
    for emotion, card in cards.items():
        outputs = [progress, *card.parts()]
        new_take = [card.audio.stop_recording, card.audio.upload]
        saving = {**private, "show_progress": "minimal", "show_progress_on": card.state}
        gr.on(new_take, do(save, emotion), [card.audio, chosen, agreed], outputs, **saving)
        card.delete.click(do(delete, emotion), [chosen, agreed], outputs, **private)
        card.undo.click(do(undo, emotion), [card.removed, chosen, agreed], outputs, **private)
        card.again.click(do(record_again, emotion, True), [chosen, agreed], outputs, **private)
        card.keep.click(do(record_again, emotion, False), [chosen, agreed], outputs, **private)


def _card(emotion: str) -> Card:
    with gr.Column(elem_classes="card", elem_id=f"enrol-{emotion}"):
        gr.HTML(words_of(emotion))
        state = gr.HTML(state_of(None), elem_id=f"enrol-{emotion}-state")
        audio = gr.Audio(
            sources=["microphone", "upload"], type="filepath", format=None, editable=False, buttons=[],
            waveform_options=gr.WaveformOptions(sample_rate=16000), label=f"{emotion_name(emotion)}: recording",
            show_label=False, elem_id=f"enrol-{emotion}-audio", visible=False,
        )  # fmt: skip
        with gr.Row(elem_classes="actions"):
            again = gr.Button("Record again", size="sm", visible=False, elem_id=f"enrol-{emotion}-again", min_width=90)
            keep = gr.Button(
                "Keep the old one", size="sm", visible=False, elem_id=f"enrol-{emotion}-keep", min_width=90
            )
            delete_it = gr.Button("Delete", size="sm", visible=False, elem_id=f"enrol-{emotion}-delete", min_width=90)
            undo_it = gr.Button("Undo", size="sm", visible=False, elem_id=f"enrol-{emotion}-undo", min_width=90)
    return Card(audio, state, again, keep, delete_it, undo_it, gr.State(None))
