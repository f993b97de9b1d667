"""FAU Aibo, whose data needs a signed agreement, on a miniature of the challenge's layout; nobody's speech, invented labels."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.data.circumplex import with_pseudo_attributes
from ser_core.data.corpora import load_corpora, load_corpus
from ser_core.data.manifest import BadCorpus, Corpus, check_leaks
from ser_core.recipe import Recipe
from ser_core.training.preparation import assign_speakers

SHEETS = {"fau_aibo": "chunk_labels_5cl_corpus.txt", "fau_aibo_2": "chunk_labels_2cl_corpus.txt"}
LABELS = {  # chunk: five classes, two classes
    "Mont_01_000_00": "N IDL", "Mont_01_002_01": "A NEG", "Mont_13_004_00": "E NEG", "Mont_13_007_02": "R IDL",
    "Ohm_01_000_00": "N IDL", "Ohm_01_003_00": "P IDL", "Ohm_02_010_00": "A NEG", "Ohm_02_010_01": "E NEG",
    "Ohm_31_021_00": "E NEG", "Ohm_31_022_00": "N IDL", "Ohm_32_001_00": "R IDL", "Ohm_32_154_03": "N IDL",
}  # fmt: skip


def layout(folder: Path, labels=LABELS) -> Path:
    """Both sheets, written as the challenge's are (sorted, blanks between), and a short recording for each chunk."""
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    (folder / "labels" / "IS2009EmotionChallenge").mkdir(parents=True, exist_ok=True)
    for column, sheet in enumerate(SHEETS.values()):
        write(folder, [f"{chunk} {words.split()[column]} 0.666667" for chunk, words in labels.items()], sheet)
    for chunk in labels:
        soundfile.write(folder / "wav" / f"{chunk}.wav", np.full(160, 0.1), 16_000)
    return folder


def write(folder: Path, lines, sheet: str = SHEETS["fau_aibo"], encoding: str = "utf-8", end: str = "\n") -> Path:
    content = end.join([*lines, ""]).encode(encoding)
    (folder / "labels" / "IS2009EmotionChallenge" / sheet).write_bytes(content)
    return folder


def many(n_chunks: int) -> dict[str, str]:
    return {f"Ohm_{n % 4 + 1:02d}_{n:03d}_00": "N IDL" for n in range(n_chunks)}


def loaded(folder: Path, name: str = "fau_aibo") -> Corpus:
    return load_corpus(name, folder)


def says(folder: Path, name: str = "fau_aibo") -> str:
    with pytest.raises(BadCorpus) as refused:
        loaded(folder, name)
    assert str(folder) not in str(refused.value)
    return str(refused.value)


def test_five_letters_become_classes_positive_is_happiness_and_rest_is_other(tmp_path):
    made = loaded(layout(tmp_path))
    assert made.table["emotion"].to_list() == [
        "neutral", "anger", "emphatic", "other", "neutral", "happiness", "anger", "emphatic", "emphatic", "neutral",
        "other", "neutral",
    ]  # fmt: skip
    assert made.emotions == ("neutral", "happiness", "anger", "emphatic")


def test_the_two_classes_are_a_table_entry_of_their_own(tmp_path):
    made = loaded(layout(tmp_path), "fau_aibo_2")
    negative = [chunk for chunk, words in LABELS.items() if words.endswith("NEG")]
    assert made.table.index[made.table["emotion"] == "negative"].to_list() == negative
    assert made.emotions == ("negative", "idle") and set(made.table["corpus"]) == {"fau_aibo_2"}
    assert made.table["speaker"].to_list() == loaded(tmp_path).table["speaker"].to_list()


def test_each_entry_needs_its_own_sheet_only(tmp_path):
    folder = layout(tmp_path)
    (folder / "labels" / "IS2009EmotionChallenge" / SHEETS["fau_aibo"]).unlink()
    assert len(loaded(folder, "fau_aibo_2")) == len(LABELS)
    assert f"labels/IS2009EmotionChallenge/{SHEETS['fau_aibo']} was expected" in says(folder)


def test_a_child_is_known_by_school_and_number_and_speaks_german(tmp_path):
    table = loaded(layout(tmp_path)).table
    assert table.loc["Ohm_01_003_00", ["speaker", "language"]].to_list() == ["fau_aibo_Ohm_01", "de"]
    assert table["speaker"].nunique() == 6 and "fau_aibo_Mont_01" in set(table["speaker"])
    assert table["path"].map(lambda path: Path(path).stem).to_list() == table.index.to_list()
    assert table["path"].map(lambda path: Path(path).is_file()).all()


def test_gender_age_and_words_are_unknown_and_it_is_said_what_to_do(tmp_path):
    made = loaded(layout(tmp_path))
    assert set(made.table["gender"]) == {"unknown"} and made.table[["age", "text"]].isna().all(axis=None)
    (problem,) = made.problems
    assert "neither gender nor age nor words" in problem and "manifest with a column gender" in problem


def test_ohm_trains_mont_tests_and_the_last_two_of_ohm_are_kept_for_dev(tmp_path):
    table = loaded(layout(tmp_path)).table
    of_split = {split: sorted(rows["speaker"].unique()) for split, rows in table.groupby("split")}
    assert of_split == {
        "train": ["fau_aibo_Ohm_01", "fau_aibo_Ohm_02"],
        "dev": ["fau_aibo_Ohm_31", "fau_aibo_Ohm_32"],
        "test": ["fau_aibo_Mont_01", "fau_aibo_Mont_13"],
    }
    check_leaks(table[table["split"] != "test"], table[table["split"] == "test"])


def test_a_training_reads_the_challenge_split(tmp_path):
    _, dev, test = assign_speakers(loaded(layout(tmp_path)), Recipe("any", "baseline"), seed=0)
    assert dev == ("fau_aibo_Ohm_31", "fau_aibo_Ohm_32")
    assert test == ("fau_aibo_Mont_01", "fau_aibo_Mont_13")


def test_in_the_app_s_classes_emphatic_becomes_other(tmp_path):
    smaller = loaded(layout(tmp_path)).relabelled(("neutral", "happiness", "anger"))
    assert smaller.table.loc["Mont_13_004_00", "emotion"] == "other" and smaller.emotions == (
        "neutral", "happiness", "anger",
    )  # fmt: skip


def test_two_classes_have_no_place_in_the_circumplex(tmp_path):
    with pytest.raises(BadCorpus, match="fau_aibo_2: no utterance has an emotion with a place"):
        with_pseudo_attributes(loaded(layout(tmp_path), "fau_aibo_2"))


def test_both_forms_of_one_chunk_are_never_joined(tmp_path):
    layout(tmp_path)
    with pytest.raises(BadCorpus, match="occur in two corpora, as 'Mont_01_000_00' in fau_aibo and fau_aibo_2"):
        load_corpora([f"{name}={tmp_path}" for name in SHEETS])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_may_be_in_an_odd_encoding_and_end_lines_otherwise(encoding, end, tmp_path):
    folder = write(layout(tmp_path), ["Ohm_01_000_00 N 1", "", "  Mont_01_000_00\tA  .5 "], encoding=encoding, end=end)
    assert loaded(folder).table["emotion"].to_dict() == {"Mont_01_000_00": "anger", "Ohm_01_000_00": "neutral"}


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"\xff\xfe"])
def test_an_empty_sheet_is_refused(content, name, tmp_path):
    folder = layout(tmp_path)
    (folder / "labels" / "IS2009EmotionChallenge" / SHEETS[name]).write_bytes(content)
    assert f"{name}: {SHEETS[name]} is empty; lines 'CHUNK LABEL CONFIDENCE' were expected" in says(folder, name)


@pytest.mark.parametrize(
    "line",
    [
        "Ohm_01_000_00", "Ohm_01_000_00 N", "Ohm_01_000_00 N high", "Ohm_01_000_00 N 0.5 0.5", "Ohm_01_000 N 1",
        "Bonn_01_000_00 N 1", "ohm_01_000_00 N 1", "Ohm_01_000_00.wav N 1", "Ohm_01_000_00;N;1", "../Ohm_01_000_00 N 1",
        "\x89PNG",
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_refused_and_shown(line, tmp_path):
    message = says(write(layout(tmp_path), ["Ohm_01_003_00 N 1", line]))
    assert f"{SHEETS['fau_aibo']} has the line '{line}'" in message and "as in 'Ohm_01_000_00 A 0.6'" in message


@pytest.mark.parametrize(
    ("name", "label", "expected"), [("fau_aibo", "NEG", "A E N P R"), ("fau_aibo", "n", "A E N P R"), ("fau_aibo_2", "N", "NEG IDL")]
)  # fmt: skip
def test_an_unknown_label_is_refused_and_its_chunk_named(name, label, expected, tmp_path):
    folder = write(layout(tmp_path), [f"Ohm_01_003_00 {label} 1"], SHEETS[name])
    assert f"{name}: label '{label}' of 'Ohm_01_003_00' is not one of {expected}; correct" in says(folder, name)


def test_a_chunk_that_stands_there_twice_is_refused(tmp_path):
    folder = write(layout(tmp_path), ["Ohm_01_003_00 N 1", "Ohm_01_003_00 A 1"])
    assert "'Ohm_01_003_00' stands there twice" in says(folder)


def test_missing_recordings_are_told_or_refused(tmp_path):
    folder = layout(tmp_path, many(40))
    for place in range(2):
        (folder / "wav" / f"Ohm_{place + 1:02d}_{place:03d}_00.wav").unlink()
    made = loaded(folder)
    assert (len(made), made.problems[0]) == (38, "2 of 40 audio files are missing, 'Ohm_01_000_00.wav' among them")
    (folder / "wav" / "Ohm_03_002_00.wav").unlink()
    assert "3 of 40 audio files are missing" in says(folder)


def test_recordings_without_a_label_are_not_read(tmp_path):
    folder = layout(tmp_path)
    soundfile.write(folder / "wav" / "Ohm_01_099_00.wav", np.full(160, 0.1), 16_000)
    assert len(loaded(folder)) == len(LABELS)


def test_the_table_can_be_completed_by_genders_and_read_as_a_manifest(tmp_path):
    table = loaded(layout(tmp_path / "aibo")).table
    of_school = table["speaker"].str.contains("Ohm").map({True: "female", False: "male"})
    table.assign(gender=of_school).to_csv(tmp_path / "manifest.csv")
    again = load_corpus("children", tmp_path)
    assert again.table["gender"].to_list() == of_school.to_list() and of_school.nunique() == 2
    assert again.emotions == ("neutral", "happiness", "anger", "emphatic")
    assert again.table["speaker"].to_list() == table["speaker"].to_list()
