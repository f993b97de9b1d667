"""The truth comes from elsewhere: sqlite3 reads the database, raw bytes are searched, processes are killed."""

import hashlib
import io
import json
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg
import pytest
import soundfile
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_core.data.audio import SAMPLE_RATE, AudioRejected
from ser_core.inference import archives, database, engines, profiles
from ser_core.inference.archives import BadArchive, ProfileError
from ser_core.inference.consent import LOCAL, Consent, ConsentMissing, consent_now
from ser_core.inference.database import ACCOUNTS, PROFILES, StoreUnusable
from ser_core.inference.engines import SqliteFile
from ser_core.inference.judgements import Judgement, tally, to_csv
from ser_core.inference.profiles import (
    AccountErased,
    BadDays,
    BadProfileName,
    EnrolledUtterance,
    ProfileExists,
    ProfileFull,
    ProfileStore,
    RetentionPaused,
    UnknownProfile,
    UnknownUtterance,
    expire_unused,
    open_store,
)
from ser_core.labels import APP_EMOTIONS, EMOTIONS, UnknownEmotion
from ser_core.workspace import open_workspace

REPOSITORY = Path(profiles.__file__).parents[2]
AGREED = consent_now()


def tone(seed: int = 0, seconds: float = 0.7) -> np.ndarray:
    """A noisy tone (N,) float32: like no other seed's, and FLAC cannot shrink it to nothing."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time))
    return (0.3 * np.sin(2 * np.pi * (120 + 10 * seed) * time) + noise).astype(np.float32)


def embed(waveforms: list[np.ndarray]) -> np.ndarray:
    """Stands for an encoder: (M, 3, 40), noise that depends on nothing but the waveform."""
    seeds = [np.frombuffer(hashlib.sha256(waveform.tobytes()).digest(), np.uint32) for waveform in waveforms]
    return np.stack([np.random.default_rng(seed).normal(size=(3, 40)) for seed in seeds]).astype(np.float32)


ON_SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For what is only of SQLite's file; everything else has to hold on both databases."""


def place(store: ProfileStore) -> Path | str:
    """Where another store finds the same profiles."""
    engine = store._database._engine
    return engine.path if isinstance(engine, SqliteFile) else engine.writing.url.render_as_string(hide_password=False)


def file_of(store: ProfileStore) -> Path:
    """SQLite's."""
    return store._database._engine.path


def query(store: ProfileStore, sql: str) -> list[tuple]:
    """Asked past all that is ours, and past SQLAlchemy."""
    where = place(store)
    if isinstance(where, Path):
        with closing(sqlite3.connect(where)) as connection:
            return connection.execute(sql).fetchall()
    with psycopg.connect(where.replace("+psycopg", "").replace("+", "%20")) as connection:
        return connection.execute(sql).fetchall()


def bytes_on_disk(store: ProfileStore) -> bytes:
    if isinstance(place(store), str):
        return store.server.bytes_on_disk()
    return b"".join(path.read_bytes() for path in sorted(file_of(store).parent.glob(f"{file_of(store).name}*")))


def found(content: bytes, files: bytes, length: int = 64) -> bool:
    """Whether any 64-byte slice of the content (every 64th taken, and the last) is in the files."""
    starts = [*range(0, len(content) - length, length), len(content) - length]
    return any(content[start : start + length] in files for start in starts)


def as_flac(waveform: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform, SAMPLE_RATE, format="FLAC")
    return stream.getvalue()


def archive(files: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return stream.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def changed(content: bytes, **changes) -> bytes:
    """An archive whose profile.json has other values, at its top or in its first utterance."""
    files = unpacked(content)
    document = json.loads(files["profile.json"])
    for key, value in changes.items():
        place = document if key in document else document["utterances"][0]
        place[key] = value
    return archive({**files, "profile.json": json.dumps(document)})


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProfileStore]:
    """An empty store, of each kind."""
    if request.param == "sqlite":
        yield ProfileStore(tmp_path / "profiles.sqlite3")
        return
    server = request.getfixturevalue("server")
    store = ProfileStore(server.url())
    store.server = server
    yield store
    server.drop_all()


@pytest.fixture
def ann(store: ProfileStore) -> ProfileStore:
    """A store where Ann has enrolled two emotions."""
    store.add_many("Ann", [("anger", tone(1), {"fit": True}), ("neutral", tone(2), {})], create=AGREED)
    return store


# ---- names -----------------------------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_use(tmp_path):
    store = ProfileStore(tmp_path / "deep" / "profiles.sqlite3")
    assert not file_of(store).parent.exists()
    assert store.list() == []
    assert file_of(store).exists()


def test_a_new_profile_is_empty_and_can_be_found_in_any_case(store):
    made = store.create("  Zoë Müller ", AGREED)
    assert (made.name, made.utterances, made.emotions) == ("Zoë Müller", (), ())
    assert store.get("ZOË MÜLLER") == store.get("Zoe\u0308 Müller") == made
    assert query(store, "SELECT name, created FROM profiles") == [(made.name, made.created)]


@pytest.mark.parametrize(
    "name", ["", "   ", "a" * 65, "a/b", "a\\b", "../x", "a\nb", "a\0b", "a\u202eb", "\ud800", None]
)
def test_a_name_that_cannot_be_one_is_refused(store, name):
    with pytest.raises(BadProfileName, match="name"):
        store.create(name, AGREED)
    with pytest.raises(UnknownProfile):
        store.get(name)


@pytest.mark.parametrize("taken", ["Ann", "ann", " ANN "])
def test_a_name_that_is_taken_is_refused_in_any_case(ann, taken):
    with pytest.raises(ProfileExists, match="already"):
        ann.create(taken, AGREED)
    with pytest.raises(ProfileExists):
        ann.add_many(taken, [("fear", tone(3), {})], create=AGREED)
    assert ann.get("Ann").emotions == ("neutral", "anger")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=70))
def test_any_text_either_is_a_name_or_is_refused_in_words(name):
    with tempfile.TemporaryDirectory() as folder:
        store = ProfileStore(Path(folder) / "profiles.sqlite3")
        try:
            made = store.create(name, AGREED)
        except BadProfileName:
            assert store.list() == []
            return
        assert made.name == unicodedata.normalize("NFC", name.strip())
        assert store.get(f" {name.casefold()} ") == made
        with pytest.raises(ProfileExists):
            store.create(name, AGREED)


def test_an_unknown_profile_is_answered_with_up_to_five_that_exist(store):
    with pytest.raises(UnknownProfile, match="none yet"):
        store.get("Ann")
    for name in "gfedcba":
        store.create(name, AGREED)
    with pytest.raises(UnknownProfile, match=r"'Ann'; there is a, b, c, d, e and 2 more$"):
        store.get("Ann")


def test_every_call_that_names_an_unknown_profile_says_so(store):
    calls = [
        lambda: store.add("x", "anger", tone()),
        lambda: store.add_many("x", [("anger", tone(), {})]),
        lambda: store.remove("x", "0"),
        lambda: store.rename("x", "y"),
        lambda: store.delete("x"),
        lambda: store.audio("x", "0"),
        lambda: store.embeddings("x", "f", embed),
        lambda: store.export("x"),
    ]
    for call in calls:
        with pytest.raises(UnknownProfile):
            call()
    assert store.list() == []


def test_a_renamed_profile_keeps_what_it_has_and_leaves_its_old_name(ann):
    utterances = ann.get("Ann").utterances
    assert ann.rename("ann", "ANN").name == "ANN"  # only the case: no other profile is in the way
    assert ann.rename("Ann", "Berta Behringer").utterances == utterances
    assert b"ANN" not in bytes_on_disk(ann)
    ann.create("Cleo", AGREED)
    with pytest.raises(ProfileExists):
        ann.rename("Cleo", "berta behringer")
    with pytest.raises(BadProfileName):
        ann.rename("Cleo", "a/b")
    assert [profile.name for profile in ann.list()] == ["Berta Behringer", "Cleo"]


# ---- accounts --------------------------------------------------------------------------------------------------------


def account(store: ProfileStore, name: str) -> ProfileStore:
    """The profiles of a new account."""
    with store._database.writing() as connection:
        row = {"name": name, "key": profiles.folded(name), "password": "its hash", "created": AGREED.agreed}
        return store.of(connection.execute(sa.insert(ACCOUNTS).values(row)).inserted_primary_key[0])


@pytest.fixture
def accounts(store: ProfileStore) -> tuple[ProfileStore, ProfileStore]:
    """Two accounts; each has a profile Ann, with a recording of anger and a part of free speech."""
    for n, whose in enumerate(made := (account(store, "first"), account(store, "second"))):
        whose.add_many("Ann", [("anger", tone(n), {})], create=AGREED)
        whose.add_talk("Ann", [tone(10 + n)])
        whose.keep_judgements("Ann", [Judgement(AGREED.agreed, f"model {n}", None, "fear", "anger", None)])
    return made


def everything(store: ProfileStore) -> list:
    """All that a store holds."""
    return [(profile, store.judgements(profile.name), unpacked(store.export(profile.name))) for profile in store.list()]


def test_accounts_may_use_one_name_and_each_sees_its_own_profile(accounts, store):
    for n, whose in enumerate(accounts):
        [profile] = whose.list()
        assert profile == whose.get(" ANN ")
        np.testing.assert_allclose(whose.audio("Ann", profile.utterances[0].utterance_id), tone(n), atol=2**-15)
        truth = embed([whose.audio("Ann", profile.utterances[0].utterance_id)])
        np.testing.assert_array_equal(whose.embeddings("Ann", "f", embed), truth)
        assert [said.model for said in whose.judgements("Ann")] == [f"model {n}"]
        with pytest.raises(ProfileExists):
            whose.create("ann", AGREED)
    assert store.list() == []  # of nobody's account
    store.create("Ann", AGREED)
    assert [len(each.list()) for each in (store, *accounts)] == [1, 1, 1]


def test_no_call_reaches_another_accounts_profile_by_its_name(accounts, store):
    mine, theirs = accounts
    mine.rename("Ann", "Mine only")
    before = everything(mine)
    number = mine._account
    for stranger in (theirs, store):
        for name in ("Mine only", f"{number}/mine only", f"{number}/ann"):
            for call in (
                lambda name=name, stranger=stranger: stranger.get(name),
                lambda name=name, stranger=stranger: stranger.agree(name, AGREED),
                lambda name=name, stranger=stranger: stranger.add(name, "fear", tone(3)),
                lambda name=name, stranger=stranger: stranger.add_many(name, [("fear", tone(3), {})]),
                lambda name=name, stranger=stranger: stranger.add_talk(name, [tone(3)]),
                lambda name=name, stranger=stranger: stranger.kept_talk(name),
                lambda name=name, stranger=stranger: stranger.swap_talk(name),
                lambda name=name, stranger=stranger: stranger.embeddings(name, "f", embed),
                lambda name=name, stranger=stranger: stranger.export(name),
                lambda name=name, stranger=stranger: stranger.rename(name, "Stolen"),
                lambda name=name, stranger=stranger: stranger.delete(name),
                lambda name=name, stranger=stranger: stranger.judgements(name),
                lambda name=name, stranger=stranger: stranger.keep_judgements(name, []),
                lambda name=name, stranger=stranger: stranger.forget_judgements(name),
            ):
                with pytest.raises(UnknownProfile) as refused:
                    call()
                assert "Mine only" not in str(refused.value).partition(";")[2]
    assert everything(mine) == before


def test_no_call_reaches_another_accounts_recording_by_its_id(accounts):
    mine, theirs = accounts
    before = everything(mine)
    recording, talk = mine.get("Ann").utterances[0].utterance_id, mine.get("Ann").talk[0].utterance_id
    for utterance_id in (recording, talk):
        for call in (
            lambda one=utterance_id: theirs.audio("Ann", one),
            lambda one=utterance_id: theirs.remove("Ann", one),
            lambda one=utterance_id: theirs.keep_transcript("Ann", one, "mine"),
            lambda one=utterance_id: theirs.add("Ann", "fear", tone(3), replaces=(one,)),
        ):
            with pytest.raises(UnknownUtterance):
                call()
    own = theirs.get("Ann")
    forged = [replace(part, utterance_id=talk) for part in theirs.kept_talk("Ann")]
    theirs.restore("Ann", forged[0])
    with pytest.raises(ProfileError):
        theirs.swap_talk("Ann", forged)
    assert everything(mine) == before and theirs.get("Ann") == own


def test_what_an_account_exports_another_imports_for_itself(accounts):
    mine, theirs = accounts
    copy = theirs.import_archive(mine.export("Ann"), AGREED, "Copy")
    assert [profile.name for profile in theirs.list()] == ["Ann", "Copy"] and len(mine.list()) == 1
    assert not {part.utterance_id for part in copy.utterances} & {
        part.utterance_id for part in mine.list()[0].utterances
    }
    theirs.delete("Ann")
    assert len(mine.list()) == 1


def test_an_account_that_is_erased_takes_its_profiles_along_and_gets_no_more(accounts):
    mine, theirs = accounts
    with mine._database.writing() as connection:
        connection.execute(sa.delete(ACCOUNTS).where(ACCOUNTS.c.id == mine._account))
    assert mine.list() == [] and len(theirs.list()) == 1
    with pytest.raises(AccountErased, match="sign in"):
        mine.create("Ann", AGREED)


def test_the_day_of_the_last_use_is_kept(ann, monkeypatch):
    def used() -> str:
        return ann.get("Ann").last_used

    assert used() == datetime.now(UTC).date().isoformat()
    for day, use in (
        ("2030-01-02", lambda: ann.add("Ann", "fear", tone(3))),
        ("2030-01-03", lambda: ann.embeddings("Ann", "f", embed)),
        ("2030-01-04", lambda: ann.embeddings("Ann", "f", embed)),  # nothing new to embed
        ("2030-01-05", lambda: ann.add_talk("Ann", [tone(4)])),
    ):
        monkeypatch.setattr(profiles, "_today", lambda day=day: day)
        ann.get("Ann"), ann.list(), ann.export("Ann")
        assert used() < day
        use()
        assert used() == day


@ON_SQLITE
def test_the_day_of_the_last_use_is_written_once_a_day(ann):
    ann.embeddings("Ann", "f", embed)
    with closing(sqlite3.connect(file_of(ann), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # whoever would write waits for five seconds, then fails
        other.execute("UPDATE profiles SET last_used = '2020-01-01'")
        assert len(ann.embeddings("Ann", "f", embed)) == 2
        other.execute("ROLLBACK")
    assert ann.get("Ann").last_used == datetime.now(UTC).date().isoformat()


# ---- utterances ------------------------------------------------------------------------------------------------------


def test_what_is_added_comes_back_as_16_bits_hold_it(ann):
    waveform = tone(5, seconds=1.25)
    added = ann.add("Ann", "Happy", waveform, {"snr_db": float("nan"), "fit": True})
    assert (added.emotion, added.duration_s, added.quality) == ("happiness", 1.25, {"snr_db": None, "fit": True})
    assert re.fullmatch("[0-9a-f]{32}", added.utterance_id)
    back = ann.audio("ann", added.utterance_id)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, waveform, atol=1 / 2**15)
    [(flac, quality)] = query(ann, "SELECT flac, CAST(quality AS TEXT) FROM utterances WHERE emotion = 'happiness'")
    samples, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_array_equal(samples, back)
    assert json.loads(quality) == added.quality
    assert added in ann.get("Ann").utterances


def test_utterances_stand_in_the_order_of_the_emotions_and_then_of_time(store):
    store.create("Ann", AGREED)
    added = {}
    for seed, emotion in enumerate([*reversed(EMOTIONS), "anger"]):
        added[seed] = store.add("Ann", emotion, tone(seed), replaces=())
    profile = store.get("Ann")
    assert profile.emotions == EMOTIONS
    assert [utterance.emotion for utterance in profile.utterances].count("anger") == 2
    angry = [utterance.utterance_id for utterance in profile.utterances if utterance.emotion == "anger"]
    assert angry == [added[EMOTIONS[::-1].index("anger")].utterance_id, added[len(EMOTIONS)].utterance_id]
    assert store.list() == [profile]


def test_a_new_utterance_replaces_the_earlier_ones_of_its_emotion_and_erases_them(ann):
    [(flac,)] = query(ann, "SELECT flac FROM utterances WHERE emotion = 'anger'")
    assert found(flac, bytes_on_disk(ann))
    new = ann.add("Ann", "anger", tone(9))
    assert [each for each in ann.get("Ann").utterances if each.emotion == "anger"] == [new]
    assert not found(flac, bytes_on_disk(ann))


@ON_SQLITE
@pytest.mark.parametrize("emotion", ["rage against", "other", "no_agreement", ""])
def test_an_emotion_that_cannot_be_enrolled_is_refused(ann, emotion):
    with pytest.raises(UnknownEmotion):
        ann.add("Ann", emotion, tone())


@ON_SQLITE
@pytest.mark.parametrize(
    ("waveform", "code"),
    [
        (tone()[:100], "too_short"),
        (np.zeros(SAMPLE_RATE, np.float32), "silent"),
        (np.full(SAMPLE_RATE, np.nan, np.float32), "not_finite"),
        (tone().reshape(2, -1), "not_finite"),
        (np.sign(tone()), "clipped"),
        (np.tile(tone(), 50), "too_long"),
    ],
)
def test_what_could_not_be_imported_again_is_not_stored(ann, waveform, code):
    before = ann.list()
    with pytest.raises(AudioRejected) as rejected:
        ann.add("Ann", "fear", waveform)
    assert rejected.value.code == code
    assert ann.list() == before


def test_several_utterances_are_added_all_or_none(ann):
    before = ann.list()
    for spoilt in [("nonsense", tone(4), {}), ("fear", tone(4)[:10], {}), ("fear", tone(4), {"not": object()})]:
        with pytest.raises((UnknownEmotion, AudioRejected, TypeError)):
            ann.add_many("Ann", [("anger", tone(3), {}), spoilt])
        with pytest.raises((UnknownEmotion, AudioRejected, TypeError)):
            ann.add_many("New", [("anger", tone(3), {}), spoilt], create=AGREED)
    assert ann.list() == before
    after = ann.add_many("Ann", [("anger", tone(3), {}), ("fear", tone(4), {}), ("fear", tone(5), {})])
    assert [each.emotion for each in after.utterances] == ["neutral", "anger", "fear", "fear"]


def test_a_removed_utterance_is_erased_and_can_be_put_back_as_it_was(ann):
    before = ann.get("Ann")
    utterance = before.utterances[1]
    waveform = ann.audio("Ann", utterance.utterance_id)
    ann.embeddings("Ann", "f", embed)
    removed = ann.remove("Ann", utterance.utterance_id)
    assert isinstance(removed, EnrolledUtterance)
    assert "flac" not in repr(removed)
    assert all(getattr(removed, item.name) == getattr(utterance, item.name) for item in fields(utterance))
    assert not found(removed.flac, bytes_on_disk(ann))
    assert query(ann, "SELECT count(*) FROM embeddings") == [(1,)]
    for _ in range(2):  # a second time changes nothing
        assert ann.restore("Ann", removed) == utterance
        assert ann.get("Ann") == before
    np.testing.assert_array_equal(ann.audio("Ann", utterance.utterance_id), waveform)


def test_a_transcript_is_kept_but_for_zeros_which_no_server_takes(ann):
    utterance = ann.get("Ann").utterances[0]
    ann.keep_transcript("Ann", utterance.utterance_id, "Zoë said \0“no”")
    assert ann.get("Ann").utterances[0] == replace(utterance, transcript="Zoë said “no”")


def test_an_utterance_of_somebody_else_is_unknown(ann):
    ann.create("Bo", AGREED)
    theirs = ann.get("Ann").utterances[0].utterance_id
    for call in (ann.remove, ann.audio):
        with pytest.raises(UnknownUtterance, match="'Bo' has no utterance"):
            call("Bo", theirs)
    with pytest.raises(UnknownUtterance):
        ann.audio("Ann", "\ud800")
    assert len(ann.get("Ann").utterances) == 2


# ---- embeddings ------------------------------------------------------------------------------------------------------


def test_an_utterance_is_embedded_once_per_fingerprint(ann):
    seen = []

    def counting(waveforms):
        seen.append(len(waveforms))
        return embed(waveforms)

    def truth():
        return embed([ann.audio("Ann", each.utterance_id) for each in ann.get("Ann").utterances])

    first = ann.embeddings("Ann", "a", counting)
    assert (first.shape, first.dtype) == ((2, 3, 40), np.float32)
    np.testing.assert_array_equal(first, truth())
    np.testing.assert_array_equal(ann.embeddings("Ann", "a", counting), truth())
    ann.add("Ann", "happiness", tone(7))  # stands between the two
    np.testing.assert_array_equal(ann.embeddings("Ann", "a", counting), truth())
    ann.add("Ann", "anger", tone(8))  # replaces one
    np.testing.assert_array_equal(ProfileStore(place(ann)).embeddings("Ann", "a", counting), truth())
    np.testing.assert_array_equal(ann.embeddings("Ann", "b", counting), truth())
    assert seen == [2, 1, 1, 3]
    stored = {row[0] for row in query(ann, "SELECT vectors FROM embeddings WHERE fingerprint = 'a'")}
    assert stored == {vector.tobytes() for vector in truth()}


def test_an_empty_profile_has_no_embeddings_and_embeds_nothing(store):
    store.create("Ann", AGREED)
    assert store.embeddings("Ann", "f", None).shape == (0, 0, 0)


def test_embeddings_of_the_wrong_shape_are_a_bug_that_shows(ann):
    with pytest.raises(ValueError, match=r"expected \(2, L, 2 D\)"):
        ann.embeddings("Ann", "f", lambda waveforms: np.zeros((1, 3, 4)))
    assert query(ann, "SELECT count(*) FROM embeddings") == [(0,)]


def test_what_takes_the_place_of_what_is_embedded_gets_no_embedding_of_it(ann):
    def embed_meanwhile_replaced(waveforms):
        ann.delete("Ann")
        ann.add_many("Bo", [("anger", tone(8), {}), ("neutral", tone(9), {})], create=AGREED)  # the same row numbers
        return embed(waveforms)

    ann.embeddings("Ann", "f", embed_meanwhile_replaced)
    bo = [ann.audio("Bo", each.utterance_id) for each in ann.get("Bo").utterances]
    np.testing.assert_array_equal(ann.embeddings("Bo", "f", embed), embed(bo))


def test_what_is_deleted_while_it_is_embedded_does_not_come_back(ann):
    def embed_meanwhile_deleted(waveforms):
        ProfileStore(place(ann)).delete("Ann")  # also: no lock is held while embedding
        return embed(waveforms)

    vectors = ann.embeddings("Ann", "f", embed_meanwhile_deleted)
    assert len(vectors) == 2
    assert query(ann, "SELECT count(*) FROM embeddings") == [(0,)]
    assert not any(found(vector.tobytes(), bytes_on_disk(ann)) for vector in vectors)


# ---- erasing ---------------------------------------------------------------------------------------------------------


@ON_SQLITE
def test_a_deleted_profile_leaves_no_byte_though_another_program_has_the_file_open(ann):
    ann.add_many("Bo", [(emotion, tone(20 + n), {}) for n, emotion in enumerate(APP_EMOTIONS)], create=AGREED)
    with closing(sqlite3.connect(file_of(ann))) as other:  # keeps the log from vanishing with the last connection
        other.execute("SELECT count(*) FROM profiles").fetchall()
        ann.add("Ann", "fear", tone(3), {"remark": "Ann's own words"})
        vectors = [vector.tobytes() for vector in ann.embeddings("Ann", "f", embed)]
        flacs = [
            row[0]
            for row in other.execute("SELECT flac FROM utterances JOIN profiles p ON profile = p.id AND key = 'ann'")
        ]
        ids = [utterance.utterance_id.encode() for utterance in ann.get("Ann").utterances]
        kept = other.execute("SELECT flac FROM utterances JOIN profiles p ON profile = p.id AND key = 'bo'").fetchall()
        traces = [*ids, b"Ann"]
        before = bytes_on_disk(ann)
        assert all(found(content, before) for content in (*flacs, *vectors))
        assert all(trace in before for trace in traces)
        assert len(file_of(ann).with_name(f"{file_of(ann).name}-wal").read_bytes()) > 0

    # reading the files' bytes above let go of this process' locks on them: erase with fresh connections
    with closing(sqlite3.connect(file_of(ann))) as other:
        other.execute("SELECT count(*) FROM profiles").fetchall()
        erased = ann.delete("ANN")
        wal = file_of(ann).with_name(f"{file_of(ann).name}-wal")
        assert wal.exists()
        assert wal.stat().st_size == 0
        after = bytes_on_disk(ann)
    assert (erased.name, erased.n_utterances, erased.n_bytes) == ("Ann", 3, sum(map(len, (*flacs, *vectors))))
    assert not any(found(content, after) for content in (*flacs, *vectors))
    assert not any(trace in after for trace in traces)
    assert [profile.name for profile in ann.list()] == ["Bo"]
    assert all(found(row[0], after) for row in kept)
    assert query(ann, "PRAGMA integrity_check") == [("ok",)]


@ON_SQLITE
def test_a_deletion_that_a_reader_keeps_from_being_complete_is_not_called_complete(ann, monkeypatch):
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(engines, "_PRAGMAS", ("busy_timeout=100", *engines._PRAGMAS[1:]))
    [(flac,)] = query(ann, "SELECT flac FROM utterances WHERE emotion = 'anger'")
    with closing(sqlite3.connect(file_of(ann), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM utterances").fetchall()
        with pytest.raises(StoreUnusable, match="'Ann' is deleted, but another program"):
            ann.delete("Ann")
        assert ann.list() == []
    assert not found(flac, bytes_on_disk(ann))


@ON_SQLITE
def test_a_deletion_while_another_program_writes_is_done_and_not_called_complete(ann, monkeypatch):
    monkeypatch.setattr(engines, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(engines, "_PRAGMAS", ("busy_timeout=100", *engines._PRAGMAS[1:]))
    with closing(sqlite3.connect(file_of(ann), isolation_level=None)) as writer:
        forget = ann._database.forget
        monkeypatch.setattr(ann._database, "forget", lambda: writer.execute("BEGIN IMMEDIATE") and forget())
        with pytest.raises(StoreUnusable, match="'Ann' is deleted, but another program"):
            ann.delete("Ann")
    assert ann.list() == []


@ON_SQLITE
def test_a_row_that_was_moved_between_pages_leaves_no_copy_where_it_was(store):
    """Overwriting the deleted row is not enough: without VACUUM, SQLite 3.40 leaves one of these words behind."""
    choose, words = random.Random(48), []

    def word() -> str:
        return f"{choose.getrandbits(64):016x}"

    store.create("Ann", AGREED)
    for _ in range(30):
        who = choose.choice(["Ann", "Bo", "Cy"])
        if who not in [profile.name for profile in store.list()]:
            store.create(who, AGREED)
        n = choose.randint(1, 30)
        said = [Judgement(word(), word() * choose.choice([1, 1, 10]), None, "fear", "fear", None) for _ in range(n)]
        store.keep_judgements(who, said)
        words += [text[:16].encode() for one in said for text in (one.at, one.model) if who == "Ann"]
        if choose.random() < 0.2 and who != "Ann":
            store.delete(who)
    assert all(each in bytes_on_disk(store) for each in words)
    store.delete("Ann")
    after = bytes_on_disk(store)
    assert [each for each in words if each in after] == []


# ---- what nobody uses ------------------------------------------------------------------------------------------------


def aged(store: ProfileStore, **days: str) -> None:
    """Each profile was last used on its day."""
    with store._database.writing() as connection:
        for name, day in days.items():
            connection.execute(sa.update(PROFILES).where(PROFILES.c.name == name).values(last_used=day))


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_profiles_that_nobody_used_for_more_than_some_days_leave_no_byte(ann):
    for n, name in enumerate(("Bo", "Cy", "Di")):
        ann.add_many(name, [("fear", tone(20 + n), {})], create=AGREED)
    ann.embeddings("Ann", "f", embed)
    aged(ann, Ann="2026-10-22", Bo="2026-10-23", Cy="2026-11-22", Di="2026-11-23")
    flacs = [
        row[0] for row in query(ann, "SELECT flac FROM utterances JOIN profiles p ON profile = p.id AND key = 'ann'")
    ]
    assert ann.expire(31, NOW) == () and len(ann.list()) == 4
    [erased] = ann.expire(30, NOW)
    assert (erased.name, erased.n_utterances) == ("Ann", 2) and erased.n_bytes > sum(map(len, flacs))
    after = bytes_on_disk(ann)
    assert len(flacs) == 2 and not any(found(flac, after) for flac in flacs)
    assert [profile.name for profile in ann.list()] == ["Bo", "Cy", "Di"]
    assert [one.name for one in ann.expire(1, NOW)] == ["Bo"]  # a day in the future counts as today
    for days in (0, -5):
        with pytest.raises(BadDays, match="1 or more"):
            ann.expire(days, NOW)
    assert ann.expire(10**9, NOW) == () and len(ann.list()) == 2


def test_an_account_loses_only_its_own_profiles_and_all_are_looked_at_together(accounts, store, monkeypatch):
    mine, theirs = accounts
    store.create("Ann", AGREED)
    aged(store, Ann="2026-01-01")
    assert [one.name for one in mine.expire(30, NOW)] == ["Ann"]
    assert [len(each.list()) for each in (store, mine, theirs)] == [1, 0, 1]
    monkeypatch.setattr(profiles, "open_database", lambda workspace: store._database)
    assert [one.name for one in expire_unused(None, 30, NOW)] == ["Ann", "Ann"]
    assert [len(each.list()) for each in (store, mine, theirs)] == [0, 0, 0]


def test_nothing_is_erased_while_the_clock_is_in_doubt(accounts, store):
    mine, theirs = accounts
    aged(store, Ann="2026-01-01")
    theirs.create("Later", AGREED)
    aged(store, Later="2026-11-24")
    with pytest.raises(RetentionPaused, match="last used on 2026-11-24, and today is 2026-11-22 here"):
        mine.expire(30, NOW)
    assert len(mine.list()) == 1
    theirs.add("Later", "fear", tone(3))  # used now: the day is right again
    assert len(mine.expire(30, datetime.now(UTC))) == 1


@ON_SQLITE
def test_unused_profiles_that_another_program_keeps_traces_of_are_not_called_gone(ann, monkeypatch):
    monkeypatch.setattr(ann._database, "forget", lambda *tables: False)
    aged(ann, Ann="2020-01-01")
    with pytest.raises(StoreUnusable, match=r"due \(1\) are deleted, but another program"):
        ann.expire(30, NOW)
    assert ann.list() == []


# ---- export and import -----------------------------------------------------------------------------------------------


def test_a_profile_that_is_exported_deleted_and_imported_is_the_same_to_the_byte(ann):
    before, flacs = ann.get("Ann"), query(ann, "SELECT flac FROM utterances ORDER BY emotion")
    content = ann.export("ann")
    document = json.loads(unpacked(content)["profile.json"])
    assert (document["name"], document["created"], document["version"]) == ("Ann", before.created, 1)
    assert sorted(unpacked(content)) == ["01_neutral.flac", "02_anger.flac", "profile.json"]
    ann.delete("Ann")
    after = ann.import_archive(content, AGREED)
    assert query(ann, "SELECT flac FROM utterances ORDER BY emotion") == flacs
    assert (after.name, after.created) == (before.name, before.created)
    for old, new in zip(before.utterances, after.utterances, strict=True):
        assert old.utterance_id != new.utterance_id
        assert {**vars(old), "utterance_id": ""} == {**vars(new), "utterance_id": ""}
    assert unpacked(ann.export("Ann")) == unpacked(content)


def test_an_archive_can_be_imported_beside_its_origin_under_another_name(ann):
    content = ann.export("Ann")
    with pytest.raises(ProfileExists, match="give another name"):
        ann.import_archive(content, AGREED)
    with pytest.raises(BadProfileName):
        ann.import_archive(content, AGREED, name="a/b")
    assert ann.import_archive(content, AGREED, name=" Ann two ").name == "Ann two"
    assert len(ann.list()) == 2


def test_an_imported_profile_is_not_from_the_future(ann):
    made = ann.import_archive(changed(ann.export("Ann"), created="9999-01-01T00:00:00+00:00"), AGREED, "New")
    assert datetime.fromisoformat(made.created) <= datetime.now(UTC)


@ON_SQLITE
def test_an_archive_with_another_rate_is_converted(ann):
    stream = io.BytesIO()
    soundfile.write(stream, np.repeat(tone(3, 1.0), 3)[:, None] * [1, 0.9], 48_000, format="WAV")
    files = unpacked(ann.export("Ann"))
    made = ann.import_archive(archive({**files, "02_anger.flac": stream.getvalue()}), AGREED, "New")
    assert len(ann.audio("New", made.utterances[1].utterance_id)) == SAMPLE_RATE


def bad_archives(good: bytes) -> dict[str, tuple[bytes, str]]:
    files = unpacked(good)
    audio = {name: content for name, content in files.items() if name != "profile.json"}
    return {
        "text": (b"Dear diary, this is no zip." * 100, "not a zip"),
        "empty": (b"", "not a zip"),
        "cut": (good[: len(good) // 2], "not a zip"),
        "damaged": (good[:2000] + bytes(100) + good[2100:], "not a zip"),
        "parent": (archive({**files, "../evil.flac": b"x"}), "points outside"),
        "parent deep": (archive({**files, "a/../../evil": b"x"}), "points outside"),
        "absolute": (archive({**files, "/etc/evil": b"x"}), "points outside"),
        "windows": (archive({**files, "C:\\evil": b"x"}), "points outside"),
        "windows parent": (archive({**files, "..\\evil": b"x"}), "points outside"),
        "bzip2": (archive(files, zipfile.ZIP_BZIP2), "unusual"),
        "no document": (archive(audio), "'profile.json' is not there"),
        "no json": (archive({**files, "profile.json": "{"}), "not JSON"),
        "no text": (archive({**files, "profile.json": b"\xff\xfe\xfd"}), "not JSON"),
        "a list": (archive({**files, "profile.json": "[1]"}), "malformed"),
        "deep": (archive({**files, "profile.json": "[" * 100_000}), "malformed"),
        "long": (archive({**files, "profile.json": b" " * 2_000_000}), "too long"),
        "no name": (archive({**files, "profile.json": '{"format": "attune-profile", "version": 1}'}), "'name' is not"),
        "foreign": (changed(good, format="other"), "other than a profile"),
        "newer": (changed(good, version=2), "update the program"),
        "bad version": (changed(good, version="1"), "other than a profile"),
        "bad name": (changed(good, name="a/b"), "cannot be a name"),
        "bad date": (changed(good, created="yesterday"), "yesterday"),
        "impossible date": (changed(good, added="0001-01-01T00:00:00+10:00"), "malformed"),
        "bad quality": (changed(good, quality=[1]), "'quality'"),
        "bad file": (changed(good, file=["x"]), "malformed"),
        "absent file": (changed(good, file="03_fear.flac"), "'03_fear.flac' is not there"),
        "file twice": (changed(good, file="02_anger.flac"), "'02_anger.flac' is not there"),
        "bad transcript": (changed(good, transcript="a\0b"), "'transcript' holds a zero"),
        "bad emotion": (changed(good, emotion="rage"), "'rage' is not an emotion"),
        "no audio": (archive({**files, "02_anger.flac": b"no audio"}), "'02_anger.flac' cannot be used"),
        "short audio": (archive({**files, "02_anger.flac": as_flac(tone()[:800])}), "at least 0.5 s"),
    }


def test_what_is_no_exported_profile_is_refused_in_words_and_leaves_nothing(ann, tmp_path):
    good = ann.export("Ann")
    ann.delete("Ann")
    for kind, (content, words) in bad_archives(good).items():
        with pytest.raises(BadArchive) as refused:
            ann.import_archive(content, AGREED)
        assert words in str(refused.value), kind
        assert str(tmp_path) not in str(refused.value), kind
    assert ann.list() == []
    assert query(ann, "SELECT count(*) FROM utterances") == [(0,)]
    assert {path.name for path in tmp_path.iterdir()} <= {"profiles.sqlite3"}


@ON_SQLITE
def test_a_zip_bomb_is_refused_by_its_header(ann):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("bomb", "w") as file:
        for _ in range(201):
            file.write(bytes(10**6))
    assert len(stream.getvalue()) < 10**6
    with pytest.raises(BadArchive, match="more than 200 MB"):
        ann.import_archive(stream.getvalue(), AGREED)


@ON_SQLITE
def test_a_zip_bomb_whose_header_lies_is_refused_while_it_is_read(ann, monkeypatch):
    content = archive({"bomb": bytes(5 * 10**6)})
    lying = content.replace((5 * 10**6).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    with pytest.raises(BadArchive):
        ann.import_archive(lying, AGREED)
    monkeypatch.setattr(archives, "_check_entries", lambda entries: None)  # the second guard alone
    monkeypatch.setattr(archives, "MAX_UNPACKED", 10**6)
    with pytest.raises(BadArchive, match="more than 1 MB"):
        ann.import_archive(content, AGREED)


@ON_SQLITE
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_an_archive_with_any_bytes_changed_is_imported_or_refused_in_words(ann, data):
    content = bytearray(ann.export("Ann"))
    ends = st.one_of(st.integers(0, 1000), st.integers(len(content) - 400, len(content) - 1))  # where the headers are
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(ends)] = data.draw(st.integers(0, 255))
    try:
        ann.import_archive(bytes(content), AGREED, "New")
    except ProfileError:
        assert [profile.name for profile in ann.list()] == ["Ann"]
    else:
        ann.delete("New")


# ---- the file --------------------------------------------------------------------------------------------------------


@ON_SQLITE
def test_the_file_is_private_and_carries_its_version(ann):
    assert file_of(ann).stat().st_mode & 0o777 == 0o600
    assert query(ann, "PRAGMA journal_mode") == [("wal",)]
    assert query(ann, "PRAGMA user_version") == [(4,)]
    file_of(ann).chmod(0o644)
    fresh = ProfileStore(file_of(ann))
    fresh.list()
    assert file_of(ann).stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(file_of(ann))) as other:
        other.execute("SELECT count(*) FROM profiles").fetchall()
        fresh.create("Bo", AGREED)
        assert {path.stat().st_mode & 0o777 for path in file_of(ann).parent.iterdir()} == {0o600}


@ON_SQLITE
def test_the_settings_that_keep_and_erase_data_hold_on_every_connection(ann):
    wanted = {"synchronous": 2, "busy_timeout": 5000, "foreign_keys": 1, "secure_delete": 1}
    with ann._database.writing() as connection:
        got = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted}
    assert got == wanted


@ON_SQLITE
def test_a_newer_schema_is_refused_and_left_alone(ann):
    query(ann, "PRAGMA user_version=5")
    before = file_of(ann).read_bytes()
    with pytest.raises(StoreUnusable, match="version 5, this program knows version 4; update"):
        ProfileStore(file_of(ann)).list()
    assert file_of(ann).read_bytes() == before


@ON_SQLITE
def test_the_database_of_another_program_is_refused(store):
    query(store, "CREATE TABLE recipes (cake)")
    with pytest.raises(StoreUnusable, match="another program"):
        store.list()
    assert query(store, "SELECT name FROM sqlite_master") == [("recipes",)]


@ON_SQLITE
def test_a_file_that_is_no_database_is_refused_and_left_alone(store):
    text = b"I was a text file all along.\n" * 200
    file_of(store).write_bytes(text)
    with pytest.raises(StoreUnusable, match="'profiles.sqlite3' is not a database; move") as refused:
        store.create("Ann", AGREED)
    assert str(file_of(store).parent) not in str(refused.value)
    assert file_of(store).read_bytes() == text


@ON_SQLITE
def test_a_damaged_database_is_told_in_words(ann):
    content = bytearray(file_of(ann).read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    file_of(ann).write_bytes(content)
    with pytest.raises(StoreUnusable, match="damaged"):
        ann.list()


@ON_SQLITE
def test_a_damaged_recording_is_told_in_words(ann):
    with closing(sqlite3.connect(file_of(ann))) as connection, connection:
        connection.execute("UPDATE utterances SET flac = x'00'")
    with pytest.raises(StoreUnusable, match="recording is damaged"):
        ann.audio("Ann", ann.get("Ann").utterances[0].utterance_id)


def test_a_place_where_no_file_can_be_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "profiles.sqlite3", tmp_path):
        with pytest.raises(StoreUnusable, match="'.*' (cannot be|may be)") as refused:
            ProfileStore(path).list()
        assert str(tmp_path.parent) not in str(refused.value)


@contextmanager
def full_disk(n_bytes: int):
    """No file may grow beyond n_bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@ON_SQLITE
def test_a_full_disk_is_told_in_words_and_loses_nothing(ann):
    before = ann.list()
    with full_disk(file_of(ann).stat().st_size), pytest.raises(StoreUnusable, match="disk is full") as refused:
        ann.add("Ann", "fear", tone(3, seconds=20.0))
    assert "INSERT" not in str(refused.value)
    assert ann.list() == before
    assert ann.add("Ann", "fear", tone(3)) in ann.get("Ann").utterances


@contextmanager
def nobody():
    """Act as a user without rights, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_database_that_may_not_be_written_is_told_in_words():
    with tempfile.TemporaryDirectory() as folder:
        store = ProfileStore(Path(folder) / "profiles.sqlite3")
        store.create("Ann", AGREED)
        file_of(store).chmod(0o444)
        file_of(store).parent.chmod(0o555)
        try:
            with nobody(), pytest.raises(StoreUnusable, match="may be read but not written|cannot be"):
                ProfileStore(file_of(store)).create("Bo", AGREED)
        finally:
            file_of(store).parent.chmod(0o755)
        assert [profile.name for profile in store.list()] == ["Ann"]


@ON_SQLITE
def test_a_database_that_is_locked_is_told_in_words(ann, monkeypatch):
    monkeypatch.setattr(engines, "_PRAGMAS", ("busy_timeout=50", *engines._PRAGMAS[1:]))
    with closing(sqlite3.connect(file_of(ann), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable, match="in use by another program"):
            ann.create("Bo", AGREED)
        assert len(ann.get("Ann").utterances) == 2  # reading goes on
    ann.create("Bo", AGREED)


@ON_SQLITE
def test_a_file_deleted_under_the_store_is_made_again(ann):
    file_of(ann).unlink()
    assert ann.list() == []
    assert file_of(ann).stat().st_mode & 0o777 == 0o600
    ann.close()
    assert ann.create("Ann", AGREED).utterances == ()  # a closed store opens again


# ---- several at once -------------------------------------------------------------------------------------------------


def test_two_stores_at_one_place_see_each_others_work(ann):
    other = ProfileStore(place(ann))
    added = other.add("Ann", "fear", tone(3))
    np.testing.assert_array_equal(ann.audio("Ann", added.utterance_id), other.audio("Ann", added.utterance_id))
    ann.delete("Ann")
    with pytest.raises(UnknownProfile):
        other.get("Ann")


def test_of_several_threads_that_create_one_name_one_wins(store):
    stores = [ProfileStore(place(store)) for _ in range(3)] * 2
    for n in range(3):  # the first round also races for making the tables
        barrier = threading.Barrier(len(stores))

        def create(store, n=n, barrier=barrier):
            barrier.wait()
            try:
                return store.create(f"Ann {n}", AGREED).name
            except ProfileExists:
                return "exists"

        with ThreadPoolExecutor(len(stores)) as pool:
            answers = list(pool.map(create, stores))
        assert sorted(answers) == [f"Ann {n}", *["exists"] * (len(stores) - 1)]


def test_names_are_those_of_all_profiles_in_the_same_order(store):
    for name in ("bo", "Cy", "Ann"):
        store.create(name, AGREED)
    assert store.names() == [profile.name for profile in store.list()] == ["Ann", "bo", "Cy"]


def test_threads_that_enrol_at_once_lose_nothing(store):
    store.create("Ann", AGREED)

    def enrol(n):
        store.create(f"Bo {n}", AGREED)
        added = store.add("Ann", "anger", tone(n), replaces=())
        store.embeddings("Ann", "f", embed)
        store.delete(f"Bo {n}")
        return added.utterance_id

    with ThreadPoolExecutor(4) as pool:
        acknowledged = set(pool.map(enrol, range(12)))
    assert {utterance.utterance_id for utterance in store.get("Ann").utterances} == acknowledged
    assert [profile.name for profile in store.list()] == ["Ann"]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from ser_core.inference.consent import consent_now
from ser_core.inference.profiles import ProfileStore

def enrol(path, life, progress):
    store, n = ProfileStore(path), 0
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    while True:
        name, n = f"{life} {n}", n + 1
        made = store.add_many(name, [("anger", waveform, {}), ("fear", waveform, {})], create=consent_now())
        os.write(1, "".join(f"{each.utterance_id}\\n" for each in made.utterances).encode())
        os.write(progress, b".")
        if n % 4 == 0:
            os.write(1, "".join(f"?{each.utterance_id}\\n" for each in made.utterances).encode())
            store.delete(name)
            os.write(1, "".join(f"-{each.utterance_id}\\n" for each in made.utterances).encode())

for life in range(6):  # forked, so that the imports are paid for once
    seen, progress = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enrol(sys.argv[1] if '://' in sys.argv[1] else Path(sys.argv[1]), life, progress)
        finally:
            os._exit(1)
    for _ in range(random.randint(6, 10)):  # however slow the machine is, something was done
        os.read(seen, 1)
    time.sleep(random.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the child ended by itself"
"""


def test_what_was_acknowledged_survives_being_killed_at_any_time(store):
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(place(store))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    said = {sign: set(re.findall(rf"^{sign}(\w+)$", result.stdout, re.MULTILINE)) for sign in ("", r"\?", "-")}
    acknowledged, doomed, deleted = said.values()
    there = {row[0] for row in query(store, "SELECT utterance_id FROM utterances")}
    assert isinstance(place(store), str) or query(store, "PRAGMA integrity_check") == [("ok",)]
    assert len(acknowledged - doomed) > 20
    assert len(deleted) > 0
    assert acknowledged - doomed <= there
    assert not deleted & there
    assert {len(profile.utterances) for profile in store.list()} == {2}  # all or none


VERSION_1 = """
PRAGMA journal_mode = WAL;
CREATE TABLE profiles (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL);
CREATE TABLE utterances (id INTEGER NOT NULL PRIMARY KEY, utterance_id TEXT NOT NULL UNIQUE,
    profile INTEGER NOT NULL REFERENCES profiles (id) ON DELETE CASCADE, emotion TEXT NOT NULL,
    duration_s FLOAT NOT NULL, added TEXT NOT NULL, quality JSON NOT NULL, flac BLOB NOT NULL);
CREATE INDEX ix_utterances_profile ON utterances (profile);
CREATE TABLE embeddings (utterance INTEGER NOT NULL REFERENCES utterances (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL, n_layers INTEGER NOT NULL, width INTEGER NOT NULL, vectors BLOB NOT NULL,
    PRIMARY KEY (utterance, fingerprint));
PRAGMA application_id = 0x41545455;
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path: Path) -> ProfileStore:
    """A database as version 1 of the program left it, with one recording."""
    path = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
        connection.execute("INSERT INTO profiles VALUES (1, 'Ann', 'ann', '2026-11-20T10:00:00.000+00:00')")
        values = (1, "abc", 1, "anger", 0.7, "2026-11-20T10:01:00.000+00:00", "{}", archives.as_flac(tone(1)))
        connection.execute("INSERT INTO utterances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()
    return ProfileStore(path)


def test_a_database_of_version_1_is_brought_up_to_date_with_all_that_is_in_it(old: ProfileStore):
    profile = old.get("Ann")
    assert profile.emotions == ("anger",) and profile.consent is None
    np.testing.assert_allclose(old.audio("Ann", "abc"), tone(1), atol=2**-15)
    assert query(old, "PRAGMA user_version") == [(4,)]
    assert query(old, "PRAGMA integrity_check") == [("ok",)]
    assert old.judgements("Ann") == []


def test_a_database_of_version_2_gains_transcripts(old: ProfileStore):
    for statement in ("ADD COLUMN consent_version TEXT", "ADD COLUMN consent_agreed TEXT"):
        query(old, f"ALTER TABLE profiles {statement}")
    query(old, "PRAGMA user_version=2")
    assert old.get("Ann").utterances[0].transcript is None
    old.keep_transcript("Ann", "abc", "no secrets here")
    assert old.get("Ann").utterances[0].transcript == "no secrets here"
    copy = old.import_archive(old.export("Ann"), consent_now(), "Copy")
    assert copy.utterances[0].transcript == "no secrets here"
    removed = old.remove("Ann", "abc")
    assert b"no secrets" in file_of(old).read_bytes()  # the copy's
    old.delete("Copy")
    assert b"no secrets" not in file_of(old).read_bytes()
    assert old.restore("Ann", removed).transcript == "no secrets here"


def test_a_database_of_version_3_gains_accounts_and_days_of_use(old: ProfileStore):
    for statement in (
        "TABLE profiles ADD COLUMN consent_version TEXT",
        "TABLE profiles ADD COLUMN consent_agreed TEXT",
        "TABLE utterances ADD COLUMN transcript TEXT",
    ):
        query(old, f"ALTER {statement}")
    query(old, "PRAGMA user_version=3")
    assert old.get("Ann").last_used == datetime.now(UTC).date().isoformat()  # from now on it counts
    account(old, "first").create("Ann", AGREED)
    assert query(old, "SELECT name, key, account FROM profiles") == [("Ann", "ann", None), ("Ann", "1/ann", 1)]
    with pytest.raises(ProfileExists):
        old.create("ann", AGREED)
    fresh = ProfileStore(file_of(old).with_name("fresh.sqlite3"))
    fresh.list()
    for of in ("profiles", "accounts", "utterances"):
        for what in ("table_info", "foreign_key_list", "index_list"):
            info = (sorted(row[1:4] for row in query(one, f"PRAGMA {what}({of})")) for one in (old, fresh))
            assert next(info) == next(info), (of, what)


def test_an_upgrade_that_is_cut_short_leaves_version_1(old: ProfileStore, monkeypatch):
    monkeypatch.setitem(database._FROM_VERSION, 2, (*database._FROM_VERSION[2], "this is not SQL"))
    with pytest.raises(StoreUnusable):
        old.list()
    assert query(old, "PRAGMA user_version") == [(1,)]
    assert len(query(old, "PRAGMA table_info(profiles)")) == 4
    monkeypatch.undo()
    assert old.get("Ann").emotions == ("anger",)


KILLED_UPGRADE = """
import os, signal, sys
from pathlib import Path
from ser_core.inference import database
from ser_core.inference.profiles import ProfileStore

create_all = database._metadata.create_all
database._metadata.create_all = lambda connection: (create_all(connection), os.kill(os.getpid(), signal.SIGKILL))
ProfileStore(Path(sys.argv[1])).list()
"""


def test_an_upgrade_that_is_killed_leaves_version_1_and_can_be_done_again(old: ProfileStore):
    done = subprocess.run([sys.executable, "-c", KILLED_UPGRADE, str(file_of(old))], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    assert query(old, "PRAGMA user_version") == [(1,)]
    assert {name for (name,) in query(old, "SELECT name FROM sqlite_master WHERE type = 'table'")} == {
        "profiles", "utterances", "embeddings",
    }  # fmt: skip
    assert old.get("Ann").emotions == ("anger",)
    assert query(old, "PRAGMA user_version") == [(4,)]


def test_several_programs_may_bring_a_database_up_to_date_at_once(old: ProfileStore):
    stores = [ProfileStore(file_of(old)) for _ in range(4)]
    barrier = threading.Barrier(len(stores))

    def open_it(store: ProfileStore) -> list:
        barrier.wait()
        return store.list()

    with ThreadPoolExecutor(len(stores)) as pool:
        assert list(pool.map(open_it, stores)) == [old.list()] * len(stores)
    assert query(old, "PRAGMA integrity_check") == [("ok",)]


def test_a_profile_of_version_1_can_be_erased_without_a_trace(old: ProfileStore):
    [(flac,)] = query(old, "SELECT flac FROM utterances")
    assert old.delete("Ann").n_utterances == 1
    assert not found(flac, bytes_on_disk(old)) and b"Ann" not in bytes_on_disk(old)


def test_nothing_is_added_to_a_profile_before_its_owner_agreed(old: ProfileStore):
    with pytest.raises(ConsentMissing, match="Ann"):
        old.add("Ann", "fear", tone(2))
    assert old.get("Ann").emotions == ("anger",)
    assert old.agree("Ann", AGREED).consent == AGREED
    old.add("Ann", "fear", tone(2))
    assert ProfileStore(file_of(old)).get("Ann").emotions == ("anger", "fear")


def test_consent_is_kept_with_its_time_and_wording_and_can_be_given_anew(ann: ProfileStore):
    assert ann.get("Ann").consent == AGREED and AGREED.version == LOCAL.version
    older = Consent("2020-01", "2020-01-02T03:04:05+00:00")
    assert ann.agree("Ann", older).consent == older and older.version != LOCAL.version
    document = json.loads(zipfile.ZipFile(io.BytesIO(ann.export("Ann"))).read("profile.json"))
    assert document["consent"] == {"version": "2020-01", "agreed": "2020-01-02T03:04:05+00:00"}
    assert ann.import_archive(ann.export("Ann"), AGREED, "Bo").consent == AGREED  # of whoever brings it in


def test_one_of_several_recordings_of_an_emotion_can_be_replaced(ann: ProfileStore):
    first = next(each for each in ann.get("Ann").utterances if each.emotion == "anger")
    second = ann.add("Ann", "anger", tone(7), replaces=())
    third = ann.add("Ann", "anger", tone(8), replaces=(first.utterance_id,))
    left = [each.utterance_id for each in ann.get("Ann").utterances if each.emotion == "anger"]
    assert left == [second.utterance_id, third.utterance_id]
    with pytest.raises(UnknownUtterance):
        ann.add("Ann", "anger", tone(9), replaces=(first.utterance_id,))
    assert len(ann.get("Ann").utterances) == 3


def test_a_profile_has_an_end(store: ProfileStore, monkeypatch):
    monkeypatch.setattr(profiles, "_MAX_UTTERANCES", 2)
    store.create("Ann", AGREED)
    for seed in range(2):
        store.add("Ann", "anger", tone(seed), replaces=())
    with pytest.raises(ProfileFull, match="delete some first"):
        store.add("Ann", "anger", tone(3), replaces=())
    assert len(store.get("Ann").utterances) == 2
    store.add("Ann", "anger", tone(3))


def test_judgements_are_kept_until_they_are_forgotten_or_the_profile_goes(ann: ProfileStore):
    said = [
        Judgement("2026-11-21T10:00:00+00:00", "compact", "speaker_reference", "fear", "anger", "fear"),
        Judgement("2026-11-21T10:00:09+00:00", "a-name-to-look-for", None, "other", "anger", None),
    ]
    ann.keep_judgements("Ann", said)
    assert ProfileStore(place(ann)).judgements("ann") == said
    assert tally(said).personalised_right == 1
    assert b"a-name-to-look-for" in bytes_on_disk(ann)
    assert ann.forget_judgements("Ann") == 2 and ann.judgements("Ann") == []
    assert b"a-name-to-look-for" not in bytes_on_disk(ann)
    ann.keep_judgements("Ann", said)
    ann.delete("Ann")
    assert b"a-name-to-look-for" not in bytes_on_disk(ann)


def test_judgements_as_a_table_hold_no_formulas():
    said = Judgement("now", "=cmd()", None, "fear", "@fear", "-1")
    header, row = to_csv([said], [(True, False)]).splitlines()
    assert header == "at,model,personaliser,meant,baseline,personalised,baseline_sure,personalised_sure"
    assert row == "now,'=cmd(),,fear,'@fear,'-1,True,False"


def test_the_store_is_in_the_workspace_or_where_the_environment_says(tmp_path, monkeypatch):
    open_store(open_workspace(tmp_path / "home")).create("Ann", AGREED)
    assert [profile.name for profile in ProfileStore(tmp_path / "home" / "profiles.sqlite3").list()] == ["Ann"]
    monkeypatch.setenv("SER_DATABASE", f"sqlite:///{tmp_path}/elsewhere.sqlite3")
    workspace = open_workspace(tmp_path / "home")
    assert open_store(workspace).list() == []
    assert (tmp_path / "elsewhere.sqlite3").exists() and "elsewhere" not in repr(workspace)
