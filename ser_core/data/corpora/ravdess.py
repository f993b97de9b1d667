"""RAVDESS: Livingstone & Russo 2018, PLoS ONE 13(5) e0196391. CC BY-NC-SA 4.0.

Actor_NN/03-01-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR.wav; odd actors are male, even ones female.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, make_corpus

_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness",
    "05": "anger", "06": "fear", "07": "disgust", "08": "surprise",
}  # fmt: skip
_STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_INTENSITIES = {"01": "normal", "02": "strong"}
_NAME = re.compile(r"03-01-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d{2})")
_DUPLICATES = {"03-01-03-01-02-02-07": "03-01-03-01-02-01-07"}  # identical samples in the published corpus
_PER_ACTOR = 60


def load(folder: Path) -> Corpus:
    """Read the speech part, audio only; any ending libsndfile reads.

    Raises:
        BadCorpus: not this layout, or an actor lacks more than one in twenty recordings.
    """
    rows, problems = {}, []
    for path in sorted(folder.glob("Actor_*/03-01-*")):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            problems.append(f"'{path.name}' was left out: not a RAVDESS name")
            continue
        emotion, intensity, statement, repetition, actor = match.groups()
        rows[path.stem] = {
            "path": str(path),
            "speaker": f"ravdess_{actor}",
            "gender": "male" if int(actor) % 2 else "female",
            "language": "en",
            "emotion": _EMOTIONS[emotion],
            "intensity": _INTENSITIES[intensity],
            "text": _STATEMENTS[statement],
            "text_id": statement,
            "take": repetition,
            "duplicate_of": _DUPLICATES.get(path.stem, pd.NA),
        }
    if not rows:
        raise BadCorpus("ravdess: folders Actor_NN with files 03-01-… were expected, and nothing of the kind was found")
    table = pd.DataFrame.from_dict(rows, orient="index")
    per_actor = table["speaker"].value_counts()
    n_missing = int((_PER_ACTOR - per_actor).clip(lower=0).sum())
    if n_missing > 0.05 * _PER_ACTOR * len(per_actor):
        raise BadCorpus(
            f"ravdess: {n_missing} of {_PER_ACTOR * len(per_actor)} recordings of {len(per_actor)} actors are missing "
            f"(60 an actor were expected); copy the corpus again"
        )
    if n_missing:
        problems.append(f"{n_missing} recordings are missing (60 an actor were expected)")
    return make_corpus("ravdess", table, problems)
