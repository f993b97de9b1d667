"""FAU Aibo: Steidl 2009, dissertation, Erlangen; the chunks of the INTERSPEECH 2009 Emotion Challenge (Schuller, Steidl &
Batliner 2009, Proc. Interspeech, 312-315). German children and a robot dog. By signed agreement.

wav/CHUNK.wav beside labels/IS2009EmotionChallenge/chunk_labels_5cl_corpus.txt and chunk_labels_2cl_corpus.txt, whose lines
are 'CHUNK LABEL CONFIDENCE'; a chunk's name is SCHOOL_CHILD_TURN_CHUNK, as in Ohm_01_000_00. School Ohm trains and Mont
tests; the challenge has no dev set, so the last two children of Ohm are kept for it, as work on enrolment does. Positive
(motherese and joyful) counts as happiness, rest is *other*; emphatic, negative and idle are classes of their own.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, existing_files, make_corpus, read_text

_FIVE = {"A": "anger", "E": "emphatic", "N": "neutral", "P": "happiness", "R": "other"}
_TWO = {"NEG": "negative", "IDL": "idle"}
_LINE = re.compile(r"(((Ohm|Mont)_\d+)_\d+_\d+)\s+(\w+)\s+\d*\.?\d+")
_SPLITS = {"Ohm": "train", "Mont": "test"}
_UNTOLD = (
    "the challenge's labels tell neither gender nor age nor words of the children: they are unknown; to compare genders, "
    "read the chunks from a manifest with a column gender"
)


def load(folder: Path) -> Corpus:
    """Read the chunks with their five classes.

    Raises:
        BadCorpus: not this layout, a line or label that cannot be read, or more than one in twenty recordings missing.
    """
    return _load("fau_aibo", folder, "chunk_labels_5cl_corpus.txt", _FIVE)


def load_2(folder: Path) -> Corpus:
    """Read the same chunks with their two classes, negative and idle (whatever is not negative); raises as `load`."""
    return _load("fau_aibo_2", folder, "chunk_labels_2cl_corpus.txt", _TWO)


def _load(name: str, folder: Path, sheet: str, emotions: dict[str, str]) -> Corpus:
    path = folder / "labels" / "IS2009EmotionChallenge" / sheet
    if not path.is_file():
        raise BadCorpus(
            f"{name}: labels/IS2009EmotionChallenge/{sheet} was expected, and there is none; name the folder that holds "
            f"labels/ and wav/"
        )
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise BadCorpus(
            f"{name}: {sheet} is empty; lines 'CHUNK LABEL CONFIDENCE' were expected, copy the corpus again"
        )
    rows = pd.DataFrame([_chunk(name, folder, sheet, line, emotions) for line in lines]).set_index("utterance_id")
    table, missing = existing_files(name, _with_dev(rows), "wav/*.wav")
    return make_corpus(name, table, (*missing, _UNTOLD))


def _chunk(name: str, folder: Path, sheet: str, line: str, emotions: dict[str, str]) -> dict:
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadCorpus(
            f"{name}: {sheet} has the line '{line[:80]}'; 'SCHOOL_CHILD_TURN_CHUNK LABEL CONFIDENCE' was expected, as in "
            f"'Ohm_01_000_00 {next(iter(emotions))} 0.6' (the schools are Ohm and Mont); copy the corpus again"
        )
    chunk, child, school, label = match.groups()
    if label not in emotions:
        raise BadCorpus(f"{name}: label '{label}' of '{chunk}' is not one of {' '.join(emotions)}; correct {sheet}")
    return {
        "utterance_id": chunk,
        "path": str(folder / "wav" / f"{chunk}.wav"),
        "speaker": f"fau_aibo_{child}",  # both schools count from 01
        "language": "de",
        "split": _SPLITS[school],
        "emotion": emotions[label],
    }


def _with_dev(rows: pd.DataFrame) -> pd.DataFrame:
    last = sorted(rows["speaker"][rows["split"] == "train"].unique())[-2:]
    return rows.assign(split=rows["split"].mask(rows["speaker"].isin(last), "dev"))
