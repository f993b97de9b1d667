"""What is only of a server: it is away, refuses, dies, is read by others. What holds for every store is in test_profiles."""

import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from database_server import PASSWORD, Server
from test_profiles import AGREED, embed, found, tone

from ser_core.inference import engines
from ser_core.inference.database import PROFILES, UTTERANCES, StoreUnusable
from ser_core.inference.engines import BadAddress
from ser_core.inference.judgements import Judgement
from ser_core.inference.profiles import ProfileStore, UnknownProfile


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    yield server.url()
    server.drop_all()


@pytest.fixture
def ann(url: str) -> ProfileStore:
    """A store on the server where Ann has enrolled two emotions."""
    store = ProfileStore(url)
    store.add_many("Ann", [("anger", tone(1), {}), ("neutral", tone(2), {})], create=AGREED)
    return store


def refusal(url: str) -> str:
    """What is said of a server that cannot be used; never the password, not even in a traceback."""
    with pytest.raises(StoreUnusable) as refused:
        ProfileStore(url).create("Ann", AGREED)
    shown = "".join(traceback.format_exception(refused.value))
    assert not any(secret in shown for secret in (PASSWORD, "p%40ss", "hunter2"))
    return str(refused.value)


def test_a_server_that_refuses_or_is_not_there_is_told_in_words(server, url):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = url.replace(f":{server.port}/", f":{free.getsockname()[1]}/")
        assert "at 127.0.0.1 cannot be reached" in refusal(nowhere)
    assert "user or password are wrong" in refusal(server.url(password="hunter2"))
    assert "'elsewhere' at 127.0.0.1 is not on the server; create it" in refusal(server.url(name="elsewhere"))
    assert "cannot be reached" in refusal(url.replace("127.0.0.1", "no-such-host.invalid"))


def test_somebody_without_rights_is_told_so(server, url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'hunter2'")
    guest = url.replace("attune:", "guest:").replace(url.split(":")[2].split("@")[0], "hunter2")
    assert "does not allow you this" in refusal(guest) or "lacks the schema" in refusal(guest)


@pytest.mark.parametrize(
    "address",
    ["profiles.sqlite3", "mysql://me:hunter2@host/db", "sqlite://", "postgresql://me:hunter2@host:x/db", "://"],
)
def test_what_is_no_address_of_a_database_is_refused_without_its_password(address):
    with pytest.raises(BadAddress, match="SER_DATABASE.* is not one that can be used") as refused:
        ProfileStore(address)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_a_missing_driver_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadAddress, match=r"pip install 'attune-ser\[postgresql\]'"):
        ProfileStore("postgresql://me@host/db")


def test_a_server_that_dies_loses_nothing_and_is_used_again_when_it_is_back(server, ann):
    before = ann.list()

    def embed_and_die(waveforms):
        server.kill()
        return embed(waveforms)

    for call in (
        lambda: ann.embeddings("Ann", "f", embed_and_die),
        lambda: ann.add("Ann", "fear", tone(3)),  # it is still away
        ann.list,
    ):
        with pytest.raises(StoreUnusable, match="lost while it was used|cannot be reached"):
            call()
    server.start()
    assert ann.list() == before
    with pytest.raises(StoreUnusable, match="lost while it was used"), ann._database.writing() as connection:
        connection.execute(sa.delete(UTTERANCES))
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    assert ann.list() == before
    assert len(ann.embeddings("Ann", "f", embed)) == 2
    ann.delete("Ann")


def test_a_deletion_that_a_reader_keeps_from_being_complete_is_not_called_complete(server, ann, url, monkeypatch):
    flacs = _flacs(ann)
    with psycopg.connect(url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM pg_class").fetchall()  # looks at none of our tables, and might
        with monkeypatch.context() as patched:
            patched.setattr(engines, "_PATIENCE_S", 0.2)
            with pytest.raises(StoreUnusable, match="'Ann' is deleted, but another program"):
                ann.delete("Ann")
        assert ann.list() == []
        assert found(flacs[0], server.bytes_on_disk())
    ann.create("Bo", AGREED)
    ann.delete("Bo")
    assert not any(found(flac, server.bytes_on_disk()) for flac in flacs)


def test_a_deletion_while_another_program_writes_the_table_is_done_and_not_called_complete(ann, url, monkeypatch):
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.2)
    impatient = ProfileStore(url + "%20-c%20lock_timeout%3D100")
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE embeddings IN ROW EXCLUSIVE MODE")
        with pytest.raises(StoreUnusable, match="'Ann' is deleted, but another program"):
            impatient.delete("Ann")
    assert ann.list() == []


def test_an_erased_profile_is_found_in_no_file_and_in_no_statistics(server, ann, url):
    name = "Quetzalcoatlus"
    ann.rename("Ann", name)
    ann.keep_transcript(name, ann.get(name).utterances[0].utterance_id, "we ate seventeen aubergines")
    ann.keep_judgements(name, [Judgement("now", "a-model-called-nobody", None, "fear", "anger", None)])
    vectors = [vector.tobytes() for vector in ann.embeddings(name, "f", embed)]
    flacs = _flacs(ann)
    words = [name.encode(), name.casefold().encode(), b"seventeen aubergines", b"a-model-called-nobody"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        assert connection.execute("SELECT count(*) FROM pg_stats WHERE schemaname = current_schema()").fetchall() == [
            (0,)
        ]
    before = server.bytes_on_disk()
    assert all(found(content, before) for content in (*flacs, *vectors)) and all(word in before for word in words)
    erased = ann.delete(name)
    assert erased.n_bytes == sum(map(len, (*flacs, *vectors)))
    after = server.bytes_on_disk()
    assert not any(found(content, after) for content in (*flacs, *vectors)) and not any(word in after for word in words)


def _flacs(store: ProfileStore) -> list[bytes]:
    with store._database.reading() as connection:
        return list(connection.scalars(sa.select(UTTERANCES.c.flac)))


def test_tables_of_another_program_or_a_newer_version_are_refused_and_left_alone(ann, server):
    foreign = server.url()
    with psycopg.connect(foreign) as connection:
        connection.execute("CREATE TABLE profiles (cake text)")
    with pytest.raises(StoreUnusable, match="another program"):
        ProfileStore(foreign).create("Ann", AGREED)
    with ann._database.writing() as connection:
        connection.exec_driver_sql("UPDATE facts SET value = '5' WHERE name = 'version'")
    ann.close()
    with pytest.raises(StoreUnusable, match="version 5, this program knows version 4; update"):
        ann.create("Bo", AGREED)


def test_a_profile_that_another_program_holds_is_told_in_words(ann, url):
    impatient = ProfileStore(url + "%20-c%20lock_timeout%3D100")
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM profiles FOR UPDATE")
        with pytest.raises(StoreUnusable, match="in use by another program"):
            impatient.add("Ann", "fear", tone(3))
        assert len(impatient.get("Ann").utterances) == 2  # reading goes on
        impatient.create("Bo", AGREED)  # and so do others


def test_what_is_added_to_a_profile_while_it_is_erased_is_gone_with_it(ann, url):
    asked = threading.Event()

    def add() -> None:
        asked.set()
        ProfileStore(url).add("Ann", "fear", tone(3))

    with ThreadPoolExecutor(1) as pool:
        with ann._database.writing() as connection:
            row = ann._find(connection, "Ann")
            adding = pool.submit(add)
            asked.wait()
            connection.execute(sa.delete(PROFILES).where(PROFILES.c.id == row.id))
        with pytest.raises(UnknownProfile):
            adding.result()
    with ann._database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(UTTERANCES)) == 0


def test_all_that_is_read_in_one_call_is_of_one_moment(ann, url):
    with ann._database.reading() as connection:
        row = ann._find(connection, "Ann")
        ProfileStore(url).add("Ann", "fear", tone(3))
        assert connection.scalar(sa.select(sa.func.count()).where(UTTERANCES.c.profile == row.id)) == 2
    assert len(ann.get("Ann").utterances) == 3


def test_a_store_that_is_closed_or_forgotten_leaves_no_connection_open(url):
    store = ProfileStore(f"{url}&application_name=forgotten")

    def connections(expected: int) -> bool:
        """Whether there are that many, once the server has noticed."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'forgotten'"
        with psycopg.connect(url, autocommit=True) as connection:
            return any(connection.execute(query).fetchall() == [(expected,)] for _ in range(10_000))

    for leave in (store.close, lambda: None):
        store.list()
        assert connections(1)
        leave()
    del store
    assert connections(0)
