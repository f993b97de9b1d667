"""Where the tables lie: in SQLite's one file, or on a PostgreSQL server. All that differs between the two is here."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ser_core.inference.archives import ProfileError

_APPLICATION_ID = 0x41545455  # "ATTU": in the header of SQLite's file, and the name of our locks on a server
_PATIENCE_S = 5.0


class BadAddress(ProfileError):
    """What should say where the database is says something else, or cannot be used here."""


class Engine(Protocol):
    """One kind of database.

    Attributes:
        called: how it is named in messages; neither its folder nor its password is told.
        reading: begins transactions that see one state of the database, and change nothing.
        writing: begins transactions that hold until their end what they find (`writes`).
        errors: what its driver raises.
    """

    called: str
    reading: sa.Engine
    writing: sa.Engine
    errors: type[Exception]

    def is_there(self) -> bool:
        """Whether what was opened before can still be there."""

    def make(self) -> None:
        """What has to be there before a connection can be."""

    def lock(self, connection: sa.Connection) -> None:
        """From here to the end of the transaction nobody else changes the schema."""

    def version(self, connection: sa.Connection) -> int | None:
        """Of the schema; 0 where nothing is, None where something is that is not ours."""

    def sign(self, connection: sa.Connection, version: int, tables: Iterable[sa.Table]) -> None:
        """Mark the tables, which are all there, as ours, of this version."""

    def forget(self, tables: Iterable[sa.Table]) -> bool:
        """Leave no trace of what was deleted from them; whether nothing prevented that."""

    def is_taken(self, error: IntegrityError) -> bool:
        """Whether something unique was there already (rather than something needed not there)."""

    def trouble(self, error: Exception) -> str:
        """What it means, and what to do; goes on after `called`."""

    def close(self) -> None:
        """Let go of all connections."""


def writes(connection: sa.Connection) -> bool:
    """Whether the transaction is one of `Engine.writing`."""
    return connection.get_execution_options().get("writes", False)


def engine_of(where: Path | str) -> Engine:
    """The engine of a file, or of a SQLAlchemy URL.

    Raises:
        BadAddress: no such URL, or the driver is not installed.
    """
    if isinstance(where, Path):
        return SqliteFile(where)
    try:
        url = sa.make_url(where)
        kind = url.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        kind = ""
    if kind in ("postgresql", "postgres"):
        return PostgresServer(url)
    if kind == "sqlite" and url.database not in (None, "", ":memory:"):
        return SqliteFile(Path(url.database))
    raise BadAddress(
        "the address of the database (SER_DATABASE) is not one that can be used; give "
        "postgresql://USER:PASSWORD@HOST/NAME, or sqlite:////FOLDER/FILE, or nothing for the file in the workspace"
    )


# ---- SQLite ----------------------------------------------------------------------------------------------------------

_PRAGMAS = (
    f"busy_timeout={_PATIENCE_S * 1000:.0f}",  # ms; first, so that the others wait as well
    "journal_mode=WAL",
    "synchronous=FULL",  # what was acknowledged survives a power cut
    "foreign_keys=ON",
    "secure_delete=ON",
    "temp_store=MEMORY",  # while the file is written anew, no voice lies in the system's temporary folder
)
_SQLITE_TROUBLES = {
    "SQLITE_FULL": "cannot grow, the disk is full; free some space, then try again",
    "SQLITE_IOERR": "cannot be read or written, the disk is full or failing; free some space, then try again",
    "SQLITE_READONLY": "may be read but not written; allow yourself to write the file and its folder",
    "SQLITE_CANTOPEN": "cannot be opened; check that its folder exists and that you may write there",
    "SQLITE_BUSY": "is in use by another program; wait until that is done, then try again",
    "SQLITE_NOTADB": "is not a database; move the file away and a new one will be made",
    "SQLITE_CORRUPT": "is damaged; put back a copy, or move the file away and a new one will be made",
}


class SqliteFile:
    """One file; deleted content is overwritten (secure_delete), the file written anew without it and the write-ahead log emptied: nothing stays to be found."""

    errors = sqlite3.Error

    def __init__(self, path: Path):
        """Nothing is opened or made."""
        self.path = path
        self.called = f"the database of profiles '{path.name}'"
        # no pool: each call's connection ends with it, and the last one to end removes the log
        url = sa.URL.create("sqlite", database=str(path))
        self.reading = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
        sa.event.listen(self.reading, "connect", _configure)
        sa.event.listen(self.reading, "begin", _begin)
        self.writing = self.reading.execution_options(writes=True)

    def is_there(self) -> bool:
        """Not if somebody deleted the file."""
        return self.path.exists()

    def make(self) -> None:
        """The file and its folder, for their owner only; SQLite gives the log the same mode."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):
            self.path.touch(mode=0o600, exist_ok=False)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)

    def lock(self, connection: sa.Connection) -> None:
        """Whoever writes is alone."""

    def version(self, connection: sa.Connection) -> int | None:
        """From the file's header."""
        owner, version, n_tables = (
            connection.exec_driver_sql(query).scalar_one()
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        return version if owner == _APPLICATION_ID or (owner, version, n_tables) == (0, 0, 0) else None

    def sign(self, connection: sa.Connection, version: int, tables: Iterable[sa.Table]) -> None:
        """In the file's header."""
        connection.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={version}")

    def forget(self, tables: Iterable[sa.Table]) -> bool:
        """All of the file is written anew, whichever tables they are.

        secure_delete overwrites a deleted row where it is, not where it was before SQLite moved it to another page:
        only a file that is written anew (VACUUM) is free of such copies. Then the log's content goes into the file, and the log is cut to nothing.
        """
        with closing(self.reading.raw_connection()) as connection:
            try:
                connection.execute("VACUUM")
                rewritten = True
            except sqlite3.OperationalError:
                rewritten = False
            return _empty_log(connection) and rewritten

    def is_taken(self, error: IntegrityError) -> bool:
        """By the driver's code."""
        return error.orig.sqlite_errorname in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")

    def trouble(self, error: Exception) -> str:
        """By the driver's code."""
        if isinstance(error, OSError):
            return f"cannot be made ({error.strerror}); check that you may write in its folder"
        code = getattr(getattr(error, "orig", error), "sqlite_errorname", "an unnamed error")
        unknown = f"cannot be used ({code}); put back a copy, or move the file away"
        return next((words for start, words in _SQLITE_TROUBLES.items() if code.startswith(start)), unknown)

    def close(self) -> None:
        """No connection outlives its call."""


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
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes(connection) else "BEGIN")


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------

_SETTINGS = (  # of every connection; what the URL says itself comes after them, and wins
    f"-c lock_timeout={_PATIENCE_S * 1000:.0f}",
    "-c idle_in_transaction_session_timeout=60000",  # a program that froze lets go of its profiles
)
_NETWORK = {"connect_timeout": "5", "keepalives_idle": "30", "tcp_user_timeout": "15000"}  # s, s, ms
_REFUSALS = {  # the driver has no codes for what happens before there is a connection, only the server's words
    "password": "does not let you in: user or password are wrong; mend SER_DATABASE",
    "role": "does not let you in: there is no such user; mend SER_DATABASE, or create the user",
    "pg_hba": "does not let you in from here; let the server's pg_hba.conf allow it",
    "does not exist": "is not on the server; create it (createdb), or mend SER_DATABASE",
}
_UNREACHABLE = "cannot be reached, or does not let you in; start the server, or mend SER_DATABASE"
_SERVER_TROUBLES = {
    "08": "was lost while it was used, and the last change may not be kept; look, and try again",
    "57P": "was lost while it was used, and the last change may not be kept; look, and try again",
    "53": "is out of space, memory or connections; let somebody look after the server, then try again",
    "55P03": "is in use by another program; wait until that is done, then try again",
    "40": "is in use by another program; wait until that is done, then try again",
    "25006": "may be read but not written; name the server that may be written in SER_DATABASE",
    "25P03": "waited too long for this program and let it go; try again",
    "42501": "does not allow you this; let its owner grant you its tables, or all rights in its schema",
    "42P01": "lacks a table; put back a copy",
    "3F": "lacks the schema; create it",
    "XX00": "is damaged; let somebody look after the server, or put back a copy",
}


class PostgresServer:
    """A database, or a schema, of its own on a server; the tables that something was deleted from are written anew.

    The server's write-ahead log keeps copies until it is recycled, and so do its backups; what a disk still holds of
    files that are gone, nobody knows. Encryption (SER_KEY_FILE) is the remedy. No statistics are gathered about what
    people said or are called, for they would keep examples.
    """

    def __init__(self, url: sa.URL):
        """Nothing is connected to.

        Raises:
            BadAddress: the driver is not installed.
        """
        try:
            import psycopg
        except ImportError:
            raise BadAddress(
                "the database is on a PostgreSQL server, for which a driver is missing here; install it with "
                "pip install 'attune-ser[postgresql]'"
            ) from None
        self.errors = psycopg.Error
        self.called = f"the database of profiles '{url.database or url.username}' at {url.host or 'this computer'}"
        query = {**_NETWORK, **url.query, "options": " ".join([*_SETTINGS, str(url.query.get("options", ""))])}
        pool = {"pool_pre_ping": True, "pool_size": 5, "max_overflow": 15, "pool_timeout": _PATIENCE_S}
        self._engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg", query=query), hide_parameters=True, **pool
        )
        self.writing = self._engine.execution_options(writes=True)
        self.reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._at_once = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def is_there(self) -> bool:
        """Nobody deletes it under us without an error."""
        return True

    def make(self) -> None:
        """Somebody else made it."""

    def lock(self, connection: sa.Connection) -> None:
        """The server's own lock, for those programs that ask for it."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_APPLICATION_ID})")

    def version(self, connection: sa.Connection) -> int | None:
        """From a row of `facts`."""
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        tables = connection.exec_driver_sql(query).scalars().all()
        if "facts" not in tables:
            return None if tables else 0
        version = connection.exec_driver_sql("SELECT value FROM facts WHERE name = 'version'").scalar_one_or_none()
        return None if version is None else int(version)

    def sign(self, connection: sa.Connection, version: int, tables: Iterable[sa.Table]) -> None:
        """In a row of `facts`; and the columns' statistics are turned off."""
        for table in tables:
            turned_off = ", ".join(f"ALTER COLUMN {column.name} SET STATISTICS 0" for column in table.columns)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} {turned_off}")
        connection.exec_driver_sql("DELETE FROM facts WHERE name = 'version'")
        connection.exec_driver_sql(f"INSERT INTO facts (name, value) VALUES ('version', '{version}')")

    def forget(self, tables: Iterable[sa.Table]) -> bool:
        """The server unlinks the old files at its next checkpoint.

        Rows that another transaction might still look at survive VACUUM FULL, which says how many: it is tried again until there are none.
        """
        deadline = time.monotonic() + _PATIENCE_S
        with self._at_once.connect() as connection:
            # waiting for the lock inside the server would itself keep rows alive
            while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_APPLICATION_ID})").scalar_one():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.02)
            try:
                done = [self._rewrite(connection, table.name, deadline) for table in tables]
                return all(done)
            finally:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_APPLICATION_ID})")

    def _rewrite(self, connection: sa.Connection, table: str, deadline: float) -> bool:
        """Whether none of a table's deleted rows is left."""
        left: list[str] = []

        def listen(notice) -> None:  # “0 dead row versions cannot be removed yet”, in the server's language
            if notice.message_detail:
                left.append(notice.message_detail.split()[0])

        driver = connection.connection.driver_connection
        driver.add_notice_handler(listen)
        try:
            while True:  # once at least, however long the tables before it took
                left.clear()
                with suppress(sa.exc.OperationalError):  # nobody may use the table meanwhile, and somebody did
                    connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
                if left == ["0"] or time.monotonic() > deadline:
                    return left == ["0"]
                time.sleep(0.05)
        finally:
            driver.remove_notice_handler(listen)

    def is_taken(self, error: IntegrityError) -> bool:
        """By the server's code."""
        return error.orig.sqlstate == "23505"

    def trouble(self, error: Exception) -> str:
        """By the server's code, or its words."""
        if isinstance(error, sa.exc.TimeoutError):
            return "is asked too much at once; try again"
        driver_error = getattr(error, "orig", error)
        code = getattr(driver_error, "sqlstate", None)
        if code is None:
            return self._without_code(error, str(driver_error))
        unknown = f"cannot be used (PostgreSQL's error {code}); let somebody look after the server"
        return next((words for start, words in _SERVER_TROUBLES.items() if code.startswith(start)), unknown)

    def _without_code(self, error: Exception, said: str) -> str:
        if getattr(error, "connection_invalidated", False):
            return _SERVER_TROUBLES["08"]
        refusals = (words for sign, words in _REFUSALS.items() if sign in said.partition("FATAL")[2])
        return next(refusals, _UNREACHABLE)

    def close(self) -> None:
        """Those of the pool; others end with their calls."""
        self._engine.dispose()
