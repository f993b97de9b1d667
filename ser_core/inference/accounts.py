"""Accounts of shared mode: a name and a password; each has profiles of its own, in the same database.

Passwords are kept as scrypt (RFC 7914) makes them, with a salt of their own: from what is stored nobody reads one.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ser_core.inference.archives import ProfileError
from ser_core.inference.database import (
    ACCOUNTS,
    EMBEDDINGS,
    JUDGEMENTS,
    PROFILES,
    UTTERANCES,
    StoreUnusable,
    open_database,
)
from ser_core.inference.profiles import BadProfileName, checked_name, folded
from ser_core.workspace import Workspace

MIN_PASSWORD = 10
MAX_PASSWORD = 200
"""Characters."""

_COST = (2**15, 8, 1)  # 32 MiB and about a tenth of a second for each guess
_MAX_MEMORY = 64 * 2**20


class UnknownAccount(ProfileError):
    """No account has this name."""


class AccountExists(ProfileError):
    """An account has this name already, perhaps in another case."""


class BadAccount(ProfileError):
    """A name or a password that no account may have."""


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in.

    Attributes:
        id: names it in the database.
        created: ISO 8601, UTC.
        n_profiles: how many profiles it has.
        password: as `hashed` gives it.
    """

    id: int
    name: str
    created: str
    n_profiles: int
    password: str = field(repr=False)


class Accounts:
    """All accounts of a workspace. Every method may raise `StoreUnusable`, those that name one `UnknownAccount`."""

    def __init__(self, workspace: Workspace):
        """Nothing is opened or made before it is first used."""
        self._database = open_database(workspace)

    def add(self, name: str, password: str) -> Account:
        """Make an account.

        Raises:
            BadAccount: the name or the password cannot be one; AccountExists: the name is taken.
        """
        name, stored = _name(name), hashed(password)
        row = {"name": name, "key": folded(name), "password": stored}
        row["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.writing() as connection:
            try:
                connection.execute(sa.insert(ACCOUNTS).values(row))
            except IntegrityError:
                raise AccountExists(
                    f"there is an account '{name}' already (case does not count); give another name"
                ) from None
        return self.get(name)

    def get(self, name: str) -> Account:
        """The account of a name, in any case."""
        with self._database.reading() as connection:
            return _find(connection, name)

    def list(self) -> "list[Account]":
        """All of them, by name."""
        with self._database.reading() as connection:
            return [Account(**row._mapping) for row in connection.execute(_all().order_by(ACCOUNTS.c.key))]

    def signed_in(self, name: str, password: str) -> Account | None:
        """The account, if this is its password; it takes as long for a name that nobody has."""
        with self._database.reading() as connection:
            row = connection.execute(_all().where(ACCOUNTS.c.key == folded(name))).one_or_none()
        right = _is_right(password, row.password if row else _NOBODYS)
        return Account(**row._mapping) if row and right else None

    def stands(self, account: Account) -> bool:
        """Whether an account is still there with the same password."""
        with self._database.reading() as connection:
            stored = connection.scalar(sa.select(ACCOUNTS.c.password).where(ACCOUNTS.c.id == account.id))
        return stored == account.password

    def change(self, name: str, password: str) -> Account:
        """Give an account another password; whoever is signed in has to sign in again.

        Raises:
            BadAccount: the password cannot be one.
        """
        stored = hashed(password)
        with self._database.writing() as connection:
            account = _find(connection, name)
            connection.execute(sa.update(ACCOUNTS).where(ACCOUNTS.c.id == account.id).values(password=stored))
        self._database.forget(ACCOUNTS)
        return self.get(name)

    def delete(self, name: str) -> Account:
        """Erase an account and all of its profiles, so that no byte of them is left; what it was."""
        with self._database.writing() as connection:
            account = _find(connection, name)
            connection.execute(sa.delete(ACCOUNTS).where(ACCOUNTS.c.id == account.id))
        if not self._database.forget(ACCOUNTS, PROFILES, UTTERANCES, EMBEDDINGS, JUDGEMENTS):
            raise StoreUnusable(
                f"'{account.name}' is deleted, but another program that uses the profiles, or a full disk, keeps traces of "
                "it; close that program or free some space, and they go with the next thing that is erased"
            )
        return account


def hashed(password: str) -> str:
    """A password as it is stored.

    Raises:
        BadAccount: too short or too long.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadAccount(
            f"the password has {len(password)} characters; give it {MIN_PASSWORD} to {MAX_PASSWORD}, several words will do"
        )
    return _encoded(password, secrets.token_bytes(16))


def _encoded(password: str, salt: bytes) -> str:
    n, r, p = _COST
    key = hashlib.scrypt(password.encode(errors="surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY)
    return f"scrypt${salt.hex()}${key.hex()}"


_NOBODYS = "scrypt$" + "00" * 16 + "$" + "00" * 64


def _is_right(password: str, stored: str) -> bool:
    salt = bytes.fromhex(stored.split("$")[1])
    return hmac.compare_digest(_encoded(password[: MAX_PASSWORD + 1], salt), stored)


def _name(name: str) -> str:
    try:
        return checked_name(name)
    except BadProfileName as error:
        raise BadAccount(str(error)) from None


def _all() -> sa.Select:
    n_profiles = sa.select(sa.func.count()).where(PROFILES.c.account == ACCOUNTS.c.id).scalar_subquery()
    columns = [ACCOUNTS.c[name] for name in ("id", "name", "created", "password")]
    return sa.select(*columns, n_profiles.label("n_profiles"))


def _find(connection: sa.Connection, name: str) -> Account:
    row = connection.execute(_all().where(ACCOUNTS.c.key == folded(name))).one_or_none()
    if row is None:
        names = connection.scalars(sa.select(ACCOUNTS.c.name).order_by(ACCOUNTS.c.key).limit(5)).all()
        there = f"there is {', '.join(names)}" if names else "there is none yet: make one with 'accounts add NAME'"
        raise UnknownAccount(f"there is no account {str(name)[:80]!r}; {there}")
    return Account(**row._mapping)
