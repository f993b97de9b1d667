"""The clusters inside one speaker, without a browser."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.inference import embedding_view
from ser_core.inference.cluster_view import POINTS
from ser_core.inference.embedding_view import demo_maps
from ser_core.ui import clusters
from ser_core.ui.services import Services
from ser_core.workspace import open_workspace


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(open_workspace(tmp_path / "workspace"))


def _points(speaker: str, emotion: list, cluster: list[int]) -> pd.DataFrame:
    n = len(cluster)
    return pd.DataFrame({
        "utterance_id": [f"{speaker}_{place}" for place in range(n)], "speaker": speaker, "gender": "unknown",
        "emotion": emotion, "text_id": ["a", "b"] * (n // 2) + ["a"] * (n % 2), "intensity": None, "cluster": cluster,
        "x": np.arange(n, dtype=float), "y": 0.0,
    })[list(POINTS)]  # fmt: skip


def _maps(*points: pd.DataFrame):
    return dataclasses.replace(demo_maps(), corpus="<i>mine</i>", clusters=pd.concat(points, ignore_index=True))


@pytest.fixture
def mine():
    """Purity 6 of 8; 4 of 4; and a speaker with three utterances in no cluster."""
    anger, fear = ["anger"] * 4, ["fear"] * 4
    first = _points("<b>first", ["anger", "anger", "anger", "fear", "fear", "fear", "fear", "anger", "fear"],
                    [0, 0, 0, 0, 1, 1, 1, 1, -1])  # fmt: skip
    return _maps(first, _points("second", anger + fear, [0] * 4 + [1] * 4), _points("third", anger[:3], [-1] * 3))


def _shown(words: str) -> str:
    return re.sub("<.*?>", "", words).replace("\xa0", " ")


def test_opening_the_tab_shows_the_median_speaker_of_the_example_that_ships(services):
    speaker, about, figure, words, numbers = clusters.fill(services, None, None)
    emotion = demo_maps().agreement.query("label == 'emotion'").set_index("speaker")["purity"]
    assert (emotion < emotion[speaker.value]).sum() <= 10 and (emotion > emotion[speaker.value]).sum() <= 10
    assert len(speaker.choices) == 20 and speaker.interactive
    assert "ships with Attune" in about and "1200 utterances of 20 speakers" in about
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == 60
    assert f"{100 * emotion[speaker.value]:.0f} % of these have the commonest emotion" in _shown(words)
    rows = re.findall('<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', numbers)
    assert len(rows) == 21 and _shown(rows[-1][0]) == "Mean of 20"
    assert _shown(rows[-1][2]) == f"{100 * emotion.mean():.0f} %"


def test_the_reading_counts_what_the_picture_shows(services, mine):
    _, about, figure, words, _ = clusters.fill(services, mine, "<b>first")
    assert "Computed just now" in about and "<i>" not in about
    said = _shown(words)
    assert "has 2 clusters. 8 of their 9 utterances are in one; 1 lies between two and is in none." in said
    assert "75 % of these have the commonest emotion of their cluster" in said
    assert "with the intensity not estimable" in said and "<b>first" not in words
    assert sorted(len(trace.x) for trace in figure.data if trace.mode == "markers") == [4, 5]


def test_another_speaker_has_another_picture_and_one_with_too_few_utterances_has_none(services, mine):
    figure, words = clusters.other_speaker(services, mine, "second")
    assert "100 % of these" in _shown(words) and "with the emotion 1.00" in _shown(words)
    figure, words = clusters.other_speaker(services, mine, "third")
    assert not figure.data and "third has 3 utterances: too few" in words
    *_, numbers = clusters.showing(mine)
    row = numbers.split('<th scope="row">third</th>')[1].split("</tr>")[0]
    assert row.count("not estimable") == 5 and "<b>first" not in numbers


def test_the_table_ends_with_the_mean_of_those_that_are_known(mine):
    *_, numbers = clusters.showing(mine)
    mean = _shown(numbers.split("Mean\xa0of\xa03")[1].split("</tr>")[0].replace("</td>", "|"))
    assert mean.split("|")[:2] == ["1.3", "88 %"]  # (2 + 2 + 0) / 3; (75 % + 100 %) / 2


def test_a_speaker_chosen_before_stays_while_the_test_set_has_them(services, mine):
    assert clusters.fill(services, mine, "third")[0].value == "third"
    assert clusters.fill(services, mine, "ravdess_01")[0].value == "<b>first"  # the lower of the two middle ones


def test_one_speaker_alone_is_shown_without_a_choice(mine):
    alone = dataclasses.replace(mine, clusters=mine.clusters[mine.clusters["speaker"] == "second"])
    speaker, about, figure, words, numbers = clusters.showing(alone)
    assert speaker.value == "second" and not speaker.interactive and "8 utterances of 1 speaker," in about
    assert figure.data and "2 clusters" in words and "Mean of 1" in _shown(numbers)


def test_utterances_that_nobody_labelled_are_shown_as_not_known_and_count_for_no_purity():
    maps = _maps(_points("one", [None] * 4 + ["anger", "anger", "fear", "fear"], [0, 0, 0, 1, 0, 0, 1, 1]))
    *_, figure, words, _ = clusters.showing(maps)
    assert {trace.name for trace in figure.data if trace.mode == "markers"} == {"Anger", "Fear", "Not known"}
    assert "100 % of the 4 of these whose emotion is known" in _shown(words)
    nothing = _maps(_points("one", [None] * 8, [0, 1] * 4))
    *_, figure, words, numbers = clusters.showing(nothing)
    assert {trace.name for trace in figure.data if trace.mode == "markers"} == {"Not known"}
    assert "not estimable: that takes two clusters and two emotions" in words
    assert "with the sentence 1.00" in _shown(words) and "0 %" not in _shown(numbers)


def test_where_nobody_is_in_a_cluster_the_reason_is_said(services):
    alike = _maps(_points("one", ["anger"] * 6, [-1] * 6))
    speaker, _, figure, words, numbers = clusters.showing(alike)
    assert speaker.value == "one" and not figure.data
    assert "sound the same to the encoder" in words and "not estimable" in numbers
    speaker, about, figure, words, numbers = clusters.showing(_maps(alike.clusters.iloc[:0]))
    assert speaker.value is None and not speaker.interactive and "no layers of an encoder" in about
    assert not figure.data and words == numbers == ""


def test_clusters_and_table_are_saved_whole(services, mine):
    saved = pd.read_csv(clusters.save(services, "points", None), dtype={"text_id": str})
    assert tuple(saved.columns) == POINTS and len(saved) == 1200
    saved = pd.read_csv(clusters.save(services, "agreement", mine)).set_index(["speaker", "label"])
    assert len(saved) == 9 and saved.loc[("<b>first", "emotion"), "purity"] == 0.75
    assert np.isnan(saved.loc[("third", "emotion"), "purity"])


def test_without_the_files_the_page_says_so(services, monkeypatch, tmp_path):
    monkeypatch.setattr(embedding_view, "DEMO_CLUSTERS", tmp_path / "none.csv.gz")
    demo_maps.cache_clear()
    try:
        said = clusters.fill(services, None, None)
    finally:
        demo_maps.cache_clear()
    assert "none.csv.gz" in said[1] and str(tmp_path) not in said[1] and not said[0].interactive
