"""Temperature and threshold of a trained method, learned on dev speakers and kept with it."""

import json

import numpy as np
import pytest
import torch

from ser_core.data.batches import Utterances
from ser_core.data.enrolment import first_of_each
from ser_core.evaluation.certainty import Certainty, fitted_certainty
from ser_core.inference.predict import answers
from ser_core.methods import METHODS
from ser_core.methods.base import FeatureShape
from ser_core.methods.checkpoint import BadCheckpoint, load_method, save_method
from ser_core.recipe import Recipe
from ser_core.training.certainty import learn_certainty
from ser_core.training.preparation import make_plan

SHAPE = FeatureShape(n_layers=1, n_values=8, layers=(0,))


@pytest.fixture
def plan(synthetic_corpus):
    """A corpus of random features, and who does what in it."""
    emotions = tuple(sorted(synthetic_corpus.table["emotion"].unique()))
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(len(synthetic_corpus), 1, 8))).float()
    speakers = sorted(synthetic_corpus.table["speaker"].unique())
    utterances = Utterances(synthetic_corpus, emotions, features)
    return utterances, make_plan(utterances, first_of_each(synthetic_corpus), speakers[:2], speakers[2:4])


def _sure_of_itself(utterances: Utterances, name: str = "baseline"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method = METHODS[name].build({"embedding": 8, "hidden": 8}, SHAPE, utterances.emotions, name).eval()
        with torch.no_grad():
            method.head.layers[-1].weight *= 50.0
    return method


@pytest.mark.parametrize("name", ["baseline", "speaker_reference"])
def test_who_guesses_loudly_is_cooled_down_on_dev_and_says_the_same(plan, name):
    utterances, plan = plan
    method = _sure_of_itself(utterances, name)
    before = {part: answers(method, utterances, getattr(plan, part), plan.enrolment) for part in ("dev", "test")}
    learned = learn_certainty(method, utterances, plan.dev, plan.enrolment)
    expected = fitted_certainty(before["dev"].probability, utterances.emotion[plan.dev], ["synthetic"] * len(plan.dev))
    assert learned is method and method.certainty_ == expected and method.certainty_.temperature > 1.5
    after = answers(method, utterances, plan.test, plan.enrolment).probability
    assert (after.argmax(axis=1) == before["test"].probability.argmax(axis=1)).all()
    assert after.max(axis=1).mean() < before["test"].probability.max(axis=1).mean()
    assert learn_certainty(method, utterances, plan.dev, plan.enrolment).certainty_ == expected  # twice is once


def test_without_dev_targets_of_a_class_nothing_is_learned(plan):
    utterances, plan = plan
    method = learn_certainty(_sure_of_itself(utterances), utterances, plan.dev[:0], plan.enrolment)
    assert method.certainty_ == Certainty()


def test_what_was_learned_is_kept_and_old_checkpoints_have_a_temperature_of_one(plan, tmp_path):
    utterances, plan = plan
    method = _sure_of_itself(utterances)
    method.certainty_ = Certainty(2.5, 0.61)
    save_method(method, Recipe("baseline", "baseline"), tmp_path)
    assert load_method(tmp_path).certainty_ == Certainty(2.5, 0.61)
    description = json.loads((tmp_path / "model.json").read_text())
    del description["certainty"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    old = load_method(tmp_path)
    assert old.certainty_ == Certainty(1.0, 0.4)
    batch = utterances.batch(plan.dev[:4], [np.empty(0, dtype=np.int64)] * 4)
    with torch.inference_mode():
        output = old(batch)
        assert torch.equal(old.probabilities(output), output.emotion_logits.softmax(dim=-1))
        torch.testing.assert_close(method.probabilities(output), (output.emotion_logits / 2.5).softmax(dim=-1))


def test_a_temperature_that_cannot_be_is_a_bad_checkpoint(plan, tmp_path):
    save_method(_sure_of_itself(plan[0]), Recipe("baseline", "baseline"), tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"temperature": 1.0', '"temperature": 0'))
    with pytest.raises(BadCheckpoint, match="temperature of 0"):
        load_method(tmp_path)
