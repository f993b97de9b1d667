"""People's enrolment: each profile's labelled recordings, kept in one SQLite file that can forget.

Recordings are FLAC bytes inside the database, so that one transaction adds or deletes them with all that belongs to
them. Deleted content is overwritten (secure_delete) and the write-ahead log emptied: nothing stays to be found.
"""

import json
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from ser_core.data.audio import AudioRejected, read_recording
from ser_core.inference.archives import (
    ArchivedProfile,
    ArchivedUtterance,
    BadArchive,  # noqa: F401 (for who catches it: all errors of the store can be imported from here)
    ProfileError,
    as_flac,
    malformed,
    pack,
    unpack,
)
from ser_core.labels import EMOTIONS, canonical_emotion

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x41545455  # "ATTU", in the database's header beside the version
_MAX_NAME = 64
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


class UnknownProfile(ProfileError):
    """No profile has this name."""


class ProfileExists(ProfileError):
    """A profile has this name already, perhaps in another case."""


class BadProfileName(ProfileError):
    """A name that no profile may have."""


class UnknownUtterance(ProfileError):
    """The profile has no utterance of this id."""


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


@dataclass(frozen=True)
class Profile:
    """A person's enrolment; `created` is ISO 8601, UTC, utterances stand in the order of `labels.EMOTIONS`."""

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

    Names are told apart without their case: 'Ann' and 'ann' are one person. Every method may raise `StoreUnusable`,
    those that name a profile `UnknownProfile`, those that name an utterance `UnknownUtterance`, and those that give a
    name `BadProfileName` (not 1 to 64 printable characters, or with a slash) and `ProfileExists` (it is taken).
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
        """Make an empty profile."""
        name = _checked_name(name)
        with self._transaction(self._writing) as connection:
            return _load(connection, _insert_profile(connection, name, _now()))

    def get(self, name: str) -> Profile:
        """The profile of this name."""
        with self._transaction(self._reading) as connection:
            return _load(connection, _find(connection, name))

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
        return _enrolled(row)

    def add_many(self, name: str, clips: Sequence[tuple[str, np.ndarray, dict]], create: bool = False) -> Profile:
        """Enrol several utterances, all or none; earlier ones of the same emotions are replaced.

        Args:
            name: a profile that exists, or with `create` a new one.
            clips: emotion, waveform and quality of each, as `add` takes them; refused as there.
            create: make the profile; a name that is taken is refused, for two people must not share a profile.
        """
        name = _checked_name(name) if create else name
        rows = [_new_utterance(*clip) for clip in clips]
        with self._transaction(self._writing) as connection:
            row = _insert_profile(connection, name, _now()) if create else _find(connection, name)
            _insert_utterances(connection, row.id, rows, replace=True)
            profile = _load(connection, row)
        self._empty_log()
        return profile

    def remove(self, name: str, utterance_id: str) -> RemovedUtterance:
        """Take one utterance out, recording and embeddings; `restore` with what is given back undoes it."""
        with self._transaction(self._writing) as connection:
            row = _find_utterance(connection, name, utterance_id)
            connection.execute(sa.delete(_utterances).where(_utterances.c.id == row.id))
        self._empty_log()
        return RemovedUtterance(**vars(_enrolled(row._mapping)), flac=row.flac)

    def restore(self, name: str, utterance: RemovedUtterance) -> EnrolledUtterance:
        """Undo `remove`: same id, same bytes; beside what was enrolled since. Doing it twice changes nothing."""
        with self._transaction(self._writing) as connection:
            row = {**vars(utterance), "profile": _find(connection, name).id}
            connection.execute(insert(_utterances).on_conflict_do_nothing(), row)
        return _enrolled(row)

    def rename(self, name: str, new_name: str) -> Profile:
        """Give a profile another name."""
        new_name = _checked_name(new_name)
        with self._transaction(self._writing) as connection, _unique(new_name):
            which = _profiles.c.id == _find(connection, name).id
            connection.execute(sa.update(_profiles).where(which).values(name=new_name, key=_key(new_name)))
            renamed = _load(connection, _find(connection, new_name))
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
        """An utterance's waveform, (N,) float32, 16 kHz."""
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
            n = len(missing)
            vectors = np.asarray(embed([_decoded(recordings[utterance]) for utterance in missing]), dtype="<f4")
            if vectors.ndim != 3 or len(vectors) != n:
                raise ValueError(f"embed gave {vectors.shape} for {n} waveforms; expected ({n}, L, 2 D)")
            new = dict(zip(missing, vectors, strict=True))
            with self._transaction(self._writing) as connection:
                _insert_embeddings(connection, fingerprint, new)
            known |= new
        return np.stack([known[row.id] for row in rows]) if rows else np.zeros((0, 0, 0), np.float32)

    def export(self, name: str) -> bytes:
        """All of a profile as a zip: profile.json and one FLAC file an utterance; embeddings are left out."""
        with self._transaction(self._reading) as connection:
            profile = _find(connection, name)
            rows = _utterance_rows(connection, profile.id)
            flacs = _recordings(connection, [row.id for row in rows])
        utterances = tuple(
            ArchivedUtterance(row.emotion, row.duration_s, row.added, row.quality, flacs[row.id]) for row in rows
        )
        return pack(ArchivedProfile(profile.name, profile.created, utterances))

    def import_archive(self, content: bytes, name: str | None = None) -> Profile:
        """Make a profile of what `export` wrote; all of it or nothing. Utterances get new ids.

        Args:
            content: the bytes of the zip.
            name: of the profile to make; the archive's own if None.

        Raises:
            BadArchive: it is something else, or unsafe, or part of it cannot be read.
        """
        archived = unpack(content)
        try:
            own_name = _checked_name(archived.name)
        except BadProfileName as error:
            raise malformed(error) from None
        name = own_name if name is None else _checked_name(name)
        rows = [_utterance_row(**vars(utterance)) for utterance in archived.utterances]
        with self._transaction(self._writing) as connection:
            profile = _insert_profile(connection, name, archived.created)
            _insert_utterances(connection, profile.id, rows, replace=False)
            return _load(connection, profile)

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        self._ready = False  # no connection outlives its call

    def list(self) -> list[Profile]:
        """All profiles, by name."""
        with self._transaction(self._reading) as connection:
            people = connection.execute(sa.select(_profiles).order_by(_profiles.c.key)).all()
            return [_load(connection, row) for row in people]

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
                if not _is_current(connection, self.path.name):  # else another program was faster
                    _metadata.create_all(connection)
                    connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")
                    connection.exec_driver_sql(f"PRAGMA user_version={_SCHEMA_VERSION}")
        self._ready = True

    def _empty_log(self) -> bool:
        """Move the log's content into the database and cut it to nothing; whether no reader prevented that."""
        deadline = time.monotonic() + _PATIENCE_S
        with _in_words(self.path.name), closing(self._reading.raw_connection()) as connection:
            while busy := connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)  # SQLite waits for readers by itself, not for another checkpoint
        return not busy


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))


@contextmanager
def _in_words(file_name: str) -> Iterator[None]:
    """Trouble with the file, told in words that name neither its folder nor what was to be stored."""
    try:
        yield
        return
    except (DBAPIError, sqlite3.Error) as error:
        code = getattr(getattr(error, "orig", error), "sqlite_errorname", "an unnamed error")
        unknown = f"cannot be used ({code}); put back a copy, or move the file away"
        trouble = next((words for start, words in _TROUBLES.items() if code.startswith(start)), unknown)
    except OSError as error:
        trouble = f"cannot be made ({error.strerror}); check that you may write in its folder"
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
        names = connection.scalars(sa.select(_profiles.c.name).order_by(_profiles.c.key)).all()
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        known = f"there is {', '.join(names[:5])}{more}" if names else "there are none yet, enrol somebody first"
        raise UnknownProfile(f"there is no profile {str(name)!r}; {known}")
    return row


def _find_utterance(connection: sa.Connection, name: str, utterance_id: str) -> sa.Row:
    profile = _find(connection, name)
    which = (_utterances.c.profile == profile.id) & (_utterances.c.utterance_id == _key(utterance_id))
    row = connection.execute(sa.select(_utterances).where(which)).one_or_none()
    if row is None:
        raise UnknownUtterance(f"'{profile.name}' has no utterance {str(utterance_id)!r}; it may be removed already")
    return row


def _utterance_rows(connection: sa.Connection, profile: int) -> Sequence[sa.Row]:
    """A profile's utterances in the order of `EMOTIONS` and then of time, without the recordings."""
    columns = [column for column in _utterances.c if column.name != "flac"]
    place = sa.case({emotion: place for place, emotion in enumerate(EMOTIONS)}, value=_utterances.c.emotion)
    query = sa.select(*columns).where(_utterances.c.profile == profile)
    return connection.execute(query.order_by(place, _utterances.c.added, _utterances.c.id)).all()


def _load(connection: sa.Connection, profile: sa.Row) -> Profile:
    utterances = tuple(_enrolled(row._mapping) for row in _utterance_rows(connection, profile.id))
    return Profile(profile.name, profile.created, utterances)


def _enrolled(row: Mapping) -> EnrolledUtterance:
    return EnrolledUtterance(**{item.name: row[item.name] for item in fields(EnrolledUtterance)})


@contextmanager
def _unique(name: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise ProfileExists(f"there is a profile '{name}' already (case does not count); give another name") from None


def _insert_profile(connection: sa.Connection, name: str, created: str) -> sa.Row:
    with _unique(name):
        connection.execute(sa.insert(_profiles).values(name=name, key=_key(name), created=created))
    return _find(connection, name)


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


def _insert_embeddings(connection: sa.Connection, fingerprint: str, vectors: dict[int, np.ndarray]) -> None:
    """Keep what was computed, but for utterances removed meanwhile: what is erased must not come back."""
    there = connection.scalars(sa.select(_utterances.c.id).where(_utterances.c.id.in_(vectors))).all()
    for utterance in there:
        n_layers, width = vectors[utterance].shape
        row = {"utterance": utterance, "fingerprint": fingerprint, "n_layers": n_layers, "width": width}
        row["vectors"] = vectors[utterance].tobytes()
        connection.execute(insert(_embeddings).on_conflict_do_nothing(), row)


def _new_utterance(emotion: str, waveform: np.ndarray, quality: dict | None) -> dict:
    emotion, flac = canonical_emotion(emotion, EMOTIONS), as_flac(waveform)
    return _utterance_row(emotion, read_recording(flac).duration_s, _now(), quality, flac)


def _utterance_row(emotion: str, duration_s: float, added: str, quality: dict | None, flac: bytes) -> dict:
    return {
        "utterance_id": uuid4().hex,
        "emotion": emotion,
        "duration_s": duration_s,
        "added": added,
        "quality": json.loads(json.dumps(quality or {}), parse_constant=lambda _: None),  # nan is null
        "flac": flac,
    }


def _decoded(flac: bytes) -> np.ndarray:
    try:
        return read_recording(flac).waveform
    except AudioRejected:
        raise StoreUnusable("a stored recording is damaged; remove it and record it again") from None
