"""nEMO: Christop 2024, LREC-COLING, 12111-12116. CC BY-NC-SA 4.0.

data.tsv (file_id, emotion, raw_text, normalized_text, speaker_id, gender, age) beside samples/.
"""

from pathlib import Path

import pandas as pd

from ser_core.data.manifest import BadCorpus, Corpus, existing_files, make_corpus

_COLUMNS = {"file_id", "emotion", "raw_text", "speaker_id", "gender", "age"}


def load(folder: Path) -> Corpus:
    """Read data.tsv and samples/; a recording may have another ending than data.tsv says.

    Raises:
        BadCorpus: not this layout, or more than one in twenty recordings are missing.
    """
    sheet = folder / "data.tsv"
    if not sheet.is_file():
        raise BadCorpus("nemo: data.tsv beside samples/ was expected, and there is none")
    try:
        raw = pd.read_csv(sheet, sep="\t", dtype=str)
    except (ValueError, pd.errors.ParserError):
        raise BadCorpus("nemo: data.tsv cannot be read as a table; copy the corpus again") from None
    if not set(raw.columns) >= _COLUMNS:
        raise BadCorpus(f"nemo: data.tsv lacks the columns {', '.join(sorted(_COLUMNS - set(raw.columns)))}")
    files = {path.stem: str(path) for path in (folder / "samples").glob("*")}
    stems = raw["file_id"].map(lambda name: Path(name).stem)
    table = pd.DataFrame(
        {
            "path": stems.map(lambda stem: files.get(stem, stem)).to_list(),
            "speaker": ("nemo_" + raw["speaker_id"]).to_list(),
            "gender": raw["gender"].to_list(),
            "age": pd.to_numeric(raw["age"], errors="coerce").to_list(),
            "language": "pl",
            "emotion": raw["emotion"].to_list(),
            "text": raw["raw_text"].to_list(),
            "text_id": stems.map(lambda stem: stem.rpartition("_")[2]).to_list(),
        },
        index=stems.to_list(),
    )
    table, problems = existing_files("nemo", table, "samples/*.wav")
    return make_corpus("nemo", table, problems)
