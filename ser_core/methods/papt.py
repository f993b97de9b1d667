"""Personalized adaptive pre-training: the encoder goes on learning without labels, and learns a vector a speaker with it.

Source: arXiv 2309.02418, section 4.1: f^p = f + S(s), a learned vector of the speaker added to every frame that the encoder
gives; loss −Σ log P(l_t | f^p_t) over masked frames, l_t a pseudo-label; then fine-tuning on the mean-pooled f^p, one linear
layer, loss 1 − CCC. Masks, projection and temperature are HuBERT's (arXiv 2106.07447, sections II.B and II.C). Section 5.4:
the vector added to the encoder's output (last), to the Transformer's input (first), put before it as a frame (prefix), or
none, which is task-adaptive pre-training (TAPT), the control. Section 5.1, baseline B2: data weighting, which for us is
weights on training speakers who resemble the test speakers (Sridhar and Busso, as cited there).

Ours, where the paper is silent or its scale is not ours: a batch's loss is the mean over utterances of the mean over their
masked frames, so that it can be divided; pseudo-labels are k-means clusters of standardised frames of the encoder as it was
before (or of MFCC); 'first' and 'prefix' join before the positions are known; after pre-training the encoder rests unless
`finetune_encoder` is set, and a trunk stands in for its last layers, as in every method here. A speaker whom pre-training has
not heard gets the mean of the nearest training speakers' vectors, weighed by cosine similarity of what the adapted encoder
pools of all their speech (what is recognised later included), centred on the training speakers; no labels are used. AdamW with
the trainer's weight decay where the paper has Adam, and higher rates than its 1e-5, which suit corpora a hundred times as large.
A model that was saved knows no speakers, and hears without any vector, and without the frame of 'prefix'.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

from ser_core.data.audio import SAMPLE_RATE
from ser_core.data.batches import Batch, Utterances
from ser_core.encoders.base import SpeechEncoder, statistics
from ser_core.evaluation.shift import nearest_speakers
from ser_core.labels import ATTRIBUTES
from ser_core.methods.base import FeatureShape, Method, Output, Preparation, Stage, check_heads, frequencies, rated
from ser_core.nn.front import Front, Trunk
from ser_core.nn.losses import ccc_loss, emotion_loss, inverse_frequency
from ser_core.recipe import BadRecipe, check_choice, check_range

POSITIONS = ("last", "first", "prefix", "none")
CLUSTERED = ("layer", "mfcc")

_CODE = 256
_HOP = SAMPLE_RATE // 50
"""Samples a frame, of every encoder here."""

_N_FRAMES = 60_000
"""Frames that k-means learns from, at least: those of utterances drawn from all that may be heard."""


@dataclass(frozen=True)
class PaptSettings:
    """The pre-training, and what is learned after it.

    Attributes:
        position: where the speaker's vector joins: 'last', 'first', 'prefix', or 'none' for TAPT.
        pretrain_epochs: 0 leaves the pre-training out: vanilla fine-tuning.
        pretrain_batch_size: utterances of one step.
        pretrain_learning_rate: highest, of the speaker vectors and the prediction; the encoder's is encoder.learning_rate.
        clusters_of: what k-means clusters: frames of a 'layer' of the encoder as it was, or 'mfcc' (13 and two deltas).
        cluster_layer: which layer; −1 for the one in the middle.
        n_clusters: pseudo-labels.
        kmeans_iterations: passes at most over the frames.
        mask_share, mask_frames: how many frames begin a masked stretch, and how long it is (HuBERT: 0.08 and 10).
        crop_s: longest stretch of an utterance that is heard at once, at random; in seconds.
        temperature: of the cosine between a frame and a cluster's code (HuBERT: 0.1).
        unseen: vector of a speaker whom pre-training has not heard: 'similar' or 'zero'.
        n_similar: how many training speakers it is made of.
        finetune_encoder: the encoder learns in fine-tuning as well.
        heads: what is predicted: 'emotion', 'arousal', 'valence', 'dominance'.
        weighting: how much more a training speaker counts who is among the `n_similar` nearest to a test speaker; 0 counts
            all alike. It needs the test speakers' unlabelled speech.
        embedding, input_dropout: of the trunk.
    """

    position: str = "last"
    pretrain_epochs: int = 10
    pretrain_batch_size: int = 16
    pretrain_learning_rate: float = 1e-3
    clusters_of: str = "layer"
    cluster_layer: int = -1
    n_clusters: int = 100
    kmeans_iterations: int = 50
    mask_share: float = 0.08
    mask_frames: int = 10
    crop_s: float = 5.0
    temperature: float = 0.1
    unseen: str = "similar"
    n_similar: int = 3
    finetune_encoder: bool = False
    heads: tuple[str, ...] = ("emotion",)
    weighting: float = 0.0
    embedding: int = 256
    input_dropout: float = 0.3

    def __post_init__(self) -> None:
        check_choice("position", self.position, POSITIONS)
        check_choice("clusters_of", self.clusters_of, CLUSTERED)
        check_choice("unseen", self.unseen, ("similar", "zero"))
        check_heads(self.heads)
        check_range(
            self, pretrain_epochs=(0, None), pretrain_batch_size=(1, None), pretrain_learning_rate=(0, 1),
            cluster_layer=(-1, None), n_clusters=(2, None), kmeans_iterations=(1, None), mask_share=(0.001, 1),
            mask_frames=(1, None), crop_s=(0.1, None), temperature=(0.001, None), n_similar=(1, None), weighting=(0, None),
            embedding=(1, None), input_dropout=(0, 0.95),
        )  # fmt: skip


class Papt(Method):
    """Speaker vectors and masked prediction around an encoder that learns; then linear heads on what it gives."""

    Settings = PaptSettings
    learns_unlabelled = True
    training_only = ("vectors", "predicts.", "codes", "mask_frame")

    def __init__(self, settings: PaptSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        width, last = shape.n_values // 2, shape.n_layers - 1
        self.voiced = settings.position == "last" and settings.pretrain_epochs > 0
        if self.voiced and last not in shape.layers:
            raise BadRecipe(f"speaker vectors join the last layer, which is not heard: set encoder.layers=[{last}]")
        self.tells_emotions = "emotion" in settings.heads
        self.pretrains = settings.pretrain_epochs > 0
        self.is_transductive = settings.weighting > 0
        self.front = Front(shape.n_values, shape.layers, shape.pooling)
        self.trunk = Trunk(self.front.width, settings.embedding, settings.input_dropout)
        self.heads = nn.ModuleDict({
            name: nn.Linear(settings.embedding, len(emotions) if name == "emotion" else 1) for name in settings.heads
        })  # fmt: skip
        self.vectors: nn.Parameter | None = None
        if self.pretrains:
            self.mask_frame = nn.Parameter(torch.empty(width).uniform_())  # as HuBERT begins
            self.predicts = nn.Linear(width, _CODE)
            self.codes = nn.Parameter(torch.empty(settings.n_clusters, _CODE).uniform_())
        self.register_buffer("class_weight_", torch.ones(len(emotions)))
        self.register_buffer("attribute_mean_", torch.zeros(3))
        self.register_buffer("attribute_scale_", torch.ones(3))
        self._pseudo_labels: dict[int, Tensor] = {}
        self._heard_speakers: np.ndarray = np.empty(0, dtype=np.int64)
        self._row_weight: Tensor | None = None
        self.__dict__["_taken_over"] = None  # not a part: another network

    @property
    def note(self) -> str:
        """That vectors of people are not kept."""
        if self.vectors is None:
            return ""
        return (
            "The vectors of its speakers are not kept: what is saved answers everybody with none, while the numbers above "
            "are those with vectors."
        )

    @property
    def rates(self) -> tuple[str, ...]:
        """The attributes it predicts."""
        return tuple(name for name in ATTRIBUTES if name in self.heads)

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "Papt":
        self.front.fit(utterances, rows)
        of_class = rows[utterances.emotion[rows] >= 0]
        self.class_weight_ = inverse_frequency(frequencies(utterances, of_class))
        self.attribute_mean_, self.attribute_scale_ = rated(utterances, rows, self.rates)
        if self.pretrains and self.settings.position != "none":
            self.vectors = nn.Parameter(torch.zeros(int(utterances.speaker.max()) + 1, self.shape.n_values // 2))
        if self._taken_over is not None and self.vectors is not None:
            self.vectors.data.copy_(self._taken_over.vectors)
        return self

    def stages(self) -> tuple[Stage, ...]:
        def counted(utterances: Utterances, rows: np.ndarray) -> np.ndarray:
            of_row = 1.0 if self._row_weight is None else self._row_weight.numpy()[rows]
            return self.class_weight_.cpu().numpy()[utterances.emotion[rows]] * of_row

        finetune = Stage(
            "finetune", self.loss, counts={"emotion": counted}, whole=bool(self.rates), prepare=self.prepare_finetuning,
            monitor="uar" if self.tells_emotions else "ccc",
            encoder="pools" if self.settings.finetune_encoder else "rests",
        )  # fmt: skip
        return (self._pretraining(), finetune) if self.pretrains and self._taken_over is None else (finetune,)

    def continue_from(self, pretrained: "Papt") -> "Papt":
        """Skip the pre-training: take over what another one has learned in it, on the same corpus."""
        self.__dict__["_taken_over"] = pretrained
        return self

    def _pretraining(self) -> Stage:
        how = {
            "epochs": self.settings.pretrain_epochs, "batch_size": self.settings.pretrain_batch_size,
            "learning_rate": self.settings.pretrain_learning_rate, "warmup": 0.05, "schedule": "linear", "patience": 0,
        }  # fmt: skip
        return Stage(
            "pretrain", self.pretraining_loss, rows="unlabelled", encoder="inside", training=how, monitor="nothing",
            prepare=self.prepare_pretraining,
        )  # fmt: skip

    # the speaker's vector

    def voice(self, speaker: Tensor | None, n: int) -> Tensor | None:
        """Vectors of speakers by number, (B,) to (B, D); None where the method has none."""
        if self.vectors is None:
            return None
        return self.vectors.new_zeros(n, self.vectors.shape[1]) if speaker is None else self.vectors[speaker]

    def _contextual(self, encoder: SpeechEncoder, local: Tensor, mask: Tensor, voice: Tensor | None) -> Tensor:
        """All layers (B, L, T, D), the vectors (B, D) joined before the Transformer where they do."""
        if voice is None or self.settings.position == "last":
            return encoder.contextual(local, mask)
        if self.settings.position == "first":
            return encoder.contextual(local + voice[:, None] * mask[..., None], mask)
        longer = torch.cat([mask[:, :1], mask], dim=1)
        return encoder.contextual(torch.cat([voice[:, None], local], dim=1), longer)[:, :, 1:]

    def pooled(self, encoder: SpeechEncoder, waveforms: Sequence[Tensor], speaker: Tensor) -> Tensor:
        """B waveforms (N_b,) and the numbers of who speaks them, (B,), to (B, L, 2 D)."""
        local, mask = encoder.local(waveforms)
        return statistics(self._contextual(encoder, local, mask, self.voice(speaker, len(mask))).float(), mask)

    # pre-training

    def prepare_pretraining(self, given: Preparation) -> Utterances:
        """Pseudo-labels of every utterance that may be heard, by the encoder as it is now."""
        if given.encoder is None:
            raise BadRecipe("pre-training needs an encoder that learns: set encoder.tune to all, last or lora")
        from sklearn.cluster import MiniBatchKMeans  # slow to import, and only training needs it

        utterances, rng = given.utterances, np.random.default_rng(0)
        frames: dict[int, np.ndarray] = {}

        def heard(row: int) -> np.ndarray:
            given.between()
            return frames[row] if row in frames else self._clustered(given.encoder, utterances.waveform(row))

        for row in rng.permutation(given.unlabelled).tolist():
            frames[row] = heard(row)
            if sum(map(len, frames.values())) >= _N_FRAMES:
                break
        some = np.concatenate(list(frames.values()))
        mean, scale = some.mean(axis=0), np.maximum(some.std(axis=0), 1e-4)
        some = (some - mean) / scale
        n_clusters = self.settings.n_clusters
        if len(some) < n_clusters:
            raise BadRecipe(
                f"{len(some)} frames cannot be put into {n_clusters} clusters; set settings.n_clusters lower"
            )
        found = MiniBatchKMeans(
            n_clusters, max_iter=self.settings.kmeans_iterations, batch_size=4096, n_init=1, random_state=0
        ).fit(some)
        self._pseudo_labels = {
            row: torch.from_numpy(found.predict((heard(row) - mean) / scale).astype(np.int64))
            for row in given.unlabelled.tolist()
        }
        return utterances

    def _clustered(self, encoder: SpeechEncoder, waveform: Tensor) -> np.ndarray:
        """What k-means sees of an utterance, (T, W)."""
        with torch.inference_mode():
            if self.settings.clusters_of == "layer":
                layer = self.settings.cluster_layer
                if layer >= encoder.n_layers:
                    raise BadRecipe(
                        f"cluster_layer = {layer}, but the encoder's layers are 0 to {encoder.n_layers - 1}"
                    )
                layers, mask = encoder((waveform.to(encoder.device),))
                return layers[0, layer if layer >= 0 else encoder.n_layers // 2, mask[0]].float().cpu().numpy()
            _, mask = encoder.local((waveform.to(encoder.device),))
            return _mfcc(waveform, int(mask.sum()))

    def pretraining_loss(self, batch: Batch, encoder: SpeechEncoder) -> Mapping[str, Tensor]:
        """Cross-entropy of the masked frames' pseudo-labels."""
        step = int(torch.randint(2**62, ()))  # the same however it is divided
        chance = [np.random.default_rng([step, row]) for row in batch.row.tolist()]
        known, waveforms = zip(*map(self._crop, batch.row.tolist(), batch.waveforms, chance), strict=True)
        local, mask = encoder.local(waveforms)
        hidden = torch.zeros_like(mask)
        labels = torch.zeros(mask.shape, dtype=torch.long)
        for place, (own, rng) in enumerate(zip(known, chance, strict=True)):
            n = min(int(mask[place].sum()), len(own))
            labels[place, :n] = own[:n]
            hidden[place, :n] = self._masked(n, rng).to(hidden.device)
        voice = self.voice(batch.speaker, len(mask))
        masked = torch.where(hidden[..., None], self.mask_frame.to(local.dtype), local)
        heard = self._contextual(encoder, masked, mask, voice)[:, -1]
        if voice is not None and self.settings.position == "last":
            heard = heard + voice[:, None]
        place, frame = hidden.nonzero(as_tuple=True)
        code = normalize(self.predicts(heard[place, frame]), dim=-1) @ normalize(self.codes, dim=-1).T
        wrong = cross_entropy(code / self.settings.temperature, labels.to(code.device)[place, frame], reduction="none")
        per_utterance = wrong.new_zeros(len(mask)).index_add(0, place, wrong)
        return {"masked": (per_utterance / hidden.sum(dim=1).clamp(min=1)).mean()}

    def _crop(self, row: int, waveform: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pseudo-labels and waveform of a stretch that begins with a frame."""
        labels, n = self._pseudo_labels[row], round(self.settings.crop_s * SAMPLE_RATE / _HOP)
        start = int(rng.integers(max(1, len(labels) - n + 1)))
        return labels[start : start + n], waveform[start * _HOP : (start + n) * _HOP]

    def _masked(self, n: int, rng: np.random.Generator) -> Tensor:
        """Which of n frames are masked, (n,) bool: at least one stretch."""
        length = min(self.settings.mask_frames, n)
        n_starts = max(1, int(self.settings.mask_share * n + rng.random()))
        starts = rng.choice(n - length + 1, size=min(n_starts, n - length + 1), replace=False)
        masked = np.zeros(n, dtype=bool)
        masked[(starts[:, None] + np.arange(length)).ravel()] = True
        return torch.from_numpy(masked)

    # fine-tuning

    def prepare_finetuning(self, given: Preparation) -> Utterances:
        """The corpus as the adapted encoder hears it; vectors of speakers it has not heard; who counts more."""
        utterances = given.hear() if self.pretrains else given.utterances
        self._heard_speakers = np.unique(utterances.speaker[given.unlabelled])
        if self.vectors is not None:
            utterances = self._with_unseen(given, utterances)
        if self.settings.weighting:
            self._row_weight = self._weights(utterances, given)
        self.front.fit(
            replace(utterances, features=self._with_voice(utterances.features, utterances.speaker)), given.train
        )
        self.to(self.class_weight_.device)
        return utterances

    def _with_unseen(self, given: Preparation, utterances: Utterances) -> Utterances:
        unseen = np.setdiff1d(np.unique(utterances.speaker), self._heard_speakers)
        if len(unseen) == 0 or self.settings.unseen == "zero":
            return utterances
        vectors = self.vectors.detach().clone()
        with torch.no_grad():
            if self.settings.position != "last":  # everybody is heard alike before they are compared
                self.vectors.zero_()
                utterances = given.hear()
            near = nearest_speakers(
                self.front_values(utterances), utterances.speaker, self._heard_speakers, unseen, self.settings.n_similar
            )
            for one, (who, weight) in near.items():
                vectors[one] = torch.from_numpy(weight).to(vectors) @ vectors[torch.from_numpy(who)]
            self.vectors.copy_(vectors)
        return utterances if self.settings.position == "last" else given.hear()

    def front_values(self, utterances: Utterances) -> np.ndarray:
        """What is compared of utterances: the layers heard, without any speaker's vector, (N, W)."""
        return utterances.features[:, self.front.layers].flatten(1).numpy()

    def _weights(self, utterances: Utterances, given: Preparation) -> Tensor:
        if len(given.test) == 0:
            raise BadRecipe("data weighting needs test speakers to resemble; leave out settings.weighting")
        trained, tested = (np.unique(utterances.speaker[rows]) for rows in (given.train, given.test))
        near = nearest_speakers(
            self.front_values(utterances), utterances.speaker, trained, tested, self.settings.n_similar
        )
        favoured = np.unique(np.concatenate([who for who, _ in near.values()]))
        return torch.from_numpy(1.0 + self.settings.weighting * np.isin(utterances.speaker, favoured)).float()

    def _with_voice(self, features: Tensor, speaker: np.ndarray | Tensor | None) -> Tensor:
        """Pooled layers (B, L, 2 D) with the speakers' vectors on the mean of the last one, where they join there."""
        if not self.voiced or self.vectors is None:
            return features
        speaker = torch.as_tensor(speaker) if speaker is not None else None
        voice = self.voice(speaker, len(features)).to(features)
        features = features.clone()
        features[:, -1, : voice.shape[1]] += voice.detach()
        return features

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Of every head."""
        output, terms = self(batch), {}
        weight = None if self._row_weight is None else self._row_weight[batch.row.cpu()].to(output.embedding.device)
        if self.tells_emotions:
            terms["emotion"] = emotion_loss(
                output.emotion_logits, batch.emotion, batch.classes, self.class_weight_, counts=weight
            )
        for name in self.rates:
            place = ATTRIBUTES.index(name)
            terms[name] = ccc_loss(output.attributes[:, place], batch.attributes[:, place], weight)
        return terms

    def forward(self, batch: Batch) -> Output:
        embedding = self.trunk(self.front(self._with_voice(batch.features, batch.speaker)))
        untold = embedding.new_full((len(embedding), len(self.emotions)), torch.nan)
        attributes = None
        if self.rates:
            said = [self.heads[name](embedding)[:, 0] if name in self.heads else untold[:, 0] for name in ATTRIBUTES]
            attributes = torch.stack(said, dim=1) * self.attribute_scale_ + self.attribute_mean_
        logits = self.heads["emotion"](embedding) if self.tells_emotions else untold
        return Output(embedding, logits, attributes=attributes)

    def variants(self) -> Mapping[str, Method]:
        """Without the vectors of speakers whom pre-training has not heard, where these join last."""
        if not self.voiced or self.vectors is None:
            return {}
        seen = torch.zeros(len(self.vectors), 1)
        seen[torch.from_numpy(self._heard_speakers)] = 1.0
        without = deepcopy(self)
        without.vectors.data.mul_(seen)
        return {"zero vectors for unseen speakers": without}


def _mfcc(waveform: Tensor, n_frames: int) -> np.ndarray:
    """13 coefficients and their two deltas at 100 Hz, brought to as many frames as the encoder has, (T, 39)."""
    transform = MFCC(SAMPLE_RATE, 13, melkwargs={"n_fft": 400, "hop_length": 160, "n_mels": 40})
    cepstra = transform(waveform)
    first = compute_deltas(cepstra)
    everything = torch.cat([cepstra, first, compute_deltas(first)]).T.numpy()
    return everything[np.linspace(0, len(everything) - 1, n_frames).round().astype(int)]
