"""The part of a model that ships which reads words: trained on the model's own speakers, measured on its test speakers.

The utterances are paired with sentences of the same label (data/sentences.py), because the corpora at hand say the same
sentences in every emotion. Whatever is measured here with such words is measured on *paired text*, and says so.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import Corpus, make_corpus
from ser_core.data.tables import write_json
from ser_core.data.whole import replaced
from ser_core.evaluation.certainty import calibration_error_of
from ser_core.evaluation.performance import accuracy, ccc_of_rated, macro_f1, uar
from ser_core.evaluation.summary import NO_WORDS, OWN_WORDS
from ser_core.inference.models import ModelInfo, Reader, read_model, write_model
from ser_core.inference.predict import Trained, answers
from ser_core.labels import ATTRIBUTES
from ser_core.methods.checkpoint import load_method, save_method
from ser_core.methods.multimodal import Multimodal
from ser_core.recipe import DataChoice, Recipe, read_recipe, read_split
from ser_core.training.card import write_card
from ser_core.training.certainty import learn_certainty
from ser_core.training.hearing import embedded
from ser_core.training.preparation import build_method, class_set, in_label_set, make_plan
from ser_core.training.provenance import provenance
from ser_core.training.ship import SPLIT
from ser_core.training.trainer import fit, seeded
from ser_core.training.words import Words, with_own_words, without_words, words_for
from ser_core.workspace import Workspace

RECIPE = "multimodal_personalised"
WORDS_ALONE, BOTH, BOTH_ENROLLED = "words alone", "voice and words", "voice and words, enrolled"
VOICE, VOICE_ENROLLED = "voice alone", "voice alone, enrolled"


def add_reader(
    folder: Path,
    corpus: Corpus,
    sentences: str,
    workspace: Workspace,
    split: str = SPLIT,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> dict:
    """Train the reader of a model, measure it, and write it into the model's folder: weights, words.json, card.

    Args:
        folder: of the model (inference/models.py); its other parts stay as they are.
        corpus: all corpora that it was trained on, joined.
        sentences: a folder of sentences with emotions.
        workspace: for the caches.
        split: names the dev and test speakers.
        seed: of everything.
        device: where to train.
        say: told of progress.
    """
    info = read_model(folder)
    recipe = _for_the_model(read_recipe(RECIPE), info, sentences, split)
    corpus = in_label_set(corpus, recipe.data)
    encoder = info.load_encoder(workspace)
    words = words_for([recipe], workspace)
    utterances = embedded(corpus, class_set(corpus, recipe.data), encoder, workspace, device, say)
    dev, test = read_split(split).dev, read_split(split).test
    utterances = words.paired(words.read(utterances, workspace, device, say), dev, test, seed)
    choice = first_of_each(corpus)
    plan = make_plan(utterances, choice, dev, test)
    seeded(seed)
    method = build_method(recipe, encoder, utterances.emotions, words)
    nobody = plan.dev[:0]  # the last epoch is kept, as in ship.build
    fit(method, utterances, replace(plan, dev=nobody), recipe.training, seed, device)
    say(f"{recipe.name}: trained for {recipe.training.epochs} epochs")
    with replaced(folder, revised=True) as draft:
        save_method(method, recipe, draft / recipe.name, half=True)
        method = learn_certainty(load_method(draft / recipe.name), utterances, plan.dev, plan.enrolment)
        save_method(method, recipe, draft / recipe.name, half=True)
        method = load_method(draft / recipe.name)  # what ships is what is measured
        report = {
            "by_corpus": _measured(method, utterances, choice, test, info),
            "sentences": _of_sentences(method, words, workspace, device),
            "certainty": asdict(method.certainty_),
            "recipe": recipe.without_paths(), "text_encoder": words.encoder.fingerprint, "seed": seed, **provenance(),
        }  # fmt: skip
        reader = Reader(recipe.name, recipe.text.name, "", corpus.attribute_range or (), corpus.attributes_from)
        info = replace(info, folder=draft, reader=reader)
        write_model(info)
        write_json(draft / "words.json", report)
        write_card(info)
    return report


def _for_the_model(recipe: Recipe, info: ModelInfo, sentences: str, split: str) -> Recipe:
    settings = {**recipe.settings, "batches": "balanced_episodes", "heads": ("emotion", *ATTRIBUTES), "hidden": 128}
    data = DataChoice(emotions="app", split=split, attributes="circumplex", sentences=sentences)
    return replace(recipe.with_encoder(info.encoder, info.source), settings=settings, data=data, beside=())


def _measured(method: Multimodal, utterances: Utterances, choice: pd.DataFrame, test, info: ModelInfo) -> dict:
    """UAR of every answer, and CCC of the pseudo-attributes, for each corpus."""
    nobody = choice.iloc[:0]
    both = Trained(RECIPE, method, utterances, tuple(test))
    targets = both.targets(choice)
    said = {
        BOTH: both.predict(targets, nobody),
        BOTH_ENROLLED: both.predict(targets, choice),
        WORDS_ALONE: replace(both, method=_WordsAlone(method)).predict(targets, nobody),
    }
    for name, spoken in ((NO_WORDS, without_words(utterances)), (OWN_WORDS, with_own_words(utterances))):
        said[f"{BOTH}: {name}"] = replace(both, utterances=spoken).predict(targets, nobody)
        said[f"{BOTH_ENROLLED}: {name}"] = replace(both, utterances=spoken).predict(targets, choice)
    for name, voice in ((VOICE, info.baseline), (VOICE_ENROLLED, info.personalisers[0])):
        said[name] = replace(both, method=load_method(info.folder / voice)).predict(targets, choice)
    return {
        corpus: {name: _line(table[table["corpus"] == corpus]) for name, table in said.items()}
        for corpus in sorted(utterances.corpus.table["corpus"].unique())
    }


class _WordsAlone(torch.nn.Module):
    """A method that answers without the voice."""

    def __init__(self, method: Multimodal):
        super().__init__()
        self.method = method

    def forward(self, batch):
        return self.method.of_words_alone(batch)

    def probabilities(self, output, classes=None):
        return self.method.probabilities(output, classes)


def _line(table: pd.DataFrame) -> dict:
    predicted = [
        name for name in ATTRIBUTES if f"predicted_{name}" in table and table[f"predicted_{name}"].notna().any()
    ]
    return {
        "n_targets": len(table),
        "n_speakers": table["speaker"].nunique(),
        "uar": uar(table["emotion"], table["predicted_emotion"]),
        "ece": calibration_error_of(table),
        **{f"ccc_{name}": ccc_of_rated(table[name], table[f"predicted_{name}"]) for name in predicted},
    }


def _of_sentences(method: Multimodal, words: Words, workspace: Workspace, device: str) -> dict:
    """How well the words alone tell the emotions of the test sentences, which no voice speaks."""
    table = words.sentences.table
    test = table[table["split"] == "test"]
    utterances = words.read(_unspoken(test, method.emotions), workspace, device, lambda line: None)
    said = answers(_WordsAlone(method), utterances, np.arange(len(test)), {})
    predicted = np.array(method.emotions)[said.probability.argmax(axis=1)]
    truth = test["emotion"].to_numpy()
    return {
        "n": len(test),
        "macro_f1": macro_f1(truth, predicted),
        "uar": uar(truth, predicted),
        "accuracy": accuracy(truth, predicted),
    }


def _unspoken(sentences: pd.DataFrame, emotions: tuple[str, ...]) -> Utterances:
    """Sentences as utterances of a corpus, without a voice."""
    rows = sentences.assign(path="none", speaker="nobody", language="en").set_index(
        pd.Index([f"{place:06d}" for place in range(len(sentences))])
    )
    corpus = make_corpus("sentences", rows[["path", "speaker", "language", "emotion", "text"]])
    return Utterances(corpus, emotions, torch.zeros(len(rows), 0, 0))
