"""A model that ships: the same recipes on all corpora at hand, measured on speakers that no stage of it has heard."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, of_another_speaker
from ser_core.data.manifest import Corpus
from ser_core.data.tables import write_json
from ser_core.data.whole import replaced
from ser_core.encoders import ENCODERS, load_encoder
from ser_core.evaluation.summary import summarise
from ser_core.inference.models import ModelInfo, write_model
from ser_core.inference.predict import answers, predictions_table
from ser_core.labels import APP_EMOTIONS
from ser_core.methods import METHODS
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.recipe import DataChoice, Recipe, read_recipe, read_split
from ser_core.training.card import write_card
from ser_core.training.certainty import described_certainty, learn_certainty
from ser_core.training.crossvalidation import ANOTHER_SPEAKER
from ser_core.training.hearing import embedded
from ser_core.training.preparation import (
    build_method,
    check_encoder_has_not_heard,
    class_set,
    in_label_set,
    make_plan,
)
from ser_core.training.provenance import provenance
from ser_core.training.trainer import fit, seeded
from ser_core.workspace import Workspace

RECIPES = (
    "baseline", "speaker_reference", "enrolment_attention", "enrolment_attention_neutral", "enrolment_attention_emotional",
)  # fmt: skip
"""Baseline first, then the personalisers, the default first."""

SPLIT = "shipped_split"
_BALANCED = {"shuffled": "balanced", "episodes": "balanced_episodes"}


def build(
    name: str,
    encoder_name: str,
    encoder_source: str,
    corpus: Corpus,
    folder: Path,
    workspace: Workspace,
    split: str = SPLIT,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] = print,
    halves: dict | None = None,
) -> dict:
    """Train every recipe on the training speakers, measure on the test speakers, write folder and card.

    Args:
        name: of the model.
        encoder_name: a key of ENCODERS.
        encoder_source: its folder; the compact encoder is copied into the model, others are only named by their hub id.
        corpus: all corpora, joined.
        folder: of the model, which takes the place of an earlier one once it is whole; what reads words and what hears
            free speech are added anew, for they were learned with heads that are no more.
        workspace: for the cache of embeddings.
        split: names the dev and test speakers; in recipes/, or a path.
        seed: of everything.
        device: where to train.
        say: told of progress.
        halves: what benchmarks/accuracy.py measured of the encoder's recipe on speakers it never heard, for the card.
    """
    recipes = [for_the_app(read_recipe(recipe), encoder_name, encoder_source, split) for recipe in RECIPES]
    corpus = in_label_set(corpus, recipes[0].data)
    encoder = load_encoder(encoder_name, encoder_source or None, (workspace.models,))
    utterances = embedded(corpus, class_set(corpus, recipes[0].data), encoder, workspace, device, say)
    check_encoder_has_not_heard(encoder, read_split(split).test)
    choice = first_of_each(corpus)
    with replaced(folder) as draft:
        parts = [_train_and_test(recipe, utterances, encoder, choice, draft, seed, device, say) for recipe in recipes]
        predictions, controls = (pd.concat([part[place] for part in parts], ignore_index=True) for place in (0, 1))
        source = _place_encoder(encoder_name, encoder_source, draft)
        info = ModelInfo(name, draft, encoder_name, source, APP_EMOTIONS, RECIPES[0], RECIPES[1:])
        write_model(info)
        report = _report(predictions, controls, choice, corpus, recipes, seed, encoder.fingerprint, parts[0][2])
        report["certainty"] = {recipe.name: part[3] for recipe, part in zip(recipes, parts, strict=True)}
        report.update({"halves": halves} if halves else {})
        write_json(draft / "report.json", report)
        write_card(info)
    return report


def for_the_app(recipe: Recipe, encoder_name: str, encoder_source: str, split: str) -> Recipe:
    """A recipe as several corpora teach it: the app's emotions, and batches in which all corpora and emotions are alike."""
    batches = _BALANCED[METHODS[recipe.method].Settings().batches]
    data = DataChoice(emotions="app", split=split)
    return replace(
        recipe.with_encoder(encoder_name, encoder_source), settings={**recipe.settings, "batches": batches}, data=data
    )


def _train_and_test(recipe, utterances: Utterances, encoder, choice, folder: Path, seed: int, device, say) -> tuple:
    split = read_split(recipe.data.split)
    plan = make_plan(utterances, choice, split.dev, split.test)
    seeded(seed)
    method = build_method(recipe, encoder, utterances.emotions)
    nobody = plan.dev[:0]  # the last epoch is kept: a few speakers choose badly
    fit(method, utterances, replace(plan, dev=nobody), recipe.training, seed, device)
    say(f"{recipe.name}: trained for {recipe.training.epochs} epochs")
    save_method(method, recipe, folder / recipe.name, half=True)
    method = learn_certainty(load_method(folder / recipe.name), utterances, plan.dev, plan.enrolment)
    save_method(method, recipe, folder / recipe.name, half=True)
    method = load_method(folder / recipe.name)  # what ships is what is measured
    mark = {"method": recipe.name, "seed": seed, "fold": 0}
    predictions = predictions_table(
        utterances, plan.test, answers(method, utterances, plan.test, plan.enrolment), **mark
    )
    dev = predictions_table(utterances, plan.dev, answers(method, utterances, plan.dev, plan.enrolment), **mark)
    certainty = described_certainty(method, predictions, dev)
    if not method.uses_enrolment:
        return predictions, predictions.iloc[:0].assign(control=""), len(plan.train), certainty
    swapped = utterances.enrolment_rows(_swapped_within_corpora(choice, utterances.corpus, plan.test))
    controlled = predictions_table(utterances, plan.test, answers(method, utterances, plan.test, swapped), **mark)
    return predictions, controlled.assign(control=ANOTHER_SPEAKER), len(plan.train), certainty


def _swapped_within_corpora(choice: pd.DataFrame, corpus: Corpus, test: np.ndarray) -> pd.DataFrame:
    table = corpus.table.iloc[test]
    parts = []
    for place, (_, part) in enumerate(table.groupby("corpus")):
        speakers = sorted(part["speaker"].unique())
        parts.append(
            of_another_speaker(choice[choice["speaker"].isin(speakers)], speakers, np.random.default_rng([place, 1]))
        )
    return pd.concat(parts, ignore_index=True)


def _place_encoder(name: str, source: str, folder: Path) -> str:
    """Copy the compact encoder into the model; of others only the hub id is kept, their weights are not ours."""
    if name != "compact":
        return ENCODERS[name][1]
    shutil.copytree(source, folder / "encoder", dirs_exist_ok=True)
    return "encoder"


def _report(predictions, controls, choice, corpus: Corpus, recipes, seed: int, fingerprint: str, n_train: int) -> dict:
    none = predictions.iloc[:0].assign(draw=0)
    by_corpus = {
        name: summarise(part, controls[controls["corpus"] == name], none, choice)
        for name, part in predictions.groupby("corpus")
    }
    split = read_split(recipes[0].data.split)
    train = ~corpus.table["speaker"].isin([*split.dev, *split.test])
    return {
        "by_corpus": by_corpus,
        "train_speakers": sorted(corpus.table["speaker"][train].unique()),
        "dev_speakers": list(split.dev),
        "test_speakers": list(split.test),
        "n_train_targets": n_train,
        "recipes": [recipe.without_paths() for recipe in recipes],
        "encoder": fingerprint,
        "seed": seed,
        **provenance(),
    }
