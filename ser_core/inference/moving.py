"""All profiles and accounts from one database into another: to a server and back, into an encrypted one and back."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ser_core.inference.archives import ProfileError
from ser_core.inference.database import (
    ACCOUNTS,
    EMBEDDINGS,
    JUDGEMENTS,
    PROFILES,
    UTTERANCES,
    Database,
    StoreUnusable,
    insert,
    opened,
)
from ser_core.inference.profiles import profile_key


class NotEmpty(ProfileError):
    """Profiles were to be moved to where there are some already."""


@dataclass(frozen=True)
class Moved:
    """How much was copied."""

    n_accounts: int
    n_profiles: int
    n_utterances: int


def move(source: Database, target: Database) -> Moved:
    """Copy everything of one moment; all of it or nothing, and read back before it counts. The source stays as it is.

    Recordings, embeddings, transcripts, judgements, consent and days stay what they were, byte by byte; only the
    numbers by which rows refer to each other are new.

    Raises:
        NotEmpty: the target has profiles or accounts.
        StoreUnusable: one of both cannot be used, or what was written does not read as it should.
        BrokenSeal: something in the source is damaged.
    """
    with source.reading() as old, target.writing() as new:
        if any(new.scalar(sa.select(sa.exists().select_from(table))) for table in (ACCOUNTS, PROFILES)):
            raise NotEmpty(
                "there are profiles or accounts at the place named already; name a file or a database without"
            )
        n = _copy(old, new)
        if sorted(_prints(old)) != sorted(_prints(new)):
            raise StoreUnusable(
                "what was written reads differently; nothing was moved, look after the disk and try again"
            )
    return n


def _copy(old: sa.Connection, new: sa.Connection) -> Moved:
    accounts: dict[int | None, int | None] = {None: None}
    n_profiles = n_utterances = 0
    for row in _rows(old, ACCOUNTS):
        accounts[row["id"]] = _put(new, ACCOUNTS, row)
    for profile in _rows(old, PROFILES):
        account = accounts[profile["account"]]
        places = {"account": account, "key": profile_key(account, profile["name"])}
        number = _put(new, PROFILES, profile | places)
        for utterance in _rows(old, UTTERANCES, UTTERANCES.c.profile == profile["id"]):
            copy = _put(new, UTTERANCES, utterance | {"profile": number})
            embeddings = _rows(old, EMBEDDINGS, EMBEDDINGS.c.utterance == utterance["id"])
            insert(new, EMBEDDINGS, [each | {"utterance": copy} for each in embeddings])
            n_utterances += 1
        for judgement in _rows(old, JUDGEMENTS, JUDGEMENTS.c.profile == profile["id"]):
            _put(new, JUDGEMENTS, judgement | {"profile": number})
        n_profiles += 1
    return Moved(len(accounts) - 1, n_profiles, n_utterances)


def _rows(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement | None = None) -> list[dict]:
    query = sa.select(table).order_by(*table.primary_key)
    rows = connection.execute(query if which is None else query.where(which)).all()
    return [opened(connection, table, row) for row in rows]


def _put(connection: sa.Connection, table: sa.Table, row: dict) -> int:
    """The row's new number."""
    [number] = insert(connection, table, [{name: value for name, value in row.items() if name != "id"}])
    return number


def _prints(connection: sa.Connection) -> Iterator[str]:
    """A fingerprint of each account and of each profile with all that belongs to it, but for the rows' numbers."""
    owners = {row["id"]: row for row in _rows(connection, ACCOUNTS)}
    for row in owners.values():
        yield _print(row)
    for profile in _rows(connection, PROFILES):
        parts = [_print(profile), _print(owners.get(profile["account"], {}))]
        utterances = _rows(connection, UTTERANCES, UTTERANCES.c.profile == profile["id"])
        for utterance in sorted(utterances, key=lambda row: row["utterance_id"]):
            parts += [_print(utterance)]
            parts += [_print(row) for row in _rows(connection, EMBEDDINGS, EMBEDDINGS.c.utterance == utterance["id"])]
        parts += [_print(row) for row in _rows(connection, JUDGEMENTS, JUDGEMENTS.c.profile == profile["id"])]
        yield "/".join(parts)


def _print(row: dict) -> str:
    numbers = ("id", "account", "profile", "utterance", "key")
    values = sorted((name, value) for name, value in row.items() if name not in numbers)
    return hashlib.sha256(repr(values).encode()).hexdigest()
