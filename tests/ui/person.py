"""What a person does on the page."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from ser_core.inference.profiles import ProfileStore

expect.set_options(timeout=60_000)


def sent_back(application, path: str) -> list[dict]:
    """What an application answers without a server; in a thread of its own, for in this one Playwright may have a loop."""
    messages = []

    async def send(message: dict) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"localhost")]}
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lambda: asyncio.run(application(scope, None, send))).result()
    return messages


def agree(page: Page) -> None:
    page.wait_for_timeout(500)  # as a person would; gradio's client may lose an answer to clicks within 0.1 s
    page.locator("#enrol-consent input").check()
    page.wait_for_timeout(500)


def create(page: Page, name: str) -> None:
    page.locator("#enrol-name").locator("input, textarea").fill(name)
    page.locator("#enrol-create").click()
    expect(page.locator("#enrol-progress")).to_contain_text("0 of 7 enrolled")


def record(recorder: Locator, milliseconds: int = 4000) -> None:
    recorder.get_by_role("button", name="Record", exact=True).click()
    recorder.get_by_role("button", name="Stop", exact=True).wait_for()
    recorder.page.wait_for_timeout(milliseconds)
    recorder.get_by_role("button", name="Stop", exact=True).click()


def upload(recorder: Locator, file: Path) -> None:
    clear = recorder.get_by_role("button", name="Clear")
    if clear.is_visible():
        clear.click()
    recorder.get_by_role("button", name="Upload file").click()
    recorder.locator("input[type=file]").set_input_files(file)


def ask(page: Page, file: Path) -> None:
    """Upload a recording in Compare."""
    upload(page.locator("#compare-audio"), file)
    expect(page.locator("#compare-status")).to_contain_text("Answered in")


def enrol(page: Page, emotion: str, file: Path) -> None:
    upload(page.locator(f"#enrol-{emotion}-audio"), file)
    expect(page.locator(f"#enrol-{emotion}-state")).to_contain_text("recorded")


def choose(page: Page, dropdown: str, words: str) -> None:
    page.locator(f"#{dropdown} input").click()
    page.locator(f"#{dropdown}").get_by_role("option", name=re.compile(re.escape(words))).first.click()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def erase(page: Page) -> None:
    settled(page).locator("#enrol-erase").click()
    page.locator("#enrol-erase-confirm").click()


def saved(page: Page, button: str) -> bytes:
    """What a button saves."""
    with page.expect_download() as download:
        page.locator(f"#{button}").click()
    return Path(download.value.path()).read_bytes()


def stored(app, name: str) -> list[str]:
    """The emotions that are really in the database."""
    return [clip.emotion for clip in ProfileStore(app.workspace / "profiles.sqlite3").get(name).utterances]


def settled(page: Page) -> Page:
    """The page when nothing fades in or out any more: what is half transparent has no contrast to measure."""
    expect(page.locator(".pending")).to_have_count(0)
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.wait_for_timeout(500)
    return page


def barriers(page: Page) -> list[str]:
    """What axe finds serious or critical on the page as it is."""
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in Axe().run(settled(page)).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def answered(page: Page) -> dict:
    """The answer in Compare, as the button saves it."""
    expect(page.locator("#compare-status")).to_contain_text("Answered in")
    return json.loads(saved(page, "compare-json"))
