"""study: open questions, answered by experiment (ser_core/studies)."""

import hashlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torchaudio.functional import add_noise

from ser_core.commands.training_arguments import add_training_arguments, count, limit_threads, with_encoder
from ser_core.data.audio import level_and_trim, read_recording
from ser_core.data.corpora import load_corpora
from ser_core.data.enrolment import first_of_each
from ser_core.data.tables import to_json, write_csv, write_json
from ser_core.data.whole import filled, written
from ser_core.encoders import load_encoder
from ser_core.encoders.base import SpeechEncoder, autocast
from ser_core.inference.test_set import corpus_hash
from ser_core.recipe import BadRecipe, Recipe, read_recipe
from ser_core.studies import STUDIES
from ser_core.studies.base import Networks, Numbers, Study, Tables
from ser_core.training.crossvalidation import Design, Experiment, set_up, trained_folds
from ser_core.training.preparation import build_method
from ser_core.training.provenance import provenance
from ser_core.workspace import Workspace, open_workspace

ALL = "all"
MEASURED = "measured"
"""What single networks showed: a file beside the tables, and not in study.json."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "study", choices=[*STUDIES, ALL], help="which question; 'all' trains once for those that can share"
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="cross-validate these")
    parser.add_argument("--model", metavar="NAME", help="or a model that is there, on speakers it has not heard")
    add_training_arguments(parser)
    parser.add_argument("--folds", type=count, default=5, help="folds of consecutive speakers, for recipes")
    parser.add_argument("--leave-one-speaker-out", action="store_true", help="as many folds as speakers")
    parser.add_argument("--seeds", type=count, default=3, help="how many, from 0, for recipes")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="for STUDY/CORPUS/results.csv, table.md, study.json and further tables",
    )
    parser.add_argument("--figures", metavar="DIR", help="also STUDY_CORPUS.html there, which open offline")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change all recipes, as in data.against_rest=anger",
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="further forms of the last recipe, as in settings.alpha=0.1,1",
    )
    parser.add_argument("--json", action="store_true", help="the numbers, alone on standard output")


@dataclass(frozen=True)
class _Source:
    """Where networks come from.

    Attributes:
        networks: of each kind that is asked for.
        encoder: they hear with it.
        about: design, recipes or model, leak check.
    """

    networks: dict[Networks, Iterable[Any]]
    encoder: SpeechEncoder
    about: dict[str, Any]


def run(arguments: Namespace) -> int:
    """Train or load, measure, write the tables, print the numbers."""
    if bool(arguments.recipes) == bool(arguments.model):
        raise BadRecipe("give either recipes or --model NAME: one of them is needed")
    limit_threads(arguments.threads)
    workspace = open_workspace(arguments.workspace)
    asked = asked_for(arguments.study, bool(arguments.model))
    source = (_of_model if arguments.model else _of_recipes)(asked, arguments, workspace)
    contents, printed = {}, []
    for name, measured in _measured(asked, source).items():
        whole = pd.concat(measured, ignore_index=True)
        tables = asked[name].tables(whole)
        contents[name] = _written(name, asked[name], {MEASURED: whole, **tables}, source.about, arguments)
        heading = f"{asked[name].title} ({source.about['corpus']})"
        printed.append("\n".join([in_words(heading, asked[name].numbers(tables, str)), *asked[name].told(tables, str)]))
    print(to_json(contents) if arguments.json else "\n\n".join(printed))
    return 0


def asked_for(study: str, of_model: bool) -> dict[str, Study]:
    """The studies that are asked for; all that can be are those that a finished model can answer, if there is one.

    Raises:
        BadRecipe: a model is asked what only training can answer.
    """
    possible = {name: one for name, one in STUDIES.items() if one.of_models or not of_model}
    if study == ALL:
        return {name: one for name, one in possible.items() if one.of_any_recipe and not one.settings}
    if study not in possible:
        raise BadRecipe(
            f"'{study}' looks at training speakers as well, so it needs recipes; a model can be asked {', '.join(possible)}"
        )
    return {study: possible[study]}


def _measured(asked: dict[str, Study], source: _Source) -> dict[str, list[pd.DataFrame]]:
    """What each study measures of its networks; those of several studies are trained once."""
    hear = Noisy(source.encoder)
    measured: dict[str, list[pd.DataFrame]] = {name: [] for name in asked}
    for networks, ready in source.networks.items():
        sharing = {name: study for name, study in asked.items() if study.networks is networks}
        for network in ready:
            for name, study in sharing.items():
                measured[name].append(study.measure(network, hear))
    return measured


class Noisy:
    """What an encoder hears of a file with white noise; each file and level once, with the same noise."""

    def __init__(self, encoder: SpeechEncoder):
        self.encoder = encoder
        self._heard: dict[tuple[str, float], np.ndarray] = {}

    def __call__(self, path: str, snr_db: float) -> np.ndarray:
        """Pooled layers (L, 2 D) of a file at a signal-to-noise ratio."""
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


def _of_recipes(asked: dict[str, Study], arguments: Namespace, workspace: Workspace) -> _Source:
    needed = sorted({setting for study in asked.values() for setting in study.settings})
    recipes = [
        with_encoder(read_recipe(name), arguments.encoder).changed([*needed, *arguments.set])
        for name in arguments.recipes
    ]
    recipes += [form for varied in arguments.vary for form in forms_of(recipes[len(arguments.recipes) - 1], varied)]
    corpus = load_corpora(arguments.corpus)
    chosen = recipes[0].encoder
    encoder = load_encoder(chosen.name, chosen.source or None, (workspace.models,))
    design = Design(None if arguments.leave_one_speaker_out else arguments.folds, arguments.seeds)
    for study in asked.values():
        study.check(corpus)
    experiment = set_up(recipes, corpus, encoder, design, workspace, arguments.device, _say)
    _check_tells_emotions(asked, experiment)
    about = {
        "corpus": corpus.name, "design": asdict(design), "folds": experiment.folds, "leak_check": experiment.verdict,
        "recipes": [recipe.without_paths() for recipe in recipes], "encoder": encoder.fingerprint,
        "corpus_sha256": corpus_hash(corpus), "enrolment_sha256": _digest(experiment.choice),
    }  # fmt: skip
    kinds = dict.fromkeys(study.networks for study in asked.values())
    return _Source({networks: networks(experiment, arguments.device, _say) for networks in kinds}, encoder, about)


def forms_of(recipe: Recipe, varied: str) -> list[Recipe]:
    """One recipe for each value of KEY=V1,V2, named after it.

    Raises:
        BadRecipe: no values, or a key that is not known.
    """
    key, _, values = varied.partition("=")
    if not values:
        raise BadRecipe(f"--vary {varied}: write KEY=V1,V2, as in settings.alpha=0.1,1")
    name = key.rpartition(".")[2].replace("_", " ")
    return [
        replace(recipe.changed([f"{key}={value}"]), name=f"{recipe.name}, {name} {value}")
        for value in values.split(",")
    ]


def _check_tells_emotions(asked: dict[str, Study], experiment: Experiment) -> None:
    of_emotions = [name for name, study in asked.items() if study.of_emotions]
    for recipe in experiment.recipes if of_emotions else ():
        if not build_method(
            recipe, experiment.encoder, experiment.utterances.emotions, experiment.words
        ).tells_emotions:
            raise BadRecipe(
                f"'{recipe.name}' predicts attributes only, and '{of_emotions[0]}' measures how well emotions are recognised: "
                f"add 'emotion' to settings.heads, or take another recipe"
            )


def _of_model(asked: dict[str, Study], arguments: Namespace, workspace: Workspace) -> _Source:
    from ser_core.inference.recogniser import Recogniser
    from ser_core.inference.test_set import model_test_set, trained_models

    recogniser = Recogniser(workspace, arguments.model, arguments.device)
    utterances, leaks = model_test_set(recogniser, load_corpora(arguments.corpus), workspace, _say)
    for study in asked.values():
        study.check(utterances.corpus)
    about = {
        "corpus": utterances.corpus.name, "model": recogniser.info.name, "encoder": recogniser.fingerprint,
        "leak_check": leaks, "corpus_sha256": corpus_hash(utterances.corpus), "enrolment_sha256": _digest(first_of_each(utterances.corpus)),
    }  # fmt: skip
    return _Source({trained_folds: trained_models(recogniser, utterances)}, recogniser.encoder, about)


def _written(name: str, study: Study, tables: Tables, about: dict, arguments: Namespace) -> dict:
    corpus = about["corpus"]
    folder = Path(arguments.output) / name / corpus
    verdict = {**about["leak_check"], "by_design": list(study.by_design)}
    content = {
        "study": name, "title": study.title, "corpus": corpus,
        **{table: rows.round(5).to_dict("records") for table, rows in tables.items() if table != MEASURED},
        "about": {**about, "leak_check": verdict, **provenance()},
    }  # fmt: skip
    with filled(folder) as hidden:
        for table, rows in tables.items():
            write_csv(rows, hidden / f"{table}.csv")
        write_json(hidden / "study.json", content)
        (hidden / "table.md").write_text(as_markdown(study.numbers(tables, str)), encoding="utf-8")
    if arguments.figures:
        Path(arguments.figures).mkdir(parents=True, exist_ok=True)
        with written(Path(arguments.figures) / f"{name}_{corpus}.html") as page:
            study.figure(tables, escape).write_html(page, include_plotlyjs=True)
    return content


def as_markdown(numbers: Numbers) -> str:
    """A table for benchmarks/README.md."""
    lines = [numbers.heads, ["---"] * len(numbers.heads), *numbers.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_words(title: str, numbers: Numbers) -> str:
    """A table for a terminal, its columns under each other."""
    lines = [numbers.heads, *numbers.rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(numbers.heads))]
    aligned = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([title, *(f"  {line}" for line in aligned)])


def _digest(choice: pd.DataFrame) -> str:
    return hashlib.sha256(
        json.dumps(choice[["speaker", "emotion", "utterance_id"]].values.tolist()).encode()
    ).hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
