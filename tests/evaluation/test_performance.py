"""Truth from audmetric, scikit-learn, and the formulas written out."""

import audmetric
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from ser_core.evaluation.performance import accuracy, ccc, confusion, macro_f1, recalls, uar, uar_of_counts

CLASSES = ["anger", "fear", "neutral", "sadness"]
pairs_of_words = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=40)
pairs_of_numbers = st.lists(st.tuples(st.floats(1, 7), st.floats(1, 7)), min_size=2, max_size=30)


def _counts(truth, prediction):
    return np.array(
        [[sum(t == a and p == b for t, p in zip(truth, prediction, strict=True)) for b in CLASSES] for a in CLASSES]
    )


@given(pairs_of_words)
def test_uar_is_balanced_accuracy_over_the_classes_spoken(pairs):
    truth, prediction = zip(*pairs, strict=True)
    expected = np.mean([np.mean([p == c for t, p in pairs if t == c]) for c in set(truth)])
    assert uar(truth, prediction) == pytest.approx(expected)


def test_uar_agrees_with_scikit_learn_and_audmetric_where_all_classes_occur():
    rng = np.random.default_rng(0)
    truth, prediction = rng.choice(CLASSES, 200), rng.choice(CLASSES, 200)
    assert uar(truth, prediction) == pytest.approx(balanced_accuracy_score(truth, prediction), abs=1e-12)
    assert uar(truth, prediction) == pytest.approx(audmetric.unweighted_average_recall(truth, prediction), abs=1e-12)


@given(pairs_of_words)
def test_accuracy_is_audmetrics(pairs):
    truth, prediction = zip(*pairs, strict=True)
    assert accuracy(truth, prediction) == pytest.approx(audmetric.accuracy(truth, prediction))


@given(pairs_of_words)
def test_macro_f1_is_the_harmonic_mean_over_the_classes_spoken(pairs):
    truth, prediction = zip(*pairs, strict=True)

    def f1(c):
        both = sum(t == p == c for t, p in pairs)
        return 2 * both / (sum(t == c for t in truth) + sum(p == c for p in prediction))

    assert macro_f1(truth, prediction) == pytest.approx(np.mean([f1(c) for c in set(truth)]))


def test_macro_f1_is_audmetrics_where_all_classes_occur():
    rng = np.random.default_rng(1)
    truth, prediction = rng.choice(CLASSES, 200), rng.choice(CLASSES, 200)
    assert macro_f1(truth, prediction) == pytest.approx(audmetric.unweighted_average_fscore(truth, prediction))


@given(pairs_of_words)
def test_confusion_counts_truth_in_rows_as_audmetric_does(pairs):
    truth, prediction = zip(*pairs, strict=True)
    expected = audmetric.confusion_matrix(truth, prediction, labels=CLASSES)
    assert confusion(truth, prediction, CLASSES).tolist() == expected


@given(pairs_of_words)
def test_recalls_of_counts_are_scikit_learns_and_a_class_nobody_spoke_has_none(pairs):
    truth, prediction = zip(*pairs, strict=True)
    found = recalls(_counts(truth, prediction))
    expected = recall_score(truth, prediction, labels=CLASSES, average=None, zero_division=np.nan)
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found).tolist() == [c not in truth for c in CLASSES]


@given(pairs_of_words)
def test_uar_of_counts_is_uar(pairs):
    truth, prediction = zip(*pairs, strict=True)
    assert uar_of_counts(_counts(truth, prediction)) == pytest.approx(uar(truth, prediction))


def test_uar_of_many_counts_at_once_is_that_of_each_and_of_nothing_not_a_number():
    many = np.random.default_rng(2).integers(0, 4, (3, 5, 4, 4))
    many[1, 2] = 0
    found = uar_of_counts(many)
    assert found.shape == (3, 5) and np.isnan(found[1, 2])
    assert found[2, 4] == uar_of_counts(many[2, 4])


# concordance


@given(pairs_of_numbers)
def test_ccc_is_audmetrics(pairs):
    truth, prediction = map(np.array, zip(*pairs, strict=True))
    if truth.std() < 1e-3 and prediction.std() < 1e-3:
        return  # both libraries divide rounding errors there
    assert ccc(truth, prediction) == pytest.approx(audmetric.concordance_cc(truth, prediction), abs=1e-9)


@given(pairs_of_numbers)
def test_ccc_lies_between_minus_one_and_one_and_does_not_mind_which_is_the_truth(pairs):
    truth, prediction = map(np.array, zip(*pairs, strict=True))
    value = ccc(truth, prediction)
    assert np.isnan(value) or -1 - 1e-9 <= value <= 1 + 1e-9
    assert ccc(prediction, truth) == pytest.approx(value, nan_ok=True)


def test_ccc_by_hand_punishes_a_shift_that_correlation_forgives():
    # variances 2/3 each, covariance 2/3, means one apart: 2 · 2/3 / (4/3 + 1)
    assert ccc([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]) == pytest.approx(4 / 7)
    assert ccc([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == -1.0
    assert ccc([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == 0.0


@pytest.mark.parametrize("constant", [0.1, 0.3, 0.7, 2.0, 4.1])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
def test_ccc_of_what_does_not_vary_is_not_a_number(constant, n):
    """Rounding in the mean of 0.1, 0.1, 0.1 leaves a variance of 1e-34, and must not be taken for one."""
    assert np.isnan(ccc([constant] * n, [constant] * n))
    assert np.isnan(ccc([constant] * n, [constant + 1] * n))


def test_ccc_of_what_is_not_finite_is_not_a_number():
    assert np.isnan(ccc([1.0, 2.0, np.inf], [1.0, 2.0, 3.0]))
    assert np.isnan(ccc([1.0, 2.0, 3.0], [1.0, np.nan, 3.0]))
