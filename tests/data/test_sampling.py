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
    """Speakers who say sentences 1, 2 and 3 in each emotion, as often as said."""
    rows = {
        f"{name}{speaker:02}_{emotion}_{text}_{repetition}": {
            "path": "none.wav", "speaker": f"{name}{speaker:02}", "emotion": emotion, "text_id": f"{name}{text}",
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
def test_only_targets_are_drawn_and_as_many_as_there_are_unless_undersampled(name, utterances, training):
    drawn = [target for target, _ in epoch(name, utterances, training)]
    assert set(drawn) <= set(training[0].tolist())
    assert name == "undersampled" or len(drawn) == len(training[0])


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


@pytest.mark.parametrize("name", [name for name in SAMPLERS if "balanced" not in name and name != "undersampled"])
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
