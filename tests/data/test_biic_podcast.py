"""BIIC-Podcast, whose data needs a signed agreement, on a miniature of its layout; nobody's speech, invented words.

File names, sets and scale are as published; the rest of the layout is that of MSP-Podcast, whose tests cover what both share.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.data.corpora import load_corpora, load_corpus
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.recipe import Recipe
from ser_core.training.preparation import assign_speakers

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
LINES = (
    "BIIC-PODCAST_0001_0016_0001.wav,N,2.33,4.0,6.33,7,Female,Test",
    "BIIC-PODCAST_0001_0033.wav,H,2.0,5.33,4.0,7,Female,Test",
    "BIIC-PODCAST_0002_0015.wav,S,5.0,3.67,3.67,8,Male,Train",
    "BIIC-PODCAST_0002_0070.wav,A,6.0,3.33,2.33,8,Male,Train",
    "BIIC-PODCAST_0003_0001.wav,C,4.2,2.4,5.2,9,Female,Development",
    "BIIC-PODCAST_0003_0002.wav,X,4.0,3.8,4.2,Unknown,Female,Development",
)


def layout(folder: Path, lines=LINES, header: str = HEADER, encoding: str = "utf-8", end: str = "\n") -> Path:
    for part in ("Labels", "Audios", "Transcripts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "Labels" / "labels_consensus.csv").write_bytes(end.join([header, *lines, ""]).encode(encoding))
    for name in (line.partition(",")[0] for line in lines):
        soundfile.write(folder / "Audios" / name, np.full(160, 0.1), 16_000)
        (folder / "Transcripts" / f"{Path(name).stem}.txt").write_text(f"這是 {name}\n", encoding="utf-8")
    return folder


def loaded(folder: Path) -> Corpus:
    return load_corpus("biic_podcast", folder)


def says(folder: Path) -> str:
    with pytest.raises(BadCorpus) as refused:
        loaded(folder)
    assert str(folder) not in str(refused.value) and "msp" not in str(refused.value)
    return str(refused.value)


def test_labels_attributes_speakers_and_words_are_read_under_its_own_name_and_language(tmp_path):
    made = loaded(layout(tmp_path))
    row = made.table.loc["BIIC-PODCAST_0001_0016_0001"]
    assert row[["corpus", "speaker", "gender", "language", "split", "emotion", "text"]].to_list() == [
        "biic_podcast", "biic_podcast_7", "female", "zh", "Test", "neutral", "這是 BIIC-PODCAST_0001_0016_0001.wav",
    ]  # fmt: skip
    assert row[["arousal", "valence", "dominance"]].to_list() == [2.33, 4.0, 6.33]
    assert (made.attribute_range, made.attributes_from) == ((1, 7), "listeners")
    assert made.table["emotion"].to_list() == ["neutral", "happiness", "sadness", "anger", "other"]
    assert made.problems == ("1 of 6 utterances were left out: speaker unknown",)


def test_a_training_reads_its_split(tmp_path):
    _, dev, test = assign_speakers(loaded(layout(tmp_path)), Recipe("any", "baseline"), seed=0)
    assert (dev, test) == (("biic_podcast_9",), ("biic_podcast_7",))


def test_speakers_of_the_same_number_in_both_podcast_corpora_stay_apart(tmp_path):
    english = [line.replace("BIIC", "MSP") for line in LINES]
    folders = [f"biic_podcast={layout(tmp_path / 'biic')}", f"msp_podcast={layout(tmp_path / 'msp', english)}"]
    joined = load_corpora(folders)
    assert joined.table["speaker"].nunique() == 6
    assert joined.table.groupby("corpus")["language"].unique().map(list).to_dict() == {
        "biic_podcast": ["zh"], "msp_podcast": ["en"],
    }  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_may_be_in_an_odd_encoding(encoding, end, tmp_path):
    made = loaded(layout(tmp_path, encoding=encoding, end=end))
    assert made.table["split"].to_list() == ["Test", "Test", "Train", "Train", "Development"]


@pytest.mark.parametrize("gender", ["", "Unknown"])
def test_if_nobody_s_gender_is_known_it_is_read_and_told(gender, tmp_path):
    lines = [line.replace("Female", gender).replace("Male", gender) for line in LINES]
    made = loaded(layout(tmp_path, lines))
    assert set(made.table["gender"]) == {"unknown"}
    assert made.problems[1] == "no utterance has a gender (column Gender: Female or Male was expected)"


def test_without_labels_it_is_refused(tmp_path):
    folder = layout(tmp_path)
    (folder / "Labels" / "labels_consensus.csv").unlink()
    assert says(folder).startswith("biic_podcast: Labels/labels_consensus.csv beside Audios/ was expected")


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(column, tmp_path):
    header = HEADER.replace(column, "Something")
    assert f"biic_podcast: labels_consensus.csv lacks the columns {column}" in says(layout(tmp_path, header=header))


@pytest.mark.parametrize("letter", ["Z", "7", "happy"])
def test_an_unknown_letter_is_refused_and_its_utterance_named(letter, tmp_path):
    message = says(layout(tmp_path, [LINES[0].replace(",N,", f",{letter},"), *LINES[1:]]))
    assert f"EmoClass '{letter}' of 'BIIC-PODCAST_0001_0016_0001.wav' is not one of A S" in message


def test_an_empty_sheet_and_one_without_rows_are_refused(tmp_path):
    assert "biic_podcast: labels_consensus.csv has no rows below its columns" in says(layout(tmp_path, []))
    (tmp_path / "Labels" / "labels_consensus.csv").write_bytes(b"")
    assert "biic_podcast: labels_consensus.csv cannot be read as a table" in says(tmp_path)


def test_if_nobody_is_known_it_is_refused(tmp_path):
    assert "biic_podcast: no row of the labels has a known speaker" in says(layout(tmp_path, LINES[5:]))


def test_missing_recordings_are_told_or_refused(tmp_path):
    folder = layout(tmp_path, [f"BIIC-PODCAST_0009_{n:04d}.wav,N,4,4,4,{n % 3},Male,Train" for n in range(40)])
    for place in range(2):
        (folder / "Audios" / f"BIIC-PODCAST_0009_{place:04d}.wav").unlink()
    assert loaded(folder).problems == ("2 of 40 audio files are missing, 'BIIC-PODCAST_0009_0000.wav' among them",)
    (folder / "Audios" / "BIIC-PODCAST_0009_0002.wav").unlink()
    assert "biic_podcast: 3 of 40 audio files are missing" in says(folder)
