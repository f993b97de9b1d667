"""People's enrolment: each profile's labelled recordings, kept in one SQLite file that can forget.

Recordings are FLAC bytes inside the database, so that one transaction adds or deletes them with all that belongs to
them. Deleted content is overwritten (secure_delete) and the write-ahead log emptied: nothing stays to be found.
"""

import io
import json
import sqlite3
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar
from uuid import uuid4

import numpy as np
import soundfile
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from ser_core.data.audio import SAMPLE_RATE, AudioRejected, Recording, read_recording
from ser_core.labels import EMOTIONS, UnknownEmotion, canonical_emotion

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x41545455  # "ATTU", in the database's header beside the version
_MAX_NAME = 64
_ARCHIVE_FORMAT = "attune-profile"
_ARCHIVE_VERSION = 1
_MAX_UNPACKED = 200 * 10**6  # bytes
_MAX_DOCUMENT = 10**6  # bytes of profile.json
_PATIENCE_S = 5.0
_PRAGMAS = (
    f"busy_timeout={_PATIENCE_S * 1000:.0f}",  # ms; first, so that the others wait as well
    "journal_mode=WAL",
    "synchronous=FULL",  # what was acknowledged survives a power cut
    "foreign_keys=ON",
    "secure_delete=ON",
)
_TROUBLES = {
    "SQLITE_FULL": "cannot grow, the disk is full; free some space, then try again",
    "SQLITE_IOERR": "cannot be read or written, the disk is full or failing; free some space, then try again",
    "SQLITE_READONLY": "may be read but not written; allow yourself to write the file and its folder",
    "SQLITE_CANTOPEN": "cannot be opened; check that its folder exists and that you may write there",
    "SQLITE_BUSY": "is in use by another program; wait until that is done, then try again",
    "SQLITE_NOTADB": "is not a database; move the file away and a new one will be made",
    "SQLITE_CORRUPT": "is damaged; put back a copy, or move the file away and a new one will be made",
}

_metadata = sa.MetaData()
_profiles = sa.Table(
    "profiles",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without its case
    sa.Column("created", sa.Text, nullable=False),
)
_utterances = sa.Table(
    "utterances",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("utterance_id", sa.Text, nullable=False, unique=True),
    sa.Column("profile", sa.ForeignKey(_profiles.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("emotion", sa.Text, nullable=False),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("added", sa.Text, nullable=False),
    sa.Column("quality", sa.JSON, nullable=False),
    sa.Column("flac", sa.LargeBinary, nullable=False),
)
_embeddings = sa.Table(
    "embeddings",
    _metadata,
    sa.Column("utterance", sa.ForeignKey(_utterances.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("n_layers", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False),  # n_layers x width, little-endian float32
)


class ProfileError(ValueError):
    """Something about profiles that the person can mend; the message says how."""


class UnknownProfile(ProfileError):
    """No profile has this name."""


class ProfileExists(ProfileError):
    """A profile has this name already, perhaps in another case."""


class BadProfileName(ProfileError):
    """A name that no profile may have."""


class UnknownUtterance(ProfileError):
    """The profile has no utterance of this id."""


class BadArchive(ProfileError):
    """A file that is not a profile as `ProfileStore.export` writes it."""


class StoreUnusable(ProfileError):
    """The database cannot be read or written."""


@dataclass(frozen=True)
class EnrolledUtterance:
    """One labelled recording of a profile, without its samples.

    Attributes:
        utterance_id: names it within the store; means nothing outside.
        emotion: one of `labels.EMOTIONS`.
        added: ISO 8601, UTC.
        quality: the verdict when it was recorded; may be empty.
    """

    utterance_id: str
    emotion: str
    duration_s: float
    added: str
    quality: dict


@dataclass(frozen=True)
class RemovedUtterance(EnrolledUtterance):
    """What `ProfileStore.restore` needs to undo a removal; it exists in memory only."""

    flac: bytes = field(repr=False)


_Kind = TypeVar("_Kind", bound=EnrolledUtterance)


@dataclass(frozen=True)
class Profile:
    """A person's enrolment.

    Attributes:
        created: ISO 8601, UTC.
        utterances: in the order of `labels.EMOTIONS`, then as they were added.
    """

    name: str
    created: str
    utterances: tuple[EnrolledUtterance, ...] = ()

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions there are utterances of, each once."""
        return tuple(dict.fromkeys(utterance.emotion for utterance in self.utterances))


@dataclass(frozen=True)
class Erased:
    """What a deletion destroyed: recordings, and the bytes of these and of their embeddings."""

    name: str
    n_utterances: int
    n_bytes: int


class ProfileStore:
    """All profiles, in one SQLite file; any number of threads and programs may use it at once.

    Every method may raise `StoreUnusable`, and those that name a profile `UnknownProfile`. Names are told apart
    without their case: 'Ann' and 'ann' are one person.
    """

    def __init__(self, path: Path):
        """The store at a path; nothing is opened or made before it is first used."""
        self.path = Path(path)
        # no pool: each call's connection ends with it, and the last one to end removes the log
        self._reading = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)), poolclass=sa.NullPool, hide_parameters=True
        )
        sa.event.listen(self._reading, "connect", _configure)
        sa.event.listen(self._reading, "begin", _begin)
        self._writing = self._reading.execution_options(begin="BEGIN IMMEDIATE")
        self._ready = False

    def create(self, name: str) -> Profile:
        """Make an empty profile.

        Raises:
            BadProfileName: not 1 to 64 printable characters, or with a slash.
            ProfileExists: the name is taken.
        """
        name = _checked_name(name)
        with self._transaction(self._writing) as connection:
            _insert_profile(connection, name, _now())
            return _load(connection, name)

    def get(self, name: str) -> Profile:
        """The profile of this name."""
        with self._transaction(self._reading) as connection:
            return _load(connection, name)

    def add(
        self, name: str, emotion: str, waveform: np.ndarray, quality: dict | None = None, replace: bool = True
    ) -> EnrolledUtterance:
        """Enrol one utterance.

        Args:
            name: a profile that exists.
            emotion: any spelling `labels.canonical_emotion` knows.
            waveform: (N,) float32 in [-1, 1], 16 kHz; kept with 16 bits.
            quality: the verdict to keep with it; numbers that do not exist become null.
            replace: remove the profile's earlier utterances of this emotion.

        Raises:
            UnknownEmotion: it cannot be enrolled.
            AudioRejected: it could not be read again (too short, too long, silent, clipped …).
        """
        row = _new_utterance(emotion, waveform, quality)
        with self._transaction(self._writing) as connection:
            _insert_utterances(connection, _find(connection, name).id, [row], replace)
        self._empty_log()
        return _described(row, EnrolledUtterance)

    def add_many(self, name: str, clips: Sequence[tuple[str, np.ndarray, dict]], create: bool = False) -> Profile:
        """Enrol several utterances, all or none; earlier ones of the same emotions are replaced.

        Args:
            name: a profile that exists, or with `create` a new one.
            clips: emotion, waveform and quality of each, as `add` takes them.
            create: make the profile; a name that is taken is refused, for two people must not share a profile.

        Raises:
            ProfileExists, BadProfileName: as `create` does.
            UnknownEmotion, AudioRejected: as `add` does.
        """
        name = _checked_name(name) if create else name
        rows = [_new_utterance(*clip) for clip in clips]
        with self._transaction(self._writing) as connection:
            profile = _insert_profile(connection, name, _now()) if create else _find(connection, name).id
            _insert_utterances(connection, profile, rows, replace=True)
            loaded = _load(connection, name)
        self._empty_log()
        return loaded

    def remove(self, name: str, utterance_id: str) -> RemovedUtterance:
        """Take one utterance out, recording and embeddings; `restore` with what is given back undoes it.

        Raises:
            UnknownUtterance: the profile has none of this id.
        """
        with self._transaction(self._writing) as connection:
            row = _find_utterance(connection, name, utterance_id)
            connection.execute(sa.delete(_utterances).where(_utterances.c.id == row.id))
        self._empty_log()
        return _described(row._mapping, RemovedUtterance)

    def restore(self, name: str, utterance: RemovedUtterance) -> EnrolledUtterance:
        """Undo `remove`: same id, same bytes; beside what was enrolled since. Doing it twice changes nothing."""
        row = {item.name: getattr(utterance, item.name) for item in fields(utterance)}
        with self._transaction(self._writing) as connection:
            profile = _find(connection, name).id
            connection.execute(insert(_utterances).on_conflict_do_nothing(), {**row, "profile": profile})
        return _described(row, EnrolledUtterance)

    def rename(self, name: str, new_name: str) -> Profile:
        """Give a profile another name.

        Raises:
            BadProfileName, ProfileExists: as `create` does.
        """
        new_name = _checked_name(new_name)
        with self._transaction(self._writing) as connection, _unique(new_name):
            which = _profiles.c.id == _find(connection, name).id
            connection.execute(sa.update(_profiles).where(which).values(name=new_name, key=_key(new_name)))
            renamed = _load(connection, new_name)
        self._empty_log()
        return renamed

    def delete(self, name: str) -> Erased:
        """Erase a profile: its rows, recordings and embeddings, so that no byte of them is left in the files.

        Raises:
            StoreUnusable: also when another program reads just now and so keeps the log from being emptied; the
                profile is deleted then, and its last traces go when that program is done.
        """
        with self._transaction(self._writing) as connection:
            row = _find(connection, name)
            erased = Erased(row.name, *_extent(connection, row.id))
            connection.execute(sa.delete(_profiles).where(_profiles.c.id == row.id))
        if not self._empty_log():
            raise StoreUnusable(
                f"'{row.name}' is deleted, but another program that reads the profiles keeps a copy in their log; "
                "close that program and the copy goes"
            )
        return erased

    def audio(self, name: str, utterance_id: str) -> np.ndarray:
        """An utterance's waveform, (N,) float32, 16 kHz.

        Raises:
            UnknownUtterance: the profile has none of this id.
        """
        with self._transaction(self._reading) as connection:
            flac = _find_utterance(connection, name, utterance_id).flac
        return _decoded(flac)

    def embeddings(self, name: str, fingerprint: str, embed: Callable[[list[np.ndarray]], np.ndarray]) -> np.ndarray:
        """Embeddings of all of a profile's utterances, computed once and kept for as long as the recording is.

        Args:
            name: a profile.
            fingerprint: names all that changes an embedding: the encoder and how its input is prepared.
            embed: from waveforms as `audio` gives them, [(N,)] * M, to (M, L, 2 D) float32; called once with those
                not embedded yet, or not at all. No lock is held meanwhile.

        Returns:
            (K, L, 2 D) float32 in the order of `get(name).utterances`; (0, 0, 0) for an empty profile.
        """
        with self._transaction(self._reading) as connection:
            rows = _utterance_rows(connection, _find(connection, name).id)
            known = _known_embeddings(connection, rows, fingerprint)
            missing = [row.id for row in rows if row.id not in known]
            recordings = _recordings(connection, missing)
        if missing:
            vectors = embed([_decoded(recordings[utterance]) for utterance in missing])
            new = dict(zip(missing, _checked_vectors(vectors, len(missing)), strict=True))
            with self._transaction(self._writing) as connection:
                _insert_embeddings(connection, fingerprint, new)
            known |= new
        return np.stack([known[row.id] for row in rows]) if rows else np.zeros((0, 0, 0), np.float32)

    def export(self, name: str) -> bytes:
        """All of a profile as a zip: profile.json and one FLAC file an utterance; embeddings are left out."""
        with self._transaction(self._reading) as connection:
            profile = _load(connection, name)
            rows = _utterance_rows(connection, _find(connection, name).id)
            recordings = _recordings(connection, [row.id for row in rows])
        return _packed(profile, [recordings[row.id] for row in rows])

    def import_archive(self, content: bytes, name: str | None = None) -> Profile:
        """Make a profile of what `export` wrote; all of it or nothing. Utterances get new ids.

        Args:
            content: the bytes of the zip.
            name: of the profile to make; the archive's own if None.

        Raises:
            BadArchive: it is something else, or unsafe, or part of it cannot be read.
            ProfileExists: the name is taken; another one can be given.
            BadProfileName: the name given cannot be one.
        """
        own_name, created, rows = _unpacked(content)
        name = own_name if name is None else _checked_name(name)
        with self._transaction(self._writing) as connection:
            profile = _insert_profile(connection, name, created)
            _insert_utterances(connection, profile, rows, replace=False)
            return _load(connection, name)

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        self._reading.dispose()
        self._ready = False

    def list(self) -> list[Profile]:
        """All profiles, by name."""
        with self._transaction(self._reading) as connection:
            people = connection.execute(sa.select(_profiles).order_by(_profiles.c.key)).all()
            return [_profile(connection, row) for row in people]

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """A connection of its own for one call; committed at the end, rolled back if anything goes wrong."""
        with _in_words(self.path.name):
            self._prepare()
            with engine.begin() as connection:
                yield connection

    def _prepare(self) -> None:
        if self._ready and self.path.exists():
            return
        _make_private(self.path)
        with self._reading.begin() as connection:
            current = _is_current(connection, self.path.name)
        if not current:
            with self._writing.begin() as connection:
                _make_schema(connection, self.path.name)
        self._ready = True

    def _empty_log(self) -> bool:
        """Move the log's content into the database and cut it to nothing; whether no reader prevented that."""
        deadline = time.monotonic() + _PATIENCE_S
        with _in_words(self.path.name), closing(self._reading.raw_connection()) as connection:
            while not (emptied := _checkpoint(connection)) and time.monotonic() < deadline:
                time.sleep(0.02)  # SQLite waits for readers by itself, not for another checkpoint
        return emptied


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _checkpoint(connection: sa.PoolProxiedConnection) -> bool:
    cursor = connection.cursor()
    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    busy, *_ = cursor.fetchone()
    return not busy


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


@contextmanager
def _in_words(file_name: str) -> Iterator[None]:
    """Trouble with the file, told in words that name neither its folder nor what was to be stored."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        code = getattr(getattr(error, "orig", error), "sqlite_errorname", "an unnamed error")
        trouble = next((words for start, words in _TROUBLES.items() if code.startswith(start)), None)
        trouble = trouble or f"cannot be used ({code}); put back a copy, or move the file away"
    except OSError as error:
        trouble = f"cannot be made ({error.strerror}); check that you may write in its folder"
    else:
        return
    raise StoreUnusable(f"the database of profiles '{file_name}' {trouble}")


def _make_private(path: Path) -> None:
    """The file and its folder, for their owner only; SQLite gives the log the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _is_current(connection: sa.Connection, file_name: str) -> bool:
    """Whether the database has our schema (True) or nothing at all (False); anything else is refused."""
    owner, version, n_tables = (
        connection.exec_driver_sql(query).scalar_one()
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (owner, version, n_tables) == (0, 0, 0):
        return False
    if owner != _APPLICATION_ID:
        raise StoreUnusable(f"the database '{file_name}' belongs to another program; move it away and try again")
    if version != _SCHEMA_VERSION:
        raise StoreUnusable(
            f"the database of profiles '{file_name}' has version {version}, this program knows version "
            f"{_SCHEMA_VERSION}; update the program"
        )
    return True


def _make_schema(connection: sa.Connection, file_name: str) -> None:
    if _is_current(connection, file_name):  # another program was faster
        return
    _metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version={_SCHEMA_VERSION}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _checked_name(name: str) -> str:
    name = unicodedata.normalize("NFC", str(name or "").strip())
    if not 1 <= len(name) <= _MAX_NAME:
        raise BadProfileName(f"the name has {len(name)} characters; give it 1 to {_MAX_NAME}")
    if not name.isprintable() or "/" in name or "\\" in name:
        raise BadProfileName(f"{ascii(name)} cannot be a name; use letters, digits, spaces and signs, but no / or \\")
    return name


def _key(name: str) -> str:
    """What makes two names the same; of what can be no name, something that is no name either."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name).strip()).casefold())
    return folded.encode(errors="backslashreplace").decode()


def _find(connection: sa.Connection, name: str) -> sa.Row:
    row = connection.execute(sa.select(_profiles).where(_profiles.c.key == _key(name))).one_or_none()
    if row is None:
        query = sa.select(_profiles.c.name).order_by(_profiles.c.key)
        raise UnknownProfile(f"there is no profile {str(name)!r}; {_listed(connection.scalars(query).all())}")
    return row


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "there are none yet, enrol somebody first"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"there is {', '.join(names[:5])}{more}"


def _load(connection: sa.Connection, name: str) -> Profile:
    return _profile(connection, _find(connection, name))


def _profile(connection: sa.Connection, row: sa.Row) -> Profile:
    rows = _utterance_rows(connection, row.id)
    return Profile(row.name, row.created, tuple(_described(each._mapping, EnrolledUtterance) for each in rows))


def _utterance_rows(connection: sa.Connection, profile: int) -> Sequence[sa.Row]:
    """A profile's utterances in their order, without the recordings."""
    columns = [column for column in _utterances.c if column.name != "flac"]
    place = sa.case({emotion: place for place, emotion in enumerate(EMOTIONS)}, value=_utterances.c.emotion)
    query = sa.select(*columns).where(_utterances.c.profile == profile)
    return connection.execute(query.order_by(place, _utterances.c.added, _utterances.c.id)).all()


def _find_utterance(connection: sa.Connection, name: str, utterance_id: str) -> sa.Row:
    profile = _find(connection, name)
    which = (_utterances.c.profile == profile.id) & (_utterances.c.utterance_id == _key(utterance_id))
    row = connection.execute(sa.select(_utterances).where(which)).one_or_none()
    if row is None:
        raise UnknownUtterance(f"'{profile.name}' has no utterance {str(utterance_id)!r}; it may be removed already")
    return row


def _described(row: Mapping, kind: type[_Kind]) -> _Kind:
    return kind(**{item.name: row[item.name] for item in fields(kind)})


@contextmanager
def _unique(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise ProfileExists(f"there is a profile '{name}' already (case does not count); give another name") from None


def _insert_profile(connection: sa.Connection, name: str, created: str) -> int:
    with _unique(name):
        row = {"name": name, "key": _key(name), "created": created}
        return connection.execute(sa.insert(_profiles).values(row)).inserted_primary_key[0]


def _insert_utterances(connection: sa.Connection, profile: int, rows: Sequence[dict], replace: bool) -> None:
    if replace:
        earlier = (_utterances.c.profile == profile) & _utterances.c.emotion.in_([row["emotion"] for row in rows])
        connection.execute(sa.delete(_utterances).where(earlier))
    if rows:
        connection.execute(sa.insert(_utterances), [{**row, "profile": profile} for row in rows])


def _extent(connection: sa.Connection, profile: int) -> tuple[int, int]:
    """How many utterances, and bytes of recordings and embeddings, a profile has."""
    ours = _utterances.c.profile == profile
    size = sa.func.coalesce(sa.func.sum(sa.func.length(_utterances.c.flac)), 0)
    n_utterances, n_bytes = connection.execute(sa.select(sa.func.count(), size).where(ours)).one()
    size = sa.func.coalesce(sa.func.sum(sa.func.length(_embeddings.c.vectors)), 0)
    return n_utterances, n_bytes + connection.scalar(sa.select(size).join_from(_embeddings, _utterances).where(ours))


def _recordings(connection: sa.Connection, utterances: Sequence[int]) -> dict[int, bytes]:
    query = sa.select(_utterances.c.id, _utterances.c.flac).where(_utterances.c.id.in_(utterances))
    return dict(connection.execute(query).all())


def _known_embeddings(connection: sa.Connection, rows: Sequence[sa.Row], fingerprint: str) -> dict[int, np.ndarray]:
    ours = _embeddings.c.utterance.in_([row.id for row in rows]) & (_embeddings.c.fingerprint == fingerprint)
    return {
        row.utterance: np.frombuffer(row.vectors, "<f4").reshape(row.n_layers, row.width)
        for row in connection.execute(sa.select(_embeddings).where(ours))
    }


def _checked_vectors(vectors: np.ndarray, n_waveforms: int) -> np.ndarray:
    vectors = np.asarray(vectors, dtype="<f4")
    if vectors.ndim != 3 or len(vectors) != n_waveforms:
        raise ValueError(f"embed gave {vectors.shape} for {n_waveforms} waveforms; expected ({n_waveforms}, L, 2 D)")
    return vectors


def _insert_embeddings(connection: sa.Connection, fingerprint: str, vectors: dict[int, np.ndarray]) -> None:
    """Keep what was computed, but for utterances removed meanwhile: what is erased must not come back."""
    there = set(connection.scalars(sa.select(_utterances.c.id).where(_utterances.c.id.in_(vectors))))
    for utterance in there:
        n_layers, width = vectors[utterance].shape
        row = {"utterance": utterance, "fingerprint": fingerprint, "n_layers": n_layers, "width": width}
        query = insert(_embeddings).on_conflict_do_nothing()
        connection.execute(query, {**row, "vectors": vectors[utterance].tobytes()})


def _new_utterance(emotion: str, waveform: np.ndarray, quality: dict | None) -> dict:
    emotion, flac = canonical_emotion(emotion, EMOTIONS), _encoded(waveform)
    return _utterance_row(emotion, flac, read_recording(flac), _now(), quality)


def _utterance_row(emotion: str, flac: bytes, recording: Recording, added: str, quality: dict | None) -> dict:
    return {
        "utterance_id": uuid4().hex,
        "emotion": emotion,
        "duration_s": recording.duration_s,
        "added": added,
        "quality": json.loads(json.dumps(quality or {}), parse_constant=lambda _: None),  # nan is null
        "flac": flac,
    }


def _encoded(waveform: np.ndarray) -> bytes:
    """FLAC with 16 bits, of (N,) float32 in [-1, 1] at 16 kHz."""
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioRejected("not_finite", "the waveform is not one row of finite samples; record it again")
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(waveform, -1.0, 1.0), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def _decoded(flac: bytes) -> np.ndarray:
    try:
        return read_recording(flac).waveform
    except AudioRejected:
        raise StoreUnusable("a stored recording is damaged; remove it and record it again") from None


def _packed(profile: Profile, recordings: Sequence[bytes]) -> bytes:
    names = [f"{place:02d}_{utterance.emotion}.flac" for place, utterance in enumerate(profile.utterances, 1)]
    kept = ("emotion", "duration_s", "added", "quality")
    listed = [
        {"file": name, **{key: getattr(utterance, key) for key in kept}}
        for name, utterance in zip(names, profile.utterances, strict=True)
    ]
    head = {"format": _ARCHIVE_FORMAT, "version": _ARCHIVE_VERSION, "name": profile.name, "created": profile.created}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("profile.json", json.dumps({**head, "utterances": listed}, indent=2, ensure_ascii=False))
        for name, flac in zip(names, recordings, strict=True):
            archive.writestr(name, flac)
    return stream.getvalue()


def _unpacked(content: bytes) -> tuple[str, str, list[dict]]:
    """Name, time of creation and utterances of an archive; nothing of it touches the disk."""
    files = _files(content)
    try:
        document = _document(files.pop("profile.json"))
        _check_format(document["format"], document["version"])
        name, created = _checked_name(document["name"]), _iso(document["created"])
        return name, created, [_archived_utterance(entry, files) for entry in document["utterances"]]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(
            f"the archive's profile.json is missing or malformed ({_reason(error)}); export the profile again"
        ) from None


def _document(content: bytes) -> dict:
    if len(content) > _MAX_DOCUMENT:
        raise BadArchive("the archive's profile.json is far too long; choose a file that was exported here")
    return json.loads(content)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is not there"
    return "not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)[:200]


def _check_format(form: object, version: object) -> None:
    if form != _ARCHIVE_FORMAT or type(version) is not int or version < 1:
        raise BadArchive("the archive holds something other than a profile; choose a file that was exported here")
    if version > _ARCHIVE_VERSION:
        raise BadArchive(f"the archive has format {version}, this program knows {_ARCHIVE_VERSION}; update the program")


def _iso(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")


def _archived_utterance(entry: dict, files: dict[str, bytes]) -> dict:
    content = files.pop(entry["file"])  # each file once, or a small archive could fill the disk
    try:
        recording = read_recording(content)
        emotion = canonical_emotion(entry["emotion"], EMOTIONS)
    except (AudioRejected, UnknownEmotion) as error:
        raise BadArchive(f"the archive's file {entry['file']!r} cannot be used: {error}") from None
    if not isinstance(entry["quality"], dict):
        raise TypeError("'quality' is not an object")
    flac = content if _is_ours(content) else _encoded(recording.waveform)
    return _utterance_row(emotion, flac, recording, _iso(entry["added"]), entry["quality"])


def _is_ours(content: bytes) -> bool:
    info = soundfile.info(io.BytesIO(content))
    return (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", SAMPLE_RATE, 1)


def _files(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            return _read_all(archive, entries)
    except BadArchive:
        raise
    # zipfile says that something is wrong in all these ways: damaged, encrypted, of an unknown kind, cut short
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, RuntimeError, ValueError, OSError, EOFError):
        raise BadArchive("the file is not a zip that can be read; choose a file that was exported here") from None


def _check_entries(entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        posix, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
        if posix.is_absolute() or windows.anchor or ".." in windows.parts:
            raise BadArchive(f"the archive's file {entry.filename[:80]!r} points outside the archive; do not trust it")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unpacks others unbounded
            raise BadArchive("the archive is compressed in an unusual way; choose a file that was exported here")
    if sum(entry.file_size for entry in entries) > _MAX_UNPACKED:
        raise _too_large()


def _read_all(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> dict[str, bytes]:
    """Every file's content; sizes are counted again while reading, for the headers may lie."""
    files, left = {}, _MAX_UNPACKED
    for entry in entries:
        with archive.open(entry) as file:
            files[entry.filename] = file.read(left + 1)
        left -= len(files[entry.filename])
        if left < 0:
            raise _too_large()
    return files


def _too_large() -> BadArchive:
    return BadArchive(
        f"the archive unpacks to more than {_MAX_UNPACKED // 10**6} MB; a profile has far less, choose another file"
    )
