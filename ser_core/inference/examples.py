"""An example voice for people without a microphone: synthetic, nobody said any of it, made by assets/examples/make.py."""

from dataclasses import dataclass
from pathlib import Path

from ser_core.labels import APP_EMOTIONS
from ser_core.workspace import ASSETS

EXAMPLE_NAME = "Example voice (synthetic)"
"""Of the profile."""

_FOLDER = ASSETS / "examples"


class NoExamples(ValueError):
    """The program was installed without its assets."""


@dataclass(frozen=True)
class ExampleTake:
    """One utterance of the example voice that is not enrolled; `emotion` is what its prosody was set for."""

    title: str
    emotion: str
    path: Path


def example_enrolment() -> dict[str, Path]:
    """The example voice's recordings by emotion.

    Raises:
        NoExamples: they are not there.
    """
    files = {emotion: _FOLDER / "enrolment" / f"{emotion}.flac" for emotion in APP_EMOTIONS}
    if not all(path.is_file() for path in files.values()):
        raise NoExamples("the example voice is not installed; start Attune from its own folder")
    return files


def example_takes() -> tuple[ExampleTake, ...]:
    """Further utterances of the same voice; none where they are not installed."""
    paths = sorted((_FOLDER / "takes").glob("*.flac"))
    emotions = [path.stem.partition("-")[2] for path in paths]
    return tuple(
        ExampleTake(f"The synthetic example voice, take {place}: spoken for {emotion}", emotion, path)
        for place, (emotion, path) in enumerate(zip(emotions, paths, strict=True), 1)
    )
