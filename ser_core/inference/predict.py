"""From a trained method and rows of a corpus to the table of predictions."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import target_rows
from ser_core.data.sampling import in_order
from ser_core.encoders.base import autocast
from ser_core.methods.base import Method


def probabilities(
    method: Method,
    utterances: Utterances,
    targets: np.ndarray,
    enrolment: Mapping[str, np.ndarray],
    batch_size: int = 256,
) -> np.ndarray:
    """Probability of each class, (len(targets), C), among the classes the target's corpus has.

    Args:
        method: trained; put into evaluation mode.
        utterances: the corpus.
        targets: rows to predict.
        enrolment: rows of each speaker's enrolment.
        batch_size: targets at once.
    """
    device = next(method.parameters()).device
    method.eval()
    parts = []
    with torch.inference_mode(), autocast(device):
        for rows, enrolled in in_order(utterances, targets, enrolment, batch_size):
            batch = utterances.batch(rows, enrolled).to(device)
            logits = method(batch).emotion_logits.float().masked_fill(~batch.classes, -torch.inf)
            parts.append(logits.softmax(dim=-1).cpu().numpy())
    return np.concatenate(parts) if parts else np.empty((0, len(utterances.emotions)), dtype=np.float32)


def predictions_table(
    utterances: Utterances, targets: np.ndarray, probability: np.ndarray, method: str, seed: int, fold: int
) -> pd.DataFrame:
    """The manifest rows of the targets with method, seed, fold, predicted_emotion and p_<emotion> added."""
    table = utterances.corpus.table.iloc[targets].reset_index()
    added = {f"p_{emotion}": probability[:, place] for place, emotion in enumerate(utterances.emotions)}
    predicted = np.array(utterances.emotions)[probability.argmax(axis=1)]
    return table.assign(method=method, seed=seed, fold=fold, predicted_emotion=predicted, **added)


@dataclass(frozen=True)
class Trained:
    """A trained network and the speakers it may be measured on: no stage of its training heard one of them.

    Attributes:
        name: of the method; the key under `models` in report.json.
        speakers: of the corpus, unheard.
        seed, fold: where it comes from, for the table of predictions.
    """

    name: str
    method: Method
    utterances: Utterances
    speakers: tuple[str, ...]
    seed: int = 0
    fold: int = 0

    def targets(self, choice: pd.DataFrame) -> np.ndarray:
        """Rows of its speakers that are of a class and not enrolled by `choice`."""
        corpus = self.utterances.corpus
        return np.flatnonzero(target_rows(corpus, choice) & corpus.table["speaker"].isin(self.speakers).to_numpy())

    def predict(self, targets: np.ndarray, choice: pd.DataFrame) -> pd.DataFrame:
        """The table of predictions of some rows, with the speakers enrolled by `choice` (columns speaker, utterance_id)."""
        probability = probabilities(self.method, self.utterances, targets, self.utterances.enrolment_rows(choice))
        return predictions_table(self.utterances, targets, probability, self.name, self.seed, self.fold)
