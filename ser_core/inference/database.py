"""The one SQLite file: its tables, how it is opened, and what its troubles mean.

Deleted content is overwritten (secure_delete), the file written anew without it and the write-ahead log emptied:
nothing stays to be found.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ser_core.inference.archives import ProfileError

_SCHEMA_VERSION = 4
_APPLICATION_ID = 0x41545455  # "ATTU", in the database's header beside the version
_PATIENCE_S = 5.0
_PRAGMAS = (
    f"busy_timeout={_PATIENCE_S * 1000:.0f}",  # ms; first, so that the others wait as well
    "journal_mode=WAL",
    "synchronous=FULL",  # what was acknowledged survives a power cut
    "foreign_keys=ON",
    "secure_delete=ON",
    "temp_store=MEMORY",  # while the file is written anew, no voice lies in the system's temporary folder
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
FACTS = sa.Table(  # about the store itself
    "facts",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
ACCOUNTS = sa.Table(
    "accounts",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without its case
    sa.Column("password", sa.Text, nullable=False),  # its hash, with how that was made
    sa.Column("created", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # no account ever gets the number of one that was erased
)
PROFILES = sa.Table(
    "profiles",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without its case, behind "ACCOUNT/"
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("consent_version", sa.Text),  # nothing for profiles older than this column
    sa.Column("consent_agreed", sa.Text),
    # nothing where only one person uses the program, who needs no account
    sa.Column("account", sa.ForeignKey(ACCOUNTS.c.id, ondelete="CASCADE"), index=True),
    sa.Column("last_used", sa.Text),  # a day
)
UTTERANCES = sa.Table(
    "utterances",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("utterance_id", sa.Text, nullable=False, unique=True),
    sa.Column("profile", sa.ForeignKey(PROFILES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("emotion", sa.Text, nullable=False),
    sa.Column("duration_s", sa.Float, nullable=False),
    sa.Column("added", sa.Text, nullable=False),
    sa.Column("quality", sa.JSON, nullable=False),
    sa.Column("flac", sa.LargeBinary, nullable=False),
    sa.Column("transcript", sa.Text),  # nothing where nobody wrote down what was said
)
EMBEDDINGS = sa.Table(
    "embeddings",
    _metadata,
    sa.Column("utterance", sa.ForeignKey(UTTERANCES.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("n_layers", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False),  # n_layers x width, little-endian float32
)
JUDGEMENTS = sa.Table(
    "judgements",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("profile", sa.ForeignKey(PROFILES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("personaliser", sa.Text),
    sa.Column("meant", sa.Text, nullable=False),
    sa.Column("baseline", sa.Text, nullable=False),
    sa.Column("personalised", sa.Text),
)


class StoreUnusable(ProfileError):
    """The database cannot be read or written."""


_FROM_VERSION = {
    1: (
        "ALTER TABLE profiles ADD COLUMN consent_version TEXT",
        "ALTER TABLE profiles ADD COLUMN consent_agreed TEXT",
    ),
    2: ("ALTER TABLE utterances ADD COLUMN transcript TEXT",),
    3: (
        "ALTER TABLE profiles ADD COLUMN account INTEGER REFERENCES accounts (id) ON DELETE CASCADE",
        "CREATE INDEX ix_profiles_account ON profiles (account)",
        "ALTER TABLE profiles ADD COLUMN last_used TEXT",
        "UPDATE profiles SET last_used = date('now')",  # nobody wrote down when it was
    ),
}
"""What leads from each version to the next."""


class Database:
    """The file; any number of threads and programs may use it at once. Every method may raise `StoreUnusable`."""

    def __init__(self, where: Path | str):
        """The database in a file, or at a SQLAlchemy URL; nothing is opened or made before it is first used."""
        self.path = where if isinstance(where, Path) else Path(sa.make_url(where).database)
        # no pool: each call's connection ends with it, and the last one to end removes the log
        self._reading = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)), poolclass=sa.NullPool, hide_parameters=True
        )
        sa.event.listen(self._reading, "connect", _configure)
        sa.event.listen(self._reading, "begin", _begin)
        self._writing = self._reading.execution_options(begin="BEGIN IMMEDIATE")
        self._ready = False

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection of its own for one call that changes nothing."""
        with self._transaction(self._reading) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection of its own for one call; committed at the end, rolled back if anything goes wrong."""
        with self._transaction(self._writing) as connection:
            yield connection

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        self._ready = False  # no connection outlives its call

    def forget(self) -> bool:
        """Leave no trace of what was deleted; whether no other program, and no full disk, prevented that.

        secure_delete overwrites a deleted row where it is, not where it was before SQLite moved it to another page:
        only a file that is written anew (VACUUM) is free of such copies. Then the log's content goes into the file, and the log is cut to nothing.
        """
        with _in_words(self.path.name), closing(self._reading.raw_connection()) as connection:
            try:
                connection.execute("VACUUM")
                rewritten = True
            except sqlite3.OperationalError:
                rewritten = False
            return _empty_log(connection) and rewritten

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with _in_words(self.path.name):
            self._prepare()
            with engine.begin() as connection:
                yield connection

    def _prepare(self) -> None:
        if self._ready and self.path.exists():
            return
        _make_private(self.path)
        with self._reading.begin() as connection:
            current = _version(connection, self.path.name) == _SCHEMA_VERSION
        if not current:
            with self._writing.begin() as connection:
                _upgrade(connection, _version(connection, self.path.name))  # another program may have been faster
        self._ready = True


def _upgrade(connection: sa.Connection, version: int) -> None:
    """To the schema of today, all of it or nothing."""
    if version == _SCHEMA_VERSION:
        return
    for statement in [one for old in range(version, _SCHEMA_VERSION) if version for one in _FROM_VERSION[old]]:
        connection.exec_driver_sql(statement)
    _metadata.create_all(connection)  # those tables that are not there
    connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version={_SCHEMA_VERSION}")


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Whether no reader prevented it."""
    deadline = time.monotonic() + _PATIENCE_S
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


def _version(connection: sa.Connection, file_name: str) -> int:
    """Of the database's schema; 0 for a file with nothing in it. What is not ours, or newer, is refused."""
    owner, version, n_tables = (
        connection.exec_driver_sql(query).scalar_one()
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (owner, version, n_tables) == (0, 0, 0):
        return 0
    if owner != _APPLICATION_ID:
        raise StoreUnusable(f"the database '{file_name}' belongs to another program; move it away and try again")
    if not 1 <= version <= _SCHEMA_VERSION:
        raise StoreUnusable(
            f"the database of profiles '{file_name}' has version {version}, this program knows version "
            f"{_SCHEMA_VERSION}; update the program"
        )
    return version
