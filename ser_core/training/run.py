"""One recipe in, one run folder out.

recipe.json    what was asked, fully resolved, with versions, commit and seed
status.json    running, finished or failed; the error in words
metrics.jsonl  one line an epoch
checkpoint/    weights.safetensors, model.json
"""

import json
import platform
import subprocess
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ser_core import __version__
from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each, target_rows
from ser_core.data.manifest import BadCorpus, Corpus, LeakingSplit, check_leaks
from ser_core.data.tables import write_json
from ser_core.encoders import load_encoder
from ser_core.encoders.base import SpeechEncoder, choose_device
from ser_core.encoders.cache import EmbeddingCache
from ser_core.labels import APP_EMOTIONS
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape, Method
from ser_core.methods.checkpoint import save_method
from ser_core.nn.front import POOLINGS
from ser_core.recipe import BadRecipe, DataChoice, EncoderChoice, Recipe, read_split
from ser_core.training.trainer import Epoch, Plan, fit, seeded
from ser_core.workspace import Workspace


def train(
    recipe: Recipe,
    corpus: Corpus,
    folder: Path,
    workspace: Workspace,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Method:
    """Train one recipe on a corpus into a run folder.

    Raises:
        BadRecipe, BadCorpus, EncoderUnavailable, TrainingDiverged: after status.json says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", {**recipe.to_json(), "seed": seed, "corpus": corpus.name, **provenance()})
    _status(folder, "running")
    try:
        method = _train(recipe, corpus, folder, workspace, seed, device, say)
    except BaseException as error:
        _status(folder, "failed", str(error) or type(error).__name__)
        raise
    _status(folder, "finished")
    return method


def _train(recipe, corpus, folder, workspace, seed, device, say) -> Method:
    corpus = without_test_speakers(in_label_set(corpus, recipe.data), recipe)
    encoder = None
    if not METHODS[recipe.method].hears_waveforms:
        encoder = load_encoder(recipe.encoder.name, recipe.encoder.source or None, (workspace.models,))
    utterances = embedded(corpus, class_set(corpus, recipe.data), encoder, workspace, device, say)
    seeded(seed)
    method = build_method(recipe, encoder, utterances.emotions)
    rng = np.random.default_rng(seed)
    plan = make_plan(utterances, first_of_each(corpus), dev_speakers(corpus, recipe, rng), (), method.needs_labels)
    with (folder / "metrics.jsonl").open("w") as log:

        def on_epoch(record: Epoch) -> None:
            log.write(json.dumps(record) + "\n")
            log.flush()
            say(
                "  ".join(
                    f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in record.items()
                )
            )

        fit(method, utterances, plan, recipe.training, seed, device, on_epoch)
    save_method(method, recipe, folder / "checkpoint")
    return method


def make_plan(
    utterances: Utterances, choice: pd.DataFrame, dev: Collection[str], test: Collection[str], needs_labels: bool = True
) -> Plan:
    """The protocol in one place: who trains, who chooses the epoch, and that no enrolment utterance is a target.

    Args:
        utterances: of all speakers.
        choice: the fixed enrolment.
        dev: speakers that choose the epoch.
        test: speakers left out; whoever is neither trains.
        needs_labels: False where utterances without a usable emotion, and the enrolled ones, are learned from as well.

    Raises:
        LeakingSplit: a speaker or a copy of an utterance on two sides, or nobody left to train.
    """
    table = utterances.corpus.table
    usable = target_rows(utterances.corpus, choice) if needs_labels else np.ones(len(table), dtype=bool)
    of_dev, of_test = (table["speaker"].isin(list(speakers)).to_numpy() for speakers in (dev, test))
    check_leaks(table[~(of_dev | of_test)], table[of_dev])
    if of_test.any():
        check_leaks(table[~of_test], table[of_test])
    return Plan(
        train=np.flatnonzero(usable & ~of_dev & ~of_test),
        dev=np.flatnonzero(usable & of_dev),
        test=np.flatnonzero(usable & of_test),
        enrolment=utterances.enrolment_rows(choice),
    )


def embedded(
    corpus: Corpus,
    emotions: tuple[str, ...],
    encoder: SpeechEncoder | None,
    workspace: Workspace,
    device: str,
    say: Callable[[str], None],
) -> Utterances:
    """The corpus with its cached features, or without where there is no encoder to hear it."""
    if encoder is None:
        return Utterances(corpus, emotions)
    start = time.perf_counter()
    cache = EmbeddingCache(workspace.embeddings, encoder.to(choose_device(device)))
    features = cache.embed(corpus.table["path"].to_list())
    if cache.n_read:
        say(f"embedded {cache.n_read} of {len(corpus)} utterances in {time.perf_counter() - start:.0f} s")
    return Utterances(corpus, emotions, features)


def build_method(recipe: Recipe, encoder: SpeechEncoder | None, emotions: tuple[str, ...]) -> Method:
    """The method of a recipe, untrained, for an encoder's features."""
    shape = feature_shape(recipe.encoder, encoder)
    return METHODS[recipe.method].build(recipe.settings, shape, emotions, recipe.name)


def feature_shape(choice: EncoderChoice, encoder: SpeechEncoder | None) -> FeatureShape:
    """What the encoder hands over, and which of it is heard.

    Raises:
        BadRecipe: a layer that the encoder does not have, or a pooling that does not exist.
    """
    if encoder is None:
        return FeatureShape(0, 0, (), choice.pooling)
    middle = encoder.n_layers // 2
    layers = choice.layers or tuple(range(max(0, middle - 1), min(encoder.n_layers, middle + 2)))
    if not all(isinstance(layer, int) and 0 <= layer < encoder.n_layers for layer in layers):
        raise BadRecipe(f"layers {list(layers)}: the encoder '{choice.name}' has layers 0 to {encoder.n_layers - 1}")
    if choice.pooling not in POOLINGS:
        raise BadRecipe(f"pooling '{choice.pooling}' is not one of {', '.join(POOLINGS)}")
    return FeatureShape(encoder.n_layers, 2 * encoder.width, layers, choice.pooling)


def in_label_set(corpus: Corpus, data: DataChoice) -> Corpus:
    """The corpus with the classes a recipe wants."""
    return corpus.relabelled(APP_EMOTIONS) if data.emotions == "app" else corpus


def class_set(corpus: Corpus, data: DataChoice) -> tuple[str, ...]:
    """The classes a method tells apart."""
    return APP_EMOTIONS if data.emotions == "app" else corpus.emotions


def without_test_speakers(corpus: Corpus, recipe: Recipe) -> Corpus:
    """The corpus without those whom the recipe's split keeps for testing: training never opens their files."""
    test = read_split(recipe.data.split).test if recipe.data.split else ()
    return corpus.only(~corpus.table["speaker"].isin(test))


def dev_speakers(corpus: Corpus, recipe: Recipe, rng: np.random.Generator) -> list[str]:
    """Who chooses the epoch: by the recipe's split, else drawn from the corpus."""
    if recipe.data.split:
        return list(read_split(recipe.data.split).dev)
    return draw_dev_speakers(corpus, sorted(corpus.table["speaker"].unique()), recipe.training.dev_share, rng)


def check_encoder_has_not_heard(encoder: SpeechEncoder, test: Collection[str]) -> None:
    """Make sure that no test speaker was heard when the encoder was trained, not even without labels.

    Raises:
        LeakingSplit: naming them.
    """
    heard = sorted(set(encoder.heard_speakers) & set(test))
    if heard:
        raise LeakingSplit(
            f"the encoder has heard {len(heard)} of the test speakers in its own training ({', '.join(heard[:3])} …); "
            f"results on them would mislead: use another encoder, or speakers it has not heard"
        )


def draw_dev_speakers(corpus: Corpus, speakers: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """Some of the training speakers at random, genders in turn; at least one, and at least one is left to train.

    Raises:
        BadCorpus: fewer than two speakers.
    """
    if len(speakers) < 2:
        raise BadCorpus(
            f"{corpus.name}: {len(speakers)} speakers are too few to train; dev speakers must be others than train speakers"
        )
    gender = corpus.table.groupby("speaker")["gender"].first()
    queues = [
        list(rng.permutation([one for one in speakers if gender[one] == name])) for name in sorted({*gender[speakers]})
    ]
    turns = [
        speaker for turn in zip_longest(*(queues[place] for place in rng.permutation(len(queues)))) for speaker in turn
    ]
    n_dev = min(len(speakers) - 1, max(1, round(share * len(speakers))))
    return [str(speaker) for speaker in turns if speaker is not None][:n_dev]


def provenance() -> dict:
    """Versions, commit and time, for every file of numbers."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "version": __version__,
        "commit": commit or "not a checkout",
        "modified": bool(changes),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str:
    try:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=here, check=False).stdout.strip()
    except OSError:  # git is not installed
        return ""


def _status(folder: Path, state: str, error: str = "") -> None:
    write_json(
        folder / "status.json",
        {"state": state, "error": error, "heartbeat": datetime.now(UTC).isoformat(timespec="seconds")},
    )
