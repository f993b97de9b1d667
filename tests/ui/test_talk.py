"""Free speech in the tabs, without a browser: kept, replaced, refused, brought back, and what it does to answers."""

import json
import secrets
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile

from ser_core.data.audio import AudioRejected, read_recording
from ser_core.data.talk import TALK, Talk, cut_talk
from ser_core.inference.consent import LOCAL, SHARED, Consent, ConsentMissing
from ser_core.inference.recogniser import Recogniser
from ser_core.ui import compare, enrol, live, shown, talk
from ser_core.ui.answers import Asked, Visit, by_every_model, live_take, mean_of_models
from ser_core.ui.answers import compare as answered
from ser_core.ui.services import NotAPerson, Services
from ser_core.workspace import open_workspace

SECOND, BARS, NUMBERS, CHANGE, CLIPS, OTHERS = range(2, 8)
COLUMN, THIRD, EFFECT = -3, -2, -1


@pytest.fixture
def services(tmp_path: Path, calibrated_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(calibrated_model))


@pytest.fixture
def upload(services: Services, talk_file: Path):
    """A copy where the page would have put it."""

    def copied(content: bytes | None = None) -> str:
        path = services.workspace.temporary / secrets.token_hex(4) / "audio.wav"
        path.parent.mkdir(parents=True)
        path.write_bytes(talk_file.read_bytes() if content is None else content)
        return str(path)

    return copied


@pytest.fixture
def noise(tmp_path: Path) -> bytes:
    """Half a minute in which nobody speaks."""
    sound = 0.1 * np.random.default_rng(0).normal(size=30 * 16_000)
    soundfile.write(tmp_path / "noise.wav", sound, 16_000)
    return (tmp_path / "noise.wav").read_bytes()


@pytest.fixture(scope="module")
def cut(talk_file: Path) -> Talk:
    """The free speech in parts; to cut it takes a second or two."""
    return cut_talk(read_recording(talk_file, TALK).waveform)


@pytest.fixture
def bo(services: Services, cut: Talk) -> str:
    """A profile of free speech only."""
    services.create("Bo", True)
    services.store.add_talk("Bo", cut.utterances)
    return "Bo"


def ids(services: Services, name: str) -> list[str]:
    return [part.utterance_id for part in services.profile(name).talk]


def panel(outputs: list) -> talk.Parts:
    return talk.Parts(*outputs)


def heard(services: Services, file: Path, name: str = "", visit: Visit | None = None) -> list:
    """All that the page shows after a recording."""
    return compare.hear(services, str(file), visit, name, None, None)


def test_free_speech_is_kept_in_parts_and_the_upload_deleted(services: Services, upload, cut: Talk):
    services.create("Bo", True)
    kept = services.add_talk("Bo", path := upload(), True)
    parts = services.profile("Bo").talk
    assert not Path(path).exists() and len(kept.utterances) == len(parts) == len(cut.utterances)
    stored = [services.store.audio("Bo", part.utterance_id) for part in parts]
    for one, part in zip(stored, cut.utterances, strict=True):
        np.testing.assert_allclose(one, part, atol=2**-15)
    assert services.profile("Bo").utterances == ()


def test_other_talk_takes_the_place_of_the_first_and_its_playback_goes(services: Services, bo: str, upload):
    before, played = ids(services, bo), services.talk_playback(services.profile(bo))
    assert Path(played).exists()
    services.add_talk(bo, upload(), True)
    after = ids(services, bo)
    assert len(after) == len(before) and not set(after) & set(before)
    assert not Path(played).exists()


def test_what_is_played_is_all_that_is_kept(services: Services, bo: str):
    samples, rate_hz = soundfile.read(services.talk_playback(services.profile(bo)), dtype="float32")
    whole = np.concatenate([services.store.audio(bo, part) for part in ids(services, bo)])
    assert rate_hz == 16_000
    np.testing.assert_allclose(samples, whole, atol=2**-15)


def test_refused_talk_leaves_what_was_there_and_is_explained(services, bo: str, upload, noise, speech_file, tmp_path):
    before = services.profile(bo)
    soundfile.write(tmp_path / "long.wav", np.tile(soundfile.read(speech_file)[0], 70), 16_000)
    for content, words in (
        (noise, "music, or a noisy room"),
        (speech_file.read_bytes(), "at least 15 are needed"),
        ((tmp_path / "long.wav").read_bytes(), "at most 180 s"),
        (b"not audio at all", "not audio that can be read"),
    ):
        with pytest.raises(AudioRejected):
            services.add_talk(bo, path := upload(content), True)
        assert not Path(path).exists() and services.profile(bo) == before
        now = panel(talk.save(services, upload(content), bo, True, True, ()))
        assert words in now.state and 'role="alert"' in now.state and "kept" in now.state
        assert now.anew and now.audio.interactive and now.keep.visible  # one can try again, or go back


def test_nothing_is_kept_without_consent_nor_beside_a_synthetic_voice(services: Services, bo: str, upload):
    services.store.agree(bo, Consent("2026-11b", "2026-11-01T00:00:00+00:00"))  # it did not speak of free speech
    with pytest.raises(ConsentMissing):
        services.add_talk(bo, path := upload(), False)
    assert not Path(path).exists()
    services.add_talk(bo, upload(), True)
    assert services.has_agreed(services.profile(bo))
    synthetic = services.add_example().name
    with pytest.raises(NotAPerson):
        services.add_talk(synthetic, path := upload(), True)
    assert not Path(path).exists() and services.profile(synthetic).talk == ()
    assert not panel(talk.parts_of(services, services.profile(synthetic), True)).panel.visible
    assert all(any("free speech" in words for _, words in wording.points) for wording in (LOCAL, SHARED))


def test_deleted_talk_can_be_brought_back_once(services: Services, bo: str, cut: Talk):
    before = services.profile(bo)
    played = services.talk_playback(before)
    now = panel(talk.delete(services, bo, True))
    assert services.profile(bo).talk == () and not Path(played).exists()
    assert now.undo.visible and not now.delete.visible and "nothing kept yet" in now.state
    again = panel(talk.undo(services, now.removed, bo, True))
    assert services.profile(bo) == before and not again.undo.visible and again.delete.visible
    talk.delete(services, bo, True)
    services.store.add_talk(bo, cut.utterances)  # in another window
    other = ids(services, bo)
    swapped = panel(talk.undo(services, now.removed, bo, True))
    assert services.profile(bo) == before and swapped.undo.visible  # nothing is lost: the other comes back in turn
    talk.undo(services, swapped.removed, bo, True)
    assert ids(services, bo) == other


def test_talking_anew_can_be_undone(services: Services, bo: str, upload):
    before = ids(services, bo)
    now = panel(talk.save(services, upload(), bo, True, True, ()))
    assert ids(services, bo) != before and now.undo.visible
    talk.undo(services, now.removed, bo, True)
    assert ids(services, bo) == before


def test_a_refused_recording_does_not_take_undo_away(services: Services, bo: str, upload):
    removed = panel(talk.delete(services, bo, True)).removed
    now = panel(talk.save(services, upload(b"no audio"), bo, True, False, removed))
    assert now.undo.visible and now.removed == removed


def test_erasing_leaves_no_playback_of_talk_and_says_what_went(services: Services, bo: str, speech_file: Path):
    services.enrol(bo, "neutral", str(speech_file), True)
    services.talk_playback(services.profile(bo))
    warning = enrol.ask_before_erasing(services, bo)[2].value
    *_, message = enrol.erase(services, bo)
    assert "1 recording and the free speech" in warning and "1 recording and the free speech" in message.value
    assert [path for path in services.workspace.temporary.rglob("*") if path.is_file()] == []


def test_the_panel_says_what_is_kept_and_records_only_where_one_may(services: Services, bo: str):
    profile = services.profile(bo)
    seconds = sum(part.duration_s for part in profile.talk)
    now = panel(talk.parts_of(services, profile, True))
    assert f"{seconds:.0f} s of speech in {len(profile.talk)} parts, kept" in now.state
    assert f"{seconds:.0f} s" in now.panel.label and now.audio.interactive is False and now.again.visible
    assert panel(talk.change_mode(services, True, bo, True)).audio.interactive
    services.create("New", True)
    services.store.agree("New", Consent("2020-01", "2020-01-01T00:00:00+00:00"))
    waits = panel(talk.parts_of(services, services.profile("New"), False))
    assert "Tick the box" in waits.state and not waits.audio.visible
    assert not panel(talk.parts_of(services, None, True)).panel.visible
    assert talk.save(services, None, bo, True, False, ()) == [gr.skip()] * len(now.parts())


def test_what_seems_odd_is_said_once_and_stops_nobody(services: Services, bo: str, upload, monkeypatch):
    odd = lambda _, features: (f"{len(features)} <i>voices</i>",)  # noqa: E731
    monkeypatch.setattr(Recogniser, "hints_of_talk", odd)
    assert services.talk_hints(bo) == ()  # the model is not there yet, and nobody waits for it
    services.models.recogniser()
    state = panel(talk.save(services, upload(), bo, True, False, ())).state
    assert f"{len(ids(services, bo))} &lt;i&gt;voices" in state and "kept" in state and "alert" not in state
    assert "voices" not in panel(talk.parts_of(services, services.profile(bo), True)).state


def test_progress_counts_free_speech_beside_the_emotions(services: Services, bo: str, speech_file: Path):
    only = enrol.progress_of(services, services.profile(bo), True)
    assert "0 of 7 enrolled, and" in only and "free speech" in only and "Enough to try Compare" in only
    services.enrol(bo, "neutral", str(speech_file), True)
    assert "1 of 7 enrolled, and" in enrol.progress_now(services, bo, True)
    shown_now, *_ = enrol.show(services, bo, True, None)
    talk.delete(services, bo, True)
    assert enrol.show(services, bo, True, shown_now)[0] != gr.skip()  # without the speech, not the same as before
    assert "free speech" not in enrol.progress_now(services, bo, True)


def test_talk_travels_with_the_profile(services: Services, bo: str, upload):
    content = Path(services.export(bo)).read_bytes()
    n = len(ids(services, bo))
    services.erase(bo)
    *_, message = enrol.bring_in(services, upload(content), "", True)
    assert "0 recordings and the free speech" in message.value and len(ids(services, bo)) == n


def test_a_profile_of_talk_only_gets_a_calibrated_answer(services: Services, bo: str, utterance):
    page = heard(services, utterance("fear"), bo)
    said = page[0].now.prediction
    assert said.personalised is None and said.calibrated.answer != said.baseline
    assert page[COLUMN].visible and said.calibrated.answer.emotion in page[THIRD].lower()
    assert "For Bo (calibrated)" in page[THIRD] and "free speech only" in page[SECOND]
    assert "Nobody" not in page[SECOND] and page[CLIPS] == page[OTHERS] == page[CHANGE] == ""
    assert [bar.name for bar in page[BARS].data] == ["Baseline", "Calibrated"]
    assert "Calibrated" in page[NUMBERS] and "Personalised" not in page[NUMBERS]
    assert page[0].now.profile == bo


def test_three_answers_stand_side_by_side_and_are_saved(services: Services, bo: str, utterance):
    for emotion in ("neutral", "anger"):
        services.enrol(bo, emotion, str(utterance(emotion)), True)
    page = heard(services, utterance("fear"), bo)
    visit, said = page[0], page[0].now.prediction
    assert [bar.name for bar in page[BARS].data] == ["Baseline", "Calibrated", "Personalised"]
    right = said.calibrated.answer.probabilities
    assert page[BARS].data[1].x == tuple(right.values())
    assert "Calibrated (free speech only)" in page[OTHERS]
    compare.judge(services, visit, said.calibrated.answer.emotion)
    tally = compare.judge(services, visit, said.calibrated.answer.emotion)[1]
    assert "calibrated 1 of 1" in tally and "calibrated" not in shown.tally_in_words((), visit.judgements(), [True])
    assert "Calibrated" in shown.history_table(visit)
    saved = json.loads(Path(compare.save_visit(services, "json", visit)).read_text())
    assert saved["calibrated"]["answer"]["probabilities"] == right
    assert saved["calibrated"]["n_utterances"] == len(ids(services, bo))


def test_what_the_free_speech_changes_is_shown_in_numbers(services: Services, bo: str, utterance):
    page = heard(services, utterance("fear"), bo)
    effect, said = page[0].now.prediction.calibrated, page[EFFECT]
    assert "What the free speech changes" in said and f"{effect.n_utterances} utterances" in said
    assert said.count("<tr>") == 1 + 7
    for number, similarity in zip(effect.similar, effect.similarities, strict=True):
        assert f"training speaker {number}, similarity {similarity:.2f}" in said
    for share in (*effect.before.values(), *effect.after.values()):
        assert f"width: {100 * share:.0f}%" in said


def test_talk_is_asked_for_quietly_and_only_where_it_would_help(services: Services, utterance, cut: Talk):
    services.create("Bo", True)
    visit = heard(services, utterance("fear"))[0]
    assert shown.talk_in_words(visit.now, None) == ""
    page = heard(services, utterance("fear"), "Bo", visit)
    assert "Or just talk" in page[EFFECT] and not page[COLUMN].visible
    services.store.add_talk("Bo", cut.utterances)
    page = compare.ask_again(services, visit, "Bo", None, None)  # somebody talked meanwhile: it is asked anew
    assert page[COLUMN].visible and "training speaker" in page[EFFECT]
    compare.show_earlier(services, visit, 0)
    assert visit.now.prediction.calibrated is None


def test_a_model_without_calibration_says_so(tmp_path: Path, tiny_model: Path, cut: Talk, utterance):
    services = Services(open_workspace(tmp_path / "workspace"), str(tiny_model))
    services.create("Bo", True)
    services.store.add_talk("Bo", cut.utterances)
    page = heard(services, utterance("fear"), "Bo")
    assert page[0].now.prediction.calibrated is None
    assert "cannot use free speech" in page[THIRD] and "cannot use free speech" in page[EFFECT]
    assert [bar.name for bar in page[BARS].data] == ["Baseline"]


def test_a_name_brings_no_markup_into_the_calibrated_answer(services: Services, cut: Talk, utterance):
    name = "<b onclick='x'>Bo"
    services.create(name, True)
    services.store.add_talk(name, cut.utterances)
    page = heard(services, utterance("fear"), name)
    for words in (page[THIRD], page[SECOND], page[EFFECT]):
        assert "<b onclick" not in words
    assert "&lt;b onclick" in page[THIRD]


def test_every_model_shows_its_calibrated_answer_and_the_mean_shows_none(services: Services, bo: str, utterance):
    now = heard(services, utterance("fear"), bo)[0].now
    found = list(by_every_model(services, now))
    table = shown.others_table([*found, mean_of_models(found)], "tiny", None)
    n = sum(predictions[0].calibrated is not None for _, predictions in found)
    assert n >= 1 and table.count("Calibrated (free speech only)") == n


def test_live_shows_the_calibrated_answer_between_the_others(services: Services, bo: str, utterance):
    take = live_take(services, Asked(bo))
    samples, rate_hz = soundfile.read(utterance("anger"), dtype="float32")
    take.feed(samples, rate_hz)
    moment = take.moments[-1]
    assert moment.prediction.calibrated is not None
    answers = live.answers_now(moment, "<b>Bo")
    assert "For &lt;b&gt;Bo (calibrated)" in answers and "Nobody is chosen" not in answers
    assert f"calibrated {shown.named(moment.prediction.calibrated.answer)}" in live.said_aloud(moment)
    assert answers.index("calibrated") < answers.index("personalised")


def test_a_recording_is_answered_as_the_recogniser_answers_with_the_same_talk(services: Services, bo: str, utterance):
    recogniser, recording = services.models.recogniser(), read_recording(utterance("fear"))
    parts = [services.store.audio(bo, part) for part in ids(services, bo)]
    statistics = recogniser.statistics(recogniser.embed_each(parts))
    alone = recogniser.answer(recogniser.embed([recording.waveform])).baseline
    predicted = np.array([list(alone.probabilities.values())])
    expected = recogniser.info.load_calibration().transform(predicted, statistics)[0]
    said = answered(services, recording, Asked(bo)).prediction.calibrated.answer
    np.testing.assert_allclose(list(said.probabilities.values()), expected, atol=1e-5)
