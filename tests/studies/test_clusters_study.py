"""Are clusters emotions: a hand-made table whose purity is known, small networks, and the study by the command, read back."""

import json
from html import escape

import numpy as np
import pandas as pd
import pytest
import torch
from known_world import spoken
from scipy.stats import pearsonr

from ser_core.__main__ import main
from ser_core.data.batches import Utterances
from ser_core.data.manifest import BadCorpus
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.evaluation.clusters import Clustering, clusters_of_speakers
from ser_core.inference.cluster_view import POINTS
from ser_core.recipe import BadRecipe, Recipe, TrainingSettings
from ser_core.studies import STUDIES
from ser_core.studies.clusters import (
    GAINS,
    SHOWN,
    SPEAKERS,
    STUDY,
    check,
    measure,
    middle_speaker,
    networks,
    numbers,
    tables,
    told,
)
from ser_core.studies.stored import RESULTS, read_study
from ser_core.training.crossvalidation import Design, set_up
from ser_core.workspace import open_workspace

N_MIXED = (0, 1, 2, 3)
"""How many of eight utterances of each emotion a speaker's clusters put on the other side."""
GAINED = (3, 2, 1, 0)
"""How many of sixteen more a speaker's are recognised by 'ours' than by 'none', in each seed."""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small networks are many times quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def measured() -> pd.DataFrame:
    """Four speakers, each with 8 neutral and 8 angry utterances in two clusters and one more in none.

    Sentences change from one utterance to the next; nobody noted an intensity. 'none' recognises 10 of 16 of everybody.
    """
    rows = []
    for method, seed, speaker in ((a, b, c) for a in ("none", "ours") for b in range(2) for c in range(4)):
        n_right = {"neutral": 5, "anger": 5}
        if method == "ours":
            n_right = {"neutral": 5 + GAINED[speaker], "anger": 5}
        for code, emotion in enumerate(("neutral", "anger")):
            for place in range(8):
                other = ("anger", "neutral")[code]
                rows.append({
                    "utterance_id": f"s{speaker}_{emotion}_{place}", "speaker": f"s{speaker}", "gender": "female",
                    "emotion": emotion, "text_id": str(place % 2), "intensity": None,
                    "cluster": 1 - code if place < N_MIXED[speaker] else code, "x": float(place), "y": float(code),
                    "method": method, "seed": seed, "fold": speaker % 2,
                    "predicted_emotion": emotion if place < n_right[emotion] else other,
                })  # fmt: skip
        rows.append({**rows[-1], "utterance_id": f"s{speaker}_more", "cluster": -1, "predicted_emotion": None})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    return tables(measured())


def test_purity_of_every_speaker_is_known_and_who_is_in_no_cluster_does_not_count(found):
    speakers = found[SPEAKERS].set_index("speaker")
    assert speakers["purity"].tolist() == pytest.approx([1.0, 7 / 8, 6 / 8, 5 / 8])
    assert speakers["adjusted_rand, emotion"].iloc[0] == 1.0
    assert (speakers["n_clusters"] == 2).all()
    assert speakers["adjusted_rand, sentence"].abs().max() < 0.1 and speakers["adjusted_rand, intensity"].isna().all()


def test_the_results_are_means_over_speakers_and_what_nobody_noted_is_not_estimable(found):
    results = found[RESULTS].set_index("label")
    assert results.index.tolist() == ["emotion", "sentence", "intensity"]
    row = results.loc["emotion"]
    assert row["purity"] == pytest.approx(np.mean([1, 7 / 8, 6 / 8, 5 / 8]))
    assert row["purity_from"] < row["purity"] < row["purity_to"] and 0.5 < row["purity_of_chance"] < row["purity"]
    assert (row["n_speakers"], row["n_utterances"], row["n_seeds"]) == (4, 4 * 17, 2)
    of_intensity = results.loc["intensity"]
    assert np.isnan(of_intensity["purity"]) and of_intensity["n_speakers"] == 0
    words = numbers(found, str)
    assert [line[0] for line in words.rows] == ["the emotion", "the sentence", "the intensity"]
    assert words.rows[0][1].startswith("0.812 (") and words.rows[2][1:] == ["not estimable"] * 3 + ["0"]


def test_gains_are_uar_more_than_the_first_methods_and_are_correlated_with_purity(found):
    speakers = found[SPEAKERS].set_index("speaker")
    assert speakers["uar, none"].tolist() == pytest.approx([10 / 16] * 4)
    assert speakers["gain, ours"].tolist() == pytest.approx([gained / 16 for gained in GAINED])
    assert "gain, none" not in speakers
    served, gain = found[GAINS].to_dict("records")
    assert served["method"] == "none" and served["of"] == "uar" and np.isnan(served["r"])  # all are served alike
    assert gain["method"] == "ours" and gain["of"] == "gain" and gain["n_speakers"] == 4
    above_chance = speakers["purity"] - speakers["purity_of_chance"]
    assert gain["r"] == pytest.approx(pearsonr(above_chance, speakers["gain, ours"]).statistic)
    of_first, line = told(found, str.upper)
    assert of_first.startswith("NONE: UAR of a speaker 0.625") and "not estimable" in of_first
    assert line.startswith(f"OURS: a speaker gains +{100 * np.mean(GAINED) / 16:.1f} points")
    assert f"r = {gain['r']:.3f}" in line and "4 speakers" in line


def test_who_is_shown_has_clusters_of_median_purity(found):
    assert (
        set(found[SHOWN]["speaker"]) == {"s2"} and len(found[SHOWN]) == 17
    )  # of four the lower of the two in the middle
    agreed = pd.DataFrame({"label": "emotion", "speaker": list("abcde"), "purity": [0.9, 0.2, 0.5, 0.7, 0.4]})
    assert middle_speaker(agreed) == "c"


def test_a_single_method_has_clusters_and_no_gains():
    alone = tables(measured().query("method == 'none'"))
    assert alone[GAINS]["of"].tolist() == ["uar"] and len(told(alone, str)) == 1
    assert STUDY.figure(alone, escape).data and len(numbers(alone, str).rows) == 3


def test_the_figure_shows_one_speakers_utterances_and_all_speakers_gains(found):
    figure = STUDY.figure(found, escape)
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert sum(len(trace.x) for trace in marks if trace.name in ("Neutral", "Anger")) == 17
    [gains] = [trace for trace in marks if "ours" in (trace.name or "")]
    assert sorted(gains.x) == pytest.approx([5 / 8, 6 / 8, 7 / 8, 1.0])
    spokes = next(trace for trace in figure.data if trace.mode == "lines")
    assert len([value for value in spokes.x if value is not None]) == 2 * 16  # the one in no cluster has none


# networks


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """From a method's name to six hand-made voices in two folds; one hears the emotion in all of them."""
    torch.manual_seed(0)
    tiny = CompactSettings(width=16, n_transformer_layers=2, n_heads=2, feedforward=16)
    encoder, few = Compact(tiny), TrainingSettings(epochs=1, batch_size=16)

    def heard(corpus, emotions, *others):
        rng = torch.Generator().manual_seed(0)
        features = torch.randn(len(corpus), encoder.n_layers, 32, generator=rng)
        code = torch.tensor([emotions.index(word) for word in corpus.table["emotion"]])
        rises = torch.arange(32)[None] % 3 == code[:, None]  # a third of the values with each emotion
        return Utterances(corpus, emotions, features + 20 * rises[:, None])

    def of(method: str, **settings):
        settings = {"embedding": 8, "hidden": 8, **settings}
        recipe = Recipe(method, method, settings=settings, training=few).changed(["encoder.layers=[1]"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ser_core.training.crossvalidation.embedded", heard)
            workspace = open_workspace(tmp_path_factory.mktemp("workspace"))
            return set_up([recipe], spoken(6, "AB", 3), encoder, Design(2, 1), workspace, "cpu", lambda line: None)

    return of


def test_test_speakers_are_put_into_clusters_and_all_of_their_utterances_shown(world):
    experiment = world("cluster_contrastive", pretrain_epochs=0)
    parts = [measure(one, None) for one in networks(experiment, "cpu", lambda line: None)]
    table = experiment.utterances.corpus.table
    assert [set(part["speaker"]) for part in parts] == [set(fold) for fold in experiment.folds]
    whole = pd.concat(parts, ignore_index=True)
    assert sorted(whole["utterance_id"]) == sorted(table.index) and set(POINTS) <= set(whole)
    enrolled = set(experiment.choice["utterance_id"])
    assert whole["predicted_emotion"].isna().tolist() == whole["utterance_id"].isin(enrolled).tolist()
    embedding = experiment.utterances.speaker_embedding.numpy()
    expected = clusters_of_speakers(embedding, table["speaker"].to_numpy(), Clustering(n_clusters=3))
    found = whole.set_index("utterance_id")["cluster"][table.index]
    np.testing.assert_array_equal(found, expected)  # as in training: standardised over the whole corpus
    assert tables(whole)[RESULTS].set_index("label").loc["emotion", "purity"] == 1.0


def test_recipes_that_put_no_voices_into_clusters_are_refused_before_anything_is_trained(world):
    with pytest.raises(BadRecipe, match="none of the recipes puts voices into clusters; name cluster_contrastive_none"):
        networks(world("baseline"), "cpu", lambda line: None)


def test_two_speakers_are_too_few():
    with pytest.raises(BadCorpus, match="too few for a correlation"):
        check(spoken(2))
    check(spoken(4))


# by the command


RECIPE = """
method = "cluster_contrastive"
[encoder]
name = "compact"
source = "{}"
layers = [1]
[training]
epochs = 1
batch_size = 32
[settings]
embedding = 8
hidden = 8
projection = 8
utterances_per_speaker = 8
pretrain_epochs = {}
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory, synthetic_corpus):
    """Both studies of one pair of recipes, as they were written; synthetic voices, two folds, one seed."""
    folder = tmp_path_factory.mktemp("by_the_command")
    torch.manual_seed(0)
    tiny = CompactSettings(width=16, n_transformer_layers=2, n_heads=2, feedforward=16)
    Compact(tiny).save(folder / "encoder")
    for name, n in (("without", 0), ("with", 1)):
        (folder / f"{name}.toml").write_text(RECIPE.format(folder / "encoder", n))
    where = str(next(iter(synthetic_corpus.table["path"]))).rpartition("/")[0]
    read = {}
    for study in ("clusters", "label-budget"):
        asked = [
            "study", study, folder / "without.toml", folder / "with.toml", "--corpus", f"synthetic={where}", "--folds", 2,
            "--seeds", 1, "--output", folder / "out", "--figures", folder / "figures", "--workspace", folder / "workspace",
            "--device", "cpu",
        ]  # fmt: skip
        assert main([str(one) for one in asked]) == 0
        read[study] = folder / "out" / study / "synthetic"
    return read


@pytest.mark.parametrize(
    ("study", "names"), [("clusters", {RESULTS, SPEAKERS, GAINS, SHOWN}), ("label-budget", {RESULTS})]
)
def test_what_was_written_is_read_back_told_and_drawn(stored, study, names):
    back = read_study(stored[study] / "study.json")
    assert (back.name, back.corpus, set(back.tables)) == (study, "synthetic", names)
    for name in names:
        table = pd.read_csv(stored[study] / f"{name}.csv")
        assert list(table) == list(back.tables[name]) and len(table) == len(back.tables[name])
        of_numbers = table.select_dtypes("number").columns
        np.testing.assert_allclose(back.tables[name][of_numbers].astype(float), table[of_numbers], atol=1e-4)
    words = STUDIES[study].numbers(back.tables, str)
    assert all(len(row) == len(words.heads) for row in words.rows)
    assert STUDIES[study].told(back.tables, str) and STUDIES[study].figure(back.tables, str).data
    assert (stored[study].parents[2] / "figures" / f"{study}_synthetic.html").exists()
    assert json.loads((stored[study] / "study.json").read_text())["about"]["leak_check"]["speakers_on_both_sides"] == []


def test_every_speaker_of_the_corpus_is_measured_once(stored):
    speakers = read_study(stored["clusters"] / "study.json").tables[SPEAKERS]
    assert sorted(speakers["speaker"]) == [f"synthetic_{one}" for one in range(8)]
    results = read_study(stored["clusters"] / "study.json").results.set_index("label")
    assert results.loc["emotion", "n_utterances"] == 128 and np.isnan(results.loc["intensity", "purity"])
