"""How live mode feels, measured in a real browser: python benchmarks/live.py --corpus DIR [--minutes 10] --out FILE

Starts the app with a model that ships, opens its page in headless Chromium, lets a fake microphone play real utterances of
one RAVDESS actor over and over, and listens live. The delay of an answer is from the end of the sound that it is about to
the moment it is on the page, counted from when the page got the microphone: waiting for the window to be full, sending,
recognising and showing are all in it. It drifts where that delay grows: sound was lost, or waits. Needs Chromium and the packages of the extra `dev`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import soundfile
import torch
from playwright.sync_api import Page, sync_playwright
from torchaudio.functional import resample

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = os.environ.get("SER_CHROMIUM", "/usr/bin/chromium")
PORT, WARM_UP_S = 7921, 5.0
LISTEN = "window.heard = []; addEventListener('attune-live', (event) => heard.push([event.detail.end_s, event.detail.at - attune.live.began]))"


def main() -> None:
    """Measure one model and write what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, required=True, help="RAVDESS")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        microphone = heard(arguments.corpus, Path(folder) / "heard.wav")
        workspace = Path(folder) / "workspace"
        command = [sys.executable, "app.py", "--no-browser", "--port", str(PORT), "--workspace", str(workspace)]
        app = subprocess.Popen([*command, "--model", arguments.model], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait_for_model()
            report = listen(app, microphone, workspace, arguments.minutes * 60.0)
        finally:
            app.terminate()
            app.wait(30)
    report = {"model": arguments.model, "commit": commit(), "cores": os.cpu_count(), **report}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def heard(corpus: Path, path: Path) -> Path:
    """Real utterances of actor 23, one after the other, at 48 kHz."""
    files = sorted((corpus / "Actor_23").glob("*"))[::9]
    spoken = [soundfile.read(file, dtype="float32")[0] for file in files]
    loud = np.concatenate([each * (0.5 / np.abs(each).max()) for each in spoken])
    soundfile.write(path, resample(torch.from_numpy(loud), 16_000, 48_000).numpy(), 48_000, subtype="PCM_16")
    return path


def wait_for_model() -> None:
    """Until the app says that its model is loaded."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=5) as answer:
                if json.load(answer)["state"] == "ready":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the app did not start")


def listen(app: subprocess.Popen, microphone: Path, workspace: Path, seconds: float) -> dict:
    """Enrol the example voice, listen, and measure."""
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
             f"--use-file-for-fake-audio-capture={microphone}"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_context(permissions=["microphone"]).new_page()
        ready_s = page_ready(page)
        page.locator("#enrol-example").click()
        page.get_by_text("7 of 7 enrolled").wait_for()
        page.get_by_role("tab", name="Compare").click()
        page.get_by_role("tab", name="Live", exact=True).click()
        page.evaluate(LISTEN)
        start(page, min(60.0, seconds / 5))  # a first take fills all caches
        page.locator("#live-stop").click()
        page.locator("#live-take").wait_for()
        start(page, WARM_UP_S)
        process, n_before = psutil.Process(app.pid), page.evaluate("heard.length")
        cpu, files, memory = process.cpu_times(), [], []
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(min(5.0, seconds))
            memory.append(process.memory_info().rss / 2**20)
            files.append(sum(path.is_file() for path in workspace.rglob("*")))
        lasted, used = time.monotonic() - began, process.cpu_times()
        answers = np.array(page.evaluate("heard"))[n_before:]
        heard_s = page.evaluate("attune.live.shown.end_s")
        page.locator("#live-stop").click()
        page.locator("#live-take").wait_for()
        browser.close()
    delays_ms = answers[:, 1] - 1000.0 * answers[:, 0]
    tenth, n = max(1, len(memory) // 10), max(1, len(answers) // 10)
    return {
        "page_ready_s": round(ready_s, 2),
        "listened_s": round(lasted, 1),
        "take_s": round(heard_s, 1),
        "answers": len(answers),
        "updates_per_s": round(len(answers) / lasted, 2),
        "delay_ms": {name: round(float(np.quantile(delays_ms, q))) for name, q in (("median", 0.5), ("p95", 0.95), ("max", 1))},
        "drift": {
            "clock_minus_sound_ms": {"first tenth": round(float(np.median(delays_ms[:n]))), "last tenth": round(float(np.median(delays_ms[-n:])))},
            "ms_per_minute": round(60_000.0 * float(np.polyfit(answers[:, 1], delays_ms, 1)[0]), 2),
        },
        "app_cpu_share_of_one_core": round((used.user + used.system - cpu.user - cpu.system) / lasted, 3),
        "memory_mib": {"first tenth": round(float(np.mean(memory[:tenth]))), "last tenth": round(float(np.mean(memory[-tenth:])))},
        "files_in_workspace": {"at first": files[0], "most": max(files), "at last": files[-1]},
    }  # fmt: skip


def start(page: Page, seconds: float) -> None:
    """Begin to listen, and go on for a while."""
    page.locator("#live-start").click()
    page.locator("#live-stop").wait_for()
    time.sleep(seconds)


def page_ready(page: Page) -> float:
    """Seconds from the first byte to a page that answers."""
    page.goto(f"http://127.0.0.1:{PORT}")
    page.locator("#enrol-consent input").wait_for()
    return page.evaluate("(performance.now() - performance.getEntriesByType('navigation')[0].responseStart) / 1000")


def commit() -> str:
    """Of the repository; 'unknown' outside of one."""
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
