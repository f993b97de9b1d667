"""Who learns from what when the number of training speakers grows: nested sets, the same targets, no target learned from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from known_world import spoken
from scipy.stats import permutation_test
from sklearn.metrics import balanced_accuracy_score

from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus
from ser_core.studies.speaker_count import SHARE, check, fold_of, halves, measure, networks, numbers, sizes_of, tables
from ser_core.studies.stored import RESULTS
from ser_core.training.crossvalidation import Design, speaker_folds

SIZES = (2, 4, 5)


@pytest.fixture(scope="module")
def in_four(experiment):
    """Four folds of two voices, so that five train, one seed, two recipes."""
    return replace(
        experiment,
        recipes=tuple(one for one in experiment.recipes if one.name != "enrolment_attention"),
        design=Design(4, 1),
        folds=speaker_folds(experiment.utterances.corpus, 4),
    )


@pytest.fixture(scope="module")
def sized(in_four) -> list:
    return list(networks(in_four, "cpu", lambda line: None))


def _speakers(rows: np.ndarray, corpus) -> set[str]:
    return set(corpus.table["speaker"].iloc[rows])


def test_both_networks_of_every_size_are_trained_in_every_fold(sized):
    found = pd.DataFrame([(one.trained.name, one.trained.fold, one.n_train, one.dependent) for one in sized])
    assert not found.duplicated().any() and len(found) == 2 * 4 * len(SIZES) * 2
    assert tuple(sorted(found[2].unique())) == SIZES


def test_sets_of_training_speakers_are_nested_and_as_large_as_said(sized, in_four):
    corpus = in_four.utterances.corpus
    for name, fold in {(one.trained.name, one.trained.fold) for one in sized}:
        own = [one for one in sized if (one.trained.name, one.trained.fold) == (name, fold) and not one.dependent]
        sets = [_speakers(one.learned_from, corpus) for one in own]
        assert [len(one) for one in sets] == list(SIZES)
        assert all(small < large for small, large in zip(sets, sets[1:], strict=False))
        gender = corpus.table.groupby("speaker")["gender"].first()
        assert len({gender[one] for one in sets[0]}) == 2  # genders in turn


def test_targets_are_the_same_for_every_size_and_both_networks(sized):
    for fold in range(4):
        kinds = {tuple(one.targets) for one in sized if one.trained.fold == fold}
        assert len(kinds) == 1 and len(kinds.pop()) > 0


def test_no_network_learns_from_a_target_or_an_enrolled_utterance(sized, in_four):
    enrolled = {in_four.utterances.row_of[one] for one in in_four.choice["utterance_id"]}
    for one in sized:
        assert not {*one.learned_from} & ({*one.targets} | enrolled)
        assert not {*one.targets} & enrolled


def test_the_independent_network_hears_no_test_speaker_and_no_network_learns_from_dev(sized, in_four):
    corpus = in_four.utterances.corpus
    for one in sized:
        heard, test = _speakers(one.learned_from, corpus), set(one.trained.speakers)
        assert heard & test == (test if one.dependent else set())
        assert not heard & set(one.trained.dev) and _speakers(one.targets, corpus) == test


def test_the_dependent_network_learns_half_of_each_class_of_each_test_speaker_more(sized, in_four):
    table = in_four.utterances.corpus.table
    for independent, dependent in zip(sized[::2], sized[1::2], strict=True):
        assert (independent.dependent, dependent.dependent) == (False, True)
        added = table.iloc[np.setdiff1d(dependent.learned_from, independent.learned_from)]
        left = table.iloc[dependent.targets].groupby(["speaker", "emotion"]).size()
        own = added.groupby(["speaker", "emotion"]).size()
        assert set(own.index) == set(left.index)
        assert (own == ((own + left) * SHARE).astype(int)).all()  # three each: one is learned from


def test_speech_without_labels_is_left_out_with_its_speaker(in_four):
    fold = fold_of(in_four, in_four.recipes[0], 0, 0)
    corpus = in_four.utterances.corpus
    assert _speakers(fold.plan_for(2, True).unlabelled, corpus) == set(fold.train[:2])


def test_copies_of_an_utterance_are_on_neither_side():
    corpus = spoken(3, n_takes=3, p0_anger_A2="p0_anger_B3", p0_anger_A3="p0_anger_A2")
    choice = first_of_each(corpus)
    own, targets = halves(corpus, choice, ["p0", "p1"], np.random.default_rng(0))
    names = {side: set(corpus.table.index[rows]) for side, rows in (("own", own), ("targets", targets))}
    both = names["own"] | names["targets"]
    assert not names["own"] & names["targets"] and not both & {"p0_anger_A2", "p0_anger_A3"}
    assert not both & set(choice["utterance_id"]) and all(target_rows(corpus, choice)[[*own, *targets]])
    assert {name.split("_")[0] for name in both} == {"p0", "p1"}


def test_halves_are_drawn_by_the_generator_that_is_handed_in():
    corpus = spoken(3, n_takes=4)
    choice = first_of_each(corpus)
    once, again, other = (halves(corpus, choice, ["p0"], np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once[0], again[0])
    assert not np.array_equal(once[0], other[0])


def test_a_size_that_no_fold_can_give_is_not_asked_for(experiment, in_four):
    assert sizes_of(in_four) == SIZES
    with pytest.raises(BadCorpus, match=r"a fold has 2 speakers to train with .* more than 2 are needed"):
        sizes_of(
            replace(in_four, folds=in_four.folds[:1] * 2 + [[*in_four.folds[0], *in_four.folds[1], "synthetic_4"]])
        )


def test_too_few_speakers_are_refused_before_anything_is_trained(in_four):
    few = replace(in_four, folds=[[f"synthetic_{one}" for one in range(5)]])
    with pytest.raises(BadCorpus, match="take more folds"):
        networks(few, "cpu", lambda line: None)


def test_a_speaker_with_nothing_to_learn_from_is_named():
    with pytest.raises(BadCorpus, match="speaker p0 has not three utterances of any emotion"):
        check(spoken(3, "A", 2))
    check(spoken(3, "A", 3))


# what is made of it


def _said(ability: dict[tuple[int, bool], float]) -> pd.DataFrame:
    """Predictions of two seeds and eight speakers, right as often as is said for a size and kind."""
    rng = np.random.default_rng(3)
    rows = [
        {
            "method": "ours", "seed": seed, "speaker": f"s{s}", "utterance_id": f"s{s}_{emotion}_{place}", "emotion": emotion,
            "predicted_emotion": emotion if rng.random() < right else "neutral", "n_train": n_train, "dependent": dependent,
        }
        for (n_train, dependent), right in ability.items()
        for seed in range(2) for s in range(8) for emotion in ("anger", "fear") for place in range(10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return _said({(2, False): 0.4, (2, True): 0.8, (8, False): 0.7, (8, True): 0.8})


def _uar(predictions: pd.DataFrame, n_train: int, dependent: bool) -> pd.Series:
    part = predictions[(predictions["n_train"] == n_train) & (predictions["dependent"] == dependent)]
    of_seeds = {
        key: balanced_accuracy_score(one["emotion"], one["predicted_emotion"].replace("neutral", "none"))
        for key, one in part.groupby(["speaker", "seed"])
    }
    return pd.Series(of_seeds).groupby(level=0).mean()


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_the_gap_is_the_mean_over_speakers_of_what_the_dependent_network_is_better_by(predictions):
    results = tables(predictions)[RESULTS].set_index("n_train")
    gaps = {k: _uar(predictions, k, True) - _uar(predictions, k, False) for k in (2, 8)}
    for k, gap in gaps.items():
        row = results.loc[k]
        assert row["gap"] == pytest.approx(gap.mean()) and row["gap_from"] < row["gap"] < row["gap_to"]
        assert row["independent"] == pytest.approx(_uar(predictions, k, False).mean())
        exact = permutation_test((gap.round(12),), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert row["p"] == pytest.approx(exact.pvalue)
    shrinks = gaps[8] - gaps[2]
    assert results.loc[8, "against_fewest"] == pytest.approx(shrinks.mean())
    assert results.loc[8, "against_fewest_to"] < 0 == results.loc[2, "against_fewest"]
    assert (
        set(results["n_speakers"]) == {8} and set(results["n_utterances"]) == {160} and set(results["n_seeds"]) == {2}
    )


def test_speakers_stand_by_themselves(predictions):
    speakers = tables(predictions)["speakers"]
    assert len(speakers) == 2 * 8 and not speakers.duplicated(["method", "n_train", "speaker"]).any()
    np.testing.assert_allclose(speakers["gap"], speakers["dependent"] - speakers["independent"])


def test_the_numbers_in_words(predictions):
    fewest, most = numbers(tables(predictions), str.upper).rows
    assert fewest[0] == "OURS, 2" and fewest[-1] == "–"
    assert most[0] == "OURS, 8" and most[-1].startswith("-") and "points" in most[3]


def test_trained_networks_can_be_told_of(sized):
    out = tables(pd.concat([measure(one, None) for one in sized]))
    assert list(out[RESULTS]["n_train"]) == [*SIZES, *SIZES] and set(out[RESULTS]["n_speakers"]) == {8}
    assert out[RESULTS]["independent"].between(0, 1).all()
