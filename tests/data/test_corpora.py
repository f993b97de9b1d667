"""Each loader against what is known of its corpus, and against copies that are broken in known ways."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy.stats import chi2_contingency

from ser_core.data.corpora import CORPORA, load_corpora, load_corpus
from ser_core.data.manifest import BadCorpus, Corpus

COMPARED = ("speaker", "gender", "emotion", "text_id", "text", "language")


def sheet(corpora: Path, name: str) -> pd.DataFrame:
    """What was written down of a corpus by hand, by file name without ending."""
    table = pd.read_csv(corpora / name / "metadata.csv", dtype=str)
    return table.set_index(table["path"].map(lambda path: Path(path).stem)).sort_index()


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def linked(corpora: Path, name: str, folder: Path, keep=lambda place, path: True) -> Path:
    """A copy of a corpus made of links, of the audio files that `keep` holds for, and its tables."""
    for table in (corpora / name).glob("*.tsv"):
        link(table, folder / table.name)
    for place, path in enumerate(sheet(corpora, name)["path"]):
        if keep(place, Path(path)):
            link(corpora / name / path, folder / path)
    return folder


def short_wav(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(160, 0.1), 16_000)
    return path


def says(name: str, folder: Path) -> str:
    """The message of a refusal; it never tells where on the computer the corpus lies."""
    with pytest.raises(BadCorpus) as refused:
        load_corpus(name, folder)
    assert str(folder.parent) not in str(refused.value)
    return str(refused.value)


def test_a_table_under_the_name_of_a_layout_is_told_which_name_to_take(tmp_path):
    table = tmp_path / "lab.csv"
    table.write_text("path,speaker\n")
    for name in CORPORA:
        assert f"{name} is read from the folder" in says(name, table) and "mine=lab.csv" in says(name, table)


# real corpora


@pytest.mark.parametrize(("name", "n_speakers"), [("ravdess", 20), ("emodb", 8), ("nemo", 7)])
def test_a_loader_reads_what_is_known_of_its_corpus(name, n_speakers, corpora):
    corpus, known = load_corpus(name, corpora / name), sheet(corpora, name)
    assert list(corpus.table.index) == list(known.index)
    for column in COMPARED:
        assert corpus.table[column].to_list() == known[column].to_list(), column
    assert corpus.problems == ()
    assert (corpus.table["corpus"] == name).all()
    assert corpus.table["path"].map(lambda path: Path(path).is_file()).all()
    assert corpus.table["speaker"].nunique() == n_speakers
    assert set(corpus.emotions) == set(known["emotion"])


@pytest.mark.parametrize("name", ["emodb", "nemo"])
def test_ages_are_read(name, corpora):
    ages, known = load_corpus(name, corpora / name).table["age"], sheet(corpora, name)["age"]
    assert ages.astype(int).to_list() == known.astype(int).to_list()


def test_in_ravdess_odd_actors_are_men_and_even_ones_women(corpora):
    table = load_corpus("ravdess", corpora / "ravdess").table
    actor = table["speaker"].str.removeprefix("ravdess_").astype(int)
    assert set(table["gender"][actor % 2 == 1]) == {"male"}
    assert set(table["gender"][actor % 2 == 0]) == {"female"}


def test_the_utterance_published_twice_is_named_and_really_the_same(corpora):
    table = load_corpus("ravdess", corpora / "ravdess").table
    ((copy, original),) = table["duplicate_of"].dropna().items()
    first, second = (soundfile.read(table.loc[name, "path"])[0] for name in (copy, original))
    np.testing.assert_array_equal(first, second)
    assert sheet(corpora, "ravdess")["duplicate_of"].notna().sum() == 1


def test_calm_is_a_class_of_its_own(corpora):
    corpus = load_corpus("ravdess", corpora / "ravdess")
    assert {"calm", "neutral"} <= set(corpus.emotions)
    assert (corpus.table["emotion"] == "neutral").sum() * 2 == (corpus.table["emotion"] == "calm").sum()


def test_a_corpus_without_a_layout_of_its_own_is_read_from_its_manifest(corpora):
    corpus, known = load_corpus("korean", corpora / "korean"), sheet(corpora, "korean")
    for column in COMPARED:
        assert corpus.table[column].to_list() == known[column].to_list(), column
    assert corpus.name == "korean"
    assert "flags" in corpus.table, "further columns are kept"


def test_nemo_recordings_may_have_another_ending_than_its_table_says(corpora):
    says_wav = pd.read_csv(corpora / "nemo" / "data.tsv", sep="\t")["file_id"].str.endswith(".wav").all()
    table = load_corpus("nemo", corpora / "nemo").table
    assert says_wav
    assert not table["path"].str.endswith(".wav").any()


def test_several_corpora_are_joined_and_keep_their_names(corpora):
    joined = load_corpora([f"{name}={corpora / name}" for name in ("emodb", "ravdess")])
    assert joined.table["corpus"].value_counts().to_dict() == {"ravdess": 1200, "emodb": 410}
    assert len(load_corpora([f"emodb={corpora / 'emodb'}"])) == 410


# broken copies


@pytest.mark.parametrize("name", ["ravdess", "emodb", "nemo", "korean"])
def test_a_corpus_with_half_its_files_missing_is_refused(name, corpora, tmp_path):
    folder = linked(corpora, name, tmp_path / name, lambda place, path: place // 20 % 2 == 0)
    if name == "korean":
        shutil.copy(corpora / name / "metadata.csv", folder)
    assert "missing" in says(name, folder)


@pytest.mark.parametrize("name", ["ravdess", "emodb", "nemo"])
def test_a_corpus_that_lacks_a_few_files_is_read_and_says_so(name, corpora, tmp_path):
    folder = linked(corpora, name, tmp_path / name, lambda place, path: place % 50 != 7)
    corpus, known = load_corpus(name, folder), sheet(corpora, name)
    assert 0.97 * len(known) < len(corpus) < len(known)
    (problem,) = corpus.problems
    assert str(len(known) - len(corpus)) in problem


@pytest.mark.parametrize("name", ["ravdess", "emodb"])
def test_some_of_the_speakers_are_enough_if_they_are_complete(name, corpora, tmp_path):
    speakers = ("Actor_03", "Actor_05", "wav/03", "wav/08")
    folder = linked(corpora, name, tmp_path / name, lambda place, path: str(path).startswith(speakers))
    corpus = load_corpus(name, folder)
    assert corpus.table["speaker"].nunique() == 2
    assert corpus.problems == ()


@pytest.mark.parametrize("name", [name for name in CORPORA if not name.startswith("synthetic")])
def test_an_empty_folder_and_no_folder_are_refused(name, tmp_path):
    (tmp_path / "empty").mkdir()
    assert says(name, tmp_path / "empty").startswith(f"{name}: ")
    assert "there is no 'absent' at the place named" in says(name, tmp_path / "absent")


def test_a_file_with_a_foreign_name_is_left_out_and_told(corpora, tmp_path):
    folder = linked(corpora, "ravdess", tmp_path / "ravdess", lambda place, path: path.parts[0] == "Actor_01")
    link(corpora / "ravdess" / "metadata.csv", folder / "Actor_01" / "03-01-notes.txt")
    corpus = load_corpus("ravdess", folder)
    assert len(corpus) == 60
    assert corpus.problems == ("'03-01-notes.txt' was left out: not a RAVDESS name",)


def test_a_typo_in_the_name_gives_the_list_of_layouts(corpora, tmp_path):
    folder = linked(corpora, "ravdess", tmp_path / "speech", lambda place, path: place < 3)
    message = says("ravdes", folder)
    assert all(name in message for name in CORPORA)


@pytest.mark.parametrize("named", ["ravdess", "ravdess=", "=folder", ""])
def test_what_is_not_name_and_folder_is_refused(named):
    with pytest.raises(BadCorpus, match="is not NAME=DIR"):
        load_corpora([named])


# CREMA-D, whose audio is not at hand


def crema_d(corpora: Path, folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(corpora / "crema_d_labels" / "VideoDemographics.csv", folder)
    for name in names:
        short_wav(folder / "AudioWAV" / f"{name}.wav")
    return folder


def test_crema_d_names_and_demographics_are_read(corpora, tmp_path):
    names = ["1001_IEO_ANG_HI", "1002_DFA_SAD_XX", "1091_WSI_NEU_XX", "1040_ITH_SAD_X"]
    table = load_corpus("crema_d", crema_d(corpora, tmp_path, names)).table
    with (corpora / "crema_d_labels" / "VideoDemographics.csv").open() as file:
        actors = {row["ActorID"]: row for row in csv.DictReader(file)}
    for name in names:
        row, actor = table.loc[name], actors[name[:4]]
        assert row["speaker"] == f"crema_d_{name[:4]}"
        assert row["gender"] == actor["Sex"].lower()
        assert row["age"] == int(actor["Age"])
        assert (row["race"], row["ethnicity"]) == (actor["Race"], actor["Ethnicity"])
    assert table.loc["1001_IEO_ANG_HI", ["emotion", "intensity", "text"]].to_list() == [
        "anger",
        "high",
        "It's eleven o'clock.",
    ]
    assert table.loc["1002_DFA_SAD_XX", ["emotion", "text_id", "text"]].to_list() == [
        "sadness",
        "DFA",
        "Don't forget a jacket.",
    ]
    assert table.loc["1040_ITH_SAD_X", "intensity"] == "unspecified"


def test_every_official_crema_d_name_is_understood(corpora, tmp_path):
    official = pd.read_csv(corpora / "crema_d_labels" / "SentenceFilenames.csv")["Filename"].to_list()
    folder = crema_d(corpora, tmp_path, official[:1])
    (only,) = (folder / "AudioWAV").glob("*")
    for name in official[1:]:
        os.link(only, only.with_stem(name))
    corpus = load_corpus("crema_d", folder)
    assert len(corpus) == len(official) == 7442
    assert corpus.table["speaker"].nunique() == 91
    assert corpus.problems == ()
    assert corpus.table["text"].notna().all()
    assert set(corpus.emotions) == {"neutral", "happiness", "sadness", "anger", "fear", "disgust"}
    for place, path in enumerate((folder / "AudioWAV").glob("*")):
        if place % 2:
            path.unlink()
    (problem,) = load_corpus("crema_d", folder).problems
    assert "recordings of these actors are missing" in problem


def test_crema_d_without_demographics_or_with_an_unknown_actor_is_refused(corpora, tmp_path):
    short_wav(tmp_path / "a" / "AudioWAV" / "1001_IEO_ANG_HI.wav")
    assert "VideoDemographics.csv" in says("crema_d", tmp_path / "a")
    assert "actor 1234" in says("crema_d", crema_d(corpora, tmp_path / "b", ["1234_IEO_ANG_HI"]))
    (tmp_path / "a" / "VideoDemographics.csv").write_text("ActorID,Age\n1001,51\n")
    assert "needs the columns" in says("crema_d", tmp_path / "a")


# manifests


def manifest(folder: Path, rows: list[dict], file: str = "manifest.csv") -> Path:
    """A manifest and a short recording for each of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(folder / file, sep="\t" if file.endswith("tsv") else ",", index=False)
    for path in table.get("path", pd.Series(dtype=str)).dropna():
        short_wav(folder / path)
    return folder


def rows(n_rows: int = 4, **columns) -> list[dict]:
    row = {"speaker": "anna", "gender": "female", "emotion": "happy"}
    return [{"path": f"audio/{number}.wav", **row, **columns} for number in range(n_rows)]


@pytest.mark.parametrize("file", ["manifest.csv", "manifest.tsv", "metadata.csv", "metadata.tsv"])
def test_a_manifest_may_be_a_csv_or_tsv(file, tmp_path):
    folder = manifest(tmp_path, rows(text="one, two\tthree"), file)
    for place in (folder, folder / file):
        corpus = load_corpus("mine", place)
        assert corpus.table.index.to_list() == ["0", "1", "2", "3"]
        assert set(corpus.table["text"]) == {"one, two\tthree"}
        assert corpus.emotions == ("happiness",)


def test_odd_columns_are_kept_and_numbers_are_numbers(tmp_path):
    odd = {"Mother tongue ☂": "Kölsch", "arousal": "5.5", "age": "unknown", "corpus": "another"}
    table = load_corpus("mine", manifest(tmp_path, rows(**odd))).table
    assert set(table["Mother tongue ☂"]) == {"Kölsch"}
    assert set(table["arousal"]) == {5.5}
    assert table["age"].isna().all()
    assert set(table["corpus"]) == {"mine"}


def test_emotion_and_gender_may_be_missing_or_spelt_otherwise(tmp_path):
    words = [("Joy", "FEMALE"), ("ang", " male "), (None, None), ("no agreement", "unknown"), ("other", "female")]
    given = [
        {**row, "emotion": word, "gender": gender, "speaker": f"s{place}"}
        for place, (row, (word, gender)) in enumerate(zip(rows(5), words, strict=True))
    ]
    corpus = load_corpus("mine", manifest(tmp_path, given))
    assert corpus.table["emotion"].fillna("-").to_list() == ["happiness", "anger", "-", "no_agreement", "other"]
    assert corpus.table["gender"].to_list() == ["female", "male", "unknown", "unknown", "female"]
    assert corpus.emotions == ("happiness", "anger"), "other and no agreement are no classes"


def test_a_speakers_gender_may_stand_in_some_rows_and_two_genders_of_one_are_refused(tmp_path):
    given = [
        {**row, "speaker": "anna", "gender": gender} for row, gender in zip(rows(3), ("female", None, ""), strict=True)
    ]
    assert set(load_corpus("mine", manifest(tmp_path / "some", given)).table["gender"]) == {"female"}
    given[1]["gender"] = "male"
    with pytest.raises(BadCorpus, match="mine: speaker 'anna' has the genders female and male in different rows; give"):
        load_corpus("mine", manifest(tmp_path / "two", given))


def test_an_utterance_is_named_by_its_id_else_its_file_else_its_path(tmp_path):
    given = [{**row, "utterance_id": f"u{place}"} for place, row in enumerate(rows(2))]
    assert load_corpus("mine", manifest(tmp_path / "id", given)).table.index.to_list() == ["u0", "u1"]
    twins = [{"path": path, "speaker": "anna", "emotion": "sad"} for path in ("a/x.wav", "b/x.wav")]
    assert load_corpus("mine", manifest(tmp_path / "path", twins)).table.index.to_list() == ["a/x", "b/x"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda row, place: {**row, "utterance_id": "same"}, "'same' stands there twice"),
        (lambda row, place: {**row, "emotion": "hangry"}, "'hangry' is not an emotion"),
        (lambda row, place: {**row, "gender": "yes"}, "gender 'yes' is not one of female, male, unknown"),
        (lambda row, place: {**row, "speaker": None if place == 2 else "anna"}, "1 rows have no speaker"),
        (lambda row, place: {**row, "path": None if place == 2 else row["path"]}, "every row needs a path"),
        (lambda row, place: {"path": row["path"], "emotion": "sad"}, "column 'speaker' is missing"),
        (lambda row, place: {"speaker": "anna", "emotion": "sad"}, "every row needs a path"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_and_the_fault_named(spoil, words, tmp_path):
    folder = manifest(tmp_path / "mine", [spoil(row, place) for place, row in enumerate(rows())])
    assert words in says("mine", folder)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x00", b'path,speaker\n"never closed,anna\n'])
def test_what_is_no_table_is_refused(content, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_bytes(content)
    says("mine", tmp_path / "mine")


def test_a_manifest_with_no_rows_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_text("path,speaker,emotion\n")
    assert "nothing of the kind was found" in says("mine", tmp_path / "mine")


# the toy corpus


def test_the_toy_corpus_is_the_same_each_time(tmp_path, synthetic_corpus: Corpus):
    again = load_corpus("synthetic", tmp_path / "again")
    assert again.table.drop(columns="path").equals(synthetic_corpus.table.drop(columns="path"))
    for utterance_id in synthetic_corpus.table.index[::16]:
        paths = [Path(corpus.table.loc[utterance_id, "path"]) for corpus in (again, synthetic_corpus)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_toy_corpus_is_balanced_and_as_long_as_it_says(synthetic_corpus: Corpus):
    table = synthetic_corpus.table
    assert len(table) == 128
    assert set(table.groupby(["speaker", "emotion"]).size()) == {4}
    assert table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 4, "male": 4}
    info = soundfile.info(table["path"].iloc[0])
    assert (info.duration, info.samplerate, info.channels) == (table["duration_s"].iloc[0], 16_000, 1)


BIASED, EVEN = "synthetic_confounded", "synthetic_even"


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> dict[str, Corpus]:
    return {name: load_corpus(name, tmp_path_factory.mktemp(name)) for name in (BIASED, EVEN)}


@pytest.mark.parametrize("name", [BIASED, EVEN])
def test_the_other_toy_corpora_are_the_same_each_time_too(name, toys, tmp_path):
    again, first = load_corpus(name, tmp_path / "again"), toys[name]
    assert again.table.drop(columns="path").equals(first.table.drop(columns="path"))
    for utterance_id in first.table.index[::16]:
        paths = [Path(corpus.table.loc[utterance_id, "path"]) for corpus in (again, first)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert load_corpus(name, Path(first.table["path"].iloc[0]).parent).table.equals(first.table)  # made once, then read


@pytest.mark.parametrize("name", [BIASED, EVEN])
def test_the_other_toy_corpora_have_four_women_and_four_men_who_say_everything(name, toys):
    table = toys[name].table
    assert len(table) == {BIASED: 4 * 2 * 2 * (4 + 1) * 2, EVEN: 128}[name]
    assert table.groupby("gender")["speaker"].nunique().to_dict() == {"female": 4, "male": 4}
    assert (table.groupby(["speaker", "emotion"]).size() >= 2).all() and table["emotion"].nunique() == 4
    info = soundfile.info(table["path"].iloc[0])
    assert (info.duration, info.samplerate, info.channels) == (table["duration_s"].iloc[0], 16_000, 1)


def test_gender_tells_the_emotion_in_the_confounded_toy_corpus_and_not_in_the_even_one(toys):
    counts = {name: pd.crosstab(toys[name].table["gender"], toys[name].table["emotion"]) for name in toys}
    assert chi2_contingency(counts[EVEN]).statistic == 0
    assert chi2_contingency(counts[BIASED]).pvalue < 1e-9
    share = counts[BIASED].div(counts[BIASED].sum(axis=1), axis=0)
    assert share.loc["female", ["happiness", "neutral"]].sum() == pytest.approx(0.8)
    assert share.loc["male", ["sadness", "anger"]].sum() == pytest.approx(0.8)


def test_the_toy_corpora_can_be_joined_and_share_no_speaker_and_no_recording(toys, synthetic_corpus):
    tables = [synthetic_corpus.table, *(one.table for one in toys.values())]
    whole = pd.concat(tables)
    assert whole.index.is_unique and whole["speaker"].nunique() == 3 * 8
    kept = [{Path(path).read_bytes() for path in table["path"]} for table in (toys[BIASED].table, toys[EVEN].table)]
    assert not kept[0] & kept[1]


def test_the_toy_corpora_have_voices_of_their_own(toys, synthetic_corpus):
    """Pitch of the neutral utterances, by autocorrelation: each corpus is somewhat higher than the one before."""

    def pitch_hz(path: str) -> float:
        sound, rate = soundfile.read(path)
        spectrum = np.abs(np.fft.rfft(sound, 4 * len(sound))) ** 2
        lags = np.fft.irfft(spectrum)[: rate // 60]
        first = rate // 400
        return rate / (first + np.argmax(lags[first:]))

    def voices(table: pd.DataFrame) -> np.ndarray:
        neutral = table[table["emotion"] == "neutral"]
        return neutral["path"].map(pitch_hz).groupby(neutral["speaker"]).median().to_numpy()

    even, biased, plain = (voices(table) for table in (toys[EVEN].table, toys[BIASED].table, synthetic_corpus.table))
    np.testing.assert_allclose(biased / plain, 2 ** (0.25 * 1.5 / 12), rtol=0.04)
    np.testing.assert_allclose(even / plain, 2 ** (0.75 * 1.5 / 12), rtol=0.04)
