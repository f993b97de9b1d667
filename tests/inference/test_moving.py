"""Everything moves from one kind of store into another and back, or nothing does."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from database_server import Server
from test_profiles import AGREED, REPOSITORY, account, embed, everything, tone

from ser_core.__main__ import main
from ser_core.inference import moving, profiles
from ser_core.inference.consent import Consent
from ser_core.inference.database import ACCOUNTS, PROFILES, Database, StoreUnusable
from ser_core.inference.judgements import Judgement
from ser_core.inference.moving import Moved, NotEmpty, move
from ser_core.inference.profiles import ProfileExists, ProfileStore, UnknownProfile
from ser_core.inference.sealing import make_key, read_key


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProfileStore:
    """A file with profiles of nobody's account and of two, by one name; last used on a day that stands still."""
    monkeypatch.setattr(profiles, "_today", lambda: "2021-03-03")
    store = ProfileStore(tmp_path / "old.sqlite3")
    for n, whose in enumerate((store, account(store, "first"), account(store, "second"))):
        long_ago = Consent("2020-01", f"2020-01-0{n + 1}T03:04:05+00:00")
        whose.add_many("Ann", [("anger", tone(n), {"snr_db": 1 / 3}), ("fear", tone(n + 5), {})], create=long_ago)
        whose.add_talk("Ann", [tone(10 + n)])
        whose.keep_transcript("Ann", whose.get("Ann").utterances[0].utterance_id, f"Zoë said {n}")
        whose.keep_judgements("Ann", [Judgement(f"at {n}", "model", None, "fear", "anger", None)])
        whose.embeddings("Ann", "f", embed)
    with store._database.writing() as connection:
        connection.execute(sa.update(PROFILES).values(created="2020-02-02T02:02:02.002+00:00"))
    return store


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    yield server.url()
    server.drop_all()


def owners(database: Database) -> list[tuple]:
    """All accounts, but for their numbers."""
    with database.reading() as connection:
        rows = connection.execute(sa.select(ACCOUNTS).order_by(ACCOUNTS.c.key)).all()
    return [tuple(row)[1:] for row in rows]


def of_everybody(store: ProfileStore) -> list:
    """What each account's store holds, with the embeddings."""
    with store._database.reading() as connection:
        numbers = connection.scalars(sa.select(ACCOUNTS.c.id).order_by(ACCOUNTS.c.key)).all()
    stores = [store.of(number) for number in (None, *numbers)]
    return [(everything(one), one.embeddings("Ann", "f", None).tolist()) for one in stores]


def test_everything_moves_to_an_encrypted_server_and_back_to_a_file(source, url, tmp_path):
    make_key(tmp_path / "key", tmp_path / "home")
    key = read_key(tmp_path / "key", tmp_path / "home")
    server = ProfileStore(Database(url, key))
    account(server, "was here before, and the numbers are no longer the same")
    with server._database.writing() as connection:
        connection.execute(sa.delete(ACCOUNTS))
    before, accounts = of_everybody(source), owners(source._database)
    assert move(source._database, server._database) == Moved(n_accounts=2, n_profiles=3, n_utterances=9)
    back = ProfileStore(tmp_path / "new.sqlite3")
    assert move(server._database, back._database) == Moved(2, 3, 9)
    for store in (source, server, back):
        assert of_everybody(store) == before
        assert owners(store._database) == accounts
    with pytest.raises(ProfileExists):
        server.create("ANN", AGREED)
    with server._database.reading() as connection:
        first = server.of(connection.scalar(sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.key == "first")))
    first.rename("Ann", "Mine only")
    for stranger in (server, server.of(first._account + 1)):
        with pytest.raises(UnknownProfile):
            stranger.get("Mine only")
    assert account(server, "third")._account > first._account + 1  # the server goes on counting
    assert len(first.add("Mine only", "fear", tone(9)).utterance_id) == 32


def test_nothing_moves_to_where_something_is(source, tmp_path):
    for n, fill in enumerate((lambda store: store.create("Bo", AGREED), lambda store: account(store, "third"))):
        there = ProfileStore(tmp_path / f"there {n}.sqlite3")
        fill(there)
        before = there.list(), owners(there._database)
        with pytest.raises(NotEmpty, match="already"):
            move(source._database, there._database)
        assert (there.list(), owners(there._database)) == before
    with pytest.raises(NotEmpty):
        move(source._database, source._database)


def test_what_reads_differently_than_it_was_is_not_moved(source, tmp_path, monkeypatch):
    put = moving._put
    spoilt = lambda new, table, row: put(new, table, row | ({"flac": b"x"} if "flac" in row else {}))  # noqa: E731
    target = ProfileStore(tmp_path / "new.sqlite3")
    with monkeypatch.context() as patched:
        patched.setattr(moving, "_put", spoilt)
        with pytest.raises(StoreUnusable, match="reads differently; nothing was moved"):
            move(source._database, target._database)
    assert target.list() == [] and owners(target._database) == []
    move(source._database, target._database)


KILLED = """
import os, signal, sys
from pathlib import Path
from ser_core.inference import moving, profiles
from ser_core.inference.database import Database

put, left = moving._put, [int(sys.argv[3])]
def count_down(*arguments):
    left[0] -= 1
    return put(*arguments) if left[0] else os.kill(os.getpid(), signal.SIGKILL)

moving._put = count_down
moving.move(Database(Path(sys.argv[1])), Database(sys.argv[2] if "://" in sys.argv[2] else Path(sys.argv[2])))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_move_that_is_killed_leaves_nothing_and_can_be_done_again(source, tmp_path, kind, request):
    where = tmp_path / "new.sqlite3" if kind == "sqlite" else request.getfixturevalue("url")
    before = of_everybody(source)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "old.sqlite3"), str(where), "14"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    target = ProfileStore(where)
    assert target.list() == [] and owners(target._database) == []
    move(source._database, target._database)
    assert of_everybody(target) == before == of_everybody(source)


def test_the_command_line_makes_a_key_moves_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    home, key, file = tmp_path / "home", tmp_path / "key", tmp_path / "sealed.sqlite3"
    store = ProfileStore(home / "profiles.sqlite3")
    store.add_many("Ann", [("anger", tone(1), {})], create=AGREED)
    at = ["--workspace", str(home)]
    assert main(["profiles", "new-key", str(key), *at]) == 0
    assert "loses the recordings" in capsys.readouterr().out and key.stat().st_mode & 0o777 == 0o600
    assert main(["profiles", "new-key", str(key), *at]) == 2
    assert main(["profiles", "move", "--to", str(file), "--to-key", str(key), *at]) == 0
    said = capsys.readouterr().out
    assert "1 profile with 1 recording, " in said and "old place still holds everything" in said
    environment = dict(line.split("=", 1) for line in said.splitlines() if line.startswith("SER_"))
    assert main(["profiles", "move", "--to", str(file), "--to-key", str(key), *at]) == 2
    assert "already" in capsys.readouterr().err
    assert b"fLaC" in store._database._engine.path.read_bytes() and b"fLaC" not in file.read_bytes()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["profiles", "list", "--json", *at]) == 0
    [profile] = json.loads(capsys.readouterr().out)
    assert profile["name"] == "Ann" and np.isclose(profile["utterances"][0]["duration_s"], 0.7)
    monkeypatch.delenv("SER_KEY_FILE")
    assert main(["profiles", "list", *at]) == 2
    assert "is encrypted" in capsys.readouterr().err
