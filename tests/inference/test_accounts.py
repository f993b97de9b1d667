"""Accounts: what is stored of a password, and that an erased account leaves nothing behind."""

import hashlib
import json
import sqlite3
from contextlib import closing

import pytest

from ser_core.__main__ import main
from ser_core.inference.accounts import AccountExists, Accounts, BadAccount, UnknownAccount
from ser_core.inference.consent import consent_now
from ser_core.inference.profiles import open_store
from ser_core.workspace import open_workspace

PASSWORD = "correct horse battery"


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / ".attune")


@pytest.fixture
def accounts(workspace) -> Accounts:
    made = Accounts(workspace)
    made.add("Ann", PASSWORD)
    return made


def test_who_knows_the_password_is_let_in_under_the_name_in_any_case(accounts):
    ann = accounts.get("ann")
    assert accounts.signed_in(" ANN ", PASSWORD) == ann and ann.n_profiles == 0
    for name, password in (
        ("Ann", PASSWORD + "!"),
        ("Ann", ""),
        ("Bo", PASSWORD),
        ("Ann", "\ud800" * 20),
        ("\ud800", PASSWORD),
    ):
        assert accounts.signed_in(name, password) is None


def test_what_is_stored_is_scrypt_with_a_salt_of_its_own(accounts):
    accounts.add("Bo", PASSWORD)
    stored = [accounts.get(name).password for name in ("Ann", "Bo")]
    assert stored[0] != stored[1]
    for one in stored:
        kind, salt, key = one.split("$")
        right = hashlib.scrypt(PASSWORD.encode(), salt=bytes.fromhex(salt), n=2**15, r=8, p=1, maxmem=2**26)
        assert kind == "scrypt" and len(bytes.fromhex(salt)) == 16 and key == right.hex()


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_that_is_too_short_or_too_long_is_refused(accounts, password):
    with pytest.raises(BadAccount, match=f"has {len(password)} characters; give it 10 to 200"):
        accounts.add("Bo", password)
    with pytest.raises(BadAccount):
        accounts.change("Ann", password)
    assert [one.name for one in accounts.list()] == ["Ann"] and accounts.signed_in("Ann", PASSWORD)


def test_a_name_is_taken_in_any_case_and_cannot_be_anything(accounts):
    with pytest.raises(AccountExists, match="already"):
        accounts.add("ANN", PASSWORD)
    with pytest.raises(BadAccount):
        accounts.add("a/b", PASSWORD)
    for call in (accounts.get, accounts.delete, lambda name: accounts.change(name, PASSWORD)):
        with pytest.raises(UnknownAccount, match="there is Ann"):
            call("Bo")


def test_another_password_ends_what_the_old_one_began(accounts):
    ann = accounts.get("Ann")
    assert accounts.stands(ann)
    accounts.change("Ann", "another password")
    assert not accounts.stands(ann) and accounts.signed_in("Ann", PASSWORD) is None
    assert accounts.signed_in("Ann", "another password").id == ann.id


def test_an_erased_account_takes_its_profiles_along_and_no_other(accounts, workspace):
    accounts.add("Bo", PASSWORD)
    for name in ("Ann", "Bo"):
        open_store(workspace, accounts.get(name).id).create(f"Voice of {name}", consent_now())
    open_store(workspace).create("Nobody's", consent_now())
    ann = accounts.delete("ann")
    assert ann.n_profiles == 1 and not accounts.stands(ann)
    with closing(sqlite3.connect(workspace.profiles)) as database:
        assert database.execute("SELECT name FROM profiles ORDER BY name").fetchall() == [
            ("Nobody's",),
            ("Voice of Bo",),
        ]
    files = b"".join(path.read_bytes() for path in workspace.root.glob("profiles.sqlite3*"))
    assert b"Voice of Ann" not in files and ann.password.encode() not in files and b"Voice of Bo" in files
    assert accounts.add("Ann", PASSWORD).id != ann.id, "a number is never given twice"


def run(workspace, *words: str, stdin: str = "", capsys, monkeypatch) -> tuple[int, str]:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    code = main(["accounts", *words, "--workspace", str(workspace.root)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_terminal_makes_lists_changes_and_erases_accounts(workspace, capsys, monkeypatch):
    def does(*words, stdin=""):
        return run(workspace, *words, stdin=stdin, capsys=capsys, monkeypatch=monkeypatch)

    assert does("list") == (0, "no account yet: make one with 'accounts add NAME'\n")
    assert does("add", "Ann", "--password-stdin", stdin=PASSWORD + "\n") == (0, "made the account Ann\n")
    assert does("add", "Bo")[0] == 2 and "--password-stdin" in does("add", "Bo")[1]
    assert does("password", "Bo", "--password-stdin", stdin=PASSWORD)[0] == 2
    assert does("password", "ann", "--password-stdin", stdin="another password\n")[0] == 0
    code, listed = does("list", "--json")
    assert code == 0 and [one["name"] for one in json.loads(listed)] == ["Ann"] and "scrypt" not in listed
    assert does("delete", "Ann")[0] == 2  # nobody is there to be asked
    assert does("delete", "Ann", "--yes") == (0, "erased the account Ann and its 0 profiles\n")
    assert Accounts(workspace).list() == []
