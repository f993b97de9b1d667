"""A corpus is a named table of utterances; here are its columns, their checks, and the check for leaks.

Columns of the manifest (index: utterance_id, whose alphabetical order decides the enrolment choice):
path · duration_s · corpus · speaker · gender · age · language · split · emotion · arousal, valence, dominance ·
text · text_id · intensity · duplicate_of; any further column is kept, and may serve as a protected attribute.
"""

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
    """

    name: str
    table: pd.DataFrame
    emotions: tuple[str, ...]
    problems: tuple[str, ...] = field(default=())

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


def make_corpus(name: str, rows: pd.DataFrame, problems: Sequence[str] = ()) -> Corpus:
    """Check a table of utterances and make it a Corpus; columns that are absent are added as missing.

    Raises:
        BadCorpus: no rows, an absent required column or value, an utterance_id twice, an unknown emotion or gender.
    """
    if len(rows) == 0:
        raise BadCorpus(f"{name}: no utterance was found")
    table = rows.copy()
    table["corpus"] = name
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
    emotions = tuple(word for word in labels.EMOTIONS if (table["emotion"] == word).any())
    return Corpus(name, table.sort_index(), emotions, tuple(problems))


def join(corpora: Sequence[Corpus]) -> Corpus:
    """Several corpora as one table; their names stay in the column 'corpus'.

    Raises:
        BadCorpus: an utterance_id occurs in two of them, or a corpus twice.
    """
    table = pd.concat([corpus.table for corpus in corpora])
    if table.index.has_duplicates:
        raise BadCorpus(f"utterance_id '{table.index[table.index.duplicated()][0]}' occurs in two corpora")
    emotions = tuple(word for word in labels.EMOTIONS if any(word in corpus.emotions for corpus in corpora))
    problems = tuple(problem for corpus in corpora for problem in corpus.problems)
    return Corpus("+".join(corpus.name for corpus in corpora), table.sort_index(), emotions, problems)


def existing_files(name: str, rows: pd.DataFrame, expected: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows whose audio file exists, and the problem in words if some do not.

    Raises:
        BadCorpus: more than one in twenty files is absent; such a copy is broken, and results on it would mislead.
    """
    if len(rows) == 0:
        raise BadCorpus(f"{name}: {expected} was expected, and nothing of the kind was found")
    exists = rows["path"].map(lambda path: Path(path).is_file())
    n_missing = int((~exists).sum())
    example = Path(rows["path"][~exists].iloc[0]).name if n_missing else ""
    if n_missing > 0.05 * len(rows):
        raise BadCorpus(
            f"{name}: {n_missing} of {len(rows)} audio files are missing (the first is '{example}'); copy the corpus again"
        )
    return rows[exists], (
        (f"{n_missing} of {len(rows)} audio files are missing, '{example}' among them",) if n_missing else ()
    )


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
