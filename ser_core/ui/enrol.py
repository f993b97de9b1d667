"""The tab Enrol: agree, say whose voice it is, and record one sentence per emotion, by cards or guided; or just talk."""

from dataclasses import dataclass, fields

import gradio as gr

from ser_core.data.audio import AudioRejected
from ser_core.inference.archives import BadArchive
from ser_core.inference.consent import QUESTION, ConsentMissing
from ser_core.inference.profiles import (
    BadProfileName,
    EnrolledUtterance,
    Erased,
    Profile,
    ProfileExists,
    RemovedUtterance,
    UnknownProfile,
    UnknownUtterance,
)
from ser_core.ui import guided, talk
from ser_core.ui.errors import for_people, sentence
from ser_core.ui.saving import SaveButton
from ser_core.ui.services import NoProfileChosen, Services
from ser_core.ui.theme import EMOTIONS, emotion_name, prompt, safe

NOBODY = ""
"""The choice of no profile, in both tabs."""

TIPS = """
<details class="tips"><summary>For a good recording, and if there is no microphone</summary>
<ul>
<li>A quiet room, and the microphone a hand's width away.</li>
<li>Press Record, speak right away, press Stop. Three seconds are plenty.</li>
<li>Play it back. If it does not sound like the emotion to you, record it again.</li>
<li><b>No microphone?</b> The arrow under Record takes a file: WAV, FLAC, OGG or MP3, half a second to 30 seconds. Or
try the example voice of step 2.</li>
<li><b>“No microphone found”?</b> Plug one in, or allow this page to use it (the sign to the left of the address), then
reload the page.</li>
<li><b>Keyboard:</b> Alt+R records and stops.</li>
</ul>
</details>
"""

_ENCOURAGED = {
    0: "Start with any card.",
    1: "A start. Each further recording makes the answers more personal.",
    len(EMOTIONS): "All done. Go to Compare and try it.",
}


# what is shown


def notice(services: Services) -> str:
    """What a person is told before anything is kept."""
    points = "".join(f"<li><b>{title}:</b> {words}</li>" for title, words in services.wording.points)
    return f'{step("1. Before you start")}<div class="notice"><ul>{points}</ul></div>'


def microphone_help() -> gr.HTML:
    """Where the page says why the microphone cannot be used, and what to do; empty until then."""
    return gr.HTML('<div id="microphone-help" role="alert" hidden></div>')


def agreed_in_words(services: Services, profile: Profile | None) -> str:
    """What the profile's owner agreed to, and when."""
    if profile is None:
        return ""
    if profile.consent is not None and profile.consent.is_nobodys:
        return (
            '<p class="quiet">A synthetic voice: nobody said any of this. It shows how Attune works, not how well.</p>'
        )
    if profile.consent is None:
        return '<p class="quiet">Made before consent was recorded: tick the box in step 1 to record more.</p>'
    day = profile.consent.agreed[:10]
    older = "" if services.has_agreed(profile) else " The wording has changed since: tick the box to record more."
    return f'<p class="quiet">Agreed on {day} to wording {safe(profile.consent.version)}.{older}</p>'


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


def state_of(clip: EnrolledUtterance | None, problem: str = "", hints: tuple[str, ...] = (), n: int = 1) -> str:
    """A card's pill, and what to do, in words.

    Args:
        clip: the recording that is shown; None if there is none.
        problem: why the last one was refused.
        hints: what is odd about it.
        n: how many recordings of this emotion there are.
    """
    refused = f'<div role="alert"><span class="pill poor">problem: {safe(problem)}</span></div>' if problem else ""
    if clip is None:
        return refused or '<span class="pill">missing</span>'
    verdict = clip.quality.get("verdict", "")
    colour = "poor" if verdict == "poor" else "good"
    said = {"good": "good quality", "usable": "usable", "poor": "better record again"}.get(verdict, "")
    advice = clip.quality.get("advice", ())
    if not clip.has_speech:  # its speaker insisted
        said, advice = "kept, though no speech was found in it", ()
    advice = "".join(f'<p class="advice">{safe(words)}</p>' for words in (*advice, *hints))
    more = f"{n} recordings, this one " if n > 1 else "recorded "
    pill = f'<span class="pill {colour}">{more}{clip.duration_s:.1f} s{f" · {said}" if said else ""}</span>'
    said_in_it = f'<p class="quiet">“{safe(clip.transcript)}”</p>' if clip.transcript else ""
    return f'{refused}<div role="status">{pill}{said_in_it}{advice}</div>'


def progress_of(services: Services, profile: Profile | None, agreed: bool) -> str:
    """How far the enrolment is, and what comes next."""
    if profile is None:
        return '<div class="status" role="status"><p>Choose a profile, or create one, to see its seven cards.</p></div>'
    done = [emotion in profile.emotions for emotion in EMOTIONS]
    dots = "".join(f'<i class="{"done" if one else ""}"></i>' for one in done)
    next_step = _ENCOURAGED.get(sum(done), "It works already. Each further recording makes the answers more personal.")
    talked = talk.in_words(profile)
    if talked and not any(done):
        next_step = "Enough to try Compare. Each sentence makes the answers more personal."
    if profile.consent is not None and profile.consent.is_nobodys:
        next_step = "A synthetic voice, to try Attune with."
    elif not services.may_record(profile, agreed):
        next_step = "Tick the box in step 1 to record."
    return (
        f'<div class="progress" role="status"><strong>{sum(done)} of {len(EMOTIONS)} enrolled'
        f"{f', and {talked}' if talked else ''}</strong>"
        f'<span class="dots" aria-hidden="true">{dots}</span><span class="status">{next_step}</span></div>'
    )


def erased_in_words(erased: Erased, n_talk: int = 0) -> str:
    """What an erasure destroyed; so many of the utterances were parts of free speech."""
    what = _counted(erased.n_utterances - n_talk, n_talk)
    size = f" and all that was computed from them ({max(1, erased.n_bytes // 1000)} kB)" if erased.n_utterances else ""
    return f"Erased “{safe(erased.name)}”: {what}{size}. Nothing of it is left."


def _counted(n: int, n_talk: int) -> str:
    """Recordings, and whether there is free speech."""
    recordings = "1 recording" if n == 1 else f"{n} recordings"
    return f"{recordings} and the free speech" if n_talk else recordings


def choices(services: Services) -> list[tuple[str, str]]:
    """Everybody who has a profile, and nobody."""
    return [("Nobody", NOBODY), *((name, name) for name in services.names())]


@dataclass(frozen=True)
class Card:
    """What a card is made of; the same names hold its components, or their updates."""

    audio: object
    state: object
    which: object
    again: object
    another: object
    keep: object
    delete: object
    undo: object
    removed: object
    mode: object

    def parts(self) -> list:
        """In the order handlers give them back."""
        return [getattr(self, part.name) for part in fields(self)]


@dataclass(frozen=True)
class Shown:
    """What a card shows beside what is stored.

    Attributes:
        problem: why the last recording was refused.
        mode: 'again' while the shown recording is to be replaced, 'another' while one is to be added, else nothing.
        which: id of the recording that is shown; the newest if None.
        removed: what “Undo” would bring back.
    """

    problem: str = ""
    mode: str = ""
    which: str | None = None
    removed: tuple[RemovedUtterance, ...] = ()


def card_of(services: Services, profile: Profile | None, emotion: str, agreed: bool, shown: Shown, hints: dict) -> list:
    """A card's parts as they should be now.

    Args:
        services: where its recordings are.
        profile: whose card; None for nobody's.
        emotion: which card.
        agreed: whether one may record.
        shown: what else it shows.
        hints: what is odd about recordings, by id.
    """
    clips = [clip for clip in profile.utterances if clip.emotion == emotion] if profile else []
    agreed = services.may_record(profile, agreed)
    clip = next((clip for clip in clips if clip.utterance_id == shown.which), clips[-1] if clips else None)
    records = bool(profile and agreed and (clip is None or shown.mode))
    plays = clip is not None and not shown.mode
    value = services.playback(profile.name, clip.utterance_id) if plays else None
    several = [(f"{place}: {each.duration_s:.1f} s", each.utterance_id) for place, each in enumerate(clips, 1)]
    return Card(
        audio=gr.Audio(value=value, interactive=records, visible=records or plays),
        state=state_of(clip, shown.problem, hints.get(clip.utterance_id, ()) if clip else (), len(clips)),
        which=gr.Radio(several, value=clip.utterance_id if clip else None, visible=plays and len(clips) > 1),
        again=gr.Button(visible=plays and agreed),
        another=gr.Button(visible=plays and agreed),
        keep=gr.Button(visible=clip is not None and bool(shown.mode)),
        delete=gr.Button(visible=plays),
        undo=gr.Button(visible=bool(shown.removed) and not shown.mode),
        removed=shown.removed,
        mode=shown.mode,
    ).parts()


# what happens


def show(services: Services, name: str, agreed: bool, shown: tuple | None) -> list:
    """Another profile, or consent given or taken back: everything but the step of the notice.

    What is shown already is left alone: somebody may be recording.
    """
    try:
        profile = services.profile(name)
    except UnknownProfile:  # erased in another window
        profile, name = None, NOBODY
    clips = (*profile.utterances, *profile.talk) if profile else ()
    now = (name, agreed, tuple(clip.utterance_id for clip in clips))
    if shown == now:
        return [gr.skip()] * (11 + len(fields(talk.Parts)) + len(EMOTIONS) * len(fields(Card)))
    there = profile is not None
    return [
        now,
        name,
        gr.Dropdown(choices=choices(services), value=name or NOBODY),
        progress_of(services, profile, agreed),
        gr.Column(visible=there),
        gr.Row(visible=there),
        gr.Column(visible=False),
        agreed_in_words(services, profile),
        gr.Button(visible=services.may_record(profile, agreed)),
        gr.Column(visible=False),  # guided recording ends: it was somebody else's
        "",
        *talk.parts_of(services, profile, agreed),
        *_all_cards(services, profile, agreed),
    ]


def offer(services: Services) -> gr.Dropdown:
    """When the page has come: everybody who has a profile, made here or elsewhere; who is chosen stays chosen."""
    return gr.Dropdown(choices=choices(services))


def restore_choice(services: Services, remembered: str, name: str) -> str:
    """After a reload: the profile chosen before, if it still exists and nobody was quicker to choose another."""
    return name or (remembered if remembered in services.names() else NOBODY)


def create(services: Services, name: str, agreed: bool) -> tuple:
    """Make a profile and choose it."""
    if not name.strip():
        return gr.skip(), gr.skip(), told("Type a name first.", "poor")
    try:
        profile = services.create(name, agreed)
    except (ConsentMissing, BadProfileName, ProfileExists) as error:
        return gr.skip(), gr.skip(), told(safe(sentence(error)), "poor")
    return profile.name, "", told(f"Profile “{safe(profile.name)}” is ready.")


def rename(services: Services, name: str, new_name: str) -> tuple:
    """Give the chosen profile the name in the box."""
    if not new_name.strip():
        return gr.skip(), gr.skip(), told("Type the new name into the box first.", "poor")
    try:
        profile = services.rename(name, new_name)
    except (BadProfileName, ProfileExists) as error:
        return gr.skip(), gr.skip(), told(safe(sentence(error)), "poor")
    return profile.name, "", told(f"“{safe(name)}” is now called “{safe(profile.name)}”.")


def bring_in(services: Services, upload: str | None, new_name: str, agreed: bool) -> tuple:
    """A profile from a file that was saved here or elsewhere."""
    if upload is None:
        return gr.skip(), gr.skip(), gr.skip()
    try:
        profile = services.import_profile(upload, new_name, agreed)
    except (ConsentMissing, BadArchive, BadProfileName, ProfileExists) as error:
        return gr.skip(), gr.skip(), told(safe(sentence(error)), "poor")
    words = f"“{safe(profile.name)}” was brought in with {_counted(len(profile.utterances), len(profile.talk))}."
    return profile.name, "", told(words)


def take_example(services: Services) -> tuple:
    """Choose the example voice."""
    profile = services.add_example()
    return profile.name, told("This voice is synthetic. Go to Compare and take one of its examples there.")


def ask_before_erasing(services: Services, name: str) -> tuple:
    """Say what would be lost."""
    profile = services.profile(name)
    if profile is None:
        raise NoProfileChosen("choose the profile to erase first")
    what = f"“{safe(profile.name)}” and {_counted(len(profile.utterances), len(profile.talk))}"
    return told(""), gr.Column(visible=True), told(f"This erases {what} for ever.", "poor")


def erase(services: Services, name: str) -> tuple:
    """Erase the profile, and say what is gone."""
    n_talk = len(services.chosen(name).talk)
    return NOBODY, gr.Column(visible=False), told(erased_in_words(services.erase(name), n_talk))


def save(
    services: Services, emotion: str, upload: str | None, name: str, agreed: bool, mode: str, which: str | None
) -> list:
    """A recording was made or a file chosen: store it, or say why not."""
    if upload is None:
        return [gr.skip()] * (len(fields(Card)) + 1)
    try:
        stored = services.enrol(name, emotion, upload, agreed, which if mode == "again" else None)
    except AudioRejected as error:
        return _one_card(services, emotion, name, agreed, Shown(sentence(error), mode, which))
    except UnknownUtterance:
        gone = "The recording to replace is gone: it was changed in another window. Nothing was stored."
        return _one_card(services, emotion, name, agreed, Shown(gone))
    return _one_card(services, emotion, name, agreed, Shown(which=stored.utterance_id))


def delete(services: Services, emotion: str, name: str, agreed: bool, which: str | None) -> list:
    """Delete one recording; “Undo” appears."""
    try:
        removed = (services.remove(name, which),) if which else ()
    except UnknownUtterance:
        removed = ()  # gone already
    return _one_card(services, emotion, name, agreed, Shown(removed=removed))


def undo(services: Services, emotion: str, removed, name: str, agreed: bool) -> list:
    """Bring it back."""
    services.restore(name, removed or ())
    return _one_card(services, emotion, name, agreed, Shown(which=removed[0].utterance_id if removed else None))


def change_mode(services: Services, emotion: str, mode: str, name: str, agreed: bool, which: str | None) -> list:
    """Show the recorder in place of the player, or the other way round; what is stored stays meanwhile."""
    return _one_card(services, emotion, name, agreed, Shown(mode=mode, which=which))


def show_one(services: Services, emotion: str, name: str, agreed: bool, which: str | None) -> list:
    """Another of several recordings."""
    return _one_card(services, emotion, name, agreed, Shown(which=which))


def _one_card(services: Services, emotion: str, name: str, agreed: bool, shown: Shown) -> list:
    profile = services.profile(name)
    hints = services.hints(name) if profile else {}
    return [progress_of(services, profile, agreed), *card_of(services, profile, emotion, agreed, shown, hints)]


def _all_cards(services: Services, profile: Profile | None, agreed: bool) -> list:
    hints = services.hints(profile.name) if profile else {}
    return [part for emotion in EMOTIONS for part in card_of(services, profile, emotion, agreed, Shown(), hints)]


def progress_now(services: Services, name: str, agreed: bool) -> str:
    """How far the enrolment is after something was kept or deleted."""
    return progress_of(services, services.profile(name), agreed)


def after_guiding(services: Services, name: str, agreed: bool) -> list:
    """What guided recording stored, on the cards."""
    profile = services.profile(name)
    return [progress_of(services, profile, agreed), *_all_cards(services, profile, agreed)]


# where it stands


def build(services: Services, chosen: gr.State, remembered: gr.BrowserState, tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out.

    Args:
        services: what it calls.
        chosen: the name of the profile in use; whoever sets it makes all tabs follow.
        remembered: the same, for the next visit.
        tab: the tab, which looks again when somebody comes back from Compare.
        page: the page, which asks for the choice of the last visit when it has come.
    """
    agreed, shown = gr.State(False), gr.State(None)
    gr.HTML(notice(services))
    consent = gr.Checkbox(label=QUESTION, elem_id="enrol-consent", container=False)

    gr.HTML(step("2. Whose voice?"))
    with gr.Row(equal_height=False, elem_classes="whose"):
        profile = gr.Dropdown([("Nobody", NOBODY)], value=NOBODY, label="Profile in use", elem_id="enrol-profile")
        new_name = gr.Textbox(
            label="A new name (to create or rename)", placeholder="Name", elem_id="enrol-name", max_lines=1
        )
        create_it = gr.Button("Create profile", variant="primary", elem_id="enrol-create", min_width=140, scale=0)
    with gr.Row(elem_classes="actions"):
        example = gr.Button("Try the example voice (synthetic)", size="sm", elem_id="enrol-example", scale=0,
                            min_width=240)  # fmt: skip
        import_it = gr.UploadButton("Bring in a profile (zip)", size="sm", elem_id="enrol-import", scale=0,
                                    min_width=190, type="filepath")  # fmt: skip
    with gr.Row(visible=False, elem_classes="actions") as of_profile:
        rename_it = gr.Button("Rename", size="sm", elem_id="enrol-rename", scale=0, min_width=100)
        export_it = SaveButton("Take along (zip)", "enrol-export", 140)
        erase_it = gr.Button("Erase this profile", size="sm", elem_id="enrol-erase", scale=0, min_width=150)
    with gr.Column(visible=False, elem_classes="question") as question:
        warning = gr.HTML()
        with gr.Row():
            confirm = gr.Button("Erase for ever", variant="stop", elem_id="enrol-erase-confirm", scale=0, min_width=160)
            cancel = gr.Button("Keep it", elem_id="enrol-erase-cancel", scale=0, min_width=120)
    message = gr.HTML(elem_id="enrol-message", visible=False)
    consented = gr.HTML(elem_id="enrol-agreed")

    saying = "It is saved when you stop. Any sentence in any language will do as well. To act no emotion, see “Or just talk” below."
    gr.HTML(step("3. Say each sentence", saying))
    gr.HTML(TIPS)
    progress = gr.HTML(progress_of(services, None, False), elem_id="enrol-progress")
    guide_me = gr.Button("Guide me through it", variant="primary", elem_id="guided-start", visible=False, scale=0,
                         min_width=220)  # fmt: skip
    panel = guided.Panel()
    with gr.Column(visible=False, elem_classes="cards") as all_cards:
        cards = {emotion: _card(emotion) for emotion in EMOTIONS}
    talked = talk.panel()

    def do(handler, *bound):
        return for_people(handler, services, *bound)

    # one after the other, so that what is shown last is what is stored
    private = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "concurrency_id": "enrol",
        "concurrency_limit": 1,
    }
    # what neither stores nor shows a recording need not wait for other people's
    aside = {**private, "concurrency_id": "enrol-aside", "concurrency_limit": 4}
    all_parts = [part for card in cards.values() for part in card.parts()]
    everything = [
        shown, remembered, profile, progress, all_cards, of_profile, question, consented, guide_me, panel.column,
        panel.emotion, *talked.parts(), *all_parts,
    ]  # fmt: skip
    gr.on(
        [chosen.change, agreed.change, tab.select],
        do(show),
        [chosen, agreed, shown],
        everything,
        trigger_mode="always_last",
        **private,
    )
    gr.on([chosen.change, tab.select], None, None, None, js="() => window.attune.guided.halt()")
    page.load(do(offer), None, profile, **aside)
    page.load(do(restore_choice), [remembered, chosen], chosen, **aside)
    consent.input(lambda ticked: ticked, consent, agreed, **aside)
    profile.input(lambda name: (name, told("")), profile, [chosen, message], **aside)
    named = [chosen, new_name, message]
    gr.on([create_it.click, new_name.submit], do(create), [new_name, agreed], named, **aside)
    rename_it.click(do(rename), [chosen, new_name], named, **private)
    import_it.upload(do(bring_in), [import_it, new_name, agreed], named, **private)
    # making the example voice takes a second
    example.click(do(take_example), None, [chosen, message], trigger_mode="once",
                  **{**private, "show_progress": "minimal", "show_progress_on": progress})  # fmt: skip
    export_it.makes(do(Services.export), chosen, **private)
    erase_it.click(do(ask_before_erasing), chosen, [message, question, warning], **aside)
    cancel.click(lambda: gr.Column(visible=False), None, question, **aside)
    confirm.click(do(erase), chosen, [chosen, question, message], **private)
    for emotion, card in cards.items():
        outputs, who = [progress, *card.parts()], [chosen, agreed]
        new_take = [card.audio.stop_recording, card.audio.upload]
        saving = {**private, "show_progress": "minimal", "show_progress_on": card.state}
        gr.on(new_take, do(save, emotion), [card.audio, *who, card.mode, card.which], outputs, **saving)
        card.delete.click(do(delete, emotion), [*who, card.which], outputs, **private)
        card.undo.click(do(undo, emotion), [card.removed, *who], outputs, **private)
        card.which.input(do(show_one, emotion), [*who, card.which], outputs, **private)
        for button, mode in ((card.again, "again"), (card.another, "another"), (card.keep, "")):
            button.click(do(change_mode, emotion, mode), [*who, card.which], outputs, **private)
    talk.connect(services, talked, chosen, agreed, (do(progress_now), [chosen, agreed], progress))
    guided.connect(services, panel, guide_me, all_cards, chosen, agreed, (do(after_guiding), [progress, *all_parts]))


def _card(emotion: str) -> Card:
    with gr.Column(elem_classes="card", elem_id=f"enrol-{emotion}"):
        gr.HTML(words_of(emotion))
        state = gr.HTML(state_of(None), elem_id=f"enrol-{emotion}-state")
        which = gr.Radio([], value=None, label="Which recording", visible=False, elem_id=f"enrol-{emotion}-which")
        audio = gr.Audio(
            sources=["microphone", "upload"], type="filepath", format=None, editable=False, buttons=[],
            waveform_options=gr.WaveformOptions(sample_rate=16000), label=f"{emotion_name(emotion)}: recording",
            show_label=False, elem_id=f"enrol-{emotion}-audio", visible=False,
        )  # fmt: skip
        with gr.Row(elem_classes="actions"):
            names = {
                "again": "Record again", "another": "Add another", "keep": "Back", "delete": "Delete", "undo": "Undo",
            }  # fmt: skip
            buttons = {
                part: gr.Button(words, size="sm", visible=False, elem_id=f"enrol-{emotion}-{part}", min_width=90)
                for part, words in names.items()
            }
    return Card(audio, state, which, **buttons, removed=gr.State(()), mode=gr.State(""))
