"""IEMOCAP, whose data needs a signed agreement, on a miniature of its official layout; nobody's speech, invented ratings."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.data.corpora import load_corpora, load_corpus
from ser_core.data.manifest import BadCorpus, Corpus

HEAD = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
SINGLE = "C-E2:\tNeutral;\t()\nC-F1:\tAnger; Frustration;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\nA-F1:\tval 2; act 3; dom  ;\t()\n\n"
DIALOGUES = {
    "Ses01F_impro01": [
        ("Ses01F_impro01_F000", "neu", "2.5000, 2.5000, 2.0000", "Good morning."),
        ("Ses01F_impro01_M000", "fru", "1.5000, 3.5000, 4.0000", "Please wait over there."),
        ("Ses01F_impro01_M001", "ang", "1.0000, 5.0000, 4.5000", "No!"),
    ],
    "Ses01M_script01_1": [
        ("Ses01M_script01_1_F000", "exc", "5.0000, 4.0000, 3.0000", "Look at that."),
        ("Ses01M_script01_1_M000", "hap", "4.5000, 3.0000, 3.0000", "I see it: [LAUGHTER] lovely."),
        ("Ses01M_script01_1_M001", "xxx", "3.0000, 3.0000, 3.0000", "Well."),
    ],
    "Ses05M_script01_1b": [
        ("Ses05M_script01_1b_F000", "sad", "2.0000, 1.0000, 2.0000", "It rained."),
        ("Ses05M_script01_1b_F001", "fea", "2.0000, 4.0000, 1.0000", "What was that?"),
        ("Ses05M_script01_1b_M000", "sur", "3.5000, 4.0000, 3.0000", "Oh."),
        ("Ses05M_script01_1b_M001", "dis", "1.5000, 3.0000, 4.0000", "Not that."),
        ("Ses05M_script01_1b_M002", "oth", "3.0000, 2.3333, 3.6667", "Perhaps."),
    ],
}  # fmt: skip


def evaluation(turns) -> str:
    heads = [f"[6.2901 - 8.2357]\t{name}\t{emotion}\t[{means}]\n{SINGLE}" for name, emotion, means, _ in turns]
    return HEAD + "".join(heads)


def transcription(turns) -> str:
    """As official: also turns that were not evaluated, and what the other side says meanwhile."""
    lines = [f"{name} [006.2901-008.2357]: {text}" for name, _, _, text in turns]
    return "\n".join([*lines, f"{turns[0][0][:-4]}MXX0 [008.3000-008.4000]: Hm.", "M: Mhm.", ""])


def layout(folder: Path, dialogues=DIALOGUES) -> Path:
    for dialogue, turns in dialogues.items():
        session = folder / f"Session{int(dialogue[3:5])}"
        for place, content in (("EmoEvaluation", evaluation(turns)), ("transcriptions", transcription(turns))):
            (session / "dialog" / place).mkdir(parents=True, exist_ok=True)
            (session / "dialog" / place / f"{dialogue}.txt").write_text(content)
        (session / "sentences" / "wav" / dialogue).mkdir(parents=True, exist_ok=True)
        for name, *_ in turns:
            soundfile.write(session / "sentences" / "wav" / dialogue / f"{name}.wav", np.full(160, 0.1), 16_000)
    return folder


def turn(emotion: str = "neu", means: str = "3.0, 3.0, 3.0", name: str = "Ses02F_impro01_F000"):
    return {"Ses02F_impro01": [(name, emotion, means, "Invented.")]}


def many(n_turns: int):
    return {"Ses02F_impro01": [(f"Ses02F_impro01_F{n:03d}", "neu", "3, 3, 3", "So.") for n in range(n_turns)]}


def loaded(folder: Path) -> Corpus:
    return load_corpus("iemocap", folder)


def says(folder: Path) -> str:
    with pytest.raises(BadCorpus) as refused:
        loaded(folder)
    assert str(folder) not in str(refused.value)
    return str(refused.value)


def test_codes_become_emotions_excitement_is_happiness_and_frustration_is_other(tmp_path):
    made = loaded(layout(tmp_path))
    assert made.table["emotion"].to_dict() == {
        "Ses01F_impro01_F000": "neutral", "Ses01F_impro01_M000": "other", "Ses01F_impro01_M001": "anger",
        "Ses01M_script01_1_F000": "happiness", "Ses01M_script01_1_M000": "happiness",
        "Ses01M_script01_1_M001": "no_agreement", "Ses05M_script01_1b_F000": "sadness",
        "Ses05M_script01_1b_F001": "fear", "Ses05M_script01_1b_M000": "surprise",
        "Ses05M_script01_1b_M001": "disgust", "Ses05M_script01_1b_M002": "other",
    }  # fmt: skip
    assert made.problems == ()


def test_the_three_means_are_valence_activation_and_dominance_in_this_order(tmp_path):
    made = loaded(layout(tmp_path))
    assert made.table.loc["Ses01F_impro01_M001", ["arousal", "valence", "dominance"]].to_list() == [5.0, 1.0, 4.5]
    assert made.table.loc["Ses05M_script01_1b_M002", "arousal"] == 2.3333
    assert (made.attribute_range, made.attributes_from) == ((1, 5), "listeners")


def test_a_speaker_is_the_session_and_the_turns_own_letter(tmp_path):
    table = loaded(layout(tmp_path)).table
    assert table.groupby("speaker").size().to_dict() == {
        "iemocap_Ses01F": 2, "iemocap_Ses01M": 4, "iemocap_Ses05F": 2, "iemocap_Ses05M": 3,
    }  # fmt: skip
    assert table.loc["Ses01F_impro01_M000", ["speaker", "gender"]].to_list() == ["iemocap_Ses01M", "male"]
    assert table.loc["Ses01M_script01_1_F000", ["speaker", "gender"]].to_list() == ["iemocap_Ses01F", "female"]


def test_texts_language_and_recordings_are_found_and_the_split_is_left_open(tmp_path):
    table = loaded(layout(tmp_path)).table
    assert table.loc["Ses01M_script01_1_M000", "text"] == "I see it: [LAUGHTER] lovely."
    assert table["text"].to_dict() == {name: text for turns in DIALOGUES.values() for name, _, _, text in turns}
    assert set(table["language"]) == {"en"}
    assert table["split"].isna().all()
    assert table["path"].map(lambda path: Path(path).is_file() and Path(path).stem).to_list() == list(table.index)


def test_what_a_mac_leaves_beside_the_files_is_not_read(tmp_path):
    folder = layout(tmp_path)
    (folder / "Session1" / "dialog" / "EmoEvaluation" / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07\n[x")
    assert len(loaded(folder)) == 11


def test_a_value_that_is_not_there_is_missing(tmp_path):
    table = loaded(layout(tmp_path, {**DIALOGUES, **turn(means="2.0, NaN, nan")})).table
    assert table.loc["Ses02F_impro01_F000", "valence"] == 2
    assert table.loc["Ses02F_impro01_F000", ["arousal", "dominance"]].isna().all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_transcription_may_be_in_an_odd_encoding(encoding, tmp_path):
    folder = layout(tmp_path, turn())
    place = folder / "Session2" / "dialog" / "transcriptions" / "Ses02F_impro01.txt"
    place.write_bytes("Ses02F_impro01_F000 [006.29-008.23]: That’s the café.\r\n".encode(encoding))
    assert loaded(folder).table["text"].to_list() == ["That’s the café."]


def test_missing_transcriptions_are_missing_texts_and_told(tmp_path):
    folder = layout(tmp_path)
    (folder / "Session5" / "dialog" / "transcriptions" / "Ses05M_script01_1b.txt").unlink()
    made = loaded(folder)
    assert made.table["text"].isna().sum() == 5
    assert made.problems == ("5 of 11 utterances have no text (dialog/transcriptions/*.txt was expected)",)


def test_a_dialogue_without_its_evaluation_is_told_and_without_any_it_is_refused(tmp_path):
    folder = layout(tmp_path)
    (folder / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt").unlink()
    made = loaded(folder)
    assert len(made) == 8
    assert made.problems == ("1 dialogues have recordings and no EmoEvaluation, 'Ses01F_impro01' among them",)
    for sheet in folder.glob("Session*/dialog/EmoEvaluation/*.txt"):
        sheet.unlink()
    assert "EmoEvaluation/Ses01F_impro01.txt … was expected" in says(folder)


@pytest.mark.parametrize(
    ("dialogue", "words"),
    [
        (turn("bor"), "emotion 'bor' of 'Ses02F_impro01_F000' is not one of ang hap"),
        (turn(means="3.0, 3.0"), "'[start - end] UTTERANCE emotion [v, a, d]' was expected"),
        (turn(means="3.0, 3.0, high"), "dominance 'high' of 'Ses02F_impro01_F000' is not a number"),
        (turn(name="turn 1"), "Ses02F_impro01.txt has the line '[6.2901 - 8.2357]"),
    ],
)
def test_a_wrong_turn_is_refused_and_named(dialogue, words, tmp_path):
    assert words in says(layout(tmp_path, {**DIALOGUES, **dialogue}))


def test_means_outside_of_the_scale_are_left_out_and_told(tmp_path):
    made = loaded(layout(tmp_path, {**DIALOGUES, **turn(means="5.5, 0.5, 3.0")}))
    rated = made.table.loc["Ses02F_impro01_F000"]
    assert np.isnan(rated["valence"]) and np.isnan(rated["arousal"]) and rated["dominance"] == 3
    assert "2 means lie outside of the scale of 1 to 5 and were left out" in made.problems


def test_evaluations_without_a_turn_are_refused(tmp_path):
    folder = layout(tmp_path, turn())
    (folder / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt").write_text(HEAD)
    assert "no line of EmoEvaluation/ is" in says(folder)


def test_missing_audio_is_told_or_refused(tmp_path):
    folder = layout(tmp_path, many(40))
    audio = sorted(folder.glob("Session2/sentences/wav/*/*.wav"))
    for path in audio[:2]:
        path.unlink()
    made = loaded(folder)
    assert len(made) == 38
    assert made.problems == ("2 of 40 audio files are missing, 'Ses02F_impro01_F000.wav' among them",)
    audio[2].unlink()
    assert "3 of 40 audio files are missing" in says(folder)


def test_it_is_not_joined_with_ratings_on_another_scale(tmp_path):
    layout(tmp_path / "iemocap")
    soundfile.write(tmp_path / "a.wav", np.full(160, 0.1), 16_000)
    (tmp_path / "rated.csv").write_text("path,speaker,arousal\na.wav,anna,6.5\n")
    with pytest.raises(BadCorpus, match="iemocap: 1 to 5, by listeners; rated: 1 to 7, by listeners"):
        load_corpora([f"iemocap={tmp_path / 'iemocap'}", f"rated={tmp_path / 'rated.csv'}"])
