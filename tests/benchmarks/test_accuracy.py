"""The accuracy table: who is measured by what, and that the lines are what the predictions say."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ser_core.data.batches import Utterances
from ser_core.data.manifest import join, make_corpus
from ser_core.encoders import load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.evaluation.performance import uar
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.recipe import TrainingSettings, read_recipe
from ser_core.training.card import _halves

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import accuracy  # noqa: E402


def _corpus(name: str, emotions: tuple[str, ...]):
    rows = {
        f"{name}_{speaker}_{emotion}_{take}": {
            "path": f"{name}_{speaker}_{emotion}_{take}.wav", "speaker": f"{name}_{speaker}", "text_id": str(take),
            "gender": ("female", "male")[speaker % 2], "emotion": emotion,
        }
        for speaker in range(6) for emotion in emotions for take in range(3)
    }  # fmt: skip
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


CORPORA = {
    "ravdess": _corpus("ravdess", ("neutral", "fear", "anger")),
    "emodb": _corpus("emodb", ("neutral", "anger")),
    "nemo": _corpus("nemo", ("neutral", "fear")),
    "korean": _corpus("korean", ("neutral", "anger")),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """The output of the whole command, on corpora of noise and encoders of random weights."""
    tmp_path = tmp_path_factory.mktemp("accuracy")
    torch.manual_seed(0)
    settings = CompactSettings(width=16, n_transformer_layers=1, n_heads=2, feedforward=16)
    heard = {
        "whole": (),
        "first": ("ravdess_3", "ravdess_4", "ravdess_5"),
        "second": ("ravdess_0", "ravdess_1", "ravdess_2"),
    }
    for name, speakers in heard.items():
        encoder = Compact(settings)
        encoder.heard_speakers = speakers
        encoder.save(tmp_path / name)

    def noise(corpus, emotions, encoder, *others):
        rng = torch.Generator().manual_seed(0)
        return Utterances(
            corpus, emotions, torch.randn(len(corpus), encoder.n_layers, 2 * encoder.width, generator=rng)
        )

    def short(name):
        few = TrainingSettings(epochs=1, batch_size=16)
        recipe = replace(read_recipe(name), beside=(), training=few)
        return recipe.changed(["encoder.layers=[1]", "settings.embedding=8", "settings.hidden=8"])

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(accuracy, "load_corpora", lambda named: join([CORPORA[one.split("=")[0]] for one in named]))
        monkeypatch.setattr(accuracy, "load_encoder", lambda name, source, where: load_encoder("compact", Path(source)))
        monkeypatch.setattr("ser_core.training.crossvalidation.embedded", noise)
        monkeypatch.setattr(accuracy, "read_recipe", short)
        monkeypatch.setattr(sys, "argv", [
            "accuracy.py", *(part for name in CORPORA for part in ("--corpus", f"{name}=somewhere")), "--encoder", f"whisper={tmp_path / 'whole'}",
            "--compact", str(tmp_path / "first"), str(tmp_path / "second"), "--parts", "ravdess", "emodb", "across", "compact",
            "--seeds", "2", "--draws", "2", "--output", str(tmp_path / "out"), "--workspace", str(tmp_path / "workspace"),
        ])  # fmt: skip
        accuracy.main()
    return tmp_path / "out"


def test_every_line_is_of_speakers_kept_apart_and_says_what_the_predictions_say(measured):
    rows = json.loads((measured / "accuracy.json").read_text())["rows"]
    said = [(row["protocol"].split(",")[0], row["encoder"], row["method"], row["n_speakers"]) for row in rows]
    halves = [("RAVDESS", encoder, method, 6) for encoder in ("whisper", "compact") for method in accuracy.RECIPES]
    own = [
        (name, "whisper", method, 6)
        for name in ("RAVDESS", "EmoDB", "RAVDESS", "EmoDB", "nEMO", "Korean")
        for method in accuracy.RECIPES
    ]
    assert said == [*own, *halves]
    table = pd.read_csv(measured / "across" / "predictions.csv")
    german = table[(table["corpus"] == "emodb") & (table["method"] == "baseline")]
    line = next(row for row in rows if row["protocol"] == "EmoDB, learned from the others")
    assert line["uar"] == pytest.approx(
        german.groupby("seed").apply(lambda one: uar(one["emotion"], one["predicted_emotion"])).mean()
    )
    assert line["all_emotions"] <= line["uar"] + 1e-9  # fear may be answered as well
    assert set(german["predicted_emotion"]) <= {"neutral", "anger"}
    report = json.loads((measured / "across" / "report.json").read_text())
    assert [f"emodb_{one}" for one in range(6)] in report["folds"]
    assert all(recipe["training"]["dev_share"] == 0 for recipe in report["recipes"])


def test_each_half_is_measured_by_the_encoder_that_has_not_heard_it(measured):
    first, second = (pd.read_csv(measured / "compact" / f"half_{n}" / "predictions.csv") for n in (1, 2))
    assert set(first["speaker"]) == {"ravdess_0", "ravdess_1", "ravdess_2"}
    assert set(second["speaker"]) == {"ravdess_3", "ravdess_4", "ravdess_5"}
    both = pd.read_csv(measured / "compact" / "predictions.csv")
    row = json.loads((measured / "compact" / "report.json").read_text())["rows"][-1]
    assert len(both) == len(first) + len(second) and row["method"] == "speaker_reference"
    assert row["n_targets"] == len(both) / 2 / 2  # two methods, two seeds


def test_the_card_tells_of_both_halves(measured):
    text = _halves(json.loads((measured / "compact" / "report.json").read_text()))
    assert "the first without 0, 1, 2, the second without 3, 4, 5" in text and text.count("| compact |") == 2


def test_the_table_is_made_again_without_the_predictions(measured, monkeypatch, tmp_path, capsys):
    """They are large, and are not kept with the numbers."""
    kept = tmp_path / "kept"
    shutil.copytree(measured, kept, ignore=shutil.ignore_patterns("*.csv", "accuracy.*"))
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--parts", "--output", str(kept)])
    accuracy.main()
    table = (measured / "accuracy.md").read_text()
    assert (kept / "accuracy.md").read_text() == table and capsys.readouterr().out == table + "\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parts", "emodb", "--corpus", "ravdess=DIR"], "--corpus emodb=DIR is missing"),
        (["--parts", "across", "--corpus", "ravdess=DIR"], "--corpus emodb=DIR is missing; the parts asked for need"),
        (["--parts", "ravdess", "compact", "--corpus", "ravdess=DIR"], "needs --compact DIR DIR"),
        (["--parts", "compact", "--corpus", "ravdess=DIR", "--compact", "A", "B"], "stands beside ravdess"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(monkeypatch, tmp_path, capsys, words, said):
    monkeypatch.setattr(sys, "argv", ["accuracy.py", *words, "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        accuracy.main()
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "benchmarks" / "ablations").glob("*.toml")))
def test_every_ablation_is_a_method_that_can_be_built(path):
    recipe = read_recipe(path)
    shape = FeatureShape(n_layers=4, n_values=6, layers=(1, 2))
    METHODS[recipe.method].build(recipe.settings, shape, ("neutral", "anger"), path.name)
