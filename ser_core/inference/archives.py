"""A profile as a zip, to take along: profile.json, and one FLAC file an utterance.

What comes in may be anything: it is checked before it is used, and nothing of it touches the disk.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PureWindowsPath

import numpy as np
import soundfile

from ser_core.data.audio import SAMPLE_RATE, AudioRejected, read_recording
from ser_core.labels import EMOTIONS, UnknownEmotion, canonical_emotion

_FORMAT = "attune-profile"
_VERSION = 1
MAX_UNPACKED = 200 * 10**6  # bytes
_MAX_DOCUMENT = 10**6  # bytes of profile.json


UNLABELLED = "unlabelled"
"""Stands where an emotion would, for free speech, whose emotion nobody said."""


class ProfileError(ValueError):
    """Something about profiles that the person can mend; the message says how."""


MAX_TRANSCRIPT = 20_000
"""Characters of what is said in one recording."""


class BadArchive(ProfileError):
    """A file that is not a profile as `pack` writes it."""


@dataclass(frozen=True)
class ArchivedUtterance:
    """One recording, of an emotion or UNLABELLED; `flac` is as `as_flac` gives it, `added` is ISO 8601, UTC."""

    emotion: str
    duration_s: float
    added: str
    quality: dict
    flac: bytes
    transcript: str | None = None


@dataclass(frozen=True)
class ArchivedProfile:
    """All that an archive holds; the name is as it was found, `created` is ISO 8601, UTC.

    `consent` is written, for people to read, and not read again.
    """

    name: str
    created: str
    utterances: tuple[ArchivedUtterance, ...]
    consent: dict[str, str] | None = None


def as_flac(waveform: np.ndarray) -> bytes:
    """FLAC with 16 bits, of (N,) float32 in [-1, 1] at 16 kHz.

    Raises:
        AudioRejected: not one row of finite samples.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioRejected("not_finite", "the waveform is not one row of finite samples; record it again")
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(waveform, -1.0, 1.0), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def pack(profile: ArchivedProfile) -> bytes:
    """The zip of a profile."""
    files = {f"{place:02d}_{each.emotion}.flac": each for place, each in enumerate(profile.utterances, 1)}
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "name": profile.name,
        "created": profile.created,
        "consent": profile.consent,  # to be read by people; whoever brings it in agrees anew
        "utterances": [
            {
                "file": file,
                "emotion": each.emotion,
                "duration_s": each.duration_s,
                "added": each.added,
                "quality": each.quality,
                "transcript": each.transcript,
            }
            for file, each in files.items()
        ],
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("profile.json", json.dumps(document, indent=2, ensure_ascii=False))
        for file, each in files.items():
            archive.writestr(file, each.flac)
    return stream.getvalue()


def unpack(content: bytes) -> ArchivedProfile:
    """The profile in a zip; a recording of another kind (WAV, 48 kHz …) is converted.

    Raises:
        BadArchive: it is something else, or unsafe, or part of it cannot be read.
    """
    files = _files(content)
    try:
        document = _document(files.pop("profile.json"))
        name, created = str(document["name"] or ""), _utc(document["created"])
        return ArchivedProfile(name, created, tuple(_utterance(entry, files) for entry in document["utterances"]))
    except BadArchive:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> BadArchive:
    """The refusal of a profile.json, with what was wrong in it."""
    if isinstance(error, KeyError):
        reason = f"'{error.args[0]}' is not there"
    elif isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        reason = "not JSON"
    else:
        reason = str(error)[:200]
    return BadArchive(f"the archive's profile.json is missing or malformed ({reason}); export the profile again")


def _document(content: bytes) -> dict:
    if len(content) > _MAX_DOCUMENT:
        raise BadArchive("the archive's profile.json is far too long; choose a file that was exported here")
    document = json.loads(content)
    form, version = document["format"], document["version"]
    if form != _FORMAT or type(version) is not int or version < 1:
        raise BadArchive("the archive holds something other than a profile; choose a file that was exported here")
    if version > _VERSION:
        raise BadArchive(f"the archive has format {version}, this program knows {_VERSION}; update the program")
    return document


def _utc(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")


def _utterance(entry: dict, files: dict[str, bytes]) -> ArchivedUtterance:
    content = files.pop(entry["file"])  # each file once, or a small archive could fill the disk
    try:
        recording = read_recording(content)
        emotion = _label(entry["emotion"])
    except (AudioRejected, UnknownEmotion) as error:
        raise BadArchive(f"the archive's file {entry['file']!r} cannot be used: {error}") from None
    _check_quality(entry["quality"])
    transcript = entry.get("transcript")
    if not isinstance(transcript, str | None) or len(transcript or "") > MAX_TRANSCRIPT:
        raise TypeError(f"'transcript' is not text of at most {MAX_TRANSCRIPT} characters")
    (transcript or "").encode()  # half of a surrogate pair is not text
    if "\0" in (transcript or ""):
        raise TypeError("'transcript' holds a zero, which is not text")
    info = soundfile.info(io.BytesIO(content))
    is_ours = (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", SAMPLE_RATE, 1)
    flac = content if is_ours else as_flac(recording.waveform)
    return ArchivedUtterance(emotion, recording.duration_s, _utc(entry["added"]), entry["quality"], flac, transcript)


def _label(word: str) -> str:
    """An emotion, or the word for speech of none."""
    return UNLABELLED if word == UNLABELLED else canonical_emotion(word, EMOTIONS)


def _check_quality(quality: object) -> None:
    """What the page will show of it has to be words."""
    if not isinstance(quality, dict):
        raise TypeError("'quality' is not an object")
    advice = quality.get("advice", [])
    if not isinstance(advice, list) or not all(
        isinstance(words, str) for words in [*advice, quality.get("verdict", "")]
    ):
        raise TypeError("'quality' holds something other than words")


def _files(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_entries(archive.infolist())
            return _read_all(archive)
    except BadArchive:
        raise
    # zipfile says that something is wrong in all these ways: damaged, encrypted, of an unknown kind, cut short
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, OSError, EOFError):
        raise BadArchive("the file is not a zip that can be read; choose a file that was exported here") from None


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        path = PureWindowsPath(entry.filename)  # both kinds of slash, and drives
        if path.anchor or ".." in path.parts:
            raise BadArchive(f"the archive's file {entry.filename[:80]!r} points outside the archive; do not trust it")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unpacks others unbounded
            raise BadArchive("the archive is compressed in an unusual way; choose a file that was exported here")
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise _too_large()


def _read_all(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Every file's content; sizes are counted again while reading, for the headers may lie."""
    files, left = {}, MAX_UNPACKED
    for entry in archive.infolist():
        with archive.open(entry) as file:
            files[entry.filename] = file.read(left + 1)
        left -= len(files[entry.filename])
        if left < 0:
            raise _too_large()
    return files


def _too_large() -> BadArchive:
    megabytes = MAX_UNPACKED // 10**6
    return BadArchive(f"the archive unpacks to more than {megabytes} MB; a profile has far less, choose another file")
