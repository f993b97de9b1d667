"""EmoDB, the Berlin database: Burkhardt et al. 2005, Interspeech, 1517-1520.

wav/SSTTTEV.wav: speaker, text, emotion (German initial), version.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, make_corpus

_EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral",
}  # fmt: skip
_SPEAKERS = {
    "03": ("male", 31), "08": ("female", 34), "09": ("female", 21), "10": ("male", 32), "11": ("male", 26),
    "12": ("male", 30), "13": ("female", 32), "14": ("female", 35), "15": ("male", 25), "16": ("female", 31),
}  # fmt: skip
_PER_SPEAKER = {"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71}
_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(r"(\d{2})([ab]\d{2})([WLEAFTN])([a-z])")


def load(folder: Path) -> Corpus:
    """Read wav/ (or the folder itself); any ending libsndfile reads.

    Raises:
        BadCorpus: not this layout, or more than one in twenty recordings of the speakers found are missing.
    """
    audio = folder / "wav" if (folder / "wav").is_dir() else folder
    rows = {}
    for path in sorted(audio.iterdir() if audio.is_dir() else []):
        match = _NAME.fullmatch(path.stem)
        if match is None or match[1] not in _SPEAKERS:
            continue
        speaker, text, emotion, _ = match.groups()
        rows[path.stem] = {
            "path": str(path),
            "speaker": f"emodb_{speaker}",
            "gender": _SPEAKERS[speaker][0],
            "age": _SPEAKERS[speaker][1],
            "language": "de",
            "emotion": _EMOTIONS[emotion],
            "text": _TEXTS.get(text, pd.NA),
            "text_id": text,
        }
    if not rows:
        raise BadCorpus("emodb: files wav/03a01Fa… were expected, and nothing of the kind was found")
    table = pd.DataFrame.from_dict(rows, orient="index")
    expected = sum(_PER_SPEAKER[speaker.removeprefix("emodb_")] for speaker in table["speaker"].unique())
    n_missing = max(0, expected - len(table))
    if n_missing > 0.05 * expected:
        raise BadCorpus(f"emodb: {n_missing} of {expected} recordings are missing; copy the corpus again")
    return make_corpus("emodb", table, [f"{n_missing} of {expected} recordings are missing"] if n_missing else [])
