"""Who is enrolled with what, and that no enrolled utterance is ever a target."""

import numpy as np
import pandas as pd
import pytest

from ser_core.data.corpora import load_corpus
from ser_core.data.enrolment import first_of_each, of_another_speaker, random_of_each, target_rows
from ser_core.data.manifest import Corpus, make_corpus

CHOICES = {
    "first": first_of_each,
    "random_1": lambda corpus: random_of_each(corpus, np.random.default_rng(1)),
    "random_2": lambda corpus: random_of_each(corpus, np.random.default_rng(2)),
}


def small_corpus(**duplicate_of: str) -> Corpus:
    """Two speakers; anna has three of anger, ben one; one utterance of each is of no class."""
    names = {
        "b_anna_anger": "anger", "a_anna_anger": "anger", "c_anna_anger": "anger", "a_anna_sad": "sadness",
        "b_anna_sad": "sadness", "a_ben_anger": "anger", "a_ben_sad": "sadness", "b_ben_sad": "sadness",
        "a_anna_x": "other", "a_ben_x": None,
    }  # fmt: skip
    rows = {
        name: {
            "path": f"{name}.wav",
            "speaker": name.split("_")[1],
            "emotion": emotion,
            "duplicate_of": duplicate_of.get(name),
        }
        for name, emotion in names.items()
    }
    return make_corpus("small", pd.DataFrame.from_dict(rows, orient="index"))


def test_the_alphabetically_first_of_each_class_is_enrolled():
    chosen = first_of_each(small_corpus())
    assert chosen[["speaker", "emotion", "utterance_id"]].to_dict("list") == {
        "speaker": ["anna", "anna", "ben", "ben"],
        "emotion": ["sadness", "anger", "sadness", "anger"],
        "utterance_id": ["a_anna_sad", "a_anna_anger", "a_ben_sad", "a_ben_anger"],
    }


def test_in_ravdess_the_first_of_each_class_are_the_first_repetitions_of_the_first_sentence(corpora):
    chosen = first_of_each(load_corpus("ravdess", corpora / "ravdess"))
    assert len(chosen) == 20 * 8
    assert chosen["utterance_id"].str.fullmatch(r"03-01-0\d-01-01-01-\d\d").all()


@pytest.mark.parametrize("name", CHOICES)
def test_each_speaker_has_one_utterance_of_their_own_for_each_class(name, synthetic_corpus: Corpus):
    chosen = CHOICES[name](synthetic_corpus)
    said = synthetic_corpus.table.loc[chosen["utterance_id"]]
    assert said["speaker"].to_list() == chosen["speaker"].to_list()
    assert said["emotion"].to_list() == chosen["emotion"].to_list()
    assert chosen.groupby("speaker")["emotion"].agg(tuple).map(lambda order: order == synthetic_corpus.emotions).all()
    assert chosen["speaker"].nunique() == 8


def test_a_random_choice_is_settled_by_its_seed_and_differs_between_seeds(synthetic_corpus: Corpus):
    first, again, other = (random_of_each(synthetic_corpus, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize("name", CHOICES)
def test_an_enrolled_utterance_is_never_a_target_and_all_others_are(name, synthetic_corpus: Corpus):
    chosen = CHOICES[name](synthetic_corpus)
    targets = set(synthetic_corpus.table.index[target_rows(synthetic_corpus, chosen)])
    assert targets == set(synthetic_corpus.table.index) - set(chosen["utterance_id"])


def test_what_is_of_no_class_is_no_target():
    corpus = small_corpus()
    targets = corpus.table.index[target_rows(corpus, first_of_each(corpus))]
    assert set(targets) == {"b_anna_anger", "c_anna_anger", "b_anna_sad", "b_ben_sad"}


@pytest.mark.parametrize(
    "duplicate_of", [{"c_anna_anger": "a_anna_anger"}, {"a_anna_anger": "c_anna_anger"}], ids=["copy", "original"]
)
def test_neither_the_copy_nor_the_original_of_an_enrolled_utterance_is_a_target(duplicate_of):
    corpus = small_corpus(**duplicate_of)
    targets = corpus.table.index[target_rows(corpus, first_of_each(corpus))]
    assert "c_anna_anger" not in targets
    assert "b_anna_anger" in targets


def test_copies_of_what_is_not_enrolled_may_be_targets():
    corpus = small_corpus(c_anna_anger="b_anna_anger")
    targets = corpus.table.index[target_rows(corpus, first_of_each(corpus))]
    assert {"b_anna_anger", "c_anna_anger"} <= set(targets)


@pytest.mark.parametrize("seed", range(5))
def test_another_speakers_enrolment_is_never_ones_own(seed, synthetic_corpus: Corpus):
    chosen, table = first_of_each(synthetic_corpus), synthetic_corpus.table
    speakers = sorted(table["speaker"].unique())
    swapped = of_another_speaker(chosen, speakers, np.random.default_rng(seed))
    spoken_by = table.loc[swapped["utterance_id"], "speaker"].to_numpy()
    assert (spoken_by != swapped["speaker"].to_numpy()).all()
    donors = pd.Series(spoken_by).groupby(swapped["speaker"]).agg(set)
    assert donors.index.to_list() == speakers
    assert sorted(next(iter(donor)) for donor in donors) == speakers, "each speaker's enrolment is used once"
    assert swapped.groupby("speaker").size().eq(4).all()


def test_another_speaker_comes_from_those_given(synthetic_corpus: Corpus):
    chosen, given = first_of_each(synthetic_corpus), ["synthetic_1", "synthetic_4", "synthetic_6"]
    swapped = of_another_speaker(chosen, given, np.random.default_rng(0))
    assert set(synthetic_corpus.table.loc[swapped["utterance_id"], "speaker"]) == set(given)
