"""Counts per speaker and seed; truth from scikit-learn's confusion matrix."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from ser_core.evaluation.counts import count


def test_every_speaker_and_seed_has_scikit_learns_confusion_matrix(world):
    table = world(n_seeds=3, methods={"ours": 0.4}).sample(frac=0.8, random_state=0)
    counts = count(table)
    assert counts.table.shape == (8, 3, 4, 4) and counts.table.sum() == len(table)
    for s, speaker in enumerate(counts.speakers):
        for r, seed in enumerate(counts.seeds):
            part = table[(table["speaker"] == speaker) & (table["seed"] == seed)]
            expected = confusion_matrix(part["emotion"], part["predicted_emotion"], labels=list(counts.emotions))
            np.testing.assert_array_equal(counts.table[s, r], expected)


def test_pooled_is_without_speakers_and_over_seeds_without_seeds(world):
    counts = count(world(n_seeds=2, methods={"ours": 0.4}))
    assert counts.pooled.shape == (2, 4, 4) and counts.over_seeds.shape == (8, 4, 4)
    assert counts.pooled.sum() == counts.over_seeds.sum() == counts.table.sum()


def test_some_speakers_are_taken_in_the_order_asked_for(world):
    counts = count(world())
    some = counts.of(["speaker 05", "speaker 01"])
    assert some.speakers == ("speaker 05", "speaker 01")
    np.testing.assert_array_equal(some.table[0], counts.table[counts.speakers.index("speaker 05")])


def test_classes_stand_in_the_fields_order_and_one_that_is_only_predicted_has_a_place():
    table = pd.DataFrame({"speaker": "s", "seed": 0, "emotion": ["fear", "neutral"], "predicted_emotion": "anger"})
    counts = count(table)
    assert counts.emotions == ("neutral", "anger", "fear")
    np.testing.assert_array_equal(counts.table[0, 0], [[0, 1, 0], [0, 0, 0], [0, 1, 0]])
