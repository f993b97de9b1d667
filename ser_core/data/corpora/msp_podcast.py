"""MSP-Podcast: Lotfian & Busso 2019, IEEE Transactions on Affective Computing 10(4), 471-483. By signed agreement.

Labels/labels_consensus.csv (FileName, EmoClass, EmoAct, EmoVal, EmoDom, SpkrID, Gender, Split_Set) beside Audios/ and
Transcripts/NAME.txt. Attributes are means of listeners' ratings from 1 to 7. Contempt is *other* here. Test3 is published
without labels, and as a rule without speakers: its utterances are kept, without an emotion, where a speaker is named.
"""

import io
from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, existing_files, few_texts, make_corpus, read_text

_EMOTIONS = {
    "A": "anger", "S": "sadness", "H": "happiness", "U": "surprise", "F": "fear", "D": "disgust", "N": "neutral",
    "C": "other", "O": "other", "X": "no_agreement",
}  # fmt: skip
_COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
_SHEETS = ("labels_consensus.csv", "labels_concensus.csv")  # older releases spell it so
_SCALE = (1.0, 7.0)


def load(folder: Path) -> Corpus:
    """Read the labels, audio and transcripts; utterances of unknown speakers are left out, for none can be kept apart.

    Raises:
        BadCorpus: not this layout, an unknown letter, an attribute outside of 1 to 7, no speaker known, or more than
            one in twenty recordings missing.
    """
    return read_podcasts(folder, "msp_podcast", "en")


def read_podcasts(folder: Path, name: str, language: str) -> Corpus:
    """Read a corpus in this layout, by its name and the language it is in; raises as `load`."""
    raw = _labels(folder, name)
    known = raw["SpkrID"].fillna("unknown").str.lower() != "unknown"
    left_out = _left_out(known, name)
    raw = raw[known]
    table = pd.DataFrame(
        {
            "path": raw["FileName"].map(lambda file: str(folder / "Audios" / file)),
            "speaker": f"{name}_" + raw["SpkrID"],
            "gender": raw["Gender"],
            "language": language,
            "split": raw["Split_Set"],
            "emotion": _emotions(raw, name),
            "arousal": raw["EmoAct"],
            "valence": raw["EmoVal"],
            "dominance": raw["EmoDom"],
            "text": raw["FileName"].map(lambda file: _text(folder / "Transcripts" / f"{Path(file).stem}.txt")),
        }
    ).set_index(raw["FileName"].map(lambda file: Path(file).stem))
    table, missing = existing_files(name, table, "Audios/*.wav")
    problems = (*left_out, *missing, *_no_gender(table), *few_texts(table, "Transcripts/NAME.txt"))
    return make_corpus(name, table, problems, _SCALE, "listeners")


def _labels(folder: Path, name: str) -> pd.DataFrame:
    sheet = next((file for spelt in _SHEETS if (file := folder / "Labels" / spelt).is_file()), None)
    if sheet is None:
        raise BadCorpus(f"{name}: Labels/labels_consensus.csv beside Audios/ was expected, and there is none")
    try:
        raw = pd.read_csv(io.StringIO(read_text(sheet)), dtype=str)
    except (ValueError, pd.errors.ParserError):
        raise BadCorpus(f"{name}: {sheet.name} cannot be read as a table; copy the corpus again") from None
    absent = [column for column in _COLUMNS if column not in raw]
    if absent:
        raise BadCorpus(f"{name}: {sheet.name} lacks the columns {', '.join(absent)}")
    if len(raw) == 0:
        raise BadCorpus(f"{name}: {sheet.name} has no rows below its columns; copy the corpus again")
    raw = raw[list(_COLUMNS)].apply(lambda column: column.str.strip())
    if raw["FileName"].isna().any():
        raise BadCorpus(f"{name}: {int(raw['FileName'].isna().sum())} rows of {sheet.name} have no FileName")
    return raw


def _left_out(known: pd.Series, name: str) -> tuple[str, ...]:
    n_unknown = int((~known).sum())
    if n_unknown == len(known):
        raise BadCorpus(f"{name}: no row of the labels has a known speaker (SpkrID), so speakers cannot be kept apart")
    return (f"{n_unknown} of {len(known)} utterances were left out: speaker unknown",) if n_unknown else ()


def _no_gender(table: pd.DataFrame) -> tuple[str, ...]:
    known = table["gender"].fillna("unknown").str.lower() != "unknown"
    return () if known.any() else ("no utterance has a gender (column Gender: Female or Male was expected)",)


def _emotions(raw: pd.DataFrame, name: str) -> pd.Series:
    unknown = raw[raw["EmoClass"].notna() & ~raw["EmoClass"].isin(_EMOTIONS)]
    if len(unknown):
        raise BadCorpus(
            f"{name}: EmoClass '{unknown['EmoClass'].iloc[0]}' of '{unknown['FileName'].iloc[0]}' is not one of "
            f"{' '.join(_EMOTIONS)}"
        )
    return raw["EmoClass"].map(_EMOTIONS)


def _text(path: Path) -> str | None:
    return " ".join(read_text(path).split()) or None if path.is_file() else None
