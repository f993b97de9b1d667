"""MSP-Podcast, whose data needs a signed agreement, on a miniature of its official layout; nobody's speech, invented words."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ser_core.data.corpora import load_corpus
from ser_core.data.manifest import BadCorpus, Corpus
from ser_core.recipe import Recipe
from ser_core.training.preparation import assign_speakers

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
LINES = (
    "MSP-PODCAST_0001_0008.wav,N,2.6,4.0,3.8,127,Male,Train",
    "MSP-PODCAST_0001_0010.wav,A,6.2,1.4,6.0,127,Male,Train",
    "MSP-PODCAST_0002_0033.wav,S,1,1,1,128,Female,Train",
    "MSP-PODCAST_0002_0039.wav,H,7,7,7,128,Female,Train",
    "MSP-PODCAST_0003_0004_0001.wav,U,5.0,4.6,4.4,Unknown,Male,Train",
    "MSP-PODCAST_0003_0005.wav,F,5.4,2.2,2.6,unknown,Unknown,Train",
    "MSP-PODCAST_0004_0001.wav,D,4.4,2.0,4.8,200,Female,Development",
    "MSP-PODCAST_0004_0002.wav,C,4.2,2.4,5.2,200,Female,Development",
    "MSP-PODCAST_0005_0001.wav,O,3.8,3.6,4.0,301,Male,Test1",
    "MSP-PODCAST_0005_0002.wav,X,4.0,3.8,4.2,301,Male,Test1",
    "MSP-PODCAST_0006_0001.wav,U,5.8,5.2,4.6,302,Female,Test2",
    "MSP-PODCAST_0006_0002.wav,F,5.6,2.0,2.4,302,Female,Test2",
    "MSP-PODCAST_test3_0001.wav,,,,,401,Female,Test3",
    "MSP-PODCAST_test3_0002.wav,,,,,,,Test3",
)
EMOTIONS = {
    "MSP-PODCAST_0001_0008": "neutral", "MSP-PODCAST_0001_0010": "anger", "MSP-PODCAST_0002_0033": "sadness",
    "MSP-PODCAST_0002_0039": "happiness", "MSP-PODCAST_0004_0001": "disgust", "MSP-PODCAST_0004_0002": "other",
    "MSP-PODCAST_0005_0001": "other", "MSP-PODCAST_0005_0002": "no_agreement", "MSP-PODCAST_0006_0001": "surprise",
    "MSP-PODCAST_0006_0002": "fear", "MSP-PODCAST_test3_0001": None,
}  # fmt: skip


def layout(folder: Path, lines=LINES, header: str = HEADER, sheet: str = "labels_consensus.csv") -> Path:
    """The official folders, a short recording and a transcript for each line."""
    for part in ("Labels", "Audios", "Transcripts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "Labels" / sheet).write_text("\n".join([header, *lines, ""]))
    for name in (line.partition(",")[0] for line in lines):
        soundfile.write(folder / "Audios" / name, np.full(160, 0.1), 16_000)
        (folder / "Transcripts" / f"{Path(name).stem}.txt").write_text(f"Invented words of {name}\n")
    return folder


def loaded(folder: Path) -> Corpus:
    return load_corpus("msp_podcast", folder)


def says(folder: Path) -> str:
    with pytest.raises(BadCorpus) as refused:
        loaded(folder)
    assert str(folder) not in str(refused.value)
    return str(refused.value)


def test_letters_become_emotions_and_contempt_is_other(tmp_path):
    made = loaded(layout(tmp_path))
    assert made.table["emotion"].astype(object).where(made.table["emotion"].notna(), None).to_dict() == EMOTIONS
    assert set(made.emotions) == {"neutral", "anger", "sadness", "happiness", "disgust", "surprise", "fear"}


def test_attributes_speakers_genders_splits_and_texts_are_read(tmp_path):
    made = loaded(layout(tmp_path))
    row = made.table.loc["MSP-PODCAST_0001_0010"]
    assert row[["arousal", "valence", "dominance"]].to_list() == [6.2, 1.4, 6.0]
    assert row[["speaker", "gender", "language", "split", "text"]].to_list() == [
        "msp_podcast_127", "male", "en", "Train", "Invented words of MSP-PODCAST_0001_0010.wav",
    ]  # fmt: skip
    assert (made.attribute_range, made.attributes_from) == ((1, 7), "listeners")
    assert made.table["split"].value_counts().to_dict() == {
        "Train": 4, "Development": 2, "Test1": 2, "Test2": 2, "Test3": 1,
    }  # fmt: skip
    assert made.table["path"].map(lambda path: Path(path).is_file()).all()


def test_unknown_speakers_are_left_out_and_counted(tmp_path):
    made = loaded(layout(tmp_path))
    assert len(made) == 11
    assert made.problems == ("3 of 14 utterances were left out: speaker unknown",)
    assert not made.table["speaker"].str.lower().str.contains("unknown|nan").any()


def test_the_test_set_without_labels_is_kept_without_labels(tmp_path):
    row = loaded(layout(tmp_path)).table.loc["MSP-PODCAST_test3_0001"]
    assert row[["emotion", "arousal", "valence", "dominance"]].isna().all()
    assert (row["split"], row["gender"]) == ("Test3", "female")


def test_a_training_reads_the_official_split_and_keeps_away_from_those_whose_labels_are_kept_back(tmp_path):
    corpus, dev, test = assign_speakers(loaded(layout(tmp_path)), Recipe("any", "baseline"), seed=0)
    assert dev == ("msp_podcast_200",) and test == ("msp_podcast_301", "msp_podcast_302")
    assert "msp_podcast_401" not in set(corpus.table["speaker"])  # of Test3: neither heard nor measured


def test_the_older_spelling_of_the_labels_is_read_too(tmp_path):
    assert len(loaded(layout(tmp_path, sheet="labels_concensus.csv"))) == 11


def test_a_few_missing_transcripts_are_missing_texts_and_many_are_told(tmp_path):
    lines = [f"MSP-PODCAST_0009_{place:04d}.wav,N,4,4,4,{place % 3},Male,Train" for place in range(20)]
    folder = layout(tmp_path, lines)
    (folder / "Transcripts" / "MSP-PODCAST_0009_0000.txt").write_text(" \n")
    made = loaded(folder)
    assert made.problems == ()
    assert made.table["text"].isna().to_list() == [True, *[False] * 19]
    (folder / "Transcripts" / "MSP-PODCAST_0009_0001.txt").unlink()
    assert loaded(folder).problems == ("2 of 20 utterances have no text (Transcripts/NAME.txt was expected)",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_transcript_may_be_in_an_odd_encoding(encoding, tmp_path):
    folder = layout(tmp_path)
    place = folder / "Transcripts" / "MSP-PODCAST_0001_0008.txt"
    place.write_bytes("That’s  the café,\r\n I think.".encode(encoding))
    assert loaded(folder).table.loc["MSP-PODCAST_0001_0008", "text"] == "That’s the café, I think."


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    folder = layout(tmp_path)
    (folder / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_bytes(b"fine \x81\x8d then")
    assert loaded(folder).table.loc["MSP-PODCAST_0001_0008", "text"] == "fine \ufffd\ufffd then"


def test_without_labels_it_is_refused(tmp_path):
    folder = layout(tmp_path)
    (folder / "Labels" / "labels_consensus.csv").unlink()
    assert "Labels/labels_consensus.csv beside Audios/ was expected" in says(folder)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(column, tmp_path):
    header = HEADER.replace(column, "Something")
    assert f"lacks the columns {column}" in says(layout(tmp_path, header=header))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("MSP-PODCAST_0001_0008.wav,Z,4,4,4,127,Male,Train", "EmoClass 'Z' of 'MSP-PODCAST_0001_0008.wav' is not one of A S"),
        ("MSP-PODCAST_0001_0008.wav,N,4,7.2,4,127,Male,Train", "valence 7.2 of 'MSP-PODCAST_0001_0008' is outside of its scale"),
        ("MSP-PODCAST_0001_0008.wav,N,0,4,4,127,Male,Train", "arousal 0 of 'MSP-PODCAST_0001_0008' is outside of its scale"),
        ("MSP-PODCAST_0001_0008.wav,N,4,4,much,127,Male,Train", "dominance 'much' of 'MSP-PODCAST_0001_0008' is not a number"),
        ("MSP-PODCAST_0001_0008.wav,N,4,4,4,127,Robot,Train", "gender 'robot' is not one of"),
        ("MSP-PODCAST_0001_0010.wav,N,4,4,4,127,Male,Train", "'MSP-PODCAST_0001_0010' stands there twice"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_refused_and_named(line, words, tmp_path):
    assert words in says(layout(tmp_path, [line, *LINES[1:]]))


def test_a_row_without_a_file_name_is_refused(tmp_path):
    folder = layout(tmp_path)
    with (folder / "Labels" / "labels_consensus.csv").open("a") as sheet:
        sheet.write(",N,4,4,4,127,Male,Train\n")
    assert "1 rows of labels_consensus.csv have no FileName" in says(folder)


def test_if_nobody_is_known_it_is_refused(tmp_path):
    assert "no row of the labels has a known speaker" in says(layout(tmp_path, LINES[4:6]))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\x00\xff\xfe", b'FileName,EmoClass\n"never closed,N\n'])
def test_labels_that_are_no_table_are_refused(content, tmp_path):
    folder = layout(tmp_path)
    (folder / "Labels" / "labels_consensus.csv").write_bytes(content)
    assert says(folder).startswith("msp_podcast: labels_consensus.csv")


def test_missing_audio_is_told_or_refused(tmp_path):
    lines = [f"MSP-PODCAST_0009_{place:04d}.wav,N,4,4,4,{place % 3},Male,Train" for place in range(40)]
    folder = layout(tmp_path, lines)
    for place in range(2):
        (folder / "Audios" / f"MSP-PODCAST_0009_{place:04d}.wav").unlink()
    made = loaded(folder)
    assert (len(made), made.problems[0][:41]) == (38, "2 of 40 audio files are missing, 'MSP-POD")
    (folder / "Audios" / "MSP-PODCAST_0009_0002.wav").unlink()
    assert "3 of 40 audio files are missing" in says(folder)


def test_missing_audio_of_an_unknown_speaker_does_not_matter(tmp_path):
    folder = layout(tmp_path)
    (folder / "Audios" / "MSP-PODCAST_0003_0005.wav").unlink()
    assert len(loaded(folder)) == 11


def test_the_table_can_be_written_and_read_again(tmp_path):
    made = loaded(layout(tmp_path / "msp"))
    made.table.to_csv(tmp_path / "manifest.csv")
    again = load_corpus("again", tmp_path)
    pd.testing.assert_frame_equal(again.table[["arousal", "valence"]], made.table[["arousal", "valence"]])
    assert again.attribute_range == (1, 7)
