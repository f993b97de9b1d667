"""The command embedding, on the toy corpus."""

import json
from argparse import ArgumentParser

import pandas as pd
import pytest

from ser_core.commands import embedding
from ser_core.inference.embedding_view import POINTS, NoEnrolmentUsed
from ser_core.recipe import BadRecipe


@pytest.fixture
def run(tmp_path, synthetic_corpus, tiny_model):
    """Run it; the folder it wrote into."""
    folder = tmp_path / "maps"
    corpus = f"synthetic={synthetic_corpus.table['path'].iloc[0].rpartition('/')[0]}"

    def run(*words: str):
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
    assert "speaker_reference, gender:" in printed and "chance 0.500" in printed and str(tmp_path) not in printed


def test_a_model_that_is_there_is_looked_at_with_all_its_personalisers(run):
    points = pd.read_csv(run("--model", run.model) / "map.csv")
    assert set(points["method"]) == {"speaker_reference", "enrolment_attention"} and points["speaker"].nunique() == 8


def test_what_has_no_before_and_after_is_refused_before_anything_is_trained(run):
    with pytest.raises(NoEnrolmentUsed, match="'baseline' uses no enrolment"):
        run("smoke", "baseline", "--encoder", run.encoder)


@pytest.mark.parametrize("words", [[], ["smoke", "--model", "compact"]])
def test_either_recipes_or_a_model_are_needed(run, words):
    with pytest.raises(BadRecipe, match="either recipes or --model"):
        run(*words)
