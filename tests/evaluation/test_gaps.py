"""Gaps over all classes: truth from fairlearn (one class against the rest) and from simulated worlds without an effect."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from ser_core.evaluation.counts import count
from ser_core.evaluation.gaps import KINDS, change_of, gap_of, gaps_of_counts, mean_gaps

CLASSES = ("neutral", "anger", "fear")


def answered(n_speakers: int = 8, n_each: int = 12, n_groups: int = 2, seed: int = 0, bias: float = 0.0):
    """Predictions of speakers whose group the answers depend on as much as `bias` says, 0 to 1."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(n_speakers), 3 * n_each)
    emotion = np.tile(CLASSES, n_speakers * n_each)
    table = pd.DataFrame(
        {"speaker": [f"s{one:02d}" for one in speaker], "group": [f"g{one % n_groups}" for one in speaker]}
    )
    table = table.assign(emotion=emotion, seed=0, corpus="one")
    guessed = np.where(rng.random(len(table)) < 0.6, emotion, rng.choice(CLASSES, len(table)))
    biased = (rng.random(len(table)) < bias) & (table["group"] == "g0")
    return table.assign(predicted_emotion=np.where(biased, "anger", guessed))


def of_speakers(table: pd.DataFrame, column: str) -> pd.Series:
    return table.groupby("speaker")[column].first()


def measured(table: pd.DataFrame, n: int = 50):
    return gap_of(count(table, CLASSES), of_speakers(table, "group"), of_speakers(table, "corpus"), n)


def fairlearns(table: pd.DataFrame) -> dict[str, list[float]]:
    """ΔSP and worst-case ΔEO of each class against the rest."""
    found: dict[str, list[float]] = {"sp": [], "eo": []}
    rates = {"selected": selection_rate, "recall": true_positive_rate, "false": false_positive_rate}
    for name in CLASSES:
        truth, said = ((table[of] == name).astype(int) for of in ("emotion", "predicted_emotion"))
        frame = MetricFrame(metrics=rates, y_true=truth, y_pred=said, sensitive_features=table["group"])
        gap = frame.difference(method="between_groups")
        found["sp"].append(gap["selected"])
        found["eo"].append(max(gap["recall"], gap["false"]))
        odds = equalized_odds_difference(truth, said, sensitive_features=table["group"], agg="worst_case")
        assert found["eo"][-1] == pytest.approx(odds)
    return found


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gaps_of_each_class_and_over_all_are_fairlearns(n_groups, seed):
    table = answered(7, 5, n_groups, seed, bias=0.3)
    found, expected = measured(table), fairlearns(table)
    for kind in KINDS:
        np.testing.assert_allclose(found[kind].of_class, expected[kind], atol=1e-9)
        assert found[kind].mean == pytest.approx(np.mean(expected[kind]))
        assert found[kind].largest == pytest.approx(max(expected[kind]))


def test_counts_of_many_worlds_at_once_give_the_gaps_of_each():
    worlds = [answered(seed=seed, bias=0.3) for seed in range(3)]
    pooled = np.stack([
        np.stack([pd.crosstab(pd.Categorical(part["emotion"], CLASSES), pd.Categorical(part["predicted_emotion"], CLASSES)).to_numpy()
                  for _, part in world.groupby("group")])
        for world in worlds
    ]).astype(float)  # fmt: skip
    found = gaps_of_counts(pooled)
    for place, world in enumerate(worlds):
        expected = fairlearns(world)
        for kind in KINDS:
            np.testing.assert_allclose(found[kind][place], expected[kind], atol=1e-9)
    recall = np.diagonal(pooled, axis1=-2, axis2=-1) / pooled.sum(-1)
    np.testing.assert_allclose(found["uar"], np.ptp(recall.mean(-1), axis=-1))


def test_seeds_are_pooled_as_rows_are():
    parts = [answered(seed=seed, bias=0.3).assign(seed=seed) for seed in range(2)]
    whole = pd.concat(parts)
    np.testing.assert_allclose(measured(whole)["sp"].of_class, fairlearns(whole)["sp"], atol=1e-9)


def test_a_bias_that_was_put_in_lies_beyond_the_band_and_its_interval_is_around_it():
    gap = measured(answered(16, bias=0.5), n=400)["sp"]
    assert gap.mean > gap.band and gap.interval[0] <= gap.mean <= gap.interval[1] and gap.interval[0] > 0
    assert gap.of_class[1] == gap.largest > gap.band_of_class[1]  # anger


@pytest.mark.parametrize("kind", KINDS)
def test_without_an_effect_a_gap_lies_beyond_its_band_in_about_five_of_a_hundred_worlds(kind):
    beyond = [gap.mean > gap.band for seed in range(250) for gap in [measured(answered(12, 4, seed=seed), 200)[kind]]]
    assert 0.01 < np.mean(beyond) < 0.095  # 0.05 and about three standard errors of 250


def test_groups_are_dealt_out_anew_within_a_corpus_only():
    """All women are of one corpus and all men of another: nothing can be dealt, so the band is the gap itself."""
    table = answered(8, bias=0.5)
    table = table.assign(corpus=table["group"].map({"g0": "one", "g1": "other"}))
    gap = measured(table)["sp"]
    assert gap.band == pytest.approx(gap.mean)
    assert measured(answered(8, bias=0.5), 400)["sp"].band < gap.mean


def test_speakers_of_unknown_group_are_left_out():
    table = answered(8, bias=0.3)
    strangers = answered(2, seed=9).assign(group=None)
    strangers["speaker"] = "x" + strangers["speaker"]
    mixed = measured(pd.concat([table, strangers]))
    for kind in KINDS:
        np.testing.assert_allclose(mixed[kind].of_class, measured(table)[kind].of_class)
        assert mixed[kind].interval == measured(table)[kind].interval


@pytest.mark.parametrize("group", ["g0", None])
def test_one_group_or_none_that_is_known_has_no_gap(group):
    table = answered().assign(group=group)
    for gap in measured(table).values():
        assert np.isnan([gap.mean, gap.largest, gap.band, *gap.interval, *gap.of_class, *gap.band_of_class]).all()
    counts = count(table, CLASSES)
    for change in change_of(counts, counts, of_speakers(table, "group")).values():
        assert np.isnan([change.value, *change.interval, change.p]).all()


# changes


def changed(first: pd.DataFrame, second: pd.DataFrame, n: int = 400):
    return change_of(count(first, CLASSES), count(second, CLASSES), of_speakers(first, "group"), n)


def test_a_method_does_not_differ_from_itself():
    for change in changed(answered(bias=0.4), answered(bias=0.4)).values():
        assert change.value == 0 and change.interval == (0, 0) and change.p == 1


def test_a_change_is_the_difference_of_the_gaps_and_turns_its_sign_with_the_two():
    biased, fair = answered(12, bias=0.5, seed=1), answered(12, seed=2)
    there, back = changed(fair, biased), changed(biased, fair)
    for kind in KINDS:
        gaps = [np.mean(fairlearns(table)[kind]) for table in (fair, biased)]
        assert there[kind].value == pytest.approx(gaps[0] - gaps[1]) and there[kind].value < 0
        assert back[kind].value == pytest.approx(-there[kind].value) and back[kind].p == there[kind].p
        np.testing.assert_allclose(back[kind].interval, [-bound for bound in there[kind].interval[::-1]])


def test_a_remedy_that_takes_a_large_bias_away_is_told_from_chance():
    change = changed(answered(16, seed=2), answered(16, bias=0.6, seed=1))["sp"]
    assert change.p < 0.05 and change.interval[1] < 0


def test_two_methods_that_are_alike_differ_surely_in_no_more_than_five_of_a_hundred_worlds():
    """Chance alone, on the same speakers. Ties between worlds, whose gaps are fractions, make p larger, never smaller."""
    p = np.array([
        changed(answered(10, 4, seed=2 * seed), answered(10, 4, seed=2 * seed + 1), 200)["sp"].p for seed in range(200)
    ])  # fmt: skip
    assert np.mean(p < 0.05) < 0.1 and 0.04 < np.mean(p < 0.2) < 0.3


# while it trains


@pytest.mark.parametrize("seed", [0, 1])
def test_mean_gaps_of_arrays_are_fairlearns(seed):
    table = answered(6, 5, 3, seed, bias=0.3)
    place = {name: number for number, name in enumerate(CLASSES)}
    truth, said = (table[column].map(place).to_numpy() for column in ("emotion", "predicted_emotion"))
    group = table["group"].map({"g0": 4, "g1": 0, "g2": 2}).to_numpy()
    found, expected = mean_gaps(truth, said, group, 3), fairlearns(table)
    assert found == {kind: pytest.approx(np.mean(expected[kind])) for kind in KINDS}
    untold = mean_gaps(np.full(len(truth), -1), said, group, 3)
    assert untold["sp"] == pytest.approx(found["sp"]) and np.isnan(untold["eo"])
    partly = mean_gaps(np.where(np.arange(len(truth)) == 0, -1, truth), said, group, 3)
    assert partly["sp"] == pytest.approx(found["sp"]) and np.isnan(partly["eo"])


def test_mean_gaps_of_one_group_or_of_nobody_are_not_known():
    for n in (0, 5):
        nobody = np.zeros(n, dtype=int)
        assert np.isnan([*mean_gaps(nobody, nobody, nobody, 3).values()]).all()


def test_a_class_that_a_group_does_not_say_has_no_recall_to_compare_and_is_left_out_of_the_mean():
    truth, said, group = np.array([0, 1, 0, 1, 2]), np.array([0, 1, 0, 0, 2]), np.array([0, 0, 1, 1, 1])
    found = mean_gaps(truth, said, group, 3)
    recall, false = np.array([1.0, 1.0]) - [1.0, 0.0], np.array([0.0, 0.0]) - [1 / 2, 0.0]
    assert found["eo"] == pytest.approx(np.maximum(np.abs(recall), np.abs(false)).mean())
    assert found["sp"] == pytest.approx(np.abs(np.array([1 / 2, 1 / 2, 0]) - [2 / 3, 0, 1 / 3]).mean())
