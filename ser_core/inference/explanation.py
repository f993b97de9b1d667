"""Why a personalised answer differs: without each enrolled recording, by every personaliser, at other loudnesses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.inference.recogniser import Answer, Enrolment, Prediction, Recogniser

_FULL_SCALE = 2**15


def without_each(
    recogniser: Recogniser,
    features: np.ndarray,
    enrolment: Enrolment,
    personaliser: str | None = None,
    speech: bool = True,
) -> dict[str, Answer]:
    """The personalised answer as it would be had one recording not been enrolled, by the name of that recording.

    Args:
        recogniser: the model.
        features: the utterance as `Recogniser.embed` gives it, (1, L, 2 D).
        enrolment: of its speaker.
        personaliser: how the enrolment is used; the model's first if None.
        speech: whether anybody speaks in it.

    Returns:
        One answer for each enrolled recording; the baseline's where nothing usable is left without it.
    """
    answers = {}
    for utterance in enrolment.utterances:
        left = recogniser.answer(features, enrolment.without(utterance), personaliser, speech=speech)
        answers[utterance] = left.personalised or left.baseline
    return answers


def by_every_personaliser(
    recogniser: Recogniser, features: np.ndarray, enrolment: Enrolment | None, speech: bool = True
) -> list[Prediction]:
    """The same utterance answered by each of a model's personalisers, the default first."""
    return [recogniser.answer(features, enrolment, name, speech=speech) for name in recogniser.info.personalisers]


@dataclass(frozen=True)
class AnswerAtLevel:
    """What would have been said, had the same words come in louder or quieter.

    Attributes:
        gain_db: how much louder than recorded.
        clipped_share: part of the samples that no longer fit, 0 to 1.
        prediction: both answers; None where nothing would have been left to hear.
    """

    gain_db: float
    clipped_share: float
    prediction: Prediction | None


def at_levels(
    recogniser: Recogniser,
    waveform: np.ndarray,
    gains_db: Sequence[float],
    enrolment: Enrolment | None = None,
    personaliser: str | None = None,
    speech: bool = True,
) -> list[AnswerAtLevel]:
    """Play a recording at other levels through a 16-bit sound card: too loud is cut off, too quiet is rounded away.

    Args:
        recogniser: the model.
        waveform: as `read_recording` gives it, (N,) float32, 16 kHz.
        gains_db: how much louder than recorded.
        enrolment: of its speaker, as it was recorded.
        personaliser: how it is used; the model's first if None.
        speech: whether anybody speaks in it, as recorded.
    """

    def at(gain_db: float) -> AnswerAtLevel:
        heard, clipped = _played(waveform, gain_db)
        if not heard.any():
            return AnswerAtLevel(gain_db, clipped, None)
        said = recogniser.answer(recogniser.embed([heard]), enrolment, personaliser, speech=speech)
        return AnswerAtLevel(gain_db, clipped, said)

    return [at(gain) for gain in gains_db]


def _played(waveform: np.ndarray, gain_db: float) -> tuple[np.ndarray, float]:
    """What comes out, and the share of it that is cut off."""
    wanted = np.round(waveform * (10 ** (gain_db / 20) * _FULL_SCALE))
    heard = (np.clip(wanted, -_FULL_SCALE, _FULL_SCALE - 1) / _FULL_SCALE).astype(np.float32)
    return heard, float(np.mean((wanted < -_FULL_SCALE) | (wanted > _FULL_SCALE - 1)))
