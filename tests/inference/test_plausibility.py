"""Hints on real recordings of speakers whom the model that ships has never heard; the corpus says who they are."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.data.audio import read_recording
from ser_core.inference import plausibility
from ser_core.inference.plausibility import hints, voice_scores
from ser_core.inference.recogniser import Enrolment, Recogniser
from ser_core.workspace import open_workspace

CODES = {"neutral": "01", "happiness": "03", "sadness": "04", "anger": "05", "fear": "06", "disgust": "07"}


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory) -> Recogniser:
    return Recogniser(open_workspace(tmp_path_factory.mktemp("workspace")), "compact", "cpu")


@pytest.fixture(scope="module")
def enrolled(recogniser: Recogniser, corpora: Path) -> dict[str, Enrolment]:
    """Six recordings each of a man and a woman."""
    people = {}
    for actor in ("21", "22"):
        folder = corpora / "ravdess" / f"Actor_{actor}"
        files = {word: folder / f"03-01-{code}-01-01-01-{actor}.flac" for word, code in CODES.items()}
        clips = [(word, word, read_recording(path).waveform) for word, path in files.items()]
        people[actor] = recogniser.enrol(clips)
    return people


def with_one_of(enrolment: Enrolment, stranger: Enrolment, place: int) -> Enrolment:
    features = enrolment.features.copy()
    features[place] = stranger.features[place]
    return Enrolment(enrolment.utterances, enrolment.emotions, features)


def test_a_strangers_recording_scores_lower_than_the_persons_own(recogniser, enrolled):
    for mine, other in (("21", "22"), ("22", "21")):
        own = voice_scores(recogniser, enrolled[mine])
        foreign = [
            voice_scores(recogniser, with_one_of(enrolled[mine], enrolled[other], k))[k] for k in range(len(own))
        ]
        assert np.mean(foreign) < np.mean(own) - 0.1


def test_a_hint_says_what_is_odd_and_who_decides(recogniser, enrolled, monkeypatch):
    monkeypatch.setattr(plausibility, "ANOTHER_VOICE", {"compact": np.inf})
    monkeypatch.setattr(plausibility, "HARDLY_ITS_LABEL", 1.1)
    monkeypatch.setattr(plausibility, "SURELY_ANOTHER", 0.0)
    told = [words for of_one in hints(recogniser, enrolled["21"]).values() for words in of_one]
    assert any("To the model this sounds more like" in words for words in told)
    assert sum("another voice" in words for words in told) == len(CODES)
    assert all("keep it" in words for words in told)


def test_few_recordings_say_nothing_about_the_voice(recogniser, enrolled):
    mine = enrolled["21"]
    few = Enrolment(mine.utterances[:3], mine.emotions[:3], mine.features[:3])
    assert voice_scores(recogniser, few) is None
    assert all("voice" not in words for of_one in hints(recogniser, few).values() for words in of_one)


def test_one_recording_under_two_labels_is_noticed(recogniser, enrolled):
    mine = enrolled["21"]
    told = hints(
        recogniser, with_one_of(mine, Enrolment(mine.utterances, mine.emotions, mine.features[[1, 1, *range(2, 6)]]), 0)
    )
    assert "This is the same recording as the one for neutral." in told["happiness"]


def test_the_score_is_the_log_likelihood_ratio_of_one_dimension():
    from scipy.stats import norm

    ratio, others, one = np.array([3.0]), np.array([[0.4], [0.8]]), np.array([0.1])
    between, within = 0.25, 0.75  # of a variance of one
    left = 1 / (1 / between + len(others) / within)  # what two recordings leave unknown: the textbook's posterior
    mean = left * others.sum() / within
    same, anybody = norm(mean, np.sqrt(within + left)).logpdf(0.1), norm(0, 1).logpdf(0.1)
    assert plausibility._score(one, others, ratio) == pytest.approx(same - anybody)
