"""How long it takes until something can be done: the app, its first page, its model; and an answer in the terminal.

    python benchmarks/start.py [--starts 5] [--model NAME] --output FILE.json

Each start is a process of its own with an empty workspace. Seconds from the start of the process: until the app is imported and
built, until the first page came (HTTP 200), until the model is there, with a page open as for a person; and from the request of
that page in headless Chromium until a tab can be chosen (left out where SER_CHROMIUM or /usr/bin/chromium is none). Processor
seconds tell what of it was work on a busy machine.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from ser_core.commands.training_arguments import count
from ser_core.data.tables import write_json
from ser_core.inference.timing import percentiles
from ser_core.training.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = Path(os.environ.get("SER_CHROMIUM", "/usr/bin/chromium"))
UTTERANCE = ROOT / "assets" / "examples" / "takes" / "1-neutral.flac"
PATIENCE_S = 120.0

BUILT, FIRST_PAGE = "app: imported and built", "app: first page, HTTP 200"
CHOOSABLE, READY = "page: requested until a tab can be chosen", "app: model ready"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--starts", type=count, default=5)
    parser.add_argument("--model", metavar="NAME", help="named at the start (default: the best one here)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.json")
    asked = parser.parse_args(words)
    load, named = os.getloadavg()[0], ["--model", asked.model] if asked.model else []
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(asked.starts):
        for measured in (terminal(named), first_page(named), opened_page(named)):
            for what, unit, value in measured:
                found[what, unit].append(value)
    rows = [{"what": what, "unit": unit, **percentiles(values)} for (what, unit), values in found.items()]
    report = {
        "cores": os.cpu_count(), "machine": platform.machine(), "model": asked.model, "load_before": round(load, 2),
        "rows": rows, **provenance(),
    }  # fmt: skip
    for row in rows:
        print(f"| {row['what']}, {row['unit']} | {row['p50']:.4g} | {row['p95']:.4g} | {row['n']} |")
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(asked.output, report)
    return 0


def terminal(named: list[str]) -> Iterator[tuple[str, str, float]]:
    """One recording, answered in the terminal."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ser_core", "predict", str(UTTERANCE), "--workspace", folder, *named]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    yield "terminal: predict, one recording", "s", time.perf_counter() - start
    yield "terminal: predict, one recording, processor", "s", used.ru_utime + used.ru_stime


def first_page(named: list[str]) -> Iterator[tuple[str, str, float]]:
    """The app, and its page as a program asks for it."""
    with _app(named) as (process, url, start):
        yield BUILT, "s", time.perf_counter() - start
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answered:
            answered.read()
        yield FIRST_PAGE, "s", time.perf_counter() - start
        yield f"{FIRST_PAGE}, processor", "s", sum(process.cpu_times()[:2])
        yield f"{FIRST_PAGE}, resident memory", "MiB", process.memory_info().rss / 2**20


def opened_page(named: list[str]) -> Iterator[tuple[str, str, float]]:
    """The page in a browser, before the model is there; and the model."""
    if not CHROMIUM.is_file():
        return
    from playwright.sync_api import sync_playwright

    with _app(named) as (process, url, start), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page, asked_for = browser.new_page(), time.perf_counter()
        page.goto(url, wait_until="commit")
        page.get_by_role("tab", name="Compare").click(timeout=1000 * PATIENCE_S)
        yield CHOOSABLE, "s", time.perf_counter() - asked_for
        while _state(url) != "ready":
            time.sleep(0.1)
        yield READY, "s", time.perf_counter() - start
        yield f"{READY}, processor", "s", sum(process.cpu_times()[:2])
        yield f"{READY}, resident memory", "MiB", process.memory_info().rss / 2**20
        browser.close()


@contextmanager
def _app(named: list[str]) -> Iterator[tuple[psutil.Popen, str, float]]:
    """The app on a free port, once it says where it is; and when it was started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--workspace", folder, *named]
        start = time.perf_counter()
        process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline().startswith("Attune is at")
            yield process, f"http://127.0.0.1:{port}", start
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def _state(url: str) -> str:
    with urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE_S) as answered:
        return json.load(answered)["state"]


if __name__ == "__main__":
    sys.exit(main())
