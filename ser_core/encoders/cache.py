"""Embed each utterance once per encoder and keep the pooled layers on disk.

A row is keyed by the audio's content, the encoder's fingerprint and how audio is prepared. Which content a path has is
remembered with the file's size and time, so a second pass over a corpus reads no audio. Corpora only: embeddings of
people's own recordings live with their profile and go when it goes.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ser_core.data.audio import PREPARED, AudioRejected, level_and_trim, read_recording
from ser_core.data.whole import written
from ser_core.encoders.base import SpeechEncoder, as_memory_allows, autocast, precision


class UnreadableUtterances(ValueError):
    """Recordings of a corpus that were refused; names the first few and why.

    Attributes:
        refused: why, by path.
    """

    def __init__(self, refused: dict[str, str], n: int):
        named = "; ".join(f"'{Path(path).name}': {why}" for path, why in list(refused.items())[:5])
        super().__init__(f"{len(refused)} of {n} recordings cannot be used: {named}")
        self.refused = refused


class EmbeddingCache:
    """Pooled layers (L, 2 D) float32 of utterances, one folder an encoder.

    Attributes:
        n_read: audio files read so far (0 on a second pass).
        seconds_read: how long they last.
    """

    def __init__(self, folder: Path, encoder: SpeechEncoder):
        self._precision = precision(encoder.device)
        self.folder = folder / f"{encoder.fingerprint}-{PREPARED}-{self._precision}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.encoder = encoder
        self.n_read = 0
        self.seconds_read = 0.0
        self._index_path = self.folder / "index.json"
        self._index = _read_index(self._index_path)

    def embed(self, paths: Sequence[str], batch_size: int = 0) -> torch.Tensor:
        """Pooled layers of audio files, (len(paths), L, 2 D) float32, in the order given.

        Args:
            paths: audio files.
            batch_size: utterances encoded together; if 0 as many as suit the device: on a CPU padding costs time.

        Raises:
            UnreadableUtterances: some are refused; the others are in the cache, so nothing is lost.
        """
        batch_size = batch_size or (1 if self.encoder.device.type == "cpu" else 32)
        rows = {path: row for path in dict.fromkeys(paths) if (row := self._stored(path)) is not None}
        unknown = [path for path in dict.fromkeys(paths) if path not in rows]
        refused: dict[str, str] = {}
        try:
            for start in range(0, len(unknown), batch_size):
                rows.update(self._encode(unknown[start : start + batch_size], refused))
        finally:
            if unknown:
                self._index = {
                    **_read_index(self._index_path),
                    **self._index,
                }  # another process may have written meanwhile
                with written(self._index_path) as hidden:
                    hidden.write_text(json.dumps(self._index))
        if refused:
            raise UnreadableUtterances(refused, len(paths))
        return torch.from_numpy(np.stack([rows[path] for path in paths]))

    def _stored(self, path: str) -> np.ndarray | None:
        known = self._index.get(path)
        return self._read(known[2]) if known and known[:2] == _size_and_time(path) else None

    def _read(self, key: str) -> np.ndarray | None:
        try:
            return np.load(self.folder / f"{key}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # absent or half-written: embed again
            return None

    def _encode(self, paths: Sequence[str], refused: dict[str, str]) -> dict[str, np.ndarray]:
        rows: dict[str, np.ndarray] = {}
        waveforms: dict[str, torch.Tensor] = {}
        keys: dict[str, list] = {}
        for path in paths:
            self.n_read += 1
            try:
                recording = read_recording(path)
            except AudioRejected as error:
                refused[path] = str(error)
                continue
            self.seconds_read += recording.duration_s
            keys[path] = [*_size_and_time(path), hashlib.sha256(Path(path).read_bytes()).hexdigest()]
            if (row := self._read(keys[path][2])) is not None:  # known content in a new place
                rows[path] = row
            else:
                waveforms[path] = torch.from_numpy(level_and_trim(recording.waveform))
        if waveforms:
            heard = as_memory_allows(self._pooled, list(waveforms.values()), len(waveforms), self.encoder)
            for path, row in zip(waveforms, np.concatenate(list(heard)), strict=True):
                self._write(keys[path][2], row)
                rows[path] = row
        self._index |= keys
        return rows

    def _pooled(self, waveforms: list[torch.Tensor]) -> np.ndarray:
        with torch.inference_mode(), autocast(self.encoder.device, self._precision):
            return self.encoder.pooled(waveforms).cpu().numpy()

    def _write(self, key: str, row: np.ndarray) -> None:
        with written(self.folder / f"{key}.npy") as hidden, hidden.open("wb") as file:
            np.save(file, row)


def _size_and_time(path: str) -> list[int]:
    try:
        stat = Path(path).stat()
    except OSError:
        return [-1, -1]
    return [stat.st_size, stat.st_mtime_ns]


def _read_index(path: Path) -> dict[str, list]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
