"""study: what if the enrolment is larger, wrong, or another one?"""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import torch
from torchaudio.functional import add_noise

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads, with_encoder
from ser_core.data.audio import level_and_trim, read_recording
from ser_core.data.corpora import load_corpora
from ser_core.data.enrolment import first_of_each
from ser_core.data.tables import to_json, write_csv, write_json
from ser_core.encoders import load_encoder
from ser_core.encoders.base import SpeechEncoder, autocast
from ser_core.figures.studies import study as study_figure
from ser_core.inference.predict import Trained
from ser_core.inference.test_set import corpus_hash
from ser_core.recipe import BadRecipe, read_recipe
from ser_core.studies import STUDIES
from ser_core.studies.base import predict_conditions, results
from ser_core.training.crossvalidation import Design, set_up, trained_folds
from ser_core.training.provenance import provenance
from ser_core.workspace import Workspace, open_workspace

ALL = "all"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("study", choices=[*STUDIES, ALL], help="which question; 'all' trains once for all of them")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="cross-validate these")
    parser.add_argument("--model", metavar="NAME", help="or a model that is there, on speakers it has not heard")
    add_training_arguments(parser)
    parser.add_argument("--folds", type=count, default=5, help="folds of consecutive speakers, for recipes")
    parser.add_argument("--leave-one-speaker-out", action="store_true", help="as many folds as speakers")
    parser.add_argument("--seeds", type=count, default=3, help="how many, from 0, for recipes")
    parser.add_argument("--output", required=True, metavar="DIR", help="for STUDY/CORPUS/results.csv and study.json")
    parser.add_argument("--figures", metavar="DIR", help="also STUDY_CORPUS.html there, which open offline")
    parser.add_argument("--json", action="store_true", help="the numbers, alone on standard output")


def run(arguments: Namespace) -> int:
    """Train or load, recognise under every condition, write the numbers, print them."""
    if bool(arguments.recipes) == bool(arguments.model):
        raise BadRecipe("give either recipes or --model NAME: one of them is needed")
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    asked = {name: STUDIES[name] for name in asked_for(arguments.study)}
    networks, encoder, about = (_of_model if arguments.model else _of_recipes)(arguments, workspace)
    hear = Noisy(encoder)
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in asked}
    for trained in networks:
        for name, study in asked.items():
            tables[name].append(predict_conditions(study, trained, hear))
    contents = {}
    for name, study in asked.items():
        contents[name] = _written(name, study, pd.concat(tables[name], ignore_index=True), about, arguments)
    print(to_json(contents) if arguments.json else "\n\n".join(map(_in_words, contents.values())))
    return 0


def asked_for(study: str) -> list[str]:
    """Keys of STUDIES."""
    return list(STUDIES) if study == ALL else [study]


class Noisy:
    """What an encoder hears of a file with white noise; each file and level once, with the same noise."""

    def __init__(self, encoder: SpeechEncoder):
        self.encoder = encoder
        self._heard: dict[tuple[str, float], np.ndarray] = {}

    def __call__(self, path: str, snr_db: float) -> np.ndarray:
        if (path, snr_db) not in self._heard:
            noisy = level_and_trim(with_noise(level_and_trim(read_recording(path).waveform), snr_db, Path(path).name))
            with torch.inference_mode(), autocast(self.encoder.device):
                pooled = self.encoder.pooled([torch.from_numpy(noisy)])
            self._heard[path, snr_db] = pooled[0].cpu().numpy()
        return self._heard[path, snr_db]


def with_noise(waveform: np.ndarray, snr_db: float, name: str) -> np.ndarray:
    """White Gaussian noise added at a signal-to-noise ratio in dB; the same noise for the same name. (N,) float32."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    noise = np.random.default_rng(seed).standard_normal(len(waveform)).astype(np.float32)
    return add_noise(torch.from_numpy(waveform), torch.from_numpy(noise), torch.tensor(snr_db)).numpy()


def _of_recipes(arguments: Namespace, workspace: Workspace) -> tuple[Iterable[Trained], SpeechEncoder, dict]:
    recipes = [with_encoder(read_recipe(name), arguments.encoder) for name in arguments.recipes]
    corpus = load_corpora(arguments.corpus)
    chosen = recipes[0].encoder
    encoder = load_encoder(chosen.name, chosen.source or None, (workspace.models,))
    design = Design(None if arguments.leave_one_speaker_out else arguments.folds, arguments.seeds)
    for name in asked_for(arguments.study):
        STUDIES[name].check(corpus)
    experiment = set_up(recipes, corpus, encoder, design, workspace, arguments.device, _say)
    about = {
        "corpus": corpus.name, "design": asdict(design), "folds": experiment.folds, "leak_check": experiment.verdict,
        "recipes": [recipe.without_paths() for recipe in recipes], "encoder": encoder.fingerprint,
        "corpus_sha256": corpus_hash(corpus), "enrolment_sha256": _digest(experiment.choice),
    }  # fmt: skip
    return trained_folds(experiment, arguments.device, _say), encoder, about


def _of_model(arguments: Namespace, workspace: Workspace) -> tuple[Iterable[Trained], SpeechEncoder, dict]:
    from ser_core.inference.recogniser import Recogniser
    from ser_core.inference.test_set import model_test_set, trained_models

    recogniser = Recogniser(workspace, arguments.model, arguments.device)
    utterances, leaks = model_test_set(recogniser, load_corpora(arguments.corpus), workspace, _say)
    for name in asked_for(arguments.study):
        STUDIES[name].check(utterances.corpus)
    about = {
        "corpus": utterances.corpus.name, "model": recogniser.info.name, "encoder": recogniser.fingerprint,
        "leak_check": leaks, "corpus_sha256": corpus_hash(utterances.corpus), "enrolment_sha256": _digest(first_of_each(utterances.corpus)),
    }  # fmt: skip
    return trained_models(recogniser, utterances), recogniser.encoder, about


def _written(name: str, study: ModuleType, predictions: pd.DataFrame, about: dict, arguments: Namespace) -> dict:
    numbers = results(predictions, study)
    corpus = about["corpus"]
    folder = Path(arguments.output) / name / corpus
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "study": name, "title": study.TITLE, "corpus": corpus, "results": numbers.round(5).to_dict("records"),
        "about": {**about, **provenance()},
    }  # fmt: skip
    write_csv(numbers, folder / "results.csv")
    write_json(folder / "study.json", content)
    if arguments.figures:
        Path(arguments.figures).mkdir(parents=True, exist_ok=True)
        figure = study_figure(numbers, study.IN_ORDER)
        figure.write_html(Path(arguments.figures) / f"{name}_{corpus}.html", include_plotlyjs=True)
    return content


def _in_words(content: dict) -> str:
    """One line a condition; a method for which nothing changes gets one line."""
    lines = [f"{content['title']} ({content['corpus']}); changes are against the same method with nobody enrolled:"]
    for method in dict.fromkeys(row["method"] for row in content["results"]):
        rows = [row for row in content["results"] if row["method"] == method]
        if not any(row["change"] for row in rows):
            lines.append(f"  {method}: uses no enrolment, UAR {rows[0]['uar']:.3f}")
            continue
        lines += [f"  {method}, {_row_in_words(row)}" for row in rows]
    return "\n".join(lines)


def _row_in_words(row: dict) -> str:
    p = "" if row["p_holm"] != row["p_holm"] else f", p = {row['p_holm']:.3f} (Holm)"
    return (
        f"{row['condition']}: UAR {row['uar']:.3f} ({row['uar_from']:.3f} to {row['uar_to']:.3f}), change {row['change']:+.3f} "
        f"({row['change_from']:+.3f} to {row['change_to']:+.3f}){p}, {row['share_worse']:.0%} of speakers worse"
    )


def _digest(choice: pd.DataFrame) -> str:
    return hashlib.sha256(
        json.dumps(choice[["speaker", "emotion", "utterance_id"]].values.tolist()).encode()
    ).hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
