"""The computer's microphone: a real PortAudio over an ALSA device that plays a file, and sound cards that misbehave."""

import ctypes.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from ser_core.data.audio import SAMPLE_RATE
from ser_core.inference.recording import NoMicrophone, input_devices, record

_NATIVE_HZ = 44_100
_ALSA = """
pcm.nothing {{ type null }}
pcm.!default {{ type plug slave.pcm "microphone" }}
pcm.microphone {{ type file slave.pcm "nothing" file "/dev/null" infile "{raw}" format "raw" }}
"""


def run_python(script: str, alsa_config: Path) -> subprocess.CompletedProcess:
    """In a process of its own: PortAudio reads the configuration when it is imported."""
    environment = {**os.environ, "ALSA_CONFIG_PATH": str(alsa_config)}
    preface = "import json, numpy as np\nfrom ser_core.inference.recording import NoMicrophone, input_devices, record\n"
    command = [sys.executable, "-W", "error", "-c", preface + script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def answer(script: str, alsa_config: Path):
    run = run_python(script, alsa_config)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def no_sound_card(tmp_path_factory) -> Path:
    if ctypes.util.find_library("portaudio") is None:
        pytest.skip("libportaudio is not installed (Debian: libportaudio2)")
    if ctypes.util.find_library("asound") is None:
        pytest.skip("ALSA is not installed (Debian: libasound2)")
    config = tmp_path_factory.mktemp("alsa") / "no_sound_card.conf"
    config.write_text("pcm.gone { type hw card 99 }\n")
    return config


@pytest.fixture(scope="module")
def microphone(no_sound_card: Path) -> Path:
    """An ALSA configuration whose default microphone hears 440 Hz at a peak of 0.3, for 20 s."""
    raw = no_sound_card.parent / "440_hz.raw"
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(20 * _NATIVE_HZ) / _NATIVE_HZ)
    (tone * 32_767).astype("<i2").tofile(raw)
    config = no_sound_card.parent / "microphone.conf"
    config.write_text(_ALSA.format(raw=raw))
    if not answer("print(json.dumps([device.name for device in input_devices()]))", config):
        pytest.skip("this ALSA has no 'file' device (Debian: libasound2-plugins)")
    return config


def test_the_devices_are_listed_with_their_native_rate(microphone):
    devices = answer("print(json.dumps([vars(device) for device in input_devices()]))", microphone)
    (default,) = [device for device in devices if device["is_default"]]
    assert default["name"] == "default"
    assert default["rate_hz"] == _NATIVE_HZ
    assert default["channels"] >= 1
    assert {device["name"] for device in devices} >= {"default", "microphone"}


def test_two_seconds_of_440_hz_are_recorded_as_two_seconds_of_440_hz(microphone):
    script = (
        "levels = []\n"
        "heard = record(2.0, on_level=levels.append)\n"
        "print(json.dumps([str(heard.dtype), heard.tolist(), levels]))"
    )
    dtype, heard, levels = answer(script, microphone)
    assert dtype == "float32"
    assert len(heard) == pytest.approx(2.0 * SAMPLE_RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(heard[: 2 * SAMPLE_RATE]))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)
    assert np.abs(heard).max() == pytest.approx(0.3, abs=0.01)
    assert len(levels) == pytest.approx(40, abs=1)
    assert np.median(levels) == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.1)


def test_a_named_device_records_too(microphone):
    script = (
        "devices = {device.name: device.index for device in input_devices()}\n"
        "print(json.dumps(len(record(0.5, devices['default']))))"
    )
    assert answer(script, microphone) == pytest.approx(0.5 * SAMPLE_RATE, abs=1)


def test_recording_stops_when_asked(microphone):
    script = (
        "levels = []\n"
        "heard = record(10.0, on_level=levels.append, should_stop=lambda: len(levels) >= 20)\n"
        "print(json.dumps([len(heard), len(record(1.0, should_stop=lambda: True))]))"
    )
    stopped, at_once = answer(script, microphone)
    assert stopped == pytest.approx(1.0 * SAMPLE_RATE, abs=1)
    assert at_once == 0


def test_one_recording_at_a_time_and_looking_at_the_devices_does_not_end_it(microphone):
    script = (
        "refused = []\n"
        "def meanwhile(level):\n"
        "    input_devices()\n"
        "    try: record(0.1)\n"
        "    except NoMicrophone as error: refused.append(str(error))\n"
        "n = len(record(0.2, on_level=meanwhile))\n"
        "print(json.dumps([n, refused, len(record(0.2))]))"
    )
    n_samples, refused, again = answer(script, microphone)
    assert n_samples == again == pytest.approx(0.2 * SAMPLE_RATE, abs=1)
    assert len(refused) == 4
    assert "already recording" in refused[0]


def test_a_microphone_that_falls_silent_like_an_unplugged_one_is_told_and_holds_nobody_up(no_sound_card, tmp_path):
    sound = tmp_path / "sound"
    os.mkfifo(sound)
    config = tmp_path / "unplugged.conf"
    config.write_text(_ALSA.format(raw=sound))
    plug = os.open(sound, os.O_RDWR)  # as long as it is open, who reads waits for more
    try:
        os.write(plug, bytes(2 * _NATIVE_HZ // 2))
        script = (
            "try: record(5.0)\n"
            "except NoMicrophone as error: print(json.dumps(str(error)))\n"
            "try: record(5.0)\n"
            "except NoMicrophone as error: print(json.dumps(str(error)))"
        )
        run = run_python(script, config)
    finally:
        os.close(plug)
    first, second = run.stdout.splitlines()
    assert run.returncode == 0 and "gives no sound any more; unplug it and plug it in again" in first
    assert "already recording" in second


def test_a_number_that_is_no_device_is_named(microphone):
    run = run_python("record(0.1, 99)", microphone)
    assert "NoMicrophone: there is no microphone with the number 99" in run.stderr


def test_without_a_sound_card_the_list_is_empty_and_recording_says_what_to_do(no_sound_card):
    run = run_python("print(input_devices(), flush=True); record(0.1)", no_sound_card)
    assert run.stdout.strip() == "[]"
    assert "NoMicrophone: no microphone was found; plug one in" in run.stderr


def test_without_portaudio_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    for ask in (input_devices, lambda: record(0.1)):
        with pytest.raises(NoMicrophone, match="libportaudio2"):
            ask()


# sound cards that misbehave


class FakeStream:
    """A stereo card: 0.5 on the left, silence on the right; may refuse mono, may be pulled out."""

    def __init__(self, card: types.ModuleType, channels: int, **settings):
        if channels == 1 and card.refuses_mono:
            raise card.PortAudioError("Invalid number of channels")
        self.card, self.channels = card, channels
        card.opened.append({"channels": channels, **settings})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def read(self, n_samples: int):
        if self.card.pulled_out:
            raise self.card.PortAudioError("Device unavailable")
        block = np.zeros((n_samples, self.channels), dtype=np.int16)
        block[:, 0] = 16_384
        return block, False


@pytest.fixture
def card(monkeypatch) -> types.ModuleType:
    card = types.ModuleType("sounddevice")
    described = {"index": 0, "name": "A card", "default_samplerate": 48_000.0, "max_input_channels": 2}
    card.PortAudioError = type("PortAudioError", (Exception,), {})
    card.default = types.SimpleNamespace(device=(0, 0))
    card.refuses_mono, card.pulled_out, card.opened = False, False, []
    card.query_devices = lambda index=None, kind=None: described if kind else [described]
    card.InputStream = lambda **settings: FakeStream(card, **settings)
    card._terminate = card._initialize = lambda: None
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    return card


def test_the_microphone_is_opened_at_its_own_rate(card):
    heard = record(1.0)
    assert [(opened["samplerate"], opened["channels"]) for opened in card.opened] == [(48_000, 1)]
    assert len(heard) == SAMPLE_RATE
    assert np.median(heard) == pytest.approx(0.5, abs=1e-3)


def test_a_card_that_refuses_mono_is_opened_in_stereo_and_mixed(card):
    card.refuses_mono = True
    assert np.median(record(1.0)) == pytest.approx(0.25, abs=1e-3)
    assert card.opened[0]["channels"] == 2


def test_a_microphone_that_is_pulled_out_is_told_and_can_be_used_again(card):
    card.pulled_out = True
    with pytest.raises(NoMicrophone, match="'A card' cannot be used; see that it is plugged in"):
        record(1.0)
    card.pulled_out = False
    assert len(record(1.0)) == SAMPLE_RATE
