"""The tab Compare: one recording, two answers side by side, and why they differ."""

import gradio as gr

from ser_core.figures import recognition
from ser_core.figures.recognition import percent
from ser_core.inference.profiles import EnrolledUtterance, Profile, UnknownProfile
from ser_core.ui.enrol import NOBODY, choices, offer
from ser_core.ui.services import Comparison, Services, for_people, foreseen, sentence
from ser_core.ui.theme import EMOTIONS, emotion_name, personaliser_name, safe

EMPTY = "Record or upload an utterance first"
_LOW = 0.4
"""Below this the most probable emotion is called unsure."""


# what is shown


def answer_in_words(kind: str, who: str, probabilities: dict[str, float] | None, instead: str = "") -> str:
    """One of the two answers in big letters."""
    if probabilities is None:
        body = f'<p class="quiet">{instead}</p>'
    else:
        emotion = max(probabilities, key=probabilities.get)
        sure = percent(probabilities[emotion]) + (", not sure" if probabilities[emotion] < _LOW else " sure")
        body = f'<p class="word">{emotion_name(emotion)}</p><p class="sure">{sure}</p>'
    return f'<div class="answer {kind}" role="status"><p class="who">{who}</p>{body}</div>'


def why_no_second_answer(profile: Profile | None) -> str:
    """What to do to get a personalised answer."""
    if profile is None:
        return "Nobody is chosen, so there is one answer only. Choose a profile, or enrol your voice."
    return f"“{safe(profile.name)}” has no recording yet, so there is one answer only. Go to Enrol and record some."


def change_in_words(comparison: Comparison) -> str:
    """How far the enrolment moved the answer."""
    said = comparison.prediction
    if said.personalised is None:
        return ""
    before, after = said.baseline.probabilities, said.personalised.probabilities
    emotion = max(before, key=lambda name: abs(after[name] - before[name]))
    same = said.baseline.emotion == said.personalised.emotion
    first = "Both answers name the same emotion." if same else "The recordings of this voice changed the answer."
    moved = (
        f" The enrolment moved what the model hears by {percent(said.shift)} of its size."
        if said.shift is not None
        else ""
    )
    return (
        f"<p>{first} The largest change: {emotion_name(emotion).lower()}, from {percent(before[emotion])} "
        f"to {percent(after[emotion])}.{moved}</p>"
    )


def clip_name(clip: EnrolledUtterance) -> str:
    """An enrolled recording's name in the figure."""
    return f"{emotion_name(clip.emotion)}, {clip.duration_s:.1f} s"


def attention_figure(comparison: Comparison | None):
    """Which enrolled recordings counted; words where there is nothing to draw."""
    if comparison is None:
        return recognition.empty("Which enrolled recordings counted", 64)
    if comparison.prediction.personalised is None:
        return recognition.empty("No enrolled recording was used", 64)
    weights = comparison.prediction.attention
    if weights is None:
        return recognition.empty("All enrolled recordings count alike,<br>through the reference", 76)
    clips = [clip for clip in comparison.clips if clip.utterance_id in weights]
    return recognition.attention(
        [clip_name(clip) for clip in clips],
        [clip.emotion for clip in clips],
        [weights[clip.utterance_id] for clip in clips],
    )


def table_of(comparison: Comparison) -> str:
    """The bars as a table, for those who do not see them."""
    said = comparison.prediction
    columns = [said.baseline.probabilities] + ([said.personalised.probabilities] if said.personalised else [])
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Emotion", "Baseline", "Personalised")[: 1 + len(columns)]
    )
    rows = "".join(
        f'<tr><th scope="row">{emotion_name(emotion)}</th>'
        + "".join(f"<td>{percent(column[emotion])}</td>" for column in columns)
        + "</tr>"
        for emotion in EMOTIONS
        if emotion in said.baseline.probabilities
    )
    return (
        '<details class="numbers"><summary>The numbers as a table</summary>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></details>"
    )


def status_of(services: Services, comparison: Comparison | None = None, problem: str = "") -> str:
    """What was odd, how long it took, which model answered and why that one."""
    lines = [f'<p class="problem" role="alert">{safe(problem)}</p>'] if problem else []
    if comparison is not None:
        lines += [f'<p class="warning">Note: {safe(words)}.</p>' for words in comparison.warnings]
        took = comparison.prediction.milliseconds
        steps = f"reading {took['decode']:.0f}, listening {took['encode']:.0f}, answering {took['personalise']:.0f}"
        lines += [f"<p>Answered in {took['total']:.0f} ms ({steps}).</p>"]
    return f'<div class="status" role="status">{"".join(lines)}<p>{safe(services.model_in_words())}</p></div>'


# what happens


def follow(services: Services, name: str) -> gr.Dropdown:
    """The profile was chosen, created or erased, here or in the other tab."""
    offered = choices(services)
    return gr.Dropdown(choices=offered, value=name if name in [value for _, value in offered] else NOBODY)


def wait_for_model(services: Services) -> tuple:
    """When the page has come: the model's personalisers, as soon as it is there; or what to do."""
    try:
        names = services.personalisers()
    except ValueError:
        return gr.Dropdown(interactive=False), status_of(services)
    offered = [(personaliser_name(name), name) for name in names]
    return gr.Dropdown(choices=offered, value=names[0], interactive=True), status_of(services)


def compare(
    services: Services,
    upload: str | None,
    name: str,
    personaliser: str | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
) -> list:
    """Answer twice about the recording; or say what to do, or why it cannot be used."""
    if upload is None:
        return nothing(services, name)
    if services.state == "loading":
        progress(0.0, desc="The model is being loaded")
    try:
        comparison = services.compare(upload, name, personaliser)
    except ValueError as error:
        if not foreseen(error):
            raise
        return nothing(services, name, sentence(error))
    said = comparison.prediction
    personalised = said.personalised.probabilities if said.personalised else None
    emotions = [emotion for emotion in EMOTIONS if emotion in said.baseline.probabilities]
    return [
        answer_in_words("baseline", "For everybody (baseline)", said.baseline.probabilities),
        _second_answer(services, name, personalised),
        recognition.two_answers(emotions, said.baseline.probabilities, personalised),
        change_in_words(comparison),
        table_of(comparison),
        attention_figure(comparison),
        status_of(services, comparison),
        gr.DownloadButton(value=comparison.download, interactive=True),
    ]


def nothing(services: Services, name: str, problem: str = "") -> list:
    """The page without an answer."""
    return [
        answer_in_words("baseline", "For everybody (baseline)", None, EMPTY + "."),
        _second_answer(services, name, None),
        recognition.empty(EMPTY),
        "",
        "",
        attention_figure(None),
        status_of(services, problem=problem),
        gr.DownloadButton(value=None, interactive=False),
    ]


def _second_answer(services: Services, name: str, probabilities: dict[str, float] | None) -> str:
    try:
        profile = services.profile(name)
    except UnknownProfile:  # erased in another window
        profile = None
    who = f"For {safe(profile.name)} (personalised)" if profile else "For you (personalised)"
    enrolled = profile is not None and bool(profile.utterances)
    return answer_in_words(
        "personalised", who, probabilities, EMPTY + "." if enrolled else why_no_second_answer(profile)
    )


# where it stands


def build(services: Services, chosen: gr.State, tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out.

    Args:
        services: what it calls.
        chosen: the name of the profile in use; whoever sets it makes all tabs follow.
        tab: the tab, which looks again when somebody comes back from Enrol.
        page: the page, which asks for the model when it has come.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            gr.HTML('<div class="step"><h2>Say something</h2><p>One sentence, up to 30 seconds.</p></div>')
            audio = gr.Audio(
                sources=["microphone", "upload"], type="filepath", format=None, editable=False, buttons=[],
                waveform_options=gr.WaveformOptions(sample_rate=16000), label="Your recording", show_label=False,
                elem_id="compare-audio",
            )  # fmt: skip
            status = gr.HTML(status_of(services), elem_id="compare-status")
            profile = gr.Dropdown([("Nobody", NOBODY)], value=NOBODY, label="Whose voice?", elem_id="compare-profile")
            personaliser = gr.Dropdown(
                [], value=None, label="How the enrolment is used", elem_id="compare-personaliser", interactive=False
            )
        with gr.Column(scale=3, min_width=300):
            with gr.Row(equal_height=True):
                with gr.Column(min_width=220):
                    first = gr.HTML(
                        answer_in_words("baseline", "For everybody (baseline)", None, EMPTY + "."),
                        elem_id="compare-baseline",
                    )
                with gr.Column(min_width=220):
                    second = gr.HTML(
                        answer_in_words("personalised", "For you (personalised)", None, why_no_second_answer(None)),
                        elem_id="compare-personalised",
                    )
            bars = gr.Plot(
                recognition.empty(EMPTY),
                show_label=False,
                elem_id="compare-bars",
                elem_classes="figure",
                container=False,
            )
            numbers = gr.HTML(elem_id="compare-table")
            with gr.Column(elem_classes="explained"):
                gr.HTML('<div class="explained"><h3>What the enrolment did</h3></div>')
                change = gr.HTML(elem_id="compare-change", elem_classes="explained")
                weights = gr.Plot(
                    attention_figure(None), show_label=False, elem_id="compare-attention", elem_classes="figure",
                    container=False,
                )  # fmt: skip
            download = gr.DownloadButton(
                "Save this answer (JSON)", elem_id="compare-json", interactive=False, size="sm"
            )

    private = {"api_visibility": "private", "show_progress": "hidden"}
    # one after the other, and none left out, so that the answer shown last is about what was chosen last
    asking = {"concurrency_id": "compare", "concurrency_limit": 1, "trigger_mode": "always_last"}
    answer = [first, second, bars, change, numbers, weights, status, download]
    ask = {"fn": for_people(compare, services), "inputs": [audio, chosen, personaliser], "outputs": answer, **asking}
    gr.on([audio.stop_recording, audio.upload], api_name="compare", show_progress_on=first, **ask)
    gr.on([audio.clear, personaliser.input, tab.select], **ask, **private)
    profile.input(lambda name: name, profile, chosen, **private)
    followed = chosen.change(for_people(follow, services), chosen, profile, trigger_mode="always_last", **private)
    followed.then(**ask, **private)
    page.load(for_people(offer, services), None, profile, **private)
    page.load(for_people(wait_for_model, services), None, [personaliser, status], **private)
