"""Do two people take turns in free speech? Told where one voice is low and the other high; two alike go unnoticed.

A line between low and high voices, drawn by logistic regression through what the encoder hears of the training speakers. It is
asked about parts of one recording only, and its answer is a hint that is shown once and kept nowhere.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

SURELY = 0.65
"""An utterance is on a side from here on, 0.5 to 1: the middle of .5 to .8, within which no dev speaker of the models that
ship was taken for two, and every dev pair of a woman and a man was found."""

LEAST_SHARE = 0.25
"""Of the utterances, on each of both sides."""

HINT = "Two voices seem to take turns in this recording. If it is only you, keep it; else talk alone, once more."


class VoicesUnreadable(ValueError):
    """A file that holds no such line."""


@dataclass(frozen=True)
class VoiceLine:
    """A line between low and high voices.

    Attributes:
        weight: of each value of an utterance, (W,).
        offset: where the line is.
    """

    weight: np.ndarray
    offset: float

    @classmethod
    def fit(cls, heard: np.ndarray, is_high: np.ndarray) -> Self:
        """From utterances of training speakers, (N, W), and which of them are of high voices, (N,) bool."""
        from sklearn.linear_model import LogisticRegression  # slow to import, and for training only

        found = LogisticRegression(C=1e-3, max_iter=1_000).fit(heard, is_high)
        return cls(found.coef_[0], float(found.intercept_[0]))

    def are_two(self, heard: np.ndarray) -> bool:
        """Whether utterances of one recording, (M, W), lie on both sides, a quarter at least on each."""
        high = 1.0 / (1.0 + np.exp(-(heard @ self.weight + self.offset)))
        return bool(min((high > SURELY).mean(), (high < 1.0 - SURELY).mean()) >= LEAST_SHARE)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        save_file({"weight": self.weight.astype(np.float32), "offset": np.array([self.offset], np.float32)}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            VoicesUnreadable: absent, or something else.
        """
        try:
            tensors = load_file(path)
            weight, (offset,) = tensors["weight"].astype(np.float64), tensors["offset"].astype(np.float64).tolist()
            if weight.ndim != 1 or not np.isfinite([*weight, offset]).all():
                raise ValueError("not a line")
        except (OSError, KeyError, TypeError, ValueError, SafetensorError):
            raise VoicesUnreadable(f"'{path.name}' tells no voices apart; install the model again") from None
        return cls(weight, offset)
