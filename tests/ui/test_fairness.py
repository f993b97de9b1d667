"""What the tab Fairness shows and does, without a browser."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.data.manifest import BadCorpus
from ser_core.evaluation.demo import DEMO, NoDemo, read_demo, write_demo
from ser_core.evaluation.human import human_line
from ser_core.ui import fairness
from ser_core.ui.fairness import EVERYBODY, Looking
from ser_core.ui.services import Services
from ser_core.ui.test_sets import FILTERS, MANIFEST, NoFolder, NothingLeft, demo, from_corpus, from_file
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path, tiny_model: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"), str(tiny_model))


@pytest.fixture(scope="module")
def shipped():
    return demo()


def quiet(share: float, words: str) -> None:
    """Nobody is told."""


def test_the_demo_is_read_and_computed_once_for_all_pages():
    assert demo() is demo()


def test_the_demo_is_all_actors_under_the_baseline_and_four_personalisers_without_audio_or_paths(shipped):
    table = shipped.table
    assert table["speaker"].nunique() == 20 and len(shipped.methods) == 5 and shipped.methods[0] == "baseline"
    assert not {"path", "text"} & set(table.columns) and not shipped.has_audio
    assert not table.astype(str).apply(lambda column: column.str.contains("/")).any().any()
    assert shipped.leaks["speakers_on_both_sides"] == []


def test_a_demo_that_is_written_is_read_as_it_was(shipped, tmp_path):
    write_demo(shipped.table.assign(path="/somewhere/of/mine.wav"), {"corpus": "ravdess"}, tmp_path)
    again, about = read_demo(tmp_path)
    assert about == {"corpus": "ravdess"} and "path" not in again.table
    pd.testing.assert_series_equal(again.table["predicted_emotion"], shipped.table["predicted_emotion"])
    with pytest.raises(NoDemo, match="copy assets/demo again"):
        read_demo(tmp_path / "nowhere")


def test_the_commit_that_made_the_demo_is_known():
    about = read_demo(DEMO)[1]
    assert len(about["commit"]) == 40 and about["design"]["n_seeds"] == 3


def test_filters_narrow_and_leave_the_test_set_as_it_is(shipped):
    looking = Looking(shipped, shipped.methods, {"emotion": ["anger"], "sentence": ["new"]}, "gender")
    assert set(looking.table["emotion"]) == {"anger"} and set(looking.table["sentence"]) == {"new"}
    assert len(shipped.table) > len(looking.table)
    with pytest.raises(NothingLeft, match="take a filter away"):
        Looking(shipped, shipped.methods, {"emotion": ["boredom"]}, "gender")


def test_every_figure_has_its_numbers_and_a_sentence_on_how_to_read_it(shipped):
    looking = Looking(shipped, shipped.methods, {}, "gender")
    drawn = fairness.figures_of(looking, "speaker_reference", EVERYBODY, "ravdess_13")
    numbers = fairness.tables_of(looking, "speaker_reference", EVERYBODY, "ravdess_13")
    assert set(drawn) == set(numbers) == set(fairness.FIGURES)
    for name in fairness.FIGURES:
        assert drawn[name].data and not numbers[name].empty
        assert fairness.fairness.READING[fairness._READING[name]].endswith(".")


def test_a_view_fills_every_output(services, shipped):
    opened = fairness.opened_page(services, shipped)
    assert len(opened) == fairness._N_ALL
    nothing = [[] for _ in FILTERS]
    looked = fairness.look(services, shipped, shipped.methods, *nothing, "speaker_reference", "gender", EVERYBODY, "")
    assert len(looked) == fairness._N_PAGE


def test_a_corpus_folder_is_evaluated_with_progress_and_can_be_stopped(services, synthetic_corpus, tmp_path):
    manifest = tmp_path / "buzz.csv"
    synthetic_corpus.table.assign(split="test").reset_index().to_csv(manifest, index=False)
    heard = []
    found = from_corpus(
        services, MANIFEST, str(manifest), [], "", lambda share, words: heard.append(share), lambda: False
    )
    assert heard == sorted(heard) and heard[-1] == 1.0
    assert found.has_audio and found.maps is not None
    enrolled = found.table.groupby("method").size()
    assert (enrolled == enrolled.iloc[0]).all()
    from ser_core.inference.test_set import Cancelled

    with pytest.raises(Cancelled, match="is kept"):
        from_corpus(services, MANIFEST, str(manifest), [], "", quiet, lambda: True)
    with pytest.raises(BadCorpus, match="has no split 'dev'; it has test"):
        from_corpus(services, MANIFEST, str(manifest), [], "dev", quiet, lambda: False)


@pytest.mark.parametrize("folder", ["", "   "])
def test_a_corpus_without_a_place_is_asked_for(services, folder):
    with pytest.raises(NoFolder, match="say where the corpus is"):
        from_corpus(services, "ravdess", folder, [], "", quiet, lambda: False)


def test_a_table_of_one_speaker_is_shown_with_what_cannot_be_estimated(services, tmp_path):
    rows = [f"a,{emotion},anger,{place}" for place, emotion in enumerate(["anger", "fear", "anger", "sadness"])]
    (tmp_path / "one.csv").write_text("speaker,emotion,predicted_emotion,utterance_id\n" + "\n".join(rows))
    opened = fairness.opened_page(services, from_file(str(tmp_path / "one.csv")))
    shown = " ".join(value for value in opened if isinstance(value, str))
    assert "not estimable" in shown and "names no groups" in shown and "nan" not in shown.replace("naming", "")


def test_crema_d_is_shown_beside_its_listeners_and_no_other_corpus_is():
    assert human_line(["crema_d"]).uar == 0.407
    assert human_line(["ravdess"]) is None and human_line(["crema_d", "ravdess"]) is None


def test_the_labels_of_all_of_crema_d_can_be_looked_at(services, corpora: Path, tmp_path):
    """7,442 utterances of 91 actors, with the listeners' votes as three methods, by every group and intersection."""
    labels = corpora / "crema_d_labels"
    votes = pd.read_csv(labels / "summaryTable.csv", dtype=str)
    people = pd.read_csv(labels / "VideoDemographics.csv", dtype=str).set_index("ActorID")
    actor = votes["FileName"].str[:4]
    words = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
    rows = pd.DataFrame({
        "utterance_id": votes["FileName"], "speaker": actor, "corpus": "crema_d", "gender": actor.map(people["Sex"]),
        "age": actor.map(people["Age"]), "race": actor.map(people["Race"]), "emotion": votes["FileName"].str[9].map(words),
    })  # fmt: skip
    by = {"baseline": "VoiceVote", "face": "FaceVote", "both": "MultiModalVote"}
    methods = [
        rows.assign(method=name, predicted_emotion=votes[column].str[0].map(words)) for name, column in by.items()
    ]
    pd.concat(methods).to_csv(tmp_path / "votes.csv", index=False)
    test_set = from_file(str(tmp_path / "votes.csv"))
    looking = Looking(test_set, test_set.methods, {}, "gender × race")
    model = looking.report.models["baseline"]
    assert (model.n_utterances, model.n_speakers) == (7442, 91)
    counted = rows.assign(said=methods[0]["predicted_emotion"]).groupby("speaker")
    anger = counted.apply(lambda part: np.mean(part.loc[part["emotion"] == "anger", "said"] == "anger"))
    women = people.index[people["Sex"] == "Female"]
    assert model.groups["gender"].n_speakers == {"female": len(women), "male": 91 - len(women)}
    assert model.groups["gender"].recall["female"]["anger"] == pytest.approx(anger[women].mean(), abs=0.02)
    small = model.groups["gender × race"].not_estimable
    assert all("are needed" in why for why in small.values())
