"""The field's words for emotions and genders, and the maps between the corpora's label sets."""

from collections.abc import Iterable

APP_EMOTIONS = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
"""The seven classes of the app and of the models that ship, in the order they are shown."""

REST = "rest"
"""All classes but one, where one is told from the others together (data.against_rest)."""

EMOTIONS = (*APP_EMOTIONS, "calm", "boredom", "emphatic", "negative", "idle", REST)
"""Every class a corpus may use, in the order they are shown; negative and idle are the two-class form of FAU Aibo."""

ATTRIBUTES = ("arousal", "valence", "dominance")

OTHER = "other"
NO_AGREEMENT = "no_agreement"
GENDERS = ("female", "male", "unknown")

_SYNONYMS = {
    "neutral": "neutral", "neutrality": "neutral", "neu": "neutral",
    "happiness": "happiness", "happy": "happiness", "joy": "happiness", "hap": "happiness",
    "sadness": "sadness", "sad": "sadness",
    "anger": "anger", "angry": "anger", "ang": "anger",
    "fear": "fear", "fearful": "fear", "anxiety": "fear", "fea": "fear",
    "disgust": "disgust", "disgusted": "disgust", "dis": "disgust",
    "surprise": "surprise", "surprised": "surprise", "sur": "surprise",
    "calm": "calm", "calmness": "calm",
    "boredom": "boredom", "bored": "boredom",
    "emphatic": "emphatic", "negative": "negative", "idle": "idle", "rest": REST,
    "other": OTHER, "no_agreement": NO_AGREEMENT, "no agreement": NO_AGREEMENT,
}  # fmt: skip


class UnknownEmotion(ValueError):
    """A word that names no emotion we know."""


def canonical_emotion(word: str, allowed: Iterable[str] | None = None) -> str:
    """The field's word for a corpus' or a person's word.

    Args:
        word: any spelling we know, in any case.
        allowed: the classes that may be named; all of them if None.

    Raises:
        UnknownEmotion: the word is not known, or not among those allowed.

    >>> canonical_emotion("Happy")
    'happiness'
    """
    emotion = _SYNONYMS.get(str(word).strip().lower())
    choices = tuple(allowed) if allowed is not None else (*EMOTIONS, OTHER, NO_AGREEMENT)
    if emotion is None or emotion not in choices:
        raise UnknownEmotion(f"'{word}' is not an emotion known here; choose one of {', '.join(choices)}")
    return emotion


def to_label_set(emotion: str | None, classes: Iterable[str]) -> str | None:
    """The class in a smaller label set: itself, or 'other'; never a neighbour (calm is not neutral).

    >>> to_label_set("calm", APP_EMOTIONS)
    'other'
    """
    if emotion is None or emotion != emotion:  # missing stays missing (None or nan)
        return None
    return emotion if emotion in tuple(classes) else OTHER
