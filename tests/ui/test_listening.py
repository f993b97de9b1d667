"""Live sound between page and app, without a browser."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.data.audio import read_recording
from ser_core.inference.live import LiveTake, timeline
from ser_core.ui import listening, live
from ser_core.ui.listening import MAX_LISTENERS, MAX_PIECE_BYTES, BadPiece, Listeners, NotListening, answer
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


@pytest.fixture
def listeners() -> Listeners:
    return Listeners()


@pytest.fixture
def take(services: Services) -> LiveTake:
    return LiveTake(services.models.recogniser())


def pieces(waveform: np.ndarray, n: int = 3_200) -> list[bytes]:
    whole = np.round(waveform * 2**15).astype("<i2")
    return [whole[start : start + n].tobytes() for start in range(0, len(whole), n)]


def nothing(_take) -> dict:
    return {}


def test_a_piece_that_comes_twice_is_heard_once(listeners, take, speech_file):
    token = listeners.open("", take, "", nothing)
    for place, piece in enumerate(pieces(read_recording(speech_file).waveform)[:5]):
        for _ in range(2):
            listeners.hear(token, place, 16_000, piece)
    assert take.duration_s == pytest.approx(5 * 0.2, abs=0.021)


def test_what_is_no_sound_is_refused_and_the_take_goes_on(listeners, take):
    token = listeners.open("", take, "", nothing)
    for rate_hz, content in ((16_000, b"odd"), (5, b"  "), (10**9, b"  "), (16_000, bytes(MAX_PIECE_BYTES + 2))):
        with pytest.raises(BadPiece):
            listeners.hear(token, 0, rate_hz, content)
        assert answer(listeners, token, 0, rate_hz, content)[0] == 400
    assert take.duration_s == 0
    assert answer(listeners, token, 0, 16_000, bytes(3_200)) == (200, {})


def test_a_take_that_is_over_takes_nothing_in(listeners, take):
    token = listeners.open("", take, "", nothing)
    assert listeners.close(token) is take
    status, said = answer(listeners, token, 0, 16_000, bytes(10))
    assert status == 404 and "This take is over" in said["problem"]
    with pytest.raises(NotListening):
        listeners.close(token)


def test_those_who_come_too_late_wait_in_a_row(listeners, take, monkeypatch):
    for place in range(MAX_LISTENERS):
        assert listeners.place_in_row(f"early {place}") == 0
        listeners.open(f"early {place}", take, "", nothing)
    assert [listeners.place_in_row(name) for name in ("first", "second", "first")] == [1, 2, 1]
    listeners.leave("first")
    assert listeners.place_in_row("second") == 1
    monkeypatch.setattr(listening, "_SILENT_FOR_S", -1.0)  # all pages are gone
    assert listeners.place_in_row("second") == 0


def test_erasing_a_profile_ends_the_takes_that_use_its_enrolment(services, utterance):
    services.create("Ann", True)
    services.enrol("Ann", "anger", str(utterance("anger")), True)
    *_, (token, _, _) = live.begin(services, "Ann", None, None, True, "")
    *_, (other, _, _) = live.begin(services, "", None, None, True, "")
    services.erase("Ann")
    assert answer(services.listeners, token, 0, 16_000, bytes(10))[0] == 404
    assert answer(services.listeners, other, 0, 16_000, bytes(10))[0] == 200


def test_the_page_follows_the_voice_and_gets_the_whole_take_at_the_end(services, utterance):
    services.create("Ann", True)
    services.enrol("Ann", "anger", str(utterance("anger")), True)
    spoken = read_recording(utterance("fear")).waveform
    *_, (token, _, _) = live.begin(services, "Ann", None, None, True, "")
    shown = [services.listeners.hear(token, place, 16_000, piece) for place, piece in enumerate(pieces(spoken))]
    said = [each for each in shown if each]
    assert [round(each["end_s"] / 0.4) for each in said] == list(range(1, len(said) + 1))
    assert "Silence." in said[0]["answers"] and "Ann" in said[-1]["answers"] and "<svg" in said[-1]["timeline"]
    end = live.finish(services, token)
    sound, csv, as_json, svg = end[5], *(button.value["path"] for button in end[8:])
    offline = timeline(read_recording(sound).waveform, services.models.recogniser())
    rows = Path(csv).read_text().splitlines()
    assert len(rows) == 1 + len(offline) and len(offline) == len(said)
    heard = [moment.prediction.baseline.emotion for moment in offline if moment.prediction]
    assert [row.split(",")[3] for row in rows[1:] if row.split(",")[2] == "True"] == heard
    assert Path(svg).read_text().startswith("<svg") and '"moments"' in Path(as_json).read_text()


def test_too_little_is_said_to_be_too_little(services):
    *_, (token, _, _) = live.begin(services, "", None, None, True, "")
    assert "Too little" in live.finish(services, token)[3]
    assert "over" in live.finish(services, token)[3]
