"""Live: what is heard in the last seconds, again and again while somebody speaks, and silence where nobody does.

A take is cut into windows that end every `HOP_S` and reach `WINDOW_S` back. Each is answered by itself, as a recording
of its own would be, so that the take, once it is saved, gives the same answers again.
"""

import io
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import soundfile

from ser_core.data.audio import SAMPLE_RATE, StreamResampler
from ser_core.data.quality import has_speech
from ser_core.inference.recogniser import Enrolment, Prediction, Recogniser, WithWords
from ser_core.inference.transcription import Transcript

WINDOW_S = 3.0
"""How much of the take one answer hears: about a sentence."""

HOP_S = 0.4
"""From one answer to the next: two and a half a second."""

LONGEST_TAKE_S = 600.0
"""A live take stays in memory, 2 MB a minute."""

_GATE_S = 1.5
"""Somebody speaks if speech is found in this last part of a window."""

_FULL_SCALE = 2**15


@dataclass(frozen=True)
class Moment:
    """What was heard in one window.

    Attributes:
        start_s: where the window begins in the take.
        end_s: where it ends.
        prediction: both answers; None for silence.
        milliseconds: what it took to find out.
    """

    start_s: float
    end_s: float
    prediction: Prediction | None
    milliseconds: float


class LiveTake:
    """A take that grows while it is listened to. One thread feeds it, others may look."""

    def __init__(self, recogniser: Recogniser, enrolment: Enrolment | None = None, personaliser: str | None = None):
        """Nothing heard yet.

        Args:
            recogniser: the model.
            enrolment: of the speaker.
            personaliser: how it is used; the model's first if None.

        Raises:
            UnknownModel: no such personaliser.
        """
        self.recogniser, self.enrolment = recogniser, enrolment
        self.personaliser = recogniser.info.personaliser(personaliser)
        self.moments: list[Moment] = []
        self._samples = bytearray()  # 16 bits each, as the take is saved: what is answered is what can be heard again
        self._resampler: StreamResampler | None = None
        self._lock = threading.Lock()

    @property
    def calibrates(self) -> bool:
        """Whether free speech of the speaker puts the answers right."""
        return self.enrolment is not None and self.recogniser.can_calibrate(self.enrolment)

    @property
    def duration_s(self) -> float:
        """So much was heard."""
        return len(self._samples) / 2 / SAMPLE_RATE

    @property
    def full(self) -> bool:
        """Whether no more is taken in."""
        return self.duration_s >= LONGEST_TAKE_S

    def feed(self, samples: np.ndarray, rate_hz: int) -> Moment | None:
        """Take in what was just heard, and answer about the newest window that it completes.

        Windows that passed while the computer was busy are left out: the newest counts.

        Args:
            samples: (N,) float32 in [-1, 1], any rate, but one rate a take.
            rate_hz: of the samples.
        """
        with self._lock:
            if self._resampler is None:
                self._resampler = StreamResampler(rate_hz)
            before = self._n_hops()
            heard = self._resampler.feed(np.asarray(samples, dtype=np.float32))
            room = int(LONGEST_TAKE_S * SAMPLE_RATE) - len(self._samples) // 2
            rounded = np.clip(np.round(heard[:room] * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
            self._samples += rounded.astype("<i2").tobytes()
            if self._n_hops() == before:
                return None
            moment = self._answer(round(self._n_hops() * HOP_S * SAMPLE_RATE))
            self.moments.append(moment)
            return moment

    def waveform(self) -> np.ndarray:
        """The take, (N,) float32, 16 kHz."""
        return np.frombuffer(bytes(self._samples), dtype="<i2").astype(np.float32) / _FULL_SCALE

    def part(self, start_s: float, end_s: float) -> np.ndarray:
        """A part of the take, (N,) float32, 16 kHz."""
        start, end = (max(0, round(at * SAMPLE_RATE)) for at in (start_s, end_s))
        return np.frombuffer(bytes(self._samples[2 * start : 2 * end]), dtype="<i2").astype(np.float32) / _FULL_SCALE

    def wav(self) -> bytes:
        """The take as a WAV file, every sample as it was answered about."""
        file = io.BytesIO()
        soundfile.write(
            file, np.frombuffer(bytes(self._samples), dtype="<i2"), SAMPLE_RATE, format="WAV", subtype="PCM_16"
        )
        return file.getvalue()

    def _n_hops(self) -> int:
        return int(len(self._samples) / 2 / SAMPLE_RATE / HOP_S + 1e-9)

    def _answer(self, end: int) -> Moment:
        start = max(0, end - round(WINDOW_S * SAMPLE_RATE))
        began = time.perf_counter()
        window = np.frombuffer(self._samples[2 * start : 2 * end], dtype="<i2").astype(np.float32) / _FULL_SCALE
        prediction = None
        if _somebody_speaks(window):
            prediction = self.recogniser.answer(self.recogniser.embed([window]), self.enrolment, self.personaliser)
        took = 1000 * (time.perf_counter() - began)
        return Moment(start / SAMPLE_RATE, end / SAMPLE_RATE, prediction, round(took, 2))


class LiveWords:
    """The latest words of a take, written down in a thread of its own, so that no answer waits for them.

    Attributes:
        latest: where in the take they end, in seconds, and what voice and words say; None until the first ones.
        problem: why no more is written, in words; empty while all goes well.
    """

    WINDOW_S = 6.0
    """How much is written down at once."""

    EVERY_S = 2.0
    """From one writing to the next, at least; where Whisper takes longer, words are left out."""

    def __init__(self, take: LiveTake, write: Callable[[np.ndarray], Transcript]):
        """Nothing written yet; `write` is a transcriber's."""
        self.latest: tuple[float, WithWords] | None = None
        self.problem = ""
        self._take, self._write = take, write
        self._thread: threading.Thread | None = None
        self._asked_s = 0.0

    def look(self) -> None:
        """After each moment: begin to write, if somebody spoke and nobody writes."""
        moment = self._take.moments[-1]
        busy = self._thread is not None and self._thread.is_alive()
        if busy or self.problem or moment.prediction is None or moment.end_s - self._asked_s < self.EVERY_S:
            return
        self._asked_s = moment.end_s
        self._thread = threading.Thread(target=self._add, args=[moment.end_s], name="writer", daemon=True)
        self._thread.start()

    def now(self) -> WithWords | None:
        """What voice and words say, unless the words are too old to be about what is heard."""
        heard_s = self._take.moments[-1].end_s if self._take.moments else 0.0
        return self.latest[1] if self.latest and heard_s - self.latest[0] <= self.WINDOW_S else None

    def _add(self, end_s: float) -> None:
        recogniser, heard = self._take.recogniser, self._take.part(end_s - self.WINDOW_S, end_s)
        try:
            written = self._write(heard)
            features = recogniser.embed([heard[-round(WINDOW_S * SAMPLE_RATE) :]])
            said = recogniser.with_words(features, written.text, self._take.enrolment, written.language or "")
        except ValueError as error:  # Whisper or the text model went away; the voice is answered on
            self.problem = str(error)
            return
        self.latest = (end_s, said)


def timeline(
    waveform: np.ndarray, recogniser: Recogniser, enrolment: Enrolment | None = None, personaliser: str | None = None
) -> list[Moment]:
    """What live mode would say of a recording: a moment every `HOP_S`.

    Args:
        waveform: (N,) float32 in [-1, 1], 16 kHz.
        recogniser: the model.
        enrolment: of the speaker.
        personaliser: how it is used; the model's first if None.
    """
    take, step = LiveTake(recogniser, enrolment, personaliser), round(HOP_S * SAMPLE_RATE)
    for start in range(0, len(waveform), step):
        take.feed(waveform[start : start + step], SAMPLE_RATE)
    return take.moments


def as_table(moments: Sequence[Moment]) -> pd.DataFrame:
    """One row a moment: times, whether anybody spoke, both answers, whether they are sure, and all probabilities; nan where
    there is none."""
    return pd.DataFrame([_row(moment) for moment in moments])


def as_json(moments: Sequence[Moment]) -> str:
    """The same for machines: settings once, then a list of moments with null where there is no answer."""
    rows = json.loads(as_table(moments).to_json(orient="records"))
    return json.dumps({"window_s": WINDOW_S, "hop_s": HOP_S, "moments": rows}, indent=2)


def _somebody_speaks(window: np.ndarray) -> bool:
    return has_speech(window[-round(_GATE_S * SAMPLE_RATE) :])


def _row(moment: Moment) -> dict:
    row = {"start_s": moment.start_s, "end_s": moment.end_s, "speech": moment.prediction is not None}
    said = moment.prediction
    right = said and said.calibrated and said.calibrated.answer
    for name, answer in (
        ("baseline", said and said.baseline),
        ("calibrated", right),
        ("personalised", said and said.personalised),
    ):
        row |= {name: answer.emotion, f"{name}_sure": answer.sure} if answer else {name: None, f"{name}_sure": None}
        row |= {f"p_{name}_{emotion}": p for emotion, p in answer.probabilities.items()} if answer else {}
    return row | {"milliseconds": moment.milliseconds}
