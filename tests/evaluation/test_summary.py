"""The summary of a cross-validation; truth by hand."""

import pandas as pd
import pytest

from ser_core.evaluation.summary import draw_results, sentence_column, summarise, summary_table


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


def test_the_line_of_attributes_is_the_mean_ccc_over_seeds_of_what_was_rated():
    import audmetric

    rated, said = [1.0, 2.0, 4.0, float("nan")], {0: [1.5, 2.0, 3.0, 9.0], 1: [3.0, 2.0, 1.0, 9.0]}
    table = pd.concat(
        [
            _table(list("abab"), None, list("sstt"), method="rater", seed=seed, arousal=rated, predicted_arousal=values,
                   gender="female", text_id="1")
            for seed, values in said.items()
        ], ignore_index=True,
    )  # fmt: skip
    choice = pd.DataFrame({"speaker": ["s"], "emotion": ["a"], "utterance_id": ["x"], "text_id": ["1"]})
    none = table.iloc[:0]
    summary = summarise(table, none.assign(control=""), none.assign(draw=0), choice)
    expected = [audmetric.concordance_cc(rated[:3], values[:3]) for values in said.values()]
    assert summary["rater"] == {"n_targets": 4, "n_speakers": 2, "ccc_arousal": pytest.approx(sum(expected) / 2)}
    head, _, line = summary_table(summary).splitlines()
    cells = dict(zip(head.split(" | "), line.split(" | "), strict=True))
    assert cells["UAR"] == cells["Gini"] == "–" and cells["CCC arousal |"] == f"{sum(expected) / 2:.3f} |"


def test_draws_of_a_method_of_attributes_have_no_uar_and_hide_nobody_elses():
    ours = _table(["a", "b"], ["a", "a"], method="ours", seed=0, draw=0)
    rater = _table(["a", "b"], None, method="rater", seed=0, draw=0)
    results = draw_results(pd.concat([ours, rater], ignore_index=True))
    assert results["method"].to_list() == ["ours"] and results["uar"].to_list() == [0.5]
