"""Any CSV or TSV with our columns (see data/manifest.py); paths are relative to the table's folder."""

from pathlib import Path

import pandas as pd

from ser_core.data.manifest import REQUIRED, BadCorpus, Corpus, existing_files, make_corpus

_NAMES = ("manifest.csv", "manifest.tsv", "metadata.csv", "metadata.tsv")
_MAX_ROWS = 200_000


class NoManifest(BadCorpus):
    """No table at the place named."""


def load(path: Path, name: str = "manifest") -> Corpus:
    """Read a manifest; without an utterance_id column, file names (or whole relative paths) serve.

    Raises:
        BadCorpus: no table, one that cannot be read, columns missing, more than one in twenty files missing.
    """
    sheet = _find(path, name)
    try:
        raw = pd.read_csv(sheet, sep="\t" if sheet.suffix == ".tsv" else ",", dtype=str, nrows=_MAX_ROWS + 1)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError):
        raise BadCorpus(f"{name}: '{sheet.name}' cannot be read as a table") from None
    if len(raw) > _MAX_ROWS:
        raise BadCorpus(f"{name}: '{sheet.name}' has more than {_MAX_ROWS} rows; split it")
    if "path" not in raw or raw["path"].isna().any():
        raise BadCorpus(f"{name}: every row needs a path; the table needs the columns {', '.join(REQUIRED)}")
    for column in ("age", "duration_s"):
        if column in raw:
            raw[column] = pd.to_numeric(raw[column], errors="coerce")
    raw.index = pd.Index(_utterance_ids(raw))
    raw["path"] = raw["path"].map(lambda relative: str(sheet.parent / relative))
    table, problems = existing_files(name, raw.drop(columns="utterance_id", errors="ignore"), "a path in each row")
    return make_corpus(name, table, problems)


def _find(path: Path, name: str) -> Path:
    candidates = [path] if path.is_file() else [path / file for file in _NAMES]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        raise NoManifest(
            f"{name}: no manifest was found; a folder with {' or '.join(_NAMES)}, or the table itself, is needed"
        )
    return found


def _utterance_ids(raw: pd.DataFrame) -> list[str]:
    if "utterance_id" in raw:
        return raw["utterance_id"].astype(str).to_list()
    stems = raw["path"].map(lambda path: Path(path).stem)
    return (stems if stems.is_unique else raw["path"].map(lambda path: path.removesuffix(Path(path).suffix))).to_list()
