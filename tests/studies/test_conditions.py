"""The numbers of a study against scikit-learn and scipy, on the same targets; and small networks through whole studies."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from known_world import METHODS, network, spoken
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus
from ser_core.studies import enrolment_choice, enrolment_errors, enrolment_size
from ser_core.studies.conditions import (
    NOBODY,
    REFERENCE,
    altered,
    cells_of,
    predict_conditions,
    results,
)
from ser_core.studies.enrolment_errors import RIGHT
from ser_core.training.crossvalidation import crossvalidate
from ser_core.workspace import open_workspace

STUDIES = {"enrolment-size": enrolment_size, "enrolment-errors": enrolment_errors, "enrolment-choice": enrolment_choice}
KEYS = ["utterance_id", "seed"]
PLAIN = SimpleNamespace(contrast=lambda condition: None)


def _said(n_speakers: int, ability: float, condition: str, skip: int = 0, seed: int = 0) -> pd.DataFrame:
    """Predictions of two seeds: everybody says two emotions twenty times, the first `skip` of each are no targets."""
    rng = np.random.default_rng(seed)
    rows = [
        {"utterance_id": f"s{s}_{emotion}_{place}", "speaker": f"s{s}", "seed": run, "emotion": emotion, "place": place}
        for run in range(2) for s in range(n_speakers) for emotion in ("anger", "fear") for place in range(20)
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(method="ours", condition=condition, sentence="new")
    other = table["emotion"].map({"anger": "fear", "fear": "anger"})
    table["predicted_emotion"] = table["emotion"].where(rng.random(len(table)) < ability, other)
    return table[table["place"] >= skip]


def _uar_of_speakers(table: pd.DataFrame) -> pd.Series:
    """scikit-learn's, mean over seeds."""
    rows = {
        key: balanced_accuracy_score(part["emotion"], part["predicted_emotion"])
        for key, part in table.groupby(["speaker", "seed"])
    }
    return pd.Series(rows).groupby(level=0).mean()


@pytest.fixture(scope="module")
def told() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """All utterances with nobody enrolled, fewer under the condition, and what is made of them."""
    reference, part = _said(6, 0.6, REFERENCE), _said(6, 0.7, "enrolled", skip=5, seed=1)
    [row] = results(pd.concat([reference, part]), PLAIN).to_dict("records")
    return reference, part, pd.Series(row)


def test_uar_is_pooled_over_speakers_and_averaged_over_seeds(told):
    _, part, row = told
    of_seeds = [balanced_accuracy_score(one["emotion"], one["predicted_emotion"]) for _, one in part.groupby("seed")]
    assert row["uar"] == pytest.approx(np.mean(of_seeds))
    assert row["worst_speaker"] == pytest.approx(_uar_of_speakers(part).min())
    assert row["uar_from"] < row["uar"] < row["uar_to"]


def test_the_change_is_counted_on_the_conditions_own_targets(told):
    reference, part, row = told
    own = reference[reference["place"] >= 5]
    change = _uar_of_speakers(part) - _uar_of_speakers(own)
    of_all = _uar_of_speakers(part) - _uar_of_speakers(reference)
    assert row["change"] == pytest.approx(change.mean())
    assert abs(change.mean() - of_all.mean()) > 1e-6  # else the comparison above says nothing
    assert row["share_worse"] == pytest.approx((change < -1e-9).mean())
    assert row["change_from"] < row["change"] < row["change_to"]


def test_the_p_of_the_change_is_scipys(told):
    reference, part, row = told
    change = (_uar_of_speakers(part) - _uar_of_speakers(reference[reference["place"] >= 5])).round(12)
    exact = permutation_test((change,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert row["p"] == pytest.approx(exact.pvalue)


def test_it_is_said_how_much_was_measured(told):
    assert dict(told[2][["n_utterances", "n_speakers", "n_seeds"]]) == {
        "n_utterances": 6 * 2 * 15,
        "n_speakers": 6,
        "n_seeds": 2,
    }


def test_the_reference_is_compared_with_and_never_shown(told):
    reference, part, _ = told
    assert results(pd.concat([reference, part]), PLAIN)["condition"].to_list() == ["enrolled"]


def test_targets_whose_sentence_was_enrolled_are_left_out_of_the_new_ones():
    reference, part = _said(6, 0.6, REFERENCE), _said(6, 0.7, "enrolled")
    part = part.assign(sentence=np.where(part["place"] < 10, "enrolled", "new"))
    new = part[part["place"] >= 10]
    [row] = results(pd.concat([reference, part]), PLAIN).to_dict("records")
    change = _uar_of_speakers(new) - _uar_of_speakers(reference[reference["place"] >= 10])
    assert row["change_new_sentence"] == pytest.approx(change.mean())
    [none_new] = results(pd.concat([reference, part.assign(sentence="enrolled")]), PLAIN).to_dict("records")
    assert np.isnan(none_new["change_new_sentence"])


def test_conditions_are_contrasted_on_the_same_targets_and_p_is_adjusted_over_them():
    reference, right = _said(6, 0.6, REFERENCE), _said(6, 0.9, "right")
    wrong, nobody = _said(6, 0.7, "wrong", skip=5, seed=1), _said(6, 0.6, NOBODY)
    study = SimpleNamespace(contrast=lambda condition: "right" if condition == "wrong" else None)
    table = results(pd.concat([reference, nobody, right, wrong]), study).set_index("condition")
    change = _uar_of_speakers(wrong) - _uar_of_speakers(right[right["place"] >= 5])
    assert table.loc["wrong", "contrast_change"] == pytest.approx(change.mean())
    assert table.loc["wrong", "contrast"] == "right" and np.isnan(table.loc["right", "contrast_change"])
    p = table["p"].drop(NOBODY).sort_values()
    by_hand = [min(1, 2 * p.iloc[0]), max(min(1, 2 * p.iloc[0]), p.iloc[1])]
    assert list(table.loc[p.index, "p_holm"]) == pytest.approx(by_hand)
    assert np.isnan(table.loc[NOBODY, "p_holm"])


def test_methods_are_compared_with_themselves():
    reference, part = _said(6, 0.6, REFERENCE), _said(6, 0.6, "enrolled")
    better = pd.concat([reference.assign(predicted_emotion=reference["emotion"]), part]).assign(method="better")
    table = results(pd.concat([reference, part, better]), PLAIN).set_index("method")
    assert table.loc["ours", "change"] == 0 and table.loc["better", "change"] < -0.2


def test_one_speaker_alone_has_no_interval_and_no_p():
    [row] = results(pd.concat([_said(1, 0.6, REFERENCE), _said(1, 0.7, "enrolled")]), PLAIN).to_dict("records")
    assert all(np.isnan(row[name]) for name in ("uar_from", "uar_to", "change_from", "change_to", "p"))
    assert 0 <= row["uar"] <= 1


def test_altered_copies_stand_behind_the_corpus_and_are_no_targets():
    trained = network(spoken())
    choice = first_of_each(trained.utterances.corpus).iloc[:2]
    longer, copies = altered(trained.utterances, choice, "test", emotion=["anger", "anger"])
    n = len(trained.utterances.corpus)
    assert len(longer.corpus) == n + 2 and list(longer.corpus.table.index[:n]) == list(
        trained.utterances.corpus.table.index
    )
    assert list(longer.enrolment_rows(copies)["p0"]) == [n, n + 1]
    assert [longer.emotions[place] for place in longer.emotion[n:]] == ["anger", "anger"]
    rows = [trained.utterances.row_of[one] for one in choice["utterance_id"]]
    assert torch.equal(longer.features[n:], trained.utterances.features[rows])


def test_copies_and_utterances_of_no_class_are_in_no_cell():
    corpus = spoken(p0_anger_A2="p0_anger_A1")
    table = corpus.table.assign(emotion=corpus.table["emotion"].where(corpus.table.index != "p0_sadness_B1", "other"))
    cells = {(who, emotion): ids for who, emotion, ids in cells_of(replace(corpus, table=table), ("p0", "p1"))}
    assert set(cells) == {(who, emotion) for who in ("p0", "p1") for emotion in corpus.emotions}
    assert cells["p0", "anger"] == ["p0_anger_A1", "p0_anger_B1", "p0_anger_B2"]
    assert cells["p0", "sadness"] == ["p0_sadness_A1", "p0_sadness_A2", "p0_sadness_B2"]


@pytest.mark.parametrize("study", [enrolment_errors, enrolment_choice])
def test_a_corpus_that_leaves_no_target_is_refused(study, experiment, networks):
    trained = networks[0]
    single = trained.utterances.corpus.table.index.str.endswith("_t0_r0")
    utterances = replace(
        trained.utterances, corpus=trained.utterances.corpus.only(single), features=trained.utterances.features[single]
    )
    with pytest.raises(BadCorpus, match="synthetic: too few utterances"):
        predict_conditions(study, replace(trained, utterances=utterances), _hear_noise(experiment))


# small networks, trained


def _hear_noise(experiment):
    """An encoder that hears other things the louder the noise is; what it hears depends on the file alone."""
    shape = experiment.utterances.features.shape[1:]

    def hear(path: str, snr_db: float) -> np.ndarray:
        rng = np.random.default_rng(list(path.encode()))
        return (rng.standard_normal(shape) * 10 ** (-snr_db / 20)).astype(np.float32)

    return hear


@pytest.fixture(scope="module")
def predictions(experiment, networks) -> dict[str, pd.DataFrame]:
    return {
        name: pd.concat(
            [predict_conditions(study, one, _hear_noise(experiment)) for one in networks], ignore_index=True
        )
        for name, study in STUDIES.items()
    }


@pytest.mark.parametrize("name", STUDIES)
def test_every_network_is_measured_on_each_target_once_under_every_condition(name, predictions):
    table = predictions[name]
    assert set(table["method"]) == set(METHODS) and set(table["seed"]) == {0, 1} and set(table["fold"]) == {0, 1}
    assert not table.duplicated(["condition", "method", *KEYS]).any()
    same = table.groupby(["condition", "seed", "method"])["utterance_id"].agg(lambda ids: tuple(sorted(ids)))
    assert (same.groupby(["condition", "seed"]).nunique() == 1).all()


@pytest.mark.parametrize("name", STUDIES)
def test_the_baseline_hears_no_enrolment_and_nobody_enrolled_is_no_change(name, predictions):
    table = results(predictions[name], STUDIES[name])
    still = table[(table["method"] == "baseline") | (table["condition"] == NOBODY)]
    assert len(still) > len(METHODS)
    assert (still["change"] == 0).all() and (still["share_worse"] == 0).all() and (still["p"] == 1).all()
    assert (table["change"] != 0).any()


def _of(table: pd.DataFrame, method: str, condition: str) -> pd.DataFrame:
    """Probabilities of a method under a condition."""
    rows = table[(table["method"] == method) & (table["condition"] == condition)].set_index(KEYS).sort_index()
    return rows[[column for column in rows if column.startswith("p_")]]


@pytest.mark.parametrize("condition", ["two labels exchanged", "all labels shuffled"])
@pytest.mark.parametrize("method", METHODS)
def test_which_utterance_a_label_belongs_to_matters_where_utterances_vote(method, condition, predictions):
    """Attention sees no labels; the reference's utterances vote for the emotions they are labelled with."""
    table = predictions["enrolment-errors"]
    shift = (_of(table, method, condition) - _of(table, method, RIGHT)).abs().to_numpy().max()
    assert shift > 1e-4 if method == "speaker_reference" else shift < 1e-5


@pytest.mark.parametrize(("method", "moves"), [("enrolment_attention", False), ("speaker_reference", True)])
def test_a_label_that_takes_anothers_place_moves_the_reference_and_no_attention(method, moves, predictions):
    table = predictions["enrolment-errors"]
    shift = (_of(table, method, "one bad: wrong label") - _of(table, method, RIGHT)).abs().to_numpy().max()
    assert shift > 1e-3 if moves else shift < 1e-5


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("condition", ["another speaker's, all", "noise at 0 dB, all", "one bad: noise at 0 dB"])
def test_another_voice_and_noise_are_heard(condition, method, predictions):
    table = predictions["enrolment-errors"]
    assert (_of(table, method, condition) - _of(table, method, RIGHT)).abs().to_numpy().max() > 1e-3


def test_the_right_enrolment_gives_what_crossvalidation_gives(experiment, predictions, tmp_path):
    crossvalidate(
        experiment.recipes, experiment.utterances.corpus, experiment.encoder, experiment.design, tmp_path / "out",
        open_workspace(tmp_path / "workspace"), "cpu", lambda line: None,
    )  # fmt: skip
    table = predictions["enrolment-errors"]
    keys = ["method", "seed", "utterance_id"]
    ours = table[table["condition"] == RIGHT].set_index(keys)["p_anger"].sort_index()
    theirs = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index(keys)["p_anger"].sort_index()
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_same_networks_give_the_same_study_again(experiment, networks, predictions):
    again = pd.concat(
        [predict_conditions(enrolment_size, one, _hear_noise(experiment)) for one in networks], ignore_index=True
    )
    pd.testing.assert_frame_equal(again, predictions["enrolment-size"])
