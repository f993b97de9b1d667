"""One utterance in, two answers out: baseline and personalised, with what changed and why."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType

import numpy as np
import torch

from ser_core.data.audio import PREPARED, Recording, level_and_trim
from ser_core.data.batches import Batch
from ser_core.data.quality import has_speech
from ser_core.encoders.base import as_memory_allows, autocast, choose_device, precision
from ser_core.encoders.text import Reading, TextEncoder
from ser_core.inference.calibration import SpeakerStatistics
from ser_core.inference.models import ModelInfo, UnknownModel, choose_model
from ser_core.inference.voices import HINT
from ser_core.labels import ATTRIBUTES
from ser_core.methods.base import Method, Output
from ser_core.methods.checkpoint import load_method
from ser_core.weights import EncoderUnavailable
from ser_core.workspace import Workspace


@dataclass(frozen=True)
class Enrolment:
    """A speaker's enrolled utterances as an encoder hears them.

    Attributes:
        utterances: their names (K), keys of the attention.
        emotions: their classes (K).
        features: pooled layers, (K, L, 2 D) float32.
        talk: what free speech says, without labels; None where there is none.
    """

    utterances: tuple[str, ...]
    emotions: tuple[str, ...]
    features: np.ndarray
    talk: SpeakerStatistics | None = None

    def without(self, utterance: str) -> "Enrolment":
        """All but one."""
        kept = [k for k, name in enumerate(self.utterances) if name != utterance]
        names, emotions = (tuple(values[k] for k in kept) for values in (self.utterances, self.emotions))
        return Enrolment(names, emotions, self.features[kept], self.talk)


@dataclass(frozen=True)
class Answer:
    """The most probable emotion, and the probability of each.

    Attributes:
        emotion: the most probable one, whether or not it may be told as sure.
        probabilities: of each emotion.
        sure: whether the most probable one reaches the threshold that the method learned on dev speakers
            (evaluation/certainty.py); otherwise the answer is "not sure".
    """

    emotion: str
    probabilities: dict[str, float]
    sure: bool

    def unsure(self) -> "Answer":
        """The same, not sure."""
        return replace(self, sure=False)


@dataclass(frozen=True)
class Calibrated:
    """The baseline's answer, put right by free speech of the speaker (PLDC for classes, inference/calibration.py).

    Attributes:
        answer: what it comes to.
        n_utterances: of free speech.
        before, after: the mean probability of each emotion in that speech, as predicted and as it should be.
        similar: numbers of the training speakers it goes by, most similar first; they name nobody.
        similarities: their cosines, -1 to 1.
    """

    answer: Answer
    n_utterances: int
    before: dict[str, float]
    after: dict[str, float]
    similar: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True)
class Prediction:
    """Two answers about one utterance, and a third where there is free speech of the speaker.

    Attributes:
        model: which model answered.
        personaliser: which of its personalisers; None if nobody is enrolled.
        baseline: the answer for everybody.
        personalised: the answer for the enrolled speaker; None if nobody is enrolled, or nothing that is used.
        attention: how far the answer attends to each enrolled utterance, summing to at most one; None if nobody is enrolled or the
            personaliser weighs them all alike.
        shift: how far the enrolment moved the utterance's embedding, relative to the embedding's length.
        milliseconds: decode, listen (whether anybody speaks), encode, personalise, total.
        calibrated: the baseline put right by free speech; None without any, or where the model cannot.
        speech: whether speech was found in it; no answer is sure without any.
    """

    model: str
    personaliser: str | None
    baseline: Answer
    personalised: Answer | None
    attention: dict[str, float] | None
    shift: float | None
    milliseconds: dict[str, float]
    calibrated: Calibrated | None = None
    speech: bool = True

    def without_speech(self) -> "Prediction":
        """The same of a recording in which no speech was found."""
        right = self.calibrated and replace(self.calibrated, answer=self.calibrated.answer.unsure())
        own = self.personalised and self.personalised.unsure()
        return replace(self, baseline=self.baseline.unsure(), personalised=own, calibrated=right, speech=False)

    def to_json(self, path: str, profile: str | None, warnings: Sequence[str]) -> dict:
        """The stable form that machines read."""
        said = asdict(self)
        return {"path": path, "model": said.pop("model"), "profile": profile, **said, "warnings": list(warnings)}


@dataclass(frozen=True)
class WithWords:
    """What a model says that hears and reads.

    Attributes:
        text: what of the words counted; empty where none did.
        note: why not all of them counted, in words; empty where they did.
        words: the answer from the words alone; None without any.
        baseline: the answer from voice and words, for everybody.
        personalised: the same for the enrolled speaker; None if nobody is enrolled.
        unread: what the same network says without the words: baseline, and personalised or None.
        attributes: arousal, valence and dominance of both answers, by name; empty where the model predicts none.
        milliseconds: read, answer.
    """

    text: str
    note: str
    words: Answer | None
    baseline: Answer
    personalised: Answer | None
    unread: tuple[Answer, Answer | None]
    attributes: dict[str, dict[str, float]]
    milliseconds: dict[str, float]

    @property
    def moved_by_words(self) -> float:
        """How far the words moved the answer that is shown, 0 (not at all) to 1: half the sum of all differences."""
        return _distance(self.personalised or self.baseline, self.unread[1] or self.unread[0])

    @property
    def moved_by_voice(self) -> float:
        """How far the voice moved the answer away from that of the words alone, 0 to 1; 0 without words."""
        return _distance(self.personalised or self.baseline, self.words) if self.words else 0.0

    def without_speech(self) -> "WithWords":
        """The same of a recording in which no speech was found."""
        words, own = self.words and self.words.unsure(), self.personalised and self.personalised.unsure()
        unread = (self.unread[0].unsure(), self.unread[1] and self.unread[1].unsure())
        return replace(self, words=words, baseline=self.baseline.unsure(), personalised=own, unread=unread)

    def to_json(self) -> dict:
        """As `predict --json` gives it under `with_words`; what there is not is null."""
        unread = dict(zip(("baseline", "personalised"), map(_or_none, self.unread), strict=True))
        moved = {"moved_by_words": self.moved_by_words, "moved_by_voice": self.moved_by_voice}
        return {**asdict(self), "unread": unread, **moved}


class Recogniser:
    """A model in memory: its encoder, baseline and personalisers. Safe to share between threads."""

    def __init__(self, workspace: Workspace, model: str | None = None, device: str = "auto"):
        """Load a model.

        Args:
            workspace: where fetched encoders lie.
            model: name or folder; the best that is available if None.
            device: 'auto' for CUDA, then MPS, then the CPU; or as torch names it.

        Raises:
            UnknownModel, EncoderUnavailable, BadCheckpoint: it cannot be loaded; the message says what to do.
        """
        self.info: ModelInfo = choose_model(model, workspace)
        self.device = choose_device(device)
        self.encoder = self.info.load_encoder(workspace).to(self.device)
        self.baseline = self._load(self.info.baseline)
        self._correction = self.info.load_calibration()
        self._workspace = workspace
        self._personalisers: dict[str, Method] = {}
        self._text: TextEncoder | None = None
        self._lock, self._text_lock = threading.Lock(), threading.Lock()  # no voice waits for the reader of words

    def embed(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Pooled layers of waveforms (N,) float32 at 16 kHz as read (levelled and trimmed here): (B, L, 2 D)."""
        heard = [torch.from_numpy(level_and_trim(waveform)) for waveform in waveforms]
        return np.concatenate(list(as_memory_allows(self._pooled, heard, max(1, len(heard)), self.encoder)))

    def _pooled(self, heard: Sequence[torch.Tensor]) -> np.ndarray:
        with torch.inference_mode(), autocast(self.encoder.device, precision(self.device)):
            return self.encoder.pooled(heard).cpu().numpy()

    def embed_each(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """As `embed`, one at a time where padding would cost time (on a CPU)."""
        if self.device.type != "cpu":
            return self.embed(waveforms)
        return np.concatenate([self.embed([waveform]) for waveform in waveforms])

    @property
    def fingerprint(self) -> str:
        """Names all that decides what `embed` gives."""
        return f"{self.encoder.fingerprint}-{PREPARED}-{precision(self.device)}"

    def enrol(self, clips: Sequence[tuple[str, str, np.ndarray]]) -> Enrolment:
        """From (name, emotion, waveform) of each utterance to what the personalisers hear."""
        names, emotions, waveforms = zip(*clips, strict=True)
        return Enrolment(tuple(names), tuple(emotions), self.embed_each(waveforms))

    def recognise(
        self,
        recording: Recording,
        enrolment: Enrolment | None = None,
        personaliser: str | None = None,
        decode_ms: float = 0.0,
    ) -> Prediction:
        """Answer twice about one utterance.

        Args:
            recording: as `read_recording` gives it.
            enrolment: of its speaker; emotions that the model does not know are left out.
            personaliser: one of `info.personalisers`; the first if None.
            decode_ms: what reading the file took, for the sum.

        Raises:
            UnknownModel: no such personaliser.
        """
        clock: dict[str, float] = {"decode": decode_ms}
        features, speech = self.hear(recording, clock)
        return self.answer(features, enrolment, personaliser, clock, speech)

    def hear(self, recording: Recording, clock: dict[str, float] | None = None) -> tuple[np.ndarray, bool]:
        """What `answer` goes by: the pooled layers, (1, L, 2 D), and whether anybody speaks.

        Args:
            recording: as `read_recording` gives it.
            clock: takes the milliseconds of each step.
        """
        clock = {} if clock is None else clock
        with _timed(clock, "listen"):
            speech = has_speech(recording.waveform)
        with _timed(clock, "encode"):
            features = self.embed([recording.waveform])
        return features, speech

    def answer(
        self,
        features: np.ndarray,
        enrolment: Enrolment | None = None,
        personaliser: str | None = None,
        clock: Mapping[str, float] = MappingProxyType({}),
        speech: bool = True,
    ) -> Prediction:
        """Answer twice about one utterance that is embedded already.

        Args:
            features: as `embed` gives them, (1, L, 2 D).
            enrolment: as for `recognise`.
            personaliser: as for `recognise`.
            clock: milliseconds that the steps before took.
            speech: whether anybody speaks in it; else no answer is sure.

        Raises:
            UnknownModel: no such personaliser.
        """
        name, clock = self.info.personaliser(personaliser), dict(clock)
        with _timed(clock, "personalise"):
            batch = self._batch(features, enrolment)
            baseline, heard = self._answer(self.baseline, batch)
            personalised, output = self._personalised(name, batch)
            calibrated = self._calibrated(heard, enrolment)
        clock["total"] = sum(clock.values())
        prediction = Prediction(
            model=self.info.name,
            personaliser=name if output else None,
            baseline=baseline,
            personalised=personalised,
            attention=_attention(output, self._known(enrolment), enrolment) if output else None,
            shift=round(float(output.shift[0]), 6) if output is not None and output.shift is not None else None,
            milliseconds={step: round(value, 2) for step, value in clock.items()},
            calibrated=calibrated,
        )
        return prediction if speech else prediction.without_speech()

    def statistics(self, features: np.ndarray) -> SpeakerStatistics:
        """What the baseline says of free speech, utterance by utterance: pooled layers (M, L, 2 D), from `embed`."""
        batches = [self._batch(features[place : place + 1], None) for place in range(len(features))]
        with torch.inference_mode(), autocast(self.device):
            said = [self.baseline(batch) for batch in batches]
        embeddings, predicted = (
            torch.cat(parts).float().cpu().numpy().astype(np.float64)
            for parts in ([one.embedding for one in said], [self.baseline.probabilities(one) for one in said])
        )
        return SpeakerStatistics.of(embeddings, predicted)

    def hints_of_talk(self, features: np.ndarray) -> tuple[str, ...]:
        """What seems odd in free speech, in words: pooled layers (M, L, 2 D) of its utterances, from `embed`."""
        line = self.info.load_voices()
        if line is None or len(features) == 0:
            return ()
        with torch.inference_mode():
            heard = self.baseline.front.standardised(torch.from_numpy(features).to(self.device)).flatten(1)
        return (HINT,) if line.are_two(heard.double().cpu().numpy()) else ()

    def can_calibrate(self, enrolment: Enrolment | None) -> bool:
        """Whether there is free speech, and the model can use it."""
        return enrolment is not None and enrolment.talk is not None and self._correction is not None

    def _calibrated(self, heard: Output, enrolment: Enrolment | None) -> Calibrated | None:
        if not self.can_calibrate(enrolment):
            return None
        predicted = self.baseline.probabilities(heard).cpu().numpy().astype(np.float64)
        right = self._correction.transform(predicted, enrolment.talk)[0]
        effect = self._correction.effect(enrolment.talk)
        return Calibrated(
            self._named(right, self.baseline), enrolment.talk.n, self._by_emotion(effect.mean),
            self._by_emotion(effect.wanted_mean), effect.similar,
            tuple(round(one, 4) for one in effect.similarities),
        )  # fmt: skip

    def with_words(
        self,
        features: np.ndarray,
        text: str,
        enrolment: Enrolment | None = None,
        language: str = "",
        speech: bool = True,
    ) -> WithWords:
        """Answer about one embedded utterance and what was said in it.

        Args:
            features: as `embed` gives them, (1, L, 2 D).
            text: as typed or transcribed; may be empty.
            enrolment: of its speaker.
            language: of the text, its ISO code, if known.
            speech: whether anybody speaks in it; else no answer is sure.

        Raises:
            UnknownModel: the model reads no words.
            EncoderUnavailable: what reads them is not on this machine.
        """
        clock: dict[str, float] = {}
        method = self.method(self.info.reads().method)
        with _timed(clock, "read"):
            reading = self.text_encoder().reading(text, language) if text.strip() else Reading("")
            batch = self._read(self._batch(features, enrolment), method, reading.text)
        with _timed(clock, "answer"):
            nobody = replace(batch, present=torch.zeros_like(batch.present))
            baseline, output = self._answer(method, nobody)
            unread = self._answer(method, nobody.without_text())[0] if reading.text else baseline
            personalised = own = None
            if method.uses_enrolment and batch.present.any():
                personalised, own = self._answer(method, batch)
            unread_own = personalised
            if personalised and reading.text:
                unread_own = self._answer(method, batch.without_text())[0]
            words = self._answer(method, batch, method.of_words_alone)[0] if reading.text else None
        kinds = {"baseline": output, "personalised": own}
        said = WithWords(
            text=reading.text,
            note=reading.note,
            words=words,
            baseline=baseline,
            personalised=personalised,
            unread=(unread, unread_own),
            attributes={
                kind: _attributes(said) for kind, said in kinds.items() if said and said.attributes is not None
            },
            milliseconds={step: round(value, 2) for step, value in clock.items()},
        )
        return said if speech else said.without_speech()

    def text_encoder(self) -> TextEncoder:
        """What reads words, loaded when first asked for.

        Raises:
            UnknownModel, EncoderUnavailable: see `with_words`.
        """
        with self._text_lock:
            if self._text is None:
                self._text = self.info.load_text_encoder(self._workspace).to(self.device)
            return self._text

    def _read(self, batch: Batch, method: Method, text: str) -> Batch:
        """Without words nothing is read, and what reads need not be loaded."""
        if text:
            with torch.inference_mode(), autocast(self.device):
                layers = self.text_encoder().pooled([text]).float()
        else:
            layers = torch.zeros(1, method.text_shape.n_layers, method.text_shape.n_values, device=self.device)
        return replace(batch, text=layers, has_text=torch.tensor([bool(text)], device=self.device))

    def _known(self, enrolment: Enrolment | None) -> list[int]:
        return [k for k, word in enumerate(enrolment.emotions) if word in self.info.emotions] if enrolment else []

    def _batch(self, features: np.ndarray, enrolment: Enrolment | None) -> Batch:
        known = self._known(enrolment)
        n_slots = max(1, len(known))
        slots = np.zeros((1, n_slots, *features.shape[1:]), dtype=np.float32)
        emotion = np.full((1, n_slots), -1, dtype=np.int64)
        for slot, k in enumerate(known):
            slots[0, slot] = enrolment.features[k]
            emotion[0, slot] = self.info.emotions.index(enrolment.emotions[k])
        return Batch(
            features=torch.from_numpy(features),
            waveforms=(),
            emotion=torch.full((1,), -1),
            classes=torch.ones(1, len(self.info.emotions), dtype=torch.bool),
            enrolment=torch.from_numpy(slots),
            present=torch.from_numpy(emotion >= 0),
            enrolment_emotion=torch.from_numpy(emotion),
        ).to(self.device)

    def _answer(
        self, method: Method, batch: Batch, hear: Callable[[Batch], Output] | None = None
    ) -> tuple[Answer, Output]:
        """What a method says, or a part of it that hears the batch instead."""
        with torch.inference_mode(), autocast(self.device):
            output = (hear or method)(batch)
        return self._named(method.probabilities(output)[0].tolist(), method), output

    def _named(self, probability: Sequence[float], method: Method) -> Answer:
        """An answer as sure as the method may be; the calibrated one goes by the baseline."""
        named = self._by_emotion(probability)
        emotion = max(named, key=named.get)
        return Answer(emotion, named, named[emotion] >= method.certainty_.sure_from)

    def _by_emotion(self, probability: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.info.emotions, (round(float(p), 6) for p in probability), strict=True))

    def _personalised(self, name: str, batch: Batch) -> tuple[Answer, Output] | tuple[None, None]:
        """None where nobody is enrolled, or where the personaliser hears nothing of what is (PERS N without neutral)."""
        if not (name and batch.present.any()):
            return None, None
        answer, output = self._answer(self.method(name), batch)
        heard_nothing = output.attention is not None and not output.attention.any()
        return (None, None) if heard_nothing else (answer, output)

    def method(self, name: str) -> Method:
        """One of the personalisers, loaded when first asked for."""
        with self._lock:
            if name not in self._personalisers:
                self._personalisers[name] = self._load(name)
            return self._personalisers[name]

    def _load(self, name: str) -> Method:
        method = load_method(self.info.folder / name)
        there, wanted = (self.encoder.n_layers, 2 * self.encoder.width), (method.shape.n_layers, method.shape.n_values)
        if there != wanted:
            raise EncoderUnavailable(
                f"the encoder found has {there[0]} layers of {there[1] // 2} values, but '{self.info.name}' was trained on "
                f"{wanted[0]} of {wanted[1] // 2}; let SER_WEIGHTS name the folder of {self.info.source}"
            )
        if method.emotions != self.info.emotions:
            raise UnknownModel(
                f"model '{self.info.name}' says that it tells {', '.join(self.info.emotions)} apart, but its '{name}' tells "
                f"{', '.join(method.emotions)}; install it again"
            )
        return method.to(self.device)


def _attention(output: Output, known: list[int], enrolment: Enrolment) -> dict[str, float] | None:
    if output.attention is None:
        return None
    weights = output.attention[0].float().tolist()
    return {enrolment.utterances[k]: round(weight, 6) for k, weight in zip(known, weights, strict=True)}


def _attributes(output: Output) -> dict[str, float]:
    values = zip(ATTRIBUTES, output.attributes[0].float().tolist(), strict=True)
    return {name: round(value, 4) for name, value in values if value == value}


def _or_none(answer: Answer | None) -> dict | None:
    return asdict(answer) if answer else None


def _distance(one: Answer, other: Answer) -> float:
    """Total variation distance of two answers, 0 to 1."""
    return round(0.5 * sum(abs(p - other.probabilities[emotion]) for emotion, p in one.probabilities.items()), 6)


@contextmanager
def _timed(clock: dict[str, float], step: str):
    start = time.perf_counter()
    yield
    clock[step] = 1000 * (time.perf_counter() - start)
