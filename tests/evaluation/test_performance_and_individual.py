"""Truth from audmetric, scikit-learn, and the formulas of arXiv 2406.06665 written out."""

import audmetric
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from ser_core.evaluation.individual import gini, speaker_uar
from ser_core.evaluation.performance import uar
from ser_core.evaluation.summary import sentence_column, summarise, summary_table

labels = st.lists(st.sampled_from("abc"), min_size=1, max_size=30)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40))
def test_uar_is_balanced_accuracy_over_the_classes_spoken(pairs):
    truth, prediction = zip(*pairs, strict=True)
    expected = np.mean([np.mean([p == c for t, p in pairs if t == c]) for c in set(truth)])
    assert uar(truth, prediction) == pytest.approx(expected)


def test_uar_agrees_with_scikit_learn_where_all_classes_occur():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    assert uar(truth, prediction) == pytest.approx(balanced_accuracy_score(truth, prediction))


def _table(truth, prediction, speaker="s", **more):
    return pd.DataFrame({"emotion": truth, "predicted_emotion": prediction, "speaker": speaker, **more})


def test_the_two_readings_of_speaker_uar_differ_as_the_papers_code_does():
    table = _table(["a", "a"], ["a", "b"])
    assert speaker_uar(table)["s"] == 0.5
    assert speaker_uar(table, "audmetric")["s"] == 0.25


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_the_second_reading_is_audmetrics(pairs):
    truth, prediction = map(list, zip(*pairs, strict=True))
    expected = audmetric.unweighted_average_recall(truth, prediction)
    assert speaker_uar(_table(truth, prediction), "audmetric")["s"] == pytest.approx(expected)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20), st.floats(0.1, 10.0))
def test_gini_is_the_papers_formula_in_range_and_scale_free(values, factor):
    pairs = [abs(x - y) for x in values for y in values]
    assert gini(values) == pytest.approx(0.5 * np.mean(pairs) / np.mean(values))
    assert 0 <= gini(values) < 1
    assert gini(np.array(values) * factor) == pytest.approx(gini(values))


def test_gini_is_zero_for_equals_and_not_a_number_for_nobody():
    assert gini([0.4, 0.4, 0.4]) == 0
    assert np.isnan(gini([0.0, 0.0])) and np.isnan(gini([]))


def _two_methods():
    truth = ["a", "b", "a", "b"]
    rows = {"gender": ["female", "female", "male", "male"], "text_id": ["1", "2", "1", "2"], "seed": 0}
    base = _table(truth, ["a", "a", "a", "b"], ["s", "s", "t", "t"], method="baseline", **rows)
    ours = _table(truth, ["a", "b", "b", "b"], ["s", "s", "t", "t"], method="ours", **rows)
    return pd.concat([base, ours], ignore_index=True)


def test_the_summary_of_a_table_small_enough_to_do_by_hand():
    table = _two_methods()
    choice = pd.DataFrame({"speaker": ["s", "t"], "emotion": "a", "utterance_id": ["x", "y"], "text_id": ["1", "1"]})
    none = table.iloc[:0]
    summary = summarise(table, none.assign(control=""), none.assign(draw=0), choice)
    assert summary["baseline"]["uar"] == 0.75 and summary["ours"]["uar"] == 0.75
    assert summary["baseline"]["gender_uar"] == {"female": 0.5, "male": 1.0}
    assert summary["ours"]["share_of_speakers_worse"] == 0.5
    assert summary["baseline"]["gini"] == pytest.approx(gini([0.5, 1.0]))
    assert summary["baseline"]["uar_new_sentence"] == 0.5 and summary["ours"]["uar_new_sentence"] == 1.0
    assert summary_table(summary).count("\n") == 4


def test_a_sentence_that_is_not_known_is_never_called_new():
    table = _table(["a"], ["a"], text_id=[pd.NA])
    choice = pd.DataFrame({"speaker": ["s"], "emotion": ["a"], "utterance_id": ["x"], "text_id": [pd.NA]})
    assert sentence_column(table, choice).isna().all()
