"""From a trained method and rows of a corpus to the table of predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import target_rows
from ser_core.data.sampling import in_order
from ser_core.encoders.base import as_memory_allows, autocast
from ser_core.labels import ATTRIBUTES
from ser_core.methods.base import Method, Output


@dataclass(frozen=True)
class Answers:
    """What a method says of N targets.

    Attributes:
        probability: of each class, (N, C), among the classes that the target's corpus has, or all have together.
        attributes: arousal, valence, dominance on the scale learned, (N, 3); nan for those it does not predict.
        embedding: what its last layer hears, (N, D).
    """

    probability: np.ndarray
    attributes: np.ndarray
    embedding: np.ndarray


def answers(
    method: Method,
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int = 256,
    among_all: bool = False,
) -> Answers:
    """What a method says of some rows.

    Args:
        method: trained; put into evaluation mode.
        utterances: the corpus.
        targets: rows to predict.
        enrolment: rows of each speaker's enrolment.
        batch_size: targets at once.
        among_all: ask for the emotions of all corpora, also those that the target's own corpus lacks.
    """
    device = next(method.parameters()).device
    method.eval()
    n, n_classes = len(targets), len(utterances.emotions)
    probability, attributes = np.empty((n, n_classes), np.float32), np.full((n, 3), np.nan, np.float32)
    embeddings, place = [np.empty((0, 0), np.float32)], 0
    some_corpus_has = torch.from_numpy(utterances.classes.any(axis=0)).to(device)

    def said_of(rows: np.ndarray) -> tuple[Output, Tensor]:
        ((rows, enrolled),) = in_order(utterances, rows, enrolment, len(rows))
        with torch.inference_mode(), autocast(device):
            batch = utterances.batch(rows, enrolled).to(device)
            output = method(batch)
            asked = some_corpus_has.expand_as(batch.classes) if among_all else batch.classes
            return output, method.probabilities(output, asked)

    for output, probabilities in as_memory_allows(said_of, targets, batch_size, method, may_move=False):
        these = slice(place, place := place + len(probabilities))
        probability[these] = probabilities.cpu().numpy()
        embeddings.append(output.embedding.float().cpu().numpy())
        if output.attributes is not None:
            attributes[these] = output.attributes.float().cpu().numpy()
    return Answers(probability, attributes, np.concatenate(embeddings[1:] or embeddings))


def predictions_table(
    utterances: Utterances, targets: np.ndarray, said: Answers, method: str, seed: int, fold: int
) -> pd.DataFrame:
    """The manifest rows of the targets with method, seed, fold, predicted_emotion, p_<emotion> and, where there is one,
    predicted_<attribute> added."""
    table = utterances.corpus.table.iloc[targets].reset_index()
    added = {f"p_{emotion}": said.probability[:, place] for place, emotion in enumerate(utterances.emotions)}
    for place, name in enumerate(ATTRIBUTES):
        if np.isfinite(said.attributes[:, place]).any():
            added[f"predicted_{name}"] = said.attributes[:, place]
    if np.isnan(said.probability).all():  # attributes only
        return table.assign(method=method, seed=seed, fold=fold, predicted_emotion=None, **added)
    predicted = np.array(utterances.emotions)[said.probability.argmax(axis=1)]
    return table.assign(method=method, seed=seed, fold=fold, predicted_emotion=predicted, **added)


@dataclass(frozen=True)
class Trained:
    """A trained network and the speakers it may be measured on: no stage of its training heard one of them.

    Attributes:
        name: of the method; the key under `models` in report.json.
        speakers: of the corpus, unheard.
        dev: speakers who were kept to choose by.
        seed, fold: where it comes from, for the table of predictions.
    """

    name: str
    method: Method
    utterances: Utterances
    speakers: tuple[str, ...]
    seed: int = 0
    fold: int = 0
    dev: tuple[str, ...] = ()

    def targets(self, choice: pd.DataFrame, speakers: Sequence[str] | None = None) -> np.ndarray:
        """Rows of its speakers (or those named) that are of a class and not enrolled by `choice`."""
        corpus, of = self.utterances.corpus, self.speakers if speakers is None else speakers
        return np.flatnonzero(target_rows(corpus, choice) & corpus.table["speaker"].isin(list(of)).to_numpy())

    def predict(self, targets: np.ndarray, choice: pd.DataFrame, among_all: bool = False) -> pd.DataFrame:
        """The table of predictions of some rows, with the speakers enrolled by `choice` (columns speaker, utterance_id)."""
        enrolment = self.utterances.enrolment_rows(choice)
        said = answers(self.method, self.utterances, targets, enrolment, among_all=among_all)
        return predictions_table(self.utterances, targets, said, self.name, self.seed, self.fold)
