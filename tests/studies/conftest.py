"""Small networks on buzzing voices, trained once for all studies."""

from dataclasses import replace

import pytest
import torch
from known_world import METHODS

from ser_core.data.corpora import load_corpus
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.inference.predict import Trained
from ser_core.recipe import TrainingSettings, read_recipe
from ser_core.training.crossvalidation import Design, Experiment, set_up, trained_folds
from ser_core.workspace import open_workspace


def _silent(line: str) -> None:
    pass


@pytest.fixture(scope="session")
def experiment(tmp_path_factory) -> Experiment:
    """Three recipes, two seeds, two folds of four buzzing voices."""
    torch.manual_seed(0)
    encoder = Compact(
        CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=64),
        "compact-test",
    )
    few = TrainingSettings(epochs=3, batch_size=16, learning_rate=1e-3)
    recipes = [replace(read_recipe(name), settings={"embedding": 16, "hidden": 16}, training=few) for name in METHODS]
    corpus = load_corpus("synthetic", tmp_path_factory.mktemp("synthetic"))
    workspace = open_workspace(tmp_path_factory.mktemp("workspace"))
    return set_up(recipes, corpus, encoder.eval().requires_grad_(False), Design(2, 2), workspace, "cpu", _silent)


@pytest.fixture(scope="session")
def networks(experiment) -> list[Trained]:
    return list(trained_folds(experiment, "cpu", _silent))
