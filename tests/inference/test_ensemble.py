"""Several systems, one answer: means by hand, weights by audmetric, and what cannot be averaged."""

import audmetric
import numpy as np
import pandas as pd
import pytest

from ser_core.inference.ensemble import BadEnsemble, mean_answer, mean_of_tables, weights_by_ccc

IDS = ("u1", "u2", "u3")


def table(method: str, anger=None, order=(0, 1, 2), seed: int = 0, fold: int = 0, **columns) -> pd.DataFrame:
    """Predictions about three utterances; anger's probability, fear has the rest; further columns as given."""
    made = pd.DataFrame(
        {
            "utterance_id": IDS, "speaker": ["a", "a", "b"], "emotion": ["anger", "fear", "fear"],
            "method": method, "seed": seed, "fold": fold, "predicted_emotion": None, **columns,
        }
    )  # fmt: skip
    if anger is not None:
        p = np.array(anger)
        made = made.assign(p_anger=p, p_fear=1 - p, predicted_emotion=np.where(p > 0.5, "anger", "fear"))
    return made.iloc[list(order)].reset_index(drop=True)


def test_the_mean_of_two_tables_by_hand():
    mixed = mean_of_tables({"one": table("one", [0.9, 0.6, 0.2]), "two": table("two", [0.3, 0.2, 0.4])})
    np.testing.assert_allclose(mixed["p_anger"], [0.6, 0.4, 0.3])
    np.testing.assert_allclose(mixed["p_fear"], [0.4, 0.6, 0.7])
    assert mixed["predicted_emotion"].to_list() == ["anger", "fear", "fear"]
    assert set(mixed["method"]) == {"ensemble"} and mixed["utterance_id"].to_list() == list(IDS)
    assert mixed["speaker"].to_list() == ["a", "a", "b"]


def test_weights_count_and_need_not_sum_to_one():
    tables = {"one": table("one", [0.9, 0.6, 0.2]), "two": table("two", [0.3, 0.2, 0.4])}
    mixed = mean_of_tables(tables, {"one": 3.0, "two": 1.0}, "ours")
    np.testing.assert_allclose(mixed["p_anger"], [0.75, 0.5, 0.25])
    assert set(mixed["method"]) == {"ours"}
    alone = mean_of_tables(tables, {"one": 0.0, "two": 2.0})
    np.testing.assert_allclose(alone["p_anger"], [0.3, 0.2, 0.4])


def test_the_order_of_rows_and_of_columns_does_not_matter():
    one, two = table("one", [0.9, 0.6, 0.2]), table("two", [0.3, 0.2, 0.4], order=(2, 0, 1))
    mixed = mean_of_tables({"one": one, "two": two[two.columns[::-1]]})
    np.testing.assert_allclose(mixed.set_index("utterance_id")["p_anger"][list(IDS)], [0.6, 0.4, 0.3])


def test_the_tables_given_are_untouched():
    one, two = table("one", [0.9, 0.6, 0.2]), table("two", [0.3, 0.2, 0.4])
    before = one.copy()
    mean_of_tables({"one": one, "two": two})
    pd.testing.assert_frame_equal(one, before)


def test_seeds_and_folds_are_kept_apart():
    """The same utterances in two seeds: each seed is averaged by itself."""
    both = [
        pd.concat([table(name, first, seed=0), table(name, second, seed=1)], ignore_index=True)
        for name, first, second in (("one", [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), ("two", [0.6] * 3, [0.2] * 3))
    ]
    mixed = mean_of_tables({"one": both[0], "two": both[1]})
    np.testing.assert_allclose(mixed[mixed["seed"] == 0]["p_anger"], 0.8)
    np.testing.assert_allclose(mixed[mixed["seed"] == 1]["p_anger"], 0.1)


def test_systems_of_one_attribute_each_join_a_system_of_emotions():
    """The form of the paper: each counts for what it predicts, and the classes are the one system's own."""
    emotions = table("emotions", [0.9, 0.6, 0.2], predicted_valence=[2.0, 3.0, 4.0])
    arousal = table("arousal", predicted_arousal=[1.0, 2.0, 3.0], p_anger=np.nan, p_fear=np.nan)
    valence = table("valence", predicted_valence=[4.0, 5.0, 6.0])
    for order in (("emotions", "arousal", "valence"), ("arousal", "valence", "emotions")):
        tables = {"emotions": emotions, "arousal": arousal, "valence": valence}
        mixed = mean_of_tables({name: tables[name] for name in order})
        np.testing.assert_allclose(mixed["p_anger"], [0.9, 0.6, 0.2])
        assert mixed["predicted_emotion"].to_list() == ["anger", "anger", "fear"]
        np.testing.assert_allclose(mixed["predicted_arousal"], [1, 2, 3])
        np.testing.assert_allclose(mixed["predicted_valence"], [3, 4, 5])
        assert "predicted_dominance" not in mixed


def test_attributes_alone_give_no_emotion():
    mixed = mean_of_tables(
        {name: table(name, predicted_arousal=[1.0, 2.0, at]) for name, at in (("a", 3.0), ("b", 5.0))}
    )
    np.testing.assert_allclose(mixed["predicted_arousal"], [1, 2, 4])
    assert mixed["predicted_emotion"].isna().all() and not any(name.startswith("p_") for name in mixed)


@pytest.mark.parametrize(
    "other",
    [
        table("two", [0.3, 0.2, 0.4], order=(0, 1)),
        table("two", [0.3, 0.2, 0.4], seed=1),
        table("two", [0.3, 0.2, 0.4], fold=1),
        table("two", [0.3, 0.2, 0.4], order=(0, 1, 2, 2)),
        table("two", [0.3, 0.2, 0.4]).assign(utterance_id=["u1", "u2", "u9"]),
    ],
)
def test_other_targets_are_refused_in_words(other):
    with pytest.raises(BadEnsemble, match="'two' predicts other targets than the first system"):
        mean_of_tables({"one": table("one", [0.9, 0.6, 0.2]), "two": other})


def test_other_classes_are_refused_in_words():
    other = table("two", [0.3, 0.2, 0.4]).rename(columns={"p_fear": "p_sadness"})
    with pytest.raises(BadEnsemble, match="the systems tell different emotions apart: one, two"):
        mean_of_tables({"one": table("one", [0.9, 0.6, 0.2]), "two": other})


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"one": -1.0, "two": 2.0}, "must not be negative"),
        ({"one": 0.0, "two": 0.0}, "nor all zero"),
        ({"one": 1.0}, "there is no weight for two"),
        ({"one": float("nan"), "two": 1.0}, "weights must not be"),
    ],
)
def test_weights_that_leave_nobody_are_refused_in_words(weights, words):
    with pytest.raises(BadEnsemble, match=words):
        mean_of_tables({"one": table("one", [0.9, 0.6, 0.2]), "two": table("two", [0.3, 0.2, 0.4])}, weights)


def test_a_column_whose_only_systems_have_no_weight_is_refused_in_words():
    """As weights by CCC give them where a system of one attribute is no better than chance."""
    tables = {
        "emotions": table("emotions", [0.9, 0.6, 0.2]),
        "arousal": table("arousal", predicted_arousal=[1.0, 2, 3]),
    }
    with pytest.raises(BadEnsemble, match="'predicted_arousal' is predicted by arousal only, and they have no weight"):
        mean_of_tables(tables, {"emotions": 1.0, "arousal": 0.0})


def test_one_system_is_no_ensemble():
    with pytest.raises(BadEnsemble, match="needs two systems at least; found 1"):
        mean_of_tables({"one": table("one", [0.9, 0.6, 0.2])})


def rated(n: int = 40, seed: int = 0) -> tuple[pd.DataFrame, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.uniform(1, 7, (n, 3)), columns=["arousal", "valence", "dominance"]), rng


def test_weights_are_the_mean_ccc_that_audmetric_gives():
    truth, rng = rated()
    good = truth.assign(
        predicted_arousal=truth["arousal"] + rng.normal(0, 1, 40), predicted_valence=truth["valence"] * 0.5 + 2
    )
    poor = truth.assign(predicted_dominance=truth["dominance"] * 0.4 + rng.normal(3, 0.5, 40))
    expected = np.mean(
        [audmetric.concordance_cc(good[name], good[f"predicted_{name}"]) for name in ("arousal", "valence")]
    )
    weights = weights_by_ccc({"good": good, "poor": poor})
    assert weights["good"] == pytest.approx(expected)
    assert weights["poor"] == pytest.approx(audmetric.concordance_cc(poor["dominance"], poor["predicted_dominance"]))


def test_a_system_that_is_worse_than_chance_has_no_weight():
    truth, _ = rated()
    assert weights_by_ccc({"upside down": truth.assign(predicted_arousal=8 - truth["arousal"])}) == {"upside down": 0.0}


def test_utterances_that_nobody_rated_do_not_count():
    truth, rng = rated()
    said = truth.assign(predicted_arousal=truth["arousal"] + rng.normal(0, 1, 40))
    known = said["arousal"] > 3
    expected = audmetric.concordance_cc(said["arousal"][known], said["predicted_arousal"][known])
    partly = said.assign(arousal=said["arousal"].where(known))
    assert weights_by_ccc({"one": partly})["one"] == pytest.approx(expected)


@pytest.mark.parametrize("columns", [{}, {"predicted_arousal": 3.0, "arousal": 3.0}, {"predicted_arousal": np.nan}])
def test_a_system_without_a_ccc_cannot_be_weighed_and_that_is_said(columns):
    truth, _ = rated()
    with pytest.raises(
        BadEnsemble, match="'emotions' predicts no attribute, so it has no CCC; weigh all systems alike"
    ):
        weights_by_ccc({"emotions": truth.assign(**columns)})


def test_the_mean_of_answers_by_hand():
    answers = [{"anger": 0.7, "fear": 0.3}, {"fear": 0.6, "anger": 0.4}, {"anger": 0.1, "fear": 0.9}]
    assert mean_answer(answers) == pytest.approx({"anger": 0.4, "fear": 0.6})
