"""Personalised label distribution calibration (PLDC): what a speaker is told is put right without any label of theirs.

Source: arXiv 2309.02418, section 4.2: ỹ = (y − μ) / σ · σ̄ + μ̄, with μ and σ of what was predicted of the speaker, and μ̄ and σ̄
the mean over the k training speakers nearest by cosine of their labels' mean and standard deviation; only σ is corrected by
default, for μ often hurts there (section 5.3). For classes the analogue is a prior correction, p'(c) ∝ p(c) · π̄(c) / π̂(c)
(Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.4), with π̂ the mean of what was predicted.

Ours: with few utterances both sides are drawn towards what is predicted of training speakers, with the weight of `shrinkage`
utterances, so that nobody's answer changes before there is reason to; a speaker's statistics grow by one utterance at a time.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ser_core.evaluation.shift import nearest, similarity
from ser_core.recipe import check_range, settings_from

_LEAST = 1e-6
_OF_SPEAKERS = ("vectors_", "mean_", "spread_")
_PREDICTED = ("predicted_mean_", "predicted_spread_")
_LEARNED = (*_OF_SPEAKERS, *_PREDICTED)


class CalibrationError(ValueError):
    """Nothing to calibrate with; the message says what was expected."""


@dataclass(frozen=True)
class SpeakerStatistics:
    """What is known of a speaker without any label: how they sound, and what was predicted of them.

    Attributes:
        n: utterances.
        vector: mean of their embeddings, (D,).
        mean: of what was predicted, (V,): attributes, or probabilities of classes.
        squares: sum of squared differences from that mean, (V,).
    """

    n: int
    vector: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray, predicted: np.ndarray) -> "SpeakerStatistics":
        """From utterances, (n, D) and (n, V); n may be 0."""
        nothing = cls(0, np.zeros(embeddings.shape[1]), np.zeros(predicted.shape[1]), np.zeros(predicted.shape[1]))
        known = nothing
        for embedding, values in zip(embeddings, predicted, strict=True):
            known = known.add(embedding, values)
        return known

    def add(self, embedding: np.ndarray, predicted: np.ndarray) -> "SpeakerStatistics":
        """With one utterance more, (D,) and (V,) (Welford 1962, Technometrics 4(3))."""
        n, off = self.n + 1, predicted - self.mean
        mean = self.mean + off / n
        vector = self.vector + (embedding - self.vector) / n
        return SpeakerStatistics(n, vector, mean, self.squares + off * (predicted - mean))

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over utterances, (V,); 0 for a single one."""
        return np.sqrt(self.squares / max(self.n, 1))


@dataclass(frozen=True)
class Effect:
    """What a calibration makes of a speaker's statistics.

    Attributes:
        similar: numbers of the training speakers it goes by, most similar first; they name nobody.
        similarities: their cosines, −1 to 1.
        mean, spread: of what was predicted, (V,) and (V,).
        wanted_mean, wanted_spread: what they are brought to; the same where they are left alone.
    """

    similar: tuple[int, ...]
    similarities: tuple[float, ...]
    mean: np.ndarray
    spread: np.ndarray
    wanted_mean: np.ndarray
    wanted_spread: np.ndarray


@dataclass(frozen=True)
class CalibrationSettings:
    """How a speaker is put right.

    Attributes:
        n_similar: k, training speakers that are averaged; all where there are fewer.
        shrinkage: utterances that the training speakers' own predictions count for.
        shift: correct μ as well.
        scale: correct σ.
    """

    n_similar: int = 5
    shrinkage: float = 10.0
    shift: bool = False
    scale: bool = True

    def __post_init__(self) -> None:
        check_range(self, n_similar=(1, None), shrinkage=(0, None))


class _OfTrainingSpeakers:
    """Vectors, labels and predictions of training speakers, who are numbers here."""

    def __init__(self, settings: CalibrationSettings | None = None):
        self.settings = settings or CalibrationSettings()

    def _fit(self, embeddings: np.ndarray, speaker: np.ndarray, labels: np.ndarray, predicted: np.ndarray) -> None:
        speaker = np.asarray(speaker)
        if not (np.isfinite(labels).all() and np.isfinite(predicted).all()):
            raise CalibrationError("some labels or predictions are not numbers; leave out utterances that nobody rated")
        if not len(embeddings) == len(speaker) == len(labels) == len(predicted) or len(embeddings) == 0:
            raise CalibrationError(
                f"{len(embeddings)} embeddings, {len(speaker)} speakers, {len(labels)} labels and {len(predicted)} predictions "
                f"were given; as many of each were expected, and at least one"
            )
        of = [speaker == one for one in np.unique(speaker)]
        self.vectors_ = np.stack([embeddings[rows].mean(axis=0) for rows in of])
        self.mean_ = np.stack([labels[rows].mean(axis=0) for rows in of])
        self.spread_ = np.stack([labels[rows].std(axis=0) for rows in of])
        self.predicted_mean_ = np.mean([predicted[rows].mean(axis=0) for rows in of], axis=0)
        self.predicted_spread_ = np.mean([predicted[rows].std(axis=0) for rows in of], axis=0)

    def save(self, path: Path) -> None:
        """Write what was learned as safetensors, in half precision.

        Speakers are rows without names, in an order drawn anew each time: a list of their names elsewhere says not who is who.
        """
        order = np.random.default_rng().permutation(len(self.vectors_))
        of_speakers = {name: getattr(self, name)[order] for name in _OF_SPEAKERS}
        tensors = {
            name: np.ascontiguousarray(of_speakers.get(name, getattr(self, name)), dtype=np.float16)
            for name in _LEARNED
        }
        save_file(tensors, path, {"settings": json.dumps(asdict(self.settings))})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CalibrationError: absent, or something else.
        """
        try:
            with safe_open(path, "numpy") as file:
                settings = json.loads(file.metadata()["settings"])
                one = cls(settings_from(CalibrationSettings, settings, path.name))
                for name in _LEARNED:
                    setattr(one, name, file.get_tensor(name).astype(np.float64))
            one._check_learned()
        except (OSError, KeyError, TypeError, ValueError, RecursionError, SafetensorError):
            raise CalibrationError(f"'{path.name}' holds no calibration; install the model again") from None
        return one

    def _check_learned(self) -> None:
        """Raises ValueError unless what was read fits together."""
        (n, _), (_, n_values) = self.vectors_.shape, self.mean_.shape
        expected = {"mean_": (n, n_values), "spread_": (n, n_values), **dict.fromkeys(_PREDICTED, (n_values,))}
        if n == 0 or n_values == 0 or any(getattr(self, name).shape != shape for name, shape in expected.items()):
            raise ValueError("sizes that do not fit")
        if not all(np.isfinite(getattr(self, name)).all() for name in _LEARNED):
            raise ValueError("values that are not numbers")

    def _similar(self, statistics: SpeakerStatistics) -> tuple[np.ndarray, np.ndarray]:
        """Places of the k nearest training speakers, and their cosines."""
        places = nearest(statistics.vector[None], self.vectors_, self.settings.n_similar)[0][0]
        return places, similarity(statistics.vector[None], self.vectors_[places])[0]

    def _shrunk(self, statistics: SpeakerStatistics, own: np.ndarray, of_training: np.ndarray) -> np.ndarray:
        n, n_0 = statistics.n, self.settings.shrinkage
        return (n * own + n_0 * of_training) / max(n + n_0, _LEAST)


class Calibration(_OfTrainingSpeakers):
    """Of attributes: V = A of them, on the scale they are predicted on."""

    def fit(
        self, embeddings: np.ndarray, speaker: np.ndarray, rated: np.ndarray, predicted: np.ndarray
    ) -> "Calibration":
        """Learn from training speakers.

        Args:
            embeddings: of their utterances by the fine-tuned model, (N, D).
            speaker: who speaks, (N,).
            rated: their labels, (N, V).
            predicted: what the model says of them, (N, V).

        Raises:
            CalibrationError: lengths that differ, or nothing.
        """
        self._fit(embeddings, speaker, rated, predicted)
        return self

    def effect(self, statistics: SpeakerStatistics) -> Effect:
        """What is made of a speaker's μ and σ."""
        places, cosines = self._similar(statistics)
        mean, spread = statistics.mean, statistics.spread
        toward = self._shrunk(statistics, self.mean_[places].mean(axis=0) - mean, np.zeros_like(mean))
        return Effect(
            tuple(int(place) + 1 for place in places), tuple(map(float, cosines)), mean, spread,
            mean + toward if self.settings.shift else mean, spread * self._ratio(statistics, places),
        )  # fmt: skip

    def transform(self, predicted: np.ndarray, statistics: SpeakerStatistics) -> np.ndarray:
        """Predictions of the speaker, (N, V), put right; as they are where nothing is known of the speaker."""
        if statistics.n == 0:
            return predicted
        ratio = self._ratio(statistics, self._similar(statistics)[0])
        return (predicted - statistics.mean) * ratio + self.effect(statistics).wanted_mean

    def _ratio(self, statistics: SpeakerStatistics, places: np.ndarray) -> np.ndarray:
        """σ̄ / σ, both drawn towards the spread of what is predicted of training speakers."""
        if not self.settings.scale:
            return np.ones_like(statistics.mean)
        own = self._shrunk(statistics, statistics.spread, self.predicted_spread_)
        wanted = self._shrunk(statistics, self.spread_[places].mean(axis=0), self.predicted_spread_)
        return wanted / np.maximum(own, _LEAST)


class PriorCorrection(_OfTrainingSpeakers):
    """Of classes: V = C probabilities that sum to one."""

    def fit(
        self,
        embeddings: np.ndarray,
        speaker: np.ndarray,
        emotion: np.ndarray,
        predicted: np.ndarray,
        classes: np.ndarray | None = None,
    ) -> "PriorCorrection":
        """Learn from training speakers.

        Args:
            embeddings: of their utterances by the fine-tuned model, (N, D).
            speaker: who speaks, (N,).
            emotion: their classes, (N,) int, 0 to C − 1.
            predicted: probabilities, (N, C).
            classes: which classes the speaker's corpus has, (N, C) bool; all if None. A corpus that lacks a class does not
                teach its absence: there a speaker counts as the mean prediction does.

        Raises:
            CalibrationError: lengths that differ, or nothing.
        """
        n_classes = predicted.shape[1]
        self._fit(embeddings, speaker, np.eye(n_classes)[np.asarray(emotion)], predicted)
        n = np.unique(np.asarray(speaker), return_counts=True)[1][:, None]
        self.mean_ = (n * self.mean_ + 1.0) / (n + n_classes)  # no class is impossible because one speaker lacks it
        if classes is not None:
            has = np.stack([classes[np.asarray(speaker) == one][0] for one in np.unique(speaker)])
            left = 1.0 - (self.predicted_mean_ * ~has).sum(axis=1, keepdims=True)  # for the classes there are
            own = np.where(has, self.mean_, 0.0)
            self.mean_ = np.where(has, left * own / own.sum(axis=1, keepdims=True), self.predicted_mean_)
        return self

    def effect(self, statistics: SpeakerStatistics) -> Effect:
        """What is made of the mean of what was predicted."""
        places, cosines = self._similar(statistics)
        right = statistics.mean * self._ratio(statistics, places)
        spread = statistics.spread
        similar = tuple(int(place) + 1 for place in places)
        return Effect(similar, tuple(map(float, cosines)), statistics.mean, spread, right / right.sum(), spread)

    def transform(self, predicted: np.ndarray, statistics: SpeakerStatistics) -> np.ndarray:
        """Probabilities of the speaker, (N, C), put right; as they are where nothing is known of the speaker."""
        if statistics.n == 0:
            return predicted
        right = predicted * self._ratio(statistics, self._similar(statistics)[0])
        return right / right.sum(axis=1, keepdims=True)

    def _ratio(self, statistics: SpeakerStatistics, places: np.ndarray) -> np.ndarray:
        """π̄ / π̂, both drawn towards what is predicted of training speakers."""
        own = self._shrunk(statistics, statistics.mean, self.predicted_mean_)
        return self._shrunk(statistics, self.mean_[places].mean(axis=0), self.predicted_mean_) / np.maximum(own, _LEAST)
