"""A corpus is a named table of utterances; here are its columns, their checks, and the check for leaks.

Columns of the manifest (index: utterance_id, whose alphabetical order decides the enrolment choice):
path · duration_s · corpus · speaker · gender · age · language · split · emotion · arousal, valence, dominance ·
text · text_id · intensity · duplicate_of; any further column is kept, and may serve as a protected attribute.
"""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from ser_core import labels

REQUIRED = ("path", "corpus", "speaker")
OPTIONAL = (
    "duration_s", "gender", "age", "language", "split", "emotion", "arousal", "valence", "dominance",
    "text", "text_id", "intensity", "duplicate_of",
)  # fmt: skip


SCALES = ((0.0, 1.0), (-1.0, 1.0), (1.0, 5.0), (1.0, 7.0), (1.0, 9.0))
"""Scales that attributes are given on, the narrowest first."""


class BadCorpus(ValueError):
    """A folder or table that is not the corpus it was said to be."""


class LeakingSplit(ValueError):
    """A speaker (or a copy of an utterance) on both sides of a split."""


@dataclass(frozen=True)
class Corpus:
    """A named table of utterances.

    Attributes:
        name: its key in CORPORA, or the names joined by '+'.
        table: the manifest, one row an utterance, indexed by utterance_id.
        emotions: the classes it has, in the order they are shown.
        problems: what is wrong but can be lived with, in words.
        attribute_range: lowest and highest value of arousal, valence and dominance; None where it has none of them.
        attributes_from: 'listeners' who rated them, 'circumplex' (pseudo-attributes, see data/circumplex.py), or ''.
    """

    name: str
    table: pd.DataFrame
    emotions: tuple[str, ...]
    problems: tuple[str, ...] = field(default=())
    attribute_range: tuple[float, float] | None = None
    attributes_from: str = ""

    def __len__(self) -> int:
        return len(self.table)

    def only(self, keep: pd.Series) -> "Corpus":
        """The corpus with the rows where `keep` holds."""
        return replace(self, table=self.table[keep])

    def relabelled(self, classes: Sequence[str]) -> "Corpus":
        """The corpus in a smaller label set; emotions outside of it become 'other'."""
        emotion = self.table["emotion"].map(lambda word: labels.to_label_set(word, classes))
        present = tuple(word for word in classes if (emotion == word).any())
        return replace(self, table=self.table.assign(emotion=emotion), emotions=present)


def make_corpus(
    name: str,
    rows: pd.DataFrame,
    problems: Sequence[str] = (),
    attribute_range: tuple[float, float] | None = None,
    attributes_from: str = "",
) -> Corpus:
    """Check a table of utterances and make it a Corpus; columns that are absent are added as missing.

    Args:
        name: of the corpus.
        rows: one an utterance, indexed by utterance_id.
        problems: what is wrong but can be lived with, in words.
        attribute_range: the scale of arousal, valence and dominance. Where they have values and no scale is given, the
            narrowest of SCALES that holds them all is taken, and `problems` says which.
        attributes_from: who gave them; 'listeners' where they have values and nothing is said.

    Raises:
        BadCorpus: no rows, an absent required column or value, an utterance_id twice, an unknown emotion or gender, an
            attribute that is no number or outside of the scale.
    """
    if len(rows) == 0:
        raise BadCorpus(f"{name}: no utterance was found")
    table = rows.copy()
    table["corpus"] = name
    if "speaker" in table:  # a cell of spaces is nobody
        known = table["speaker"].where(table["speaker"].isna(), table["speaker"].astype(str).str.strip())
        table["speaker"] = known.mask(known == "")
    for column in REQUIRED:
        if column not in table:
            raise BadCorpus(f"{name}: column '{column}' is missing; the table needs path and speaker")
        if table[column].isna().any():
            raise BadCorpus(f"{name}: {int(table[column].isna().sum())} rows have no {column}; every row needs one")
    for column in OPTIONAL:
        if column not in table:
            table[column] = pd.NA
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise BadCorpus(f"{name}: utterance_id '{twice}' stands there twice; it must be unique")
    table.index.name = "utterance_id"
    table["speaker"] = table["speaker"].astype(str)
    try:
        table["emotion"] = table["emotion"].map(lambda word: None if pd.isna(word) else labels.canonical_emotion(word))
    except labels.UnknownEmotion as error:
        raise BadCorpus(f"{name}: {error}") from None
    table["gender"] = table["gender"].map(lambda word: "unknown" if pd.isna(word) else str(word).strip().lower())
    unknown = sorted(set(table["gender"]) - set(labels.GENDERS))
    if unknown:
        raise BadCorpus(f"{name}: gender '{unknown[0]}' is not one of {', '.join(labels.GENDERS)}")
    table["gender"] = _gender_of_speakers(name, table)
    emotions = tuple(word for word in labels.EMOTIONS if (table["emotion"] == word).any())
    for column in labels.ATTRIBUTES:
        table[column] = _numbers(name, table[column])
    scale, source, assumed = _scale_and_source(name, table, attribute_range, attributes_from)
    return Corpus(name, table.sort_index(), emotions, (*problems, *assumed), scale, source)


def _gender_of_speakers(name: str, table: pd.DataFrame) -> pd.Series:
    """The gender of each row's speaker, who may have it in some rows only."""
    known = table["gender"].where(table["gender"] != "unknown").groupby(table["speaker"])
    twice = known.nunique()[lambda n: n > 1].index
    if len(twice):
        found = sorted(set(table.loc[table["speaker"] == twice[0], "gender"]) - {"unknown"})
        raise BadCorpus(
            f"{name}: speaker '{twice[0]}' has the genders {' and '.join(found)} in different rows; give each speaker one"
        )
    return known.transform("first").fillna("unknown")


def _scale_and_source(
    name: str, table: pd.DataFrame, scale: tuple[float, float] | None, source: str
) -> tuple[tuple[float, float] | None, str, tuple[str, ...]]:
    """The attributes' scale, checked; who gave them; what had to be assumed, in words."""
    if table[list(labels.ATTRIBUTES)].isna().all(axis=None):
        return None, "", ()
    source = source or "listeners"
    if scale is None:
        scale = _narrowest_scale(name, table)
        return scale, source, (f"the attributes' scale is not said; taken as {_words(scale)}, by {source}",)
    _check_within(name, table, scale)
    return scale, source, ()


def _numbers(name: str, column: pd.Series) -> pd.Series:
    """The column as float; nan where nothing stands."""
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    nothing = column.isna() | column.astype(str).str.strip().str.lower().isin(("", "nan"))
    wrong = column[numbers.isna() & ~nothing]
    if len(wrong):
        raise BadCorpus(
            f"{name}: {column.name} '{wrong.iloc[0]}' of '{wrong.index[0]}' is not a number; write one, or leave it empty"
        )
    return numbers


def _narrowest_scale(name: str, table: pd.DataFrame) -> tuple[float, float]:
    values = table[list(labels.ATTRIBUTES)]
    low, high = values.min(axis=None), values.max(axis=None)
    for scale in SCALES:
        if scale[0] <= low and high <= scale[1]:
            return scale
    raise BadCorpus(
        f"{name}: arousal, valence and dominance have values {_words((low, high))}, which fit none of the scales known "
        f"here ({', '.join(_words(scale) for scale in SCALES)}); bring them to one of these"
    )


def _check_within(name: str, table: pd.DataFrame, scale: tuple[float, float]) -> None:
    for column in labels.ATTRIBUTES:
        outside = table[column][(table[column] < scale[0]) | (table[column] > scale[1])]
        if len(outside):
            raise BadCorpus(
                f"{name}: {column} {outside.iloc[0]:g} of '{outside.index[0]}' is outside of its scale, {_words(scale)}; "
                f"correct it, or leave it empty"
            )


def _words(scale: tuple[float, float]) -> str:
    return f"{scale[0]:g} to {scale[1]:g}"


def join(corpora: Sequence[Corpus]) -> Corpus:
    """Several corpora as one table; their names stay in the column 'corpus'.

    Raises:
        BadCorpus: an utterance_id occurs in two of them, or a corpus twice; attributes on two scales or of two sources.
    """
    names = [corpus.name for corpus in corpora]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadCorpus(f"two corpora are called '{twice[0]}'; give each a name of its own: NAME=DIR")
    attribute_range, attributes_from = _shared_attributes(corpora)
    table = pd.concat([corpus.table for corpus in corpora])
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()]
        where = " and ".join(sorted(table.loc[twice[:1], "corpus"].unique()))
        raise BadCorpus(
            f"{len(twice)} utterance_ids occur in two corpora, as '{twice[0]}' in {where}; if they hold the same recordings, leave one out; "
            f"if not, give the manifest a column utterance_id of its own (without one, file names serve)"
        )
    emotions = tuple(word for word in labels.EMOTIONS if any(word in corpus.emotions for corpus in corpora))
    problems = (*(problem for corpus in corpora for problem in corpus.problems), *_same_speakers(table))
    name = "+".join(corpus.name for corpus in corpora)
    return Corpus(name, table.sort_index(), emotions, problems, attribute_range, attributes_from)


def _same_speakers(table: pd.DataFrame) -> tuple[str, ...]:
    """The problem in words if speakers of two corpora have the same name."""
    in_how_many = table.groupby("speaker")["corpus"].nunique()
    same = list(in_how_many.index[in_how_many > 1])
    if not same:
        return ()
    return (
        f"speakers of two corpora have the same name ({', '.join(map(str, same[:3]))}{' …' if len(same) > 3 else ''}) and are taken "
        f"for the same people; if they are not, rename them",
    )


def _shared_attributes(corpora: Sequence[Corpus]) -> tuple[tuple[float, float] | None, str]:
    """Range and source of those that have attributes; corpora without any agree with all."""
    having = [corpus for corpus in corpora if corpus.attribute_range is not None]
    if len({(corpus.attribute_range, corpus.attributes_from) for corpus in having}) > 1:
        told = "; ".join(f"{one.name}: {_words(one.attribute_range)}, by {one.attributes_from}" for one in having)
        raise BadCorpus(
            f"arousal, valence and dominance would be mixed ({told}); join only corpora that share scale and source"
        )
    return (having[0].attribute_range, having[0].attributes_from) if having else (None, "")


def existing_files(name: str, rows: pd.DataFrame, expected: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows whose audio file exists, and the problem in words if some do not.

    Raises:
        BadCorpus: more than one in twenty files is absent; such a copy is broken, and results on it would mislead.
    """
    if len(rows) == 0:
        raise BadCorpus(f"{name}: {expected} was expected, and nothing of the kind was found")
    exists = rows["path"].map(_is_file)
    n_missing = int((~exists).sum())
    example = Path(rows["path"][~exists].iloc[0]).name if n_missing else ""
    if n_missing > 0.05 * len(rows):
        raise BadCorpus(
            f"{name}: {n_missing} of {len(rows)} audio files are missing (the first is '{example}'); copy the corpus again"
        )
    return rows[exists], (
        (f"{n_missing} of {len(rows)} audio files are missing, '{example}' among them",) if n_missing else ()
    )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a name that no file can have, or a folder that may not be looked into
        return False


def read_text(path: Path) -> str:
    """A text file of a corpus, whichever encoding it was written in: UTF-8, UTF-16 with its mark, else Windows-1252."""
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def few_texts(rows: pd.DataFrame, expected: str) -> tuple[str, ...]:
    """The problem in words if more than one in twenty utterances have no text."""
    n_missing = int(rows["text"].isna().sum())
    if n_missing <= 0.05 * len(rows):
        return ()
    return (f"{n_missing} of {len(rows)} utterances have no text ({expected} was expected)",)


@dataclass(frozen=True)
class LeakReport:
    """What stands on both sides of a split. Speakers and copies raise; sentences are reported.

    Scripted corpora say the same sentences on both sides by design.
    """

    n_train: int
    n_test: int
    shared_texts: tuple[str, ...]


def check_leaks(train: pd.DataFrame, test: pd.DataFrame) -> LeakReport:
    """Make sure that no speaker and no copy of an utterance stands on both sides of a split.

    Raises:
        LeakingSplit: naming the speakers or utterances; or a side is empty.
    """
    if len(train) == 0 or len(test) == 0:
        raise LeakingSplit(f"a split needs utterances on both sides; found {len(train)} and {len(test)}")
    speakers = sorted(set(train["speaker"]) & set(test["speaker"]))
    if speakers:
        raise LeakingSplit(f"speakers on both sides of a split: {', '.join(speakers)}; speakers must never cross")
    crossing = [
        f"{copy} = {original}"
        for here, there in ((train, test), (test, train))
        for copy, original in here["duplicate_of"].dropna().items()
        if original in there.index
    ]
    if crossing:
        raise LeakingSplit(f"copies of one utterance on both sides of a split: {', '.join(crossing)}")
    texts = sorted(set(train["text_id"].dropna().astype(str)) & set(test["text_id"].dropna().astype(str)))
    return LeakReport(len(train), len(test), tuple(texts))


Loader = Callable[[Path], Corpus]
"""What a file in data/corpora/ offers: from the corpus' folder to the Corpus; raises BadCorpus."""
