"""What the tabs call, without a browser."""

import json
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile

from ser_core.data.audio import AudioRejected
from ser_core.inference.profiles import UnknownProfile
from ser_core.ui import compare, enrol
from ser_core.ui.services import ConsentMissing, NoProfileChosen, Services, for_people
from ser_core.ui.theme import EMOTIONS
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


@pytest.fixture
def upload(services: Services, speech_file: Path):
    """A copy where the page would have put it."""

    def copied(content: bytes | None = None, name: str = "audio.flac") -> str:
        path = services._workspace.temporary / "1a2b" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(speech_file.read_bytes() if content is None else content)
        return str(path)

    return copied


@pytest.fixture
def ann(services: Services, upload) -> str:
    """A profile with two recordings."""
    services.create("Ann", True)
    for emotion in ("neutral", "anger"):
        services.enrol("Ann", emotion, upload(), True)
    return "Ann"


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(16_000 * seconds), np.float32)


def test_nothing_is_stored_before_consent(services: Services, upload):
    with pytest.raises(ConsentMissing):
        services.create("Ann", False)
    services.create("Ann", True)
    with pytest.raises(ConsentMissing):
        services.enrol("Ann", "anger", path := upload(), False)
    assert services.profile("Ann").utterances == ()
    assert not Path(path).exists()


def test_a_saved_recording_leaves_no_copy_but_the_database(services: Services, ann: str):
    profile = services.profile(ann)
    assert profile.emotions == ("neutral", "anger")
    assert profile.utterances[0].quality["verdict"] in ("good", "usable")
    assert [path for path in services._workspace.temporary.rglob("*") if path.is_file()] == []


def test_a_persons_own_file_is_never_deleted(services: Services, tmp_path: Path, speech_file: Path):
    services.create("Ann", True)
    own = tmp_path / "mine.flac"
    own.write_bytes(speech_file.read_bytes())
    services.enrol("Ann", "anger", str(own), True)
    assert own.exists()


def test_a_new_recording_takes_the_place_of_the_earlier_one(services: Services, ann: str, upload):
    earlier = services.playback(ann, services.profile(ann).utterances[1].utterance_id)
    services.enrol(ann, "anger", upload(), True)
    assert len(services.profile(ann).utterances) == 2
    assert not Path(earlier).exists()


def test_a_refused_recording_stores_nothing_and_keeps_the_earlier_one(services: Services, ann: str, upload):
    before = services.profile(ann)
    with pytest.raises(AudioRejected):
        services.enrol(ann, "anger", path := upload(b"not audio at all", "a.wav"), True)
    assert services.profile(ann) == before
    assert not Path(path).exists()


def test_one_recording_can_be_deleted_and_brought_back(services: Services, ann: str):
    before = services.profile(ann)
    removed = services.remove(ann, "anger")
    assert services.profile(ann).emotions == ("neutral",)
    services.restore(ann, removed)
    assert services.profile(ann) == before


def test_erasing_says_what_was_erased_and_leaves_no_file(services: Services, ann: str, upload):
    for clip in services.profile(ann).utterances:
        services.playback(ann, clip.utterance_id)
    services.compare(mine := upload(), ann)
    erased = services.erase(ann)
    assert enrol.erased_in_words(erased).startswith("Erased “Ann”: 2 recordings and all that was computed from them")
    assert services.names() == []
    left = [path for path in services._workspace.temporary.rglob("*") if path.is_file()]
    assert left == [Path(mine)]  # the utterance itself belongs to nobody; it goes when the app ends
    with pytest.raises(UnknownProfile):
        services.compare(mine, ann)


def test_without_a_profile_nothing_can_be_enrolled_or_erased(services: Services, upload):
    with pytest.raises(NoProfileChosen):
        services.enrol("", "anger", upload(), True)
    with pytest.raises(NoProfileChosen):
        services.erase("")


def test_playing_back_gives_what_was_recorded(services: Services, ann: str, speech_file: Path):
    played, rate_hz = soundfile.read(services.playback(ann, services.profile(ann).utterances[0].utterance_id))
    assert rate_hz == 16_000
    assert len(played) / rate_hz == pytest.approx(soundfile.info(speech_file).duration, abs=1e-3)


def test_nobody_gets_the_baseline_only_and_is_told_so(services: Services, upload):
    comparison = services.compare(upload())
    assert comparison.prediction.personalised is None
    shown = compare.compare(services, upload(), "", None)
    assert "Nobody is chosen" in shown[1]
    services.create("Bo", True)
    assert "has no recording yet" in compare.compare(services, upload(), "Bo", None)[1]


def test_both_answers_are_those_of_the_recogniser(services: Services, ann: str, upload):
    comparison = services.compare(upload(), ann)
    said = json.loads(Path(comparison.download).read_text())
    assert said["profile"] == ann and said["model"] == "tiny" and said["path"] == "audio.flac"
    assert said["personalised"] == {
        "emotion": comparison.prediction.personalised.emotion,
        "probabilities": comparison.prediction.personalised.probabilities,
    }
    assert sum(said["personalised"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_every_personaliser_is_explained(services: Services, ann: str, upload):
    for personaliser in services.personalisers():
        shown = compare.compare(services, upload(), ann, personaliser)
        bars, words, table, weights = shown[2:6]
        assert [bar.name for bar in bars.data] == ["Baseline", "Personalised"]
        assert "The largest change" in words and "Personalised" in table
        assert weights.data or "count alike" in weights.layout.annotations[0].text


def test_a_bad_recording_is_explained_without_a_path(services: Services, ann: str, upload, tmp_path: Path):
    soundfile.write(tmp_path / "silent.wav", silence(2), 16_000)
    soundfile.write(tmp_path / "short.wav", silence(0.1) + 0.1, 16_000)
    for content, words in (
        (b"not audio at all", "not audio that can be read"),
        (b"", "is empty"),
        ((tmp_path / "silent.wav").read_bytes(), "silent"),
        ((tmp_path / "short.wav").read_bytes(), "at least 0.5 s"),
    ):
        status = compare.compare(services, upload(content, "bad.wav"), ann, None)[6]
        assert words in status and "/" not in status.replace("</", "").replace("/>", "")
        progress, _, state, *_ = enrol.save(services, "fear", upload(content, "bad.wav"), ann, True)
        assert words in state and "2 of 7" in progress


def test_a_name_can_bring_no_markup(services: Services, upload):
    services.create("<b onclick='x'>Ann", True)
    shown = compare.compare(services, upload(), "<b onclick='x'>Ann", None)
    assert "<b onclick" not in "".join(part for part in shown if isinstance(part, str))


def test_a_card_for_each_emotion_says_what_to_say(services: Services):
    for emotion in EMOTIONS:
        assert emotion.capitalize() in enrol.words_of(emotion)


def test_what_is_shown_already_is_left_alone(services: Services, ann: str):
    shown, *_ = first = enrol.show(services, ann, True, None)
    second = enrol.show(services, ann, True, shown)
    assert len(second) == len(first)
    assert all(update == gr.skip() for update in second)


def test_a_reload_finds_the_profile_again_if_it_still_exists(services: Services, ann: str):
    assert enrol.restore_choice(services, ann, "") == ann
    assert enrol.restore_choice(services, "erased meanwhile", "") == ""
    assert enrol.restore_choice(services, "", ann) == ann


def test_a_broken_personaliser_is_explained_where_the_answer_would_be(services: Services, ann: str, upload):
    status = compare.compare(services, upload(), ann, "nonsense")[6]
    assert "has no personaliser" in status and "nonsense" in status


def test_our_own_errors_speak_for_themselves(services: Services):
    with pytest.raises(gr.Error, match="^'Choose a profile, or create one, first.'$"):
        for_people(lambda services: services.erase(""), services)()


def test_anything_else_is_a_bug_with_a_reference(services: Services, caplog: pytest.LogCaptureFixture):
    def broken(services):
        raise ValueError("/home/somebody/secret")

    with pytest.raises(gr.Error, match=r"^'?Something went wrong. Reference E-[0-9a-f]{4}") as shown:
        for_people(broken, services)()
    assert "secret" not in str(shown.value)
    assert "/home/somebody/secret" in caplog.text


def test_a_model_that_cannot_be_loaded_says_what_to_do(tmp_path: Path):
    services = Services(open_workspace(tmp_path), str(tmp_path / "no-such-model"))
    dropdown, status = compare.wait_for_model(services)
    assert services.state == "failed"
    assert "No model could be loaded: There is no model" in status


def test_the_page_says_which_model_answers_and_why(services: Services):
    assert "being loaded" in services.model_in_words()
    services.recogniser()
    assert services.state == "ready"
    assert services.model_in_words() == "Model: tiny. It was asked for at the start."
