"""How the correction by free speech is learned and measured."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from ser_core.data.enrolment import first_of_each
from ser_core.data.tables import to_json
from ser_core.inference.models import CALIBRATION, VOICES, read_model
from ser_core.inference.recogniser import Recogniser
from ser_core.labels import APP_EMOTIONS
from ser_core.methods.checkpoint import load_method
from ser_core.recipe import BadRecipe
from ser_core.training import calibrate
from ser_core.training.calibrate import BASELINE, MIXED, NEUTRAL, add_calibration, imitated_talk, predictions
from ser_core.training.card import write_card
from ser_core.training.hearing import embedded

TEST = ["synthetic_2", "synthetic_3"]


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("model") / "tiny")
    nothing = dict.fromkeys(("train_speakers", "dev_speakers", "test_speakers"), [])
    measured = {"by_corpus": {}, "certainty": {}, "n_train_targets": 0, "seed": 0, "commit": "none", "torch": "none"}
    (folder / "report.json").write_text(json.dumps(nothing | measured))
    return folder


@pytest.fixture(scope="module")
def heard(synthetic_corpus, model, workspace):
    encoder = read_model(model).load_encoder(workspace)
    return embedded(synthetic_corpus, APP_EMOTIONS, encoder, workspace, "cpu", lambda line: None)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    path = tmp_path_factory.mktemp("split") / "split.toml"
    path.write_text('dev = ["synthetic_1"]\ntest = ["synthetic_2", "synthetic_3"]\n')
    return str(path)


def test_every_answer_is_about_the_same_targets_and_no_talk_is_a_target(heard, model, monkeypatch):
    method, choice = load_method(model / "baseline"), first_of_each(heard.corpus)
    correction = calibrate.fit_correction(method, heard, np.arange(64))
    talks: list[np.ndarray] = []
    original = imitated_talk

    def watched(utterances, rows):
        found = original(utterances, rows)
        talks.extend(found.values())
        return found

    monkeypatch.setattr(calibrate, "imitated_talk", watched)
    tables = {
        how: predictions(correction, method, heard, choice, TEST, how, np.random.default_rng(3))
        for how in (BASELINE, MIXED, NEUTRAL)
    }
    targets = set(tables[BASELINE].index)
    assert all(set(table.index) == targets for table in tables.values()) and targets
    spoken = set(heard.corpus.table.index[np.concatenate(talks)])
    assert not targets & spoken and not targets & set(choice["utterance_id"])
    monkeypatch.setattr(type(correction), "transform", lambda self, said, known: 1 - said)
    turned = predictions(correction, method, heard, choice, TEST, MIXED, np.random.default_rng(3))
    assert (tables[BASELINE]["predicted_emotion"] != turned["predicted_emotion"]).all()


def test_talk_is_thirty_seconds_at_most_half_of_what_there_is_and_neutral_where_it_says_so(heard):
    rows = np.random.default_rng(0).permutation(
        np.flatnonzero((heard.corpus.table["speaker"] == "synthetic_2").to_numpy())
    )
    talks = imitated_talk(heard, rows)
    assert len(talks[MIXED]) == len(rows) // 2  # 16 utterances of 0.8 s: less than 30 s
    assert (heard.corpus.table["emotion"].iloc[talks[NEUTRAL]] == "neutral").all()


def test_a_model_gets_its_correction_its_numbers_and_a_card_that_keeps_the_rest(
    synthetic_corpus, model, workspace, split
):
    report = add_calibration(model, synthetic_corpus, workspace, split, "cpu", lambda line: None)
    card = (model / "README.md").read_text()
    assert (model / CALIBRATION).is_file() and (model / VOICES).is_file()
    assert json.loads((model / "calibration.json").read_text())["by_corpus"] == json.loads(to_json(report["by_corpus"]))
    assert card.count("## Free speech") == 1 and "## How sure it is" in card and "## Intended use" in card
    again = add_calibration(model, synthetic_corpus, workspace, split, "cpu", lambda line: None)
    assert to_json(again["by_corpus"]) == to_json(report["by_corpus"])  # the same seed, the same numbers
    assert (model / "README.md").read_text().count("## Free speech") == 1
    (model / "report.json").unlink()
    with pytest.raises(BadRecipe, match="tiny has no report.json"):
        write_card(read_model(model))
    recogniser = Recogniser(workspace, str(model))
    assert recogniser.info.load_calibration().vectors_.shape[0] == 5  # training speakers only
    assert pd.isna(report["two_voices"].get("one speaker")) is False
