"""Encryption at rest: raw bytes are searched, values are moved about, keys are lost."""

import base64
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_profiles import AGREED, embed, file_of, found, tone

from ser_core.data.audio import SAMPLE_RATE
from ser_core.inference.database import StoreUnusable
from ser_core.inference.judgements import Judgement
from ser_core.inference.profiles import ProfileStore, open_store
from ser_core.inference.sealing import BadKey, BrokenSeal, make_key, read_key
from ser_core.ui.files import PrivateFiles
from ser_core.ui.serve import WorkspaceUnusable, private_folder
from ser_core.workspace import Workspace

SAID = Judgement("2026-11-21T10:00:00+00:00", "a-model", "a-personaliser", "fear", "disgust", "fear")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An encrypted one."""
    (tmp_path / "home").mkdir()
    make_key(tmp_path / "key", tmp_path / "home")
    made = Workspace(tmp_path / "home", key_file=tmp_path / "key")
    yield made
    if made.temporary != made.root / "temporary":
        shutil.rmtree(made.temporary, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, workspace: Workspace):
    """An encrypted store of each kind, with Ann and all that can be kept of somebody."""
    server = request.getfixturevalue("server") if request.param == "postgresql" else None
    store = open_store(Workspace(workspace.root, server and server.url(), workspace.key_file))
    fill(store)
    yield store
    if server:
        server.drop_all()


def fill(store: ProfileStore) -> None:
    store.add_many("Ann", [("anger", tone(1), {"advice": ["speak up"]}), ("fear", tone(2), {})], create=AGREED)
    store.keep_transcript("Ann", store.get("Ann").utterances[0].utterance_id, "seventeen “aubergines”")
    store.embeddings("Ann", "f", embed)
    store.add_talk("Ann", [tone(3)])
    store.keep_judgements("Ann", [SAID])


def test_what_was_stored_comes_back_as_it_was(store, tmp_path):
    plain = ProfileStore(tmp_path / "plain.sqlite3")
    fill(plain)
    ours, theirs = store.get("Ann"), plain.get("Ann")
    for sealed, bare in zip((*ours.utterances, *ours.talk), (*theirs.utterances, *theirs.talk), strict=True):
        assert (sealed.emotion, sealed.quality, sealed.transcript) == (bare.emotion, bare.quality, bare.transcript)
        np.testing.assert_array_equal(store.audio("Ann", sealed.utterance_id), plain.audio("Ann", bare.utterance_id))
    np.testing.assert_array_equal(store.embeddings("Ann", "f", None), plain.embeddings("Ann", "f", None))
    assert store.judgements("Ann") == [SAID]
    again = [SAID, Judgement(SAID.at, "another", None, "anger", "anger", None)][1:]
    store.keep_judgements("Ann", again)  # the last word counts
    assert store.judgements("Ann") == again
    removed = store.remove("Ann", ours.utterances[0].utterance_id)
    store.restore("Ann", removed)
    assert store.get("Ann") == ours
    assert store.import_archive(store.export("Ann"), AGREED, "Bo").utterances[0].transcript == "seventeen “aubergines”"
    assert store.delete("Ann").n_utterances == 3


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_voice_lies_readable_in_the_workspace_at_any_time(workspace):
    """On raw bytes, with the write-ahead log open, after each step: recordings, embeddings and words, also as base64."""
    store = open_store(workspace)
    plain = ProfileStore(workspace.root.parent / "plain.sqlite3")
    secrets: list[bytes] = [b"RIFF", b"fLaC", b"aubergines", b"speak up", b"a-personaliser", b"disgust"]

    def check() -> None:
        files = bytes_in(workspace.root)
        assert b"Ann" in files and len(files) > 20_000
        assert not any(found(secret, files, min(64, len(secret))) for secret in secrets)

    with closing(sqlite3.connect(workspace.root / "profiles.sqlite3")) as other:
        fill(store)
        fill(plain)
        other.execute("SELECT count(*) FROM utterances").fetchall()
        readable = bytes_in(plain._database._engine.path.parent)
        for utterance in plain.get("Ann").utterances:
            waveform = plain.audio("Ann", utterance.utterance_id)
            secrets += [(waveform * 2**15).astype("<i2").tobytes(), embed([waveform]).astype("<f4").tobytes()]
        flacs = [each[0] for each in sqlite3.connect(file_of(plain)).execute("SELECT flac FROM utterances")]
        secrets += [*flacs, *(base64.b64encode(flac) for flac in flacs)]
        for secret in (b"fLaC", b"aubergines", b"speak up", flacs[0]):
            assert found(secret, readable, min(64, len(secret)))  # this is how it would look
        check()
        store.add("Ann", "anger", tone(4))
        store.embeddings("Ann", "f", embed)
        check()
        store.export("Ann")
        files = PrivateFiles(workspace.temporary)
        files.write_playback("x", store.audio("Ann", store.get("Ann").utterances[0].utterance_id))
        files.document("Ann.zip", store.export("Ann"))
        try:
            assert soundfile.info(files.playback("x")).samplerate == SAMPLE_RATE
            assert workspace.temporary.stat().st_dev != workspace.root.stat().st_dev
            check()
        finally:
            files.forget_playback("x")
            files.forget_documents()
        store.remove("Ann", store.get("Ann").utterances[0].utterance_id)
        check()


def test_the_pages_folder_is_in_memory_private_and_gone_afterwards(workspace, monkeypatch):
    left = workspace.root / "temporary" / "left.wav"  # from before
    left.parent.mkdir()
    left.write_bytes(b"RIFF")
    with private_folder(workspace) as served:
        folder = served.temporary
        assert not left.exists() and folder.stat().st_dev == Path("/dev/shm").stat().st_dev
        for each in (folder, folder.parent):
            assert each.stat().st_mode & 0o777 == 0o700
        (folder / "voice.wav").write_bytes(b"RIFF")
        assert Workspace(workspace.root.parent / "other", key_file=workspace.key_file).temporary != folder.parent
    assert not folder.exists()
    folder.parent.rmdir()
    monkeypatch.setattr("ser_core.workspace._MEMORY", workspace.root / "nowhere")
    assert workspace.temporary == workspace.root / "temporary"


def test_a_pages_folder_that_somebody_else_put_there_is_refused_and_left_alone(workspace, monkeypatch, tmp_path):
    monkeypatch.setattr("ser_core.workspace._MEMORY", tmp_path / "memory")
    precious = tmp_path / "precious" / "letters.txt"
    for folder in (precious.parent, tmp_path / "memory"):
        folder.mkdir()
    precious.write_text("dear diary")
    workspace.temporary.symlink_to(precious.parent)
    with pytest.raises(WorkspaceUnusable, match="belongs to somebody else"), private_folder(workspace):
        raise AssertionError("was served")
    assert precious.exists()


def test_a_value_opens_only_where_it_was_stored(workspace):
    store = open_store(workspace)
    fill(store)
    anger, fear = (each.utterance_id for each in store.get("Ann").utterances)

    def changed(statement: str) -> None:
        with closing(sqlite3.connect(file_of(store))) as connection, connection:
            assert connection.execute(statement).rowcount

    assert store.audio("Ann", anger).shape == store.audio("Ann", fear).shape
    for what in ("flac", "quality"):  # another recording's
        changed(f"UPDATE utterances SET {what} = (SELECT {what} FROM utterances WHERE utterance_id = '{fear}') "
                f"WHERE utterance_id = '{anger}'")  # fmt: skip
        with pytest.raises(BrokenSeal, match="damaged, or not from here"):
            store.audio("Ann", anger)
        store.audio("Ann", fear)
        with closing(sqlite3.connect(file_of(store))) as connection, connection:
            connection.execute("DELETE FROM utterances WHERE utterance_id = ?", (anger,))
        anger = store.add("Ann", "anger", tone(1)).utterance_id
    changed(
        f"UPDATE utterances SET flac = CAST(substr(flac, 1, length(flac) - 1) || x'00' AS BLOB) WHERE utterance_id = '{fear}'"
    )
    with pytest.raises(BrokenSeal):
        store.audio("Ann", fear)
    changed(f"UPDATE utterances SET transcript = 'plain words' WHERE utterance_id = '{anger}'")
    with pytest.raises(BrokenSeal):
        store.get("Ann")


def test_each_value_has_a_nonce_of_its_own(workspace):
    store = open_store(workspace)
    store.create("Ann", AGREED)
    for _ in range(3):
        store.add("Ann", "anger", tone(1), replaces=())
    with closing(sqlite3.connect(file_of(store))) as connection:
        flacs = [row[0] for row in connection.execute("SELECT flac FROM utterances")]
    assert len({flac[:12] for flac in flacs}) == len({flac[12:60] for flac in flacs}) == 3


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_wrong_key_or_none_or_one_too_many_is_refused_and_changes_nothing(workspace, request, kind, tmp_path):
    make_key(tmp_path / "other", workspace.root)
    urls = [None, None]
    if kind == "postgresql":
        server = request.getfixturevalue("server")
        request.addfinalizer(server.drop_all)
        urls = [server.url(), server.url()]
    encrypted = Workspace(workspace.root, urls[0], workspace.key_file)
    fill(open_store(encrypted))
    before = open_store(encrypted).list()
    (tmp_path / "second").mkdir()
    plain = Workspace(tmp_path / "second", urls[1])
    fill(open_store(plain))
    plain_before = open_store(plain).list()
    for refused, words in (
        (Workspace(workspace.root, urls[0], tmp_path / "other"), "encrypted with another key"),
        (Workspace(workspace.root, urls[0]), "is encrypted; name the file with its key in SER_KEY_FILE"),
        (Workspace(plain.root, urls[1], tmp_path / "other"), "is not encrypted, but SER_KEY_FILE names a key"),
    ):
        for call in (ProfileStore.list, lambda store: store.create("Bo", AGREED)):
            with pytest.raises(StoreUnusable, match=words):
                call(open_store(refused))
    assert open_store(encrypted).list() == before and open_store(plain).list() == plain_before


def test_a_key_is_for_its_owner_alone_and_lies_elsewhere(tmp_path, workspace):
    key = workspace.key_file
    assert key.stat().st_mode & 0o777 == 0o600 and len(read_key(key, workspace.root)) == 32
    with pytest.raises(BadKey, match="there is a file 'key' already"):
        make_key(key, workspace.root)
    for inside in (workspace.root / "key", workspace.root / "deep" / ".." / "key"):
        with pytest.raises(BadKey, match="lies in the workspace"):
            make_key(inside, workspace.root)
    (tmp_path / "link").symlink_to(workspace.root / "key")
    (workspace.root / "key").write_bytes(key.read_bytes())
    (workspace.root / "key").chmod(0o600)
    for content, mode, words in (
        (key.read_bytes(), 0o640, "others may read the key's file 'bad'.*chmod 600"),
        (key.read_bytes()[:20], 0o600, "holds no key"),
        (b"\xff\xfe", 0o600, "holds no key"),
        (b"", 0o600, "holds no key"),
    ):
        (tmp_path / "bad").write_bytes(content)
        (tmp_path / "bad").chmod(mode)
        with pytest.raises(BadKey, match=words) as refused:
            read_key(tmp_path / "bad", workspace.root)
        assert str(tmp_path) not in str(refused.value)
    with pytest.raises(BadKey, match="cannot be read .no such file"):
        read_key(tmp_path / "absent", workspace.root)
    with pytest.raises(BadKey, match="lies in the workspace"):
        read_key(tmp_path / "link", workspace.root)
