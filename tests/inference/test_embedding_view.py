"""Maps and probes of networks whose embeddings are known beforehand."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.metrics import balanced_accuracy_score

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus
from ser_core.data.tables import write_csv, write_json
from ser_core.evaluation.clusters import NONE
from ser_core.inference import cluster_view, embedding_view
from ser_core.inference.embedding_view import (
    ALL_FOLDS,
    POINTS,
    BadMaps,
    NoEnrolmentUsed,
    clusters_of,
    demo_maps,
    embeddings,
    maps_of,
    neighbours_kept,
    read_maps,
    to_json,
    two_maps,
    view,
)
from ser_core.inference.predict import Trained
from ser_core.labels import NO_AGREEMENT
from ser_core.methods.base import FeatureShape, Method, NoSettings, Output

N_VALUES = 20


class Subtracting(Method):
    """Hears an utterance minus the mean of the speaker's enrolled ones: what is this voice goes, what is emotion stays."""

    uses_enrolment = True

    def __init__(self, emotions):
        super().__init__(NoSettings(), FeatureShape(1, N_VALUES, (0,)), emotions)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def stages(self):
        return ()

    def forward(self, batch):
        n = batch.present.sum(dim=1, keepdim=True).clamp(min=1)
        reference = (batch.enrolment[:, :, 0] * batch.present[..., None]).sum(dim=1) / n
        embedding = (batch.features[:, 0] - reference) * self.scale
        return Output(embedding, embedding[:, : len(self.emotions)])


class ForEverybody(Subtracting):
    uses_enrolment = False


@pytest.fixture(scope="module")
def utterances(synthetic_corpus):
    """Features made by hand: a place of its own for each voice, gender, and a smaller pattern for each emotion."""
    rng = np.random.default_rng(0)
    table = synthetic_corpus.table
    voice = dict(zip(sorted(table["speaker"].unique()), 6 * rng.normal(size=(8, N_VALUES)), strict=True))
    emotion = dict(zip(synthetic_corpus.emotions, 3 * rng.normal(size=(4, N_VALUES)), strict=True))
    x = rng.normal(size=(len(table), N_VALUES)) + np.stack([voice[one] for one in table["speaker"]])
    x += np.stack([emotion[one] for one in table["emotion"]])
    x[:, :10] += 20.0 * (table["gender"] == "female").to_numpy()[:, None]
    return Utterances(synthetic_corpus, synthetic_corpus.emotions, torch.from_numpy(x[:, None]).float())


@pytest.fixture(scope="module")
def choice(synthetic_corpus):
    return first_of_each(synthetic_corpus)


def _trained(utterances, fold=0, cls=Subtracting):
    speakers = tuple(f"synthetic_{place}" for place in range(4 * fold, 4 * fold + 4))
    return Trained("subtracting", cls(utterances.emotions), utterances, speakers, fold=fold)


@pytest.fixture(scope="module")
def views(utterances, choice):
    return [view(_trained(utterances, fold), choice) for fold in (0, 1)]


@pytest.fixture(scope="module")
def clusters(utterances, synthetic_corpus):
    return clusters_of(utterances, sorted(synthetic_corpus.table["speaker"].unique()))


def test_before_nobody_is_enrolled_and_after_the_speaker_is(utterances, choice):
    trained, rows = _trained(utterances), np.array([5, 17])
    features = utterances.features[:, 0].numpy()
    np.testing.assert_allclose(embeddings(trained, rows, choice.iloc[:0]), features[rows], rtol=1e-5)
    table = utterances.corpus.table
    for row, embedded in zip(rows, embeddings(trained, rows, choice), strict=True):
        enrolled = choice.loc[choice["speaker"] == table["speaker"].iloc[row], "utterance_id"]
        expected = features[row] - features[table.index.isin(enrolled)].mean(axis=0)
        np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-4)


def test_the_map_holds_every_target_of_unheard_speakers_twice_and_no_enrolled_utterance(views, utterances, choice):
    points = views[0].points
    assert tuple(points.columns) == POINTS
    assert set(points["speaker"]) == {f"synthetic_{place}" for place in range(4)}
    assert not set(points["utterance_id"]) & set(choice["utterance_id"])
    of_stage = {stage: part["utterance_id"].tolist() for stage, part in points.groupby("stage")}
    assert of_stage["before"] == of_stage["after"] and len(set(of_stage["before"])) == len(of_stage["before"]) == 4 * 12
    assert np.isfinite(points[["x", "y"]]).all().all()
    emotion = utterances.corpus.table["emotion"]
    assert (points["emotion"] == points["utterance_id"].map(emotion)).all()


def test_a_network_that_subtracts_the_voice_hides_speaker_and_gender_and_shows_the_emotion(views, clusters):
    found = maps_of(views, "synthetic", clusters).probes
    said = found[found["fold"] == ALL_FOLDS].set_index(["probe", "stage"])["balanced_accuracy"]
    assert said["speaker", "before"] > 0.95 and said["gender", "before"] > 0.95
    assert said["speaker", "after"] < 0.6 and said["gender", "after"] < 0.75
    assert said["emotion", "after"] > 0.95 > said["emotion", "before"] + 0.05


def test_folds_together_are_balanced_accuracy_over_all_that_was_answered(views, clusters):
    maps = maps_of(views, "synthetic", clusters)
    answers = pd.concat([one.answers for one in views])
    for row in maps.probes.itertuples():
        asked = answers[(answers["probe"] == row.probe) & (answers["stage"] == row.stage)]
        asked = asked if row.fold == ALL_FOLDS else asked[asked["fold"] == int(row.fold)]
        assert row.balanced_accuracy == pytest.approx(balanced_accuracy_score(asked["label"], asked["predicted"]))
        assert row.n_utterances == len(asked) and row.n_speakers == (8 if row.fold == ALL_FOLDS else 4)
        assert row.chance == pytest.approx({"emotion": 1 / 4, "speaker": 1 / 4, "gender": 1 / 2}[row.probe])
        assert np.isnan(row.low) == (row.fold != ALL_FOLDS)


def test_probes_ask_only_about_speakers_the_network_has_not_heard(views):
    for place, one in enumerate(views):
        unheard = {f"synthetic_{number}" for number in range(4 * place, 4 * place + 4)}
        assert set(one.answers["group"]) == unheard


def test_the_same_embeddings_give_the_same_maps_and_a_map_keeps_who_is_near_whom():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 30)
    x = rng.normal(size=(90, 10)) + 30 * np.eye(10)[groups]
    (first, second), (again, _) = two_maps(x, x[:, ::-1]), two_maps(x, x[:, ::-1])
    np.testing.assert_array_equal(first, again)
    for place in (first, second):
        distance = np.linalg.norm(place[:, None] - place[None], axis=-1) + np.diag(np.full(90, np.inf))
        assert (groups[distance.argmin(axis=1)] == groups).all()
    assert neighbours_kept(x, first) > 0.5
    assert neighbours_kept(x, rng.permutation(first)) < 0.25


def test_turning_a_map_changes_no_distance(monkeypatch):
    rng = np.random.default_rng(0)
    sides = rng.normal(size=(2, 20, 2))
    made = iter(sides)
    monkeypatch.setattr(embedding_view, "_map", lambda embedded, start: next(made))
    first, second = two_maps(*sides)
    np.testing.assert_array_equal(first, sides[0])
    np.testing.assert_allclose(pdist(second), pdist(sides[1]))
    assert np.linalg.norm(second - first) <= np.linalg.norm(sides[1] - sides[0])


def test_a_map_that_is_flat_already_keeps_all_neighbours():
    place = np.random.default_rng(0).normal(size=(30, 2))
    assert neighbours_kept(place, place) == 1.0


def test_what_has_no_before_and_after_is_refused(utterances, choice):
    with pytest.raises(NoEnrolmentUsed, match="uses no enrolment"):
        view(_trained(utterances, cls=ForEverybody), choice)
    nobody = Trained("subtracting", Subtracting(utterances.emotions), utterances, ())
    with pytest.raises(BadCorpus, match="too few"):
        view(nobody, choice)


def test_two_speakers_alone_have_a_map_but_no_probe_for_gender(utterances, choice):
    table = utterances.corpus.table
    keep = table["speaker"].isin(["synthetic_0", "synthetic_1"])
    alone = Utterances(
        utterances.corpus.only(keep), utterances.emotions, utterances.features[torch.from_numpy(keep.to_numpy().copy())]
    )
    pair = ("synthetic_0", "synthetic_1")
    chosen = choice[choice["speaker"].isin(pair)]
    looked = view(Trained("subtracting", Subtracting(alone.emotions), alone, pair), chosen)
    maps = maps_of([looked], "two", clusters_of(alone, pair))
    said = maps.probes.set_index(["fold", "probe", "stage"])["balanced_accuracy"]
    assert len(maps.points) == 2 * 2 * 12
    assert np.isnan(said[ALL_FOLDS, "gender", "after"]) and np.isnan(said[ALL_FOLDS, "emotion", "after"])
    assert said[ALL_FOLDS, "speaker", "before"] > 0.95


def test_of_a_large_corpus_a_random_part_is_shown(utterances, choice, monkeypatch):
    monkeypatch.setattr(embedding_view, "MAX_SHOWN", 20)
    points = view(_trained(utterances), choice).points
    assert points["utterance_id"].nunique() == 20 and set(points["stage"].value_counts()) == {20}


def test_maps_come_back_from_files_as_they_were(views, clusters, tmp_path):
    unlabelled = clusters["emotion"].where(clusters.index > 2, None)
    maps = maps_of(views, "synthetic", clusters.assign(emotion=unlabelled, intensity="NA"))
    write_csv(maps.clusters.round(3), tmp_path / "clusters.csv")
    write_csv(maps.points.round(3), tmp_path / "map.csv")
    write_json(tmp_path / "probes.json", to_json(maps))
    back = read_maps(tmp_path / "map.csv", tmp_path / "probes.json", tmp_path / "clusters.csv")
    pd.testing.assert_frame_equal(back.clusters, maps.clusters.round(3), check_dtype=False)
    assert back.clusters["emotion"].isna().sum() == 3
    pd.testing.assert_frame_equal(back.points, maps.points.round(3), check_dtype=False)
    pd.testing.assert_frame_equal(back.probes[maps.probes.columns], maps.probes, check_dtype=False)
    assert back.corpus == "synthetic"


def test_files_that_are_no_maps_are_refused(tmp_path):
    with pytest.raises(BadMaps, match="python -m ser_core embedding"):
        read_maps(tmp_path / "map.csv", tmp_path / "probes.json", tmp_path / "clusters.csv")
    for name in ("map.csv", "clusters.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    (tmp_path / "probes.json").write_text("{}")
    with pytest.raises(BadMaps):
        read_maps(tmp_path / "map.csv", tmp_path / "probes.json", tmp_path / "clusters.csv")


def test_the_maps_that_ship_are_whole_small_and_name_no_folder():
    maps = demo_maps()
    content = json.loads(embedding_view.DEMO_PROBES.read_text(encoding="utf-8"))
    for method in ("speaker_reference", "enrolment_attention"):
        points = maps.points[maps.points["method"] == method]
        assert set(points["fold"]) == {0, 1, 2, 3, 4} and points["speaker"].nunique() == 20
        assert points.groupby(["fold", "stage"]).size().eq(208).all()
        assert len(maps.probes[(maps.probes["method"] == method) & (maps.probes["fold"] == ALL_FOLDS)]) == 6
    assert {"seed", "commit", "corpus", "split", "leak_check"} <= set(content)
    assert "/" not in json.dumps([content["recipes"], content["encoder"]])
    files = (embedding_view.DEMO_POINTS, embedding_view.DEMO_PROBES, embedding_view.DEMO_CLUSTERS)
    assert sum(path.stat().st_size for path in files) < 400_000


def test_the_clusters_that_ship_are_of_the_same_speakers_and_all_their_utterances():
    maps = demo_maps()
    assert set(maps.clusters["speaker"]) == set(maps.points["speaker"])
    assert not maps.clusters["utterance_id"].duplicated().any() and maps.clusters.groupby("speaker").size().eq(60).all()
    assert set(maps.points["utterance_id"]) < set(maps.clusters["utterance_id"])
    label = maps.points.drop_duplicates("utterance_id").set_index("utterance_id")
    shared = maps.clusters.set_index("utterance_id").loc[label.index]
    for column in ("speaker", "gender", "emotion", "text_id"):
        assert (shared[column] == label[column]).all()
    assert maps.clusters["cluster"].between(NONE, 7).all() and set(maps.clusters["intensity"]) == {"normal", "strong"}


def _with(utterances, features=None, emotion=None):
    """The same corpus, heard or labelled otherwise."""
    corpus = utterances.corpus
    if emotion is not None:
        corpus = dataclasses.replace(corpus, table=corpus.table.assign(emotion=emotion))
    return Utterances(corpus, utterances.emotions, utterances.features if features is None else features)


def _heard_by_emotion(utterances):
    """Three layers of 2 x 4 values: the lowest has an emotion's own place as its mean, all else is noise."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(utterances.corpus), 3, 8))
    features[:, 0, :4] = 50 * np.eye(4)[utterances.emotion] + 0.01 * features[:, 0, :4]
    return torch.from_numpy(features).float()


def test_clusters_are_found_in_the_mean_of_the_layer_below_the_middle(utterances):
    heard = _with(utterances, _heard_by_emotion(utterances))
    found = clusters_of(heard, ["synthetic_1", "synthetic_4"])
    assert tuple(found.columns) == cluster_view.POINTS and set(found["speaker"]) == {"synthetic_1", "synthetic_4"}
    assert len(found) == 32 and (found.groupby(["speaker", "cluster"])["emotion"].nunique() == 1).all()
    assert (found.groupby("speaker")["cluster"].nunique() == 4).all()
    agreement = cluster_view.agreement_table(found).set_index(["label", "speaker"])
    assert (agreement.loc["emotion", ["purity", "adjusted_rand"]] == 1.0).all(axis=None)
    assert agreement.loc["intensity", "purity"].isna().all()


def test_without_labels_there_are_clusters_and_their_emotion_is_not_known(utterances):
    heard = _heard_by_emotion(utterances)
    quarrelled = np.where(np.arange(128) % 2, NO_AGREEMENT, utterances.corpus.table["emotion"])
    found = clusters_of(_with(utterances, heard, quarrelled), ["synthetic_0"])
    assert (found["cluster"] >= 0).sum() == 16 and found["emotion"].isna().sum() == 8
    nobody = dataclasses.replace(utterances.corpus.relabelled(()), emotions=())
    found = clusters_of(Utterances(nobody, (), heard), ["synthetic_0"])
    assert found["cluster"].nunique() == 4  # by silhouette


@pytest.mark.parametrize(
    "features", [None, torch.zeros(128, 3, 7), torch.zeros(128, 6)], ids=["waveforms", "odd", "one vector"]
)
def test_without_pooled_layers_there_are_no_clusters(utterances, features):
    found = clusters_of(Utterances(utterances.corpus, utterances.emotions, features), ["synthetic_0"])
    assert found.empty and tuple(found.columns) == cluster_view.POINTS
    assert cluster_view.agreement_table(found).empty


def test_of_a_speaker_with_very_many_utterances_a_random_part_is_put_together(utterances, monkeypatch):
    monkeypatch.setattr(embedding_view, "MAX_OF_ONE", 10)
    found = clusters_of(_with(utterances, _heard_by_emotion(utterances)), ["synthetic_0", "synthetic_1"])
    assert found.groupby("speaker")["utterance_id"].nunique().tolist() == [10, 10]
