"""Record from this computer's own microphone, at the rate it was built for.

A microphone opened at a foreign rate is refused by some drivers and resampled badly by others, so it is opened at its
own, and resampled here as files are.
"""

import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Queue
from types import ModuleType

import numpy as np

from ser_core.data.audio import at_16_khz

_BLOCK_S = 0.05
_ANSWERS_WITHIN_S = 3.0
_FLOOR_DBFS = -100.0
_FULL_SCALE = 2**15

_ONE_AT_A_TIME = threading.Lock()


class NoMicrophone(ValueError):
    """There is nothing to record with, or it does not answer; the message says what to do."""


@dataclass(frozen=True)
class Device:
    """A microphone or another input.

    Attributes:
        index: what `record` takes as device.
        name: as the computer shows it.
        rate_hz: its native sample rate.
        channels: how many it has.
        is_default: whether the computer uses it where none is named.
    """

    index: int
    name: str
    rate_hz: int
    channels: int
    is_default: bool


def input_devices() -> list[Device]:
    """The inputs there are now; empty if there are none. One plugged in since is found.

    Raises:
        NoMicrophone: PortAudio, the library that talks to sound cards, is not installed.
    """
    sounddevice = _portaudio()
    _look_again(sounddevice)
    default = sounddevice.default.device[0]
    return [_as_device(found, default) for found in sounddevice.query_devices() if found["max_input_channels"] > 0]


def record(
    seconds: float,
    device: int | None = None,
    on_level: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> np.ndarray:
    """Record, mixed to mono; returns when the time is over.

    Args:
        seconds: how long at most.
        device: index of an input device; the computer's default if None.
        on_level: told the level in dBFS (-100 to 0) twenty times a second.
        should_stop: asked twenty times a second; recording ends when it says so.

    Returns:
        (N,) float32 in [-1, 1], 16 kHz, neither levelled nor trimmed.

    Raises:
        NoMicrophone: PortAudio is not installed, there is no such device, it stopped, or another recording is running.
    """
    sounddevice = _portaudio()
    if device is None:  # a number would mean another device after a new look
        _look_again(sounddevice)
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise NoMicrophone("the microphone is already recording; wait until that recording has ended")
    try:
        source = _find(sounddevice, device)
    except NoMicrophone:
        _ONE_AT_A_TIME.release()
        raise
    over, coming = threading.Event(), Queue()
    reading = [sounddevice, source, seconds, over, coming]
    reader = threading.Thread(target=_read, args=reading, name="microphone", daemon=True)
    reader.start()
    blocks = []
    try:
        for block in _arriving(coming, source.name):
            if should_stop and should_stop():
                break
            blocks.append(block)
            if on_level:
                on_level(_dbfs(block))
    finally:
        over.set()
        reader.join(_ANSWERS_WITHIN_S)
        if reader.is_alive():  # the driver keeps it, and would keep the program from ending too
            atexit.unregister(sounddevice._exit_handler)
    mono = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32)
    return np.clip(at_16_khz(mono, source.rate_hz), -1.0, 1.0) if len(mono) else mono


def _portaudio() -> ModuleType:
    try:
        import sounddevice
    except OSError:
        raise NoMicrophone(
            "PortAudio, the library that talks to sound cards, is not installed; on Debian or Ubuntu install it with "
            "'sudo apt install libportaudio2', or record in the browser, or choose a file"
        ) from None
    return sounddevice


def _look_again(sounddevice: ModuleType) -> None:
    """PortAudio lists devices once, when it starts; starting it anew would end a recording under way."""
    if _ONE_AT_A_TIME.acquire(blocking=False):
        try:
            sounddevice._terminate()
            sounddevice._initialize()
        finally:
            _ONE_AT_A_TIME.release()


def _find(sounddevice: ModuleType, index: int | None) -> Device:
    try:
        found = sounddevice.query_devices(index, kind="input")
    except (sounddevice.PortAudioError, ValueError):  # no such device; or one without an input
        which = "no microphone was found" if index is None else f"there is no microphone with the number {index}"
        raise NoMicrophone(f"{which}; plug one in, or allow this program to use it, or choose a file") from None
    return _as_device(found, sounddevice.default.device[0])


def _as_device(found: dict, default: int) -> Device:
    index, channels = found["index"], found["max_input_channels"]
    return Device(index, found["name"], round(found["default_samplerate"]), channels, index == default)


@contextmanager
def _plain_errors(sounddevice: ModuleType, name: str) -> Iterator[None]:
    try:
        yield
    except sounddevice.PortAudioError:
        raise NoMicrophone(
            f"the microphone '{name}' cannot be used; see that it is plugged in, that no other program holds it and "
            "that this program is allowed to use it, then try again"
        ) from None


def _open(sounddevice: ModuleType, source: Device):
    """The device's own format: mono where it agrees, else all of its channels (some drivers insist)."""
    settings = {"device": source.index, "samplerate": source.rate_hz, "dtype": "int16"}
    try:
        return sounddevice.InputStream(**settings, channels=1)
    except sounddevice.PortAudioError:
        return sounddevice.InputStream(**settings, channels=source.channels)


def _read(sounddevice: ModuleType, source: Device, seconds: float, over: threading.Event, coming: Queue) -> None:
    """Put one block after the other, mixed to mono, then None; or what went wrong. The driver may make it wait for ever."""
    ending = None
    try:
        with _plain_errors(sounddevice, source.name), _open(sounddevice, source) as stream:
            remaining = round(seconds * source.rate_hz)
            while remaining > 0 and not over.is_set():
                samples, _ = stream.read(min(remaining, round(_BLOCK_S * source.rate_hz)))
                remaining -= len(samples)
                coming.put(samples.astype(np.float32).mean(axis=1) / _FULL_SCALE)
    except Exception as error:
        ending = error
    finally:
        coming.put(ending)
        over.wait()  # whoever records has had all of it
        _ONE_AT_A_TIME.release()


def _arriving(coming: Queue, name: str) -> Iterator[np.ndarray]:
    """What was put, until None.

    Raises:
        NoMicrophone: nothing comes any more; or whatever was put instead.
    """
    while True:
        try:
            block = coming.get(timeout=_ANSWERS_WITHIN_S)
        except Empty:
            raise NoMicrophone(
                f"the microphone '{name}' gives no sound any more; unplug it and plug it in again, or choose another one"
            ) from None
        if block is None:
            return
        if isinstance(block, Exception):
            raise block
        yield block


def _dbfs(block: np.ndarray) -> float:
    return float(10 * np.log10(max(np.mean(np.square(block, dtype=np.float64)), 10 ** (_FLOOR_DBFS / 10))))
