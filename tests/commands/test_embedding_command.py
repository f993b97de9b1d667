"""The command embedding, on the toy corpus."""

import json
import shutil
from argparse import ArgumentParser

import pandas as pd
import pytest

from ser_core.commands import embedding
from ser_core.data.manifest import LeakingSplit
from ser_core.inference import cluster_view
from ser_core.inference.embedding_view import POINTS, NoEnrolmentUsed
from ser_core.recipe import BadRecipe


@pytest.fixture
def run(tmp_path, synthetic_corpus, tiny_model):
    """Run it; the folder it wrote into."""
    folder = tmp_path / "maps"
    corpus = f"synthetic={synthetic_corpus.table['path'].iloc[0].rpartition('/')[0]}"

    def run(*words: str, corpus: str = corpus):
        parser = ArgumentParser()
        embedding.add_arguments(parser)
        arguments = parser.parse_args(
            [*words, "--corpus", corpus, "--output", str(folder), "--device", "cpu", "--threads", "1"]
        )
        arguments.workspace = str(tmp_path / "workspace")
        assert embedding.run(arguments) == 0
        return folder

    run.encoder = f"compact={tiny_model / 'encoder'}"
    run.model = str(tiny_model)
    return run


def test_recipes_are_cross_validated_into_maps_and_probes(run, capsys, tmp_path):
    folder = run("smoke", "--folds", "2", "--encoder", run.encoder)
    points = pd.read_csv(folder / "map.csv", dtype={"text_id": str})
    content = json.loads((folder / "probes.json").read_text())
    assert tuple(points.columns) == POINTS and points.groupby(["fold", "stage"]).size().eq(4 * 12).all()
    assert points.groupby("fold")["speaker"].nunique().tolist() == [4, 4]
    assert {row["probe"] for row in content["probes"]} == {"emotion", "speaker", "gender"}
    assert content["seed"] == 0 and len(content["split"]["folds"]) == 2 and len(content["commit"]) >= 7
    assert content["corpus"] == "synthetic" and content["leak_check"]["speakers_on_both_sides"] == []
    assert str(tmp_path) not in (folder / "probes.json").read_text() + (folder / "map.csv").read_text()
    printed = capsys.readouterr().out
    clusters = pd.read_csv(folder / "clusters.csv")
    assert tuple(clusters.columns) == cluster_view.POINTS and len(clusters) == 128 and clusters["cluster"].nunique() > 2
    assert "speaker_reference, gender:" in printed and "chance 0.500" in printed and str(tmp_path) not in printed


def test_a_model_that_is_there_is_looked_at_with_all_its_personalisers(run):
    folder = run("--model", run.model)
    points = pd.read_csv(folder / "map.csv")
    assert set(points["method"]) == {"speaker_reference", "enrolment_attention"} and points["speaker"].nunique() == 8
    assert pd.read_csv(folder / "clusters.csv").groupby("speaker").size().eq(16).all()


def test_what_two_speakers_cannot_tell_is_said_to_be_not_estimable(run, synthetic_corpus, tmp_path, capsys):
    table = synthetic_corpus.table
    table[table["speaker"].isin(sorted(table["speaker"].unique())[:2])].to_csv(tmp_path / "two.csv")
    run("--model", run.model, corpus=f"two={tmp_path / 'two.csv'}")
    printed = capsys.readouterr().out
    assert "nan" not in printed and "(interval not estimable)" in printed and "chance not estimable" in printed


def test_the_clusters_alone_need_no_training_and_are_those_that_stand_beside_the_maps(run):
    folder = run("--clusters", "--encoder", run.encoder)
    assert [path.name for path in folder.iterdir()] == ["clusters.csv"]
    alone = (folder / "clusters.csv").read_bytes()
    run("smoke", "--folds", "2", "--encoder", run.encoder)
    assert (folder / "clusters.csv").read_bytes() == alone


def test_the_clusters_alone_need_an_encoder_that_has_not_heard_the_speakers(run, tmp_path, tiny_model):
    with pytest.raises(BadRecipe, match="--clusters needs --encoder"):
        run("--clusters")
    heard = shutil.copytree(tiny_model / "encoder", tmp_path / "heard")
    config = json.loads((heard / "config.json").read_text())
    (heard / "config.json").write_text(json.dumps({**config, "heard_speakers": ["synthetic_3"]}))
    with pytest.raises(LeakingSplit, match="synthetic_3"):
        run("--clusters", "--encoder", f"compact={heard}")


def test_what_has_no_before_and_after_is_refused_before_anything_is_trained(run):
    with pytest.raises(NoEnrolmentUsed, match="'baseline' uses no enrolment"):
        run("smoke", "baseline", "--encoder", run.encoder)


@pytest.mark.parametrize("words", [[], ["smoke", "--model", "compact"], ["smoke", "--clusters"]])
def test_either_recipes_or_a_model_are_needed(run, words):
    with pytest.raises(BadRecipe, match="either recipes or --model"):
        run(*words)
