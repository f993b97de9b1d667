"""Trainer, run folder and cross-validation on the toy corpus: the protocol's promises, checked from what was written."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus, LeakingSplit
from ser_core.encoders import load_encoder
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.inference.predict import answers
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings, read_recipe, read_split
from ser_core.training.crossvalidation import Design, crossvalidate, speaker_folds
from ser_core.training.hearing import embedded
from ser_core.training.preparation import make_plan
from ser_core.training.run import Asked, train
from ser_core.training.trainer import Plan, TrainingDiverged, Watch, fit, seeded
from ser_core.workspace import open_workspace

FEW = TrainingSettings(epochs=3, batch_size=16, learning_rate=1e-3)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return open_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    settings = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=64)
    return Compact(settings, "compact-test").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def utterances(synthetic_corpus, encoder, workspace):
    return embedded(synthetic_corpus, synthetic_corpus.emotions, encoder, workspace, "cpu", lambda line: None)


def _plan(utterances: Utterances) -> Plan:
    corpus = utterances.corpus
    choice = first_of_each(corpus)
    usable, speaker = target_rows(corpus, choice), corpus.table["speaker"]
    dev = speaker.isin(["synthetic_6", "synthetic_7"])
    nobody = np.empty(0, dtype=np.int64)
    return Plan(np.flatnonzero(usable & ~dev), np.flatnonzero(usable & dev), nobody, utterances.enrolment_rows(choice))


def _method(name: str, utterances: Utterances, seed: int = 0):
    seeded(seed)
    n_layers, n_values = utterances.features.shape[1:]
    return METHODS[name].build(
        {"embedding": 16, "hidden": 16}, FeatureShape(n_layers, n_values, (1,)), utterances.emotions, "test"
    )


def test_training_lowers_the_loss_and_reports_every_epoch(utterances):
    records = []
    fit(
        _method("baseline", utterances),
        utterances,
        _plan(utterances),
        replace(FEW, epochs=12),
        0,
        "cpu",
        Watch(records.append),
    )
    assert [record["epoch"] for record in records] == list(range(1, 13))
    assert records[-1]["emotion"] < records[0]["emotion"]
    assert all({"stage", "emotion", "dev_uar", "seconds"} <= set(record) for record in records)


@pytest.mark.parametrize("name", ["baseline", "enrolment_attention", "speaker_reference"])
def test_the_same_seed_gives_the_same_network_and_another_seed_another(name, utterances):
    plan = _plan(utterances)

    def trained(seed: int) -> np.ndarray:
        method = _method(name, utterances, seed)
        fit(method, utterances, plan, FEW, seed, "cpu")
        return answers(method, utterances, plan.dev, plan.enrolment).probability

    first, again, other = map(trained, (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_best_epoch_on_dev_is_kept_not_the_last(utterances):
    from ser_core.evaluation.performance import uar

    plan, records = _plan(utterances), []
    method = _method("baseline", utterances)
    fit(
        method,
        utterances,
        plan,
        replace(FEW, epochs=8, learning_rate=5e-3),
        0,
        "cpu",
        Watch(records.append),
    )
    predicted = answers(method, utterances, plan.dev, plan.enrolment).probability.argmax(axis=1)
    assert uar(utterances.emotion[plan.dev], predicted) == pytest.approx(max(record["dev_uar"] for record in records))


def test_patience_stops_early(utterances):
    records = []
    settings = replace(FEW, epochs=30, patience=2, learning_rate=1e-9)
    fit(_method("baseline", utterances), utterances, _plan(utterances), settings, 0, "cpu", Watch(records.append))
    assert len(records) == 3


def test_a_loss_that_is_no_number_stops_the_run_in_words(utterances):
    broken = replace(utterances, features=utterances.features * torch.nan)
    with pytest.raises(TrainingDiverged, match="lower the learning rate"):
        fit(_method("baseline", broken), broken, _plan(broken), FEW, 0, "cpu")


def _recipe(name: str, **training) -> Recipe:
    return replace(read_recipe(name), settings={"embedding": 16, "hidden": 16}, training=replace(FEW, **training))


RECIPES = ("baseline", "enrolment_attention", "speaker_reference")


@pytest.fixture(scope="module")
def written(synthetic_corpus, encoder, workspace, tmp_path_factory):
    output = tmp_path_factory.mktemp("crossvalidation")
    recipes = [_recipe(name) for name in RECIPES]
    crossvalidate(
        recipes,
        synthetic_corpus,
        encoder,
        Design(n_folds=4, n_seeds=2, n_draws=2),
        output,
        workspace,
        "cpu",
        lambda line: None,
    )
    return output


def test_predictions_have_one_row_for_each_target_method_and_seed(written, synthetic_corpus):
    table = pd.read_csv(written / "predictions.csv")
    probability = [f"p_{emotion}" for emotion in synthetic_corpus.emotions]
    assert {
        "utterance_id",
        "path",
        "corpus",
        "speaker",
        "gender",
        "emotion",
        "method",
        "seed",
        "fold",
        "predicted_emotion",
        *probability,
    } <= set(table.columns)
    assert not table.duplicated(["utterance_id", "method", "seed"]).any()
    assert len(table) == (128 - 8 * 4) * 3 * 2
    np.testing.assert_allclose(table[probability].sum(axis=1), 1, atol=1e-3)
    likeliest = table[probability].idxmax(axis=1).str.removeprefix("p_")
    assert (likeliest == table["predicted_emotion"]).mean() > 0.99  # ties after rounding


def test_without_dev_speakers_everybody_else_trains_and_the_last_epoch_is_kept(
    synthetic_corpus, encoder, workspace, tmp_path, monkeypatch
):
    import ser_core.training.crossvalidation as crossvalidation

    plans = []

    def watched(recipe, utterances, plan, *rest, **named):
        plans.append((recipe.training.dev_share, plan))
        return train_method(recipe, utterances, plan, *rest, **named)

    train_method = crossvalidation.train_method
    monkeypatch.setattr(crossvalidation, "train_method", watched)
    recipes = [_recipe("baseline", dev_share=0.0), replace(_recipe("baseline"), name="dev chooses")]
    design = Design(n_folds=4, n_seeds=1)
    crossvalidate(recipes, synthetic_corpus, encoder, design, tmp_path, workspace, "cpu", lambda line: None)
    dev = pd.read_csv(tmp_path / "dev.csv")
    assert set(dev["method"]) == {"dev chooses"}
    for share, plan in plans:
        assert (len(plan.dev) == 0) == (share == 0)
        assert len(plan.train) + len(plan.dev) == 6 * (128 - 8 * 4) // 8
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert predictions.groupby("method")["utterance_id"].nunique().to_dict() == {"baseline": 96, "dev chooses": 96}


def test_enrolment_utterances_are_nobodys_targets_and_all_methods_have_the_same(written):
    table, enrolled = pd.read_csv(written / "predictions.csv"), pd.read_csv(written / "enrolment.csv")
    assert {"speaker", "emotion", "utterance_id"} <= set(enrolled.columns) and len(enrolled) == 8 * 4
    assert not set(enrolled["utterance_id"]) & set(table["utterance_id"])
    targets = table.groupby(["method", "seed"])["utterance_id"].agg(lambda ids: tuple(sorted(ids)))
    assert targets.nunique() == 1


def test_the_alphabetically_first_utterance_of_each_class_enrols(written, synthetic_corpus):
    enrolled = pd.read_csv(written / "enrolment.csv").set_index(["speaker", "emotion"])["utterance_id"]
    for key, part in synthetic_corpus.table.reset_index().groupby(["speaker", "emotion"]):
        assert enrolled[key] == sorted(part["utterance_id"])[0]


def test_folds_hold_consecutive_speakers_and_each_is_tested_once(written):
    table = pd.read_csv(written / "predictions.csv")
    folds = table.groupby("fold")["speaker"].agg(lambda speakers: sorted(set(speakers)))
    assert folds.to_list() == [[f"synthetic_{2 * fold}", f"synthetic_{2 * fold + 1}"] for fold in range(4)]


def test_the_report_says_how_it_came_about(written):
    report = json.loads((written / "report.json").read_text())
    assert report["leak_check"]["speakers_on_both_sides"] == []
    assert report["leak_check"]["sentences_on_both_sides"] == ["0", "1"]
    assert list(report["summary"]) == list(RECIPES) and report["commit"] and report["design"]["n_seeds"] == 2
    ours = report["summary"]["speaker_reference"]
    assert {"uar", "gini", "uar_new_sentence", "uar_another speaker's enrolment", "uar_nobody enrolled"} <= set(ours)
    assert ours["draws"]["n"] == 2
    draws = pd.read_csv(written / "draws.csv")
    assert len(draws) == 2 * 3 * 2 and draws["uar"].between(0, 1).all()


def test_the_summary_is_what_the_predictions_say(written):
    from sklearn.metrics import balanced_accuracy_score

    table, report = pd.read_csv(written / "predictions.csv"), json.loads((written / "report.json").read_text())
    for method, part in table.groupby("method"):
        expected = np.mean(
            [balanced_accuracy_score(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")]
        )
        assert report["summary"][method]["uar"] == pytest.approx(expected)


def test_leaving_one_speaker_out_gives_as_many_folds_as_speakers(synthetic_corpus):
    assert speaker_folds(synthetic_corpus, None) == [[f"synthetic_{speaker}"] for speaker in range(8)]


@pytest.mark.parametrize("n_folds", [9, 1, 0, -2])
def test_folds_that_cannot_be_made_are_refused(synthetic_corpus, n_folds):
    with pytest.raises(BadCorpus, match="too few"):
        speaker_folds(synthetic_corpus, n_folds)


def test_two_recipes_of_one_name_are_refused(synthetic_corpus, encoder, workspace, tmp_path):
    with pytest.raises(BadRecipe, match="same name"):
        crossvalidate([_recipe("baseline")] * 2, synthetic_corpus, encoder, Design(), tmp_path, workspace, "cpu")


def test_a_split_that_leaks_or_leaves_a_side_empty_is_refused(synthetic_corpus, utterances, tmp_path):
    (tmp_path / "leak.toml").write_text('dev = ["synthetic_1"]\ntest = ["synthetic_1"]\n')
    with pytest.raises(BadRecipe, match="in dev and in test"):
        read_split(tmp_path / "leak.toml")
    choice = first_of_each(synthetic_corpus)
    with pytest.raises(LeakingSplit, match="both sides"):
        make_plan(utterances, choice, ["nobody"], [])
    everybody = synthetic_corpus.table["speaker"].unique()
    with pytest.raises(LeakingSplit, match="both sides"):
        make_plan(utterances, choice, everybody[:4], everybody[4:])


def test_a_plan_keeps_speakers_and_enrolment_apart(synthetic_corpus, utterances):
    choice = first_of_each(synthetic_corpus)
    plan = make_plan(utterances, choice, ["synthetic_1"], ["synthetic_2"])
    speaker = synthetic_corpus.table["speaker"].to_numpy()
    assert set(speaker[plan.dev]) == {"synthetic_1"} and set(speaker[plan.test]) == {"synthetic_2"}
    assert set(speaker[plan.train]) == {f"synthetic_{one}" for one in (0, 3, 4, 5, 6, 7)}
    enrolled = np.concatenate(list(plan.enrolment.values()))
    assert not set(enrolled) & {*plan.train, *plan.dev, *plan.test}


def test_an_encoder_that_has_heard_the_test_speakers_is_refused(synthetic_corpus, workspace, tmp_path):
    heard = Compact(CompactSettings(width=32, n_transformer_layers=1, n_heads=2, feedforward=32))
    heard.heard_speakers = ("synthetic_3",)
    heard.save(tmp_path / "encoder")
    with pytest.raises(LeakingSplit, match="heard 1 of the test speakers .*synthetic_3"):
        crossvalidate(
            [_recipe("baseline")],
            synthetic_corpus,
            load_encoder("compact", tmp_path / "encoder"),
            Design(2, 1),
            tmp_path,
            workspace,
            "cpu",
        )


def test_training_never_opens_the_test_speakers_files(synthetic_corpus, workspace, tmp_path):
    from ser_core.training.preparation import without_test_speakers

    (tmp_path / "split.toml").write_text('dev = ["synthetic_1"]\ntest = ["synthetic_2", "synthetic_3"]\n')
    recipe = replace(_recipe("baseline"), data=replace(_recipe("baseline").data, split=str(tmp_path / "split.toml")))
    assert not {"synthetic_2", "synthetic_3"} & set(without_test_speakers(synthetic_corpus, recipe).table["speaker"])


def test_layers_that_the_encoder_lacks_are_named(encoder):
    from ser_core.training.preparation import feature_shape

    recipe = _recipe("baseline")
    with pytest.raises(BadRecipe, match="layers 0 to 2"):
        feature_shape(replace(recipe.encoder, layers=(1, 7)), encoder)
    assert feature_shape(recipe.encoder, encoder).layers == (0, 1, 2)


def test_distillation_learns_from_waveforms_and_exports_an_encoder(synthetic_corpus, workspace, tmp_path, monkeypatch):
    from transformers import WhisperConfig, WhisperModel

    from ser_core.methods import distillation

    torch.manual_seed(0)
    WhisperModel(
        WhisperConfig(
            d_model=32, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=16, decoder_layers=1, vocab_size=8,
            decoder_attention_heads=2, decoder_ffn_dim=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    ).save_pretrained(tmp_path / "teacher")  # fmt: skip
    small = CompactSettings(width=32, n_transformer_layers=1, n_heads=2, feedforward=32)
    monkeypatch.setattr(distillation, "CompactSettings", lambda: small)
    recipe = replace(
        read_recipe("distil_compact"), settings={"teacher": str(tmp_path / "teacher"), "crop_s": 0.5, "noise": 0.0},
        training=replace(FEW, epochs=8),
        data=replace(read_recipe("distil_compact").data, split=""),
    )  # fmt: skip
    assert train(recipe, synthetic_corpus, tmp_path / "run", workspace, Asked(device="cpu"), say=lambda line: None)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (record["layer_0"] + record["layer_1"] for record in (records[0], records[-1]))
    assert last < 0.8 * first and all(np.isfinite(record["dev_loss"]) for record in records)
    encoder = load_encoder("compact", tmp_path / "run" / "checkpoint" / "encoder")
    assert encoder.width == 32 and encoder.heard_speakers == tuple(f"synthetic_{speaker}" for speaker in range(8))
