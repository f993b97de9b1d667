"""The tab Compare: one recording, two or three answers side by side, why they differ, and whether they were right."""

import io
from dataclasses import replace

import gradio as gr
import soundfile

from ser_core.data.audio import NO_SPEECH, SAMPLE_RATE, UTTERANCE, AudioRejected
from ser_core.figures import recognition
from ser_core.figures.style import empty
from ser_core.inference.examples import example_takes
from ser_core.inference.judgements import to_csv
from ser_core.inference.profiles import Profile, UnknownProfile
from ser_core.labels import APP_EMOTIONS
from ser_core.ui import live, shown, words
from ser_core.ui.answers import (
    GAINS_DB,
    Asked,
    Comparison,
    Visit,
    at_levels,
    by_every_model,
    compare,
    document,
    mean_of_models,
    read,
)
from ser_core.ui.enrol import NOBODY, choices, offer
from ser_core.ui.errors import for_people, foreseen, sentence
from ser_core.ui.saving import SaveButton, picture_buttons
from ser_core.ui.services import Services
from ser_core.ui.theme import EMOTIONS, emotion_name, personaliser_name, safe

EMPTY = "Record, choose a file or take an example first"
OTHER, NO_EXAMPLE = "other", -1
_N_ANSWER = 25
"""How many components an answer fills."""


# what is shown


def page_of(services: Services, visit: Visit, name: str = NOBODY, problem: str = "") -> list:
    """Everything that depends on which answer is shown; `name` is whose it would be where there is none."""
    now = visit.now
    profile = _profile(services, now.asked.profile if now else name)
    first, second = shown.both_answers(now, profile, EMPTY + ".")
    third = shown.calibrated_answer(now, profile, EMPTY + ".")
    said = now.prediction if now else None
    answered = shown.probabilities_of(now) if now else {}
    emotions = [emotion for emotion in EMOTIONS if emotion in answered.get("baseline", {})]
    others = [(said.model, now.others)] if now and now.others else []
    return [
        visit,
        first,
        second,
        recognition.answers(emotions, answered) if now else empty(EMPTY),
        shown.numbers(now),
        shown.change_in_words(now),
        shown.clips_table(now),
        shown.others_table(others, said.model, said.personaliser) if now else "",
        status_of(services, now, profile, problem),
        gr.Row(visible=bool(now)),
        gr.Column(visible=bool(now)),
        gr.Radio(value=visit.meant.get(visit.shown)),
        *_score(services, visit, profile),
        None,  # loudness has to be tried anew
        *levels_shown(None, 0),
        gr.Column(visible=bool(third)),
        third,
        shown.talk_in_words(now, profile),
    ]


def status_of(
    services: Services, comparison: Comparison | None = None, profile: Profile | None = None, problem: str = ""
) -> str:
    """What was odd, how long it took, which model answered and why that one."""
    lines = [f'<p class="problem" role="alert">{safe(problem)}</p>'] if problem else []
    if comparison is not None:
        lines += [f'<p class="warning">Note: {safe(words)}.</p>' for words in comparison.recording.warnings]
        if not comparison.prediction.speech:
            lines.append(f'<p class="warning">Note: {NO_SPEECH}.</p>')
        if comparison.is_enrolled:
            lines.append('<p class="warning">Note: this very recording is enrolled; record another one to test.</p>')
        took = comparison.prediction.milliseconds
        parts = {"decode": "reading", "listen": "finding speech", "encode": "listening", "personalise": "answering"}
        steps = ", ".join(f"{words} {took[step]:.0f}" for step, words in parts.items())
        lines += [f"<p>Answered in {took['total']:.0f} ms ({steps}) by {safe(comparison.prediction.model)}.</p>"]
        lines.append(shown.enrolled_so_far(profile))
        if profile is not None and profile.consent is not None and profile.consent.is_nobodys:
            lines.append("<p>A synthetic voice: it shows how Attune works, not how well.</p>")
    else:
        lines.append(f"<p>{safe(services.models.in_words())}</p>")
    return f'<div class="status" role="status">{"".join(lines)}</div>'


def _score(services: Services, visit: Visit, profile: Profile | None) -> list:
    """Tally, what may be done with it, and the visit's history."""
    kept = services.store.judgements(profile.name) if profile else []
    judged = visit.judgements()
    to_keep = visit.judgements(profile.name) if profile else []
    meant = visit.meant.get(visit.shown)
    may_add = services.may_record(profile, agreed=False) and meant in APP_EMOTIONS and not visit.now.is_enrolled
    add = f"Add this to {profile.name} as {meant}" if may_add else "Add this to the profile"
    return [
        shown.tally_in_words(judged, kept, visit.calibrated_right()),
        gr.Button(add, interactive=may_add),
        gr.Row(visible=bool(to_keep) or bool(kept)),
        shown.history_table(visit),
        gr.Dropdown(shown.history_choices(visit), value=visit.shown, visible=len(visit.answers) > 1),
        gr.DownloadButton(
            value=services.files.document("answer.json", document([visit.now], visit)) if visit.now else None
        ),
    ]


def levels_shown(levels: list | None, gain_db: float) -> tuple:
    """The figure of loudness, and what is said about it."""
    if not levels:
        return empty("Press the button to try it", 120), "", ""
    at_zero = levels[GAINS_DB.index(0)].prediction
    if at_zero is None:
        return empty("Nothing could be heard", 120), "", ""
    named = {"baseline": at_zero.baseline.emotion}
    if at_zero.personalised:
        named["personalised"] = at_zero.personalised.emotion
    lines = {
        kind: [getattr(one.prediction, kind).probabilities[emotion] if one.prediction else None for one in levels]
        for kind, emotion in named.items()
    }
    figure = recognition.levels(GAINS_DB, lines, named)
    figure.add_vline(x=gain_db, line={"color": "#4B5563", "dash": "dot"})
    return figure, shown.levels_in_words(levels), shown.level_in_words(levels, gain_db)


# what happens


def follow(services: Services, name: str) -> gr.Dropdown:
    """The profile was chosen, created or erased, here or in the other tab."""
    offered = choices(services)
    return gr.Dropdown(choices=offered, value=name if name in [value for _, value in offered] else NOBODY)


def wait_for_model(services: Services) -> tuple:
    """When the page has come: the models and their personalisers, as soon as they are there; or what to do."""
    try:
        offered = services.models.offered()
    except ValueError:
        return gr.Dropdown(interactive=False), gr.Dropdown(interactive=False), status_of(services)
    names = [info.name for info in offered]
    return gr.Dropdown(names, value=names[0], interactive=True), _personalisers(offered[0]), status_of(services)


def other_model(services: Services, name: str, personaliser: str | None, progress=gr.Progress()) -> gr.Dropdown:  # noqa: B008
    """Another model was chosen: its personalisers; the same one as before where it has that."""
    if services.models.state(name) == "loading":
        progress(0.0, desc=f"{name} is being loaded")
    return _personalisers(services.models.recogniser(name).info, personaliser)


def _personalisers(info, wanted: str | None = None) -> gr.Dropdown:
    offered = [(personaliser_name(name), name) for name in info.personalisers]
    value = wanted if wanted in info.personalisers else info.personalisers[0]
    return gr.Dropdown(choices=offered, value=value, interactive=True)


def hear(
    services: Services,
    upload: str | None,
    visit: Visit | None,
    name: str,
    model: str | None,
    personaliser: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
) -> list:
    """A recording was made, chosen or taken away: answer twice, or say what to do, or why it cannot be used."""
    visit, asked = _this_visit(services, visit), Asked(name, model or None, personaliser or None)
    if upload and visit.now and (visit.now.upload, visit.now.asked) == (upload, asked):  # a list may tell twice
        return page_of(services, visit)
    visit.shown = None
    if upload is None:
        return page_of(services, visit, name)
    _say_if_loading(services, model, progress)
    try:
        services.take()
        recording, decode_ms = read(upload)
        visit.add(compare(services, recording, asked, decode_ms, upload))
    except ValueError as error:
        return _instead(services, visit, name, error)
    return page_of(services, visit)


def ask_again(
    services: Services,
    visit: Visit | None,
    name: str,
    model: str | None,
    personaliser: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008
) -> list:
    """Something else was chosen: answer anew about the same recording."""
    visit, asked = _this_visit(services, visit), Asked(name, model or None, personaliser or None)
    profile = _profile(services, name)
    enrolled = (profile.utterances, profile.talk) if profile else ((), ())
    if visit.now is None or (visit.now.asked == asked and (visit.now.clips, visit.now.talk) == enrolled):
        return page_of(services, visit, name)
    _say_if_loading(services, model, progress)
    try:
        services.take()
        visit.replace(compare(services, visit.now.recording, asked))
    except ValueError as error:
        return _instead(services, visit, name, error)
    return page_of(services, visit)


def _this_visit(services: Services, visit: Visit | None) -> Visit:
    """Begun with its first answer; an erasure has to find it."""
    if visit is None:
        visit = Visit()
        services.visits.add(visit)
    return visit


def _say_if_loading(services: Services, model: str | None, progress: gr.Progress) -> None:
    if services.models.state(model or None) == "loading":
        progress(0.0, desc="The model is being loaded")


def _instead(services: Services, visit: Visit, name: str, error: ValueError) -> list:
    """No answer, but words."""
    if not foreseen(error):
        raise error
    return page_of(services, visit, name, sentence(error))


def take_example(services: Services, place: int) -> str | None:
    """One of the synthetic takes, into the player."""
    return None if place == NO_EXAMPLE else str(example_takes()[place].path)


def judge(services: Services, visit: Visit, meant: str) -> list:
    """The person says what was meant."""
    if visit.shown is not None and meant:
        visit.meant[visit.shown] = meant
    profile = _profile(services, visit.now.asked.profile) if visit.now else None
    return [visit, *_score(services, visit, profile)]


def add_to_profile(services: Services, visit: Visit) -> tuple:
    """The recording, with what was meant, becomes one more enrolled recording."""
    profile = services.chosen(visit.now.asked.profile if visit.now else NOBODY)
    meant = visit.meant[visit.shown]
    try:
        services.enrol_waveform(profile.name, meant, visit.now.recording.waveform, agreed=False, words=visit.now.text)
    except AudioRejected as error:
        if error.code != "no_speech":
            raise
        again = "No speech was found in the recording. Press the button once more to add it all the same."
        return f'<p class="pill poor" role="alert">{again}</p>', gr.skip()
    visit.answers[visit.shown] = replace(visit.now, is_enrolled=True)
    words = f"Added to {safe(profile.name)} as {emotion_name(meant).lower()}. It counts from the next answer on."
    return f'<p class="pill good" role="status">{words}</p>', gr.Button(interactive=False)


def keep(services: Services, visit: Visit) -> list:
    """This visit's judgements go to the profile they are about."""
    name = visit.now.asked.profile if visit.now else NOBODY
    profile = services.chosen(name)
    services.store.keep_judgements(profile.name, visit.judgements(name))
    return [*_score(services, visit, profile), '<p class="pill good" role="status">Kept with the profile.</p>']


def forget(services: Services, visit: Visit) -> list:
    """What was kept goes."""
    profile = services.chosen(visit.now.asked.profile if visit.now else NOBODY)
    n = services.store.forget_judgements(profile.name)
    words = f'<p class="pill good" role="status">Forgot {n} kept answer{"" if n == 1 else "s"}.</p>'
    return [*_score(services, visit, profile), words]


def show_earlier(services: Services, visit: Visit, place: int | None) -> list:
    """An earlier answer again, with its recording."""
    if place is None or place == visit.shown or place >= len(visit.answers):
        return [gr.skip()] * (1 + _N_ANSWER)
    visit.shown = place
    file = io.BytesIO()
    soundfile.write(file, visit.now.recording.waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return [services.files.document("utterance.wav", file.getvalue()), *page_of(services, visit)]


def save_visit(services: Services, kind: str, visit: Visit | None) -> str:
    """All answers of this visit as a file."""
    visit = visit or Visit()
    if kind == "csv":
        return services.files.document("visit.csv", to_csv(visit.judgements(), visit.sure()))
    return services.files.document("visit.json", document(visit.answers, visit))


def every_model(services: Services, visit: Visit, progress: gr.Progress = gr.Progress()):  # noqa: B008
    """The same recording by all models, one after the other."""
    if visit.now is None:
        yield ""
        return
    services.take()
    said, found = visit.now.prediction, []
    progress(0.0, desc="The other models are being loaded")
    for by_model in by_every_model(services, visit.now):
        found.append(by_model)
        yield shown.others_table(found, said.model, said.personaliser)
    if len(found) > 1:
        yield shown.others_table([*found, mean_of_models(found)], said.model, said.personaliser)


def try_levels(services: Services, visit: Visit, gain_db: float) -> tuple:
    """The same words at other loudnesses."""
    services.take()
    levels = at_levels(services, visit.now) if visit.now else None
    return levels, *levels_shown(levels, gain_db)


def at_level(services: Services, levels: list | None, gain_db: float) -> tuple:
    """The slider was moved."""
    figure, _, words = levels_shown(levels, gain_db)
    return figure, words


def _profile(services: Services, name: str) -> Profile | None:
    try:
        return services.profile(name)
    except UnknownProfile:  # erased in another window
        return None


# where it stands


def build(services: Services, chosen: gr.State, tab: gr.Tab, page: gr.Blocks) -> gr.Dropdown:
    """Lay the tab out.

    Args:
        services: what it calls.
        chosen: the name of the profile in use; whoever sets it makes all tabs follow.
        tab: the tab, which looks again when somebody comes back from Enrol.
        page: the page, which asks for the model when it has come.

    Returns:
        the list of models, which follows what is trained.
    """
    # a visit begins with its first answer; neither may have a listener: gradio would hash all that is in them
    visit, levels = gr.State(None), gr.State(None)
    with gr.Row(equal_height=False):
        profile = gr.Dropdown(
            [("Nobody", NOBODY)], value=NOBODY, label="Whose voice?", elem_id="compare-profile", min_width=220
        )
        personaliser = gr.Dropdown(
            [],
            value=None,
            label="How the enrolment is used",
            elem_id="compare-personaliser",
            interactive=False,
            min_width=220,
        )
        model = gr.Dropdown([], value=None, label="Model", elem_id="compare-model", interactive=False, min_width=220)
    with gr.Tabs():
        with gr.Tab("One utterance", id="utterance"):
            parts = _utterance(services)
        with gr.Tab("Live", id="live"):
            live.build(services, live.Choices(chosen, model, personaliser))
    _events(services, parts, visit, levels, chosen, profile, model, personaliser, tab, page)
    return model


def _utterance(services: Services) -> dict[str, gr.components.Component]:
    """One recording and all about it; the components by name."""
    parts: dict = {}
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            seconds = f"{UTTERANCE.max_s:.0f}"
            gr.HTML(f'<div class="step"><h2>Say something</h2><p>One sentence, up to {seconds} seconds.</p></div>')
            parts["audio"] = gr.Audio(
                sources=["microphone", "upload"], type="filepath", format=None, editable=False, buttons=[],
                waveform_options=gr.WaveformOptions(sample_rate=16000), label="Your recording", show_label=False,
                elem_id="compare-audio",
            )  # fmt: skip
            examples = [(take.title, place) for place, take in enumerate(example_takes())]
            parts["example"] = gr.Dropdown(
                [("Choose one …", NO_EXAMPLE), *examples], value=NO_EXAMPLE, label="No microphone? Take an example (a synthetic voice)",
                elem_id="compare-example",
            )  # fmt: skip
            parts["status"] = gr.HTML(status_of(services), elem_id="compare-status")
            parts["words"] = words.box()
        with gr.Column(scale=3, min_width=300):
            first, second = shown.both_answers(None, None, EMPTY + ".")
            with gr.Row(equal_height=True):
                with gr.Column(min_width=190):
                    parts["first"] = gr.HTML(first, elem_id="compare-baseline")
                with gr.Column(min_width=190, visible=False) as parts["third"]:
                    parts["calibrated"] = gr.HTML(elem_id="compare-calibrated")
                with gr.Column(min_width=190):
                    parts["second"] = gr.HTML(second, elem_id="compare-personalised")
            parts["bars"] = gr.Plot(
                empty(EMPTY), show_label=False, elem_id="compare-bars", elem_classes="figure",
                container=False,
            )  # fmt: skip
            parts["numbers"] = gr.HTML(elem_id="compare-table")
            with gr.Row(elem_classes="actions", visible=False) as parts["saves"]:
                parts["json"] = gr.DownloadButton(
                    "Save this answer (JSON)", elem_id="compare-json", size="sm", scale=0, min_width=180
                )
                picture_buttons("compare-bars", "attune-answer")
    with gr.Column(visible=False, elem_id="compare-more") as parts["more"]:
        parts["words"] = words.Parts(*parts["words"], *words.results())
        _right_or_wrong(parts)
        gr.HTML('<div class="step"><h2>Why they differ</h2></div>')
        parts["change"] = gr.HTML(elem_id="compare-change", elem_classes="explained")
        parts["clips"] = gr.HTML(elem_id="compare-clips")
        parts["talk"] = gr.HTML(elem_id="compare-talk")
        with gr.Accordion("Other ways to use the enrolment, other models", open=False, elem_id="compare-others"):
            parts["others"] = gr.HTML(elem_id="compare-others-table")
            parts["every_model"] = gr.Button(
                "Ask every model", size="sm", elem_id="compare-every", scale=0, min_width=150
            )
        with gr.Accordion("Does it hear anger because it is loud?", open=False, elem_id="compare-loudness"):
            gr.HTML('<p class="explained">The same words, played to Attune quieter and louder.</p>')
            parts["try"] = gr.Button("Try other loudnesses", size="sm", elem_id="compare-try", scale=0, min_width=170)
            parts["level_figure"] = gr.Plot(
                levels_shown(None, 0)[0], show_label=False, elem_id="compare-levels", elem_classes="figure",
                container=False,
            )  # fmt: skip
            parts["levels_said"] = gr.HTML(elem_id="compare-levels-said", elem_classes="explained")
            picture_buttons("compare-levels", "attune-loudness")
            parts["gain"] = gr.Slider(
                GAINS_DB[0], GAINS_DB[-1], value=0, step=GAINS_DB[1] - GAINS_DB[0], elem_id="compare-gain",
                label="Louder or quieter than it was recorded (dB)",
            )  # fmt: skip
            parts["level_said"] = gr.HTML(elem_id="compare-level-said", elem_classes="explained")
    with gr.Accordion("This visit", open=False, elem_id="compare-visit"):
        parts["history"] = gr.HTML(shown.history_table(Visit()), elem_id="compare-history")
        parts["earlier"] = gr.Dropdown(
            [], value=None, label="Show an earlier answer", elem_id="compare-earlier", visible=False
        )
        with gr.Row(elem_classes="actions"):
            for kind, title in (("csv", "what you judged (CSV)"), ("json", "all answers (JSON)")):
                parts[f"visit_{kind}"] = SaveButton(f"Save {title}", f"compare-visit-{kind}", 190)
    return parts


def _right_or_wrong(parts: dict) -> None:
    with gr.Row(equal_height=False, elem_classes="judge"):
        with gr.Column(scale=3, min_width=300):
            offered = [(emotion_name(emotion), emotion) for emotion in EMOTIONS] + [("Something else", OTHER)]
            parts["meant"] = gr.Radio(
                offered, value=None, label="Was it right? What did you mean?", elem_id="compare-meant"
            )
        with gr.Column(scale=2, min_width=240):
            parts["tally"] = gr.HTML(shown.tally_in_words((), ()), elem_id="compare-tally")
            parts["add"] = gr.Button(
                "Add this to the profile", size="sm", interactive=False, elem_id="compare-add", min_width=150
            )
            with gr.Row(visible=False, elem_classes="actions") as parts["keeping"]:
                parts["keep"] = gr.Button("Keep this tally", size="sm", elem_id="compare-keep", min_width=110)
                parts["forget"] = gr.Button("Forget kept ones", size="sm", elem_id="compare-forget", min_width=110)
            parts["kept"] = gr.HTML(elem_id="compare-kept")


def _events(services, parts, visit, levels, chosen, profile, model, personaliser, tab, page) -> None:
    def do(handler, *bound):
        return for_people(handler, services, *bound)

    # one after the other, and none left out, so that the answer shown last is about what was chosen last
    in_turn = {"concurrency_id": "compare", "concurrency_limit": 1}
    aside = {"api_visibility": "private", "show_progress": "hidden"}
    private = {**aside, **in_turn}
    asking = {**in_turn, "trigger_mode": "always_last"}
    score = [parts[name] for name in ("tally", "add", "keeping", "history", "earlier", "json")]
    level_parts = [parts[name] for name in ("level_figure", "levels_said", "level_said")]
    answer = [
        visit,
        *(parts[name] for name in ("first", "second", "bars", "numbers", "change", "clips", "others", "status")),
        *(parts[name] for name in ("saves", "more", "meant")),
        *score,
        levels,
        *level_parts,
        *(parts[name] for name in ("third", "calibrated", "talk")),
    ]
    asked = [visit, chosen, model, personaliser]
    again = {"fn": do(ask_again), "inputs": asked, "outputs": answer, **{**asking, **private}}
    audio = parts["audio"]
    heard = {"fn": do(hear), "inputs": [audio, *asked], "outputs": answer, **asking}
    came = gr.on([audio.stop_recording, audio.upload], api_name="compare", show_progress_on=parts["first"], **heard)
    cleared = audio.clear(**{**heard, **private})
    chain = words.connect(services, parts["words"], visit, parts["json"], aside)
    chain.follows(came)
    chain.follows(cleared)
    taken = parts["example"].input(do(take_example), parts["example"], audio, **private)
    chain.follows(taken.success(**{**heard, **private}))
    chain.follows(gr.on([personaliser.input, tab.select], **again))
    chosen_model = model.input(
        do(other_model), [model, personaliser], personaliser, api_visibility="private", show_progress_on=personaliser
    ).success(**again)
    chain.follows(chosen_model)
    profile.input(lambda name: name, profile, chosen, **aside)
    followed = chosen.change(do(follow), chosen, profile, trigger_mode="always_last", **aside)
    chain.follows(followed.then(**again))

    parts["meant"].input(do(judge), [visit, parts["meant"]], [visit, *score], **private)
    parts["add"].click(do(add_to_profile), visit, [parts["kept"], parts["add"]], trigger_mode="once", **private)
    for name, handler in (("keep", keep), ("forget", forget)):
        parts[name].click(do(handler), visit, [*score, parts["kept"]], trigger_mode="once", **private)
    shown_again = parts["earlier"].input(do(show_earlier), [visit, parts["earlier"]], [audio, *answer], **private)
    chain.follows(shown_again)
    for kind in ("csv", "json"):
        parts[f"visit_{kind}"].makes(do(save_visit, kind), visit, **private)
    parts["every_model"].click(
        do(every_model), visit, parts["others"], api_visibility="private", show_progress_on=parts["others"],
        trigger_mode="once", **in_turn,
    )  # fmt: skip
    parts["try"].click(
        do(try_levels), [visit, parts["gain"]], [levels, *level_parts], api_visibility="private",
        show_progress_on=parts["level_figure"], trigger_mode="once", **in_turn,
    )  # fmt: skip
    parts["gain"].release(do(at_level), [levels, parts["gain"]], [level_parts[0], level_parts[2]], **private)
    page.load(do(offer), None, profile, **aside)
    page.load(do(wait_for_model), None, [model, personaliser, parts["status"]], **aside)
