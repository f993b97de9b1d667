"""The cache of embeddings: once per content and encoder, whatever happens to it."""

import numpy as np
import pytest
import soundfile
import torch

from ser_core.encoders.cache import EmbeddingCache, UnreadableUtterances
from ser_core.encoders.compact import Compact, CompactSettings


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Compact(CompactSettings(width=32, n_transformer_layers=1, n_heads=2, feedforward=32)).eval()


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{name}.wav" for name in "abc"]
    for file in files:
        soundfile.write(file, rng.normal(0, 0.1, 12_000), 16_000)
    return [str(file) for file in files]


def test_a_second_pass_reads_no_audio_and_gives_the_same(encoder, paths, tmp_path):
    first = EmbeddingCache(tmp_path / "cache", encoder)
    once = first.embed(paths)
    assert first.n_read == 3
    second = EmbeddingCache(tmp_path / "cache", encoder)
    assert torch.equal(second.embed(paths), once) and second.n_read == 0


def test_rows_come_in_the_order_asked_for(encoder, paths, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", encoder)
    forward, backward = cache.embed(paths), cache.embed(paths[::-1])
    assert torch.equal(forward, backward.flip(0)) and not torch.equal(forward[0], forward[1])


def test_batches_give_what_single_utterances_give(encoder, paths, tmp_path):
    single = EmbeddingCache(tmp_path / "one", encoder).embed(paths, batch_size=1)
    batched = EmbeddingCache(tmp_path / "two", encoder).embed(paths, batch_size=3)
    torch.testing.assert_close(single, batched, atol=1e-4, rtol=1e-3)


def test_changed_audio_is_read_again(encoder, paths, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", encoder)
    before = cache.embed(paths)
    soundfile.write(paths[0], np.random.default_rng(9).normal(0, 0.1, 14_000), 16_000)
    after = cache.embed(paths)
    assert cache.n_read == 4
    assert not torch.equal(before[0], after[0]) and torch.equal(before[1:], after[1:])


def test_a_half_written_row_is_made_again(encoder, paths, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", encoder)
    whole = cache.embed(paths)
    for file in cache.folder.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:40])
    again = EmbeddingCache(tmp_path / "cache", encoder)
    assert torch.equal(again.embed(paths), whole) and again.n_read == 3


def test_a_refused_file_is_named_and_the_others_are_kept(encoder, paths, tmp_path):
    (tmp_path / "b.wav").write_text("no audio")
    with pytest.raises(UnreadableUtterances, match=r"1 of 3 .*'b\.wav'"):
        EmbeddingCache(tmp_path / "cache", encoder).embed(paths)
    again = EmbeddingCache(tmp_path / "cache", encoder)
    again.embed([paths[0], paths[2]])
    assert again.n_read == 0


def test_known_content_in_a_new_place_is_not_encoded_again(encoder, paths, tmp_path, monkeypatch):
    whole = EmbeddingCache(tmp_path / "cache", encoder).embed(paths)
    (tmp_path / "moved").mkdir()
    moved = [str((tmp_path / "moved" / file).with_suffix(".wav")) for file in "abc"]
    for source, target in zip(paths, moved, strict=True):
        (tmp_path / target).write_bytes((tmp_path / source).read_bytes())
    monkeypatch.setattr(encoder, "pooled", lambda waveforms: pytest.fail("encoded again"))
    assert torch.equal(EmbeddingCache(tmp_path / "cache", encoder).embed(moved), whole)


def test_two_caches_on_one_folder_keep_each_others_index(encoder, paths, tmp_path):
    one, two = EmbeddingCache(tmp_path / "cache", encoder), EmbeddingCache(tmp_path / "cache", encoder)
    one.embed(paths[:1])
    two.embed(paths[1:])
    third = EmbeddingCache(tmp_path / "cache", encoder)
    third.embed(paths)
    assert third.n_read == 0
