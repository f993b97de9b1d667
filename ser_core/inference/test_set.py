"""A corpus as a test set for models that are there: on speakers they have not heard, enrolled by the paper's rule."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.data.manifest import BadCorpus, Corpus, LeakingSplit
from ser_core.encoders.base import SpeechEncoder
from ser_core.encoders.cache import EmbeddingCache, UnreadableUtterances
from ser_core.evaluation.summary import sentence_column
from ser_core.inference.predict import Trained
from ser_core.inference.recogniser import Recogniser
from ser_core.workspace import Workspace

_CHUNK = 32
_MAX_REFUSED = 0.05


class Cancelled(ValueError):
    """Somebody asked to stop; what was embedded so far stays in the cache."""


@dataclass(frozen=True)
class Evaluated:
    """Predictions of models on a corpus.

    Attributes:
        predictions: one row a target and method.
        choice: who was enrolled with what; never targets.
        leaks: the leak check's verdict.
        notes: what was left out, in words.
        networks: of the first model.
    """

    predictions: pd.DataFrame
    choice: pd.DataFrame
    leaks: dict[str, list[str] | str]
    notes: tuple[str, ...]
    networks: tuple[Trained, ...]


def evaluate_models(
    recognisers: Sequence[Recogniser],
    corpus: Corpus,
    workspace: Workspace,
    split: str | None = None,
    progress: Callable[[float, str], None] = lambda share, words: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Evaluated:
    """Predictions of the baseline and every personaliser of models, on speakers that none of them has heard.

    Args:
        recognisers: the models; with more than one, methods are called 'MODEL: METHOD'.
        corpus: of known emotions.
        split: only utterances whose column 'split' says so; all if None.
        progress: told the share that is done, and what is being done.
        cancelled: asked between utterances.

    Raises:
        BadCorpus: nothing to evaluate, or too many recordings cannot be read.
        LeakingSplit: the models have heard all of the speakers.
        Cancelled: it was asked to stop.
    """
    corpus = _of_split(corpus, split)
    corpus, leaks, notes = _unheard(corpus, recognisers)
    parts = []
    for place, recogniser in enumerate(recognisers):
        prefix = f"{recogniser.info.name}: " if len(recognisers) > 1 else ""

        def told(share: float, words: str, place: int = place, prefix: str = prefix) -> None:
            progress((place + share) / len(recognisers), prefix + words)

        utterances, refused = _embedded(corpus, recogniser, workspace, told, cancelled)
        if refused:
            corpus = corpus.only(corpus.table.index.isin(utterances.corpus.table.index))
            notes = [*notes, refused]
        parts.append((prefix, recogniser, utterances))
    choice = first_of_each(parts[-1][2].corpus)
    networks = [tuple(trained_models(recogniser, utterances, prefix)) for prefix, recogniser, utterances in parts]
    tables = [trained.predict(trained.targets(choice), choice) for of_model in networks for trained in of_model]
    predictions = pd.concat(tables, ignore_index=True)
    if predictions.empty:
        raise BadCorpus(
            f"{corpus.name}: after one utterance of each emotion was set aside to enrol each speaker none is left to "
            f"recognise; at least two utterances of an emotion are needed"
        )
    leaks["enrolment_among_targets"] = sorted(_same_recordings(predictions, choice, corpus))
    predictions = predictions.assign(sentence=sentence_column(predictions, choice)).dropna(axis=1, how="all")
    return Evaluated(predictions, choice, leaks, (*corpus.problems, *notes), networks[0])


def trained_models(recogniser: Recogniser, utterances: Utterances, prefix: str = "") -> Iterator[Trained]:
    """A model's baseline and personalisers, to be measured on all speakers of the utterances."""
    speakers = tuple(sorted(utterances.corpus.table["speaker"].unique()))
    yield Trained(prefix + recogniser.info.baseline, recogniser.baseline, utterances, speakers)
    for name in recogniser.info.personalisers:
        yield Trained(prefix + name, recogniser.method(name), utterances, speakers)


def model_test_set(
    recogniser: Recogniser, corpus: Corpus, workspace: Workspace, say: Callable[[str], None] = print
) -> tuple[Utterances, dict]:
    """The utterances of speakers that a model has not heard, embedded, and the leak check's verdict.

    Raises:
        BadCorpus, LeakingSplit: as for `evaluate_models`.
    """
    corpus, leaks, notes = _unheard(_of_split(corpus, None), [recogniser])
    utterances, refused = _embedded(corpus, recogniser, workspace)
    for note in [*notes, *([refused] if refused else [])]:
        say(note)
    return utterances, leaks


def _same_recordings(predictions: pd.DataFrame, choice: pd.DataFrame, corpus: Corpus) -> set[str]:
    """Targets that are enrolled, or a copy of what is."""
    originals = corpus.table["duplicate_of"].dropna()
    enrolled = set(choice["utterance_id"]) | set(originals[originals.index.isin(choice["utterance_id"])])
    targets = set(predictions["utterance_id"])
    return targets & enrolled | {
        copy for copy, original in originals.items() if copy in targets and original in enrolled
    }


def configuration_of(recognisers: Sequence[Recogniser], corpus: Corpus, split: str | None) -> dict:
    """What was evaluated how, for the report."""
    return {
        "models": {one.info.name: one.fingerprint for one in recognisers},
        "corpus": {"name": corpus.name, "sha256 of its table": corpus_hash(corpus), "split": split},
        "enrolment": "the alphabetically first utterance of each emotion of a speaker (arXiv 2406.06665), never a target",
        "seed": 0,
    }


def _of_split(corpus: Corpus, split: str | None) -> Corpus:
    if split is not None:
        known = sorted(corpus.table["split"].dropna().astype(str).unique())
        if split not in known:
            raise BadCorpus(f"{corpus.name} has no split '{split}'; it has {', '.join(known) or 'none'}")
        corpus = corpus.only(corpus.table["split"].astype(str) == split)
    if not corpus.emotions:
        raise BadCorpus(f"{corpus.name}: no utterance has an emotion, so nothing can be right or wrong")
    return corpus


def _unheard(corpus: Corpus, recognisers: Sequence[Recogniser]) -> tuple[Corpus, dict, list[str]]:
    """Without speakers that a model or its encoder heard; what is not known is said."""
    heard: set[str] = set()
    unknown = []
    for recogniser in recognisers:
        heard |= set(recogniser.encoder.heard_speakers) | set(recogniser.info.heard_speakers or ())
        if recogniser.info.heard_speakers is None:
            unknown.append(recogniser.info.name)
    speakers = set(corpus.table["speaker"])
    left_out = sorted(speakers & heard)
    if left_out and set(left_out) == speakers:
        raise LeakingSplit(
            f"{corpus.name}: the model has heard all {len(speakers)} speakers in its training, so results on them would "
            f"mislead; use other speakers, or cross-validate recipes (crossvalidate)"
        )
    leaks: dict = {
        "speakers_on_both_sides": sorted((speakers - set(left_out)) & heard),
        "speakers_are_told_apart": "by name only",
        "left_out_because_heard_in_training": left_out,
        "enrolment_among_targets": [],
        "training_speakers_unknown_of": unknown,
        "sentences_on_both_sides": "not known: the sentences a model learned from are not stored with it",
    }
    notes = [f"{len(left_out)} of {len(speakers)} speakers were heard in training and left out"] if left_out else []
    notes += [f"whom {name} heard in training is not written down, so leaks cannot be ruled out" for name in unknown]
    return corpus.only(~corpus.table["speaker"].isin(left_out)), leaks, notes


def _embedded(
    corpus: Corpus,
    recogniser: Recogniser,
    workspace: Workspace,
    progress: Callable[[float, str], None] = lambda share, words: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Utterances, str]:
    """The corpus as a model hears it, without recordings that cannot be read, and a note about those."""
    corpus = corpus.relabelled(recogniser.info.emotions)
    features, refused = _features(corpus, recogniser.encoder, workspace, progress, cancelled)
    if len(refused) > _MAX_REFUSED * len(corpus):
        raise BadCorpus(f"{corpus.name}: {UnreadableUtterances(refused, len(corpus))}")
    if not refused:
        return Utterances(corpus, recogniser.info.emotions, features), ""
    kept = corpus.only(~corpus.table["path"].isin(refused))
    note = f"left out: {UnreadableUtterances(refused, len(corpus))}"
    return Utterances(kept, recogniser.info.emotions, features), note


def _features(
    corpus: Corpus, encoder: SpeechEncoder, workspace: Workspace, progress, cancelled
) -> tuple[torch.Tensor, dict[str, str]]:
    cache, refused, parts = EmbeddingCache(workspace.embeddings, encoder), {}, []
    paths = corpus.table["path"].to_list()
    for start in range(0, len(paths), _CHUNK):
        if cancelled():
            raise Cancelled("stopped; what was heard so far is kept, so that the next time is quicker")
        progress(start / len(paths), f"listening: {start} of {len(paths)} recordings of {corpus.name}")
        chunk = paths[start : start + _CHUNK]
        try:
            parts.append(cache.embed(chunk))
        except UnreadableUtterances as error:
            refused |= error.refused
            if kept := [path for path in chunk if path not in error.refused]:
                parts.append(cache.embed(kept))
    return torch.cat(parts) if parts else torch.empty(0), refused


def corpus_hash(corpus: Corpus) -> str:
    """Names the corpus by its table: which utterances, of whom, with which labels (paths left aside)."""
    table = corpus.table[["corpus", "speaker", "gender", "emotion"]].assign(file=corpus.table["path"].map(_name))
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def _name(path: str) -> str:
    return Path(path).name
