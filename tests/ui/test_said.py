"""What was said, in the tab Compare and live, without a browser: whose words they are, and when they count."""

import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from ser_core.inference.live import LiveTake, LiveWords
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.transcription import TranscriberUnavailable, Transcript
from ser_core.ui import compare, live, words
from ser_core.ui.answers import Visit
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace

HAPPY = "I am so happy today"


class FakeScribe:
    """Writes what it is told to, and does something first."""

    def __init__(self, text: str, meanwhile=lambda: None, why_not: str = ""):
        self.text, self.meanwhile, self.why_not = text, meanwhile, why_not

    def write(self, waveform: np.ndarray) -> Transcript:
        self.meanwhile()
        return Transcript(self.text, "en" if self.text else None, (), "whisper-fake", 0.1)


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    made = Services(open_workspace(tmp_path / "workspace"), str(tiny_model))
    made.scribe = FakeScribe("", why_not="Whisper is not on this computer")
    return made


def heard(services: Services, file: Path, visit: Visit | None = None, name: str = "") -> Visit:
    return compare.hear(services, str(file), visit, name, None, None)[0]


def test_typed_words_are_counted_beside_the_voice_and_kept_with_the_answer(services, utterance):
    visit = heard(services, utterance("neutral"))
    text, about, table, moved, *_ = words.fresh(services, visit, "", None, True)
    assert (text, about) == ("", visit.now.at)
    assert "Voice alone" in table and "Words alone" not in table and moved == ""
    table, moved, _, plane_note, note, file = words.typed(services, visit, HAPPY, about, True)
    assert all(row in table for row in ("Voice alone", "Words alone", "Voice and words"))
    assert "words" in moved and "Scale 1 to 7" in plane_note and "not from listeners" in plane_note
    said = visit.now.words
    assert said.text == HAPPY == visit.now.text and note == ""
    for answer in (said.words, said.baseline, said.unread[0]):
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    document = json.loads(Path(file.value["path"]).read_text())
    assert document["with_words"]["text"] == HAPPY
    assert document["with_words"]["unread"]["baseline"]["probabilities"] == said.unread[0].probabilities


def test_words_switched_off_are_kept_and_do_not_count(services, utterance):
    visit = heard(services, utterance("neutral"))
    about = visit.now.at
    counted = words.typed(services, visit, HAPPY, about, True)[0]
    off = words.count(services, visit, about, False)
    assert "Words alone" not in off[0] and "do not count" in off[4] and visit.now.text == HAPPY
    assert words.count(services, visit, about, True)[0] == counted


def test_what_was_typed_before_a_recording_is_about_the_first_one_and_not_the_next(services, utterance):
    visit = heard(services, utterance("neutral"))
    text, about, *_ = words.fresh(services, visit, HAPPY, None, True)
    assert (text, visit.now.text) == (HAPPY, HAPPY)
    visit = heard(services, utterance("anger"), visit)
    text, *_ = words.fresh(services, visit, HAPPY, about, True)
    assert (text, visit.now.text) == ("", "") and visit.answers[0].text == HAPPY


def test_whisper_writes_and_the_person_corrects(services, utterance):
    services.scribe = FakeScribe("I am so sad")
    visit = heard(services, utterance("neutral"))
    text, note = words.write_down(services, visit, visit.now.at, True)
    assert text == "I am so sad" == visit.now.text and "can invent words" in note
    assert (
        words.typed(services, visit, "I am so sad", visit.now.at, True) == [gr.skip()] * 6
    )  # its own text coming back
    words.typed(services, visit, "I am so glad", visit.now.at, True)
    assert words.write_down(services, visit, visit.now.at, True) == (gr.skip(), gr.skip())
    assert visit.now.text == "I am so glad"


def test_words_of_one_recording_never_become_anothers(services, utterance):
    visit = heard(services, utterance("neutral"))
    first = visit.now.at
    services.scribe = FakeScribe("text of the first", meanwhile=lambda: heard(services, utterance("anger"), visit))
    assert words.write_down(services, visit, first, True) == (gr.skip(), gr.skip())
    assert [one.text for one in visit.answers] == ["", ""]
    assert words.typed(services, visit, "late", first, True) == [gr.skip()] * 6
    assert [one.text for one in visit.answers] == ["", ""]


def test_what_is_typed_while_whisper_writes_stays(services, utterance):
    visit = heard(services, utterance("neutral"))
    about = visit.now.at
    services.scribe = FakeScribe("invented", meanwhile=lambda: words.typed(services, visit, HAPPY, about, True))
    assert words.write_down(services, visit, about, True) == (gr.skip(), gr.skip())
    assert visit.now.text == HAPPY


def test_nothing_said_and_no_whisper_are_told(services, utterance):
    visit = heard(services, utterance("neutral"))
    assert "not on this computer" in words.write_down(services, visit, visit.now.at, True)[1]
    services.scribe = FakeScribe("")
    assert "heard no words" in words.write_down(services, visit, visit.now.at, True)[1]
    services.scribe = FakeScribe("", meanwhile=lambda: (_ for _ in ()).throw(TranscriberUnavailable("it is gone")))
    assert "It is gone." in words.write_down(services, visit, visit.now.at, True)[1]


def test_words_are_markup_nowhere(services, utterance):
    visit = heard(services, utterance("neutral"))
    shown = words.typed(services, visit, "<b>happy</b> & <script>", visit.now.at, True)
    assert not any("<script" in part or "<b>happy" in part for part in shown if isinstance(part, str))


def test_erasing_takes_the_words_off_the_page_and_out_of_the_store(services, utterance):
    services.create("Ann", True)
    services.enrol("Ann", "anger", str(utterance("anger")), True)
    visit = heard(services, utterance("neutral"), name="Ann")
    services.visits.add(visit)
    words.typed(services, visit, "a secret sentence", visit.now.at, True)
    visit.meant[visit.shown] = "neutral"
    compare.add_to_profile(services, visit)
    assert services.profile("Ann").utterances[0].transcript == "a secret sentence"
    services.erase("Ann")
    text, about, table, *_ = words.fresh(services, visit, "a secret sentence", "then", True)
    assert (text, about, table) == ("", None, "")
    assert b"a secret sentence" not in (services.workspace.root / "profiles.sqlite3").read_bytes()


def test_adding_a_recording_to_the_profile_does_not_change_what_is_said_about_it(services, utterance):
    services.create("Ann", True)
    services.enrol("Ann", "anger", str(utterance("anger")), True)
    visit = heard(services, utterance("neutral"), name="Ann")
    words.typed(services, visit, HAPPY, visit.now.at, True)
    before = visit.now.words
    visit.meant[visit.shown] = "neutral"
    compare.add_to_profile(services, visit)
    words.count(services, visit, visit.now.at, True)
    assert visit.now.words.personalised == before.personalised


def test_a_model_that_reads_nothing_says_so(services, utterance, monkeypatch):
    from dataclasses import replace

    visit = heard(services, utterance("neutral"))
    recogniser = services.models.recogniser()
    monkeypatch.setattr(recogniser, "info", replace(recogniser.info, reader=None))
    assert "reads no words" in words.typed(services, visit, HAPPY, visit.now.at, True)[4]


def test_every_model_ends_with_their_mean(services, utterance):
    visit = heard(services, utterance("neutral"))
    *_, last = compare.every_model(services, visit)
    assert "mean of 2 models" in last or "mean of 3 models" in last


def test_live_words_come_beside_the_answers_and_grow_old(tiny_model, tmp_path, utterance):
    from ser_core.data.audio import SAMPLE_RATE, read_recording

    recogniser = Recogniser(open_workspace(tmp_path), str(tiny_model), "cpu")
    take = LiveTake(recogniser)
    writing = LiveWords(take, FakeScribe(HAPPY).write)
    spoken = np.tile(read_recording(utterance("anger")).waveform, 2)
    for start in range(0, len(spoken), SAMPLE_RATE // 2):
        if take.feed(spoken[start : start + SAMPLE_RATE // 2], SAMPLE_RATE):
            shown = live.shown_now(take, "", writing)
    writing._thread.join()
    assert (
        HAPPY in live.words_now(writing) and "with the words" in live.said_aloud(take.moments[-1], writing) or not shown
    )
    assert writing.latest[1] == recogniser_says(recogniser, take, writing)
    for _ in range(20):
        take.feed(np.zeros(SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE)
    assert live.words_now(writing) == ""


def recogniser_says(recogniser, take, writing):
    """What the recogniser says of the same three seconds and words, but for the time it took."""
    from dataclasses import replace

    end_s, said = writing.latest
    features = recogniser.embed([take.part(end_s - 3.0, end_s)])
    return replace(recogniser.with_words(features, HAPPY, None, "en"), milliseconds=said.milliseconds)


def test_live_goes_on_without_words_when_whisper_goes_away(tiny_model, tmp_path, utterance):
    from ser_core.data.audio import SAMPLE_RATE, read_recording

    def gone(waveform):
        raise TranscriberUnavailable("its weights were deleted")

    take = LiveTake(Recogniser(open_workspace(tmp_path), str(tiny_model), "cpu"))
    writing = LiveWords(take, gone)
    spoken = read_recording(utterance("anger")).waveform
    for start in range(0, len(spoken), SAMPLE_RATE // 2):
        if take.feed(spoken[start : start + SAMPLE_RATE // 2], SAMPLE_RATE):
            writing.look()
            if writing._thread:
                writing._thread.join()
    assert "weights were deleted" in live.words_now(writing)
