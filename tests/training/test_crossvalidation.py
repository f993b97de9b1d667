"""Who is measured in a fold: everybody, those whom the encoder has not heard, or a whole corpus."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ser_core.data.batches import Utterances
from ser_core.data.manifest import BadCorpus, LeakingSplit, join, make_corpus
from ser_core.encoders import load_encoder
from ser_core.evaluation.performance import uar
from ser_core.recipe import BadRecipe, TrainingSettings, read_recipe
from ser_core.training.crossvalidation import ALL_EMOTIONS, Design, crossvalidate, fold_plan, set_up

FEW = TrainingSettings(epochs=1, batch_size=16, dev_share=0.0)


def corpus(name: str, emotions: tuple[str, ...], n_speakers: int = 6):
    rows = {
        f"{name}{speaker}_{emotion}_{take}": {
            "path": f"{name}{speaker}_{emotion}_{take}.wav", "speaker": f"{name}{speaker}", "text_id": str(take),
            "gender": ("female", "male")[speaker % 2], "emotion": emotion,
        }
        for speaker in range(n_speakers) for emotion in emotions for take in range(3)
    }  # fmt: skip
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


ENGLISH = corpus("english", ("neutral", "fear", "anger"))
POLISH = corpus("polish", ("neutral", "fear"), n_speakers=4)
GERMAN = corpus("german", ("neutral", "anger"))


@pytest.fixture
def encoder(encoder_folder, monkeypatch):
    """What would be heard is noise."""
    encoder = load_encoder("compact", encoder_folder)

    def noise(heard, emotions, *others):
        rng = torch.Generator().manual_seed(0)
        return Utterances(heard, emotions, torch.randn(len(heard), encoder.n_layers, 2 * encoder.width, generator=rng))

    monkeypatch.setattr("ser_core.training.crossvalidation.embedded", noise)
    return encoder


@pytest.fixture
def recipe(encoder_folder):
    changed = ["encoder.layers=[1]", "settings.embedding=8", "settings.hidden=8"]
    small = replace(read_recipe("speaker_reference"), beside=(), training=FEW)
    return small.with_encoder("compact", str(encoder_folder)).changed(changed)


def test_speakers_whom_the_encoder_has_heard_still_do_not_train_in_their_fold(encoder, recipe, workspace):
    everybody = set_up([recipe], ENGLISH, encoder, Design(2, 1), workspace, "cpu")
    encoder.heard_speakers = ("english0", "english1", "english4")
    left = set_up([recipe], ENGLISH, encoder, Design(2, 1, unheard=True), workspace, "cpu")
    assert left.folds == everybody.folds == [["english0", "english1", "english2"], ["english3", "english4", "english5"]]
    assert left.tested == [["english2"], ["english3", "english5"]]
    for fold in range(2):
        assert np.array_equal(fold_plan(left, recipe, 0, fold)[1].train, fold_plan(everybody, recipe, 0, fold)[1].train)


def test_only_unheard_speakers_are_predicted_and_a_fold_without_one_is_left_out(encoder, recipe, workspace, tmp_path):
    encoder.heard_speakers = ("english0", "english1", "english2", "english4")
    crossvalidate(
        [recipe], ENGLISH, encoder, Design(2, 1, 2, unheard=True), tmp_path, workspace, "cpu", lambda line: None
    )
    for name in ("predictions", "controls"):
        assert set(pd.read_csv(tmp_path / f"{name}.csv")["speaker"]) == {"english3", "english5"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tested"] == [[], ["english3", "english5"]] and report["design"]["unheard"]


def test_an_encoder_that_heard_everybody_is_refused(encoder, recipe, workspace):
    encoder.heard_speakers = tuple(f"english{one}" for one in range(6))
    with pytest.raises(LeakingSplit, match="heard 6 of the test speakers"):
        set_up([recipe], ENGLISH, encoder, Design(2, 1, unheard=True), workspace, "cpu")


def test_every_corpus_is_tested_by_what_the_others_taught(encoder, recipe, workspace, tmp_path):
    design, three = Design(None, 1, corpora=True), join([ENGLISH, POLISH, GERMAN])
    experiment = set_up([recipe], three, encoder, design, workspace, "cpu")
    source = experiment.utterances.corpus.table["corpus"].to_numpy()
    tested = []
    for fold in range(3):
        _, plan, dev = fold_plan(experiment, recipe, 0, fold)
        (name,) = set(source[plan.test])
        assert set(source[plan.train]) == {"english", "polish", "german"} - {name} and not dev
        tested.append(name)
    assert sorted(tested) == ["english", "german", "polish"]
    crossvalidate([recipe], three, encoder, design, tmp_path, workspace, "cpu", lambda line: None)
    predictions, controls = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("predictions", "controls"))
    polish = predictions[predictions["corpus"] == "polish"]
    assert set(polish["predicted_emotion"]) <= {"neutral", "fear"} and (polish["p_anger"] == 0).all()
    of_all = controls[controls["control"] == ALL_EMOTIONS]
    assert len(of_all) == len(predictions) and (of_all["p_anger"] > 0).all()  # the same targets, with every emotion
    summary = json.loads((tmp_path / "report.json").read_text())["summary"]["speaker_reference"]
    assert summary[f"uar_{ALL_EMOTIONS}"] == pytest.approx(uar(of_all["emotion"], of_all["predicted_emotion"]))


@pytest.mark.parametrize(
    ("corpora", "said"),
    [
        ([ENGLISH], "only english has emotions"),
        ([ENGLISH, POLISH], "'anger' is in english alone, so nobody teaches it"),
        ([GERMAN, replace(corpus("german", ("neutral", "anger")), name="again")], "speaker 'german0' is in 2 corpora"),
    ],
)
def test_corpora_that_cannot_be_left_out_one_at_a_time_are_refused(encoder, recipe, workspace, corpora, said):
    if len(corpora) == 2 and corpora[1].name == "again":
        other = corpora[1].table.assign(corpus="again")
        corpora = [corpora[0], replace(corpora[1], table=other.set_axis([f"again_{one}" for one in other.index]))]
    with pytest.raises(BadCorpus, match=said):
        set_up([recipe], join(corpora), encoder, Design(None, 1, corpora=True), workspace, "cpu")


def test_designs_that_contradict_themselves_or_the_encoder_are_refused(encoder, recipe, workspace):
    with pytest.raises(BadRecipe, match="goes neither with a number of folds"):
        set_up([recipe], ENGLISH, encoder, Design(5, 1, corpora=True), workspace, "cpu")
    with pytest.raises(BadRecipe, match="does not say whom it has heard"):
        set_up([recipe], ENGLISH, encoder, Design(2, 1, unheard=True), workspace, "cpu")
