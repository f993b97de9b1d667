"""The command line as people and machines use it: answers, stable JSON, and one clear line for bad input."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.__main__ import main
from ser_core.commands import COMMANDS
from ser_core.data.audio import read_recording
from ser_core.data.corpora.synthetic import buzz
from ser_core.inference.consent import LOCAL, QUESTION, Consent, consent_now, nobodys_voice
from ser_core.inference.profiles import ProfileStore
from ser_core.inference.recogniser import Recogniser
from ser_core.labels import APP_EMOTIONS
from ser_core.workspace import ASSETS, open_workspace

RATE = 16_000


@pytest.fixture
def workspace(tmp_path):
    return str(tmp_path / "workspace")


@pytest.fixture
def clips(tmp_path) -> dict[str, Path]:
    files = {}
    for place, emotion in enumerate(APP_EMOTIONS):
        files[emotion] = tmp_path / f"{emotion}.wav"
        voice = np.tile(buzz(place, ("neutral", "anger", "sadness")[place % 3], 0, np.random.default_rng(place)), 2)
        soundfile.write(files[emotion], voice, RATE)
    return files


@pytest.fixture
def attune(workspace, capsys):
    """Run a command; (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        where = [] if "--workspace" in arguments else ["--workspace", workspace]
        try:
            code = main([*map(str, arguments), *where])
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def _clip_arguments(clips: dict[str, Path], flag: str = "--clip") -> list[str]:
    """Buzzing voices, in which the detector finds no speech."""
    insisting = ["--without-speech"] if flag == "--clip" else []
    return insisting + [part for emotion, file in clips.items() for part in (flag, f"{emotion}={file}")]


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert "--workspace" in capsys.readouterr().out


def test_predict_answers_in_the_stable_form(attune, clips, tiny_model):
    code, out, err = attune("predict", clips["anger"], "--model", tiny_model, "--json")
    [answer] = json.loads(out)
    assert code == 0
    assert {"path", "model", "profile", "baseline", "personalised", "attention", "milliseconds"} <= set(answer)
    assert (
        answer["model"] == "tiny"
        and answer["profile"] is None
        and answer["personalised"] is None
        and answer["attention"] is None
    )
    assert list(answer["baseline"]["probabilities"]) == list(APP_EMOTIONS)
    assert sum(answer["baseline"]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert answer["baseline"]["emotion"] == max(APP_EMOTIONS, key=answer["baseline"]["probabilities"].get)
    assert set(answer["milliseconds"]) == {"decode", "listen", "encode", "personalise", "total"}


def test_predict_is_sure_from_the_threshold_on_where_somebody_speaks(attune, speech_file, tiny_model):
    _, out, _ = attune("predict", speech_file, "--model", tiny_model, "--json")
    [answer] = json.loads(out)
    assert answer["speech"] is True
    assert answer["baseline"]["sure"] == (max(answer["baseline"]["probabilities"].values()) >= 0.4)
    _, told, _ = attune("predict", speech_file, "--model", tiny_model)
    assert "no speech" not in told


def test_predict_answers_about_noise_but_is_never_sure_and_says_why(attune, tmp_path):
    noise, heard = tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).normal(size=48_000)
    soundfile.write(noise, heard, 16_000)
    compact = ASSETS / "models" / "compact"
    recogniser = Recogniser(open_workspace(tmp_path / "none"), str(compact))
    before = recogniser.answer(recogniser.embed([read_recording(noise).waveform]))
    assert before.baseline.sure, "the network alone would be sure of noise"
    code, out, _ = attune("predict", noise, "--model", compact, "--json", "--text", "I am so happy")
    [answer] = json.loads(out)
    assert code == 0 and answer["speech"] is False
    assert answer["baseline"]["probabilities"] == before.baseline.probabilities
    said = [answer["baseline"], *(answer["with_words"][kind] for kind in ("baseline", "words"))]
    assert not any(one["sure"] for one in said)
    _, told, _ = attune("predict", noise, "--model", compact)
    assert "not sure (perhaps" in told and "no speech was found" in told


def test_no_number_of_an_answer_has_more_than_six_decimals(attune, speech_file, clips, tiny_model):
    _, out, _ = attune(
        "predict",
        speech_file,
        *_clip_arguments(clips, "--enrol"),
        "--model",
        tiny_model,
        "--json",
        "--text",
        "i am happy",
    )
    numbers = re.findall(r"-?\d+\.\d+(?:e-?\d+)?", out.replace(str(speech_file), ""))
    assert len(numbers) > 50
    assert all(float(one) == round(float(one), 6) for one in numbers)


def test_empty_words_are_refused(attune, speech_file, tiny_model):
    for empty in ("", "  "):
        code, out, err = attune("predict", speech_file, "--model", tiny_model, "--text", empty)
        assert code != 0 and not out
        assert "--text is empty" in err


def test_enrolling_by_profile_and_for_one_call_give_the_same_answers(attune, clips, tiny_model):
    code, out, _ = attune("enrol", "me", "--agree", *_clip_arguments(clips), "--json")
    assert code == 0 and json.loads(out)["emotions"] == list(APP_EMOTIONS)
    _, stored, _ = attune("predict", clips["fear"], "--profile", "me", "--model", tiny_model, "--json")
    _, once, _ = attune("predict", clips["fear"], *_clip_arguments(clips, "--enrol"), "--model", tiny_model, "--json")
    [stored], [once] = json.loads(stored), json.loads(once)
    assert stored["profile"] == "me" and stored["personalised"] is not None
    for emotion in APP_EMOTIONS:
        assert stored["personalised"]["probabilities"][emotion] == pytest.approx(
            once["personalised"]["probabilities"][emotion], abs=1e-3
        )


def test_attention_names_the_enrolled_utterances_and_sums_to_one(attune, clips, tiny_model):
    _, out, _ = attune(
        "predict",
        clips["fear"],
        *_clip_arguments(clips, "--enrol"),
        "--model",
        tiny_model,
        "--personaliser",
        "enrolment_attention",
        "--json",
    )
    attention = json.loads(out)[0]["attention"]
    assert len(attention) == 7 and sum(attention.values()) == pytest.approx(1, abs=1e-3)


def test_with_several_files_the_order_is_kept_and_a_bad_one_is_an_error_object(attune, clips, tiny_model, tmp_path):
    (tmp_path / "bad.wav").write_text("this is no audio")
    code, out, _ = attune(
        "predict", clips["fear"], tmp_path / "bad.wav", clips["anger"], "--model", tiny_model, "--json"
    )
    first, bad, last = json.loads(out)
    assert code == 2
    assert "baseline" in first and "baseline" in last and bad["error"]["code"] == "undecodable"
    assert [answer["path"] for answer in (first, bad, last)] == [
        str(clips["fear"]),
        str(tmp_path / "bad.wav"),
        str(clips["anger"]),
    ]


def test_predict_speaks_to_people_too(attune, clips, tiny_model):
    code, out, _ = attune("predict", clips["fear"], *_clip_arguments(clips, "--enrol"), "--model", tiny_model)
    assert code == 0 and "baseline" in out and "personalised" in out and "ms" in out


def test_predict_says_where_it_is_not_sure_and_names_what_leads(attune, clips, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "doubtful")
    description = tmp_path / "doubtful" / "baseline" / "model.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps({**content, "certainty": {"temperature": 1.0, "sure_from": 1.0}}))
    asked = ("predict", clips["fear"], "--model", tmp_path / "doubtful")
    [answer] = json.loads(attune(*asked, "--json")[1])
    assert answer["baseline"]["sure"] is False
    assert f"baseline not sure (perhaps {answer['baseline']['emotion']} " in attune(*asked)[1]


def test_profiles_are_listed_shown_exported_erased_and_imported(attune, clips, tiny_model, tmp_path):
    attune("enrol", "me", "--agree", *_clip_arguments(clips))
    assert "me: 7 recordings" in attune("profiles", "list")[1]
    assert attune("profiles", "show", "me")[1].count(" s ") == 7
    before = attune("predict", clips["fear"], "--profile", "me", "--model", tiny_model, "--json")[1]
    assert attune("profiles", "export", "me", tmp_path / "me.zip")[0] == 0
    assert "erased me: 7 recordings" in attune("profiles", "delete", "me", "--yes")[1]
    assert attune("predict", clips["fear"], "--profile", "me", "--model", tiny_model)[0] == 2
    assert attune("profiles", "import", "--agree", tmp_path / "me.zip")[0] == 0
    after = attune("predict", clips["fear"], "--profile", "me", "--model", tiny_model, "--json")[1]
    assert json.loads(before)[0]["personalised"] == json.loads(after)[0]["personalised"]


def test_the_workspace_may_stand_before_or_after_the_action(attune, clips, workspace):
    attune("enrol", "me", "--agree", *_clip_arguments(clips))
    assert "me: 7" in attune("profiles", "--workspace", workspace, "list")[1]
    assert "me: 7" in attune("profiles", "list", "--workspace", workspace)[1]


def test_fetching_is_allowed_to_reach_the_hub_and_nothing_else_is():
    program = (
        "import sys; sys.argv = ['attune', *{!r}]; import ser_core.__main__, huggingface_hub.constants as c; "
        "print(c.HF_HUB_OFFLINE)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    for arguments, offline in (
        (["models", "fetch", "x"], "False"),
        (["models"], "True"),
        (["predict", "x.wav"], "True"),
    ):
        command = [sys.executable, "-c", program.format(arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.strip() == offline


def test_enrolling_with_the_microphone_stores_each_take_and_asks_again(attune, monkeypatch):
    from ser_core.commands import enrol

    voice = np.tile(buzz(1, "neutral", 0, np.random.default_rng(0)), 2)
    takes = iter([np.zeros(RATE, dtype=np.float32), voice, voice])
    answers = iter(["", "", "s", "s", "", "s", "s", "s"])  # neutral is silent at first, then good; anger; no more
    monkeypatch.setattr(enrol, "record_with_meter", lambda seconds, device: next(takes))
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    code, out, err = attune("enrol", "me", "--agree", "--without-speech", "--record", "--json")
    assert code == 0 and json.loads(out)["emotions"] == ["neutral", "anger"]
    assert "silent" in err and "You will not believe" in err


def test_where_the_microphone_hears_nobody_nothing_is_stored(attune, speech_file, monkeypatch):
    from ser_core.commands import enrol

    noise = (0.1 * np.random.default_rng(0).normal(size=2 * RATE)).astype(np.float32)
    takes = iter([np.zeros(2 * RATE, dtype=np.float32), noise, read_recording(speech_file).waveform])
    answers = iter(["", "", "", *"ssssss"])
    monkeypatch.setattr(enrol, "record_with_meter", lambda seconds, device: next(takes))
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    code, out, err = attune("enrol", "me", "--agree", "--record")
    assert code == 0 and "1 of 7 emotions enrolled (neutral)" in out and "enrol the others too" in out
    assert err.count("the recording is silent") == 1
    assert err.count("no speech was found") == 1 and err.count("--without-speech") == 1


def test_the_terminal_hints_at_an_odd_recording_and_says_what_is_replaced(attune, clips):
    assert attune("enrol", "Ann", "--agree", *_clip_arguments(clips))[0] == 0
    code, out, err = attune("enrol", "Ann", "--without-speech", "--clip", f"anger={clips['fear']}")
    assert code == 0 and "who has 7 recordings; what is given now takes the place" in err and "7 of 7" in out
    assert (
        "fear: This is the same recording as the one for anger." in err or "anger: This is the same recording as" in err
    )


def test_to_skip_every_emotion_leaves_a_profile_without_recordings_as_it_is(attune, workspace, monkeypatch):
    ProfileStore(open_workspace(workspace).profiles).create("me", consent_now())
    monkeypatch.setattr("builtins.input", lambda: "s")
    code, out, _ = attune("enrol", "me", "--agree", "--without-speech", "--record")
    assert code == 0 and "0 of 7" in out


def test_an_enrolment_that_is_broken_off_keeps_what_was_said_and_an_empty_one_nothing(attune, monkeypatch):
    from ser_core.commands import enrol

    voice = np.tile(buzz(1, "neutral", 0, np.random.default_rng(0)), 2)
    answers = iter([""])

    def answer() -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(enrol, "record_with_meter", lambda seconds, device: voice)
    monkeypatch.setattr("builtins.input", answer)
    assert attune("enrol", "me", "--agree", "--without-speech", "--record")[0] == 2
    assert attune("enrol", "you", "--agree", "--without-speech", "--record")[0] == 2
    stored = json.loads(attune("profiles", "list", "--json")[1])
    assert [(profile["name"], len(profile["utterances"])) for profile in stored] == [("me", 1)]


def test_a_list_of_microphones_says_something_where_there_is_none(attune):
    code, out, err = attune("record", "--devices")
    assert (code == 0 and out.strip()) or "libportaudio2" in err


def _silence(path: Path, seconds: float = 2.0) -> Path:
    soundfile.write(path, np.zeros(int(seconds * RATE)), RATE)
    return path


def _bad_input(folder: Path) -> dict[str, tuple[list[object], str]]:
    """What a person may get wrong: arguments, and a word the one line must hold."""
    good = folder / "good.wav"
    soundfile.write(good, np.tile(buzz(1, "neutral", 0, np.random.default_rng(0)), 2), RATE)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("hello")
    nan = np.full(RATE, np.nan, dtype=np.float32)
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "short.wav", np.ones(RATE // 10) * 0.1, RATE)
    soundfile.write(folder / "clipped.wav", np.clip(5 * np.sin(np.arange(RATE * 2) * 0.1), -1, 1), RATE)
    (folder / "half").mkdir()
    (folder / "hollow.csv").write_text("path,speaker\nempty.wav,a\ntext.wav,b\n")
    return {
        "empty file": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'empty.wav'}"], "empty"),
        "text renamed .wav": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'text.wav'}"], "not audio"),
        "not numbers": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'nan.wav'}"], "not numbers"),
        "too short": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'short.wav'}"], "0.10 s"),
        "clipped": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'clipped.wav'}"], "clipped"),
        "silent": (["enrol", "me", "--agree", "--clip", f"anger={_silence(folder / 'silent.wav')}"], "silent"),
        "one bad of two": (
            ["enrol", "me", "--agree", "--clip", f"fear={good}", "--clip", f"anger={folder / 'text.wav'}"],
            "not audio",
        ),
        "no speech": (["enrol", "me", "--agree", "--clip", f"anger={good}"], "no speech was found"),
        "no such emotion": (["enrol", "me", "--agree", "--clip", f"envy={good}"], "'envy'"),
        "a corpus' emotion": (["enrol", "me", "--agree", "--clip", f"boredom={good}"], "boredom"),
        "no equals sign": (["enrol", "me", "--agree", "--clip", str(good)], "EMOTION=FILE"),
        "no clip at all": (["enrol", "me"], "--clip"),
        "no such file": (["enrol", "me", "--agree", "--clip", f"anger={folder / 'nowhere.wav'}"], "no file"),
        "a bad name": (["enrol", "../me", "--agree", "--without-speech", "--clip", f"anger={good}"], "name"),
        "no such profile": (["predict", good, "--profile", "nobody"], "nobody"),
        "no such model": (["predict", good, "--model", "enormous"], "enormous"),
        "no such corpus": (["corpora", "check", f"ravdess={folder / 'nowhere'}"], "nowhere"),
        "an empty corpus": (["corpora", "check", f"ravdess={folder / 'half'}"], "Actor_NN"),
        "no such recipe": (["train", "nothing", "--corpus", f"synthetic={folder / 'toy'}"], "nothing"),
        "no such encoder": (
            ["train", "baseline", "--corpus", f"synthetic={folder / 'toy'}", "--encoder", "huge"],
            "huge",
        ),
        "no such command": (["dance"], "dance"),
        "no such archive": (["profiles", "import", folder / "none.zip"], "none.zip"),
        "bad audio to predict": (["predict", folder / "text.wav"], "not audio"),
        "no such device": (["predict", good, "--device", "abacus"], "abacus"),
        "a workspace that is a file": (["predict", good, "--workspace", good], "good.wav"),
        "an export to nowhere": (["profiles", "export", "me", folder / "nowhere" / "me.zip"], "me"),
        "an output that is a file": (
            ["crossvalidate", "smoke", "--corpus", f"synthetic={folder / 'toy'}", "--output", str(good)],
            "good.wav",
        ),
        "seeds below zero": (
            ["crossvalidate", "smoke", "--corpus", f"synthetic={folder / 'toy'}", "--output", "x", "--seeds", "-1"],
            "-1",
        ),
        "no fold": (
            [
                "crossvalidate",
                "smoke",
                "--corpus",
                f"synthetic={folder / 'toy'}",
                "--output",
                folder / "x",
                "--folds",
                "0",
            ],
            "0 folds",
        ),
        "a corpus of empty files": (["corpora", "check", f"hollow={folder / 'hollow.csv'}"], "no audio"),
        "a strange recording length": (["record", folder / "r.wav", "--seconds", "999"], "999"),
    }


CASES = (
    "empty file", "text renamed .wav", "not numbers", "too short", "clipped", "silent", "no speech", "one bad of two",
    "no such emotion", "a corpus' emotion", "no equals sign", "no clip at all", "no such file", "a bad name", "no such profile",
    "no such model", "no such corpus", "an empty corpus", "no such recipe", "no such encoder", "no such command", "no such archive",
    "bad audio to predict", "no such device", "a workspace that is a file", "an export to nowhere", "an output that is a file",
    "seeds below zero", "no fold", "a corpus of empty files", "a strange recording length",
)  # fmt: skip


def test_the_list_of_cases_is_whole(tmp_path):
    assert set(_bad_input(tmp_path)) == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_line_exit_code_2_and_nothing_stored(case, attune, tmp_path, tiny_model):
    arguments, word = _bad_input(tmp_path)[case]
    if arguments[0] == "crossvalidate":
        arguments = [*arguments, "--encoder", f"compact={tiny_model / 'encoder'}"]
    if arguments[0] == "predict" and "--model" not in arguments:
        arguments = [*arguments, "--model", tiny_model]
    code, out, err = attune(*arguments)
    lines = [line for line in err.splitlines() if not line.startswith("  ")]
    assert code == 2 and out == ""
    assert len(lines) == 1 and word in lines[0] and "Traceback" not in err
    for argument in arguments:  # what was typed may be repeated, no other path
        err = err.replace(str(argument), "")
    assert str(tmp_path) not in err
    assert json.loads(attune("profiles", "list", "--json")[1]) == []


def test_odd_but_good_recordings_are_taken_with_a_warning(attune, tiny_model, tmp_path):
    voice = np.tile(buzz(1, "neutral", 0, np.random.default_rng(0)), 2)
    soundfile.write(tmp_path / "telephone..wav", np.stack([voice[::2], voice[::2]], axis=1), 8_000)
    code, out, _ = attune("predict", tmp_path / "telephone..wav", "--model", tiny_model, "--json")
    assert code == 0
    assert [word for word in ("strange name", "8000 Hz", "2 channels") if word in " ".join(json.loads(out)[0]["warnings"])] == [
        "strange name", "8000 Hz", "2 channels",
    ]  # fmt: skip


def test_a_corpus_is_described_and_what_is_wrong_is_said(attune, tmp_path):
    code, out, _ = attune("corpora", "check", f"synthetic={tmp_path / 'toy'}", "--json")
    found = json.loads(out)
    assert code == 0 and found["utterances"] == 128 and found["genders"] == {"female": 4, "male": 4}
    assert found["speakers"]["synthetic_0"] == {"anger": 4, "happiness": 4, "neutral": 4, "sadness": 4}
    assert "synthetic: 128 utterances of 8 speakers" in attune("corpora", "check", f"synthetic={tmp_path / 'toy'}")[1]


def test_crossvalidate_and_train_run_from_the_command_line(attune, tiny_model, tmp_path):
    where = [
        "--corpus",
        f"synthetic={tmp_path / 'toy'}",
        "--encoder",
        f"compact={tiny_model / 'encoder'}",
        "--device",
        "cpu",
    ]
    code, out, _ = attune("crossvalidate", "smoke", *where, "--folds", 2, "--seeds", 1, "--output", tmp_path / "cv")
    assert code == 0 and out.startswith("| method | UAR |") and (tmp_path / "cv" / "predictions.csv").is_file()
    code, out, _ = attune("train", "smoke", *where)
    assert code == 0 and (Path(out.strip()) / "checkpoint" / "speaker_reference" / "weights.safetensors").is_file()


def test_a_model_is_built_measured_and_answers(attune, clips, tiny_model, tmp_path):
    (tmp_path / "split.toml").write_text(
        'dev = ["synthetic_4", "synthetic_5"]\ntest = ["synthetic_6", "synthetic_7"]\n'
    )
    where = [
        "--corpus",
        f"synthetic={tmp_path / 'toy'}",
        "--encoder",
        f"compact={tiny_model / 'encoder'}",
        "--device",
        "cpu",
    ]
    folder = tmp_path / "built"
    halves = tmp_path / "halves.json"
    row = {"encoder": "compact", "method": "baseline", "uar": 0.5, "uar_interval": [0.4, 0.6], "worst_speaker": 0.3}
    row |= {"excess_gini": None, "new_sentence": 0.45, "n_seeds": 3}
    tested = [[["ravdess_01"], []], [[], ["ravdess_02"]]]
    halves.write_text(json.dumps({"rows": [row], "halves": {"tested": tested}, "commit": "0123456789abcdef"}))
    code, out, _ = attune(
        "build", "built", *where, "--split", tmp_path / "split.toml", "--halves", halves, "--output", folder
    )
    assert code == 0 and out.startswith("# built") and "Tested on synthetic_6, synthetic_7" in out
    assert (
        "the first without 01, the second without 02" in out
        and "| compact | baseline | 0.500 (0.400 to 0.600) |" in out
    )
    report = json.loads((folder / "report.json").read_text())
    assert report["train_speakers"] == [f"synthetic_{speaker}" for speaker in range(4)]
    assert set(report["by_corpus"]["synthetic"]["baseline"]["speaker_uar"]) == {"synthetic_6", "synthetic_7"}
    for name, learned in report["certainty"].items():
        kept = json.loads((folder / name / "model.json").read_text())["certainty"]
        assert kept == {key: learned[key] for key in ("temperature", "sure_from")}
        assert learned["test"]["synthetic"]["n"] == report["by_corpus"]["synthetic"][name]["n_targets"]
        assert learned["dev"]["synthetic"]["not_sure"] <= 0.5
    assert "## How sure it is" in out and f"baseline {report['certainty']['baseline']['temperature']:.2f}, " in out
    assert str(tmp_path) not in (folder / "report.json").read_text().replace(str(tmp_path / "split.toml"), "")
    code, out, _ = attune("predict", clips["fear"], *_clip_arguments(clips, "--enrol"), "--model", folder, "--json")
    assert code == 0 and json.loads(out)[0]["personaliser"] == "speaker_reference"
    card = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    assert attune("build", "toy", "--card", "--output", folder)[0] == 0 and (folder / "README.md").read_text() == card
    code, _, err = attune("build", "toy", "--output", folder)
    assert code == 2 and "build needs --corpus" in err and (folder / "README.md").read_text() == card


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("{}", (), "is not what was measured of two halves"),
        ("no JSON", (), "cannot be read (JSONDecodeError)"),
        ("{}", ("--calibration",), "--halves belongs to the build of the whole model"),
        ("{}", ("--encoder", "whisper"), "'whisper' is not ours"),
    ],
)
def test_halves_that_say_nothing_are_refused_before_anything_is_built(attune, tmp_path, content, more, said):
    (tmp_path / "halves.json").write_text(content)
    where = ["--corpus", f"synthetic={tmp_path / 'toy'}", "--output", tmp_path / "built"]
    code, _, err = attune("build", "built", *where, "--halves", tmp_path / "halves.json", *more)
    assert code == 2 and said in err and not (tmp_path / "built").exists()


def test_models_says_what_can_be_used_and_why_not_the_rest(attune, monkeypatch):
    monkeypatch.delenv("SER_WEIGHTS")
    code, out, _ = attune("models", "--json")
    by_name = {model["name"]: model for model in json.loads(out)}
    assert code == 0 and by_name["compact"]["available"]
    assert (
        not by_name["whisper-tiny.en"]["available"]
        and "models fetch whisper-tiny.en" in by_name["whisper-tiny.en"]["reason"]
    )
    assert "compact            default" in attune("models")[1]


def test_fetching_something_that_is_not_there_is_refused(attune):
    code, _, err = attune("models", "fetch", "enormous")
    assert code == 2 and "enormous" in err


def test_started_as_a_module_machines_get_json_alone_on_standard_output(clips, tiny_model, workspace):
    command = [
        sys.executable,
        "-m",
        "ser_core",
        "predict",
        str(clips["fear"]),
        "--model",
        str(tiny_model),
        "--json",
        "--workspace",
        workspace,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0 and isinstance(json.loads(done.stdout), list), done.stderr


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_the_terminal_asks_before_it_keeps_a_voice_and_before_it_erases_one(attune, clips, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("n\ny\nn\ny\n"))
    code, _, err = attune("enrol", "Ann", *_clip_arguments(clips))
    assert code == 2 and "prohibited in the EU" in err and "nothing was stored" in err
    assert json.loads(attune("profiles", "list", "--json")[1]) == []
    assert attune("enrol", "Ann", *_clip_arguments(clips))[0] == 0
    consent = json.loads(attune("profiles", "show", "Ann", "--json")[1])["consent"]
    assert consent["version"] and consent["agreed"].startswith("20")
    code, _, err = attune("enrol", "ann", *_clip_arguments(clips))  # agreed before: not asked again
    assert code == 0 and "adding to Ann, who has 7 recordings; what is given now" in err
    code, _, err = attune("profiles", "delete", "Ann")
    assert code == 2 and "Erase Ann and 7 recordings for ever?" in err
    assert attune("profiles", "rename", "Ann", "Anna")[0] == 0
    assert attune("profiles", "delete", "anna")[0] == 0
    assert json.loads(attune("profiles", "list", "--json")[1]) == []


def test_whoever_cannot_be_asked_is_refused_in_one_line_and_nothing_changes(attune, clips, tmp_path, monkeypatch):
    attune("enrol", "Ann", "--agree", "--without-speech", "--clip", f"anger={clips['anger']}")
    attune("profiles", "export", "Ann", tmp_path / "ann.zip")
    before = attune("profiles", "list", "--json")[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 5))  # a pipe: nobody reads the question
    for arguments, flag in (
        (["enrol", "Bo", "--without-speech", "--clip", f"anger={clips['anger']}"], "--agree"),
        (["profiles", "import", tmp_path / "ann.zip", "--name", "Bo"], "--agree"),
        (["profiles", "delete", "Ann"], "--yes"),
    ):
        code, out, err = attune(*arguments)
        assert code == 2 and out == "" and flag in err
        assert len([line for line in err.splitlines() if not line.startswith("  ")]) == 1
    assert attune("profiles", "list", "--json")[1] == before
    assert attune("profiles", "import", tmp_path / "ann.zip", "--name", "Bo", "--agree")[0] == 0


def test_who_agreed_to_another_wording_is_asked_again_and_the_answer_is_in_the_json(
    attune, clips, workspace, monkeypatch
):
    store = ProfileStore(Path(workspace) / "profiles.sqlite3")
    store.create("Ann", Consent("1999", "1999-12-31T00:00:00+00:00"))
    clip = ["--without-speech", "--clip", f"anger={clips['anger']}"]
    assert "agreed 1999-12-31T00:00:00+00:00 to wording 1999" in attune("profiles", "show", "Ann")[1]
    monkeypatch.setattr(sys, "stdin", Terminal("no\nyes\n"))
    code, _, err = attune("enrol", "Ann", *clip)
    assert code == 2 and QUESTION in err and store.get("Ann").utterances == ()
    code, out, _ = attune("enrol", "Ann", *clip, "--json")
    assert code == 0 and json.loads(out)["consent"] == vars(store.get("Ann").consent)
    assert store.get("Ann").consent.version == LOCAL.version and store.get("Ann").emotions == ("anger",)


def test_profiles_that_nobody_uses_are_erased_when_that_is_said_twice(attune, workspace, monkeypatch):
    monkeypatch.setattr("ser_core.inference.profiles._today", lambda: "2020-01-01")
    ProfileStore(Path(workspace) / "profiles.sqlite3").create("Ann", consent_now())
    code, _, err = attune("profiles", "expire", "--days", "30")
    assert code == 2 and "--yes" in err
    code, _, err = attune("profiles", "expire", "--days", "0")
    assert code == 2 and "give 1 or more" in err and "--yes" not in err
    code, out, _ = attune("profiles", "expire", "--days", "30", "--yes", "--json")
    assert code == 0 and json.loads(out) == [{"name": "Ann", "n_utterances": 0, "n_bytes": 0}]
    assert "nothing to erase" in attune("profiles", "expire", "--days", "30", "--yes")[1]


def test_a_synthetic_voice_is_called_one(attune, workspace):
    ProfileStore(Path(workspace) / "profiles.sqlite3").create("Example", nobodys_voice())
    assert "nobody's voice" in attune("profiles", "show", "Example")[1]


def test_in_a_real_terminal_a_profile_is_erased_only_after_yes(attune, clips, workspace):
    attune("enrol", "Ann", "--agree", "--without-speech", "--clip", f"anger={clips['anger']}")
    command = [sys.executable, "-m", "ser_core", "profiles", "delete", "ann", "--workspace", workspace]
    for answer, code, words in (("\n", 2, "nothing was erased"), ("y\n", 0, "Erase Ann and 1 recording for ever?")):
        person, terminal = pty.openpty()
        os.write(person, answer.encode())
        done = subprocess.run(command, stdin=terminal, capture_output=True, text=True, check=False)
        os.close(person)
        os.close(terminal)
        assert done.returncode == code and words in done.stderr
    assert json.loads(attune("profiles", "list", "--json")[1]) == []


def test_runs_are_listed_shown_and_put_to_use(attune, clips, tiny_model, tmp_path, workspace):
    where = ["--corpus", f"synthetic={tmp_path / 'toy'}", "--encoder", f"compact={tiny_model / 'encoder'}"]
    few = ["--set", "training.epochs=2", "--set", "data.emotions=app"]
    assert "no runs yet" in attune("runs", "list")[1]
    code, out, _ = attune("train", "smoke", *where, *few, "--device", "cpu")
    folder = Path(out.strip())
    assert code == 0 and folder.name in attune("runs", "list")[1]
    (listed,) = json.loads(attune("runs", "list", "--json")[1])
    assert listed["state"] == "finished" and listed["order"]["settings"] == ["training.epochs=2", "data.emotions=app"]
    assert "UAR" in attune("runs", "show", folder.name)[1]
    assert attune("runs", "stop", folder.name)[0] == 2
    assert attune("models", "use", folder.name, "--as", "mine")[0] == 0
    assert "mine" in attune("models")[1]
    answers = attune("predict", clips["anger"], "--model", "mine", "--json")[1]
    assert json.loads(answers)[0]["model"] == "mine"
    code, _, err = attune("models", "use", folder.name, "--as", "mine")
    assert code == 2 and "already" in err
    assert attune("models", "forget", "mine")[0] == 0 and "mine" not in attune("models")[1]
    assert attune("train", "smoke", *where, *few, "--device", "cpu", "--output", folder, "--resume")[0] == 0
    code, _, err = attune("train", "smoke", *where, *few, "--device", "cpu", "--output", folder)
    assert code == 2 and "--resume" in err
