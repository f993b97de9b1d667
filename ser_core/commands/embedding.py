"""embedding: maps of utterances before and after the enrolment is used, what fresh probes read off them, and the clusters
inside each speaker."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ser_core.commands.training_arguments import (
    add_training_arguments,
    count,
    limit_threads,
    split_encoder,
    with_encoder,
)
from ser_core.data.corpora import load_corpora
from ser_core.data.manifest import Corpus
from ser_core.data.tables import write_csv, write_json
from ser_core.data.whole import filled
from ser_core.encoders import load_encoder
from ser_core.inference.embedding_view import (
    ALL_FOLDS,
    Maps,
    NoEnrolmentUsed,
    clusters_of,
    maps_of,
    maps_of_model,
    to_json,
    view,
)
from ser_core.inference.recogniser import Recogniser
from ser_core.inference.test_set import corpus_hash, model_test_set
from ser_core.methods import METHODS
from ser_core.recipe import BadRecipe, read_recipe
from ser_core.training.crossvalidation import Design, set_up, trained_folds
from ser_core.training.hearing import embedded
from ser_core.training.preparation import check_encoder_has_not_heard
from ser_core.training.provenance import provenance
from ser_core.workspace import Workspace, open_workspace

SEED = 0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="cross-validate these; they must use an enrolment")
    parser.add_argument(
        "--model", metavar="NAME", help="or look at a model that is there, on speakers it has not heard"
    )
    parser.add_argument(
        "--clusters", action="store_true", help="or only at the clusters, as --encoder hears them: nothing is trained"
    )
    add_training_arguments(parser)
    parser.add_argument("--folds", type=count, default=5, help="folds of consecutive speakers, for recipes")
    parser.add_argument("--output", required=True, metavar="DIR", help="for map.csv, probes.json and clusters.csv")


def run(arguments: Namespace) -> int:
    """Train or load, look, write the three files (or the clusters alone), say what was found."""
    if [bool(arguments.recipes), bool(arguments.model), arguments.clusters].count(True) != 1:
        raise BadRecipe("give either recipes or --model NAME or --clusters: one of them is needed")
    limit_threads(arguments.threads)
    corpus = load_corpora(arguments.corpus)
    workspace, folder = open_workspace(arguments.workspace), Path(arguments.output)
    if arguments.clusters:
        clusters = _of_encoder(arguments, corpus, workspace)
        _write_clusters(clusters, folder)
        print(f"written: clusters.csv of {clusters['speaker'].nunique()} speakers in '{folder.name}'")
        return 0
    maps, origin = (_of_model if arguments.model else _of_recipes)(arguments, corpus, workspace)
    origin = {"seed": SEED, "corpus_sha256_of_its_table": corpus_hash(corpus), **origin, **provenance()}
    with filled(folder) as hidden:
        _write_clusters(maps.clusters, hidden)
        write_csv(maps.points.round(3), hidden / "map.csv")
        write_json(hidden / "probes.json", {**to_json(maps), **origin})
    for line in _in_words(maps.probes):
        print(line)
    print(f"written: map.csv, probes.json and clusters.csv in '{folder.name}'")
    return 0


def _write_clusters(clusters: pd.DataFrame, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(clusters.round(3), folder / "clusters.csv")


def _of_encoder(arguments: Namespace, corpus: Corpus, workspace: Workspace) -> pd.DataFrame:
    """The clusters inside all speakers of a corpus, whom the encoder has not heard."""
    if not arguments.encoder:
        raise BadRecipe("--clusters needs --encoder NAME[=DIR]: who is to hear the utterances")
    name, source = split_encoder(arguments.encoder)
    encoder = load_encoder(name, source or None, (workspace.models,))
    speakers = sorted(corpus.table["speaker"].unique())
    check_encoder_has_not_heard(encoder, speakers)
    utterances = embedded(corpus, corpus.emotions, encoder, workspace, arguments.device, _say)
    return clusters_of(utterances, speakers)


def _of_recipes(arguments: Namespace, corpus: Corpus, workspace: Workspace) -> tuple[Maps, dict]:
    recipes = [with_encoder(read_recipe(name), arguments.encoder) for name in arguments.recipes]
    without = [recipe.name for recipe in recipes if not METHODS[recipe.method].uses_enrolment]
    if without:  # before anything is trained
        raise NoEnrolmentUsed(f"'{without[0]}' uses no enrolment, so it has no before and after; leave it out")
    encoder = load_encoder(recipes[0].encoder.name, recipes[0].encoder.source or None, (workspace.models,))
    design = Design(arguments.folds, n_seeds=1)
    experiment = set_up(recipes, corpus, encoder, design, workspace, arguments.device, _say)
    views = [view(trained, experiment.choice) for trained in trained_folds(experiment, arguments.device, _say)]
    speakers = [speaker for fold in experiment.folds for speaker in fold]
    return maps_of(views, corpus.name, clusters_of(experiment.utterances, speakers)), {
        "split": {"design": asdict(design), "folds": experiment.folds},
        "leak_check": experiment.verdict,
        "encoder": encoder.fingerprint,
        "recipes": [recipe.without_paths() for recipe in recipes],
    }


def _of_model(arguments: Namespace, corpus: Corpus, workspace: Workspace) -> tuple[Maps, dict]:
    recogniser = Recogniser(workspace, arguments.model, arguments.device)
    utterances, leaks = model_test_set(recogniser, corpus, workspace, _say)
    return maps_of_model(recogniser, utterances), {
        "split": {"speakers": sorted(utterances.corpus.table["speaker"].unique())},
        "leak_check": leaks,
        "model": recogniser.info.name,
        "encoder": recogniser.fingerprint,
    }


def _in_words(probes: pd.DataFrame) -> Iterator[str]:
    together = probes[probes["fold"] == ALL_FOLDS].set_index(["method", "probe", "stage"])
    for method, name in dict.fromkeys((method, name) for method, name, _ in together.index):
        before, after = (together.loc[(method, name, stage)] for stage in ("before", "after"))
        yield f"{method}, {name}: {_number(before)} before, {_number(after)} after, chance {_or_not(before['chance'])}"


def _number(row: pd.Series) -> str:
    if row["n_utterances"] == 0:
        return "not estimable"
    interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] == row["low"] else "interval not estimable"
    return f"{row['balanced_accuracy']:.3f} ({interval})"


def _or_not(value: float) -> str:
    return f"{value:.3f}" if value == value else "not estimable"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
