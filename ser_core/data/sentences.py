"""Sentences with an emotion, without a voice, and how utterances are paired with them.

Scripted corpora say the same sentences in every emotion, so their text carries none. To show what words add, an utterance is
paired with a sentence of the same label: *paired text*. It is made up and always called so. Train, dev and test utterances
take train, dev and test sentences, so that neither a speaker nor a sentence crosses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.data.manifest import BadCorpus
from ser_core.labels import EMOTIONS, UnknownEmotion, canonical_emotion

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Sentences:
    """A table with the columns text, emotion and split; one row a sentence that has one emotion."""

    table: pd.DataFrame


def read_sentences(folder: str | Path) -> Sentences:
    """Read labels.txt and train.tsv, dev.tsv, test.tsv (text, label numbers joined by commas, …), as GoEmotions has them.

    Sentences with more than one label are left out; one that stands in two splits stays in the later one.

    Source: Demszky et al. 2020, arXiv 2005.00547.

    Raises:
        BadCorpus: a file is absent or is no such table, or a label is unknown.
    """
    folder = Path(folder).expanduser()
    try:
        emotions = [canonical_emotion(word, EMOTIONS) for word in (folder / "labels.txt").read_text("utf-8").split()]
        table = pd.concat([_read(folder / f"{split}.tsv", emotions).assign(split=split) for split in SPLITS])
    except (OSError, UnicodeDecodeError):
        raise BadCorpus(
            f"sentences: '{folder.name}' needs labels.txt, train.tsv, dev.tsv and test.tsv; not all of them can be read"
        ) from None
    except UnknownEmotion as error:
        raise BadCorpus(f"sentences: labels.txt: {error}") from None
    return Sentences(table.drop_duplicates("text", keep="last").reset_index(drop=True))


def _read(path: Path, emotions: list[str]) -> pd.DataFrame:
    rows = [line.split("\t") for line in path.read_text("utf-8").split("\n") if line.strip()]  # other breaks are text
    if not rows or not all(len(row) > 1 and all(one.isdecimal() for one in row[1].split(",")) for row in rows):
        raise BadCorpus(f"sentences: a line of '{path.name}' is not text, tab, label numbers")
    numbers = [row[1] for row in rows]
    if any(int(one) >= len(emotions) for both in numbers for one in both.split(",")):
        raise BadCorpus(f"sentences: '{path.name}' has a label number that labels.txt does not name")
    table = pd.DataFrame({"text": [row[0].strip() for row in rows], "label": numbers})
    single = table[~table["label"].str.contains(",") & (table["text"] != "")]
    return single.assign(emotion=[emotions[int(one)] for one in single["label"]])[["text", "emotion"]]


@dataclass(frozen=True)
class Pairing:
    """Which sentences go with which utterances; numbers are rows of the sentences' table.

    Attributes:
        fixed: of each utterance that is predicted, (N,); -1 for none.
        choices: for each utterance that trains, a name of `pools`; '' for none.
        pools: sentences of a split and an emotion.
        neutral: those that any training utterance may also be given: people say neutral words in every mood.
    """

    fixed: np.ndarray
    choices: np.ndarray
    pools: Mapping[str, np.ndarray]
    neutral: np.ndarray

    def draw(self, rows: np.ndarray, neutral_share: float, rng: np.random.Generator) -> np.ndarray:
        """A sentence for each of some training utterances, (B,); -1 for none."""
        drawn = np.full(len(rows), -1, dtype=np.int64)
        for place, row in enumerate(rows):
            if self.choices[row]:
                pool = self.pools[self.choices[row]]
                neutral = len(self.neutral) and rng.random() < neutral_share
                drawn[place] = rng.choice(self.neutral if neutral else pool)
        return drawn


def pair(emotion: pd.Series, role: pd.Series, sentences: Sentences, seed: int) -> Pairing:
    """Pair utterances with sentences of the same label and role.

    Args:
        emotion: of each utterance; one that no sentence has goes without words.
        role: train, dev or test of each utterance.
        sentences: to choose from.
        seed: of the choice for dev and test; training draws anew every epoch.

    Raises:
        BadCorpus: a role has no sentence of an emotion that training has.
    """
    table, rng = sentences.table, np.random.default_rng([seed, 3])
    pools = {f"{split} {name}": part.index.to_numpy() for (split, name), part in table.groupby(["split", "emotion"])}
    wanted = (role + " " + emotion.fillna("")).to_numpy()
    spoken = np.array([name in pools for name in wanted])
    known = set(table["emotion"])
    for name, word in zip(wanted[~spoken], emotion.to_numpy()[~spoken], strict=True):
        if word in known and name.split()[0] in SPLITS:
            raise BadCorpus(f"sentences: there is none for '{name}'; every split needs sentences of each emotion")
    trains = (role == "train").to_numpy()
    fixed = np.full(len(emotion), -1, dtype=np.int64)
    for row in np.flatnonzero(spoken & ~trains):
        fixed[row] = rng.choice(pools[wanted[row]])
    choices = np.where(spoken & trains, wanted, "")
    return Pairing(fixed, choices, pools, pools.get("train neutral", np.empty(0, dtype=np.int64)))
