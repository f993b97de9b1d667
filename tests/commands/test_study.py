"""study as a person uses it: numbers and figures on disk, noise as loud as is said, and one clear line for bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ser_core.__main__ import main
from ser_core.commands.study import Noisy, with_noise
from ser_core.data.audio import level_and_trim, read_recording
from ser_core.data.corpora.synthetic import buzz
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.studies import STUDIES
from ser_core.studies.stored import stored_studies

SNRS_DB = [20.0, 10.0, 5.0, 0.0]
RECIPE = """
method = "{}"
[encoder]
name = "compact"
source = "{}"
[training]
epochs = 2
batch_size = 16
[settings]
embedding = 16
hidden = 16
"""


@pytest.fixture
def attune(tmp_path, capsys):
    """Run a study; (exit code, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        where = ["--output", tmp_path / "out", "--workspace", tmp_path / "workspace", "--device", "cpu"]
        try:
            code = main(["study", *map(str, [*arguments, *where])])
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> list[Path]:
    """A baseline and a personaliser on a small encoder without training."""
    folder = tmp_path_factory.mktemp("recipes")
    torch.manual_seed(0)
    Compact(CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=64)).save(folder / "encoder")
    paths = [folder / f"{name}.toml" for name in ("baseline", "speaker_reference")]
    for path in paths:
        path.write_text(RECIPE.format(path.stem, folder / "encoder"))
    return paths


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> str:
    return f"synthetic={tmp_path_factory.mktemp('synthetic')}"


@pytest.fixture
def voices(tmp_path):
    """A manifest of some voices that say each of three emotions so many times."""

    def make(n_speakers: int, n_each: int) -> str:
        folder = tmp_path / "voices"
        folder.mkdir()
        rows = [
            (f"v{who}_{emotion}_{take}.wav", f"v{who}", emotion)
            for who in range(n_speakers) for emotion in ("neutral", "anger", "sadness") for take in range(n_each)
        ]  # fmt: skip
        for place, (name, speaker, emotion) in enumerate(rows):
            soundfile.write(folder / name, buzz(int(speaker[1:]), emotion, 0, np.random.default_rng(place)), 16_000)
        pd.DataFrame(rows, columns=["path", "speaker", "emotion"]).to_csv(folder / "metadata.csv", index=False)
        return f"voices={folder}"

    return make


def test_recipes_are_cross_validated_and_their_numbers_written(attune, recipes, synthetic, tmp_path):
    code, out, _ = attune("enrolment-size", *recipes, "--corpus", synthetic, "--folds", 2, "--seeds", 1, "--json")
    folder = tmp_path / "out" / "enrolment-size" / "synthetic"
    written = json.loads((folder / "study.json").read_text())
    assert code == 0 and json.loads(out) == {"enrolment-size": written}
    conditions = ["nobody enrolled", "1 of each", "2 of each", "3 of each"]  # four utterances of each in all
    assert [(row["method"], row["condition"]) for row in written["results"]] == [
        (method, condition) for method in ("baseline", "speaker_reference") for condition in conditions
    ]
    assert {(row["n_utterances"], row["n_speakers"], row["n_seeds"]) for row in written["results"]} == {(32, 8, 1)}
    assert {"corpus", "design", "folds", "leak_check", "encoder", "commit", "enrolment_sha256"} <= set(written["about"])
    table = pd.read_csv(folder / "results.csv")
    np.testing.assert_allclose(table["uar"], [row["uar"] for row in written["results"]], atol=1e-4)
    assert str(tmp_path) not in out


def test_all_studies_are_answered_by_the_same_networks_and_can_be_read_back(attune, recipes, synthetic, tmp_path):
    figures = tmp_path / "figures"
    code, out, _ = attune(
        "all", recipes[1], "--corpus", synthetic, "--folds", 2, "--seeds", 1, "--figures", figures
    )  # fmt: skip
    stored = {study.name: study.results for study in stored_studies(tmp_path / "out")}
    assert code == 0 and set(stored) == {
        name for name, study in STUDIES.items() if study.of_any_recipe and not study.settings
    }
    right, first = (
        stored[name][stored[name]["condition"].str.startswith(condition)]["uar"].item()
        for name, condition in (("enrolment-errors", "right"), ("enrolment-choice", "the first of each"))
    )
    assert right == first
    pages = sorted(path.name for path in figures.iterdir())
    assert pages == [f"{name}_synthetic.html" for name in sorted(stored)]
    assert all("<script src=" not in (figures / page).read_text(encoding="utf-8") for page in pages)
    assert "speaker_reference, right enrolment " in out and "Speakers worse off" in out


def test_shifts_and_their_correlations_are_written_for_every_speaker(attune, recipes, synthetic, tmp_path):
    code, out, _ = attune("label-shift", *recipes, "--corpus", synthetic, "--folds", 2, "--seeds", 1)
    [stored] = stored_studies(tmp_path / "out")
    assert code == 0 and out.count("not estimable") == 4  # everybody says the same
    assert stored.about["leak_check"]["by_design"] == []
    table = pd.read_csv(tmp_path / "out" / "label-shift" / "synthetic" / "speakers.csv")
    assert table.groupby("method").size().to_dict() == {"baseline": 8, "speaker_reference": 8}
    r = stored.results.set_index(["method", "x", "y"])["r"]
    for method, own in table.groupby("method"):
        assert r[method, "feature_shift", "uar"] == pytest.approx(own["feature_shift"].corr(own["uar"]), abs=1e-3)
        assert np.isnan(r[method, "label_shift", "uar"])


def test_the_gap_is_measured_over_numbers_of_speakers_and_the_leak_is_said(attune, recipes, synthetic, tmp_path):
    figures = tmp_path / "figures"
    code, out, _ = attune(
        "speaker-count", recipes[0], "--corpus", synthetic, "--folds", 4, "--seeds", 1, "--json", "--figures", figures
    )  # fmt: skip
    study = json.loads(out)["speaker-count"]
    assert code == 0 and [row["n_train"] for row in study["results"]] == [2, 4, 5]
    assert {(row["n_utterances"], row["n_speakers"], row["n_seeds"]) for row in study["results"]} == {(64, 8, 1)}
    [sentence] = study["about"]["leak_check"]["by_design"]
    assert "test speakers' own" in sentence and "by design" in sentence
    assert study["about"]["leak_check"]["speakers_on_both_sides"] == []
    assert [path.name for path in figures.iterdir()] == ["speaker-count_synthetic.html"]


@pytest.mark.parametrize("study", ["label-shift", "speaker-count"])
def test_a_model_is_not_asked_about_speakers_who_trained_it(study, attune, tiny_model, synthetic):
    answer = attune(study, "--model", tiny_model, "--corpus", synthetic)
    _in_one_line(answer, study, "needs recipes", "enrolment-size")


def test_a_model_is_asked_all_that_it_can_answer(attune, tiny_model, synthetic):
    code, out, _ = attune("all", "--model", tiny_model, "--corpus", synthetic, "--json")
    assert code == 0 and set(json.loads(out)) == {name for name, study in STUDIES.items() if study.of_models}


@pytest.mark.parametrize(
    ("study", "n_each", "words"),
    [("label-shift", 3, "too few for a correlation"), ("speaker-count", 2, "three utterances of any emotion")],
)
def test_too_few_speakers_or_utterances_are_refused(study, n_each, words, attune, recipes, voices):
    _in_one_line(attune(study, *recipes, "--corpus", voices(2, n_each), "--folds", 2), "voices", words)


def test_too_few_speakers_to_compare_numbers_of_them_are_refused(attune, recipes, voices):
    answer = attune("speaker-count", *recipes, "--corpus", voices(4, 3), "--folds", 2)
    _in_one_line(answer, "a fold has 1 speakers to train with", "take more folds")


def test_a_recipe_that_tells_no_emotions_has_no_gap(attune, recipes, synthetic, tmp_path):
    recipe = tmp_path / "ratings.toml"
    content = recipes[0].read_text().replace('"baseline"', '"papt"').split("[settings]")[0]
    heads = '[settings]\npretrain_epochs = 0\nheads = ["arousal"]\n[data]\nattributes = "circumplex"\n'
    recipe.write_text(content + heads)
    answer = attune("speaker-count", recipe, "--corpus", synthetic, "--folds", 2)
    _in_one_line(answer, "'ratings' predicts attributes only", "settings.heads")


def test_a_model_is_measured_without_training(attune, tiny_model, synthetic, tmp_path):
    code, out, _ = attune("enrolment-errors", "--model", tiny_model, "--corpus", synthetic, "--json")
    study = json.loads(out)["enrolment-errors"]
    assert code == 0 and study["about"]["model"] == "tiny"
    assert {row["method"] for row in study["results"]} == {"baseline", "speaker_reference", "enrolment_attention"}
    assert {row["n_utterances"] for row in study["results"]} == {96}
    assert not (tmp_path / "workspace" / "runs").exists() or not list((tmp_path / "workspace" / "runs").iterdir())


def test_a_model_is_not_measured_on_those_it_has_heard(attune, tiny_model, synthetic, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    heard = {"train_speakers": ["synthetic_0"], "dev_speakers": ["synthetic_1"]}
    (tmp_path / "model" / "report.json").write_text(json.dumps(heard))
    code, out, _ = attune("enrolment-size", "--model", tmp_path / "model", "--corpus", synthetic, "--json")
    study = json.loads(out)["enrolment-size"]
    assert code == 0 and {row["n_speakers"] for row in study["results"]} == {6}
    assert study["about"]["leak_check"]["left_out_because_heard_in_training"] == ["synthetic_0", "synthetic_1"]


def _in_one_line(answer: tuple[int, str, str], *words: str) -> None:
    code, out, err = answer
    complaint = [line for line in err.splitlines() if line.startswith("attune study")]
    assert code == 2 and out == "" and len(complaint) == 1
    assert all(word in complaint[0] for word in words), complaint[0]


def test_a_model_that_has_heard_everybody_is_refused(attune, tiny_model, synthetic, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    heard = {"train_speakers": [f"synthetic_{one}" for one in range(8)], "dev_speakers": []}
    (tmp_path / "model" / "report.json").write_text(json.dumps(heard))
    answer = attune("enrolment-errors", "--model", tmp_path / "model", "--corpus", synthetic)
    _in_one_line(answer, "heard all 8 speakers", "use other speakers")


def test_a_study_that_does_not_exist_is_refused_with_those_that_do(attune, recipes, synthetic):
    _in_one_line(attune("enrolment-colour", *recipes, "--corpus", synthetic), "enrolment-colour", "enrolment-size")


def test_either_recipes_or_a_model_are_needed(attune, recipes, tiny_model, synthetic):
    _in_one_line(attune("enrolment-size", "--corpus", synthetic), "either recipes or --model")
    both = attune("enrolment-size", recipes[0], "--model", tiny_model, "--corpus", synthetic)
    _in_one_line(both, "either recipes or --model")


def test_one_speaker_is_too_few_to_cross_validate(attune, recipes, voices):
    _in_one_line(attune("enrolment-size", *recipes, "--corpus", voices(1, 3)), "voices has 1 speakers: too few")


@pytest.mark.parametrize("study", ["enrolment-size", "enrolment-choice"])
def test_with_one_speaker_a_model_has_no_intervals(study, attune, tiny_model, voices):
    code, out, _ = attune(study, "--model", tiny_model, "--corpus", voices(1, 3), "--json")
    rows = json.loads(out)[study]["results"]
    assert code == 0
    assert all(row[name] is None for row in rows for name in ("uar_from", "uar_to", "change_from", "change_to", "p"))


def test_one_speaker_has_nobody_to_be_mistaken_for(attune, tiny_model, voices):
    _in_one_line(attune("enrolment-errors", "--model", tiny_model, "--corpus", voices(1, 3)), "voices", "speaker")


@pytest.mark.parametrize("study", ["enrolment-size", "enrolment-errors", "enrolment-choice"])
def test_a_single_utterance_of_each_emotion_is_too_few(study, attune, tiny_model, voices):
    _in_one_line(attune(study, "--model", tiny_model, "--corpus", voices(3, 1)), "voices")


@pytest.mark.parametrize(("option", "value"), [("--folds", 1), ("--folds", 9), ("--seeds", 0), ("--seeds", "-1")])
def test_folds_and_seeds_that_cannot_be_are_refused(option, value, attune, recipes, synthetic):
    _in_one_line(attune("enrolment-size", *recipes, "--corpus", synthetic, option, value))


# noise


def _snr_db(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Of what was added, whatever the gain: what lies along the clean signal against what lies across it."""
    clean, noisy = clean.astype(np.float64), noisy.astype(np.float64)
    speech = clean * (clean @ noisy) / (clean @ clean)
    return float(10 * np.log10((speech @ speech) / ((noisy - speech) @ (noisy - speech))))


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    """A quiet buzz between two pauses."""
    sound = np.tile(buzz(1, "anger", 0, np.random.default_rng(0)), 2)
    pause = np.zeros(8_000, dtype=np.float32)
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, 0.1 * np.concatenate([pause, sound, pause]), 16_000)
    return path


class _Ear:
    """An encoder that keeps the waveforms it hears."""

    device = torch.device("cpu")

    def __init__(self):
        self.heard: list[np.ndarray] = []

    def pooled(self, waveforms: list[torch.Tensor]) -> torch.Tensor:
        self.heard += [waveform.numpy() for waveform in waveforms]
        return torch.zeros(len(waveforms), 1, 4)


@pytest.mark.parametrize("snr", SNRS_DB)
def test_noise_is_as_loud_as_its_ratio_says(voice, snr):
    clean = level_and_trim(read_recording(voice).waveform)
    added = with_noise(clean, snr, voice.name).astype(np.float64) - clean
    assert 10 * np.log10(np.mean(np.square(clean, dtype=np.float64)) / np.mean(added**2)) == pytest.approx(
        snr, abs=0.01
    )
    flatness = np.abs(np.corrcoef(added[1:], added[:-1])[0, 1])
    assert flatness < 0.05  # white: no sample tells of the next


@pytest.mark.parametrize("snr", SNRS_DB)
def test_the_encoder_hears_the_whole_utterance_in_noise_of_that_ratio(voice, snr):
    ear = _Ear()
    Noisy(ear)(str(voice), snr)
    clean = level_and_trim(read_recording(voice).waveform)
    assert len(ear.heard[0]) == len(clean) < 2 * 12_800 + 2 * 8_000
    assert _snr_db(clean, ear.heard[0]) == pytest.approx(snr, abs=0.3)


def test_each_file_and_level_is_heard_once_with_noise_of_its_own_that_does_not_change(voice):
    ear, clean = _Ear(), level_and_trim(read_recording(voice).waveform)
    noisy = Noisy(ear)
    for snr in (5.0, 0.0, 5.0):
        noisy(str(voice), snr)
    assert len(ear.heard) == 2
    np.testing.assert_array_equal(with_noise(clean, 5.0, "a"), with_noise(clean, 5.0, "a"))
    assert not np.allclose(with_noise(clean, 5.0, "a"), with_noise(clean, 5.0, "b"))
