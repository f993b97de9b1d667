"""How well words alone tell emotions: `python benchmarks/text_head.py --sentences DIR [--tune lora] [--seeds 3] --output FILE.json`

The text side of `multimodal` is trained on the train sentences with one label, its epoch chosen on dev by UAR, and measured
on test. No voice is heard.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Texts, Utterances
from ser_core.data.manifest import make_corpus
from ser_core.data.sentences import read_sentences
from ser_core.encoders.text import TEXT_ENCODERS, TextCache, load_text_encoder
from ser_core.encoders.tuning import LearningEncoder
from ser_core.evaluation.performance import accuracy, macro_f1, uar
from ser_core.inference.predict import answers
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.recipe import TUNES, TextChoice, TrainingSettings
from ser_core.training.provenance import provenance
from ser_core.training.trainer import Plan, Watch, fit, read_anew, seeded
from ser_core.training.words import text_shape
from ser_core.workspace import open_workspace

SETTINGS = {"modalities": "text", "batches": "shuffled", "text_dropout": 0.0, "gender_weight": 0.0}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", required=True)
    parser.add_argument("--text-encoder", default="minilm", choices=TEXT_ENCODERS)
    parser.add_argument("--tune", default="none", choices=TUNES)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workspace")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    table = read_sentences(arguments.sentences).table
    encoder = load_text_encoder(arguments.text_encoder)
    cache = TextCache(open_workspace(arguments.workspace).embeddings, encoder)
    utterances = unspoken(table, cache)
    runs = [measured(utterances, table, encoder, arguments, seed) for seed in range(arguments.seeds)]
    means = {name: float(np.mean([run[name] for run in runs])) for name in ("macro_f1", "uar", "accuracy")}
    report = {
        "mean": means, "seeds": runs, "n_test": int((table["split"] == "test").sum()), "encoder": encoder.fingerprint,
        "tune": arguments.tune, "epochs": arguments.epochs, **provenance(),
    }  # fmt: skip
    arguments.output.write_text(json.dumps(report, indent=2))
    print(json.dumps(means))


def unspoken(table: pd.DataFrame, cache: TextCache) -> Utterances:
    """Sentences as utterances that nobody speaks."""
    names = pd.Index([f"{place:06d}" for place in range(len(table))])
    rows = table.assign(path="none", speaker=table["split"], language="en").set_index(names)
    corpus = make_corpus("sentences", rows[["path", "speaker", "language", "emotion", "text"]])
    row = np.arange(len(table))
    texts = Texts(tuple(table["text"]), cache.embed(table["text"].to_list()), row, row)
    return Utterances(corpus, corpus.emotions, torch.zeros(len(table), 0, 0), texts)


def measured(utterances: Utterances, table: pd.DataFrame, encoder, arguments, seed: int) -> dict:
    """One training."""
    start = time.perf_counter()
    choice = TextChoice(tune=arguments.tune)
    seeded(seed)
    shape = text_shape(choice, encoder)
    method = METHODS["multimodal"].build(SETTINGS, FeatureShape(0, 0, ()), utterances.emotions, "text_head", shape)
    train, dev, test = (np.flatnonzero(table["split"] == split) for split in ("train", "dev", "test"))
    reading = LearningEncoder(encoder, choice, shape.layers) if arguments.tune != "none" else None
    settings = TrainingSettings(epochs=arguments.epochs, batch_size=128, learning_rate=1e-3)
    best: list[float] = []
    watch = Watch(on_epoch=lambda record: (best.append(record["dev_uar"]), print(seed, record, flush=True)))
    fit(method, utterances, Plan(train, dev, test, {}), settings, seed, "cpu", watch, reading=reading)
    if reading is not None:
        utterances = read_anew(reading.encoder, utterances)
    said = answers(method, utterances, test, {})
    truth, predicted = utterances.emotion[test], said.probability.argmax(axis=1)
    return {
        "seed": seed, "macro_f1": macro_f1(truth, predicted), "uar": uar(truth, predicted),
        "accuracy": accuracy(truth, predicted), "best_dev_uar": max(best), "minutes": (time.perf_counter() - start) / 60,
    }  # fmt: skip


if __name__ == "__main__":
    main()
