"""record: a file from this computer's microphone, with a level meter."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import soundfile

from ser_core.data.audio import SAMPLE_RATE, UTTERANCE
from ser_core.data.whole import written
from ser_core.inference.recording import input_devices, record

_METER_WIDTH = 30
_METER_FLOOR_DBFS = -60.0


class BadTarget(ValueError):
    """A file that cannot be written, or a length that makes no sense."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="to write, .wav or .flac")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S")
    add_device_argument(parser)
    parser.add_argument("--devices", action="store_true", help="list the microphones there are")
    parser.add_argument("--json", action="store_true")


def add_device_argument(parser: ArgumentParser) -> None:
    """Add the choice of a microphone."""
    parser.add_argument(
        "--input-device", type=int, metavar="N", help="number of the microphone (default: the system's)"
    )


def run(arguments: Namespace) -> int:
    """List devices, or record."""
    if arguments.devices:
        return _list(arguments.json)
    path = Path(arguments.file or "")
    if path.suffix.lower() not in (".wav", ".flac") or not path.parent.is_dir():
        raise BadTarget("name a .wav or .flac file in a folder that exists")
    waveform = record_with_meter(arguments.seconds, arguments.input_device)
    with written(path) as hidden:
        soundfile.write(hidden, waveform, SAMPLE_RATE, subtype="PCM_16", format=path.suffix[1:].upper())
    duration_s = len(waveform) / SAMPLE_RATE
    print(
        json.dumps({"file": arguments.file, "duration_s": duration_s})
        if arguments.json
        else f"wrote {path}, {duration_s:.1f} s"
    )
    return 0


def record_with_meter(seconds: float, device: int | None) -> np.ndarray:
    """Record (N,) float32 at 16 kHz while a meter moves on standard error.

    Raises:
        BadTarget: too few or too many seconds.
        NoMicrophone: as `inference.recording.record`.
    """
    if not UTTERANCE.min_s <= seconds <= UTTERANCE.max_s:
        raise BadTarget(f"--seconds is {seconds:g}; {UTTERANCE.min_s:g} to {UTTERANCE.max_s:g} are possible")
    began = False

    def hear(level_dbfs: float) -> None:
        nonlocal began
        if not began:  # the microphone is there
            print(f"speak now, {seconds:g} s", file=sys.stderr)
            began = True
        _draw(level_dbfs)

    waveform = record(seconds, device, on_level=hear)
    print(file=sys.stderr)
    return waveform


def _draw(level_dbfs: float) -> None:
    filled = round(_METER_WIDTH * min(1.0, max(0.0, 1 - level_dbfs / _METER_FLOOR_DBFS)))
    print(f"\r  |{'#' * filled:<{_METER_WIDTH}}|", end="", file=sys.stderr, flush=True)


def _list(as_json: bool) -> int:
    devices = input_devices()
    if as_json:
        print(json.dumps([vars(device) for device in devices]))
    else:
        listed = [
            f"{device.index}: {device.name}, {device.rate_hz:.0f} Hz{' (default)' * device.is_default}"
            for device in devices
        ]
        print("\n".join(listed or ["no microphone was found"]))
    return 0
