"""enrol: store labelled recordings of a person, from files or from this computer's microphone."""

import json
import sys
from argparse import ArgumentParser, Namespace

import numpy as np

from ser_core.commands.clips import BadClip, add_clip_argument, parse_clips
from ser_core.commands.record import add_device_argument, record_with_meter
from ser_core.data.quality import Quality, assess
from ser_core.inference.profiles import ProfileStore
from ser_core.inference.prompts import HINTS, PROMPTS
from ser_core.labels import APP_EMOTIONS
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="of the profile; made if there is none, else its recordings are replaced"
    )
    add_clip_argument(parser, "--clip", "one recording of an emotion; may be repeated")
    parser.add_argument(
        "--record", action="store_true", help="be guided through all emotions with this computer's microphone"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each guided recording")
    add_device_argument(parser)
    parser.add_argument("--json", action="store_true", help="the profile as an object, alone on standard output")


def run(arguments: Namespace) -> int:
    """Store all clips or none."""
    if bool(arguments.clip) == arguments.record:
        raise BadClip("give recordings with --clip EMOTION=FILE, or --record to use the microphone")
    store = ProfileStore(open_workspace(arguments.workspace).profiles)
    clips = _recorded(arguments) if arguments.record else _from_files(arguments.clip)
    exists = any(profile.name.casefold() == arguments.name.strip().casefold() for profile in store.list())
    profile = store.add_many(
        arguments.name, [(emotion, wave, quality.to_dict()) for emotion, wave, quality in clips], create=not exists
    )
    if arguments.json:
        print(
            json.dumps(
                {
                    "name": profile.name,
                    "emotions": list(profile.emotions),
                    "stored": [emotion for emotion, _, _ in clips],
                }
            )
        )
    else:
        print(
            f"{profile.name}: {len(set(profile.emotions))} of {len(APP_EMOTIONS)} emotions enrolled ({', '.join(profile.emotions)})"
        )
    return 0


def _from_files(arguments: list[str]) -> list[tuple[str, np.ndarray, Quality]]:
    clips = []
    for clip in parse_clips(arguments):
        quality = assess(clip.recording)
        clips.append((clip.emotion, clip.recording.waveform, quality))
        _say_advice(clip.emotion, [*clip.recording.warnings, *quality.advice])
    return clips


def _recorded(arguments: Namespace) -> list[tuple[str, np.ndarray, Quality]]:
    clips = []
    for emotion in APP_EMOTIONS:
        print(f"\n{emotion.upper()}: {HINTS[emotion]}\n  “{PROMPTS[emotion]}”", file=sys.stderr)
        if input("  Enter records, s skips: ").strip().lower() == "s":
            continue
        waveform = record_with_meter(arguments.seconds, arguments.input_device)
        quality = assess(waveform)
        _say_advice(emotion, quality.advice)
        clips.append((emotion, waveform, quality))
    if not clips:
        raise BadClip("nothing was recorded; nothing was stored")
    return clips


def _say_advice(emotion: str, advice) -> None:
    for words in advice:
        print(f"  {emotion}: {words}", file=sys.stderr)
