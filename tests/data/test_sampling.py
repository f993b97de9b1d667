"""One contract for every sampler in the table, and what each name promises beyond it."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import Corpus, join, make_corpus
from ser_core.data.sampling import SAMPLERS, in_order

EMOTIONS = ("neutral", "happiness", "sadness", "anger")
BATCH_SIZE = 16


def corpus(name: str, n_speakers: int, repetitions: dict[str, int]) -> Corpus:
    """Speakers, women and men in turn, who say sentences 1, 2 and 3 in each emotion, as often as said."""
    rows = {
        f"{name}{speaker:02}_{emotion}_{text}_{repetition}": {
            "path": "none.wav", "speaker": f"{name}{speaker:02}", "emotion": emotion, "text_id": f"{name}{text}",
            "gender": ("female", "male")[speaker % 2],
        }
        for speaker in range(n_speakers)
        for emotion, often in repetitions.items()
        for text in (1, 2, 3)
        for repetition in range(often)
    }  # fmt: skip
    return make_corpus(name, pd.DataFrame.from_dict(rows, orient="index"))


@pytest.fixture(scope="module")
def utterances() -> Utterances:
    """A large corpus and a small one that lacks an emotion."""
    large = corpus("large", 6, {"neutral": 1, "happiness": 2, "sadness": 2, "anger": 4})
    return Utterances(join([large, corpus("small", 2, {"neutral": 1, "anger": 2, "sadness": 1})]), EMOTIONS)


@pytest.fixture(scope="module")
def training(utterances) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Targets and enrolment of all speakers but two of the large corpus, who are for testing."""
    whole = utterances.corpus
    known = ~whole.table["speaker"].isin(["large00", "large03"]).to_numpy()
    chosen = first_of_each(whole)
    rows = utterances.enrolment_rows(chosen[~chosen["speaker"].isin(["large00", "large03"])])
    return np.flatnonzero(target_rows(whole, chosen) & known), rows


def epoch(name: str, utterances: Utterances, training, seed: int = 0) -> list[tuple[int, np.ndarray]]:
    """(target, its enrolment) of one epoch."""
    batches = list(SAMPLERS[name](utterances, *training, BATCH_SIZE, np.random.default_rng(seed)))
    assert all(len(rows) == len(enrolled) for rows, enrolled in batches)
    assert all(len(rows) == BATCH_SIZE for rows, _ in batches[:-1])
    assert 0 < len(batches[-1][0]) <= BATCH_SIZE
    return [pair for rows, enrolled in batches for pair in zip(rows.tolist(), enrolled, strict=True)]


every_sampler = pytest.mark.parametrize("name", SAMPLERS)


@every_sampler
def test_only_targets_are_drawn_and_as_many_as_there_are_unless_undersampled_or_filled_up(name, utterances, training):
    drawn = [target for target, _ in epoch(name, utterances, training)]
    assert set(drawn) <= set(training[0].tolist())
    n = len(training[0])
    allowed = {"undersampled": range(1, n + 1), "same_speaker": range(n, n + BATCH_SIZE * len(training[1]))}
    assert len(drawn) in allowed.get(name, [n])


@every_sampler
def test_a_target_never_stands_in_its_own_enrolment(name, utterances, training):
    for seed in range(3):
        assert all(target not in enrolled for target, enrolled in epoch(name, utterances, training, seed))


@every_sampler
def test_what_is_enrolled_is_the_targets_speaker_and_never_a_test_speaker(name, utterances, training):
    speakers = utterances.corpus.table["speaker"].to_numpy()
    for target, enrolled in epoch(name, utterances, training):
        assert set(speakers[enrolled]) <= {speakers[target]}
        assert not {"large00", "large03"} & set(speakers[enrolled])


@every_sampler
def test_at_most_one_utterance_of_each_class_is_enrolled(name, utterances, training):
    for _, enrolled in epoch(name, utterances, training):
        classes = utterances.emotion[enrolled]
        assert (classes >= 0).all()
        assert len(set(classes.tolist())) == len(classes)


@every_sampler
def test_what_is_drawn_can_be_gathered_into_a_batch(name, utterances, training):
    import torch

    heard = Utterances(utterances.corpus, EMOTIONS, torch.arange(len(utterances.corpus)).float()[:, None, None])
    rows, enrolled = next(iter(SAMPLERS[name](utterances, *training, BATCH_SIZE, np.random.default_rng(0))))
    batch = heard.batch(rows, enrolled)
    assert batch.features.flatten().tolist() == rows.tolist()
    assert batch.present.sum(dim=1).tolist() == [len(slots) for slots in enrolled]
    assert (batch.enrolment_emotion[~batch.present] == -1).all()


@every_sampler
def test_the_seed_settles_what_is_drawn(name, utterances, training):
    first, again, other = (epoch(name, utterances, training, seed) for seed in (5, 5, 6))
    assert [target for target, _ in first] == [target for target, _ in again]
    assert all(np.array_equal(left, right) for (_, left), (_, right) in zip(first, again, strict=True))
    assert [target for target, _ in first] != [target for target, _ in other]


@every_sampler
def test_a_speaker_without_enrolment_is_drawn_all_the_same(name, utterances, training):
    targets, enrolment = training
    without = {speaker: rows for speaker, rows in enrolment.items() if speaker != "small01"}
    pairs = epoch(name, utterances, (targets, without))
    assert any(utterances.corpus.table["speaker"].iloc[target] == "small01" for target, _ in pairs)


REPEATING = ("undersampled", "mixed", "same_speaker")


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "balanced" not in name and name not in REPEATING])
def test_unbalanced_samplers_draw_each_target_once(name, utterances, training):
    assert sorted(target for target, _ in epoch(name, utterances, training)) == sorted(training[0])


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "balanced" in name])
def test_balanced_samplers_draw_corpora_and_their_emotions_about_equally(name, utterances, training):
    table = utterances.corpus.table
    drawn = [target for seed in range(20) for target, _ in epoch(name, utterances, training, seed)]
    share = {key: n / len(drawn) for key, n in Counter(table["corpus"].iloc[drawn]).items()}
    cells = Counter(zip(table["corpus"].iloc[drawn], table["emotion"].iloc[drawn], strict=True))
    tolerance = 4 * np.sqrt(0.25 / len(drawn))  # four standard errors
    assert share == pytest.approx({"large": 0.5, "small": 0.5}, abs=tolerance)
    for (name_of_corpus, _), n_drawn in cells.items():
        assert n_drawn / len(drawn) == pytest.approx(0.5 / (4 if name_of_corpus == "large" else 3), abs=tolerance)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "episodes" in name])
def test_in_episodes_the_enrolled_sentence_differs_from_the_targets(name, utterances, training):
    """Where the class has another sentence; here all have three, of which the targets' own must not be drawn."""
    texts = utterances.corpus.table["text_id"].to_numpy()
    pairs = [pair for seed in range(5) for pair in epoch(name, utterances, training, seed)]
    same = np.concatenate([texts[enrolled] == texts[target] for target, enrolled in pairs])
    assert not same.any()  # by chance alone a third


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "episodes" in name])
def test_in_episodes_classes_are_missing_as_they_will_be_with_people(name, utterances, training):
    pairs = [pair for seed in range(5) for pair in epoch(name, utterances, training, seed)]
    speakers = utterances.corpus.table["speaker"].iloc[[target for target, _ in pairs]].str.startswith("large")
    sizes = np.array([len(enrolled) for _, enrolled in pairs])[speakers.to_numpy()]
    assert set(sizes) >= {1, 2, 3, 4}
    assert 0.3 < (sizes == 4).mean() < 0.7


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "episodes" not in name])
def test_outside_of_episodes_a_speaker_keeps_one_enrolment(name, utterances, training):
    speakers = utterances.corpus.table["speaker"].to_numpy()
    for target, enrolled in epoch(name, utterances, training):
        np.testing.assert_array_equal(enrolled, training[1][speakers[target]])


def test_predictions_see_every_target_once_and_in_order(utterances, training):
    rows = [row for rows, _ in in_order(utterances, *training, BATCH_SIZE) for row in rows]
    assert rows == training[0].tolist()


def counted(drawn: list[int], utterances: Utterances) -> dict[str, int]:
    return dict(Counter(utterances.corpus.table["emotion"].iloc[drawn]))


def test_undersampled_takes_of_each_class_as_many_as_the_rarest_has_and_none_twice(utterances, training):
    drawn = [target for target, _ in epoch("undersampled", utterances, training)]
    rarest = min(counted(training[0].tolist(), utterances).values())
    assert counted(drawn, utterances) == dict.fromkeys(EMOTIONS, rarest)
    assert len(set(drawn)) == len(drawn)


def test_over_epochs_undersampled_sees_every_target_about_equally_often_within_its_class(utterances, training):
    seen = Counter(target for seed in range(200) for target, _ in epoch("undersampled", utterances, training, seed))
    assert set(seen) == set(training[0].tolist())
    there = counted(training[0].tolist(), utterances)
    of_anger = [n for row, n in seen.items() if utterances.corpus.table["emotion"].iloc[row] == "anger"]
    p = min(there.values()) / there["anger"]
    assert np.abs(np.array(of_anger) / 200 - p).max() < 5 * np.sqrt(p * (1 - p) / 200)


def test_undersampled_draws_others_like_classes_but_a_rare_one_is_no_yardstick(utterances, training):
    """Of 9 utterances of other all are candidates; a single one without agreement does not cut the classes to one."""
    emotion = utterances.corpus.table["emotion"].copy()
    angry = [row for row in training[0] if emotion.iloc[row] == "anger"]
    emotion.iloc[angry[:9]], emotion.iloc[angry[9]] = "other", "no_agreement"
    table = utterances.corpus.table.assign(emotion=emotion)
    mixed = Utterances(Corpus("mixed", table, utterances.corpus.emotions), EMOTIONS)
    there = counted(training[0].tolist(), mixed)
    rarest = min(there[name] for name in EMOTIONS)
    drawn = counted([target for target, _ in epoch("undersampled", mixed, training)], mixed)
    assert drawn == {**dict.fromkeys(EMOTIONS, rarest), "other": min(9, rarest), "no_agreement": 1}


# mixed: corpora and their groups


def told(
    genders: dict[str, str], sizes: dict[str, int], untold: tuple[str, ...] = ("a3",)
) -> tuple[Utterances, np.ndarray]:
    """Corpora whose speakers' gender is as said by the speaker's first letters; a number of targets for each speaker.

    Of those `untold` no emotion is known, as of a corpus that is adapted to.
    """
    rows = {
        f"{speaker}_{place}": {
            "path": "none.wav", "speaker": speaker, "emotion": None if speaker in untold else EMOTIONS[place % 4],
            "text_id": str(place), "gender": genders[speaker],
        }
        for speaker, n in sizes.items() for place in range(n)
    }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    names = table["speaker"].str[0]
    joined = Utterances(join([make_corpus(name, table[names == name]) for name in sorted(set(names))]), EMOTIONS)
    return joined, np.arange(len(table))


A_LARGE_AND_A_SMALL = (
    {"a0": "female", "a1": "female", "a2": "male", "a3": "unknown", "b0": "male", "b1": "female"},
    {"a0": 60, "a1": 30, "a2": 7, "a3": 20, "b0": 9, "b1": 4},
)


def mixed_batches(utterances: Utterances, targets: np.ndarray, size: int, seed: int = 0) -> list[pd.DataFrame]:
    batches = SAMPLERS["mixed"](utterances, targets, {}, size, np.random.default_rng(seed))
    return [utterances.corpus.table.iloc[rows] for rows, _ in batches]


@pytest.mark.parametrize("size", [16, 10, 7, 64])
def test_every_mixed_batch_holds_each_corpus_and_each_of_its_groups_equally_often_up_to_one(size):
    utterances, targets = told(*A_LARGE_AND_A_SMALL)
    for batch in mixed_batches(utterances, targets, size):
        of_corpora = batch["corpus"].value_counts().reindex(["a", "b"], fill_value=0)
        assert np.ptp(of_corpora) <= 1
        for _, part in batch.groupby("corpus"):
            assert np.ptp(part["gender"].value_counts().reindex(["female", "male"], fill_value=0)) <= 1


def test_a_mixed_epoch_is_as_long_as_there_are_targets_and_goes_through_a_small_corpus_again():
    utterances, targets = told(*A_LARGE_AND_A_SMALL)
    drawn = pd.concat(mixed_batches(utterances, targets, 16))
    assert len(drawn) == len(targets) == 130
    of_cell = drawn.groupby(["corpus", "gender"]).size()
    assert np.ptp(of_cell) <= 2 and len(of_cell) == 4
    again = drawn.index.value_counts()
    assert np.ptp(again[[one for one in again.index if one.startswith("b1")]]) <= 1  # 4 of them share some 32 turns
    assert (
        again[[one for one in again.index if one.startswith("a0") or one.startswith("a1")]].max() == 1
    )  # 90, 33 turns


def test_those_of_unknown_group_are_a_group_of_their_own_where_their_emotion_teaches_and_else_left_out():
    genders, sizes = A_LARGE_AND_A_SMALL
    drawn = pd.concat(mixed_batches(*told(genders, sizes), 16))
    assert "a3" not in set(drawn["speaker"])
    teaching = pd.concat(mixed_batches(*told(genders, sizes, untold=()), 12))
    assert np.ptp(teaching[teaching["corpus"] == "a"].groupby("gender").size()) <= 1
    assert (teaching["speaker"] == "a3").sum() >= 20
    nobody = pd.concat(mixed_batches(*told(dict.fromkeys(genders, "unknown"), sizes, untold=tuple(genders)), 16))
    assert nobody["corpus"].value_counts().to_dict() == {"a": 65, "b": 65} and "a3" in set(nobody["speaker"])


def test_three_corpora_of_which_one_has_one_group_only_are_mixed_as_well():
    genders = {"a0": "female", "a1": "male", "b0": "female", "c0": "female", "c1": "male"}
    utterances, targets = told(genders, {"a0": 20, "a1": 20, "b0": 5, "c0": 3, "c1": 50})
    for batch in mixed_batches(utterances, targets, 12)[:-1]:
        assert batch["corpus"].value_counts().to_dict() == {"a": 4, "b": 4, "c": 4}
        assert batch.groupby(["corpus", "gender"]).size().to_dict() == {
            ("a", "female"): 2, ("a", "male"): 2, ("b", "female"): 4, ("c", "female"): 2, ("c", "male"): 2,
        }  # fmt: skip


def test_over_mixed_epochs_everybody_whose_group_is_known_is_drawn():
    utterances, targets = told(*A_LARGE_AND_A_SMALL)
    drawn = {one for seed in range(20) for batch in mixed_batches(utterances, targets, 16, seed) for one in batch.index}
    table = utterances.corpus.table
    assert drawn == set(table.index[table["gender"] != "unknown"])


# same_speaker


@pytest.mark.parametrize(("size", "n_speakers"), [(64, 2), (100, 3), (32, 1), (16, 1)])
def test_a_batch_of_the_same_speakers_holds_thirty_two_of_each_or_all_that_fit(size, n_speakers):
    utterances, targets = told(*A_LARGE_AND_A_SMALL)
    seen: Counter = Counter()
    batches = list(SAMPLERS["same_speaker"](utterances, targets, {}, size, np.random.default_rng(0)))
    for rows, _ in batches:
        seen.update(rows.tolist())
        speakers = Counter(utterances.corpus.table["speaker"].iloc[rows])
        assert all(n % min(32, size) == 0 for n in speakers.values())  # one speaker may stand in a batch twice
    assert all(len(rows) == n_speakers * min(32, size) for rows, _ in batches[:-1])
    assert set(seen) == set(targets.tolist())  # every target at least once
