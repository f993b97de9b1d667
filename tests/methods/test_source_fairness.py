"""Remedies on the source: weights by hand, parity by hand, and what they need to know."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from ser_core.data.batches import Utterances
from ser_core.data.manifest import make_corpus
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.recipe import BadRecipe

EMOTIONS = ("neutral", "anger")
CELLS = {("female", "neutral"): 9, ("female", "anger"): 3, ("male", "neutral"): 2, ("male", "anger"): 6}


@pytest.fixture(scope="module")
def utterances() -> Utterances:
    """Women are mostly neutral and men mostly angry; one who is neither says both."""
    spoken = [(*cell, place) for cell, n in CELLS.items() for place in range(n)]
    spoken += [("unknown", emotion, place) for emotion in EMOTIONS for place in range(2)]
    rows = {
        f"{gender}_{emotion}_{place}": {
            "path": "none.wav", "speaker": f"{gender}{place % 2}", "emotion": emotion, "gender": gender,
        }
        for gender, emotion, place in spoken
    }  # fmt: skip
    torch.manual_seed(0)
    corpus = make_corpus("source", pd.DataFrame.from_dict(rows, orient="index"))
    return Utterances(corpus, EMOTIONS, torch.randn(len(corpus), 1, 6))


@pytest.fixture
def built(utterances):
    """From settings to a method that has counted, and the loss terms of everything."""

    def build(**settings):
        torch.manual_seed(0)
        usual = {"embedding": 8, "hidden": 8, "smoothing": 0.0}
        one = METHODS["source_fairness"].build({**usual, **settings}, FeatureShape(1, 6, (0,)), EMOTIONS, "test")
        rows = np.arange(len(utterances.corpus))
        batch = utterances.batch(rows, [np.empty(0, dtype=np.int64)] * len(rows))
        return one.fit_statistics(utterances, rows).eval(), batch

    return build


def test_reweighted_utterances_count_by_expected_over_observed_and_those_of_unknown_group_once(built, utterances):
    one, batch = built(reweighted=True)
    n = sum(CELLS.values())
    table = utterances.corpus.table
    counts = []
    for gender, emotion in zip(table["gender"], table["emotion"], strict=True):
        if gender == "unknown":
            counts.append(1.0)
            continue
        of_gender = sum(number for (who, _), number in CELLS.items() if who == gender)
        of_emotion = sum(number for (_, what), number in CELLS.items() if what == emotion)
        counts.append(of_gender * of_emotion / n / CELLS[gender, emotion])
    each = cross_entropy(one(batch).emotion_logits, batch.emotion, reduction="none")
    weight = one.class_weight_[batch.emotion] * torch.tensor(counts)
    assert one.loss(batch)["emotion"].item() == pytest.approx(((weight * each).sum() / weight.sum()).item(), rel=1e-5)


def test_without_weights_and_constraint_it_is_the_baseline(built):
    one, batch = built()
    plain = cross_entropy(one(batch).emotion_logits, batch.emotion, one.class_weight_)
    assert set(one.loss(batch)) == {"emotion"} and not one.compares_groups
    torch.testing.assert_close(one.loss(batch)["emotion"], plain)


@pytest.mark.parametrize(("between", "column"), [("groups", "gender"), ("speakers", "speaker")])
def test_the_constraint_compares_groups_or_single_speakers(built, utterances, between, column):
    """2 · mean |E[p | who] − E[p]| of pandas' means; somebody of unknown gender is a speaker, and of no group."""
    one, batch = built(parity=0.7, between=between, batches="shuffled" if between == "groups" else "same_speaker")
    names = utterances.corpus.table[column].reset_index(drop=True)
    p = pd.DataFrame(one(batch).emotion_logits.softmax(dim=-1).detach().double().numpy())
    known = names != "unknown"
    apart = (p[known].groupby(names[known]).mean() - p[known].mean()).abs().to_numpy().mean()
    assert one.loss(batch)["parity"].item() == pytest.approx(0.7 * 2 * apart, rel=1e-4)
    assert one.compares_groups == (between == "groups")


def test_an_answer_needs_no_group(built):
    one, batch = built(reweighted=True, parity=1.0)
    untold = replace(batch, group=None, gender=None, speaker=None)
    torch.testing.assert_close(one(untold).emotion_logits, one(batch).emotion_logits)


@pytest.mark.parametrize("wrong", [{"between": "corpora"}, {"parity": -1.0}, {"parity": 1.0, "between": "speakers"}])
def test_settings_that_cannot_be_are_refused(built, wrong):
    with pytest.raises(BadRecipe, match=next(iter(wrong))):
        built(**wrong)
