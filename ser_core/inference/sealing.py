"""Encryption of what people leave here: the file with the key, and values that are sealed to where they stand.

AES-256-GCM, with a nonce of its own for each value. A sealed value opens only in the row and column that it was made
for; names, days and emotions stay readable, for they are looked up.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ser_core.inference.archives import ProfileError

_KEY_BYTES, _NONCE_BYTES = 32, 12
SEALED = {"sealed": True}
"""Marks a column whose values are sealed; its table says with `named_by` which columns tell its rows apart."""


class BadKey(ProfileError):
    """A file with a key that cannot be used, or may not be."""


class BrokenSeal(ProfileError):
    """A stored value that is not what was stored there."""


def make_key(file: Path, workspace: Path) -> None:
    """Write a new key into a file that only its owner can read.

    Raises:
        BadKey: there is a file already, or it would lie in the workspace.
    """
    _check_place(file, workspace)
    try:
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadKey(
            f"there is a file '{file.name}' already, and it was left alone: who loses a key loses the recordings; give "
            "another name"
        ) from None
    with os.fdopen(opened, "w") as stream:
        stream.write(base64.b64encode(os.urandom(_KEY_BYTES)).decode() + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_key(file: Path, workspace: Path) -> bytes:
    """The key in a file.

    Raises:
        BadKey: it is not there, holds no key, lies in the workspace, or others may read it.
    """
    _check_place(file, workspace)
    try:
        content, mode = file.read_bytes(), file.stat().st_mode
    except OSError as error:
        reason = (error.strerror or "it is not there").lower()
        raise BadKey(f"the key's file '{file.name}' cannot be read ({reason}); check SER_KEY_FILE") from None
    if os.name == "posix" and mode & 0o077:
        raise BadKey(f"others may read the key's file '{file.name}'; keep it for yourself: chmod 600")
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise BadKey(f"the file '{file.name}' holds no key; name the one that 'profiles new-key' made in SER_KEY_FILE")
    return key


def _check_place(file: Path, workspace: Path) -> None:
    if file.resolve().is_relative_to(workspace.resolve()):
        raise BadKey(
            f"the key's file '{file.name}' lies in the workspace, beside what it protects; put it on another disk, or "
            "at least into another folder"
        )


class Seal:
    """Closes and opens values; without a key they stay as they are."""

    def __init__(self, key: bytes | None = None):
        """With a key of 32 bytes, or none."""
        self._cipher = AESGCM(key) if key else None

    def __bool__(self) -> bool:
        """Whether there is a key."""
        return self._cipher is not None

    def close(self, table: sa.Table, row: Mapping) -> dict:
        """A row as it is stored; it holds the columns that tell rows apart."""
        return self._changed(table, row, self._closed)

    def open(self, table: sa.Table, row: Mapping) -> dict:
        """A stored row, as it was given to `close`.

        Raises:
            BrokenSeal: something in it was damaged, or comes from elsewhere.
        """
        return self._changed(table, row, self._opened)

    def _changed(self, table: sa.Table, row: Mapping, change) -> dict:
        changed = dict(row)
        if not self:
            return changed
        place = "/".join([table.name, *(str(row[name]) for name in table.info.get("named_by", ()))])
        for name in changed.keys() & {column.name for column in table.columns if column.info == SEALED}:
            if changed[name] is not None:
                changed[name] = change(changed[name], f"{place}/{name}".encode())
        return changed

    def _closed(self, value: object, place: bytes) -> bytes | str:
        """Bytes for bytes, text for all else."""
        nonce = os.urandom(_NONCE_BYTES)
        is_bytes = isinstance(value, bytes)
        content = value if is_bytes else json.dumps(value).encode()
        sealed = nonce + self._cipher.encrypt(nonce, content, place)
        return sealed if is_bytes else base64.b64encode(sealed).decode()

    def _opened(self, stored: bytes | str, place: bytes) -> object:
        try:
            sealed = stored if isinstance(stored, bytes) else base64.b64decode(stored, validate=True)
            content = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except (InvalidTag, ValueError):
            raise BrokenSeal(
                "something stored is damaged, or not from here; put back a copy, or erase the profile"
            ) from None
        return content if isinstance(stored, bytes) else json.loads(content)
