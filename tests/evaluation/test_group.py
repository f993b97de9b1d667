"""Truth from fairlearn (one class against the rest), pandas by hand, and simulated worlds without an effect."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ser_core.evaluation.counts import Counts, count
from ser_core.evaluation.group import attributes, compare_groups
from ser_core.evaluation.performance import uar
from ser_core.evaluation.predictions import check_predictions

CLASSES = ("neutral", "anger", "fear")
GENDER = {f"s{number}": ("female", "male")[number % 2] for number in range(6)}
answers = st.lists(
    st.tuples(st.sampled_from(sorted(GENDER)), st.sampled_from(CLASSES), st.sampled_from(CLASSES)),
    min_size=60, max_size=90,
)  # fmt: skip


def compared(table: pd.DataFrame, attribute: str = "gender", n_resamples: int = 20):
    """The report of one attribute, on a checked table of one method."""
    checked = check_predictions(table).table
    return compare_groups(checked, count(checked), attributes(checked)[attribute], n_resamples)


def spoken_by(rows) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["speaker", "emotion", "predicted_emotion"])
    return table.assign(gender=table["speaker"].map(GENDER))


def several_groups(n_groups: int, seed: int = 0, n: int = 400) -> pd.DataFrame:
    """A table in which every group has every class, with languages that serve unequally well."""
    rng = np.random.default_rng(seed)
    number = rng.integers(0, 3 * n_groups, n)
    emotion = rng.choice(CLASSES, n)
    right = rng.random(n) < 0.4 + 0.4 * (number % n_groups) / n_groups
    said = np.where(right, emotion, rng.choice(CLASSES, n, p=[0.6, 0.3, 0.1]))
    return pd.DataFrame(
        {
            "speaker": [f"s{one:02d}" for one in number],
            "language": [f"language {one % n_groups}" for one in number],
            "emotion": emotion,
            "predicted_emotion": said,
        }
    )


# differences


def _fairlearn(table, column, emotion):
    truth, said = ((table[of] == emotion).astype(int) for of in ("emotion", "predicted_emotion"))
    odds = {
        agg: equalized_odds_difference(truth, said, sensitive_features=table[column], agg=agg)
        for agg in ("worst_case", "mean")
    }
    return demographic_parity_difference(truth, said, sensitive_features=table[column]), odds


@pytest.mark.parametrize("n_groups", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_differences_are_fairlearns_one_class_against_the_rest(n_groups, seed):
    table = several_groups(n_groups, seed)
    found = compared(table, "language")
    for emotion in CLASSES:
        parity, odds = _fairlearn(table, "language", emotion)
        assert found.delta_sp[emotion] == pytest.approx(parity, abs=1e-9)
        assert found.delta_eo[emotion] == pytest.approx(odds["worst_case"], abs=1e-9)
        assert found.delta_eo_mean[emotion] == pytest.approx(odds["mean"], abs=1e-9)


def test_several_seeds_are_pooled_as_fairlearn_pools_rows(world):
    table = world(methods={"ours": 0.4}, n_seeds=3)
    found = compared(table)
    for emotion in ("neutral", "anger"):
        parity, odds = _fairlearn(table, "gender", emotion)
        assert found.delta_sp[emotion] == pytest.approx(parity, abs=1e-9)
        assert found.delta_eo[emotion] == pytest.approx(odds["worst_case"], abs=1e-9)
    assert found.n_utterances == {"female": 96, "male": 96}, "utterances are counted once, not once a seed"


def test_rates_are_shares_of_the_rows_they_name():
    table = several_groups(3)
    found = compared(table, "language")
    for group, part in table.groupby("language"):
        assert found.n_utterances[group] == len(part) and found.n_speakers[group] == 3
        assert found.uar[group] == pytest.approx(uar(part["emotion"], part["predicted_emotion"]))
        for emotion in CLASSES:
            said, spoken = part["predicted_emotion"] == emotion, part["emotion"] == emotion
            assert found.recall[group][emotion] == pytest.approx(said[spoken].mean())
            assert found.false_positive_rate[group][emotion] == pytest.approx(said[~spoken].mean())
            assert found.selection_rate[group][emotion] == pytest.approx(said.mean())
            assert found.base_rate[group][emotion] == pytest.approx(spoken.mean())
    assert found.uar_gap == pytest.approx(max(found.uar.values()) - min(found.uar.values()))


@settings(max_examples=12)
@given(answers)
def test_differences_lie_between_0_and_1_and_do_not_mind_what_the_groups_are_called(rows):
    table = spoken_by(rows)
    assume(table.groupby("gender")["speaker"].nunique().eq(3).all() and table["gender"].value_counts().min() >= 10)
    here = compared(table)
    there = compared(table.assign(gender=table["gender"].map({"female": "male", "male": "female"})))
    for kind in ("delta_sp", "delta_eo", "delta_eo_mean"):
        for emotion, value in getattr(here, kind).items():
            assert np.isnan(value) or 0 <= value <= 1
            assert getattr(there, kind)[emotion] == pytest.approx(value, abs=1e-12, nan_ok=True)
    for emotion, value in here.delta_eo.items():
        assert np.isnan(value) or value >= here.delta_eo_mean[emotion] - 1e-12


def test_by_hand_a_gap_in_one_class_shows_there():
    """Women's anger is always recognised, men's in 1 of 3 utterances; else all is right: 2 of 3 angers are called neutral."""
    rows = []
    for speaker, gender in GENDER.items():
        heard = ["anger"] * 3 if gender == "female" else ["anger", "neutral", "neutral"]
        rows += [(speaker, "anger", said) for said in heard] + [(speaker, "neutral", "neutral")] * 3
    found = compared(spoken_by(rows))
    assert found.recall == {"female": {"neutral": 1, "anger": 1}, "male": {"neutral": 1, "anger": pytest.approx(1 / 3)}}
    assert found.delta_sp == pytest.approx({"neutral": 1 / 3, "anger": 1 / 3})  # women .5 and .5, men 5/6 and 1/6
    assert found.delta_eo == pytest.approx({"neutral": 2 / 3, "anger": 2 / 3})
    assert found.delta_eo_mean == pytest.approx({"neutral": 1 / 3, "anger": 1 / 3})
    assert found.uar == pytest.approx({"female": 1, "male": 2 / 3}) and found.uar_gap == pytest.approx(1 / 3)


# what cannot be estimated


def test_an_empty_cell_is_not_estimable_and_never_0():
    """No man says fear: how often his fear is recognised nobody knows, but how often he is told he fears is known."""
    table = several_groups(2)
    table = table[(table["language"] == "language 0") | (table["emotion"] != "fear")]
    found = compared(table, "language")
    assert np.isnan(found.recall["language 1"]["fear"])
    assert np.isnan(found.delta_eo["fear"]) and np.isnan(found.delta_eo_mean["fear"])
    assert not np.isnan(found.delta_sp["fear"]) and not np.isnan(found.delta_eo["anger"])


def test_a_class_that_nobody_speaks_has_no_recall_and_no_odds():
    table = several_groups(2)
    table.loc[table.index[:40], "predicted_emotion"] = "surprise"
    found = compared(table, "language")
    assert np.isnan(found.delta_eo["surprise"]) and 0 <= found.delta_sp["surprise"] <= 1
    assert all(rate["surprise"] > 0 for rate in found.false_positive_rate.values())


def test_where_only_one_class_is_spoken_nobody_can_be_taken_for_it_by_mistake():
    found = compared(several_groups(2).assign(emotion="anger"), "language")
    assert np.isnan(found.false_positive_rate["language 0"]["anger"]) and np.isnan(found.delta_eo["anger"])
    assert not np.isnan(found.delta_sp["anger"])


@pytest.mark.parametrize(
    ("n_speakers", "n_utterances", "large_enough"), [(2, 10, True), (2, 9, False), (1, 10, False), (1, 99, False)]
)
def test_a_small_group_is_named_and_not_estimated(n_speakers, n_utterances, large_enough):
    many = several_groups(2)
    few = pd.DataFrame(
        {
            "speaker": [f"few {place % n_speakers}" for place in range(n_utterances)],
            "language": "rare",
            "emotion": ["anger", "neutral"] * (n_utterances // 2) + ["anger"] * (n_utterances % 2),
            "predicted_emotion": "anger",
        }
    )
    found = compared(pd.concat([many, few], ignore_index=True), "language")
    assert found.n_utterances["rare"] == n_utterances and found.n_speakers["rare"] == n_speakers
    assert ("rare" in found.uar) is large_enough
    assert ("rare" in found.not_estimable) is not large_enough
    if not large_enough:
        assert f"{n_utterances} utterances of {n_speakers} speakers" in found.not_estimable["rare"]
        assert "rare" not in found.recall and "rare" not in found.uar_interval
        assert found.uar_gap == pytest.approx(compared(many, "language").uar_gap), "the others are still compared"


def test_without_two_large_groups_no_difference_and_no_band_is_claimed():
    table = spoken_by([("s0", "anger", "anger"), ("s1", "anger", "fear")] * 20)  # one woman, one man
    found = compared(table)
    assert set(found.not_estimable) == {"female", "male"} and found.uar == {}
    values = [found.uar_gap, found.uar_gap_band]
    for kind in (found.delta_sp, found.delta_eo, found.delta_eo_mean, found.delta_sp_band, found.delta_eo_band):
        values += [kind["anger"], kind["fear"]]
    assert np.isnan(values).all()


def test_speakers_of_unknown_gender_belong_to_no_group():
    table = spoken_by([(speaker, emotion, "anger") for speaker in GENDER for emotion in CLASSES for _ in range(3)])
    table.loc[table["speaker"] == "s5", "gender"] = None
    found = compared(table)
    assert found.n_speakers == {"female": 3, "male": 2} and "unknown" not in found.n_utterances


# attributes


def _attributes(**columns):
    n = 6
    base = {"speaker": [f"s{place}" for place in range(n)], "emotion": "anger", "predicted_emotion": "anger"}
    return attributes(check_predictions(pd.DataFrame({**base, **columns})).table)


def test_gender_comes_first_and_pairs_are_crossed():
    found = _attributes(accent=list("aabbab"), gender=["female", "male"] * 3)
    assert list(found) == ["gender", "accent", "gender × accent"]
    assert found["gender × accent"]["s0"] == "female × a" and found["gender × accent"].nunique() == 4


def test_a_speaker_of_whom_one_half_is_unknown_stands_in_no_crossing():
    found = _attributes(accent=["a", "a", "b", "b", None, "unknown"], gender=["female", "male"] * 3)
    assert found["gender × accent"][["s4", "s5"]].isna().all() and found["gender × accent"]["s3"] == "male × b"


def test_age_is_put_into_bands_whose_lower_end_belongs_to_them():
    found = _attributes(age=[24, 25, 39, 40, 59.5, 60])["age band"]
    assert found.to_list() == ["under 25", "25 to 39", "25 to 39", "40 to 59", "40 to 59", "60 and over"]
    odd = _attributes(age=["20", "about 30", "", "-4", "50", "1000"])["age band"]
    assert odd.dropna().to_dict() == {"s0": "under 25", "s4": "40 to 59"}


def test_what_is_constant_differs_within_a_speaker_or_has_too_many_values_is_no_attribute():
    rows = {"speaker": [f"s{place // 2:02d}" for place in range(40)], "emotion": "anger", "predicted_emotion": "anger"}
    table = check_predictions(
        pd.DataFrame(
            {
                **rows,
                "constant": "x",
                "mood": ["good", "bad"] * 20,
                "many": [f"{place // 2}" for place in range(40)],
                "text_id": ["1", "1", "2", "2"] * 10,
                "take": [place // 2 % 2 for place in range(40)],
                "accent": ["a", "a", "b", "b"] * 10,
            }
        )
    ).table
    assert list(attributes(table)) == ["accent"]


# what chance reaches


def _counted(counts: Counts, groups: list[str], corpus: list[str] | None = None, n_resamples: int = 300):
    of = pd.Series(groups, index=list(counts.speakers))
    table = pd.DataFrame({"speaker": list(counts.speakers), "corpus": corpus or "one"})
    return compare_groups(table, counts, of, n_resamples)


def _voices(rng, n_speakers: int, advantage: float = 0.0, n_classes: int = 2) -> np.ndarray:
    """Ability of speakers, the first half of whom have an advantage: (S, C)."""
    ability = rng.normal(0.65, 0.07, n_speakers) + advantage * (np.arange(n_speakers) < n_speakers // 2)
    return np.tile(np.clip(ability, 0, 1)[:, None], (1, n_classes))


def test_about_95_of_100_gaps_without_an_effect_stay_below_their_band(counted):
    """Of UAR, and of statistical parity and equalised odds of each class."""
    rng, groups, below = np.random.default_rng(0), ["female"] * 12 + ["male"] * 12, []
    for _ in range(60):
        found = _counted(counted(rng, _voices(rng, 24, n_classes=3), np.full(3, 16)), groups)
        below.append(
            [found.uar_gap <= found.uar_gap_band]
            + [found.delta_sp[emotion] <= band for emotion, band in found.delta_sp_band.items()]
            + [found.delta_eo[emotion] <= band for emotion, band in found.delta_eo_band.items()]
        )
    assert 0.92 <= np.mean(below) <= 0.98
    assert np.mean(below, axis=0).min() >= 0.85


def test_a_gap_of_20_points_stands_out_of_its_band(counted):
    rng, groups = np.random.default_rng(1), ["female"] * 12 + ["male"] * 12
    for _ in range(10):
        found = _counted(counted(rng, _voices(rng, 24, 0.2), np.full(2, 24)), groups)
        assert found.uar_gap > found.uar_gap_band


def test_the_band_on_ravdess_actors_is_as_the_protocol_says(counted):
    """A gender gap without effect reaches .076 on 24 actors whose UARs spread by .07."""
    rng, groups, reached = np.random.default_rng(2), ["female", "male"] * 12, []
    each = np.array([4, 8, 8, 8, 8, 8, 8, 8])
    for _ in range(20):
        counts = counted(rng, _voices(rng, 24, n_classes=8), each)
        reached.append(_counted(counts, groups, n_resamples=500).uar_gap_band)
    assert np.mean(reached) == pytest.approx(0.076, abs=0.008)


def test_a_corpus_that_is_easier_does_not_widen_the_band_of_gender(counted):
    """Groups are dealt out anew within a corpus: its difficulty is nobody's gender."""
    rng = np.random.default_rng(3)
    ability = np.tile(np.repeat([0.9, 0.4], 10)[:, None], (1, 2))
    counts, groups = counted(rng, ability, np.full(2, 30)), ["female", "male"] * 10
    within = _counted(counts, groups, ["easy"] * 10 + ["hard"] * 10).uar_gap_band
    across = _counted(counts, groups).uar_gap_band
    assert within < 0.1 < 0.2 < across


def test_the_interval_of_a_group_holds_its_uar(counted):
    rng = np.random.default_rng(4)
    counts = counted(rng, _voices(rng, 24), np.full(2, 24))
    of = pd.Series(["female", "male"] * 12, index=list(counts.speakers))
    found = compare_groups(pd.DataFrame({"speaker": list(counts.speakers), "corpus": "one"}), counts, of)
    for group, (low, high) in found.uar_interval.items():
        assert low < found.uar[group] < high
