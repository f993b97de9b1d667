"""The app as a person uses it: headless Chromium, a microphone that hears a real utterance, real files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Locator, Page, expect

from ser_core.inference.consent import consent_now
from ser_core.inference.profiles import ProfileStore
from ser_core.labels import APP_EMOTIONS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(900)
expect.set_options(timeout=120_000)


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


def stored(app, name: str) -> list[str]:
    """The emotions that are really in the database."""
    return [clip.emotion for clip in ProfileStore(app.workspace / "profiles.sqlite3").get(name).utterances]


def answered(page: Page) -> dict:
    """The answer, as the button saves it."""
    expect(page.locator("#compare-status")).to_contain_text("Answered in")
    with page.expect_download() as saved:
        page.locator("#compare-json").click()
    return json.loads(Path(saved.value.path()).read_text())


def on_the_command_line(app, tiny_model: Path, file: Path, *arguments: str) -> dict:
    command = [sys.executable, "-m", "ser_core", "predict", str(file), "--json", "--model", str(tiny_model)]
    command += ["--workspace", str(app.workspace), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(ended.stdout)[0]


def test_from_the_first_visit_to_the_erased_profile(page: Page, app, utterance, tiny_model: Path):
    agree(page)
    create(page, "Ann")

    for emotion in APP_EMOTIONS[:2]:  # by microphone
        record(page.locator(f"#enrol-{emotion}-audio"))
        expect(page.locator(f"#enrol-{emotion}-state")).to_contain_text(re.compile(r"recorded [345]\.\d s"))
    expect(page.locator("#enrol-progress")).to_contain_text("2 of 7 enrolled")
    for emotion in APP_EMOTIONS[2:]:  # by file
        upload(page.locator(f"#enrol-{emotion}-audio"), utterance(emotion))
        expect(page.locator(f"#enrol-{emotion}-state")).to_contain_text("recorded")
    expect(page.locator("#enrol-progress")).to_contain_text("7 of 7 enrolled")
    assert stored(app, "Ann") == list(APP_EMOTIONS)

    page.get_by_role("tab", name="Compare").click()
    recorder = page.locator("#compare-audio")
    record(recorder, 3000)
    heard = answered(page)
    assert heard["profile"] == "Ann" and heard["personalised"]

    page.reload()
    expect(page.locator("#enrol-progress")).to_contain_text("7 of 7 enrolled")
    page.get_by_role("tab", name="Compare").click()
    expect(page.locator("#compare-profile input")).to_have_value("Ann")
    file = utterance("anger", 2)
    upload(recorder, file)
    shown = answered(page)
    told = on_the_command_line(app, tiny_model, file, "--profile", "Ann")
    for answer in ("baseline", "personalised"):
        assert shown[answer]["emotion"] == told[answer]["emotion"]
        assert shown[answer]["probabilities"] == pytest.approx(told[answer]["probabilities"], abs=1e-4)
        expect(page.locator(f"#compare-{answer}")).to_contain_text(told[answer]["emotion"].capitalize())
    expect(page.locator("#compare-bars .js-plotly-plot")).to_be_visible()

    page.get_by_role("tab", name="Enrol").click()
    page.locator("#enrol-erase").click()
    page.locator("#enrol-erase-confirm").click()
    expect(page.locator("#enrol-message")).to_contain_text("Erased “Ann”: 7 recordings")
    expect(page.locator("#enrol-progress")).to_contain_text("Choose a profile")
    assert ProfileStore(app.workspace / "profiles.sqlite3").list() == []
    page.reload()
    expect(page.locator("#enrol-progress")).to_contain_text("Choose a profile")


def test_profiles_made_elsewhere_are_offered_before_any_consent(page: Page, app):
    ProfileStore(app.workspace / "profiles.sqlite3").create("Made in the terminal", consent_now())
    page.reload()
    page.wait_for_timeout(1_000)
    page.locator("#enrol-profile input").click()
    expect(page.get_by_role("option", name="Made in the terminal")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare-profile input").click()
    expect(page.get_by_role("option", name="Made in the terminal")).to_be_visible()


def test_nothing_can_be_recorded_or_created_without_consent(page: Page, app):
    page.locator("#enrol-name").locator("input, textarea").fill("Eve")
    page.locator("#enrol-create").click()
    expect(page.get_by_text("Nothing is stored yet")).to_be_visible()
    expect(page.locator("#enrol-anger-audio")).to_have_count(0)
    assert "Eve" not in [profile.name for profile in ProfileStore(app.workspace / "profiles.sqlite3").list()]


def test_a_recording_can_be_deleted_brought_back_and_replaced(page: Page, app, utterance):
    agree(page)
    create(page, "Bo")
    state = page.locator("#enrol-anger-state")
    upload(page.locator("#enrol-anger-audio"), utterance("anger"))
    expect(state).to_contain_text("recorded")
    page.locator("#enrol-anger-delete").click()
    expect(state).to_contain_text("missing")
    assert stored(app, "Bo") == []
    page.locator("#enrol-anger-undo").click()
    expect(state).to_contain_text("recorded")
    assert stored(app, "Bo") == ["anger"]
    before = state.inner_text()
    page.locator("#enrol-anger-again").click()
    assert stored(app, "Bo") == ["anger"]
    upload(page.locator("#enrol-anger-audio"), utterance("surprise"))
    expect(state).not_to_have_text(before)
    assert stored(app, "Bo") == ["anger"]


def test_bad_files_are_explained_and_not_stored(page: Page, app, tmp_path: Path):
    agree(page)
    create(page, "Cleo")
    (tmp_path / "renamed.wav").write_text("this is text")
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    soundfile.write(tmp_path / "short.wav", np.full(1_600, 0.1), 16_000)
    refusals = (("renamed", "not audio that can be read"), ("silent", "silent"), ("short", "at least 0.5 s"))
    for name, words in refusals:
        upload(page.locator("#enrol-fear-audio"), tmp_path / f"{name}.wav")
        expect(page.locator("#enrol-fear-state")).to_contain_text(words)
    assert stored(app, "Cleo") == []
    page.get_by_role("tab", name="Compare").click()
    for name, words in refusals:
        upload(page.locator("#compare-audio"), tmp_path / f"{name}.wav")
        expect(page.locator("#compare-status")).to_contain_text(words)
    assert str(app.workspace) not in page.content().replace(f"/gradio_api/file={app.workspace}", "")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_tabs_are_accessible(page: Page, app, utterance, theme: str):
    from axe_playwright_python.sync_playwright import Axe

    page.goto(f"{app.url}/?__theme={theme}")
    agree(page)
    create(page, f"Dana in {theme}")
    upload(page.locator("#enrol-anger-audio"), utterance("anger"))
    expect(page.locator("#enrol-anger-state")).to_contain_text("recorded")
    found = serious(Axe().run(settled(page)).response)
    page.get_by_role("tab", name="Compare").click()
    upload(page.locator("#compare-audio"), utterance("anger", 2))
    expect(page.locator("#compare-status")).to_contain_text("Answered in")
    found += serious(Axe().run(settled(page)).response)
    assert not found, "\n".join(found)


def settled(page: Page) -> Page:
    """The page when nothing fades in or out any more: what is half transparent has no contrast to measure."""
    expect(page.locator(".pending")).to_have_count(0)
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    page.wait_for_timeout(500)
    return page


def serious(response: dict) -> list[str]:
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
