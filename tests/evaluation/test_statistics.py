"""Truth from exact enumeration, the binomial, published worked examples, and simulated worlds."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from ser_core.evaluation.individual import uar_per_speaker
from ser_core.evaluation.report import resampled_gini, resampled_uar
from ser_core.evaluation.statistics import drawn, holm, interval, resampled, shuffled_within, sign_flip

p_values = st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1, max_size=8)
differences = st.lists(st.integers(-512, 512).filter(bool).map(lambda n: n / 512), min_size=2, max_size=8)  # exact sums

# resampling speakers


def test_each_resample_holds_as_many_speakers_as_there_are_and_each_equally_often():
    times = resampled(20)
    assert times.shape == (2_000, 20) and (times.sum(axis=1) == 20).all()
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.1)
    assert (times == 0).mean() == pytest.approx((1 - 1 / 20) ** 20, abs=0.01)


def test_the_same_seed_resamples_two_methods_together_and_another_does_not():
    np.testing.assert_array_equal(resampled(9), resampled(9))
    assert not np.array_equal(resampled(9), resampled(9, seed=1))


def test_drawn_names_the_speakers_of_the_same_resamples():
    times, places = resampled(7, n=50), drawn(7, n=50)
    np.testing.assert_array_equal([np.bincount(row, minlength=7) for row in places], times)


def test_the_interval_is_the_middle_95_of_100_and_unknown_where_nothing_can_be_resampled():
    assert interval(np.arange(1001.0), 5) == (25.0, 975.0)
    assert interval(np.array([np.nan, 0.5, 0.5]), 5) == (0.5, 0.5)
    assert np.isnan(interval(np.arange(9.0), 1)).all() and np.isnan(interval(np.array([np.nan]), 5)).all()


def test_resampled_uar_and_gini_are_those_of_a_table_in_which_speakers_stand_as_often_as_drawn(counted):
    rng = np.random.default_rng(0)
    counts = counted(rng, rng.uniform(0.3, 0.9, (6, 3)), np.array([4, 5, 6]))
    uars, ginis, places = resampled_uar(counts), resampled_gini(counts), drawn(6)
    for k in range(0, 2_000, 200):
        table = counts.table[places[k], 0].sum(axis=0)
        assert uars[k] == pytest.approx(np.mean(np.diag(table) / table.sum(axis=1)))
        x = uar_per_speaker(counts)[places[k], 0]
        assert ginis[k] == pytest.approx(0.5 * np.abs(x[:, None] - x).mean() / x.mean())


def test_the_bootstrap_over_speakers_covers_the_population_about_95_times_of_100(counted):
    """Speakers differ in ability, so utterances are no independent sample; the population's UAR is known."""
    rng, n_each, inside = np.random.default_rng(0), np.full(4, 12), []
    for _ in range(300):
        ability = np.clip(rng.normal(0.65, 0.1, 24), 0, 1)
        values = resampled_uar(counted(rng, np.tile(ability[:, None], (1, 4)), n_each))
        low, high = interval(values, 24)
        inside.append(low <= 0.65 <= high)
    assert 0.90 <= np.mean(inside) <= 0.985


def test_a_bootstrap_over_utterances_would_have_been_too_sure_in_that_world(counted):
    """The control that shows why speakers are resampled."""
    rng, n_each, inside = np.random.default_rng(0), np.full(4, 12), []
    for _ in range(300):
        ability = np.clip(rng.normal(0.65, 0.1, 24), 0, 1)
        uar = uar_per_speaker(counted(rng, np.tile(ability[:, None], (1, 4)), n_each)).mean()
        inside.append(abs(uar - 0.65) <= 1.96 * np.sqrt(uar * (1 - uar) / (24 * 48)))
    assert np.mean(inside) < 0.85


# sign flips


def _exact(values):
    sums = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=len(values))]
    return np.mean(np.array(sums) >= abs(sum(values)) - 1e-12)


@given(differences)
def test_the_permutation_test_is_exact_for_few_speakers(values):
    assert sign_flip(values) == pytest.approx(_exact(values))


@given(differences)
def test_the_permutation_test_does_not_mind_direction_scale_or_order_and_never_passes_its_smallest_p(values):
    p = sign_flip(values)
    assert 2 / 2 ** len(values) - 1e-12 <= p <= 1
    assert sign_flip(-np.array(values)) == pytest.approx(p)
    assert sign_flip(3.0 * np.array(values[::-1])) == pytest.approx(p)


@pytest.mark.parametrize(("n", "won"), [(6, 6), (10, 8), (12, 9), (13, 10)])
def test_differences_of_one_size_are_a_binomial_sign_test(n, won):
    values = [0.1] * won + [-0.1] * (n - won)
    assert sign_flip(values) == pytest.approx(binomtest(won, n).pvalue)


@pytest.mark.parametrize(("n", "won"), [(20, 14), (24, 17), (91, 55)])
def test_with_many_speakers_chance_is_drawn_and_the_p_value_near_the_binomials(n, won):
    p = sign_flip([0.1] * won + [-0.1] * (n - won))
    assert p == pytest.approx(binomtest(won, n).pvalue, abs=0.012)
    assert sign_flip([0.1] * n) > 0, "a p value of 0 cannot be had from a sample of permutations"


def test_the_permutation_test_is_scipys_of_paired_samples():
    rng = np.random.default_rng(0)
    before, after = rng.random(8), rng.random(8) + 0.2
    theirs = permutation_test((after, before), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples")
    assert sign_flip(after - before) == pytest.approx(theirs.pvalue)


def test_four_speakers_cannot_reach_an_eighth_and_one_tells_nothing():
    assert sign_flip([0.1, 0.2, 0.3, 0.1]) == 0.125
    assert np.isnan(sign_flip([0.3])) and np.isnan(sign_flip([]))
    assert sign_flip([0.0, 0.0, 0.0]) == 1.0


def test_two_equally_good_methods_differ_significantly_about_5_times_of_100(counted):
    """The false-positive rate, on UARs of the same speakers under two methods."""
    rng, n_each, found = np.random.default_rng(0), np.full(4, 10), []
    for _ in range(600):
        ability = np.tile(rng.uniform(0.4, 0.9, 10)[:, None], (1, 4))
        one, other = (uar_per_speaker(counted(rng, ability, n_each))[:, 0] for _ in range(2))
        found.append(sign_flip(one - other))
    assert 0.03 <= np.mean(np.array(found) <= 0.05) <= 0.075
    assert 0.44 <= np.mean(np.array(found) <= 0.5) <= 0.56


def test_a_better_method_is_found_nearly_always(counted):
    rng, n_each, found = np.random.default_rng(1), np.full(4, 10), []
    for _ in range(60):
        ability = np.tile(rng.uniform(0.4, 0.8, 12)[:, None], (1, 4))
        better, worse = (uar_per_speaker(counted(rng, a, n_each))[:, 0] for a in (ability + 0.12, ability))
        found.append(sign_flip(better - worse) <= 0.05)
    assert np.mean(found) > 0.9


# Holm


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05})
    assert adjusted == pytest.approx({"a": 0.05, "b": 0.08, "c": 0.09, "d": 0.09, "e": 0.09})
    assert holm({"x": 0.7, "y": 0.6}) == {"x": 1.0, "y": 1.0}
    assert holm({"only": 0.04}) == {"only": 0.04}
    assert holm({}) == {}


def test_holm_leaves_out_what_could_not_be_tested():
    adjusted = holm({"a": 0.01, "b": float("nan"), "c": 0.04})
    assert adjusted["a"] == pytest.approx(0.02) and adjusted["c"] == pytest.approx(0.04) and np.isnan(adjusted["b"])
    assert list(adjusted) == ["a", "b", "c"]


@given(p_values)
def test_holm_is_never_below_the_raw_p_nor_above_bonferronis_and_keeps_the_order(raw):
    adjusted = holm(raw)
    for name, p in raw.items():
        assert p <= adjusted[name] <= min(1, len(raw) * p)
    by_raw = [adjusted[name] for name in sorted(raw, key=raw.get)]
    assert by_raw == sorted(by_raw)


@given(p_values, st.floats(0.001, 0.999))
def test_holm_rejects_what_his_step_down_procedure_rejects(raw, level):
    names, rejected = sorted(raw, key=raw.get), set()
    for place, name in enumerate(names):
        if raw[name] * (len(names) - place) > level:
            break
        rejected.add(name)
    assert {name for name, p in holm(raw).items() if p <= level} == rejected


def test_holm_does_not_mind_in_which_order_variants_are_named():
    raw = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.03}
    for names in permutations(raw):
        assert holm({name: raw[name] for name in names}) == holm(raw)


# worlds without an effect


def test_groups_are_dealt_out_anew_within_a_corpus_and_never_across():
    groups = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    strata = np.array(["a"] * 4 + ["b"] * 4)
    dealt = shuffled_within(groups, strata, n=4_000)
    assert (dealt[:, :4].sum(axis=1) == 1).all() and (dealt[:, 4:].sum(axis=1) == 3).all()
    np.testing.assert_allclose(dealt.mean(axis=0), [0.25] * 4 + [0.75] * 4, atol=0.04)
    assert not np.array_equal(dealt[:, 0] + dealt[:, 1] + dealt[:, 2] + dealt[:, 3], dealt[:, 4])
