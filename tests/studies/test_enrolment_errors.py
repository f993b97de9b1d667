"""Mistakes in the enrolment: each is what its name says, and nothing else changes."""

import numpy as np
import pytest
import torch
from known_world import EMOTIONS, Listener, enrolled, hears, network, recognised, spoken, straddling

from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import join
from ser_core.studies.conditions import NOBODY
from ser_core.studies.enrolment_errors import RIGHT, SNRS_DB, conditions

SPEAKERS = ("p0", "p1")
SEEDS = range(5)
WRONG_VOICE, ONE_WRONG_VOICE = "another speaker's, all", "one bad: another speaker's"
NOISE, ONE_NOISY = "noise at {:g} dB, all", "one bad: noise at 0 dB"
EXCHANGED, SHUFFLED, ONE_WRONG_LABEL = "two labels exchanged", "all labels shuffled", "one bad: wrong label"
RANDOM = "labels drawn at random"


def _by_name(corpus=None, seed: int = 0, listener=None) -> dict:
    trained = network(spoken() if corpus is None else corpus, SPEAKERS, seed)
    return {one.name: one for one in conditions(trained, listener or Listener())}


def _truth(recording: str) -> str:
    return recording.split("_")[1]


def test_every_mistake_that_was_asked_about_is_there():
    noises = [NOISE.format(snr) for snr in (20, 10, 5, 0)]
    mistakes = [WRONG_VOICE, EXCHANGED, SHUFFLED, RANDOM, *noises, ONE_WRONG_VOICE, ONE_WRONG_LABEL, ONE_NOISY]
    assert set(_by_name()) == {RIGHT, NOBODY, *mistakes}


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_are_the_same_under_every_mistake_clean_and_never_enrolled(seed):
    corpus = spoken()
    trained = network(corpus, SPEAKERS)
    by_name = _by_name(corpus, seed)
    first = set(first_of_each(corpus)["utterance_id"])
    theirs = sorted(name for name in corpus.table.index if name[:2] in SPEAKERS and name not in first)
    for condition in by_name.values():
        assert recognised(condition) == theirs
        assert not set(enrolled(condition)) & set(theirs)
        n = len(corpus)
        assert torch.equal(condition.utterances.features[:n], trained.utterances.features)
        assert np.array_equal(condition.utterances.emotion[:n], trained.utterances.emotion)


def test_the_right_enrolment_is_the_papers():
    right = _by_name()[RIGHT]
    assert sorted(enrolled(right)) == sorted(f"{who}_{emotion}_A1" for who in SPEAKERS for emotion in EMOTIONS)


@pytest.mark.parametrize("seed", SEEDS)
def test_another_speakers_enrolment_is_all_of_one_other_person(seed):
    condition = _by_name(seed=seed)[WRONG_VOICE]
    for speaker in SPEAKERS:
        heard = hears(condition, speaker)
        [voice] = set(heard["voice"])
        assert voice != speaker
        assert sorted(heard["label"]) == sorted(EMOTIONS)
        assert list(heard["label"]) == [_truth(name) for name in heard.index]


def test_the_other_speaker_is_of_the_same_corpus_where_there_is_one():
    here, there = spoken(2), spoken(6, name="elsewhere")
    elsewhere = there.only(~there.table["speaker"].isin(SPEAKERS))
    corpus = join([here, elsewhere])
    voices = {
        (speaker, voice)
        for seed in range(10)
        for speaker in SPEAKERS
        for voice in hears(_by_name(corpus, seed)[WRONG_VOICE], speaker)["voice"]
    }
    assert voices == {("p0", "p1"), ("p1", "p0")}


@pytest.mark.parametrize("seed", SEEDS)
def test_exchanging_moves_two_labels_and_shuffling_moves_all(seed):
    by_name = _by_name(seed=seed)
    for name, n_moved in ((EXCHANGED, 2), (SHUFFLED, len(EMOTIONS))):
        for speaker in SPEAKERS:
            heard, right = hears(by_name[name], speaker), hears(by_name[RIGHT], speaker)
            assert sorted(heard["label"]) == sorted(EMOTIONS)
            assert sum(_truth(one) != label for one, label in heard["label"].items()) == n_moved
            assert heard["heard"].to_dict() == right["heard"].to_dict()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [ONE_WRONG_VOICE, ONE_WRONG_LABEL, ONE_NOISY])
def test_one_bad_utterance_is_exactly_one_of_each_speaker(name, seed):
    by_name = _by_name(seed=seed)
    for speaker in SPEAKERS:
        heard, right = hears(by_name[name], speaker), hears(by_name[RIGHT], speaker)
        assert len(heard) == len(right)
        wrong_voice = heard["voice"] != speaker
        wrong_label = heard["label"] != heard.index.map(_truth)
        altered = [
            recording in right.index and right["heard"][recording] != sound
            for recording, sound in heard["heard"].items()
        ]
        expected = {ONE_WRONG_VOICE: (1, 0, 0), ONE_WRONG_LABEL: (0, 1, 0), ONE_NOISY: (0, 0, 1)}[name]
        assert (wrong_voice.sum(), wrong_label.sum(), sum(altered)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_somebody_elses_utterance_takes_the_place_of_one_of_the_same_emotion(seed):
    for speaker in SPEAKERS:
        assert sorted(hears(_by_name(seed=seed)[ONE_WRONG_VOICE], speaker)["label"]) == sorted(EMOTIONS)


def test_noise_is_added_to_enrolled_recordings_alone_each_at_each_level():
    listener = Listener()
    by_name = _by_name(listener=listener)
    files = {f"{name}.wav" for name in enrolled(by_name[RIGHT])}
    assert set(listener.asked) == {(file, snr) for file in files for snr in SNRS_DB}


@pytest.mark.parametrize("snr", SNRS_DB)
def test_the_network_hears_the_noisy_recordings_with_their_own_labels(snr):
    condition = _by_name()[NOISE.format(snr)]
    for speaker in SPEAKERS:
        heard = hears(condition, speaker)
        assert all(sound == (-1000.0 - snr,) * 4 for sound in heard["heard"])
        assert list(heard["label"]) == [_truth(name) for name in heard.index]
        assert set(heard["voice"]) == {speaker}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_one_noisy_recording_has_noise_as_loud_as_speech(seed):
    by_name = _by_name(seed=seed)
    for speaker in SPEAKERS:
        heard, right = hears(by_name[ONE_NOISY], speaker)["heard"], hears(by_name[RIGHT], speaker)["heard"]
        assert [sound for one, sound in heard.items() if sound != right[one]] == [(-1000.0,) * 4]


def test_copies_never_straddle_enrolment_and_targets():
    copies = {"p0_anger_A2": "p0_anger_A1", "p1_neutral_B2": "p1_neutral_A1", "p0_sadness_A1": "p0_sadness_B1"}
    by_name = _by_name(spoken(**copies))
    assert {name: straddling(condition) for name, condition in by_name.items()} == dict.fromkeys(by_name, set())
    assert not {"p0_anger_A2", "p1_neutral_B2", "p0_sadness_B1"} & set(recognised(by_name[NOBODY]))


def test_the_same_seed_makes_the_same_mistakes_and_another_seed_others():
    def told(seed: int) -> list:
        by_name = _by_name(seed=seed)
        return [hears(by_name[name], who).to_dict() for name in (WRONG_VOICE, SHUFFLED, ONE_NOISY) for who in SPEAKERS]

    assert told(1) == told(1)
    assert len({str(told(seed)) for seed in SEEDS}) > 1
