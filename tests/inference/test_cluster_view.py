"""The picture of clusters inside each speaker, and what they agree with, by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from ser_core.evaluation.clusters import Clustering
from ser_core.inference.cluster_view import LABELS, POINTS, agreement_table, cluster_points

EMOTIONS = ["anger", "anger", "anger", "fear", "fear", "fear", "fear", "anger", "anger"]
CLUSTERS = [0, 0, 0, 0, 1, 1, 1, 1, -1]


def _points(speaker: str, emotion: list, cluster: list[int]) -> pd.DataFrame:
    named = [f"{speaker}{place}" for place in range(len(cluster))]
    return pd.DataFrame(
        {"utterance_id": named, "speaker": speaker, "gender": "unknown", "emotion": emotion, "text_id": "01",
         "intensity": pd.NA, "cluster": cluster, "x": 0.0, "y": 0.0}
    )  # fmt: skip


def test_purity_and_rand_index_are_counted_by_hand_and_by_scikit_learn():
    rows = agreement_table(_points("s", EMOTIONS, CLUSTERS)).set_index("label")
    assert list(rows.index) == list(LABELS.values()) and set(rows["n_clusters"]) == {2}
    assert rows.loc["emotion", "purity"] == 6 / 8 and rows.loc["emotion", "n"] == 8
    assert rows.loc["emotion", "adjusted_rand"] == pytest.approx(adjusted_rand_score(EMOTIONS[:8], CLUSTERS[:8]))
    assert 0.5 <= rows.loc["emotion", "purity_of_chance"] < 0.75
    assert rows.loc[["sentence", "intensity"], "purity"].isna().all()  # one sentence, no intensity
    assert rows["n"].tolist() == [8, 8, 0]


def test_speakers_are_counted_each_by_themselves_and_what_nobody_labelled_not_at_all():
    some = [*EMOTIONS[:4], None, float("nan"), "fear", "fear", "fear"]
    both = pd.concat([_points("s", EMOTIONS, CLUSTERS), _points("t", some, CLUSTERS)])
    rows = agreement_table(both).query("label == 'emotion'").set_index("speaker")
    assert rows["n"].tolist() == [8, 6] and rows["purity"].tolist() == [6 / 8, 5 / 6]
    nobody = agreement_table(_points("s", EMOTIONS, [-1] * 9))
    assert nobody["purity"].isna().all() and set(nobody["n_clusters"]) == {0}


@pytest.fixture
def heard() -> tuple[pd.DataFrame, np.ndarray]:
    """Two speakers, in three directions each, of which each has one twice as often; and one with two utterances."""
    directions = [0, 0, 0, 0, 1, 1, 2, 2]
    speaker = np.repeat(["a", "b", "c"], [8, 8, 2])
    place = np.array([*directions, *directions, 0, 1])
    embedding = np.eye(3)[place] + 1e-3 * np.random.default_rng(0).normal(size=(18, 3))
    ids = pd.Index([f"u{number:02d}" for number in range(18)], name="utterance_id")
    table = pd.DataFrame({"speaker": speaker, "gender": "unknown", "emotion": place.astype(str)}, index=ids)
    return table.assign(text_id="01", intensity=None), embedding


def test_utterances_that_sound_alike_are_in_one_cluster_and_lie_together(heard):
    points = cluster_points(*heard, Clustering(n_clusters=3))
    assert tuple(points.columns) == POINTS and points["utterance_id"].tolist() == heard[0].index.tolist()
    for _, own in points[points["speaker"] != "c"].groupby("speaker"):
        assert own.groupby("emotion")["cluster"].nunique().eq(1).all() and own["cluster"].nunique() == 3
        spread = own.groupby("emotion")[["x", "y"]].std().to_numpy().max()
        assert 20 * spread < own[["x", "y"]].std().to_numpy().min()


def test_a_speaker_with_two_utterances_is_in_no_cluster_and_lies_on_a_line(heard):
    few = cluster_points(*heard, Clustering(n_clusters=3)).query("speaker == 'c'")
    assert few["cluster"].eq(-1).all() and few["y"].eq(0).all()
    assert few["x"].iloc[0] == pytest.approx(-few["x"].iloc[1]) and few["x"].iloc[0] != 0
