"""Voice and words together: emotion, or arousal, valence and dominance, and the gender beside.

Source: "Developing a High-performance Framework for Speech Emotion Recognition in Naturalistic Conditions Challenge for
Emotional Attribute Prediction", arXiv 2506.10930: the pooled speech layers and the embedding of the transcript are
concatenated; a 2-layer network an attribute (loss 1 − CCC) and one for gender (cross-entropy, weight 0.1); majority classes
undersampled; *other* and *no agreement* stay in training; a speaker embedding and an AAM-softmax on speakers are offered
(they hurt in the paper). Its three pointwise convolutions on the weighted layers are `encoder.tune = "convolutions"`.

Ours: a modality that is absent is a learned vector, and training leaves each of them out now and then; emotions may be
learned beside the attributes; any of our methods may listen on the speech side, so that the answer is personalised as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ser_core.data.batches import Batch, Utterances
from ser_core.labels import ATTRIBUTES, GENDERS
from ser_core.methods.base import FeatureShape, Method, Output, Stage, TextShape, check_heads, frequencies, rated
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.methods.enrolment_attention import EnrolmentAttention
from ser_core.methods.speaker_reference import SpeakerReference
from ser_core.nn.dropout import Dropout
from ser_core.nn.front import Trunk
from ser_core.nn.heads import MlpHead
from ser_core.nn.losses import ccc_loss, emotion_loss, inverse_frequency
from ser_core.nn.margin import AamSoftmax
from ser_core.recipe import BadRecipe, check_choice, check_range

LISTENERS: dict[str, type[Baseline]] = {
    "baseline": Baseline,
    "speaker_reference": SpeakerReference,
    "enrolment_attention": EnrolmentAttention,
}
"""What may stand on the speech side."""

MODALITIES = ("both", "speech", "text")
_KNOWN_GENDERS = tuple(gender for gender in GENDERS if gender != "unknown")
_BALANCING = ("undersampled", "balanced", "balanced_episodes")


@dataclass(frozen=True)
class MultimodalSettings(BaselineSettings):
    """The network and its losses.

    Attributes:
        modalities: 'both', or 'speech' or 'text' alone, to compare with.
        listener: a key of LISTENERS.
        heads: what is predicted: 'emotion', 'arousal', 'valence', 'dominance'; one alone gives a system of its own.
        speech_dropout, text_dropout: how often training leaves a modality out.
        gender_weight: of the cross-entropy on gender; 0 leaves it out.
        speaker_weight: of the AAM-softmax on the training speakers; 0 leaves it out.
        speaker_embedding: concatenate what the encoder's lowest layer says of the voice. The paper takes a trained speaker
            encoder; this is a stand-in for one.
    """

    batches: str = "undersampled"
    modalities: str = "both"
    listener: str = "baseline"
    heads: tuple[str, ...] = ("emotion",)
    speech_dropout: float = 0.1
    text_dropout: float = 0.3
    gender_weight: float = 0.1
    speaker_weight: float = 0.0
    speaker_embedding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("modalities", self.modalities, MODALITIES)
        check_choice("listener", self.listener, LISTENERS)
        check_heads(self.heads)
        if self.modalities == "text" and self.speaker_embedding:
            raise BadRecipe(
                "'speaker_embedding' hears the voice, which modalities 'text' leaves out; choose one of them"
            )
        check_range(
            self, speech_dropout=(0, 0.9), text_dropout=(0, 0.9), gender_weight=(0, None), speaker_weight=(0, None)
        )

    def listening(self) -> BaselineSettings:
        """Settings of the method on the speech side."""
        own = ("embedding", "hidden", "input_dropout", "dropout", "smoothing")
        return LISTENERS[self.listener].Settings(**{name: getattr(self, name) for name in own})


class Multimodal(Method):
    """Voice (B, D) and words (B, D) side by side → heads."""

    Settings = MultimodalSettings
    reads = True
    learns_others = True
    training_only = ("speakers.", "gender.")

    def __init__(
        self,
        settings: MultimodalSettings,
        shape: FeatureShape,
        emotions: tuple[str, ...],
        text: TextShape | None = None,
    ):
        super().__init__(settings, shape, emotions)
        width, dropout = settings.embedding, settings.dropout
        self.tells_emotions = "emotion" in settings.heads
        self.hears_speech, reads = settings.modalities != "text", settings.modalities != "speech"
        if reads and text is None:
            raise BadRecipe("words are to be read, but there is no encoder of text ([text] in the recipe)")
        self.text_shape = text if reads else None
        if self.hears_speech:
            self.listener = LISTENERS[settings.listener](settings.listening(), shape, emotions)
            self.listener.head = _Silent(len(emotions))
            self.uses_enrolment = self.listener.uses_enrolment
            self.no_speech = nn.Parameter(torch.zeros(width))
        if reads:
            self.register_buffer("text_mean_", torch.zeros(len(text.layers), text.n_values))
            self.register_buffer("text_scale_", torch.ones(len(text.layers), text.n_values))
            self.reader = Trunk(len(text.layers) * text.n_values, width, settings.input_dropout)
            self.no_text = nn.Parameter(torch.zeros(width))
        if settings.speaker_embedding:
            self.register_buffer("voice_mean_", torch.zeros(shape.n_values))
            self.register_buffer("voice_scale_", torch.ones(shape.n_values))
            self.voice = Trunk(shape.n_values, width, settings.input_dropout)
        joined = width * (self.hears_speech + reads + settings.speaker_embedding)
        self.heads = nn.ModuleDict({
            name: MlpHead(joined, settings.hidden, len(emotions) if name == "emotion" else 1, dropout)
            for name in settings.heads
        })  # fmt: skip
        self.gender = MlpHead(joined, settings.hidden, len(_KNOWN_GENDERS), dropout) if settings.gender_weight else None
        self.speakers: AamSoftmax | None = None
        self.joined = joined
        self.leave_out = nn.ModuleDict(
            {"speech": Dropout(settings.speech_dropout), "text": Dropout(settings.text_dropout)}
        )
        self.register_buffer("class_weight_", torch.ones(len(emotions)))
        self.register_buffer("attribute_mean_", torch.zeros(3))
        self.register_buffer("attribute_scale_", torch.ones(3))

    @property
    def rates(self) -> tuple[str, ...]:
        """The attributes it predicts."""
        return tuple(name for name in ATTRIBUTES if name in self.heads)

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Multimodal":
        of_class = rows[utterances.emotion[rows] >= 0]
        if self.hears_speech:
            self.listener.fit_statistics(utterances, of_class)
        if self.text_shape is not None:
            said = torch.from_numpy(utterances.texts.learned_from(rows))
            if len(said) < 2:
                raise BadRecipe(
                    f"words are to be read, but the utterances say {len(said)} different sentences; take a corpus with "
                    f"text, or pair it with sentences (data.sentences)"
                )
            read = utterances.texts.features[said][:, list(self.text_shape.layers)].float()
            self.text_mean_, self.text_scale_ = read.mean(dim=0), _scale(read)
        if self.settings.speaker_embedding:
            lowest = utterances.features[torch.from_numpy(rows)][:, 0]
            self.voice_mean_, self.voice_scale_ = lowest.mean(dim=0), _scale(lowest)
        if self.settings.speaker_weight:
            self.speakers = AamSoftmax(self.joined, int(utterances.speaker.max()) + 1).to(self.class_weight_.device)
        if self.settings.batches not in _BALANCING:  # else rare classes would count twice
            self.class_weight_ = inverse_frequency(frequencies(utterances, of_class))
        self.attribute_mean_, self.attribute_scale_ = rated(utterances, rows, self.rates)
        return self

    def stages(self) -> tuple[Stage, ...]:
        weight = self.class_weight_.cpu().numpy()
        counts = {
            "emotion": lambda utterances, rows: weight[utterances.emotion[rows]] * (utterances.emotion[rows] >= 0),
            "gender": lambda utterances, rows: utterances.gender[rows] >= 0,
        }
        monitor = "uar" if "emotion" in self.heads else "ccc"
        return (Stage("finetune", self.loss, self.settings.batches, monitor, counts=counts, whole=bool(self.rates)),)

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Of every head; a row counts for those whose truth it has."""
        output = self(batch)
        terms = {}
        if "emotion" in self.heads:
            known = batch.emotion >= 0
            terms["emotion"] = output.emotion_logits.sum() * 0.0
            if known.any():
                terms["emotion"] = emotion_loss(
                    output.emotion_logits[known], batch.emotion[known], batch.classes[known], self.class_weight_,
                    self.settings.smoothing,
                )  # fmt: skip
        for name in self.rates:
            place = ATTRIBUTES.index(name)
            terms[name] = ccc_loss(output.attributes[:, place], batch.attributes[:, place])
        if self.gender is not None:
            known, logits = batch.gender >= 0, self.gender(output.embedding)
            right = (
                nn.functional.cross_entropy(logits[known], batch.gender[known]) if known.any() else logits.sum() * 0.0
            )
            terms["gender"] = self.settings.gender_weight * right
        if self.speakers is not None:
            terms["speaker"] = self.settings.speaker_weight * self.speakers(output.embedding, batch.speaker)
        return terms

    def forward(self, batch: Batch) -> Output:
        parts, heard = [], None
        if self.hears_speech:
            heard = self.listener(batch)
            kept = self._kept(torch.ones_like(heard.embedding[:, :1]), "speech")
            heard = replace(heard, emotion_logits=heard.emotion_logits * kept)
            parts.append(torch.where(kept, heard.embedding, self.no_speech))
        if self.text_shape is not None:
            parts.append(self._words(batch))
        if self.settings.speaker_embedding:
            parts.append(self.voice((batch.features[:, 0] - self.voice_mean_) / self.voice_scale_))
        return self.answer(torch.cat(parts, dim=-1), heard)

    def answer(self, joined: Tensor, heard: Output | None = None) -> Output:
        """From both modalities side by side, (B, 2 D), to what the heads say."""
        untold = joined.new_full((len(joined), len(self.emotions)), torch.nan)
        logits = self.heads["emotion"](joined) if "emotion" in self.heads else untold
        if heard is not None:
            logits = logits + heard.emotion_logits
        attributes = None
        if self.rates:
            unknown = joined.new_full((len(joined),), torch.nan)
            said = [self.heads[name](joined)[:, 0] if name in self.heads else unknown for name in ATTRIBUTES]
            attributes = torch.stack(said, dim=1) * self.attribute_scale_ + self.attribute_mean_
        attention, shift = (heard.attention, heard.shift) if heard else (None, None)
        return Output(joined, logits, attention, shift, attributes)

    def of_words_alone(self, batch: Batch) -> Output:
        """The answer without the voice; where its own embedding is concatenated, that of the mean voice."""
        parts = [self.no_speech.expand(len(batch), -1)] if self.hears_speech else []
        parts.append(self._words(batch))
        if self.settings.speaker_embedding:
            parts.append(self.voice(batch.text.new_zeros(len(batch), self.shape.n_values)))
        return self.answer(torch.cat(parts, dim=-1))

    def _words(self, batch: Batch) -> Tensor:
        read = (batch.text[:, list(self.text_shape.layers)] - self.text_mean_) / self.text_scale_
        embedding = self.reader(read.flatten(1))
        return torch.where(self._kept(batch.has_text[:, None].to(embedding), "text"), embedding, self.no_text)

    def _kept(self, there: Tensor, name: str) -> Tensor:
        """Of which rows a modality that is there (B, 1) is heard, (B, 1) bool: training leaves some out."""
        return self.leave_out[name](torch.ones_like(there)).bool() & there.bool()


class _Silent(nn.Module):
    """In place of a listener's head: what is left of its logits (B, C) is what the enrolled utterances vote for."""

    def __init__(self, n_emotions: int):
        super().__init__()
        self.n_emotions = n_emotions

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding.new_zeros(len(embedding), self.n_emotions)


def _scale(values: Tensor) -> Tensor:
    return values.std(dim=0).clamp(min=1e-4)
