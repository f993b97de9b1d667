"""Is what is spoken what is saved? python benchmarks/recordings.py [--recordings 20] [--seconds 3] [--output FILE.json]

Starts the app, opens its page in headless Chromium whose microphone hears a pure tone, and records again and again, as a person
would; then looks into the database: is each recording there, as long as it was recorded, and is its strongest frequency the
tone's? 1 if one is missing or sounds otherwise. Needs Chromium and the packages of the extra `dev`.
"""

import json
import os
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import people
import soundfile
from live import CHROMIUM
from load import MODEL, machine
from people import EMOTIONS
from playwright.sync_api import Page, expect, sync_playwright

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.tables import write_json
from ser_core.inference.profiles import ProfileStore
from ser_core.training.provenance import provenance

TONE_HZ, MAX_ERROR_HZ = 440.0, 5.0
NAME = "Tuning fork"


def main() -> int:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0, help="each")
    parser.add_argument("--output", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tone = Path(folder) / "tone.wav"
        at_s = np.arange(48_000) / 48_000  # a whole number of waves: it can be played over and over
        soundfile.write(tone, 0.3 * np.sin(2 * np.pi * TONE_HZ * at_s), 48_000, subtype="PCM_16")
        workspace = Path(folder) / "workspace"
        with people.started(workspace, "--model", MODEL) as (url, _):
            saved = record_all(url, tone, arguments.recordings, arguments.seconds)
        store = ProfileStore(workspace / "profiles.sqlite3")
        clips = store.get(NAME).utterances
        heard = [strongest_hz(store.audio(NAME, clip.utterance_id)) for clip in clips]
    errors = np.abs(np.array(heard) - TONE_HZ)
    result = {
        "recordings": arguments.recordings,
        "said_to_be_saved": saved,
        "in_the_database": len(clips),
        "seconds_each": {
            "least": min(clip.duration_s for clip in clips),
            "most": max(clip.duration_s for clip in clips),
        },
        "sample_rate_hz": SAMPLE_RATE,
        "tone_hz": TONE_HZ,
        "largest_error_hz": round(float(errors.max()), 3),
        "passed": len(clips) == saved == arguments.recordings and bool((errors <= MAX_ERROR_HZ).all()),
        "model": MODEL,
        "cores": os.cpu_count(),
        "machine": machine(),
        **provenance(),
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        write_json(arguments.output, result)
    return 0 if result["passed"] else 1


def record_all(url: str, tone: Path, n: int, seconds: float) -> int:
    """Record on the cards in turn; how many the page said were saved."""
    hears = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    hears.append(f"--use-file-for-fake-audio-capture={tone}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=hears)
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.goto(url)
        page.locator("#enrol-progress").wait_for()
        page.wait_for_timeout(500)
        page.locator("#enrol-consent input").check()
        page.wait_for_timeout(500)
        page.locator("#enrol-name").locator("input, textarea").fill(NAME)
        page.locator("#enrol-create").click()
        expect(page.locator("#enrol-progress")).to_contain_text("0 of 7 enrolled", timeout=60_000)
        emotions = list(EMOTIONS)
        for place in range(n):
            record(page, emotions[place % len(emotions)], place // len(emotions) + 1, seconds)
        browser.close()
    return n


def record(page: Page, emotion: str, nth: int, seconds: float) -> None:
    """The nth recording on a card; back when the page says that it is saved."""
    if nth > 1:
        page.locator(f"#enrol-{emotion}-another").click()
    recorder = page.locator(f"#enrol-{emotion}-audio")
    recorder.get_by_role("button", name="Record", exact=True).click()
    stop = recorder.get_by_role("button", name="Stop", exact=True)
    stop.wait_for()
    time.sleep(seconds)
    stop.click()
    says = "recorded" if nth == 1 else f"{nth} recordings"
    expect(page.locator(f"#enrol-{emotion}-state")).to_contain_text(says, timeout=60_000)


def strongest_hz(waveform: np.ndarray) -> float:
    """The strongest frequency of (N,) samples at 16 kHz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), n=2**18))
    return float(np.argmax(spectrum) * SAMPLE_RATE / 2**18)


if __name__ == "__main__":
    sys.exit(main())
