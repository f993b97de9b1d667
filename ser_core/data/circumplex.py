"""Pseudo-attributes: where an emotion's name stands in the space of arousal, valence and dominance.

They are no ratings of anybody who listened, and carry nothing that the label does not. They let regressors, CCC,
calibration and plots be tried on real audio; a number measured on them says nothing about recognising attributes.

Sources: the plane of valence and arousal is Russell's circumplex (1980, Journal of Personality and Social Psychology
39, 1161-1178). The numbers are mean ratings of pleasure, arousal and dominance that Russell and Mehrabian (1977, Journal
of Research in Personality 11, 273-294) published for the words happy, sad, angry, fearful, disgusted, surprised and
bored, as later work reproduces them. Ours: neutral as the origin, 'relaxed' standing for calm (whose dominance some
reproductions give as .6), and how intensity scales them.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.labels import ATTRIBUTES

PAD: dict[str, tuple[float, float, float]] = {
    "neutral": (0.0, 0.0, 0.0),
    "happiness": (0.51, 0.81, 0.46),
    "sadness": (-0.27, -0.63, -0.33),
    "anger": (0.59, -0.51, 0.25),
    "fear": (0.60, -0.64, -0.43),
    "disgust": (0.35, -0.60, 0.11),
    "surprise": (0.67, 0.40, -0.13),
    "calm": (-0.46, 0.68, 0.06),
    "boredom": (-0.62, -0.65, -0.33),
}
"""Arousal, valence, dominance of each emotion, -1 to 1; emphatic, negative, idle and rest name no point."""

INTENSITY: dict[str, float] = {
    "low": 0.6, "medium": 1.0, "normal": 1.0, "unspecified": 1.0, "high": 1.2, "strong": 1.2,
}  # fmt: skip
"""Distance from neutral (ours): the published point is the plain word; 1.2 of it stays inside the space for all."""


def with_pseudo_attributes(corpus: Corpus, attribute_range: tuple[float, float] = (1.0, 7.0)) -> Corpus:
    """The corpus with pseudo-attributes: a function of emotion and intensity that carries nothing beyond them.

    Args:
        corpus: with emotions; rows that are other, no agreement, missing or of a class without a point get nan.
        attribute_range: the scale they are put on, its middle for neutral.

    Raises:
        BadCorpus: it has attributes of listeners, or no emotion; an intensity that is not known; a scale upside down.
    """
    if corpus.attribute_range is not None and corpus.attributes_from != "circumplex":
        raise BadCorpus(
            f"{corpus.name} has attributes from {corpus.attributes_from}; pseudo-attributes would hide them, use those it has"
        )
    low, high = attribute_range
    if not low < high:
        raise BadCorpus(f"a scale of attributes goes from low to high; found {low:g} and {high:g}")
    points = _points(corpus.table["emotion"]) * _factors(corpus)[:, None]
    if np.isnan(points).all():
        raise BadCorpus(f"{corpus.name}: no utterance has an emotion with a place in the circumplex")
    values = dict(zip(ATTRIBUTES, (low + (points + 1) / 2 * (high - low)).T, strict=True))
    return replace(
        corpus,
        table=corpus.table.assign(**values),
        attribute_range=(float(low), float(high)),
        attributes_from="circumplex",
    )


def _points(emotion: pd.Series) -> np.ndarray:
    """Each row's pseudo-attributes before intensity, (N, 3); nan where there is no emotion."""
    nowhere = (np.nan, np.nan, np.nan)
    return np.array([nowhere if pd.isna(word) else PAD.get(word, nowhere) for word in emotion], dtype=float)


def _factors(corpus: Corpus) -> np.ndarray:
    """How far from neutral each row stands, (N,); a missing intensity is unspecified."""
    intensity = corpus.table["intensity"].fillna("unspecified").astype(str)
    unknown = sorted(set(intensity) - set(INTENSITY))
    if unknown:
        raise BadCorpus(f"{corpus.name}: intensity '{unknown[0]}' is not one of {', '.join(INTENSITY)}; rename it")
    return intensity.map(INTENSITY).to_numpy(dtype=float)
