"""Free speech: in the store, in the recogniser, in the terminal."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.__main__ import main
from ser_core.data.audio import SAMPLE_RATE, Recording, read_recording
from ser_core.inference.archives import UNLABELLED
from ser_core.inference.calibration import CalibrationSettings, PriorCorrection
from ser_core.inference.consent import consent_now
from ser_core.inference.enrolment import enrolment_of
from ser_core.inference.models import CALIBRATION, VOICES
from ser_core.inference.profiles import ProfileFull, ProfileStore
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.voices import HINT, VoiceLine, VoicesUnreadable
from ser_core.workspace import ASSETS, open_workspace

RNG = np.random.default_rng(0)


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    """(N,) float32, with noise that no other has."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hz * time) + RNG.normal(0, 0.05, len(time))).astype(np.float32)


@pytest.fixture
def store(tmp_path) -> ProfileStore:
    store = ProfileStore(tmp_path / "profiles.sqlite3")
    store.create("Ann", consent_now())
    return store


@pytest.fixture
def correcting(tiny_model, tmp_path) -> Recogniser:
    """The tiny model, and what puts it right: training speakers who were never angry."""
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "correcting")
    plain = Recogniser(open_workspace(tmp_path / "workspace"), str(folder))
    known = plain.statistics(plain.embed([tone(150), tone(200)]))
    n = len(plain.info.emotions)
    correction = PriorCorrection(CalibrationSettings(n_similar=2, shrinkage=5.0)).fit(
        RNG.normal(size=(40, len(known.vector))),
        np.repeat([0, 1], 20),
        np.arange(40) % n,
        RNG.dirichlet([1] * n, size=40),
    )
    correction.save(folder / CALIBRATION)
    return Recogniser(open_workspace(tmp_path / "workspace"), str(folder))


def test_free_speech_stands_beside_labelled_recordings_and_is_no_emotion(store):
    store.add("Ann", "anger", tone(120))
    profile = store.add_talk("Ann", [tone(100 + 10 * place) for place in range(6)])
    assert profile.emotions == ("anger",) and len(profile.utterances) == 1
    assert [part.emotion for part in profile.talk] == [UNLABELLED] * 6
    again = store.add_talk("Ann", [tone(90)])
    assert len(again.talk) == 1 and len(again.utterances) == 1  # the later one replaces the earlier


def test_removing_it_can_be_undone(store):
    before = store.add_talk("Ann", [tone(100), tone(110)]).talk
    removed = store.swap_talk("Ann")
    assert store.get("Ann").talk == () and len(removed) == 2
    store.swap_talk("Ann", removed)
    assert store.get("Ann").talk == before
    assert store.kept_talk("Ann") == removed


def test_it_travels_with_the_profile_and_goes_with_it(store, tmp_path):
    store.add("Ann", "fear", tone(130))
    store.add_talk("Ann", [tone(100), tone(110)])
    brought = store.import_archive(store.export("Ann"), consent_now(), "Bo")
    assert len(brought.talk) == 2 and brought.emotions == ("fear",)
    assert store.delete("Ann").n_utterances == 3 and store.delete("Bo").n_utterances == 3
    with sqlite3.connect(tmp_path / "profiles.sqlite3") as database:
        assert [
            database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("utterances", "embeddings")
        ] == [0, 0]


def test_three_minutes_are_enough_and_all_of_a_talk_is_kept_or_nothing(store):
    store.add_talk("Ann", [tone(100)])
    with pytest.raises(ProfileFull, match="would have 161 recordings, at most 160 are kept"):
        store.add_talk("Ann", [tone(100, 0.6)] * 161)
    assert len(store.get("Ann").talk) == 1


def test_the_correction_is_the_formulas_and_leaves_the_other_answers_alone(store, correcting):
    store.add_talk("Ann", [tone(100 + 15 * place) for place in range(8)])
    enrolment = enrolment_of(store, "Ann", correcting)
    assert enrolment.utterances == () and enrolment.talk.n == 8
    recording = Recording(tone(140, 2.0))
    said, plain = correcting.recognise(recording, enrolment), correcting.recognise(recording)
    assert said.baseline == plain.baseline and said.personalised is None and plain.calibrated is None
    p = np.array(list(plain.baseline.probabilities.values()))
    expected = correcting._correction.transform(p[None], enrolment.talk)[0]
    np.testing.assert_allclose(list(said.calibrated.answer.probabilities.values()), expected, atol=2e-5)
    assert said.calibrated.n_utterances == 8 and sum(said.calibrated.before.values()) == pytest.approx(1.0, abs=1e-4)
    assert len(said.calibrated.similar) == len(said.calibrated.similarities) == 2
    document = said.to_json("x", "Ann", [])
    assert document["calibrated"]["answer"]["emotion"] == said.calibrated.answer.emotion


def test_a_profile_may_hold_both_kinds(store, correcting):
    store.add("Ann", "anger", tone(120))
    store.add("Ann", "neutral", tone(125))
    store.add_talk("Ann", [tone(100 + 15 * place) for place in range(5)])
    said = correcting.recognise(Recording(tone(140, 2.0)), enrolment_of(store, "Ann", correcting))
    assert said.personalised is not None and said.calibrated is not None


def test_a_model_without_a_correction_says_nothing_of_it(store, tiny_model, tmp_path):
    recogniser = Recogniser(open_workspace(tmp_path / "w"), str(tiny_model))
    store.add_talk("Ann", [tone(100), tone(110)])
    assert recogniser.recognise(Recording(tone(140)), enrolment_of(store, "Ann", recogniser)).calibrated is None


def test_two_voices_are_told_where_parts_lie_on_both_sides():
    high = RNG.normal(size=(200, 5)) + np.repeat([[0.0], [4.0]], 100, axis=0)
    line = VoiceLine.fit(high, np.repeat([False, True], 100))
    low_part, high_part = high[:6], high[-6:]
    assert line.are_two(np.concatenate([low_part, high_part]))
    assert not line.are_two(low_part) and not line.are_two(high_part)
    assert not line.are_two(np.concatenate([low_part, high_part[:1]]))  # one exclamation


def test_a_line_comes_back_as_it_was_saved(tmp_path):
    line = VoiceLine(np.arange(4.0), -1.5)
    line.save(tmp_path / VOICES)
    again = VoiceLine.load(tmp_path / VOICES)
    np.testing.assert_array_equal(again.weight, line.weight)
    assert again.offset == -1.5
    (tmp_path / VOICES).write_bytes(b"nothing")
    with pytest.raises(VoicesUnreadable, match="install the model again"):
        VoiceLine.load(tmp_path / VOICES)


@pytest.mark.parametrize("actors", [("23",), ("23", "24")])
def test_the_model_that_ships_tells_a_man_and_a_woman_from_one_man(actors, corpora, tmp_path):
    recogniser = Recogniser(open_workspace(tmp_path / "w"), "compact")
    files = [
        file
        for actor in actors
        for file in sorted((corpora / "ravdess" / f"Actor_{actor}").glob("*.flac"))[: 12 // len(actors)]
    ]
    hints = recogniser.hints_of_talk(recogniser.embed_each([read_recording(file).waveform for file in files]))
    assert hints == ((HINT,) if len(actors) == 2 else ())


@pytest.mark.parametrize("model", ["compact", "whisper-tiny.en"])
def test_what_ships_is_small_and_names_nobody(model):
    folder = ASSETS / "models" / model
    report = json.loads((folder / "calibration.json").read_text())
    assert (folder / CALIBRATION).stat().st_size + (folder / VOICES).stat().st_size < 100_000
    names = json.loads((folder / "report.json").read_text())["train_speakers"]
    content = (folder / CALIBRATION).read_bytes() + (folder / VOICES).read_bytes()
    assert not any(name.encode() in content for name in names)
    assert len(PriorCorrection.load(folder / CALIBRATION).vectors_) == len(names)
    for lines in report["by_corpus"].values():
        assert set(lines) == {"baseline", "calibrated, mixed talk", "calibrated, neutral talk", "labelled enrolment"}


def said(capsys, *arguments) -> tuple[int, str, str]:
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


def _talk_file(corpora: Path, folder: Path, n: int) -> Path:
    files = sorted((corpora / "ravdess" / "Actor_23").glob("*.flac"))[:n]
    soundfile.write(
        folder / f"talk{n}.wav", np.concatenate([read_recording(file).waveform for file in files]), SAMPLE_RATE
    )
    return folder / f"talk{n}.wav"


def test_the_terminal_keeps_free_speech_and_answers_with_it(capsys, corpora, correcting, tmp_path):
    common = ("--workspace", tmp_path / "w")
    talk, target = _talk_file(corpora, tmp_path, 12), sorted((corpora / "ravdess" / "Actor_23").glob("*.flac"))[40]
    code, out, error = said(capsys, "enrol", "Ann", "--talk", _talk_file(corpora, tmp_path, 1), "--agree", *common)
    assert code == 2 and "seconds of speech were found, at least 15 are needed" in error
    assert (
        said(capsys, "profiles", "list", *common)[1].strip() == "no profile is stored here"
    )  # refused: nothing was made
    code, out, _ = said(capsys, "enrol", "Ann", "--talk", talk, "--agree", *common)
    assert code == 0 and "0 of 7 emotions enrolled and free speech in" in out
    assert "s of free speech" in said(capsys, "profiles", "list", *common)[1]
    arguments = ("predict", target, "--profile", "Ann", "--model", correcting.info.folder, *common)
    code, out, _ = said(capsys, *arguments)
    assert code == 0 and "calibrated" in out and "(by free speech)" in out
    answer = json.loads(said(capsys, *arguments, "--json")[1])[0]
    assert answer["calibrated"]["n_utterances"] >= 5 and answer["personalised"] is None


def test_enrol_wants_one_kind_of_recording(capsys, tmp_path):
    code, _, error = said(capsys, "enrol", "Ann", "--workspace", tmp_path)
    assert code == 2 and "--talk FILE" in error


def test_an_enrolment_without_one_recording_keeps_its_talk(correcting, store):
    store.add("Ann", "anger", tone(120))
    store.add_talk("Ann", [tone(100), tone(130)])
    enrolment = enrolment_of(store, "Ann", correcting)
    assert replace(enrolment).without(enrolment.utterances[0]).talk is enrolment.talk
