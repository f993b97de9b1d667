"""The table of predictions: its columns and their checks. A report is computed from it alone.

One row an utterance, method and seed: utterance_id · speaker · emotion · predicted_emotion, or p_<emotion> of which the
largest is taken · method · seed · gender and further attributes · corpus · text_id · intensity · sentence ('new' or
'enrolled': was the sentence among the speaker's enrolled ones?).
"""

import csv
import io
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser_core.labels import EMOTIONS, GENDERS, NO_AGREEMENT, OTHER, UnknownEmotion, canonical_emotion

REQUIRED = ("speaker", "emotion")
MAX_ROWS = 2_000_000
MAX_SPEAKERS = 5_000
_SUM_TOLERANCE = 0.02
_ROUNDING = 0.005
_MAX_SEED = 2**31


class BadPredictions(ValueError):
    """A table of predictions that cannot be evaluated; the message says what to do."""


@dataclass(frozen=True)
class Predictions:
    """A table that passed all checks.

    Attributes:
        table: with the columns above; only utterances of a class, measured for every method alike.
        methods: in the order of the file.
        notes: what was left out or filled in, in words.
    """

    table: pd.DataFrame
    methods: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_predictions(path: str | Path) -> Predictions:
    """Read and check a CSV of predictions (also .csv.gz).

    Raises:
        BadPredictions: it cannot be read, or not evaluated.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        compression = "gzip" if content[:2] == b"\x1f\x8b" else None
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
            table = pd.read_csv(
            io.BytesIO(content), compression=compression, encoding=encoding, sep=None if _odd(content) else ",",
            engine="python" if _odd(content) else "c", dtype=_TEXT, keep_default_na=True, nrows=MAX_ROWS + 1, index_col=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise BadPredictions(f"there is no '{path.name}' at the place named; check the path") from None
    except (OSError, EOFError, ValueError, csv.Error, zlib.error, pd.errors.ParserWarning) as error:
        raise BadPredictions(
            f"'{path.name}' cannot be read as a CSV ({_first_line(error)}); save it as UTF-8 CSV"
        ) from None
    return check_predictions(table, path.stem.removesuffix(".csv"))


def check_predictions(table: pd.DataFrame, name: str = "predictions") -> Predictions:
    """Check a table of predictions and complete it.

    Args:
        table: as it was read.
        name: of the file; the method's where the table names none.

    Raises:
        BadPredictions: a column or value that is missing, unknown or impossible.
    """
    if len(table) > MAX_ROWS:
        raise BadPredictions(f"{name} has more than {MAX_ROWS:,} rows; split it by corpus or method")
    table = table.rename(columns=lambda column: str(column).strip().lower())
    _check_columns(table, name)
    notes: list[str] = []
    table = _completed(table.copy(), name, notes)
    table = _only_classes(_told_apart(table, notes), notes)
    table["predicted_emotion"] = _predicted(table, name, notes)
    _check_rows(table, name)
    methods = tuple(dict.fromkeys(table["method"]))
    table = _same_utterances(table, methods, notes)
    return Predictions(table.reset_index(drop=True), methods, tuple(notes))


_TEXT = dict.fromkeys(
    ("utterance_id", "speaker", "method", "gender", "emotion", "predicted_emotion", "text_id", "corpus", "language"),
    str,
)


def _odd(content: bytes) -> bool:
    """Separated by something else than commas, as far as the first line tells."""
    head = content[:2000].split(b"\n")[0]
    return content[:2] != b"\x1f\x8b" and b"," not in head and (b";" in head or b"\t" in head)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _check_columns(table: pd.DataFrame, name: str) -> None:
    if len(table) == 0:
        raise BadPredictions(f"{name} has no rows; one row an utterance was expected")
    missing = [column for column in REQUIRED if column not in table]
    if "predicted_emotion" not in table and not _probability_columns(table):
        missing.append("predicted_emotion (or p_<emotion>)")
    if missing:
        found = ", ".join(map(str, list(table.columns)[:12]))
        raise BadPredictions(f"{name} lacks the columns {', '.join(missing)}; found {found}")
    twice = [column for column in table.columns if str(column).endswith(".1") and str(column)[:-2] in table]
    twice += [f"{column}.1" for column in table.columns[table.columns.duplicated()]]
    if twice:
        raise BadPredictions(f"{name} has the column '{twice[0][:-2]}' twice; keep one of them")


def _completed(table: pd.DataFrame, name: str, notes: list[str]) -> pd.DataFrame:
    """Columns that may be absent, and words as the field writes them."""
    if table["speaker"].isna().any():
        raise BadPredictions(f"{name}: {int(table['speaker'].isna().sum())} rows have no speaker; every row needs one")
    for column in ("speaker", "method", "utterance_id", "corpus"):
        if column in table:
            table[column] = table[column].map(lambda word: word if pd.isna(word) else str(word).strip())
    for column, value in (("method", name), ("seed", 0), ("fold", 0), ("corpus", "not named"), ("gender", None)):
        if column not in table:
            table[column] = value
    if "utterance_id" not in table:
        table["utterance_id"] = _numbered(table)
        notes.append("the table names no utterances (utterance_id): they were numbered in the order of the rows")
    table["method"] = table["method"].fillna(name).astype(str)
    seeds = pd.to_numeric(table["seed"], errors="coerce")
    if seeds.isna().any() or (seeds.abs() > _MAX_SEED).any() or (seeds % 1 != 0).any():
        raise BadPredictions(f"{name}: the column seed must hold whole numbers")
    table["seed"] = seeds.astype(int)
    table["corpus"] = table["corpus"].fillna("not named").astype(str)
    table["gender"] = table["gender"].map(lambda word: "unknown" if pd.isna(word) else str(word).strip().lower())
    unknown = sorted(set(table["gender"]) - set(GENDERS))
    if unknown:
        raise BadPredictions(f"{name}: gender '{unknown[0]}' is not one of {', '.join(GENDERS)}")
    return table


def _told_apart(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Speakers of the same name in two corpora are two people."""
    in_several = table.groupby("speaker")["corpus"].transform("nunique") > 1
    if in_several.any():
        names = ", ".join(sorted(set(table.loc[in_several, "speaker"]))[:3])
        notes.append(f"speakers of the same name in several corpora ({names} …) were taken for different people")
        table.loc[in_several, "speaker"] = table["corpus"] + "_" + table["speaker"]
    if table["speaker"].nunique() > MAX_SPEAKERS:
        raise BadPredictions(
            f"{table['speaker'].nunique()} speakers were found, {MAX_SPEAKERS} at most can be resampled; take a part"
        )
    return table


def _numbered(table: pd.DataFrame) -> pd.Series:
    keys = [column for column in ("method", "seed") if column in table]
    place = table.groupby(keys, dropna=False).cumcount() if keys else pd.Series(range(len(table)), index=table.index)
    return place.map("{:06d}".format)


def _only_classes(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Without utterances that are of no class: they can be neither right nor wrong."""
    table["emotion"] = _canonical(table["emotion"], "emotion")
    no_class = table["emotion"].isna() | table["emotion"].isin([OTHER, NO_AGREEMENT])
    if no_class.any():
        n = table.loc[no_class, "utterance_id"].nunique()
        notes.append(f"{n} utterances without a class (missing, other, no agreement) were left out")
    kept = table[~no_class].copy()
    if kept.empty:
        raise BadPredictions("no row has an emotion that is a class; there is nothing to measure")
    return kept


def _predicted(table: pd.DataFrame, name: str, notes: list[str]) -> pd.Series:
    """The column, or the most probable class; impossible probabilities are refused."""
    columns = _probability_columns(table)
    if columns:
        _check_probabilities(table, columns, name)
    if "predicted_emotion" in table:
        said = _canonical(table["predicted_emotion"], "predicted_emotion")
        wrong = said.isna() | ~said.isin(EMOTIONS)
        if wrong.any():
            raise BadPredictions(
                f"{name}: {int(wrong.sum())} rows have no predicted_emotion that is a class; every row needs one"
            )
        n_other = _n_contradictions(table, columns, said) if columns else 0
        if n_other:
            notes.append(
                f"{n_other} rows name another predicted_emotion than their most probable one; it was taken as it stands"
            )
        return said
    return _most_probable(table, columns)


def _n_contradictions(table: pd.DataFrame, columns: list[str], said: pd.Series) -> int:
    """Rows in which another class is more probable than the one named, by more than rounding."""
    numbers = table[columns].apply(pd.to_numeric)
    of_class = numbers.rename(columns=lambda column: canonical_emotion(column.removeprefix("p_"), EMOTIONS))
    own = [row.get(word, float("nan")) for word, row in zip(said, of_class.to_dict("records"), strict=True)]
    return int((numbers.max(axis=1).to_numpy() - own > _ROUNDING).sum())


def _most_probable(table: pd.DataFrame, columns: list[str]) -> pd.Series:
    named = {column: canonical_emotion(column.removeprefix("p_"), EMOTIONS) for column in columns}
    return table[columns].apply(pd.to_numeric).fillna(-1.0).idxmax(axis=1).map(named)


def _check_probabilities(table: pd.DataFrame, columns: list[str], name: str) -> None:
    numbers = table[columns].apply(pd.to_numeric, errors="coerce").clip(-9, 9)  # infinite ones too are only too large
    empty_columns = table[columns].isna().groupby(table["corpus"]).transform("all")  # a class the corpus does not have
    bad = (numbers.isna() & ~empty_columns).any(axis=1)
    if bad.any():
        raise BadPredictions(
            f"{name}: {int(bad.sum())} rows have a probability that is no number; every p_ needs one between 0 and 1"
        )
    beyond = ((numbers < -1e-6) | (numbers > 1 + 1e-6)).any(axis=1) | ((numbers.sum(axis=1) - 1).abs() > _SUM_TOLERANCE)
    if beyond.any():
        raise BadPredictions(
            f"{name}: the probabilities of {int(beyond.sum())} rows are not between 0 and 1 or do not sum to 1"
        )


def _check_rows(table: pd.DataFrame, name: str) -> None:
    twice = table.duplicated(["utterance_id", "corpus", "method", "seed"])
    if twice.any():
        row = table[twice].iloc[0]
        raise BadPredictions(
            f"{name}: utterance '{row['utterance_id']}' stands there more than once for {row['method']}, "
            f"seed {row['seed']}; one row each was expected"
        )
    for column in ("gender", "emotion", "speaker"):
        by = "speaker" if column == "gender" else ["utterance_id", "corpus"]
        several = table.groupby(by)[column].nunique()
        if (several > 1).any():
            who = several.index[several > 1][0]
            who = who if isinstance(who, str) else who[0]
            raise BadPredictions(f"{name}: '{who}' has two different values of {column}; one was expected")


def _same_utterances(table: pd.DataFrame, methods: tuple[str, ...], notes: list[str]) -> pd.DataFrame:
    """Only utterances that every method and seed was measured on: like is compared with like."""
    key = table["corpus"] + "\0" + table["utterance_id"].astype(str)
    runs = table.groupby(["method", "seed"], sort=False).ngroups
    times = key.map(key.value_counts())
    shared = times == runs
    if not shared.any():
        raise BadPredictions(
            f"the methods {', '.join(methods)} were measured on different utterances; not one is shared, so they cannot be compared"
        )
    if not shared.all():
        notes.append(
            f"the methods (or seeds) were measured on different utterances: compared on the {key[shared].nunique()} "
            f"that all share, {key[~shared].nunique()} others were left out"
        )
    return table[shared]


def _canonical(column: pd.Series, what: str) -> pd.Series:
    """The field's words; each spelling is looked at once."""
    words = {word: _word(word, what) for word in column.dropna().unique()}
    return column.map(words).astype(object).where(column.notna(), None)


def _word(word: object, what: str) -> str:
    try:
        return canonical_emotion(str(word))
    except UnknownEmotion as error:
        raise BadPredictions(f"column {what}: {error}") from None


def _probability_columns(table: pd.DataFrame) -> list[str]:
    """p_<emotion> of classes we know.

    Raises:
        BadPredictions: a p_ column of an unknown class.
    """
    found = [str(column) for column in table.columns if str(column).startswith("p_")]
    known: dict[str, str] = {}
    for column in found:
        try:
            emotion = canonical_emotion(column.removeprefix("p_"), EMOTIONS)
        except UnknownEmotion as error:
            raise BadPredictions(f"column '{column}': {error}") from None
        if emotion in known:
            raise BadPredictions(f"columns '{known[emotion]}' and '{column}' are both of {emotion}; one was expected")
        known[emotion] = column
    return found
