"""The summary of a cross-validation; truth by hand."""

import pandas as pd
import pytest

from ser_core.evaluation.summary import sentence_column, summarise, summary_table


def _table(truth, prediction, speaker="s", **more):
    return pd.DataFrame({"emotion": truth, "predicted_emotion": prediction, "speaker": speaker, **more})


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
    assert summary["baseline"]["gini"] == pytest.approx(1 / 6)  # 0.5 · (2 · 0.5 / 4) / 0.75
    assert summary["baseline"]["uar_new_sentence"] == 0.5 and summary["ours"]["uar_new_sentence"] == 1.0
    assert summary_table(summary).count("\n") == 4


def test_a_sentence_that_is_not_known_is_never_called_new():
    table = _table(["a"], ["a"], text_id=[pd.NA])
    choice = pd.DataFrame({"speaker": ["s"], "emotion": ["a"], "utterance_id": ["x"], "text_id": [pd.NA]})
    assert sentence_column(table, choice).isna().all()
