"""The clusters inside each speaker of a corpus: a picture of them, and what they agree with.

Source: arXiv 2401.11017, sections 2 and 3. The picture is ours: the first two principal components of one speaker's embeddings.
"""

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from ser_core.evaluation.clusters import Clustering, agreement, clusters_of_speakers, of_length_one

LABELS = {"emotion": "emotion", "text_id": "sentence", "intensity": "intensity"}
"""Columns that clusters may agree with, and what they are called."""

POINTS = ("utterance_id", "speaker", "gender", "emotion", "text_id", "intensity", "cluster", "x", "y")
"""Columns of a picture."""

MEASURES = ("purity", "purity_of_chance", "adjusted_rand", "n")


def cluster_points(table: pd.DataFrame, embedding: np.ndarray, how: Clustering) -> pd.DataFrame:
    """One row an utterance (columns POINTS), from a corpus' table and the embedding of each row, (N, E)."""
    speaker = table["speaker"].to_numpy(dtype=str)
    cluster = clusters_of_speakers(embedding, speaker, how)
    comparable, place = of_length_one(embedding), np.zeros((len(table), 2))
    for one in np.unique(speaker):
        rows = np.flatnonzero(speaker == one)
        place[rows] = _two_directions(comparable[rows])
    points = table.reset_index().assign(cluster=cluster, x=place[:, 0], y=place[:, 1])
    return points[list(POINTS)]


def _two_directions(own: np.ndarray) -> np.ndarray:
    """(n, E) to (n, 2), the larger coordinate of each direction positive; zero for a direction there is not."""
    n = min(2, len(own) - 1)
    place = np.zeros((len(own), 2))
    if n > 0:
        place[:, :n] = PCA(n, random_state=0).fit_transform(own)
    return place * np.where(place[np.abs(place).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)


def agreement_table(points: pd.DataFrame) -> pd.DataFrame:
    """One row a speaker and label: speaker, label (a value of LABELS), MEASURES, n_clusters; nan where it is not known."""
    rows = []
    for speaker, own in points.groupby("speaker"):
        cluster = own["cluster"].to_numpy()
        n_clusters = len(np.unique(cluster[cluster >= 0]))
        for column, label in LABELS.items():
            known = own[column].where(own[column].notna(), None).to_numpy(dtype=object)
            rows.append(
                {"speaker": speaker, "label": label, **vars(agreement(cluster, known)), "n_clusters": n_clusters}
            )
    return pd.DataFrame(rows, columns=["speaker", "label", *MEASURES, "n_clusters"])


def middle_speaker(agreed: pd.DataFrame) -> str:
    """Whose clusters are of median purity by emotion, the lower of two; the first by name where no purity is known.

    Args:
        agreed: as `agreement_table` gives it.
    """
    of_emotion = agreed[agreed["label"] == LABELS["emotion"]].sort_values(["purity", "speaker"])
    known = of_emotion["speaker"][of_emotion["purity"].notna()]
    return str(known.iloc[(len(known) - 1) // 2] if len(known) else of_emotion["speaker"].iloc[0])
