"""From a corpus to batches of tensors."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ser_core.data.audio import level_and_trim, read_recording
from ser_core.data.groups import groups_of
from ser_core.data.manifest import Corpus
from ser_core.labels import ATTRIBUTES, GENDERS

MAX_KEPT = 20_000
"""Waveforms of a corpus that are kept in memory: some 4 GiB of utterances of 3 s."""


@dataclass(frozen=True)
class Batch:
    """What a method is given.

    Attributes:
        features: pooled layers of the targets, (B, L, 2 D); None where waveforms are heard.
        waveforms: the targets' (N_b,) float32, 16 kHz, and after them each enrolled utterance's once; empty where features
            are heard.
        emotion: class of each target, (B,) long; -1 where there is none to learn from.
        classes: which classes the target's corpus has, (B, C) bool.
        enrolment: pooled layers of the speaker's enrolled utterances, (B, K, L, 2 D).
        present: which of the K there are, (B, K) bool.
        enrolment_emotion: their classes, (B, K) long.
        enrolled: where in `waveforms` each of them stands, (B, K) long, 0 where there is none.
        text: layers of the words that go with each target, (B, L', D'); None where no method reads.
        has_text: which targets have words, (B,) bool.
        sentences: the words themselves, where an encoder of text learns.
        attributes: arousal, valence and dominance on the corpus' scale, (B, 3), nan where not rated.
        gender: a place in GENDERS, (B,) long, -1 where it is not known.
        speaker: who speaks, as a number within the corpus, (B,) long.
        group: of the speaker, by the protected attribute, (B,) long, -1 where it is not known.
        source: which corpus it is of, where several are joined, (B,) long.
        row: where each target stands in the corpus, (B,) long.
    """

    features: Tensor | None
    waveforms: tuple[Tensor, ...]
    emotion: Tensor
    classes: Tensor
    enrolment: Tensor | None
    present: Tensor
    enrolment_emotion: Tensor
    enrolled: Tensor | None = None
    text: Tensor | None = None
    has_text: Tensor | None = None
    sentences: tuple[str, ...] = ()
    attributes: Tensor | None = None
    gender: Tensor | None = None
    speaker: Tensor | None = None
    group: Tensor | None = None
    source: Tensor | None = None
    row: Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same with every tensor and waveform on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved, waveforms=tuple(waveform.to(device) for waveform in self.waveforms))

    def heard(self, features: Tensor) -> "Batch":
        """With the pooled layers of its waveforms, (len(waveforms), L, 2 D), in their place."""
        enrolment = features[self.enrolled] * self.present[..., None, None]
        return replace(self, features=features[: len(self)], waveforms=(), enrolment=enrolment)

    def read(self, text: Tensor) -> "Batch":
        """With the layers of its sentences, (B, L', D'), in their place."""
        return replace(self, text=text, sentences=())

    def without_text(self) -> "Batch":
        """As if nobody knew the words."""
        return replace(self, has_text=torch.zeros_like(self.has_text))

    def __len__(self) -> int:
        return len(self.emotion)


@dataclass(frozen=True)
class Texts:
    """The words that go with the utterances of a corpus.

    Attributes:
        sentences: all of them (M).
        features: their layers as an encoder of text reads them, (M, L', D'), in half precision.
        own: which of them each utterance says, (N,); -1 where it is not known.
        row: which of them goes with each utterance that is predicted, (N,); -1 for none.
        drawn: those of some training utterances, drawn anew; None where `row` holds in training as well.
        trains: which of the sentences training may draw, (M',); those that the training utterances say if None.
    """

    sentences: tuple[str, ...]
    features: Tensor
    own: np.ndarray
    row: np.ndarray
    drawn: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None
    trains: np.ndarray | None = None

    def learned_from(self, rows: np.ndarray) -> np.ndarray:
        """The sentences that training utterances (B,) may be given."""
        return np.unique(self.row[rows][self.row[rows] >= 0]) if self.trains is None else self.trains

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which sentence goes with each training utterance this time, (B,); -1 for none."""
        return self.drawn(rows, rng) if self.drawn else self.row[rows]


@dataclass(frozen=True)
class Utterances:
    """A corpus with what an encoder heard in it, addressed by row number.

    Attributes:
        corpus: its table gives row i of every array here.
        emotions: C classes a method tells apart; the corpus may have fewer.
        features: pooled layers, (N, L, 2 D); None where only waveforms are heard.
        texts: the words; None where no method reads.
        protected: the attribute that groups speakers, a column of the manifest.
        speaker_embedding: how a speaker encoder hears each, (N, E); None where no method asks for it.
    """

    corpus: Corpus
    emotions: tuple[str, ...]
    features: Tensor | None = None
    texts: Texts | None = None
    protected: str = "gender"
    speaker_embedding: Tensor | None = None

    @cached_property
    def emotion(self) -> np.ndarray:
        """Class of each row, (N,) int, -1 for none of `emotions`."""
        places = {emotion: place for place, emotion in enumerate(self.emotions)}
        return self.corpus.table["emotion"].map(lambda word: places.get(word, -1)).to_numpy(dtype=np.int64)

    @cached_property
    def classes(self) -> np.ndarray:
        """Which classes the row's corpus has, (N, C) bool. A corpus that lacks a class does not teach its absence.

        A corpus without any labels may have all of them.
        """
        of_corpus = self.corpus.table.groupby("corpus").indices
        has = {name: np.isin(np.arange(len(self.emotions)), self.emotion[rows]) for name, rows in of_corpus.items()}
        return np.array([has[name] | ~has[name].any() for name in self.corpus.table["corpus"]], dtype=bool)

    @cached_property
    def attributes(self) -> np.ndarray:
        """Arousal, valence and dominance of each row, (N, 3) float32, nan where not rated."""
        table = self.corpus.table[list(ATTRIBUTES)]
        return table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)

    @cached_property
    def gender(self) -> np.ndarray:
        """Place in GENDERS of each row's speaker, (N,) int; -1 where it is not known."""
        known = {gender: place for place, gender in enumerate(GENDERS) if gender != "unknown"}
        return self.corpus.table["gender"].map(lambda word: known.get(word, -1)).to_numpy(dtype=np.int64)

    @cached_property
    def speaker(self) -> np.ndarray:
        """Number of each row's speaker, in order of name, (N,) int."""
        return np.unique(self.corpus.table["speaker"].to_numpy(dtype=str), return_inverse=True)[1]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """What the groups of the protected attribute are called, in order of name."""
        return tuple(sorted(groups_of(self.corpus.table, self.protected).dropna().unique()))

    @cached_property
    def group(self) -> np.ndarray:
        """Place in `groups` of each row's speaker, (N,) int; -1 where it is not known."""
        places = {name: place for place, name in enumerate(self.groups)}
        group = groups_of(self.corpus.table, self.protected)
        return group.map(lambda name: places.get(name, -1)).to_numpy(dtype=np.int64)

    @cached_property
    def source(self) -> np.ndarray:
        """Number of each row's corpus, in order of name, (N,) int."""
        return np.unique(self.corpus.table["corpus"].to_numpy(dtype=str), return_inverse=True)[1]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Place of each utterance in the table, by its id."""
        return {utterance_id: row for row, utterance_id in enumerate(self.corpus.table.index)}

    @cached_property
    def _waveforms(self) -> dict[int, Tensor]:
        return {}

    def waveform(self, row: int) -> Tensor:
        """(N,) float32, levelled and trimmed; kept for the next time, as long as there is room."""
        kept = self._waveforms.get(row)
        if kept is not None:
            return kept
        recording = read_recording(self.corpus.table["path"].iloc[row])
        waveform = torch.from_numpy(level_and_trim(recording.waveform))
        if len(self._waveforms) < MAX_KEPT:
            self._waveforms[row] = waveform
        return waveform

    def enrolment_rows(self, choice: pd.DataFrame) -> dict[str, np.ndarray]:
        """Row numbers of each speaker's enrolled utterances."""
        rows = choice["utterance_id"].map(self.row_of)
        return {speaker: part.to_numpy(dtype=np.int64) for speaker, part in rows.groupby(choice["speaker"])}

    def batch(
        self,
        rows: np.ndarray,
        enrolled: list[np.ndarray],
        n_slots: int = 1,
        waveforms: bool = False,
        said: np.ndarray | None = None,
    ) -> Batch:
        """Gather a batch.

        Args:
            rows: the targets, (B,).
            enrolled: for each target the rows of its enrolment, of any number.
            n_slots: K is at least this.
            waveforms: carry waveforms, also where features are at hand.
            said: the sentence of each target, (B,), as `texts.draw` gives it; as `texts.row` says if None.
        """
        n_slots = max(n_slots, max((len(slots) for slots in enrolled), default=0))
        slots = np.full((len(rows), n_slots), -1, dtype=np.int64)
        for place, chosen in enumerate(enrolled):
            slots[place, : len(chosen)] = chosen
        present = torch.from_numpy(slots >= 0)
        has_features = self.features is not None and not waveforms
        others, places = np.unique(slots[slots >= 0], return_inverse=True)
        stands = np.zeros_like(slots)
        stands[slots >= 0] = len(rows) + places
        return Batch(
            features=self.features[torch.from_numpy(rows)] if has_features else None,
            waveforms=() if has_features else tuple(self.waveform(int(row)) for row in (*rows, *others)),
            emotion=torch.from_numpy(self.emotion[rows]),
            classes=torch.from_numpy(self.classes[rows]),
            enrolment=self.features[torch.from_numpy(slots.clip(min=0))] * present[..., None, None]
            if has_features
            else None,
            present=present,
            enrolment_emotion=torch.from_numpy(np.where(slots >= 0, self.emotion[slots], -1)),
            enrolled=torch.from_numpy(stands),
            attributes=torch.from_numpy(self.attributes[rows]),
            gender=torch.from_numpy(self.gender[rows]),
            speaker=torch.from_numpy(self.speaker[rows]),
            group=torch.from_numpy(self.group[rows]),
            source=torch.from_numpy(self.source[rows]),
            row=torch.from_numpy(rows),
            **({} if self.texts is None else self._words(rows, said)),
        )

    def _words(self, rows: np.ndarray, said: np.ndarray | None) -> dict:
        said = self.texts.row[rows] if said is None else said
        there, features = torch.from_numpy(said >= 0), self.texts.features
        read = features[torch.from_numpy(said[said >= 0])].float()
        return {
            "text": torch.zeros(len(said), *features.shape[1:]).index_put((there,), read),
            "has_text": there,
            "sentences": tuple(self.texts.sentences[place] if place >= 0 else "" for place in said),
        }
