"""The argument emotion=FILE, which `predict --enrol` and `enrol --clip` share."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass

from ser_core.data.audio import AudioRejected, Recording, read_recording
from ser_core.labels import APP_EMOTIONS, canonical_emotion


class BadClip(ValueError):
    """An argument that is not emotion=FILE, or whose file cannot be used."""


@dataclass(frozen=True)
class Clip:
    """A labelled recording named on the command line."""

    label: str
    emotion: str
    recording: Recording


def add_clip_argument(parser: ArgumentParser, flag: str, help_text: str) -> None:
    """Add a repeatable emotion=FILE."""
    parser.add_argument(flag, action="append", default=[], metavar="EMOTION=FILE", help=help_text)


def parse_clips(arguments: Sequence[str]) -> list[Clip]:
    """Read each emotion=FILE; all of them or none.

    Raises:
        BadClip: not of that form, or the recording is refused; says which.
        UnknownEmotion: an emotion that does not exist.
    """
    return [_parse(argument) for argument in arguments]


def _parse(argument: str) -> Clip:
    word, equals, path = argument.partition("=")
    if not (word and equals and path):
        raise BadClip(f"'{argument}' is not EMOTION=FILE; write for example anger=angry.wav")
    emotion = canonical_emotion(word, APP_EMOTIONS)
    try:
        return Clip(argument, emotion, read_recording(path))
    except AudioRejected as error:
        raise BadClip(f"{argument}: {error}") from None
