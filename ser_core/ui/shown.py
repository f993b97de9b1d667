"""What answers look like: the pieces of HTML that the tab Compare and live mode put on the page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_core.figures.style import percent
from ser_core.inference.judgements import Judgement, tally
from ser_core.inference.profiles import EnrolledUtterance, Profile
from ser_core.ui.answers import Comparison, Visit
from ser_core.ui.theme import EMOTIONS, emotion_name, personaliser_name, safe

if TYPE_CHECKING:
    from ser_core.inference.explanation import AnswerAtLevel
    from ser_core.inference.recogniser import Answer, Calibrated, Prediction

_MOVED = ((0.1, "hardly"), (0.3, "a little"), (0.6, "clearly"), (float("inf"), "strongly"))
"""How far the enrolment moved the utterance's embedding, relative to its length, in words."""


def answer_in_words(kind: str, who: str, answer: "Answer | None", instead: str = "") -> str:
    """One of the answers in big letters; where it is not sure, that is said first."""
    if answer is None:
        body = f'<p class="quiet">{instead}</p>'
    else:
        emotion, share = emotion_name(answer.emotion), percent(answer.probabilities[answer.emotion])
        word, sure = (emotion, f"{share} sure") if answer.sure else ("Not sure", f"Perhaps {emotion.lower()}, {share}")
        body = f'<p class="word">{word}</p><p class="sure">{sure}</p>'
    return f'<div class="answer {kind}"><p class="who">{who}</p>{body}</div>'


def both_answers(comparison: Comparison | None, profile: Profile | None, instead: str) -> tuple[str, str]:
    """Baseline and personalised; where one is missing, what to do."""
    said = comparison.prediction if comparison else None
    for_whom = f"For {safe(profile.name)} (personalised)" if profile else "For you (personalised)"
    enrolled = profile is not None and bool(profile.utterances)
    return (
        answer_in_words("baseline", "For everybody (baseline)", said and said.baseline, instead),
        answer_in_words(
            "personalised",
            for_whom,
            said and said.personalised,
            _why_no_second(profile, comparison) if comparison or not enrolled else instead,
        ),
    )


def calibrated_answer(comparison: Comparison | None, profile: Profile | None, instead: str) -> str:
    """The answer that free speech gives, or why there is none; nothing where there is no free speech."""
    right = comparison.prediction.calibrated if comparison else None
    if profile is None or not (right or profile.talk):
        return ""
    if comparison is not None and not comparison.can_calibrate:
        instead = f"The model {safe(comparison.prediction.model)} cannot use free speech. Another one may."
    return answer_in_words("calibrated", f"For {safe(profile.name)} (calibrated)", right and right.answer, instead)


def _why_no_second(profile: Profile | None, comparison: Comparison | None) -> str:
    if profile is None:
        return "Nobody is chosen, so there is one answer only. Choose a profile, or enrol your voice."
    if profile.talk and not profile.utterances:
        return f"This one needs labelled recordings, and “{safe(profile.name)}” has free speech only. Go to Enrol and record some."
    if profile.utterances and comparison is not None:
        how = personaliser_name(comparison.asked.personaliser or "")
        return f"“{how}” uses no recording that “{safe(profile.name)}” has, so there is one answer only."
    return f"“{safe(profile.name)}” has no recording yet, so there is one answer only. Go to Enrol and record some."


def enrolled_so_far(profile: Profile | None) -> str:
    """Whether the profile is complete."""
    if profile is None or not profile.utterances:
        return ""
    missing = [emotion_name(emotion).lower() for emotion in EMOTIONS if emotion not in profile.emotions]
    if not missing:
        return ""
    n = len(EMOTIONS) - len(missing)
    return (
        f"<p>{n} of {len(EMOTIONS)} emotions enrolled; without {', '.join(missing)} the answers are less personal, and "
        "may be wrong where the baseline is right.</p>"
    )


def change_in_words(comparison: Comparison | None) -> str:
    """How far the enrolment moved the answer, and what was heard."""
    if comparison is None:
        return ""
    if comparison.prediction.personalised is None:
        alone = comparison.prediction.calibrated is None
        return '<p class="quiet">There is one answer only, so nothing differs yet.</p>' if alone else ""
    said = comparison.prediction
    before, after = said.baseline.probabilities, said.personalised.probabilities
    emotion = max(before, key=lambda name: abs(after[name] - before[name]))
    moved = ""
    if said.shift is not None:
        words = next(words for limit, words in _MOVED if said.shift < limit)
        moved = f" The recordings {words} changed what the model hears in this utterance (by {percent(said.shift)})."
    return (
        f"<p>{_both(said)} The largest change: {emotion_name(emotion).lower()}, from {percent(before[emotion])} "
        f"to {percent(after[emotion])}.{moved}</p>"
    )


def _both(said: "Prediction") -> str:
    """Whether the enrolment changed which emotion leads, or how sure that is."""
    if said.baseline.emotion != said.personalised.emotion:
        return "The recordings of this voice changed the answer."
    if said.baseline.sure == said.personalised.sure:
        return (
            "Both answers name the same emotion."
            if said.baseline.sure
            else "The same emotion leads in both; neither is sure."
        )
    which = "personalised one" if said.personalised.sure else "baseline"
    return f"The same emotion leads in both answers; only the {which} is sure of it."


def talk_in_words(comparison: Comparison | None, profile: Profile | None) -> str:
    """What the free speech changes, and by whom it goes; or how to get there."""
    if comparison is None or profile is None:
        return ""
    right = comparison.prediction.calibrated
    if right is not None:
        return f'<div class="step"><h2>What the free speech changes</h2></div>{_effect(right)}'
    if not comparison.can_calibrate:
        model = safe(comparison.prediction.model)
        words = f"The model {model} cannot use free speech: it has no calibration, and so no third answer."
    elif comparison.talk:
        return ""
    else:
        words = "There is a third answer for whoever just talks for half a minute: see “Or just talk” in Enrol."
    return f'<p class="quiet">{words}</p>'


def _effect(right: "Calibrated") -> str:
    heads = ["Emotion", "Heard", "Corrected", "Difference"]
    rows = [
        [
            emotion_name(emotion),
            bar(before, emotion),
            bar(right.after[emotion], emotion),
            signed(right.after[emotion] - before),
        ]
        for emotion in EMOTIONS
        if (before := right.before.get(emotion)) is not None
    ]
    n = f"{right.n_utterances} utterance" + ("" if right.n_utterances == 1 else "s")
    said = (
        f"<p>“Heard” is how much of each emotion the model hears in {n} of free speech, on average; “Corrected” is what it "
        "should hear if this voice is like the training speakers below. Every answer is moved by the same factors, less the "
        "fewer utterances there are. Where somebody's real mix of moods is another, the correction errs.</p>"
    )
    similar = ", ".join(
        f"training speaker {number}, similarity {cosine:.2f}"
        for number, cosine in zip(right.similar, right.similarities, strict=True)
    )
    by_whom = (
        f"<p><b>Most similar:</b> {similar}. Of the people the model learned from, these sound most like this voice to it (1 "
        "would be the same, 0 unrelated); they are numbers only, nobody's name is kept.</p>"
    )
    return f'<div class="explained">{said}</div><div class="numbers effect">{table(heads, rows)}</div><div class="explained">{by_whom}</div>'


def numbers(comparison: Comparison | None) -> str:
    """The bars as a table, for those who do not see them; the difference is marked."""
    if comparison is None:
        return ""
    named = probabilities_of(comparison)
    first = named.pop("baseline")
    heads = ["Emotion", "Baseline", *(head for answer in named for head in (answer.capitalize(), "Difference"))]
    rows = []
    for emotion in [emotion for emotion in EMOTIONS if emotion in first]:
        compared = [(percent(other[emotion]), signed(other[emotion] - first[emotion])) for other in named.values()]
        rows.append([emotion_name(emotion), percent(first[emotion]), *(cell for both in compared for cell in both)])
    return _folded("The numbers as a table", table(heads, rows))


def probabilities_of(comparison: Comparison) -> dict[str, dict[str, float]]:
    """The answers there are, by name: 'baseline', 'calibrated', 'personalised'."""
    said = comparison.prediction
    right = said.calibrated and said.calibrated.answer
    named = {"baseline": said.baseline, "calibrated": right, "personalised": said.personalised}
    return {name: answer.probabilities for name, answer in named.items() if answer}


def clips_table(comparison: Comparison | None) -> str:
    """What each enrolled recording did: how much it counted, and the answer without it."""
    if comparison is None or not comparison.without:
        return ""
    said, weights = comparison.prediction, comparison.prediction.attention
    now = said.personalised
    heads = [
        "Enrolled recording",
        *(["Weight"] if weights else []),
        "Answer without it",
        f"Change of {now.emotion}",
    ]
    rows = []
    for clip in comparison.clips:
        if clip.utterance_id not in comparison.without:
            continue
        answer = comparison.without[clip.utterance_id]
        weight = (weights or {}).get(clip.utterance_id)
        rows.append(
            [
                clip_name(clip),
                *([bar(weight) if weight is not None else "not used"] if weights else []),
                _told(answer, differs=answer.emotion != now.emotion),
                signed(answer.probabilities[now.emotion] - now.probabilities[now.emotion]),
            ]
        )
    note = (
        "The weight is how far the answer attends to a recording; what is missing to 100 % goes to none of them."
        if weights
        else "This personaliser weighs all recordings alike."
    )
    return f'<div class="numbers"><p>{note}</p>{table(heads, rows)}</div>'


def others_table(by_model: Sequence[tuple[str, Sequence["Prediction"]]], asked_model: str, asked: str | None) -> str:
    """Several personalisers, perhaps of several models, in one table; the one that is shown above is marked."""
    rows = []
    for model, predictions in by_model:
        if predictions:
            rows.append([safe(model), "Baseline (nobody enrolled)", _told(predictions[0].baseline)])
        if predictions and predictions[0].calibrated:
            rows.append([safe(model), "Calibrated (free speech only)", _told(predictions[0].calibrated.answer)])
        for said in predictions:
            if said.personalised is None:  # nobody is enrolled, or nothing that this one uses
                continue
            chosen = " (shown)" if (model, said.personaliser) == (asked_model, asked) else ""
            rows.append([safe(model), personaliser_name(said.personaliser) + chosen, _told(said.personalised)])
    return f'<div class="numbers">{table(["Model", "How the enrolment is used", "Answer"], rows)}</div>' if rows else ""


def levels_in_words(levels: "Sequence[AnswerAtLevel]") -> str:
    """Whether loudness changes the answers."""
    said = []
    for kind in ("baseline", "personalised"):
        heard = {one.gain_db: answer.emotion for one in levels if (answer := _of(one, kind))}
        if 0 not in heard:
            continue
        changed = {gain: emotion for gain, emotion in heard.items() if emotion != heard[0]}
        what = "; ".join(f"{gain:+d} dB: {emotion_name(emotion).lower()}" for gain, emotion in changed.items())
        said.append(f"{kind.capitalize()}: {'changes at ' + what if changed else 'the same answer at every loudness'}.")
    clipped = [one.gain_db for one in levels if one.clipped_share > 0.001]
    note = f" From {min(clipped):+d} dB on the recording is too loud for its 16 bits and is cut off." if clipped else ""
    lost = " Where it is quietest, nothing is left to hear." if any(one.prediction is None for one in levels) else ""
    return f"<p>{' '.join(said)}{note}{lost} Attune brings every recording to one loudness before it listens.</p>"


def level_in_words(levels: "Sequence[AnswerAtLevel] | None", gain_db: float) -> str:
    """Both answers at one loudness."""
    if not levels:
        return ""
    one = min(levels, key=lambda level: abs(level.gain_db - gain_db))  # a number may be typed
    gain_db = one.gain_db
    if one.prediction is None:
        return f"<p>{_decibels(gain_db)}: nothing is left to hear.</p>"
    second = f", personalised {_told(one.prediction.personalised)}" if one.prediction.personalised else ""
    cut = f" {percent(one.clipped_share)} of it is cut off." if one.clipped_share else ""
    return f"<p>{_decibels(gain_db)}: baseline {_told(one.prediction.baseline)}{second}.{cut}</p>"


def tally_in_words(judgements: Sequence[Judgement], kept: Sequence[Judgement], calibrated: Sequence[bool] = ()) -> str:
    """This visit's score, and what was kept from earlier ones; of calibrated answers, whether they were right."""
    lines = []
    for when, said in (("This visit", judgements), ("Kept with the profile", kept)):
        score = tally(said)
        if not score.n:
            continue
        second = f", personalised {score.personalised_right} of {score.n_personalised}" if score.n_personalised else ""
        if said is judgements and calibrated:
            second += f", calibrated {sum(calibrated)} of {len(calibrated)}"
        lines.append(f"<p><b>{when}:</b> baseline right {score.baseline_right} of {score.n}{second}.</p>")
    return "".join(lines) or '<p class="quiet">Say what you meant, and the answers are counted here.</p>'


def history_table(visit: Visit) -> str:
    """What was answered since the page came, the newest first."""
    if not visit.answers:
        return '<p class="quiet">Nothing was answered yet.</p>'
    rows, calibrated = [], any(one.prediction.calibrated for one in visit.answers)
    for place, one in reversed(list(enumerate(visit.answers))):
        said, meant = one.prediction, visit.meant.get(place)
        right = said.calibrated and said.calibrated.answer
        rows.append(
            [
                f"{place + 1}{' (shown)' if place == visit.shown else ''}",
                safe(one.asked.profile) or "Nobody",
                _judged(said.baseline, meant),
                *([_judged(right, meant)] if calibrated else []),
                _judged(said.personalised, meant),
                emotion_name(meant) if meant else "–",
            ]
        )
    heads = ["Answer", "Whose voice", "Baseline", *(["Calibrated"] if calibrated else []), "Personalised", "Meant"]
    return f'<div class="numbers">{table(heads, rows)}</div>'


def history_choices(visit: Visit) -> list[tuple[str, int]]:
    """For the list to choose from."""
    return [
        (
            f"{place + 1} · {named(one.prediction.baseline).capitalize()}"
            + (f" → {named(one.prediction.personalised).capitalize()}" if one.prediction.personalised else ""),
            place,
        )
        for place, one in reversed(list(enumerate(visit.answers)))
    ]


def named(answer: "Answer") -> str:
    """The emotion of an answer within a sentence; where it is not sure, that first."""
    emotion = emotion_name(answer.emotion).lower()
    return emotion if answer.sure else f"not sure (perhaps {emotion})"


def told(answer: "Answer") -> str:
    """The same in a cell, with its probability."""
    emotion, share = emotion_name(answer.emotion), percent(answer.probabilities[answer.emotion])
    return f"{emotion} {share}" if answer.sure else f"Not sure (perhaps {emotion.lower()} {share})"


def clip_name(clip: EnrolledUtterance) -> str:
    """What an enrolled recording is called."""
    return f"{emotion_name(clip.emotion)}, {clip.duration_s:.1f} s"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names its rows."""
    head = "".join(f'<th scope="col">{words}</th>' for words in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def bar(share: float, colour: str = "personalised") -> str:
    """A part of one, as a bar in the colour of an answer or an emotion, and in words."""
    style = f"width: {100 * share:.0f}%; background: var(--{colour})"
    return f'<span class="bar"><i style="{style}"></i></span> {percent(share)}'


def signed(difference: float) -> str:
    """A difference of two probabilities, in points."""
    points = round(100 * difference)
    if not points:
        return "no change"
    mark = "▲" if points > 0 else "▼"
    return f"{mark} {abs(points)} point{'' if abs(points) == 1 else 's'}"


def _decibels(gain_db: float) -> str:
    return f"{gain_db:+.0f} dB" if gain_db else "As recorded"


def _told(answer: "Answer", differs: bool = False) -> str:
    return f"<b>{told(answer)} (another answer)</b>" if differs else told(answer)


def _judged(answer: "Answer | None", meant: str | None) -> str:
    return f"{named(answer).capitalize()}{_tick(answer.emotion, meant)}" if answer else "–"


def _tick(emotion: str, meant: str | None) -> str:
    return "" if meant is None else " ✓ right" if emotion == meant else " ✗ wrong"


def _of(level: "AnswerAtLevel", kind: str) -> "Answer | None":
    return getattr(level.prediction, kind) if level.prediction else None


def _folded(title: str, content: str) -> str:
    return f'<details class="numbers"><summary>{title}</summary>{content}</details>'
