"""CREMA-D: Cao et al. 2014, IEEE Transactions on Affective Computing 5(4). ODbL.

AudioWAV/1001_IEO_ANG_HI.wav (actor, sentence, emotion, intensity) beside VideoDemographics.csv, whose age, sex, race
and ethnicity become columns.
"""

import re
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, make_corpus

_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
_SENTENCES = {
    "IEO": "It's eleven o'clock.", "TIE": "That is exactly what happened.", "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.", "TAI": "The airplane is almost full.", "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.", "ITH": "I think I have a doctor's appointment.", "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.", "TSI": "The surface is slick.", "WSI": "We'll stop in a couple of minutes.",
}  # fmt: skip
_PER_ACTOR = 82  # the published corpus has 81 of two actors and 76 of three
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")


def load(folder: Path) -> Corpus:
    """Read AudioWAV/ and VideoDemographics.csv; any ending libsndfile reads.

    Raises:
        BadCorpus: not this layout, or an actor without demographics.
    """
    sheet = folder / "VideoDemographics.csv"
    if not sheet.is_file():
        raise BadCorpus("crema_d: VideoDemographics.csv beside AudioWAV/ was expected, and there is none")
    actors = pd.read_csv(sheet, dtype=str)
    if not {"ActorID", "Age", "Sex", "Race", "Ethnicity"} <= set(actors.columns):
        raise BadCorpus("crema_d: VideoDemographics.csv needs the columns ActorID, Age, Sex, Race, Ethnicity")
    actors = actors.set_index("ActorID")
    rows, problems = {}, []
    for path in sorted((folder / "AudioWAV").glob("*")):
        match = _NAME.fullmatch(path.stem)
        if match is None or match[3] not in _EMOTIONS:
            problems.append(f"'{path.name}' was left out: not a CREMA-D name")
            continue
        actor, sentence, emotion, intensity = match.groups()
        if actor not in actors.index:
            raise BadCorpus(f"crema_d: actor {actor} ('{path.name}') is not in VideoDemographics.csv")
        person = actors.loc[actor]
        rows[path.stem] = {
            "path": str(path),
            "speaker": f"crema_d_{actor}",
            "gender": person["Sex"],
            "age": int(person["Age"]),
            "language": "en",
            "emotion": _EMOTIONS[emotion],
            "intensity": _INTENSITIES.get(intensity, "unspecified"),
            "text": _SENTENCES.get(sentence, pd.NA),
            "text_id": sentence,
            "race": person["Race"],
            "ethnicity": person["Ethnicity"],
        }
    if not rows:
        raise BadCorpus(
            "crema_d: files AudioWAV/1001_IEO_ANG_HI.wav … were expected, and nothing of the kind was found"
        )
    table = pd.DataFrame.from_dict(rows, orient="index")
    n_expected = _PER_ACTOR * table["speaker"].nunique()
    if len(table) < 0.95 * n_expected:
        problems.append(f"{n_expected - len(table)} of about {n_expected} recordings of these actors are missing")
    return make_corpus("crema_d", table, problems)
