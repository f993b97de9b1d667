"""Confusion counts of every speaker: what all measures of recall are computed from, quickly enough to resample."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ser_core.labels import EMOTIONS


@dataclass(frozen=True)
class Counts:
    """How often each speaker's class was taken for which.

    Attributes:
        emotions: C classes, spoken or predicted, in the order they are shown.
        speakers: S names, sorted.
        seeds: R seeds of the method.
        table: (S, R, C, C) int, truth by prediction.
    """

    emotions: tuple[str, ...]
    speakers: tuple[str, ...]
    seeds: tuple[int, ...]
    table: np.ndarray

    @property
    def pooled(self) -> np.ndarray:
        """Speakers together, seeds apart: (R, C, C)."""
        return self.table.sum(axis=0)

    @property
    def over_seeds(self) -> np.ndarray:
        """Seeds together, speakers apart: (S, C, C)."""
        return self.table.sum(axis=1)

    def of(self, speakers: list[str]) -> "Counts":
        """Some of the speakers."""
        places = [self.speakers.index(speaker) for speaker in speakers]
        return Counts(self.emotions, tuple(speakers), self.seeds, self.table[places])


def classes_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Classes that are spoken or predicted, in the order they are shown."""
    named = {*predictions["emotion"], *predictions["predicted_emotion"]}
    return (*(word for word in EMOTIONS if word in named), *sorted(named - {*EMOTIONS}))


def count(predictions: pd.DataFrame, emotions: tuple[str, ...] | None = None) -> Counts:
    """Count one method's table of predictions.

    Args:
        predictions: columns speaker, seed, emotion, predicted_emotion.
        emotions: of several methods that are compared; those that occur if None.
    """
    speaker, speakers = pd.factorize(predictions["speaker"], sort=True)
    seed, seeds = pd.factorize(predictions["seed"], sort=True)
    emotions = emotions or classes_of(predictions)
    place = {word: number for number, word in enumerate(emotions)}
    truth, said = (predictions[column].map(place).to_numpy() for column in ("emotion", "predicted_emotion"))
    shape = (len(speakers), len(seeds), len(emotions), len(emotions))
    flat = np.ravel_multi_index((speaker, seed, truth, said), shape)
    table = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    return Counts(emotions, tuple(map(str, speakers)), tuple(int(one) for one in seeds), table)
