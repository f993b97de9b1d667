"""Truth from audmetric, the formulas of arXiv 2406.06665 written out, hand-made arrays, and simulated worlds."""

from itertools import product

import audmetric
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score

from ser_core.evaluation.counts import Counts, count
from ser_core.evaluation.individual import (
    gini,
    gini_floor,
    gini_of_rows,
    interval_of_speakers,
    isoelastic_welfare,
    lorenz,
    share_worse,
    speaker_uar,
    uar_per_speaker,
    worst,
)

utilities = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=20)
aversions = st.floats(0.0, 30.0)
RAVDESS_CLASSES = np.array([4, 8, 8, 8, 8, 8, 8, 8])  # an actor's utterances; neutral has no strong intensity


def _table(truth, prediction, speaker="s", **more):
    return pd.DataFrame({"emotion": truth, "predicted_emotion": prediction, "speaker": speaker, **more})


# UAR per speaker, two readings


def test_the_two_readings_of_speaker_uar_differ_as_the_papers_code_does():
    table = _table(["a", "a"], ["a", "b"])
    assert speaker_uar(table)["s"] == 0.5
    assert speaker_uar(table, "audmetric")["s"] == 0.25


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_the_second_reading_is_audmetrics(pairs):
    truth, prediction = map(list, zip(*pairs, strict=True))
    expected = audmetric.unweighted_average_recall(truth, prediction)
    assert speaker_uar(_table(truth, prediction), "audmetric")["s"] == pytest.approx(expected)


def test_each_speaker_of_many_has_both_readings_as_the_libraries_give_them(world):
    table = world(methods={"ours": 0.4}).sample(frac=0.15, random_state=0)  # some miss a class they are heard to say
    spoken, authors = speaker_uar(table), speaker_uar(table, "audmetric")
    for speaker, part in table.groupby("speaker"):
        recalls = [(of["predicted_emotion"] == emotion).mean() for emotion, of in part.groupby("emotion")]
        assert spoken[speaker] == pytest.approx(np.mean(recalls))
        expected = audmetric.unweighted_average_recall(part["emotion"], part["predicted_emotion"])
        assert authors[speaker] == pytest.approx(expected)
    assert (authors < spoken - 1e-9).any(), "the world should hold a speaker on whom the readings differ"


def test_uar_per_speaker_and_seed_is_scikit_learns(world):
    table = world(n_seeds=2, methods={"ours": 0.6})
    found = uar_per_speaker(count(table))
    for (seed, speaker), part in table.groupby(["seed", "speaker"]):
        place = sorted(table["speaker"].unique()).index(speaker)
        assert found[place, seed] == pytest.approx(balanced_accuracy_score(part["emotion"], part["predicted_emotion"]))


# Gini


@given(utilities, st.floats(0.1, 10.0))
def test_gini_is_the_papers_formula_in_range_and_scale_free(values, factor):
    pairs = [abs(x - y) for x in values for y in values]
    assert gini(values) == pytest.approx(0.5 * np.mean(pairs) / np.mean(values), abs=1e-12)
    assert -1e-12 <= gini(values) < 1
    assert gini(np.array(values) * factor) == pytest.approx(gini(values), abs=1e-12)


@given(st.floats(0.01, 1.0), st.integers(1, 50))
def test_gini_of_equals_is_zero(value, n):
    assert gini([value] * n) == pytest.approx(0, abs=1e-12)


def test_gini_is_not_a_number_for_nobody_and_for_people_who_have_nothing():
    assert np.isnan(gini([0.0, 0.0])) and np.isnan(gini([]))


def test_gini_of_one_who_has_it_all_nears_one():
    assert gini([1.0] + [0.0] * 99) == pytest.approx(0.99)


@given(utilities, utilities.map(sorted))
def test_gini_does_not_mind_the_order_nor_everybody_being_there_twice(values, others):
    assert gini(values[::-1] + others) == pytest.approx(gini(values + others[::-1]), abs=1e-12)
    assert gini(values * 2) == pytest.approx(gini(values), abs=1e-12)


def test_gini_of_rows_is_gini_of_each():
    rows = np.random.default_rng(0).random((6, 9))
    np.testing.assert_allclose(gini_of_rows(rows), [gini(row) for row in rows])


# Lorenz


def test_lorenz_by_hand():
    shares, of_uar = lorenz([0.3, 0.1, 0.6])
    np.testing.assert_allclose(shares, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(of_uar, [0, 0.1, 0.4, 1.0])


@given(utilities)
def test_lorenz_is_convex_below_the_diagonal_from_0_to_1_and_its_area_gives_the_gini(values):
    shares, of_uar = lorenz(values)
    assert of_uar[0] == shares[0] == 0 and of_uar[-1] == pytest.approx(1) and shares[-1] == 1
    assert (np.diff(of_uar, n=2) >= -1e-12).all() and (of_uar <= shares + 1e-12).all()
    assert 1 - 2 * np.trapezoid(of_uar, shares) == pytest.approx(gini(values), abs=1e-9)


def test_lorenz_of_people_who_have_nothing_is_not_a_number():
    assert np.isnan(lorenz([0.0, 0.0])[1][1:]).all()


# welfare


@given(utilities, aversions.filter(lambda alpha: abs(alpha - 1) > 1e-3))
def test_welfare_is_the_papers_formula(values, alpha):
    x = np.array(values, dtype=np.longdouble)
    expected = np.mean(x ** (1 - np.longdouble(alpha))) ** (1 / (1 - np.longdouble(alpha)))
    assert isoelastic_welfare(values, alpha) == pytest.approx(float(expected), rel=1e-9)


@given(utilities)
def test_welfare_is_the_mean_at_0_and_the_geometric_mean_at_1(values):
    assert isoelastic_welfare(values, 0) == pytest.approx(np.mean(values))
    assert isoelastic_welfare(values, 1) == pytest.approx(np.prod(values) ** (1 / len(values)))
    assert isoelastic_welfare(values, 1 + 1e-7) == pytest.approx(isoelastic_welfare(values, 1), rel=1e-4)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), aversions, aversions)
def test_welfare_lies_between_minimum_and_mean_and_falls_in_alpha(values, one, other):
    less, more = sorted((one, other))
    averse, very_averse = isoelastic_welfare(values, less), isoelastic_welfare(values, more)
    assert min(values) - 1e-9 <= very_averse <= averse + 1e-9 <= np.mean(values) + 2e-9


@given(utilities, aversions, st.floats(0.1, 10.0))
def test_welfare_scales_with_what_people_have(values, alpha, factor):
    scaled = isoelastic_welfare(np.array(values) * factor, alpha)
    assert scaled == pytest.approx(factor * isoelastic_welfare(values, alpha), rel=1e-9)


def test_welfare_nears_the_minimum_and_one_speaker_at_0_takes_it_all_from_1_on():
    assert isoelastic_welfare([0.4, 0.8], 30) == pytest.approx(0.4 * 2 ** (1 / 29))
    assert isoelastic_welfare([0.0, 0.81], 0.5) == pytest.approx((0.9 / 2) ** 2)
    assert isoelastic_welfare([0.0, 0.8], 1) == isoelastic_welfare([0.0, 0.8], 5) == 0
    assert isoelastic_welfare([0.0, 0.0], 0.5) == 0
    assert np.isnan(isoelastic_welfare([], 2)) and np.isnan(isoelastic_welfare([np.nan, 0.5], 2))


# who is worse off, who is worst


def test_the_share_worse_off_is_counted_by_name_and_a_rounding_error_is_no_loss():
    before = pd.Series({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5})
    after = pd.Series({"d": 0.4, "c": 0.5 - 1e-15, "b": 0.6, "a": 0.5})
    assert share_worse(before, after) == 0.25
    assert np.isnan(share_worse(before[:0], after[:0]))


def test_the_worst_come_first():
    assert worst(pd.Series({"a": 0.5, "b": 0.2, "c": 0.9, "d": 0.1}), 3) == ["d", "b", "a"]
    assert worst(pd.Series({"a": 0.5}), 3) == ["a"]


# equally able speakers


def _equally_able(ability: float, n_speakers: int, n_each: np.ndarray) -> Counts:
    """Counts whose pooled recall is `ability` in every class; what is wrong is taken for a class that nobody speaks."""
    right = np.round(ability * n_each).astype(int)
    n = len(n_each)
    table = np.zeros((n_speakers, 1, n + 1, n + 1), dtype=int)
    table[:, 0, np.arange(n), np.arange(n)] = right
    table[:, 0, :n, n] = n_each - right
    return Counts(tuple(map(str, range(n + 1))), tuple(f"s{s}" for s in range(n_speakers)), (0,), table)


@pytest.mark.parametrize(("n_speakers", "n", "right"), [(2, 4, 3), (3, 2, 1), (2, 1, 1), (4, 3, 2)])
def test_the_floor_is_the_expected_gini_of_every_possible_world(n_speakers, n, right):
    """Exact by enumeration; worlds in which nobody has anything have no Gini and do not count."""
    counts = _equally_able(right / n, n_speakers, np.array([n]))
    worlds = [world for world in product(range(n + 1), repeat=n_speakers) if any(world)]
    chance = np.array([np.prod(binom.pmf(world, n, right / n)) for world in worlds])
    expected = sum(chance * [gini(world) for world in worlds]) / chance.sum()
    found = gini_floor(counts, np.random.default_rng(0), n_worlds=20_000)
    assert found == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("uar", "published"), [(0.60, 0.059), (0.75, 0.042)])
def test_the_floor_on_all_ravdess_actors_is_as_the_protocol_says(counted, uar, published):
    ability = np.full((24, 8), uar)
    floors = []
    for seed in range(20):
        counts = counted(np.random.default_rng(seed), ability, RAVDESS_CLASSES)
        floors.append(gini_floor(counts, np.random.default_rng(seed), n_worlds=200))
    assert np.mean(floors) == pytest.approx(published, abs=0.002)


def _excess(counts: Counts, rng: np.random.Generator) -> float:
    return gini(uar_per_speaker(counts)[:, 0]) - gini_floor(counts, rng, n_worlds=200)


def test_the_excess_gini_of_equally_able_speakers_is_0_within_noise(counted):
    rng = np.random.default_rng(0)
    recall_of_class = np.array([0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.5, 0.4])
    ability = np.tile(recall_of_class, (20, 1))
    found = np.array([_excess(counted(rng, ability, RAVDESS_CLASSES), rng) for _ in range(300)])
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))
    assert abs(found.mean()) < 0.002
    assert 0.4 < (found > 0).mean() < 0.6


def test_the_excess_gini_of_unequal_speakers_is_clearly_above_0_and_near_their_own(counted):
    rng = np.random.default_rng(1)
    ability = np.tile(np.linspace(0.4, 0.9, 20)[:, None], (1, 8))
    found = np.array([_excess(counted(rng, ability, RAVDESS_CLASSES), rng) for _ in range(100)])
    assert found.min() > 0.02
    assert gini(ability[:, 0]) * 0.6 < found.mean() < gini(ability[:, 0])  # noise adds in squares: part is lost


# how sure of one speaker


@pytest.mark.parametrize(("truth", "at_most"), [(0.6, 0.985), (0.8, 0.985), (0.95, 1.0)])
def test_the_interval_of_a_speaker_covers_their_true_uar_about_95_times_of_100_and_near_1_rather_too_often(
    counted, truth, at_most
):
    ability = np.full((2_000, 8), truth)
    low, high = interval_of_speakers(counted(np.random.default_rng(0), ability, RAVDESS_CLASSES)).T
    assert 0.92 < ((low <= truth) & (truth <= high)).mean() <= at_most


def test_a_speaker_who_is_always_right_does_not_look_certain_and_nobody_passes_1():
    low, high = interval_of_speakers(_equally_able(1.0, 1, np.array([3, 3])))[0]
    assert 0 < low < 0.9 and high == 1.0


def test_repeating_a_seed_makes_no_speaker_more_certain():
    once = _equally_able(0.5, 1, np.array([4, 4]))
    thrice = Counts(once.emotions, once.speakers, (0, 1, 2), np.repeat(once.table, 3, axis=1))
    np.testing.assert_allclose(interval_of_speakers(thrice), interval_of_speakers(once))
