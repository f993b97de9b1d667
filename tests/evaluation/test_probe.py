"""What a probe finds and does not find; truth from hand-made embeddings and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser_core.evaluation.probe import MIN_FOR_INTERVAL, BadEmbeddings, ask, probe, score

N_SPEAKERS, N_EACH, N_VALUES = 12, 20, 8


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def speakers():
    return np.repeat([f"s{place:02d}" for place in range(N_SPEAKERS)], N_EACH)


@pytest.fixture
def gender(speakers):
    return np.array(["female" if int(name[1:]) % 2 else "male" for name in speakers])


def test_an_embedding_that_carries_gender_gives_it_away(rng, speakers, gender):
    carrying = rng.normal(size=(len(speakers), N_VALUES)) + 10.0 * (gender == "female")[:, None]
    said = probe(carrying, gender, speakers)
    assert said.balanced_accuracy == 1.0 and said.interval == (1.0, 1.0) and said.chance == 0.5
    assert (said.n_utterances, said.n_classes, said.n_groups) == (len(speakers), 2, N_SPEAKERS)


def test_labels_that_have_nothing_to_do_with_the_embedding_are_guessed_at_chance(rng, speakers):
    scores = []
    for _ in range(20):
        emotion = rng.choice(["anger", "fear", "neutral"], size=len(speakers))
        scores.append(probe(rng.normal(size=(len(speakers), N_VALUES)), emotion, speakers).balanced_accuracy)
    assert np.mean(scores) == pytest.approx(1 / 3, abs=0.03)


def test_a_voice_is_not_taken_for_a_gender_when_speakers_stay_apart(rng, speakers, gender):
    """Each speaker has a place of their own; within speakers gender is trivial, across speakers there is nothing to find."""
    apart, together = [], []
    for _ in range(10):
        own = dict(zip(np.unique(speakers), rng.normal(size=(N_SPEAKERS, 40)), strict=True))
        x = np.stack([own[name] for name in speakers]) + 0.01 * rng.normal(size=(len(speakers), 40))
        apart.append(probe(x, gender, speakers).balanced_accuracy)
        together.append(probe(x, gender).balanced_accuracy)
    assert np.mean(apart) == pytest.approx(0.5, abs=0.15)
    assert min(together) > 0.99


def test_balanced_accuracy_and_chance_are_scikit_learns(rng, speakers):
    emotion = rng.choice(["anger", "fear", "neutral"], size=len(speakers), p=[0.6, 0.3, 0.1])
    x = rng.normal(size=(len(speakers), N_VALUES)) + (emotion == "fear")[:, None]
    answers = ask(x, emotion, speakers)
    said = score(answers)
    assert said.balanced_accuracy == pytest.approx(balanced_accuracy_score(answers["label"], answers["predicted"]))
    low, high = said.interval
    assert low < said.balanced_accuracy < high
    assert said.chance == pytest.approx(1 / 3) and len(answers) == len(speakers)


def test_everybody_is_asked_once_by_a_probe_that_has_not_heard_them(monkeypatch, rng, speakers, gender):
    from ser_core.evaluation import probe as module

    learned_from = []
    fold = module._fold

    def noted(x, y, g, held_out, *others):
        learned_from.append((set(g[~np.isin(g, held_out)]), set(held_out)))
        return fold(x, y, g, held_out, *others)

    monkeypatch.setattr(module, "_fold", noted)
    answers = ask(rng.normal(size=(len(speakers), N_VALUES)), gender, speakers)
    assert all(not learned & asked for learned, asked in learned_from)
    assert sorted(name for _, asked in learned_from for name in asked) == sorted(set(speakers))
    assert answers["group"].value_counts().eq(N_EACH).all()


def test_rows_that_are_not_scored_are_learned_from_and_never_asked(rng, speakers, gender):
    scored = np.isin(speakers, ["s00", "s01"])
    x = rng.normal(size=(len(speakers), N_VALUES)) + 10.0 * (gender == "female")[:, None]
    answers = ask(x, gender, speakers, scored)
    assert set(answers["group"]) == {"s00", "s01"} and score(answers).balanced_accuracy == 1.0
    assert np.isnan(probe(x[scored], gender[scored], speakers[scored]).balanced_accuracy)  # alone they are too few


def test_too_few_speakers_or_classes_are_not_estimable(rng):
    x = rng.normal(size=(40, 4))
    two_each = np.repeat(["a", "b", "c", "d"], 10)
    for labels, groups in (
        (np.repeat(["female", "male"], 20), two_each),
        (np.repeat("female", 40), two_each),
        (np.full(40, None), two_each),
    ):
        said = probe(x, labels, groups)
        assert np.isnan(said.balanced_accuracy) and np.isnan(said.interval).all() and np.isnan(said.chance)
        assert said.n_utterances == 0


def test_no_interval_is_claimed_from_a_handful_of_speakers(rng):
    speakers = np.repeat([f"s{place}" for place in range(MIN_FOR_INTERVAL - 1)], 30)
    said = probe(rng.normal(size=(len(speakers), 4)), rng.choice(["anger", "fear"], len(speakers)), speakers)
    assert 0 <= said.balanced_accuracy <= 1 and np.isnan(said.interval).all()


def test_a_class_without_a_label_or_with_too_few_speakers_is_left_out(rng, speakers, gender):
    labels = gender.astype(object)
    labels[speakers == "s00"] = None
    labels[speakers == "s01"] = "unusual"
    answers = ask(rng.normal(size=(len(speakers), N_VALUES)), labels, speakers)
    assert set(answers["label"]) == {"female", "male"} and not {"s00", "s01"} & set(answers["group"])
    assert answers["chance"].eq(0.5).all()


def test_answers_of_several_networks_are_scored_together(rng):
    first = pd.DataFrame({"label": ["a", "b"], "predicted": ["a", "a"], "group": ["a", "b"], "chance": 0.5})
    other = pd.DataFrame({"label": list("cdef"), "predicted": list("cdef"), "group": list("cdef"), "chance": 0.25})
    said = score(pd.concat([first, other]))
    assert said.balanced_accuracy == pytest.approx(5 / 6)
    assert said.chance == pytest.approx((2 * 0.5 + 4 * 0.25) / 6)


def test_rows_out_of_step_and_values_that_are_not_numbers_are_refused(rng):
    with pytest.raises(BadEmbeddings, match="9 labels"):
        probe(rng.normal(size=(10, 3)), ["a"] * 9)
    with pytest.raises(BadEmbeddings, match="not numbers"):
        probe(np.full((10, 3), np.nan), ["a", "b"] * 5)
