"""encoder.tune = "convolutions": trained, stopped, resumed, kept and loaded again, on the toy corpus."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.audio import read_recording
from ser_core.encoders import load_encoder
from ser_core.inference.models import read_model
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.test_set import evaluate_models
from ser_core.methods.checkpoint import load_method
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings, read_recipe
from ser_core.training import check
from ser_core.training.check import check_order
from ser_core.training.hearing import embedded
from ser_core.training.jobs import Order
from ser_core.training.preparation import feature_shape, on_tuned_encoder
from ser_core.training.run import Asked, train
from ser_core.training.trainer import accelerator_for, hear

CPU = Asked(device="cpu")


@pytest.fixture(scope="module")
def recipe(encoder_folder) -> Recipe:
    """The baseline alone, small, on the corpus' own classes."""
    small = replace(read_recipe("baseline"), settings={"embedding": 16, "hidden": 16})
    training = TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3)
    small = replace(small, training=training).with_encoder("compact", str(encoder_folder))
    return small.changed(["encoder.tune=convolutions", "encoder.learning_rate=1e-3"])


@pytest.fixture
def go(synthetic_corpus, workspace, tmp_path):
    """Train into tmp_path / name."""

    def run(recipe: Recipe, name: str = "run", asked: Asked = CPU, should_stop=lambda: False) -> bool:
        return train(recipe, synthetic_corpus, tmp_path / name, workspace, asked, lambda line: None, should_stop)

    return run


def _after(n: int):
    """Asks to stop at the n-th question."""
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > n

    return should_stop


def _records(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _weights(folder) -> dict[str, torch.Tensor]:
    """Of all that a run has kept."""
    encoder = load_encoder("convolved", folder / "checkpoint" / "encoder").state_dict()
    return {**encoder, **load_method(folder / "checkpoint" / "baseline").state_dict()}


@pytest.fixture(scope="module")
def whole(synthetic_corpus, workspace, recipe, tmp_path_factory):
    """The folder of a run that nobody has stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(recipe, synthetic_corpus, folder, workspace, CPU, lambda line: None)
    return folder


def test_the_loss_falls_and_of_the_encoder_only_what_is_new_has_changed(go, recipe, encoder_folder, tmp_path):
    assert go(recipe.changed(["training.epochs=6"]))
    losses = [record["emotion"] for record in _records(tmp_path / "run")]
    assert losses[-1] < losses[0] - 0.1
    below, trained = load_encoder("compact", encoder_folder), _weights(tmp_path / "run")
    for name, weight in below.state_dict().items():
        assert torch.equal(trained[f"inner.{name}"], weight), name
    assert trained["layer_weights"].abs().max() > 1e-4  # all zero at first


def test_the_convolutions_learn_at_the_recipes_rate(go, recipe, whole, tmp_path):
    go(recipe.changed(["encoder.learning_rate=1e-12"]), "still")
    moved, still = (_weights(folder) for folder in (whole, tmp_path / "still"))
    for name in ("layer_weights", "convolutions.0.weight", "convolutions.2.bias"):
        assert (moved[name] - still[name]).abs().max() > 1e-4, name
    assert still["layer_weights"].abs().max() < 1e-9


@pytest.mark.parametrize("n", [60, 138, 147, 165])
def test_a_stopped_run_goes_on_to_exactly_the_same_result(go, recipe, whole, tmp_path, n):
    """Stopped while all is heard before it learns, in the first epoch, while dev is heard, and in the second epoch."""
    assert not go(recipe, "parts", should_stop=_after(n))
    assert go(recipe, "parts", replace(CPU, resume=True))
    first, second = (_weights(folder) for folder in (whole, tmp_path / "parts"))
    assert first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
    tables = [(folder / "predictions.csv").read_bytes() for folder in (whole, tmp_path / "parts")]
    assert tables[0] == tables[1]


def test_a_batch_worked_through_in_parts_comes_to_the_same_result(go, recipe, whole, tmp_path):
    go(recipe.changed(["training.accumulate=3"]), "parts")
    one, parts = (pd.read_csv(folder / "predictions.csv") for folder in (whole, tmp_path / "parts"))
    p = [name for name in one if name.startswith("p_")]
    np.testing.assert_allclose(one[p], parts[p], atol=1e-4)


def test_the_model_that_is_kept_answers_as_the_predictions_say(
    go, recipe, encoder_folder, tmp_path, workspace, synthetic_corpus
):
    both = replace(read_recipe("smoke"), settings=recipe.settings, training=recipe.training, encoder=recipe.encoder)
    assert go(both.changed(["encoder.layers=[1, 2]"]))
    info = read_model(tmp_path / "run" / "checkpoint")
    assert info.encoder == "convolved" and info.baseline == "baseline" and info.personalisers == ("speaker_reference",)
    recogniser = Recogniser(workspace, str(info.folder), "cpu")
    asked = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recogniser.encoder.layers == [1, 2] and recogniser.encoder.inner_name == "compact"
    assert set(recogniser.encoder.heard_speakers) == {*asked["train_speakers"], *asked["dev_speakers"]}
    again = evaluate_models([recogniser], synthetic_corpus, workspace).predictions
    before = pd.read_csv(tmp_path / "run" / "predictions.csv")
    merged = before.merge(again, on=["utterance_id", "method"], suffixes=("", "_again"))
    assert len(merged) == len(before) == len(again) > 0
    np.testing.assert_allclose(merged["p_anger"], merged["p_anger_again"], atol=2e-5)
    assert before["p_anger"].std() > 1e-3


def test_the_papers_recipe_trains_and_its_model_answers_as_the_predictions_say(
    encoder_folder, tmp_path, workspace, synthetic_corpus
):
    papers = read_recipe("multimodal_convolutions")
    assert papers.method == "multimodal" and papers.encoder.tune == "convolutions"
    papers = papers.with_encoder("compact", str(encoder_folder)).changed(["training.epochs=1", "data.emotions=app"])
    text = synthetic_corpus.table["text_id"].map({"0": "kids are talking", "1": "dogs are sitting"})
    spoken = replace(synthetic_corpus, table=synthetic_corpus.table.assign(text=text, language="en"))
    assert train(papers, spoken, tmp_path / "run", workspace, CPU, lambda line: None)
    recogniser = Recogniser(workspace, str(tmp_path / "run" / "checkpoint"), "cpu")
    assert recogniser.info.encoder == "convolved" and recogniser.info.reader.method == "multimodal_convolutions"
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    table = table[table["method"] == "multimodal_convolutions"]
    for _, row in table.iloc[::9].iterrows():
        spoke = spoken.table.loc[row["utterance_id"]]
        features = recogniser.embed([read_recording(spoke["path"]).waveform])
        said = recogniser.with_words(features, spoke["text"]).baseline.probabilities
        of_corpus = sum(said[name] for name in ("neutral", "happiness", "sadness", "anger"))
        assert said["anger"] / of_corpus == pytest.approx(row["p_anger"], abs=1e-4)  # read in half precision before


def test_layers_that_the_encoder_below_lacks_are_named(go, recipe, tmp_path):
    with pytest.raises(BadRecipe, match="layers 0 to 2"):
        go(recipe.changed(["encoder.layers=[1, 7]"]))
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_was_trained_so_cannot_be_named_in_a_recipe(go, recipe):
    with pytest.raises(BadRecipe, match="no encoder 'convolved'"):
        go(recipe.with_encoder("convolved", ""))


def test_what_stands_beside_hears_the_one_layer_that_the_convolutions_give(recipe, encoder_folder):
    recipe = recipe.changed(["encoder.layers=[1, 2]"])
    inner = load_encoder("compact", encoder_folder)
    shape = feature_shape(recipe.encoder, inner)
    assert (shape.n_layers, shape.n_values, shape.layers) == (1, 512, (0,))
    from ser_core.encoders.convolved import Convolved

    beside = on_tuned_encoder(recipe).encoder
    assert beside.tune == "none" and feature_shape(beside, Convolved(inner, (1, 2), "compact")) == shape


def test_hearing_with_an_encoder_of_another_width_takes_the_place_of_what_was_heard(
    synthetic_corpus, encoder_folder, workspace
):
    encoder = load_encoder("compact", encoder_folder)
    corpus = synthetic_corpus.only(synthetic_corpus.table["speaker"] == "synthetic_0")
    utterances = embedded(corpus, corpus.emotions, encoder, workspace, "cpu", lambda line: None)
    rows, accelerator = np.array([3, 1]), accelerator_for("cpu")

    def other(waveforms, speaker):
        return torch.stack([torch.full((2, 5), float(len(waveform))) for waveform in waveforms])

    heard = hear(other, utterances, rows, accelerator).features
    assert heard.shape == (len(corpus), 2, 5) and heard[rows].all() and not heard[[0, 2]].any()
    same = hear(lambda waveforms, speaker: encoder.pooled(waveforms), utterances, rows, accelerator).features
    assert torch.equal(same, utterances.features)


def test_an_estimate_counts_the_convolutions_and_every_hearing(encoder_folder, workspace, tmp_path, monkeypatch):
    """As if everything that is tried took a hundredth of a second, whatever else this computer does."""
    monkeypatch.setattr(check, "_seconds", lambda measured, repeats=3: 0.01)
    order = Order(
        "multimodal_convolutions", (f"synthetic={tmp_path / 'toy'}",), f"compact={encoder_folder}", device="cpu"
    )

    def estimate(*settings: str):
        return check_order(replace(order, settings=settings), workspace).estimate

    frozen, few, many = (
        estimate("encoder.tune=none", "training.epochs=1"),
        estimate("training.epochs=1"),
        estimate("training.epochs=200"),
    )
    assert frozen.seconds < few.seconds < many.seconds
    assert frozen.memory_bytes < few.memory_bytes == many.memory_bytes
