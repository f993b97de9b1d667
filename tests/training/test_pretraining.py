"""Pre-training without labels inside the one trainer: who is heard, what an unseen voice gets, stops and seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ser_core.data.audio import read_recording
from ser_core.data.enrolment import first_of_each
from ser_core.encoders import load_encoder
from ser_core.evaluation.shift import nearest_speakers
from ser_core.inference.recogniser import Recogniser
from ser_core.methods.papt import Papt
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings, read_recipe
from ser_core.training.crossvalidation import Design, crossvalidate
from ser_core.training.hearing import embedded
from ser_core.training.preparation import build_method, check_learns, make_plan, train_method
from ser_core.training.run import Asked, train

CPU = Asked(device="cpu")
DEV, TEST = ["synthetic_1"], ["synthetic_2", "synthetic_3"]


@pytest.fixture(scope="module")
def recipe(encoder_folder) -> Recipe:
    """PAPT, small, on the corpus' emotions."""
    changes = [
        "settings.pretrain_epochs=2", "settings.n_clusters=8", "settings.kmeans_iterations=5", 'settings.heads=["emotion"]',
        "settings.embedding=16", "encoder.layers=[2]", "settings.pretrain_learning_rate=0.05", 'data.attributes="corpus"',
    ]  # fmt: skip
    small = replace(
        read_recipe("papt"), beside=(), training=TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3)
    )
    return small.changed(changes).with_encoder("compact", str(encoder_folder))


@pytest.fixture(scope="module")
def learned(synthetic_corpus, workspace, recipe, encoder_folder):
    """From changes of the recipe to what was trained, and the plan."""

    def run(*changes: str):
        asked = recipe.changed(changes)
        encoder = load_encoder("compact", encoder_folder)
        utterances = embedded(synthetic_corpus, synthetic_corpus.emotions, encoder, workspace, "cpu", lambda line: None)
        choice = first_of_each(synthetic_corpus)
        plan = make_plan(utterances, choice, DEV, TEST, asked.data)
        return train_method(asked, utterances, plan, encoder, 0, "cpu"), plan

    return run


def _numbers(learned, names: list[str]) -> list[int]:
    table = learned.utterances.corpus.table
    speakers = sorted(table["speaker"].unique())
    return [speakers.index(name) for name in names]


def test_the_inductive_form_hears_no_dev_or_test_speaker_and_gives_them_a_mean_of_those_nearest(learned):
    found, plan = learned()
    table, method = found.utterances.corpus.table, found.method
    heard = set(table["speaker"].iloc[plan.unlabelled])
    assert not heard & {*DEV, *TEST}
    assert set(table["speaker"].iloc[list(method._pseudo_labels)]) == heard
    seen = _numbers(found, sorted(heard))
    assert method.vectors[seen].abs().max() > 1e-3
    for one in _numbers(found, [*DEV, *TEST]):
        near = nearest_speakers(
            method.front_values(found.utterances), found.utterances.speaker, np.array(seen), np.array([one]), 3
        )
        who, weight = near[one]
        expected = torch.from_numpy(weight).float() @ method.vectors[torch.from_numpy(who)]
        torch.testing.assert_close(method.vectors[one], expected, atol=1e-6, rtol=1e-5)
    assert not set(TEST) & set(found.encoder.heard_speakers)


def test_the_transductive_form_learns_a_vector_of_everybody_and_the_encoder_remembers_whom_it_heard(learned):
    found, plan = learned("data.transductive=true")
    assert len(plan.unlabelled) == len(found.utterances.corpus)
    assert (found.method.vectors.abs().sum(dim=1) > 1e-3).all()
    assert set(TEST) <= set(found.encoder.heard_speakers)


def test_unseen_speakers_may_get_nothing(learned):
    found, _ = learned('settings.unseen="zero"')
    assert (found.method.vectors[_numbers(found, TEST)] == 0).all()


def test_a_vector_before_the_transformer_is_heard_in_the_features(learned):
    found, plan = learned('settings.position="prefix"')
    row = int(plan.test[0])
    waveform, speaker = found.utterances.waveform(row), torch.tensor([int(found.utterances.speaker[row])])
    with torch.inference_mode():
        heard = found.method.pooled(found.encoder, (waveform,), speaker)[0]
        nobody = found.encoder.pooled((waveform,))[0]
    torch.testing.assert_close(found.utterances.features[row], heard, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(heard, nobody, atol=1e-4)


def test_without_a_pretraining_the_encoder_is_left_as_it_is(learned, encoder_folder):
    found, _ = learned("settings.pretrain_epochs=0", "encoder.tune=none")
    before = load_encoder("compact", encoder_folder).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in found.encoder.state_dict().items())


@pytest.fixture(scope="module")
def whole(synthetic_corpus, workspace, recipe, tmp_path_factory):
    """The folder of a run that nobody has stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(recipe, synthetic_corpus, folder, workspace, CPU, lambda line: None)
    return folder


def test_pretraining_lowers_its_loss_and_changes_the_encoder(whole, encoder_folder):
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    losses = [record["masked"] for record in records if record["stage"] == "pretrain"]
    assert len(losses) == 2 and losses[1] < losses[0] - 0.05
    assert [record["stage"] for record in records] == ["pretrain"] * 2 + ["finetune"] * 2
    tuned = load_encoder("compact", whole / "checkpoint" / "encoder").state_dict()
    before = load_encoder("compact", encoder_folder).state_dict()
    assert any((tuned[name] - before[name]).abs().max() > 1e-5 for name in tuned)


@pytest.mark.parametrize(
    ("stops_in", "after"),
    [("_clustered", 20), ("pretraining_loss", 8), ("pooled", 40), ("loss", 2)],
)
def test_a_stopped_run_goes_on_to_exactly_the_same_result(
    synthetic_corpus, workspace, recipe, whole, tmp_path, monkeypatch, stops_in, after
):
    """Stopped while pseudo-labels are made, in each epoch of the pre-training, while all is heard anew, in the fine-tuning."""
    done, original = [], getattr(Papt, stops_in)

    def counted(self, *arguments):
        done.append(None)
        return original(self, *arguments)

    monkeypatch.setattr(Papt, stops_in, counted)
    stopped = not train(
        recipe, synthetic_corpus, tmp_path / "run", workspace, CPU, lambda line: None, lambda: len(done) == after
    )
    monkeypatch.undo()
    assert stopped and len(done) == after
    assert train(recipe, synthetic_corpus, tmp_path / "run", workspace, replace(CPU, resume=True), lambda line: None)
    tables = [(folder / "predictions.csv").read_bytes() for folder in (whole, tmp_path / "run")]
    assert tables[0] == tables[1]


def test_a_run_that_died_before_its_report_answers_with_the_adapted_encoder(
    synthetic_corpus, workspace, recipe, whole, tmp_path, monkeypatch
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ser_core.training.run.make_report", full)
        with pytest.raises(OSError, match="No space"):
            train(recipe, synthetic_corpus, tmp_path / "run", workspace, CPU, lambda line: None)
    assert train(recipe, synthetic_corpus, tmp_path / "run", workspace, replace(CPU, resume=True), lambda line: None)
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()


def test_the_model_of_a_run_without_a_personaliser_answers(whole, workspace, synthetic_corpus):
    said = Recogniser(workspace, str(whole / "checkpoint")).recognise(
        read_recording(synthetic_corpus.table["path"].iloc[0])
    )
    assert said.personaliser is None and sum(said.baseline.probabilities.values()) == pytest.approx(1.0, abs=1e-4)


def test_a_crossvalidation_says_that_test_speakers_were_heard_and_measures_zero_vectors(
    synthetic_corpus, workspace, recipe, encoder_folder, tmp_path
):
    encoder, design = load_encoder("compact", encoder_folder), Design(n_folds=2, n_seeds=1)
    reports = {}
    for name, changes in {"apart": [], "together": ["data.transductive=true"]}.items():
        one = replace(recipe.changed(changes), name=name)
        crossvalidate([one], synthetic_corpus, encoder, design, tmp_path / name, workspace, "cpu", lambda line: None)
        reports[name] = json.loads((tmp_path / name / "report.json").read_text())
    speakers = sorted(synthetic_corpus.table["speaker"].unique())
    assert "test_speakers_heard_without_labels" not in reports["apart"]["leak_check"]
    assert reports["together"]["leak_check"]["test_speakers_heard_without_labels"] == speakers
    assert "uar_zero vectors for unseen speakers" in reports["apart"]["summary"]["apart"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["settings.pretrain_epochs=0"], "has no stage in which the encoder learns; set encoder.tune to none"),
        (["encoder.tune=none"], "pre-trains the encoder: set encoder.tune to all, last or lora"),
        (["settings.weighting=1.0"], "hears the test speakers, without labels: say so with data.transductive=true"),
        (
            ["settings.pretrain_epochs=0", "encoder.tune=none", "data.transductive=true"],
            "learns nothing without labels",
        ),
    ],
)
def test_recipes_that_cannot_be_are_refused_before_anything_is_heard(recipe, encoder_folder, changes, words):
    asked = recipe.changed(changes)
    method = build_method(asked, load_encoder("compact", encoder_folder), ("neutral", "anger"))
    with pytest.raises(BadRecipe, match=words):
        check_learns(asked, method)


def test_weighting_counts_those_who_resemble_the_test_speakers_more(learned):
    found, plan = learned(
        "settings.pretrain_epochs=0", "encoder.tune=none", "settings.weighting=2.0", "settings.n_similar=1",
        "data.transductive=true",
    )  # fmt: skip
    weight, speaker = found.method._row_weight.numpy(), found.utterances.speaker
    favoured = {int(one) for one in speaker[plan.train] if weight[speaker == one][0] == 3.0}
    near = nearest_speakers(
        found.method.front_values(found.utterances),
        speaker,
        np.unique(speaker[plan.train]),
        np.unique(speaker[plan.test]),
        1,
    )
    assert favoured == {int(who[0]) for who, _ in near.values()}
    assert set(np.unique(weight)) == {1.0, 3.0}


def test_a_runs_card_says_whom_it_heard_and_that_it_keeps_no_vectors(synthetic_corpus, workspace, recipe, tmp_path):
    asked = recipe.changed(["data.transductive=true", "settings.pretrain_epochs=1"])
    assert train(asked, synthetic_corpus, tmp_path / "run", workspace, CPU, lambda line: None)
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    tested = json.loads((tmp_path / "run" / "recipe.json").read_text())["test_speakers"]
    assert f"Heard without labels in training, so not unheard: {', '.join(tested)}." in card
    assert "The vectors of its speakers are not kept" in card
