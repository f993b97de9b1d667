"""transcribe as people and machines use it: text, stable JSON, one clear line for what is bad."""

import json

import numpy as np
import pytest
import soundfile
from huggingface_hub import constants

from ser_core.__main__ import main
from ser_core.commands import transcribe
from ser_core.inference.transcription import Segment, TranscriberUnavailable, Transcript


class Parrot:
    """Stands where a transcriber is; says how long each recording was."""

    def __init__(self, workspace, name=None, device="auto"):
        self.name = name or "parrot"

    def transcribe(self, waveform: np.ndarray) -> Transcript:
        duration = len(waveform) / 16_000
        if not waveform[0] > 0:
            return Transcript("", None, (), self.name, 0.2)
        segments = (
            Segment(0.5, 1.25, f"{duration:.0f} seconds", 0.1, -0.3),
            Segment(2.0, duration, "and out", 0.1, -0.3),
        )
        return Transcript(" ".join(segment.text for segment in segments), "en", segments, self.name, 0.2)


@pytest.fixture
def attune(tmp_path, capsys, monkeypatch):
    """Run the command; (exit code, standard output, standard error)."""
    monkeypatch.delenv("SER_WEIGHTS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no cache"))

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["transcribe", *map(str, arguments), "--workspace", str(tmp_path / "workspace")])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def parrot(monkeypatch):
    monkeypatch.setattr(transcribe, "Transcriber", Parrot)


def _file(folder, name: str, seconds: float, value: float = 0.1):
    soundfile.write(folder / name, np.full(int(16_000 * seconds), value, dtype=np.float32), 16_000)
    return folder / name


def test_text_language_and_segments_are_printed(attune, parrot, tmp_path):
    code, out, err = attune(_file(tmp_path, "a.wav", 3), _file(tmp_path, "b.wav", 3, -0.1), "--whisper", "whisper-base")
    first, segment, other, nothing = out.splitlines()
    assert code == 0 and not err
    assert first == f"{tmp_path / 'a.wav'}: 3 seconds and out (en); whisper-base, 0.2 s"
    assert segment == "  0.50 to 1.25 s: 3 seconds" and other == "  2.00 to 3.00 s: and out"
    assert nothing == f"{tmp_path / 'b.wav'}: no words were found; whisper-base, 0.2 s"


def test_machines_get_a_list_and_a_bad_file_becomes_an_error_in_it(attune, parrot, tmp_path):
    (tmp_path / "bad.wav").write_text("this is no audio")
    code, out, err = attune(_file(tmp_path, "a.wav", 3), tmp_path / "bad.wav", _file(tmp_path, "b.wav", 120), "--json")
    first, bad, last = json.loads(out)
    assert code == 2 and "bad.wav" in err
    assert set(first) == {"path", "text", "language", "segments", "model", "seconds"}
    assert first["segments"][0] == {
        "start_s": 0.5, "end_s": 1.25, "text": "3 seconds", "no_speech_probability": 0.1, "mean_log_probability": -0.3,
    }  # fmt: skip
    assert bad["error"]["code"] == "undecodable" and last["text"] == "120 seconds and out"


def test_without_a_whisper_one_line_says_what_to_do(attune, tmp_path):
    code, out, err = attune(_file(tmp_path, "a.wav", 3))
    assert code == 2 and not out and err.count("\n") == 1
    assert "no Whisper that writes text is on this machine" in err and "models fetch whisper-base" in err


def test_what_the_transcriber_refuses_is_a_line_for_people(attune, tmp_path):
    assert issubclass(TranscriberUnavailable, ValueError)
    (tmp_path / "base.pt").write_bytes(b"x")
    code, _, err = attune(_file(tmp_path, "a.wav", 3), "--whisper", tmp_path / "base.pt")
    assert code == 2 and "'base.pt' is a file" in err and str(tmp_path) not in err
