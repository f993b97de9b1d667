"""Gentle hints about an enrolled recording: does it sound like its label, and like the person of the others?

A hint never blocks. Thresholds are such that at most 3 in 100 right recordings of the dev speakers get a hint with any
model that ships, found by benchmarks/plausibility.py on RAVDESS, EmoDB, nEMO and a Korean corpus (results beside it).
"""

import math

import numpy as np
import torch

from ser_core.encoders.base import autocast
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.methods.base import Output
from ser_core.methods.speaker_reference import SpeakerReference

HARDLY_ITS_LABEL = 0.05
SURELY_ANOTHER = 0.9
ANOTHER_VOICE = {"compact": -0.062, "whisper-tiny.en": -0.055}
"""By model, for each hears voices in its own way; a model that is not listed gets the strictest."""
_MIN_OTHERS = 3


def hints(recogniser: Recogniser, enrolment: Enrolment) -> dict[str, tuple[str, ...]]:
    """Words about those recordings that are odd, by their names.

    Args:
        recogniser: the model.
        enrolment: a profile's.
    """
    found: dict[str, list[str]] = {}
    voices = voice_scores(recogniser, enrolment)
    for k, name in enumerate(enrolment.utterances):
        label = enrolment.emotions[k]
        said = label_answer(recogniser, enrolment, name)
        top = max(said, key=said.get)
        if top != label and said.get(label, 1.0) < HARDLY_ITS_LABEL and said[top] > SURELY_ANOTHER:
            words = f"To the model this sounds more like {top} than {label}. If it sounds like {label} to you, keep it."
            found.setdefault(name, []).append(words)
        same = [j for j in range(k) if np.array_equal(enrolment.features[j], enrolment.features[k])]
        if same:
            found.setdefault(name, []).append(
                f"This is the same recording as the one for {enrolment.emotions[same[0]]}."
            )
        if voices is not None and voices[k] < voice_threshold(recogniser):
            words = "This sounds like another voice than the other recordings. If it is the same person, keep it."
            found.setdefault(name, []).append(words)
    return {name: tuple(words) for name, words in found.items()}


def voice_threshold(recogniser: Recogniser) -> float:
    """A voice score below this gets a hint."""
    return ANOTHER_VOICE.get(recogniser.info.name, min(ANOTHER_VOICE.values()))


def label_answer(recogniser: Recogniser, enrolment: Enrolment, name: str) -> dict[str, float]:
    """What the model says of one recording with all the others enrolled, or with none where it is alone.

    The others have no votes here: among them all emotions but its own would.
    """
    place, method = enrolment.utterances.index(name), _reference(recogniser)
    emotion = _emotions(recogniser, enrolment)
    others = (emotion >= 0) & (torch.arange(len(emotion)) != place)
    if method is None or not others.any():
        return recogniser.answer(enrolment.features[place : place + 1]).baseline.probabilities
    with torch.inference_mode(), autocast(recogniser.device):
        heard = method.front.standardised(torch.from_numpy(enrolment.features).to(recogniser.device))
        reference = method.reference(*(of_all[None].to(heard.device) for of_all in (heard, others, emotion)))
        embedding = method.trunk(method.front.joined(heard[place : place + 1] - reference))
        said = method.probabilities(Output(embedding, method.head(embedding)))[0]
    return dict(zip(recogniser.info.emotions, said.tolist(), strict=True))


def _emotions(recogniser: Recogniser, enrolment: Enrolment) -> torch.Tensor:
    """(K,) places among the model's emotions; -1 for one it does not know."""
    places = {emotion: place for place, emotion in enumerate(recogniser.info.emotions)}
    return torch.tensor([places.get(emotion, -1) for emotion in enrolment.emotions])


def voice_scores(recogniser: Recogniser, enrolment: Enrolment) -> np.ndarray | None:
    """How much more likely each recording is if the others' speaker said it than if anybody did.

    Two-covariance scoring (Brümmer and de Villiers 2010, "The speaker partitioning problem") with the variances that
    `SpeakerReference` learned, each dimension by itself, once the emotion's mean is taken away.

    Returns:
        (K,) mean log-likelihood ratio of a dimension; None where there are too few others, or the model cannot tell.
    """
    method = _reference(recogniser)
    emotion = _emotions(recogniser, enrolment)
    if method is None or (emotion < 0).any() or len(emotion) <= _MIN_OTHERS:
        return None
    with torch.inference_mode():
        heard = method.front.standardised(torch.from_numpy(enrolment.features).to(recogniser.device))
        rest = (heard - method.emotion_mean_[emotion.to(heard.device)]).flatten(1).double().cpu().numpy()
    ratio = method.within_over_between_.flatten().double().cpu().numpy()
    return np.array([_score(rest[k], np.delete(rest, k, axis=0), ratio) for k in range(len(rest))])


def _score(one: np.ndarray, others: np.ndarray, ratio: np.ndarray) -> float:
    """Of (W,) given (n, W), where a dimension's variance is one: 1 / (1 + ratio) between speakers, the rest within."""
    between, within = 1.0 / (1.0 + ratio), ratio / (1.0 + ratio)
    mean = others.sum(axis=0) / (len(others) + ratio)
    left = within / (len(others) + ratio)  # what n recordings leave unknown of the speaker
    return float(np.mean(_log_normal(one, mean, within + left) - _log_normal(one, 0.0, within + between)))


def _log_normal(x: np.ndarray, mean: np.ndarray | float, variance: np.ndarray) -> np.ndarray:
    return -0.5 * (np.log(2 * math.pi * variance) + (x - mean) ** 2 / variance)


def _reference(recogniser: Recogniser) -> SpeakerReference | None:
    methods = (recogniser.method(name) for name in recogniser.info.personalisers)
    return next((method for method in methods if isinstance(method, SpeakerReference)), None)
