"""How sure a trained method may be: learned on dev speakers, whom it did not train on, before anybody measures it."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from ser_core.data.batches import Utterances
from ser_core.evaluation.certainty import Certainty, fitted_certainty, measured_certainty
from ser_core.inference.predict import answers
from ser_core.methods.base import Method


def learn_certainty(
    method: Method, utterances: Utterances, dev: np.ndarray, enrolment: Mapping[str, np.ndarray]
) -> Method:
    """The method with a temperature and a threshold, learned from its answers about the dev targets.

    As it was where it tells no emotions apart, or where no dev target has one. No answer names another emotion than before.

    Args:
        method: trained.
        utterances: the corpus.
        dev: rows of the dev targets.
        enrolment: rows of each speaker's enrolment.
    """
    known = dev[utterances.emotion[dev] >= 0]
    if method.tells_emotions and len(known):
        method.certainty_ = Certainty()
        said = answers(method, utterances, known, enrolment).probability
        corpus = utterances.corpus.table["corpus"].to_numpy()[known]
        method.certainty_ = fitted_certainty(said, utterances.emotion[known], corpus)
    return method


def described_certainty(method: Method, test: pd.DataFrame, dev: pd.DataFrame | None = None) -> dict:
    """For report.json: temperature, sure_from, and what was measured with them in tables of predictions."""
    return {
        **asdict(method.certainty_),
        "dev": {} if dev is None else measured_certainty(dev, method.certainty_),
        "test": measured_certainty(test, method.certainty_),
    }
