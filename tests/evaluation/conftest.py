"""Worlds of speakers whose abilities are known, as tables of predictions and as counts."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from ser_core.evaluation.counts import Counts

EMOTIONS = ("neutral", "happiness", "sadness", "anger")


def spoken_world(
    n_speakers: int = 8,
    n_each: int = 6,
    emotions: tuple[str, ...] = EMOTIONS,
    methods: Mapping[str, float] | None = None,
    n_seeds: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Everybody says every emotion `n_each` times; each method is right as often as it says, and else guesses."""
    rng = np.random.default_rng(seed)
    spoken = pd.DataFrame(
        [
            {
                "utterance_id": f"{s:02d}_{emotion}_{place}",
                "speaker": f"speaker {s:02d}",
                "gender": ("female", "male")[s % 2],
                "emotion": emotion,
            }
            for s in range(n_speakers)
            for emotion in emotions
            for place in range(n_each)
        ]
    )
    parts = []
    for method, ability in (methods or {"baseline": 0.5, "ours": 0.7}).items():
        for run in range(n_seeds):
            right = rng.random(len(spoken)) < ability
            guess = rng.choice(emotions, len(spoken))
            said = np.where(right, spoken["emotion"], guess)
            parts.append(spoken.assign(method=method, seed=run, predicted_emotion=said))
    return pd.concat(parts, ignore_index=True)


def counted_world(rng: np.random.Generator, ability: np.ndarray, n_each: np.ndarray) -> Counts:
    """Counts of speakers who are right as often as `ability` (S, C) says; what is wrong is taken for the next class.

    Args:
        rng: where chance comes from.
        ability: chance of being recognised, (S, C).
        n_each: how often everybody says each class, (C,).
    """
    n_speakers, n_classes = ability.shape
    right = rng.binomial(n_each, ability)
    table = np.zeros((n_speakers, 1, n_classes, n_classes), dtype=int)
    place = np.arange(n_classes)
    table[:, 0, place, place] = right
    table[:, 0, place, (place + 1) % n_classes] += n_each - right
    emotions = tuple(f"class {c}" for c in range(n_classes))
    return Counts(emotions, tuple(f"s{s:02d}" for s in range(n_speakers)), (0,), table)


@pytest.fixture(scope="session")
def world():
    return spoken_world


@pytest.fixture(scope="session")
def counted():
    return counted_world
