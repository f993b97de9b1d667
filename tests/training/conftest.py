"""What trainings are tried with: a workspace and a tiny encoder."""

import pytest
import torch

from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.workspace import open_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return open_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    torch.manual_seed(0)
    settings = CompactSettings(width=32, n_transformer_layers=2, n_heads=2, feedforward=32)
    folder = tmp_path_factory.mktemp("encoder") / "encoder"
    Compact(settings).save(folder)
    return folder
