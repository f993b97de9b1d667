"""Shifts and correlations against scipy on hand-made tables; and small networks whose shifts are computed anew."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from known_world import spoken
from scipy.stats import entropy, pearsonr
from sklearn.metrics import balanced_accuracy_score

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus
from ser_core.evaluation.performance import ccc
from ser_core.evaluation.shift import feature_shift, normal_divergence
from ser_core.inference.predict import answers
from ser_core.labels import ATTRIBUTES
from ser_core.recipe import read_recipe
from ser_core.studies.label_shift import LEAST_SPREAD, check, correlation, measure, numbers, tables
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Design, set_up, trained_folds
from ser_core.workspace import open_workspace


def _hear_nothing(path: str, snr_db: float) -> np.ndarray:
    raise AssertionError("this study hears no noise")


@pytest.fixture(scope="module")
def skewed(experiment):
    """The networks' corpus after somebody deleted files: speakers differ in which emotions they show."""

    def make(trained):
        corpus = trained.utterances.corpus
        number = corpus.table["speaker"].str[-1].astype(int)
        gone = (corpus.table["emotion"] == "anger") & corpus.table.index.str.endswith("_r1") & (number % 3 == 0)
        utterances = replace(
            trained.utterances,
            corpus=corpus.only(~gone),
            features=trained.utterances.features[torch.from_numpy((~gone).to_numpy(copy=True))],
        )
        return replace(trained, utterances=utterances)

    return make


@pytest.fixture(scope="module")
def trained(networks):
    return next(one for one in networks if one.name == "speaker_reference")


def test_each_test_speaker_is_a_row_with_the_uar_of_its_predictions(trained):
    table = measure(trained, _hear_nothing)
    choice = first_of_each(trained.utterances.corpus)
    predicted = trained.predict(trained.targets(choice), choice)
    assert sorted(table["speaker"]) == sorted(trained.speakers)
    for row in table.itertuples():
        own = predicted[predicted["speaker"] == row.speaker]
        assert row.uar == pytest.approx(balanced_accuracy_score(own["emotion"], own["predicted_emotion"]))
        assert row.n_utterances == len(own)
    assert table[["ccc", "rating_shift"]].isna().all(axis=None)


def test_features_are_compared_with_those_of_the_speakers_who_trained_and_nobody_elses(trained):
    table = measure(trained, _hear_nothing).set_index("speaker")
    utterances, corpus = trained.utterances, trained.utterances.corpus
    choice = first_of_each(corpus)
    enrolled = utterances.enrolment_rows(choice)
    learned_from = sorted(set(corpus.table["speaker"]) - {*trained.speakers, *trained.dev})

    def heard(speakers) -> np.ndarray:
        usable = corpus.table["speaker"].isin(speakers) & ~corpus.table.index.isin(choice["utterance_id"])
        return answers(trained.method, utterances, np.flatnonzero(usable), enrolled).embedding

    for speaker in trained.speakers:
        expected = feature_shift(heard([speaker]), heard(learned_from))
        assert table.loc[speaker, "feature_shift"] == pytest.approx(expected, rel=1e-4)


def test_label_shift_is_scipys_entropy_of_what_is_recognised_against_what_was_learned_from(trained, skewed):
    trained = skewed(trained)
    corpus, choice = trained.utterances.corpus, first_of_each(trained.utterances.corpus)
    left = corpus.table[~corpus.table.index.isin(choice["utterance_id"])]

    def often(speakers) -> np.ndarray:
        counts = left[left["speaker"].isin(speakers)]["emotion"].value_counts()
        return np.array([counts.get(one, 0) + 1 for one in corpus.emotions])

    others = often(set(left["speaker"]) - {*trained.speakers, *trained.dev})
    table = measure(trained, _hear_nothing).set_index("speaker")
    assert table["label_shift"].nunique() > 1
    for speaker in trained.speakers:
        assert table.loc[speaker, "label_shift"] == pytest.approx(entropy(often([speaker]), others))


@pytest.fixture(scope="module")
def rated(experiment, tmp_path_factory):
    """A network that rates attributes and tells no emotions apart."""
    recipe = read_recipe("vanilla").changed(['settings.heads=["arousal", "valence", "dominance"]'])
    recipe = replace(
        recipe, encoder=replace(recipe.encoder, layers=()), training=replace(recipe.training, epochs=1, batch_size=16)
    )
    workspace = open_workspace(tmp_path_factory.mktemp("workspace"))
    attributes_only = set_up(
        [recipe], experiment.utterances.corpus, experiment.encoder, Design(2, 1), workspace, "cpu", lambda line: None
    )
    return next(iter(trained_folds(attributes_only, "cpu", lambda line: None)))


def test_a_network_that_rates_attributes_is_measured_by_them(rated):
    table = measure(rated, _hear_nothing)
    choice = first_of_each(rated.utterances.corpus)
    predicted = rated.predict(rated.targets(choice), choice)
    columns = list(ATTRIBUTES)
    ratings = rated.utterances.corpus.table[~rated.utterances.corpus.table.index.isin(choice["utterance_id"])]
    others = ratings[~ratings["speaker"].isin({*rated.speakers, *rated.dev})][columns].to_numpy(np.float32)
    assert table["uar"].isna().all()
    for row in table.itertuples():
        own = predicted[predicted["speaker"] == row.speaker]
        assert row.ccc == pytest.approx(np.mean([ccc(own[name], own[f"predicted_{name}"]) for name in columns]))
        assert row.rating_shift == pytest.approx(normal_divergence(own[columns].to_numpy(np.float32), others))
    pairs = set(zip(tables(table)[RESULTS]["x"], tables(table)[RESULTS]["y"], strict=True))
    assert {("feature_shift", "ccc"), ("rating_shift", "ccc"), ("feature_shift", "rating_shift")} <= pairs
    assert not any("uar" in pair for pair in pairs)


# correlations


def test_a_correlation_is_scipys_and_its_interval_is_over_speakers():
    rng = np.random.default_rng(1)
    x = pd.Series(rng.normal(size=24))
    y = -0.8 * x + 0.5 * rng.normal(size=24)
    found = correlation(x, y)
    assert found["r"] == pytest.approx(pearsonr(x, y).statistic) and found["n_speakers"] == 24
    scipys = pearsonr(x, y).confidence_interval(0.95)  # by Fisher's transformation
    assert found["r_from"] < found["r"] < found["r_to"] < 0
    assert (found["r_from"], found["r_to"]) == pytest.approx((scipys.low, scipys.high), abs=0.12)


@pytest.mark.parametrize("spread", [0.0, 0.9 * LEAST_SPREAD])
def test_where_everybody_shows_the_same_emotions_no_correlation_exists(spread):
    same, uar = pd.Series([0.1] * 9 + [0.1 + spread]), pd.Series(np.linspace(0.2, 0.9, 10))
    found = correlation(same, uar)
    assert all(np.isnan(found[name]) for name in ("r", "r_from", "r_to")) and found["n_speakers"] == 10


def test_two_speakers_are_too_few_and_unknown_ones_do_not_count():
    assert np.isnan(correlation(pd.Series([0.1, 0.2]), pd.Series([0.5, 0.7]))["r"])
    found = correlation(pd.Series([0.1, 0.2, 0.4, np.nan]), pd.Series([0.5, 0.7, 0.4, 0.9]))
    assert found["n_speakers"] == 3
    assert found["r"] == pytest.approx(pearsonr([0.1, 0.2, 0.4], [0.5, 0.7, 0.4]).statistic)


def _measured(label_shift) -> pd.DataFrame:
    """Two seeds of six speakers; who sounds further away is served worse."""
    rows = [
        {
            "method": "ours", "seed": seed, "fold": s % 2, "speaker": f"s{s}", "n_utterances": 10,
            "uar": 0.9 - 0.1 * s + 0.02 * seed, "ccc": np.nan, "feature_shift": 1.0 + s + 0.5 * seed,
            "label_shift": label_shift(s), "rating_shift": np.nan,
        }
        for seed in range(2) for s in range(6)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_speakers_are_averaged_over_seeds_and_then_correlated():
    out = tables(_measured(lambda s: 0.1 * (s % 3)))
    speakers = out["speakers"].set_index("speaker")
    assert list(out["speakers"].columns[:2]) == ["method", "speaker"] and len(speakers) == 6
    assert speakers.loc["s2", "uar"] == pytest.approx(0.71) and speakers.loc["s2", "feature_shift"] == pytest.approx(
        3.25
    )
    r = out[RESULTS].set_index(["x", "y"])["r"]
    assert r["feature_shift", "uar"] == pytest.approx(-1.0)
    by_hand = pearsonr([0, 1, 2, 0, 1, 2], np.arange(6)).statistic
    assert r["label_shift", "uar"] == pytest.approx(-by_hand)
    assert r["feature_shift", "label_shift"] == pytest.approx(by_hand)
    assert set(out[RESULTS]["n_speakers"]) == {6} and set(out[RESULTS]["n_utterances"]) == {60}
    assert set(out[RESULTS]["n_seeds"]) == {2} and len(r) == 3


def test_what_cannot_be_estimated_is_said_so_and_never_zero():
    told = numbers(tables(_measured(lambda s: 0.05)), str.upper)
    by_name = {name: value for name, value, _ in told.rows}
    assert by_name["OURS, label shift and UAR"] == by_name["OURS, feature shift and label shift"] == "not estimable"
    assert by_name["OURS, feature shift and UAR"].startswith("-1.000 (")


def test_a_script_that_all_speakers_follow_makes_no_label_shift_to_correlate_with(networks):
    out = tables(pd.concat([measure(one, _hear_nothing) for one in networks[:6]]))
    r = out[RESULTS].set_index(["method", "x", "y"])["r"]
    assert r.xs(("label_shift", "uar"), level=("x", "y")).isna().all()
    assert r.xs(("feature_shift", "uar"), level=("x", "y")).notna().any()
    assert set(out[RESULTS]["n_speakers"]) == {8}


def test_two_speakers_are_refused_before_anything_is_trained():
    with pytest.raises(BadCorpus, match="spoken has 2 speakers: too few for a correlation"):
        check(spoken(2))
    check(spoken(3))
