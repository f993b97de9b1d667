"""What the tabs call, without a browser."""

import io
import secrets
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile

from ser_core.data.audio import AudioRejected, read_recording
from ser_core.inference.archives import BadArchive
from ser_core.inference.consent import Consent, ConsentMissing
from ser_core.inference.examples import EXAMPLE_NAME
from ser_core.inference.profiles import ProfileExists, UnknownProfile, UnknownUtterance
from ser_core.ui import compare, enrol, guided
from ser_core.ui.answers import Asked, Visit
from ser_core.ui.answers import compare as answered
from ser_core.ui.errors import for_people
from ser_core.ui.services import NoProfileChosen, NotAPerson, Services
from ser_core.ui.theme import EMOTIONS
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


@pytest.fixture
def upload(services: Services, speech_file: Path):
    """A copy where the page would have put it."""

    def copied(content: bytes | None = None, name: str = "audio.flac") -> str:
        path = services.workspace.temporary / secrets.token_hex(4) / name
        path.parent.mkdir(parents=True)
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


def one_of(services: Services, name: str, emotion: str) -> str:
    """The id of a profile's recording."""
    return next(clip.utterance_id for clip in services.profile(name).utterances if clip.emotion == emotion)


def text_of(outputs: list) -> str:
    """All that a handler shows as HTML."""
    return " ".join(part for part in outputs if isinstance(part, str))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(16_000 * seconds), np.float32)


def test_nothing_is_stored_before_consent(services: Services, upload):
    with pytest.raises(ConsentMissing):
        services.create("Ann", False)
    services.create("Ann", True)
    services.store.agree("Ann", Consent("2020-01", "2020-01-01T00:00:00+00:00"))
    with pytest.raises(ConsentMissing):
        services.enrol("Ann", "anger", path := upload(), False)
    assert services.profile("Ann").utterances == ()
    assert not Path(path).exists()


def test_who_has_agreed_to_this_wording_is_not_asked_again(services: Services, upload):
    services.create("Ann", True)
    services.enrol("Ann", "anger", upload(), False)
    assert services.profile("Ann").emotions == ("anger",)


def test_a_saved_recording_leaves_no_copy_but_the_database(services: Services, ann: str):
    profile = services.profile(ann)
    assert profile.emotions == ("neutral", "anger")
    assert profile.utterances[0].quality["verdict"] in ("good", "usable")
    assert [path for path in services.workspace.temporary.rglob("*") if path.is_file()] == []


def test_a_persons_own_file_is_never_deleted(services: Services, tmp_path: Path, speech_file: Path):
    services.create("Ann", True)
    own = tmp_path / "mine.flac"
    own.write_bytes(speech_file.read_bytes())
    services.enrol("Ann", "anger", str(own), True)
    assert own.exists()


def test_where_nobody_speaks_nothing_is_stored_unless_somebody_insists(services: Services, ann: str, upload):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).normal(size=32_000), 16_000, format="WAV")

    def noise() -> str:
        return upload(file.getvalue(), "noise.wav")

    before = services.profile(ann).utterances
    refused = text_of(enrol.save(services, "anger", noise(), ann, True, "", None))
    assert "No speech was found" in refused and "once more" in refused
    with pytest.raises(AudioRejected) as other_card:
        services.enrol(ann, "fear", noise(), True)
    assert other_card.value.code == "no_speech" and services.profile(ann).utterances == before
    kept = enrol.save(services, "anger", noise(), ann, True, "", None)
    assert "kept, though no speech was found in it" in text_of(kept) and "better record again" not in text_of(kept)
    assert "kept because you did it once more" in guided.verdict_in_words(services.profile(ann).utterances[-1])
    services.enrol(ann, "surprise", noise(), True)  # whoever was believed is not asked again
    services.erase(ann)
    services.create(ann, True)
    with pytest.raises(AudioRejected):
        services.enrol(ann, "anger", noise(), True)  # and not for the next person of that name


def test_a_recording_is_added_or_takes_the_place_of_the_one_named(services: Services, ann: str, upload):
    first = one_of(services, ann, "anger")
    played = services.playback(ann, first)
    second = services.enrol(ann, "anger", upload(), True)
    assert len(services.profile(ann).utterances) == 3
    third = services.enrol(ann, "anger", upload(), True, replaces=first)
    left = {clip.utterance_id for clip in services.profile(ann).utterances if clip.emotion == "anger"}
    assert left == {second.utterance_id, third.utterance_id}
    assert not Path(played).exists()
    with pytest.raises(UnknownUtterance):
        services.enrol(ann, "anger", upload(), True, replaces=first)
    assert len(services.profile(ann).utterances) == 3


def test_what_another_window_deleted_is_not_replaced_silently(services: Services, ann: str, upload):
    gone = one_of(services, ann, "anger")
    services.remove(ann, gone)
    shown = enrol.save(services, "anger", upload(), ann, True, "again", gone)
    assert "changed in another window" in text_of(shown)
    assert services.profile(ann).emotions == ("neutral",)


def test_consent_is_recorded_and_asked_for_again_when_the_wording_is_older(services: Services, ann: str, upload):
    assert services.has_agreed(services.profile(ann))
    services.store.agree(ann, Consent("2020-01", "2020-01-01T00:00:00+00:00"))
    assert "The wording has changed" in enrol.agreed_in_words(services, services.profile(ann))
    services.enrol(ann, "fear", upload(), True)
    assert services.has_agreed(services.profile(ann))


def test_a_profile_taken_along_can_be_brought_in_again(services: Services, ann: str, upload):
    before = services.profile(ann)
    content = Path(services.export(ann)).read_bytes()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert "profile.json" in names and sum(name.endswith(".flac") for name in names) == 2
    heard = read_recording(upload())
    first = answered(services, heard, Asked(ann)).prediction.personalised
    with pytest.raises(ProfileExists):
        services.import_profile(upload(content, "ann.zip"), "", True)
    services.erase(ann)
    with pytest.raises(ConsentMissing):
        services.import_profile(upload(content, "ann.zip"), "", False)
    with pytest.raises(BadArchive):
        services.import_profile(upload(b"no zip", "ann.zip"), "", True)
    assert services.names() == []
    name, _, _ = enrol.bring_in(services, upload(content, "ann.zip"), "", True)
    assert name == ann and services.profile(ann).emotions == before.emotions
    assert answered(services, heard, Asked(ann)).prediction.personalised == first


def test_a_profile_gets_another_name_and_an_error_leaves_no_praise_standing(services: Services, ann: str):
    services.create("Bo", True)
    for named in ("", "bo", "a/b"):
        *_, message = enrol.rename(services, ann, named)
        assert "poor" in message.value and services.profile(ann).name == ann
    assert enrol.rename(services, ann, "Anna")[0] == "Anna" and services.names() == ["Anna", "Bo"]
    for named in ("", "anna"):
        assert "poor" in enrol.create(services, named, True)[-1].value


def test_the_example_voice_is_synthetic_and_made_once(services: Services):
    name, message = enrol.take_example(services)
    assert name == EXAMPLE_NAME and "synthetic" in message.value
    profile = services.profile(name)
    assert profile.emotions == EMOTIONS and not services.has_agreed(profile)
    assert services.add_example() == profile
    assert "nobody" in enrol.agreed_in_words(services, profile)


def test_a_card_with_several_recordings_shows_one_and_lets_choose(services: Services, ann: str, upload):
    first = one_of(services, ann, "anger")
    services.enrol(ann, "anger", upload(), True)
    card = enrol.Card(*enrol.show_one(services, "anger", ann, True, first)[1:])
    assert card.which.value == first and len(card.which.choices) == 2 and card.which.visible
    assert Path(card.audio.value["path"] if isinstance(card.audio.value, dict) else card.audio.value).stem == first
    assert "2 recordings" in card.state


def test_guided_recording_goes_to_the_missing_ones_in_turn(services: Services, ann: str, upload):
    order, emotion = [], guided.guide(services, "start", ann, "", guided.PAGE)[0]
    while emotion:
        order.append(emotion)
        shown, goes_on, _ = guided.keep(services, upload(), ann, True, emotion, guided.PAGE)
        assert goes_on and "saved" in shown
        emotion = guided.go_on(services, goes_on, ann, emotion, guided.PAGE)[0]
    assert order == ["happiness", "sadness", "fear", "disgust", "surprise"]
    assert services.profile(ann).emotions == EMOTIONS
    assert guided.guide(services, "start", ann, "", guided.PAGE)[0] == ""  # all there: nothing to guide to


def test_guided_recording_stays_where_a_recording_cannot_be_used(services: Services, ann: str, upload, tmp_path: Path):
    soundfile.write(tmp_path / "silent.wav", silence(2), 16_000)
    silent = upload((tmp_path / "silent.wav").read_bytes(), "silent.wav")
    shown, goes_on, _ = guided.keep(services, silent, ann, True, "fear", guided.PAGE)
    assert "silent" in shown and "Repeat" in shown and not goes_on
    assert services.profile(ann).emotions == ("neutral", "anger")
    skipped = guided.guide(services, "skip", ann, "happiness", guided.PAGE)
    assert skipped[0] == "sadness"


def test_a_guided_recording_that_was_broken_off_or_belongs_to_nobody_is_dropped(services: Services, ann: str, upload):
    assert guided.keep(services, path := upload(), ann, True, "fear", guided.PAGE, "yes")[1:] == ("", None)
    assert not Path(path).exists() and services.profile(ann).emotions == ("neutral", "anger")
    services.erase(ann)
    with pytest.raises(UnknownProfile):
        guided.keep(services, path := upload(), ann, True, "fear", guided.PAGE)
    assert not Path(path).exists()


def test_a_real_voice_does_not_join_a_synthetic_one(services: Services, upload):
    name = services.add_example().name
    with pytest.raises(NotAPerson):
        services.enrol(name, "anger", path := upload(), True)
    assert not Path(path).exists()
    services.remove(name, one_of(services, name, "anger"))
    assert services.add_example().emotions == EMOTIONS  # what is missing is made again


def test_an_erasure_reaches_what_open_pages_have_answered(services: Services, ann: str, upload):
    visit = compare.hear(services, mine := upload(), None, ann, None, None)[0]
    compare.hear(services, nobodys := upload(), visit, "", None, None)
    services.erase(ann)
    assert [one.asked.profile for one in visit.answers] == [""] and visit.shown == 0
    assert not Path(mine).exists() and Path(nobodys).exists()


def test_a_refused_recording_stores_nothing_and_keeps_the_earlier_one(services: Services, ann: str, upload):
    before = services.profile(ann)
    with pytest.raises(AudioRejected):
        services.enrol(ann, "anger", path := upload(b"not audio at all", "a.wav"), True)
    assert services.profile(ann) == before
    assert not Path(path).exists()


def test_one_recording_can_be_deleted_and_brought_back(services: Services, ann: str):
    before = services.profile(ann)
    removed = services.remove(ann, one_of(services, ann, "anger"))
    assert services.profile(ann).emotions == ("neutral",)
    services.restore(ann, [removed])
    assert services.profile(ann) == before


def test_erasing_says_what_was_erased_and_leaves_no_file(services: Services, ann: str, upload):
    for clip in services.profile(ann).utterances:
        services.playback(ann, clip.utterance_id)
    compare.hear(services, mine := upload(), visit := Visit(), ann, None, None)
    services.visits.add(visit)
    erased = services.erase(ann)
    assert enrol.erased_in_words(erased).startswith("Erased “Ann”: 2 recordings and all that was computed from them")
    assert services.names() == []
    left = [path for path in services.workspace.temporary.rglob("*") if path.is_file()]
    assert left == [] and not Path(mine).exists() and visit.answers == []


def test_without_a_profile_nothing_can_be_enrolled_or_erased(services: Services, upload):
    with pytest.raises(NoProfileChosen):
        services.enrol("", "anger", upload(), True)
    with pytest.raises(NoProfileChosen):
        services.erase("")


def test_playing_back_gives_what_was_recorded(services: Services, ann: str, speech_file: Path):
    played, rate_hz = soundfile.read(services.playback(ann, services.profile(ann).utterances[0].utterance_id))
    assert rate_hz == 16_000
    assert len(played) / rate_hz == pytest.approx(soundfile.info(speech_file).duration, abs=1e-3)


def test_a_bad_recording_is_explained_without_a_path(services: Services, ann: str, upload, tmp_path: Path):
    soundfile.write(tmp_path / "silent.wav", silence(2), 16_000)
    soundfile.write(tmp_path / "short.wav", silence(0.1) + 0.1, 16_000)
    for content, words in (
        (b"not audio at all", "not audio that can be read"),
        (b"", "is empty"),
        ((tmp_path / "silent.wav").read_bytes(), "silent"),
        ((tmp_path / "short.wav").read_bytes(), "at least 0.5 s"),
    ):
        status = compare.hear(services, upload(content, "bad.wav"), Visit(), ann, None, None)[8]
        assert words in status and "/" not in status.replace("</", "").replace("/>", "")
        progress, _, state, *_ = enrol.save(services, "fear", upload(content, "bad.wav"), ann, True, "", None)
        assert words in state and "2 of 7" in progress


def test_a_name_can_bring_no_markup(services: Services, upload):
    services.create("<b onclick='x'>Ann", True)
    services.enrol("<b onclick='x'>Ann", "anger", upload(), True)
    shown = compare.hear(services, upload(), None, "<b onclick='x'>Ann", None, None)
    assert "<b onclick" not in text_of(shown) and "&lt;b onclick" in text_of(shown)
    assert "<b onclick" not in text_of(enrol.show(services, "<b onclick='x'>Ann", True, None)[2:])


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


def test_our_own_errors_speak_for_themselves(services: Services):
    with pytest.raises(gr.Error, match="^'Choose a profile, or create one, first.'$"):
        for_people(lambda services: services.erase(""), services)(None)


def test_anything_else_is_a_bug_with_a_reference(services: Services, caplog: pytest.LogCaptureFixture):
    def broken(services):
        raise ValueError("/home/somebody/secret")

    with pytest.raises(gr.Error, match=r"^'?Something went wrong. Reference E-[0-9a-f]{4}") as shown:
        for_people(broken, services)(None)
    assert "secret" not in str(shown.value)
    assert "/home/somebody/secret" in caplog.text


def test_a_model_that_cannot_be_loaded_says_what_to_do(tmp_path: Path):
    services = Services(open_workspace(tmp_path), str(tmp_path / "no-such-model"))
    *_, status = compare.wait_for_model(services)
    assert services.models.state() == "failed"
    assert "No model could be loaded: There is no model" in status


def test_the_page_says_which_model_answers_and_why(services: Services):
    assert "being loaded" in services.models.in_words()
    services.models.recogniser()
    assert services.models.state() == "ready"
    assert services.models.in_words() == "Model: tiny. It was asked for at the start."


def test_further_models_are_loaded_once_and_by_name(services: Services):
    compact = services.models.recogniser("compact")
    assert compact.info.name == "compact" and services.models.recogniser("compact") is compact
    assert services.models.recogniser("tiny") is services.models.recogniser()
    names = [info.name for info in services.models.offered()]
    assert names[0] == "tiny" and "compact" in names


def test_without_its_weights_the_better_model_is_named_in_plain_words(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    services = Services(open_workspace(tmp_path))
    services.models.recogniser()
    words = services.models.in_words()
    assert "compact" in words and "weights are not on this computer" in words and "SER_WEIGHTS" not in words
