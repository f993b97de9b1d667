"""A hand-made corpus whose every utterance is known by its name, and networks on it; nothing is heard, nothing trained."""

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.manifest import Corpus, make_corpus
from ser_core.inference.predict import Trained
from ser_core.studies.conditions import Condition

EMOTIONS = ("neutral", "sadness", "anger")
N_VALUES = 4
METHODS = ("baseline", "enrolment_attention", "speaker_reference")
"""Of the networks that are trained (conftest.py)."""


def spoken(n_speakers: int = 4, texts: str = "AB", n_takes: int = 2, name: str = "spoken", **copies: str) -> Corpus:
    """Speakers p0, p1 … say each emotion in each text and take: 'p0_anger_A1' and so on; `copies` maps copy to original."""
    rows = {
        f"p{speaker}_{emotion}_{text}{take}": {
            "path": f"p{speaker}_{emotion}_{text}{take}.wav", "speaker": f"p{speaker}", "emotion": emotion,
            "text_id": text, "take": str(take), "gender": ("female", "male")[speaker % 2],
        }
        for speaker in range(n_speakers) for emotion in EMOTIONS for text in texts for take in range(1, n_takes + 1)
    }  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    return make_corpus(name, table.assign(duplicate_of=table.index.map(lambda one: copies.get(one, pd.NA))))


def network(corpus: Corpus, speakers: tuple[str, ...] = ("p0", "p1"), seed: int = 0, fold: int = 0) -> Trained:
    """One that may be measured on some of the speakers; it has no weights, for only its targets are looked at."""
    features = torch.arange(len(corpus) * N_VALUES, dtype=torch.float32).view(len(corpus), 1, N_VALUES)
    return Trained("method", None, Utterances(corpus, corpus.emotions, features), speakers, seed, fold)


class Listener:
    """Stands in for an encoder: remembers what it was asked to hear, and answers with the level of the noise."""

    def __init__(self):
        self.asked: list[tuple[str, float]] = []

    def __call__(self, path: str, snr_db: float) -> np.ndarray:
        self.asked.append((path, snr_db))
        return np.full((1, N_VALUES), -1000.0 - snr_db, dtype=np.float32)


def recording(utterance_id: str) -> str:
    """The recording's own name; altered copies carry it after the last '#'."""
    return utterance_id.split("#")[-1]


def recognised(condition: Condition) -> list[str]:
    """The utterances that are recognised, sorted."""
    return sorted(condition.utterances.corpus.table.index[row] for targets, _ in condition.parts for row in targets)


def enrolled(condition: Condition) -> list[str]:
    """The recordings that are enrolled, part by part."""
    return [recording(one) for _, choice in condition.parts for one in choice["utterance_id"]]


def straddling(condition: Condition) -> set[str]:
    """Recordings that are recognised while they, or copies of them, are enrolled."""
    table = condition.utterances.corpus.table
    original = {name: name if pd.isna(of) else of for name, of in table["duplicate_of"].items()}
    return {
        original[name]
        for targets, choice in condition.parts
        for name in {recording(one) for one in choice["utterance_id"]}
        if original[name] in {original[one] for one in table.index[targets]}
    }


def hears(condition: Condition, speaker: str) -> pd.DataFrame:
    """What a speaker is enrolled with, as the network sees it: recording, who speaks in it, label, and features."""
    [(_, choice)] = condition.parts
    rows = condition.utterances.enrolment_rows(choice)[speaker]
    table = condition.utterances.corpus.table.iloc[rows]
    return pd.DataFrame(
        {
            "recording": [recording(one) for one in table.index],
            "voice": table["speaker"].to_list(),
            "label": [condition.utterances.emotions[place] for place in condition.utterances.emotion[rows]],
            "heard": [tuple(values.tolist()) for values in condition.utterances.features.flatten(1).numpy()[rows]],
        }
    ).set_index("recording")
