"""The app as a process of its own, and a browser whose microphone hears a real utterance."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path(os.environ.get("SER_CHROMIUM", "/usr/bin/chromium"))
PATIENCE_S = 120
"""Far more than is needed, for computers that are busy with something else."""
CALLED_OFF = ("signal is aborted without reason", "The user aborted a request.")
"""What gradio's player says where a recording is replaced while its waveform still loads; nobody is troubled."""


@dataclass(frozen=True)
class App:
    """A running app."""

    url: str
    workspace: Path
    process: subprocess.Popen

    def stop(self, with_signal: int = signal.SIGTERM) -> str:
        """End it as a service manager would; what it printed."""
        self.process.send_signal(with_signal)
        printed, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, printed
        assert "Traceback" not in printed
        return printed


def _start(workspace: Path, *arguments: str) -> App:
    """Start app.py on a free port and wait for its first page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--workspace", str(workspace), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S):
                return App(url, workspace, process)
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the app did not start: {process.communicate()[0]}")


@pytest.fixture(scope="session")
def start_app() -> Iterator[Callable[..., App]]:
    """Start app.py with a workspace and further arguments; whoever starts it stops it, unless the test fails."""
    started: list[App] = []

    def start(workspace: Path, *arguments: str) -> App:
        started.append(_start(workspace, *arguments))
        return started[-1]

    yield start
    for app in started:
        app.process.kill()


@pytest.fixture(scope="session")
def calibrated_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model, which can use free speech: six made-up training speakers, each with emotions of their own."""
    from ser_core.inference.calibration import CalibrationSettings, PriorCorrection
    from ser_core.inference.models import CALIBRATION
    from ser_core.labels import APP_EMOTIONS
    from ser_core.methods.checkpoint import load_method

    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny")
    rng, speaker = np.random.default_rng(7), np.repeat(np.arange(6), 20)
    heard = rng.normal(size=(120, load_method(folder / "baseline").settings.embedding))
    emotion = (speaker + rng.integers(3, size=120)) % len(APP_EMOTIONS)
    said = rng.dirichlet(np.ones(len(APP_EMOTIONS)), 120)
    correction = PriorCorrection(CalibrationSettings(n_similar=3, shrinkage=2.0))
    correction.fit(heard, speaker, emotion, said).save(folder / CALIBRATION)
    return folder


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, calibrated_model: Path) -> Iterator[App]:
    """One app for all tests of a session, with the tiny model."""
    running = _start(tmp_path_factory.mktemp("workspace") / ".attune", "--model", str(calibrated_model))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def utterance(corpora: Path) -> Callable[[str, int], Path]:
    """RAVDESS, actor 1: the file of an emotion and a repetition."""
    codes = {
        "neutral": "01", "happiness": "03", "sadness": "04", "anger": "05", "fear": "06", "disgust": "07",
        "surprise": "08",
    }  # fmt: skip
    return lambda emotion, take=1: corpora / "ravdess" / "Actor_01" / f"03-01-{codes[emotion]}-01-01-{take:02d}-01.flac"


@pytest.fixture(scope="session")
def talk_file(utterance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Free speech: fourteen real utterances of one actor with pauses between them, 16 kHz."""
    from ser_core.labels import APP_EMOTIONS

    spoken = [
        soundfile.read(utterance(emotion, take), dtype="float32")[0] for emotion in APP_EMOTIONS for take in (1, 2)
    ]
    pause = np.zeros(8000, np.float32)
    loud = np.concatenate([part for each in spoken for part in (each * (0.3 / np.abs(each).max()), pause)])
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, loud, 16_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def microphone(utterance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, over and over: seven real utterances of one actor; 48 kHz, PCM 16."""
    import torch
    from torchaudio.functional import resample

    from ser_core.labels import APP_EMOTIONS

    spoken = [soundfile.read(utterance(emotion), dtype="float32")[0] for emotion in APP_EMOTIONS]
    loud = np.concatenate([each * (0.5 / np.abs(each).max()) for each in spoken])
    path = tmp_path_factory.mktemp("microphone") / "heard.wav"
    soundfile.write(path, resample(torch.from_numpy(loud), 16_000, 48_000).numpy(), 48_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def base_url() -> str:
    """In place of pytest-base-url's own, which pytest warns about."""
    return ""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict, microphone: Path) -> dict:
    if not CHROMIUM.exists():
        reason = f"no Chromium at {CHROMIUM}; install it, or name it in SER_CHROMIUM"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    hears = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": hears}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict) -> dict:
    return {**browser_context_args, "permissions": ["microphone"], "viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def page(page, app: App):
    """The app's page, loaded; no request may leave this computer and nothing may be logged as an error."""
    elsewhere, troubles = [], []
    ours = re.compile(rf"({re.escape(app.url)}|blob:|data:)")
    page.on("request", lambda request: ours.match(request.url) or elsewhere.append(request.url))
    page.on("pageerror", lambda error: str(error) in CALLED_OFF or troubles.append(str(error)))
    page.set_default_timeout(1000 * PATIENCE_S)
    page.goto(app.url)
    page.locator("#enrol-progress").wait_for()
    yield page
    assert not elsewhere, f"requests to other hosts: {elsewhere}"
    assert not troubles
