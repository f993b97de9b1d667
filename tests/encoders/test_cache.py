"""The cache of embeddings: once per content and encoder, whatever happens to it."""

import logging

import numpy as np
import pytest
import soundfile
import torch

from ser_core.encoders.base import as_memory_allows
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


# too little memory; a small encoder makes the shortage


class Short(Compact):
    """An encoder on a device that has room for `room` recordings at once; on the CPU there is room for all."""

    room, asked, moved = 1, (), False

    def pooled(self, waveforms):
        self.asked = (*self.asked, len(waveforms))
        if not self.moved and len(waveforms) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return super().pooled(waveforms)

    @property
    def device(self):
        return torch.device("cpu")

    def parameters(self, recurse=True):  # says where it is
        kept = super().parameters(recurse)
        return kept if self.moved else iter([torch.zeros(0, device="meta")])

    def to(self, device):
        self.moved = True
        return super().to(device)


def short(room: int) -> Short:
    torch.manual_seed(0)
    encoder = Short(CompactSettings(width=32, n_transformer_layers=1, n_heads=2, feedforward=32)).eval()
    encoder.room = room
    return encoder


def usual(paths, folder):
    torch.manual_seed(0)
    encoder = Compact(CompactSettings(width=32, n_transformer_layers=1, n_heads=2, feedforward=32)).eval()
    return EmbeddingCache(folder / "usual", encoder).embed(paths)


def test_fewer_recordings_are_embedded_at_once_and_that_is_said_once_and_kept(paths, tmp_path, caplog):
    encoder = short(room=1)
    with caplog.at_level(logging.WARNING, logger="attune"):
        first = EmbeddingCache(tmp_path / "one", encoder).embed(paths, batch_size=3)
        EmbeddingCache(tmp_path / "two", encoder).embed(paths, batch_size=3)
    assert encoder.asked == (3, 1, 1, 1, 1, 1, 1) and not encoder.moved
    assert len(caplog.messages) == 1 and "memory on meta is short" in caplog.text
    torch.testing.assert_close(first, usual(paths, tmp_path), atol=1e-4, rtol=1e-3)


def test_what_fits_nowhere_but_on_the_cpu_is_embedded_there(paths, tmp_path, caplog):
    encoder = short(room=0)
    heard = EmbeddingCache(tmp_path / "one", encoder).embed(paths, batch_size=2)
    assert encoder.moved and encoder.asked == (2, 1, 1, 1, 1)
    assert len(caplog.messages) == 1
    torch.testing.assert_close(heard, usual(paths, tmp_path), atol=1e-4, rtol=1e-3)


def test_no_memory_on_the_cpu_either_is_an_error_and_so_is_every_other_one():
    network = torch.nn.Linear(1, 1)

    def never(part):
        raise MemoryError

    def broken(part):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(MemoryError):
        list(as_memory_allows(never, [1, 2, 3], 2, network))
    with pytest.raises(RuntimeError, match="shapes"):
        list(as_memory_allows(broken, [1, 2, 3], 2, torch.nn.Linear(1, 1)))


def test_parts_come_in_order_and_whole():
    network, parts = torch.nn.Linear(1, 1), []
    for part in as_memory_allows(lambda part: part, np.arange(7), 3, network):
        parts.append(part.tolist())
    assert parts == [[0, 1, 2], [3, 4, 5], [6]]
