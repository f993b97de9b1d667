"""What the tab Compare asks for, without a page: answers about a recording, why they differ, and a visit's history."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ser_core.data.audio import Recording, read_recording
from ser_core.inference.judgements import Judgement
from ser_core.inference.profiles import EnrolledUtterance, Profile, UnknownProfile
from ser_core.ui.services import Services

if TYPE_CHECKING:  # these take seconds to import: the page is served first
    from ser_core.inference.explanation import AnswerAtLevel
    from ser_core.inference.recogniser import Answer, Enrolment, Prediction, Recogniser, WithWords

GAINS_DB = tuple(range(-30, 31, 5))
"""How much louder or quieter a recording is tried."""

_MAX_HISTORY = 50


@dataclass(frozen=True)
class Asked:
    """What the person chose: whose enrolment, which model (None for the default), which of its personalisers."""

    profile: str = ""
    model: str | None = None
    personaliser: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two or three answers about one recording, with what a person needs to understand them.

    Attributes:
        asked: what was chosen.
        profile: whose enrolment was used; None for nobody, or for somebody with no recording yet.
        clips: the profile's labelled recordings, in order.
        talk: the profile's free speech.
        can_calibrate: whether the model can use free speech.
        is_enrolled: whether this very recording is one of them: then the answer proves nothing.
        without: the personalised answer had one of them not been enrolled, by its id.
        others: answers of the model's other personalisers.
        recording: what was answered about.
        at: when, ISO 8601, UTC.
        upload: the file it came in, which the page plays; None where there is none.
        text: what was said, as written down or typed.
        language: of the text, if Whisper told it.
        words: what the words add; None where nobody asked yet.
        features, enrolment: what was heard and who was enrolled then, so that words are counted with the same.
    """

    asked: Asked
    prediction: "Prediction"
    profile: str | None
    clips: tuple[EnrolledUtterance, ...]
    is_enrolled: bool
    without: "dict[str, Answer]"
    others: "tuple[Prediction, ...]"
    recording: Recording
    at: str
    upload: str | None = None
    text: str = ""
    language: str = ""
    words: "WithWords | None" = None
    talk: tuple[EnrolledUtterance, ...] = ()
    can_calibrate: bool = False
    features: np.ndarray | None = field(default=None, repr=False)
    enrolment: "Enrolment | None" = field(default=None, repr=False)

    def to_json(self) -> dict:
        """The form that machines read; as `predict --json`, with why."""
        document = self.prediction.to_json("recording", self.profile, self.recording.warnings)
        emotion_of = {clip.utterance_id: clip.emotion for clip in self.clips}
        without = [
            {
                "utterance": name,
                "emotion": emotion_of.get(name),
                "answer": answer.emotion,
                "sure": answer.sure,
                **answer.probabilities,
            }
            for name, answer in self.without.items()
        ]
        others = {said.personaliser: said.personalised.probabilities for said in self.others if said.personalised}
        words = self.words.to_json() if self.words else None
        return document | {"at": self.at, "without_each": without, "by_personaliser": others, "with_words": words}


@dataclass(eq=False)
class Visit:
    """What was answered since the page came, and what the person says was meant; in memory only.

    Attributes:
        answers: in order; the oldest are forgotten beyond fifty.
        meant: by the place of an answer.
        shown: place of the answer that is shown; None for none.
    """

    answers: list[Comparison] = field(default_factory=list)
    meant: dict[int, str] = field(default_factory=dict)
    shown: int | None = None

    @property
    def now(self) -> Comparison | None:
        """The answer that is shown."""
        return None if self.shown is None else self.answers[self.shown]

    def add(self, comparison: Comparison) -> None:
        """One more, which is shown from now on."""
        self.answers.append(comparison)
        if len(self.answers) > _MAX_HISTORY:
            del self.answers[0]
            self.meant = {place - 1: emotion for place, emotion in self.meant.items() if place > 0}
        self.shown = len(self.answers) - 1

    def replace(self, comparison: Comparison) -> None:
        """The one that is shown was answered anew; for somebody else, that is another answer."""
        if comparison.asked.profile != self.now.asked.profile:
            self.add(replace(comparison, upload=self.now.upload, text=self.now.text, language=self.now.language))
        else:
            kept = {name: getattr(self.now, name) for name in ("at", "upload", "text", "language")}
            self.answers[self.shown] = replace(comparison, **kept)

    def update(self, comparison: Comparison, **changes) -> None:
        """One of the answers, which may no longer be there or shown, with something added."""
        for place, one in enumerate(self.answers):
            if one is comparison:
                self.answers[place] = replace(one, **changes)

    def forget(self, profile: str) -> list[str]:
        """Drop all answers for a profile; the files they came in."""
        gone = {place for place, one in enumerate(self.answers) if one.asked.profile == profile}
        kept = [place for place in range(len(self.answers)) if place not in gone]
        uploads = [self.answers[place].upload for place in gone if self.answers[place].upload]
        self.meant = {new: self.meant[old] for new, old in enumerate(kept) if old in self.meant}
        self.shown = kept.index(self.shown) if self.shown in kept else None
        self.answers = [self.answers[place] for place in kept]
        return uploads

    def clear(self) -> None:
        """Drop all answers."""
        self.answers, self.meant, self.shown = [], {}, None

    def calibrated_right(self) -> list[bool]:
        """Whether it was right, of each calibrated answer of which the person said what was meant."""
        chosen = [(self.answers[place].prediction.calibrated, meant) for place, meant in sorted(self.meant.items())]
        return [said.answer.emotion == meant for said, meant in chosen if said is not None]

    def sure(self) -> list[tuple[bool, bool | None]]:
        """Whether baseline and personalised answer were sure, of each judgement; None where there was no such answer."""
        said = [self.answers[place].prediction for place in sorted(self.meant)]
        return [(one.baseline.sure, one.personalised.sure if one.personalised else None) for one in said]

    def judgements(self, profile: str | None = None) -> list[Judgement]:
        """Answers of which the person said what was meant; of one profile only, if named."""
        chosen = [(self.answers[place], emotion) for place, emotion in sorted(self.meant.items())]
        return [_judged(one, emotion) for one, emotion in chosen if profile is None or one.asked.profile == profile]


def compare(
    services: Services, recording: Recording, asked: Asked, decode_ms: float = 0.0, upload: str | None = None
) -> Comparison:
    """Answer twice about a recording, or three times, and say why the answers differ.

    Raises:
        UnknownProfile, UnknownModel: no such profile, model or personaliser.
        EncoderUnavailable, BadCheckpoint: the model cannot be used.
    """
    recogniser = services.models.recogniser(asked.model)
    enrolment, profile = _enrolment(services, asked.profile, recogniser)
    clips = profile.utterances if profile else ()
    from ser_core.inference.explanation import by_every_personaliser, without_each

    clock = {"decode": decode_ms}
    features, speech = recogniser.hear(recording, clock)
    prediction = recogniser.answer(features, enrolment, asked.personaliser or None, clock, speech)

    personalised, without, others = prediction.personalised is not None, {}, ()
    if enrolment and enrolment.utterances:
        others = tuple(by_every_personaliser(recogniser, features, enrolment, speech))
        if personalised:
            without = without_each(recogniser, features, enrolment, prediction.personaliser, speech)
    return Comparison(
        asked=asked,
        prediction=prediction,
        profile=asked.profile if personalised or prediction.calibrated else None,
        clips=clips,
        is_enrolled=_is_enrolled(services, asked.profile, clips, recording),
        without=without,
        others=others,
        recording=recording,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        upload=upload,
        talk=profile.talk if profile else (),
        can_calibrate=recogniser.info.load_calibration() is not None,
        features=features,
        enrolment=enrolment,
    )


def with_words(services: Services, comparison: Comparison, text: str) -> "WithWords":
    """What the words add to an answer.

    Raises:
        UnknownModel, EncoderUnavailable: the model reads none, or what reads them is not here.
    """
    recogniser = services.models.recogniser(comparison.asked.model)
    asked = (comparison.features, text, comparison.enrolment, comparison.language, comparison.prediction.speech)
    return recogniser.with_words(*asked)


def read(upload: str) -> tuple[Recording, float]:
    """An uploaded recording, and the milliseconds it took to read it.

    Raises:
        AudioRejected: it cannot be used.
    """
    start = time.perf_counter()
    return read_recording(upload), 1000 * (time.perf_counter() - start)


def by_every_model(services: Services, comparison: Comparison) -> "Iterator[tuple[str, list[Prediction]]]":
    """The same recording, by every personaliser of every model that can be used here, model by model."""
    from ser_core.inference.explanation import by_every_personaliser

    for info in services.models.offered():
        recogniser = services.models.recogniser(info.name)
        enrolment, _ = _enrolment(services, comparison.asked.profile, recogniser)
        features = recogniser.embed([comparison.recording.waveform])
        yield info.name, by_every_personaliser(recogniser, features, enrolment, comparison.prediction.speech)


def mean_of_models(found: "Sequence[tuple[str, Sequence[Prediction]]]") -> "tuple[str, list[Prediction]]":
    """The mean of several models' answers, each with its first personaliser, as one more model."""
    from ser_core.evaluation.certainty import Certainty
    from ser_core.inference.ensemble import mean_answer
    from ser_core.inference.recogniser import Answer

    def mean(answers: list) -> Answer | None:
        if not answers or None in answers:
            return None
        p = mean_answer([one.probabilities for one in answers])
        sure = firsts[0].speech and max(p.values()) >= Certainty().sure_from  # no dev speaker was asked
        return Answer(max(p, key=p.get), p, sure)

    firsts = [predictions[0] for _, predictions in found]
    firsts = [one for one in firsts if one.baseline.probabilities.keys() == firsts[0].baseline.probabilities.keys()]
    both = [mean([getattr(one, kind) for one in firsts]) for kind in ("baseline", "personalised")]
    name = f"mean of {len(firsts)} models"
    return name, [replace(firsts[0], model=name, baseline=both[0], personalised=both[1], calibrated=None)]


def at_levels(services: Services, comparison: Comparison) -> "list[AnswerAtLevel]":
    """The same words, louder and quieter (`GAINS_DB`)."""
    from ser_core.inference.explanation import at_levels as answered

    recogniser = services.models.recogniser(comparison.asked.model)
    enrolment, _ = _enrolment(services, comparison.asked.profile, recogniser)
    personaliser = comparison.prediction.personaliser or comparison.asked.personaliser or None
    speech = comparison.prediction.speech
    return answered(recogniser, comparison.recording.waveform, GAINS_DB, enrolment, personaliser, speech)


def document(comparisons: Sequence[Comparison], visit: Visit) -> str:
    """One answer, or a visit's, as JSON, with what was meant."""
    rows = [
        {"meant": visit.meant.get(place), **one.to_json()}
        for place, one in enumerate(visit.answers)
        if any(one is wanted for wanted in comparisons)
    ]
    return json.dumps(rows[0] if len(rows) == 1 else rows, indent=2, ensure_ascii=False)


def live_take(services: Services, asked: Asked):
    """A take to be fed; see `inference.live`."""
    from ser_core.inference.live import LiveTake

    recogniser = services.models.recogniser(asked.model)
    enrolment, _ = _enrolment(services, asked.profile, recogniser)
    return LiveTake(recogniser, enrolment, asked.personaliser or None)


def live_words(services: Services, take):
    """What writes down a take's words; None where Whisper is not here, or the model reads nothing."""
    from ser_core.inference.live import LiveWords

    if services.scribe.why_not or take.recogniser.info.reader is None:
        return None
    return LiveWords(take, services.scribe.write)


def _is_enrolled(services: Services, name: str, clips: Sequence[EnrolledUtterance], recording: Recording) -> bool:
    """Whether this very recording is one of the enrolled ones, but for rounding to 16 bits."""
    alike = [clip for clip in clips if abs(clip.duration_s - recording.duration_s) < 1e-4]
    stored = [services.store.audio(name, clip.utterance_id) for clip in alike]
    return any(np.abs(one - recording.waveform).max() < 2**-14 for one in stored if len(one) == len(recording.waveform))


def _enrolment(services: Services, name: str, recogniser: "Recogniser") -> "tuple[Enrolment | None, Profile | None]":
    """What is heard of a profile, and the profile; nobody's where it was erased meanwhile."""
    from ser_core.inference.enrolment import enrolment_of

    try:
        profile = services.profile(name)
        return (enrolment_of(services.store, name, recogniser), profile) if profile else (None, None)
    except UnknownProfile:
        return None, None


def _judged(comparison: Comparison, meant: str) -> Judgement:
    said = comparison.prediction
    return Judgement(
        at=comparison.at,
        model=said.model,
        personaliser=said.personaliser,
        meant=meant,
        baseline=said.baseline.emotion,
        personalised=said.personalised.emotion if said.personalised else None,
    )
