"""The tables of people's profiles and accounts, how they are opened and brought up to date, and read and written."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from ser_core.inference.archives import ProfileError
from ser_core.inference.engines import engine_of
from ser_core.inference.sealing import SEALED, BrokenSeal, Seal, read_key
from ser_core.workspace import Workspace

_SCHEMA_VERSION = 4

_BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # one order, whatever the server's language
_metadata = sa.MetaData()
FACTS = sa.Table(  # about the store itself
    "facts",
    _metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False, info=SEALED),
    info={"named_by": ("name",)},
)
ACCOUNTS = sa.Table(
    "accounts",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", _BYTEWISE, nullable=False, unique=True),  # the name without its case
    sa.Column("password", sa.Text, nullable=False),  # its hash, with how that was made
    sa.Column("created", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # no account ever gets the number of one that was erased
)
PROFILES = sa.Table(
    "profiles",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", _BYTEWISE, nullable=False, unique=True),  # the name without its case, behind "ACCOUNT/"
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
    sa.Column("quality", sa.JSON, nullable=False, info=SEALED),
    sa.Column("transcript", sa.Text, info=SEALED),  # nothing where nobody wrote down what was said
    # last: whoever wants the others need not read it
    sa.Column("flac", sa.LargeBinary, nullable=False, info=SEALED),
    info={"named_by": ("utterance_id",)},
)
EMBEDDINGS = sa.Table(
    "embeddings",
    _metadata,
    sa.Column("utterance", sa.ForeignKey(UTTERANCES.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("n_layers", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False, info=SEALED),  # n_layers x width, little-endian float32
    info={"named_by": ("utterance", "fingerprint")},
)
JUDGEMENTS = sa.Table(
    "judgements",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("profile", sa.ForeignKey(PROFILES.c.id, ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, info=SEALED),
    sa.Column("personaliser", sa.Text, info=SEALED),
    sa.Column("meant", sa.Text, nullable=False, info=SEALED),
    sa.Column("baseline", sa.Text, nullable=False, info=SEALED),
    sa.Column("personalised", sa.Text, info=SEALED),
    info={"named_by": ("profile", "at")},
)


_KEY_CHECK = {"name": "key_check", "value": "opens with the right key only"}


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
    """A file or a server's; any number of threads and programs may use it at once. Every method may raise `StoreUnusable`."""

    def __init__(self, where: Path | str, key: bytes | None = None):
        """The database in a file, or at a SQLAlchemy URL; nothing is opened or made before it is first used.

        Args:
            where: the file, or the URL.
            key: what it is, or will be, encrypted with; 32 bytes.

        Raises:
            BadAddress: no such URL, or its driver is not installed.
        """
        self._engine = engine_of(where)
        self._seal = Seal(key)
        self._ready = False
        weakref.finalize(self, self._engine.close)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for one call that changes nothing; all it reads is of one moment."""
        with self._transaction(self._engine.reading) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection for one call; committed at the end, rolled back if anything goes wrong.

        What it finds with FOR UPDATE nobody else changes meanwhile.
        """
        with self._transaction(self._engine.writing) as connection:
            yield connection

    def close(self) -> None:
        """Let go of it; a later call opens it again."""
        self._ready = False
        self._engine.close()

    def forget(self, *tables: sa.Table) -> bool:
        """Leave no trace of what was deleted, from some tables or all that belong to profiles; whether no other program, and no full disk, prevented that."""
        with self._in_words():
            return self._engine.forget(tables or (PROFILES, UTTERANCES, EMBEDDINGS, JUDGEMENTS))

    def is_taken(self, error: IntegrityError) -> bool:
        """Whether a value was there already that must be there once; something else is missing otherwise."""
        return self._engine.is_taken(error)

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with self._in_words():
            self._prepare()
            with engine.begin() as connection:
                yield connection.execution_options(seal=self._seal)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Trouble, told in words that name neither a folder nor a password nor what was to be stored."""
        try:
            yield
            return
        except (DBAPIError, sa.exc.TimeoutError, OSError, self._engine.errors) as error:
            self._ready = False
            trouble = self._engine.trouble(error)
        raise StoreUnusable(f"{self._engine.called} {trouble}")

    def _prepare(self) -> None:
        if self._ready and self._engine.is_there():
            return
        self._engine.make()
        with self._engine.reading.begin() as connection:
            current = self._version(connection) == _SCHEMA_VERSION
            if current:
                self._check_key(connection)
        if not current:
            with self._engine.writing.begin() as connection:
                self._engine.lock(connection)
                version = self._version(connection)  # another program may have been faster
                self._upgrade(connection, version)
                if version == 0 and self._seal:
                    connection.execute(sa.insert(FACTS), self._seal.close(FACTS, _KEY_CHECK))
                self._check_key(connection)
        self._ready = True

    def _version(self, connection: sa.Connection) -> int:
        """Of the database's schema; 0 where nothing is. What is not ours, or newer, is refused."""
        version = self._engine.version(connection)
        if version is None:
            raise StoreUnusable(
                f"{self._engine.called} belongs to another program; move it away, or name another one, and try again"
            )
        if version > _SCHEMA_VERSION or version < 0:
            raise StoreUnusable(
                f"{self._engine.called} has version {version}, this program knows version {_SCHEMA_VERSION}; update "
                "the program"
            )
        return version

    def _check_key(self, connection: sa.Connection) -> None:
        """That it is the one the database was made with."""
        row = connection.execute(sa.select(FACTS).where(FACTS.c.name == _KEY_CHECK["name"])).one_or_none()
        if row is None and self._seal:
            raise StoreUnusable(
                f"{self._engine.called} is not encrypted, but SER_KEY_FILE names a key; leave that away, or encrypt what "
                "is there: without SER_KEY_FILE, call 'profiles move --to FILE --to-key KEY'"
            )
        if row is not None and not self._seal:
            raise StoreUnusable(f"{self._engine.called} is encrypted; name the file with its key in SER_KEY_FILE")
        if row is not None:
            with suppress(BrokenSeal):
                self._seal.open(FACTS, row._mapping)
                return
            raise StoreUnusable(f"{self._engine.called} is encrypted with another key; name that in SER_KEY_FILE")

    def _upgrade(self, connection: sa.Connection, version: int) -> None:
        """To the schema of today, all of it or nothing."""
        if version == _SCHEMA_VERSION:
            return
        for statement in [one for old in range(version, _SCHEMA_VERSION) if version for one in _FROM_VERSION[old]]:
            connection.exec_driver_sql(statement)
        _metadata.create_all(connection)  # those tables that are not there
        self._engine.sign(connection, _SCHEMA_VERSION, _metadata.sorted_tables)


def open_database(workspace: Workspace) -> Database:
    """A workspace's.

    Raises:
        BadAddress, BadKey: the environment names a database or a key that cannot be used.
    """
    key = read_key(workspace.key_file, workspace.root) if workspace.key_file else None
    return Database(workspace.database or workspace.profiles, key)


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping]) -> list[int]:
    """Insert rows, sealed where the database is encrypted; their numbers."""
    seal = connection.get_execution_options()["seal"]
    inserted = [connection.execute(sa.insert(table).values(seal.close(table, row))) for row in rows]
    return [each.inserted_primary_key[0] for each in inserted]


def opened(connection: sa.Connection, table: sa.Table, row: sa.Row) -> dict:
    """A row's values, as they were given to `insert`.

    Raises:
        BrokenSeal: they were damaged, or come from elsewhere.
    """
    return connection.get_execution_options()["seal"].open(table, row._mapping)


def sealed(connection: sa.Connection, table: sa.Table, row: Mapping) -> dict:
    """Values as they are to be stored in a row that is there, with those that tell it apart."""
    return connection.get_execution_options()["seal"].close(table, row)
