"""A disk of 4 MB that is full: whoever writes says so in words, loses nothing, and goes on once there is room."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ser_core.__main__ import BAD_INPUT, main
from ser_core.data.whole import UNFINISHED, disk_trouble
from ser_core.encoders.cache import EmbeddingCache
from ser_core.encoders.compact import Compact, CompactSettings
from ser_core.inference.consent import consent_now
from ser_core.inference.database import StoreUnusable
from ser_core.inference.profiles import open_store
from ser_core.training.states import States
from ser_core.ui.errors import in_words
from ser_core.ui.files import PrivateFiles
from ser_core.workspace import open_workspace


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob(f"*{UNFINISHED}"))


def test_profiles_and_their_exports(small_disk, capsys):
    workspace, archive = open_workspace(small_disk.folder), small_disk.folder / "ann.zip"
    store = open_store(workspace)
    store.add_many("Ann", [("anger", noise(1.0), {})], create=consent_now())
    export = ["profiles", "export", "Ann", str(archive), "--workspace", str(workspace.root)]
    assert main(export) == 0
    before, exported = store.list(), archive.read_bytes()
    small_disk.fill()
    with pytest.raises(StoreUnusable, match="disk is full"):
        store.add("Ann", "sadness", noise(20.0))
    assert main(export) == BAD_INPUT and "the disk is full" in capsys.readouterr().err
    assert archive.read_bytes() == exported and not unfinished(small_disk.folder)
    small_disk.free()
    assert store.list() == before
    store.add("Ann", "sadness", noise(20.0))
    assert main(export) == 0 and archive.read_bytes() != exported


def test_embeddings_of_a_corpus(small_disk, tmp_path):
    torch.manual_seed(0)
    encoder = Compact(CompactSettings(width=512, n_transformer_layers=3, n_heads=2, feedforward=32)).eval()
    paths = [str(tmp_path / f"{place}.wav") for place in range(3)]
    for place, path in enumerate(paths):
        soundfile.write(path, noise(0.6 + place / 10), 16_000)
    before = EmbeddingCache(small_disk.folder, encoder).embed(paths[:1])
    small_disk.fill()
    with pytest.raises(OSError) as refused:
        EmbeddingCache(small_disk.folder, encoder).embed(paths)
    assert "the disk is full" in disk_trouble(refused.value) and not unfinished(small_disk.folder)
    kept = EmbeddingCache(small_disk.folder, encoder)
    assert torch.equal(kept.embed(paths[:1]), before) and kept.n_read == 0
    small_disk.free()
    assert len(EmbeddingCache(small_disk.folder, encoder).embed(paths)) == 3


def test_states_of_a_training(small_disk):
    states = States(small_disk.folder / "state")
    states.save({"a": torch.ones(1000)}, {"n": 1})
    small_disk.fill()
    with pytest.raises(OSError) as refused:
        states.save({"a": torch.zeros(100_000)}, {"n": 2})
    assert refused.value.errno == errno.ENOSPC and "the disk is full" in disk_trouble(refused.value)
    assert states.latest().content == {"n": 1}
    small_disk.free()
    states.save({"a": torch.zeros(100_000)}, {"n": 2})
    assert states.latest().content == {"n": 2}


def test_what_the_page_plays_and_saves(small_disk):
    files = PrivateFiles(small_disk.folder / "temporary")
    files.document("small.json", "{}")
    small_disk.fill()
    for write in (
        lambda: files.document("report.zip", bytes(100_000)),
        lambda: files.write_playback("abc", noise(5.0)),
    ):
        with pytest.raises(OSError) as refused:
            write()
        assert in_words(refused.value).startswith("The disk is full: free some space")
    assert not files.playback("abc").exists() and not unfinished(small_disk.folder)
    small_disk.free()
    files.write_playback("abc", noise(5.0))
    assert files.playback("abc").exists()
