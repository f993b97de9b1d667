"""Intra-speaker clusters: before emotions are taught, what one speaker says alike is drawn together, without labels.

Source: arXiv 2401.11017: emotions are clusters inside a speaker's embeddings. Contrastive pre-training on speech nobody
labelled: positives are utterances of the same speaker in the same cluster, negatives those of the same speaker in another;
then fine-tuning, or fine-tuning that tells the speakers apart as well (multi-task). The loss is the supervised contrastive one
(arXiv 2004.11362, equation 2) with the clusters for classes, within one speaker.

Ours: how the clusters are found (evaluation/clusters.py), the temperature, a projection that only pre-training has (an MLP, as
in arXiv 2004.11362, section 3.1), batches of P speakers with K utterances. The embedding that is clustered is that of
[speaker_encoder] in the recipe. Controls: `pairs = "random"` deals the same clusters out at random, `pairs = "emotions"` takes
the true labels of all training speakers: the ceiling, which uses what pre-training shall not need.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ser_core.data.batches import Batch, Utterances
from ser_core.data.manifest import BadCorpus
from ser_core.evaluation.clusters import (
    ALGORITHMS,
    BY_SILHOUETTE,
    NONE,
    Clustering,
    clusters_of_speakers,
    shuffled_within,
)
from ser_core.methods.base import FeatureShape, Preparation, Stage
from ser_core.methods.baseline import Baseline, BaselineSettings
from ser_core.nn.heads import MlpHead
from ser_core.recipe import BadRecipe, check_choice, check_range

PAIRS = ("clusters", "random", "emotions")


@dataclass(frozen=True)
class ClusterContrastiveSettings(BaselineSettings):
    """The baseline's network, and what goes before.

    Attributes:
        pretrain_epochs: 0 leaves the pre-training out.
        speakers_per_batch, utterances_per_speaker: P and K of a step of it.
        pretrain_learning_rate: highest, of it; an encoder that learns has encoder.learning_rate.
        pairs: what makes two utterances of a speaker alike: their 'clusters', 'random' ones (a control), or their true
            'emotions' (the ceiling).
        algorithm: 'kmeans' or 'hdbscan'.
        n_clusters: of each speaker, for k-means; 0 for as many as there are emotions, −1 for 2 to 8 by silhouette.
        drop_uncertain: utterances that lie nearer to another cluster make no pairs.
        temperature: of the cosine between two utterances.
        projection: values of what is compared.
        freeze_trunk: fine-tuning trains the head alone, on what pre-training made of the trunk.
        speaker_weight: of telling the training speakers apart in fine-tuning; 0 leaves that out.
    """

    pretrain_epochs: int = 60
    speakers_per_batch: int = 4
    utterances_per_speaker: int = 32
    pretrain_learning_rate: float = 1e-3
    pairs: str = "clusters"
    algorithm: str = "kmeans"
    n_clusters: int = 0
    drop_uncertain: bool = True
    temperature: float = 0.1
    projection: int = 128
    freeze_trunk: bool = False
    speaker_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("pairs", self.pairs, PAIRS)
        check_choice("algorithm", self.algorithm, ALGORITHMS)
        check_range(
            self, pretrain_epochs=(0, None), speakers_per_batch=(1, None), utterances_per_speaker=(2, None),
            pretrain_learning_rate=(0, 1), n_clusters=(BY_SILHOUETTE, None), temperature=(0.001, None), projection=(1, None),
            speaker_weight=(0, None),
        )  # fmt: skip
        if self.freeze_trunk and not self.pretrain_epochs:
            raise BadRecipe("'freeze_trunk' is true, but 'pretrain_epochs' is 0: nothing would ever train the trunk")
        if self.n_clusters == 1:
            raise BadRecipe("'n_clusters' is 1, and one cluster has nothing to be told from; take at least 2, 0 or -1")


class ClusterContrastive(Baseline):
    """The baseline's network; its trunk learns to tell a speaker's clusters apart first."""

    Settings = ClusterContrastiveSettings
    learns_unlabelled = True
    hears_speaker_encoder = True
    training_only = ("projects.", "speakers.")

    def __init__(self, settings: ClusterContrastiveSettings, shape: FeatureShape, emotions: tuple[str, ...]):
        super().__init__(settings, shape, emotions)
        width = settings.embedding
        self.projects = MlpHead(width, width, settings.projection, 0.0) if settings.pretrain_epochs else None
        self.speakers: nn.Linear | None = None
        self._cluster = torch.empty(0, dtype=torch.long)  # of each row

    def fit_statistics(self, utterances: Utterances, rows: np.ndarray) -> "ClusterContrastive":
        super().fit_statistics(utterances, rows)
        if self.settings.speaker_weight:
            self.speakers = nn.Linear(self.settings.embedding, int(utterances.speaker.max()) + 1)
        return self

    def stages(self) -> tuple[Stage, ...]:
        (finetune,) = super().stages()
        if not self.settings.pretrain_epochs:
            return (replace(finetune, prepare=self._heard_of_all),)
        how = {
            "epochs": self.settings.pretrain_epochs, "learning_rate": self.settings.pretrain_learning_rate, "patience": 0,
            "batch_size": self.settings.speakers_per_batch * self.settings.utterances_per_speaker,
        }  # fmt: skip
        pretrain = Stage(
            "pretrain", self.pretraining_loss, "same_speaker", rows="unlabelled", training=how, monitor="nothing", whole=True,
            prepare=self.prepare_pretraining, sampling={"n_each": self.settings.utterances_per_speaker, "filled": False},
        )  # fmt: skip
        if self.settings.freeze_trunk:
            finetune = replace(finetune, prepare=self._frozen, encoder="rests")
        return (pretrain, finetune)

    # pre-training

    def prepare_pretraining(self, given: Preparation) -> Utterances:
        """The cluster of every utterance that may be heard."""
        utterances, rows = self._heard_of_all(given), given.unlabelled
        cluster = np.full(len(utterances.corpus), NONE, dtype=np.int64)
        cluster[rows] = self._clusters(utterances, rows, given)
        for corpus in np.unique(utterances.source[rows]):
            own = rows[utterances.source[rows] == corpus]
            if not _has_pairs(cluster[own], utterances.speaker[own]):
                _refuse(utterances, own, self.settings)
        self._cluster = torch.from_numpy(cluster)
        return utterances

    def _heard_of_all(self, given: Preparation) -> Utterances:
        """Standardise by all speech that may be heard, also where there is no pre-training, so that only that differs."""
        self.front.fit(given.utterances, given.unlabelled)
        self.to(self.class_weight_.device)
        return given.utterances

    def _frozen(self, given: Preparation) -> Utterances:
        self.front.requires_grad_(False)
        self.trunk.requires_grad_(False)
        return given.hear()

    def _clusters(self, utterances: Utterances, rows: np.ndarray, given: Preparation) -> np.ndarray:
        if self.settings.pairs == "emotions":
            return utterances.emotion[rows]
        speaker, asked = utterances.speaker[rows], self.settings
        how = Clustering(asked.algorithm, asked.n_clusters or len(self.emotions), asked.drop_uncertain)
        embedding = utterances.speaker_embedding[torch.from_numpy(rows)].numpy()
        found = clusters_of_speakers(embedding, speaker, how, given.between)
        if asked.pairs == "clusters":
            return found
        return shuffled_within(found, speaker, np.random.default_rng(torch.initial_seed()))

    def pretraining_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Supervised contrastive loss of clusters, within each speaker."""
        embedding = self.projects(self.trunk(self.front(batch.features)))
        cluster = self._cluster.to(embedding.device)[batch.row]
        return {"contrastive": contrastive_loss(embedding, cluster, batch.speaker, self.settings.temperature)}

    # fine-tuning

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy of the emotion, and of the speaker where that is learned as well."""
        said = self(batch)
        terms = {"emotion": self.emotion_term(said.emotion_logits, batch)}
        if self.speakers is not None:
            told_apart = cross_entropy(self.speakers(said.embedding), batch.speaker)
            terms["speaker"] = self.settings.speaker_weight * told_apart
        return terms


def contrastive_loss(embedding: Tensor, cluster: Tensor, speaker: Tensor, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss within each speaker: mean over utterances that have a positive.

    For an utterance i of speaker s, with P(i) the others of s in its cluster and A(i) all others of s that are in one:
    −1/|P(i)| Σ_p log( exp(z_i·z_p / τ) / Σ_{a ∈ A(i)} exp(z_i·z_a / τ) ), z of length one.

    Source: arXiv 2004.11362, equation 2, restricted to one speaker as arXiv 2401.11017 does.

    Args:
        embedding: (B, D).
        cluster: (B,) long; rows of -1 are in none, and are neither positives nor negatives.
        speaker: (B,) long.
        temperature: τ.

    Returns:
        A scalar; zero where nobody has a positive.
    """
    z = normalize(embedding.float(), dim=-1)
    others = compared(cluster, speaker)
    positive = pairs_of(cluster, speaker)
    cosine = (z @ z.T / temperature).masked_fill(~others, -torch.inf)
    anchors = positive.any(dim=1)
    if not anchors.any():
        return embedding.sum() * 0.0
    log_p = cosine[anchors].log_softmax(dim=1).masked_fill(~positive[anchors], 0.0)
    return (-log_p.sum(dim=1) / positive[anchors].sum(dim=1)).mean()


def compared(cluster: Tensor, speaker: Tensor) -> Tensor:
    """Which two utterances are compared, (B, B) bool: two of one speaker that are both in a cluster."""
    there = cluster >= 0
    same = (speaker[:, None] == speaker[None]) & there[:, None] & there[None]
    return same & ~torch.eye(len(cluster), dtype=torch.bool, device=cluster.device)


def pairs_of(cluster: Tensor, speaker: Tensor) -> Tensor:
    """Which two utterances are alike, (B, B) bool: two of one speaker in one cluster."""
    return compared(cluster, speaker) & (cluster[:, None] == cluster[None])


def _has_pairs(cluster: np.ndarray, speaker: np.ndarray) -> bool:
    """Whether two utterances of a speaker are in one cluster, from both (N,)."""
    of = np.stack([speaker, cluster])[:, cluster != NONE]
    return bool((np.unique(of, axis=1, return_counts=True)[1] > 1).any())


def _refuse(utterances: Utterances, rows: np.ndarray, settings: ClusterContrastiveSettings) -> None:
    """Say why nobody has two utterances that are alike.

    Raises:
        BadCorpus: always.
    """
    largest = int(np.bincount(utterances.speaker[rows]).max())
    name = utterances.corpus.table["corpus"].iloc[rows[0]]
    if largest < 4:
        raise BadCorpus(
            f"{name}: no speaker who may be heard has more than {largest} utterances, and clusters inside a speaker "
            f"need at least 4; add recordings, check the column 'speaker', or leave the corpus out (settings.pretrain_epochs=0 leaves out "
            f"the pre-training)"
        )
    raise BadCorpus(
        f"{name}: no two utterances of a speaker are alike by their {settings.pairs} ({settings.algorithm}), so "
        f"nothing can be learned from them; set settings.algorithm=kmeans, or settings.pretrain_epochs=0"
    )
