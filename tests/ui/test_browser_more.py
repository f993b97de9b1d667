"""What people do in the browser, second half: what was meant, two pages, no microphone, every state for everybody, words."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from person import agree, answered, ask, barriers, choose, create, enrol, erase, saved, settled, stored, tab, upload
from playwright.sync_api import Browser, BrowserType, Page, expect

from ser_core.inference.examples import EXAMPLE_NAME
from ser_core.inference.profiles import ProfileStore
from ser_core.labels import APP_EMOTIONS

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path(os.environ.get("SER_CHROMIUM", "/usr/bin/chromium"))

pytestmark = pytest.mark.timeout(900)


def test_saying_what_was_meant_counts_and_the_recording_joins_the_profile(page: Page, app, utterance):
    agree(page)
    create(page, "Meant")
    enrol(page, "neutral", utterance("neutral"))
    tab(page, "Compare")
    ask(page, utterance("fear"))
    first = answered(page)
    page.locator("#compare-meant").get_by_text("Fear", exact=True).click()
    right = [int(first[answer]["emotion"] == "fear") for answer in ("baseline", "personalised")]
    expect(page.locator("#compare-tally")).to_contain_text(
        f"baseline right {right[0]} of 1, personalised {right[1]} of 1"
    )
    assert ProfileStore(app.workspace / "profiles.sqlite3").judgements("Meant") == []
    page.locator("#compare-keep").click()
    expect(page.locator("#compare-tally")).to_contain_text("Kept with the profile")
    page.locator("#compare-add").click()
    expect(page.locator("#compare-kept")).to_contain_text("Added to Meant as fear")
    assert stored(app, "Meant") == ["neutral", "fear"]
    page.locator("#compare-visit button").first.click()
    assert saved(page, "compare-visit-csv").decode().splitlines()[1].split(",")[3] == "fear"
    tab(page, "Enrol")
    tab(page, "Compare")
    expect(page.locator("#compare-status")).to_contain_text("this very recording is enrolled")


def test_a_profile_taken_along_erased_and_brought_back_gives_identical_answers(page: Page, app, utterance, tmp_path):
    agree(page)
    create(page, "Traveller")
    for emotion in ("neutral", "anger", "sadness"):
        enrol(page, emotion, utterance(emotion))
    tab(page, "Compare")
    ask(page, utterance("fear", 2))
    before = answered(page)
    tab(page, "Enrol")
    (tmp_path / "traveller.zip").write_bytes(saved(page, "enrol-export"))
    erase(page)
    expect(page.locator("#enrol-message")).to_contain_text("Erased “Traveller”: 3 recordings")
    assert not [path for path in (app.workspace / "temporary").rglob("*") if path.suffix in (".zip", ".json")]
    with page.expect_file_chooser() as chooser:
        page.locator("#enrol-import").click()
    chooser.value.set_files(tmp_path / "traveller.zip")
    expect(page.locator("#enrol-message")).to_contain_text("“Traveller” was brought in with 3 recordings")
    tab(page, "Compare")
    expect(page.locator("#compare-profile input")).to_have_value("Traveller")
    ask(page, utterance("fear", 2))
    expect(page.locator("#compare-clips")).to_contain_text("Sadness")
    after = answered(page)
    assert after["personalised"] == before["personalised"] and after["baseline"] == before["baseline"]


def test_two_pages_open_on_one_profile_lose_nothing(page: Page, app, utterance):
    agree(page)
    create(page, "Twice")
    other = page.context.new_page()
    other.goto(app.url)
    expect(other.locator("#enrol-profile input")).to_have_value("Twice")
    expect(other.locator("#enrol-progress")).to_contain_text("0 of 7 enrolled")
    enrol(page, "anger", utterance("anger"))
    upload(other.locator("#enrol-anger-audio"), utterance("anger", 2))  # there it still looks missing
    expect(other.locator("#enrol-anger-state")).to_contain_text("2 recordings")
    assert stored(app, "Twice") == ["anger", "anger"]
    page.locator("#enrol-anger-delete").click()
    expect(page.locator("#enrol-anger-undo")).to_be_visible()
    assert stored(app, "Twice") == ["anger"]
    erase(page)
    expect(page.locator("#enrol-message")).to_contain_text("Erased")
    upload(other.locator("#enrol-fear-audio"), utterance("fear"))
    expect(other.get_by_text("There is no profile 'Twice'")).to_be_visible()
    other.close()


@pytest.mark.parametrize(
    ("flags", "words"),
    [([], "No microphone was found"), (["--use-fake-device-for-media-stream"], "may not use the microphone")],
    ids=["none there", "not allowed"],
)
def test_a_microphone_that_cannot_be_used_is_explained(browser_type: BrowserType, app, flags, words: str):
    browser = browser_type.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *flags])
    page = browser.new_page()
    page.goto(app.url)
    tab(page, "Compare")
    tab(page, "Live")
    page.locator("#live-start").click()
    expect(page.locator("#microphone-help")).to_contain_text(words)
    expect(page.locator("#live-status")).to_contain_text("could not be used")
    expect(page.locator("#live-start")).to_be_visible()
    browser.close()


def test_a_microphone_unplugged_while_listening_is_told_and_what_was_heard_is_kept(page: Page, app):
    # track.stop() is silent, as the page itself may stop it; an unplugged one is silent and says so
    page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia;
        navigator.mediaDevices.getUserMedia = async (wanted) => window.heard = await ask(wanted);
    }""")
    tab(page, "Compare")
    tab(page, "Live")
    page.locator("#live-start").click()
    expect(page.locator("#live-answers")).to_contain_text("sure")
    page.evaluate("() => window.heard.getTracks().forEach((t) => { t.stop(); t.dispatchEvent(new Event('ended')); })")
    expect(page.locator("#microphone-help")).to_contain_text("The microphone stopped")
    expect(page.locator("#live-status")).to_contain_text("answers")
    expect(page.locator("#live-take")).to_be_visible()
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia({ audio: true }).then((s) => s.getTracks()[0].stop()); }"
    )
    expect(page.locator("#microphone-help")).to_be_hidden()  # it is there again


def test_the_example_voice_needs_neither_microphone_nor_consent(page: Page, app):
    page.wait_for_timeout(500)
    page.locator("#enrol-example").click()
    expect(page.locator("#enrol-progress")).to_contain_text("7 of 7 enrolled")
    expect(page.locator("#enrol-anger-again")).to_have_count(0)  # real voices may not be recorded yet
    tab(page, "Compare")
    choose(page, "compare-example", "anger")
    heard = answered(page)
    assert heard["profile"] == EXAMPLE_NAME and len(heard["without_each"]) == len(APP_EMOTIONS)
    expect(page.locator("#compare-clips")).to_contain_text("Answer without it")
    page.locator("#compare-loudness button").first.click()
    page.locator("#compare-try").click()
    expect(page.locator("#compare-levels-said")).to_contain_text("Baseline:")
    expect(page.locator("#compare-levels .js-plotly-plot")).to_be_visible()


def test_a_page_whose_app_is_gone_says_so(browser: Browser, start_app, tmp_path: Path, tiny_model: Path):
    app = start_app(tmp_path / "workspace", "--model", str(tiny_model))
    page = browser.new_page()
    page.goto(app.url)
    page.locator("#enrol-progress").wait_for()
    app.stop()
    expect(page.locator("#gone")).to_contain_text("Attune does not answer any more")
    page.close()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_every_state_is_accessible_and_no_page_is_wider_than_the_window(
    page: Page, app, utterance, theme: str, width: int
):
    found = []

    def look(where: str) -> None:
        found.extend(f"{where}: {barrier}" for barrier in barriers(page))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{where}: wider than the window")

    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{app.url}/?__theme={theme}")
    look("enrol, empty")
    agree(page)
    create(page, f"Dana in {theme} on {width}")
    enrol(page, "anger", utterance("anger"))
    look("enrol, one of seven")
    page.locator("#guided-start").click()
    expect(page.locator("#guided-count")).to_contain_text("Speak now")
    look("guided")
    page.locator("#guided-finish").click()
    expect(page.locator("#guided")).to_be_hidden()
    tab(page, "Compare")
    expect(page.locator("#compare-bars .js-plotly-plot")).to_be_visible()
    look("compare, empty")
    ask(page, utterance("anger", 2))
    for part in ("others", "loudness", "visit"):
        page.locator(f"#compare-{part} button").first.click()
    page.locator("#compare-try").click()
    expect(page.locator("#compare-levels-said")).to_contain_text("Baseline:")
    look("compare, answered")
    tab(page, "Live")
    page.locator("#live-start").click()
    expect(page.locator("#live-answers")).to_contain_text("sure")
    look("live")
    page.locator("#live-stop").click()
    expect(page.locator("#live-take")).to_be_visible()
    look("take")
    tab(page, "About")
    expect(page.locator("#about-data")).to_contain_text("Nothing is sent anywhere")
    look("about")
    assert not found, "\n".join(found)


def test_a_microphone_of_this_computer_can_be_chosen_for_guided_recording(
    browser: Browser, start_app, tmp_path: Path, tiny_model: Path, speech_file: Path, monkeypatch
):
    spoken, rate_hz = soundfile.read(speech_file, dtype="int16")
    (tmp_path / "heard.raw").write_bytes(np.tile(spoken, 4).tobytes())
    (tmp_path / "asound.conf").write_text(
        'pcm.nothing { type null }\npcm.!default { type plug slave.pcm "microphone" }\n'
        f'pcm.microphone {{ type file slave.pcm "nothing" file "/dev/null" infile "{tmp_path}/heard.raw" format "raw" }}\n'
    )
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))
    app = start_app(tmp_path / "workspace", "--model", str(tiny_model))
    page = browser.new_page()
    page.goto(app.url)
    page.locator("#enrol-progress").wait_for()
    agree(page)
    create(page, "Desk")
    page.locator("#guided-start").click()
    expect(page.locator("#guided-source")).to_be_visible()  # the page itself has no permission: nothing is recorded
    choose(page, "guided-source", "default")
    expect(page.locator("#guided-now")).to_have_attribute("data-source", "computer")
    page.locator("#guided-repeat").click()
    expect(page.locator("#guided-step")).to_contain_text("3 of 7 enrolled", timeout=120_000)
    page.locator("#guided-finish").click()
    expect(page.locator("#enrol-progress")).to_contain_text("of 7 enrolled")
    assert stored(app, "Desk")[:3] == list(APP_EMOTIONS[:3])
    page.close()
    app.stop()


def test_words_typed_in_compare_are_counted_switched_off_and_saved(page: Page, app, utterance):
    tab(page, "Compare")
    ask(page, utterance("neutral"))
    expect(page.locator("#compare-words-answers")).to_contain_text("Voice alone")
    box = page.locator("#compare-words textarea")
    box.press_sequentially("I am so happy today")
    expect(page.locator("#compare-words-answers")).to_contain_text("Words alone")
    expect(page.locator("#compare-words-moved")).to_contain_text("words")
    expect(page.locator("#compare-plane-note")).to_contain_text("Scale 1 to 7")
    page.locator("#compare-words-count input").uncheck()
    expect(page.locator("#compare-words-answers")).not_to_contain_text("Words alone")
    expect(box).to_have_value("I am so happy today")
    page.locator("#compare-words-count input").check()
    expect(page.locator("#compare-words-answers")).to_contain_text("Words alone")
    page.wait_for_timeout(500)
    assert json.loads(saved(page, "compare-json"))["with_words"]["text"] == "I am so happy today"
    upload(page.locator("#compare-audio"), utterance("anger"))
    expect(box).to_have_value("")
    expect(page.locator("#compare-words-answers")).not_to_contain_text("Words alone")
    assert barriers(page) == []


def test_who_just_talks_gets_a_third_answer_and_can_delete_the_talk_and_bring_it_back(
    page: Page, app, talk_file: Path, utterance
):
    def n_parts() -> int:
        return len(ProfileStore(app.workspace / "profiles.sqlite3").get("Talker").talk)

    agree(page)
    create(page, "Talker")
    page.get_by_role("button", name="Or just talk").click()
    upload(page.locator("#enrol-talk-audio"), utterance("neutral"))
    expect(page.locator("#enrol-talk-state")).to_contain_text("at least 15 are needed")
    upload(page.locator("#enrol-talk-audio"), talk_file)
    expect(page.locator("#enrol-talk-state")).to_contain_text("parts, kept")
    expect(page.locator("#enrol-talk-state")).to_contain_text(f"in {(n := n_parts())} parts")
    expect(page.locator("#enrol-progress")).to_contain_text("of free speech")
    assert barriers(page) == []
    enrol(page, "anger", utterance("anger"))
    tab(page, "Compare")
    ask(page, utterance("fear"))
    said = answered(page)
    for kind, answer in (
        ("baseline", said["baseline"]),
        ("calibrated", said["calibrated"]["answer"]),
        ("personalised", said["personalised"]),
    ):
        word = answer["emotion"].capitalize() if answer["sure"] else "Not sure"
        expect(page.locator(f"#compare-{kind} .word")).to_have_text(word)
        expect(page.locator(f"#compare-{kind}")).to_contain_text(answer["emotion"], ignore_case=True)
    expect(page.locator("#compare-bars .legendtext")).to_have_text(["Baseline", "Calibrated", "Personalised"])
    expect(page.locator("#compare-talk")).to_contain_text("training speaker")
    assert barriers(page) == []
    tab(page, "Enrol")
    settled(page).locator("#enrol-talk-delete").click()
    expect(page.locator("#enrol-talk-state")).to_contain_text("nothing kept yet")
    assert n_parts() == 0
    settled(page).locator("#enrol-talk-undo").click()
    expect(page.locator("#enrol-talk-state")).to_contain_text(f"in {n} parts, kept")
    assert n_parts() == n
