"""People's enrolment: each profile's labelled recordings, kept in one database that can forget.

Recordings are FLAC bytes inside the database, so that one transaction adds or deletes them with all that belongs to
them, and leaves nothing to be found.
"""

import json
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ser_core.data.audio import LEAST_SPEECH_S, AudioRejected, read_recording
from ser_core.inference.archives import (
    UNLABELLED,
    ArchivedProfile,
    ArchivedUtterance,
    ProfileError,
    as_flac,
    malformed,
    pack,
    unpack,
)
from ser_core.inference.consent import Consent, ConsentMissing
from ser_core.inference.database import (
    EMBEDDINGS,
    JUDGEMENTS,
    PROFILES,
    UTTERANCES,
    Database,
    StoreUnusable,
    insert,
    open_database,
    opened,
    sealed,
)
from ser_core.inference.engines import writes
from ser_core.inference.judgements import Judgement
from ser_core.labels import EMOTIONS, canonical_emotion
from ser_core.workspace import Workspace

_MAX_NAME = 64
_MAX_UTTERANCES = 70
"""Of one profile: ten of each of the app's emotions."""

_MAX_TALK = 160
"""Utterances of free speech of one profile: more do not fit into three minutes (data/talk.py)."""


class UnknownProfile(ProfileError):
    """No profile has this name."""


class ProfileExists(ProfileError):
    """A profile has this name already, perhaps in another case."""


class BadProfileName(ProfileError):
    """A name that no profile may have."""


class UnknownUtterance(ProfileError):
    """The profile has no utterance of this id."""


class ProfileFull(ProfileError):
    """The profile has as many utterances as it may."""


class BadDays(ProfileError):
    """Profiles were to be erased after no time at all."""


class RetentionPaused(ProfileError):
    """How long ago a profile was used cannot be told, for the clock is, or was, wrong."""


class AccountErased(ProfileError):
    """The account that a profile was to belong to is gone."""


@dataclass(frozen=True)
class EnrolledUtterance:
    """One labelled recording of a profile, without its samples.

    Attributes:
        utterance_id: names it within the store; means nothing outside.
        emotion: one of `labels.EMOTIONS`; UNLABELLED for a part of free speech.
        added: ISO 8601, UTC.
        quality: the verdict when it was recorded; may be empty.
        transcript: what is said in it, if somebody wrote it down.
    """

    utterance_id: str
    emotion: str
    duration_s: float
    added: str
    quality: dict
    transcript: str | None = None

    @property
    def has_speech(self) -> bool:
        """Whether speech was found in it; if not, its speaker insisted."""
        speech_s = self.quality.get("speech_s")
        return speech_s is None or speech_s >= LEAST_SPEECH_S


@dataclass(frozen=True)
class RemovedUtterance(EnrolledUtterance):
    """What `ProfileStore.restore` needs to undo a removal; it exists in memory only."""

    flac: bytes = field(repr=False, kw_only=True)


@dataclass(frozen=True)
class Profile:
    """A person's enrolment.

    Attributes:
        created: ISO 8601, UTC.
        utterances: in the order of `labels.EMOTIONS`.
        consent: what its owner agreed to; None only for profiles older than the record of it.
        talk: free speech, cut into utterances, in order; nobody said which emotion they have.
        last_used: the day on which it was last made, added to or answered with, ISO 8601, UTC.
    """

    name: str
    created: str
    utterances: tuple[EnrolledUtterance, ...] = ()
    consent: Consent | None = None
    talk: tuple[EnrolledUtterance, ...] = ()
    last_used: str | None = None

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions there are utterances of, each once."""
        return tuple(dict.fromkeys(utterance.emotion for utterance in self.utterances))


@dataclass(frozen=True)
class Erased:
    """What a deletion destroyed: recordings, and the bytes of these and of their embeddings."""

    name: str
    n_utterances: int
    n_bytes: int


class ProfileStore:
    """The profiles of one account, or of whoever needs none; any number of threads and programs may use it at once.

    Other accounts' profiles are not there: no call finds, lists or names them, and their names are free. Names are told apart without their case: 'Ann' and 'ann' are one person. Every method may raise `StoreUnusable`,
    those that name a profile `UnknownProfile`, those that name an utterance `UnknownUtterance`, and those that give a
    name `BadProfileName` (not 1 to 64 printable characters, or with a slash) and `ProfileExists` (it is taken).
    """

    def __init__(self, where: Path | str | Database, account: int | None = None):
        """The store somewhere; nothing is opened or made before it is first used.

        Args:
            where: a file, a SQLAlchemy URL, or a database that others use as well.
            account: whose profiles; None for those of nobody's account, where only one person uses the program.
        """
        self._database = where if isinstance(where, Database) else Database(where)
        self._account = account
        self._ours = PROFILES.c.account.is_not_distinct_from(account)

    def of(self, account: int | None) -> "ProfileStore":
        """Another account's profiles in the same database."""
        return ProfileStore(self._database, account)

    def create(self, name: str, consent: Consent) -> Profile:
        """Make an empty profile of somebody who agreed."""
        name = checked_name(name)
        with self._database.writing() as connection:
            return _load(connection, self._insert_profile(connection, name, _now(), consent))

    def agree(self, name: str, consent: Consent) -> Profile:
        """Record that the profile's owner agreed, to a newer wording or for the first time."""
        with self._database.writing() as connection:
            row = self._find(connection, name)
            values = {"consent_version": consent.version, "consent_agreed": consent.agreed}
            connection.execute(sa.update(PROFILES).where(PROFILES.c.id == row.id).values(values))
            return _load(connection, self._find(connection, name))

    def get(self, name: str) -> Profile:
        """The profile of this name."""
        with self._database.reading() as connection:
            return _load(connection, self._find(connection, name))

    def add(
        self,
        name: str,
        emotion: str,
        waveform: np.ndarray,
        quality: dict | None = None,
        replaces: Collection[str] | None = None,
    ) -> EnrolledUtterance:
        """Enrol one utterance.

        Args:
            name: a profile that exists.
            emotion: any spelling `labels.canonical_emotion` knows.
            waveform: (N,) float32 in [-1, 1], 16 kHz; kept with 16 bits.
            quality: the verdict to keep with it; numbers that do not exist become null.
            replaces: ids of utterances it takes the place of, all still there; the profile's earlier ones of this
                emotion if None.

        Raises:
            ConsentMissing: nobody agreed that it is kept.
            ProfileFull: 70 utterances are enough.
            UnknownEmotion: it cannot be enrolled.
            AudioRejected: it could not be read again (too short, too long, silent, clipped …).
        """
        row = _new_utterance(emotion, waveform, quality)
        with self._database.writing() as connection:
            profile = self._find(connection, name)
            for utterance_id in replaces or ():
                self._find_utterance(connection, name, utterance_id)
            replaced = _insert_utterances(connection, profile, [row], replaces)
        if replaced:
            self._database.forget(UTTERANCES, EMBEDDINGS)
        return _enrolled(row)

    def add_many(
        self, name: str, clips: Sequence[tuple[str, np.ndarray, dict]], create: Consent | None = None
    ) -> Profile:
        """Enrol several utterances, all or none; earlier ones of the same emotions are replaced.

        Args:
            name: a profile that exists, or with `create` a new one.
            clips: emotion, waveform and quality of each, as `add` takes them; refused as there.
            create: make the profile, of somebody who agreed; a name that is taken is refused, for two people must not
                share a profile.
        """
        return self._replace(name, [_new_utterance(*clip) for clip in clips], create)

    def add_talk(self, name: str, utterances: Sequence[np.ndarray], create: Consent | None = None) -> Profile:
        """Keep free speech, in the place of what there was before; all of it or nothing.

        Args:
            name: a profile that exists, or with `create` a new one.
            utterances: waveforms as `data.talk.cut_talk` gives them, refused as by `add`.
            create: as for `add_many`.
        """
        return self._replace(name, [_row_of(UNLABELLED, waveform, None) for waveform in utterances], create)

    def kept_talk(self, name: str) -> tuple[RemovedUtterance, ...]:
        """The free speech with its recordings, as `swap_talk` takes it; nothing changes."""
        with self._database.reading() as connection:
            return _talk(connection, self._find(connection, name).id)

    def swap_talk(self, name: str, others: Sequence[RemovedUtterance] = ()) -> tuple[RemovedUtterance, ...]:
        """Put other free speech, or none, in the place of what there is; to swap back with what is given back undoes it."""
        with self._database.writing() as connection:
            profile = self._find(connection, name)
            removed = _talk(connection, profile.id)
            ours = (UTTERANCES.c.profile == profile.id) & (UTTERANCES.c.emotion == UNLABELLED)
            connection.execute(sa.delete(UTTERANCES).where(ours))
            insert(connection, UTTERANCES, [{**vars(each), "profile": profile.id} for each in others])
        self._database.forget(UTTERANCES, EMBEDDINGS)
        return removed

    def keep_transcript(self, name: str, utterance_id: str, transcript: str) -> None:
        """Write down what is said in an utterance, with it; it goes when the utterance goes."""
        with self._database.writing() as connection:
            row = self._find_utterance(connection, name, utterance_id)
            row["transcript"] = transcript.replace("\0", "")  # a server's text has no zeros
            changed = sa.update(UTTERANCES).where(UTTERANCES.c.id == row["id"])
            connection.execute(changed.values(transcript=sealed(connection, UTTERANCES, row)["transcript"]))

    def remove(self, name: str, utterance_id: str) -> RemovedUtterance:
        """Take one utterance out, recording and embeddings; `restore` with what is given back undoes it."""
        with self._database.writing() as connection:
            row = self._find_utterance(connection, name, utterance_id)
            connection.execute(sa.delete(UTTERANCES).where(UTTERANCES.c.id == row["id"]))
        self._database.forget(UTTERANCES, EMBEDDINGS)
        return RemovedUtterance(**vars(_enrolled(row)), flac=row["flac"])

    def restore(self, name: str, utterance: RemovedUtterance) -> EnrolledUtterance:
        """Undo `remove`: same id, same bytes; beside what was enrolled since. Doing it twice changes nothing."""
        with self._database.writing() as connection:
            row = {**vars(utterance), "profile": self._find(connection, name).id}
            is_there = sa.exists().where(UTTERANCES.c.utterance_id == utterance.utterance_id)
            if not connection.scalar(sa.select(is_there)):
                insert(connection, UTTERANCES, [row])
        return _enrolled(row)

    def rename(self, name: str, new_name: str) -> Profile:
        """Give a profile another name."""
        new_name = checked_name(new_name)
        with self._database.writing() as connection, self._unique(new_name):
            which = PROFILES.c.id == self._find(connection, name).id
            connection.execute(
                sa.update(PROFILES).where(which).values(name=new_name, key=profile_key(self._account, new_name))
            )
            renamed = _load(connection, self._find(connection, new_name))
        self._database.forget(PROFILES)
        return renamed

    def delete(self, name: str) -> Erased:
        """Erase a profile and all that belongs to it, so that no byte of it is left in the files.

        Raises:
            StoreUnusable: also when another program uses the file just now, or the disk is full, and so keeps it from
                being written anew; the profile is deleted then, and its last traces go with the next thing erased.
        """
        with self._database.writing() as connection:
            row = self._find(connection, name)
            erased = Erased(row.name, *_extent(connection, row.id))
            connection.execute(sa.delete(PROFILES).where(PROFILES.c.id == row.id))
        if not self._database.forget():
            raise StoreUnusable(
                f"'{row.name}' is deleted, but another program that uses the profiles, or a full disk, keeps traces of "
                "it; close that program or free some space, and they go with the next thing that is erased"
            )
        return erased

    def audio(self, name: str, utterance_id: str) -> np.ndarray:
        """An utterance's waveform, (N,) float32, 16 kHz."""
        with self._database.reading() as connection:
            flac = self._find_utterance(connection, name, utterance_id)["flac"]
        return _decoded(flac)

    def embeddings(
        self, name: str, fingerprint: str, embed: Callable[[list[np.ndarray]], np.ndarray], talk: bool = False
    ) -> np.ndarray:
        """Embeddings of all of a profile's utterances, computed once and kept for as long as the recording is.

        Args:
            name: a profile.
            fingerprint: names all that changes an embedding: the encoder and how its input is prepared.
            embed: from waveforms as `audio` gives them, [(N,)] * M, to (M, L, 2 D) float32; called once with those
                not embedded yet, or not at all. No lock is held meanwhile.
            talk: of the free speech instead of the labelled recordings.

        Returns:
            (K, L, 2 D) float32 in the order of `get(name).utterances`, or `.talk`; (0, 0, 0) where there is none.
        """
        with self._database.reading() as connection:
            profile = self._find(connection, name)
            rows = _utterance_rows(connection, profile.id, talk)
            ids = [row["id"] for row in rows]
            known = _known_embeddings(connection, ids, fingerprint)
            missing = [utterance for utterance in ids if utterance not in known]
            recordings = _recordings(connection, missing)
        if missing:
            n = len(missing)
            vectors = np.asarray(embed([_decoded(recordings[utterance]) for utterance in missing]), dtype="<f4")
            if vectors.ndim != 3 or len(vectors) != n:
                raise ValueError(f"embed gave {vectors.shape} for {n} waveforms; expected ({n}, L, 2 D)")
            new = dict(zip(missing, vectors, strict=True))
            with self._database.writing() as connection:
                names = {row["id"]: row["utterance_id"] for row in rows}
                _insert_embeddings(connection, profile.id, fingerprint, {names[one]: new[one] for one in new})
                _note_use(connection, profile)
            known |= new
        elif profile.last_used != _today():
            with suppress(StoreUnusable), self._database.writing() as connection:  # an answer need not wait for it
                _note_use(connection, profile)
        return np.stack([known[utterance] for utterance in ids]) if ids else np.zeros((0, 0, 0), np.float32)

    def export(self, name: str) -> bytes:
        """All of a profile as a zip: profile.json and one FLAC file an utterance; embeddings are left out."""
        with self._database.reading() as connection:
            profile = self._find(connection, name)
            rows = [row for talk in (False, True) for row in _utterance_rows(connection, profile.id, talk)]
            flacs = _recordings(connection, [row["id"] for row in rows])
        kept = [item.name for item in fields(ArchivedUtterance) if item.name != "flac"]
        utterances = tuple(
            ArchivedUtterance(**{name: row[name] for name in kept}, flac=flacs[row["id"]]) for row in rows
        )
        consent = asdict(_consent(profile)) if _consent(profile) else None
        return pack(ArchivedProfile(profile.name, profile.created, utterances, consent))

    def import_archive(self, content: bytes, consent: Consent, name: str | None = None) -> Profile:
        """Make a profile of what `export` wrote; all of it or nothing. Utterances get new ids.

        Args:
            content: the bytes of the zip.
            consent: of whoever brings it in: a voice is stored.
            name: of the profile to make; the archive's own if None.

        Raises:
            BadArchive: it is something else, or unsafe, or part of it cannot be read.
        """
        archived = unpack(content)
        try:
            own_name = checked_name(archived.name)
        except BadProfileName as error:
            raise malformed(error) from None
        name = own_name if name is None else checked_name(name)
        rows = [_utterance_row(**vars(utterance)) for utterance in archived.utterances]
        with self._database.writing() as connection:
            created = min(archived.created, _now())  # what somebody else's clock, or a joker, says
            profile = self._insert_profile(connection, name, created, consent)
            _insert_utterances(connection, profile, rows, replaces=())
            return _load(connection, profile)

    def keep_judgements(self, name: str, judgements: Sequence[Judgement]) -> None:
        """Keep what a person said of answers, until it is forgotten or the profile goes; the last word on each counts."""
        with self._database.writing() as connection:
            profile = self._find(connection, name).id
            rows = [{**asdict(judgement), "profile": profile} for judgement in judgements]
            if rows:
                said_before = JUDGEMENTS.c.at.in_([row["at"] for row in rows]) & (JUDGEMENTS.c.profile == profile)
                connection.execute(sa.delete(JUDGEMENTS).where(said_before))
                insert(connection, JUDGEMENTS, rows)

    def judgements(self, name: str) -> "list[Judgement]":
        """What is kept of them, in order."""
        with self._database.reading() as connection:
            ours = JUDGEMENTS.c.profile == self._find(connection, name).id
            found = connection.execute(sa.select(JUDGEMENTS).where(ours).order_by(JUDGEMENTS.c.id))
            rows = [opened(connection, JUDGEMENTS, row) for row in found]
        return [Judgement(**{item.name: row[item.name] for item in fields(Judgement)}) for row in rows]

    def forget_judgements(self, name: str) -> int:
        """Delete all of a profile's; how many there were."""
        with self._database.writing() as connection:
            ours = JUDGEMENTS.c.profile == self._find(connection, name).id
            n = connection.execute(sa.delete(JUDGEMENTS).where(ours)).rowcount
        self._database.forget(JUDGEMENTS)
        return n

    def _replace(self, name: str, rows: Sequence[dict], create: Consent | None) -> Profile:
        """Utterances in the place of those of the same labels, of a profile that exists or is made."""
        name = checked_name(name) if create else name
        with self._database.writing() as connection:
            row = self._insert_profile(connection, name, _now(), create) if create else self._find(connection, name)
            replaced = _insert_utterances(connection, row, rows)
            profile = _load(connection, row)
        if replaced:
            self._database.forget(UTTERANCES, EMBEDDINGS)
        return profile

    def expire(self, days: int, now: datetime | None = None) -> tuple[Erased, ...]:
        """Erase those of this account's profiles that nobody used for more than so many days, as `delete` does.

        Raises:
            BadDays: less than one day.
            RetentionPaused: the clock is, or was, wrong.
        """
        return _expire(self._database, self._ours, days, now)

    def close(self) -> None:
        """Let go of the database; a later call opens it again."""
        self._database.close()

    def list(self) -> "list[Profile]":
        """All profiles, by name."""
        with self._database.reading() as connection:
            people = connection.execute(sa.select(PROFILES).where(self._ours).order_by(PROFILES.c.key)).all()
            theirs: dict[int, list[dict]] = {row.id: [] for row in people}
            for row in _rows(connection, UTTERANCES.c.profile.in_(sa.select(PROFILES.c.id).where(self._ours))):
                theirs[row["profile"]].append(row)
            return [_profile(row, theirs[row.id]) for row in people]

    def names(self) -> "list[str]":
        """The names of all profiles in the same order, without their recordings: every page that opens asks."""
        with self._database.reading() as connection:
            return [*connection.scalars(sa.select(PROFILES.c.name).where(self._ours).order_by(PROFILES.c.key))]

    def _find(self, connection: sa.Connection, name: str) -> sa.Row:
        """The one place where a profile is found: among this account's."""
        which = self._ours & (PROFILES.c.key == profile_key(self._account, name))
        query = sa.select(PROFILES).where(which)
        row = connection.execute(query.with_for_update() if writes(connection) else query).one_or_none()
        if row is None:
            names = connection.scalars(sa.select(PROFILES.c.name).where(self._ours).order_by(PROFILES.c.key)).all()
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            known = f"there is {', '.join(names[:5])}{more}" if names else "there are none yet, enrol somebody first"
            raise UnknownProfile(f"there is no profile {str(name)!r}; {known}")
        return row

    def _find_utterance(self, connection: sa.Connection, name: str, utterance_id: str) -> dict:
        profile = self._find(connection, name)
        which = (UTTERANCES.c.profile == profile.id) & (UTTERANCES.c.utterance_id == folded(utterance_id))
        row = connection.execute(sa.select(UTTERANCES).where(which)).one_or_none()
        if row is None:
            raise UnknownUtterance(
                f"'{profile.name}' has no utterance {str(utterance_id)!r}; it may be removed already"
            )
        return opened(connection, UTTERANCES, row)

    def _insert_profile(self, connection: sa.Connection, name: str, created: str, consent: Consent) -> sa.Row:
        values = {"name": name, "key": profile_key(self._account, name), "account": self._account, "created": created}
        agreed = {"consent_version": consent.version, "consent_agreed": consent.agreed}
        with self._unique(name):
            connection.execute(sa.insert(PROFILES).values(**values, **agreed, last_used=_today()))
        return self._find(connection, name)

    @contextmanager
    def _unique(self, name: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            if not self._database.is_taken(error):
                raise AccountErased("your account was erased meanwhile; sign in with another one") from None
            raise ProfileExists(
                f"there is a profile '{name}' already (case does not count); give another name"
            ) from None


def open_store(workspace: Workspace, account: int | None = None) -> ProfileStore:
    """The profiles of an account in a workspace; None for those of nobody's account."""
    return ProfileStore(open_database(workspace), account)


def expire_unused(workspace: Workspace, days: int, now: datetime | None = None) -> tuple[Erased, ...]:
    """`ProfileStore.expire` for everybody's: those of all accounts, and of nobody's."""
    return _expire(open_database(workspace), sa.true(), days, now)


def check_days(days: int) -> None:
    """Whether profiles may be erased after so many days without use.

    Raises:
        BadDays: they are too few.
    """
    if days < 1:
        raise BadDays(f"profiles cannot be erased after {days} days without use; give 1 or more")


def _expire(database: Database, which: sa.ColumnElement, days: int, now: datetime | None) -> tuple[Erased, ...]:
    check_days(days)
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    limit = date.fromordinal(max(1, today.toordinal() - days)).isoformat()
    with database.writing() as connection:
        newest = connection.scalar(sa.select(sa.func.max(PROFILES.c.last_used))) or ""
        if newest > date.fromordinal(today.toordinal() + 1).isoformat():
            raise RetentionPaused(
                f"nothing was erased: a profile was last used on {newest}, and today is {today} here; set the clock "
                "right, or, if it is, use or erase that profile"
            )
        rows = connection.execute(sa.select(PROFILES).where(which & (PROFILES.c.last_used < limit)).with_for_update())
        ids = {row.id: Erased(row.name, *_extent(connection, row.id)) for row in rows.all()}
        connection.execute(sa.delete(PROFILES).where(PROFILES.c.id.in_(ids)))
    if ids and not database.forget():
        raise StoreUnusable(
            f"the profiles that were due ({len(ids)}) are deleted, but another program that uses the profiles, or a full disk, keeps "
            "traces of them; close that program or free some space, and they go with the next thing that is erased"
        )
    return tuple(ids.values())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def checked_name(name: str) -> str:
    """A name as it is kept.

    Raises:
        BadProfileName: not 1 to 64 printable characters, or with a slash.
    """
    name = unicodedata.normalize("NFC", str(name or "").strip())
    if not 1 <= len(name) <= _MAX_NAME:
        raise BadProfileName(f"the name has {len(name)} characters; give it 1 to {_MAX_NAME}")
    if not name.isprintable() or "/" in name or "\\" in name:
        raise BadProfileName(f"{ascii(name)} cannot be a name; use letters, digits, spaces and signs, but no / or \\")
    return name


def profile_key(account: int | None, name: str) -> str:
    """What no two profiles share: two accounts may use one name, and no name has a slash."""
    return folded(name) if account is None else f"{account}/{folded(name)}"


def folded(name: str) -> str:
    """What makes two names the same: they differ in case only; of what can be no name, something that is no name either."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name).strip()).casefold())
    return folded.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def _utterance_rows(connection: sa.Connection, profile: int, talk: bool = False) -> list[dict]:
    """A profile's utterances, or its free speech, in order, without the recordings."""
    return [row for row in _rows(connection, UTTERANCES.c.profile == profile) if (row["emotion"] == UNLABELLED) == talk]


def _rows(connection: sa.Connection, which: sa.ColumnElement) -> list[dict]:
    """Utterances, in the order of `EMOTIONS` and then of time, without the recordings."""
    columns = [column for column in UTTERANCES.c if column.name != "flac"]
    place = sa.case({emotion: place for place, emotion in enumerate(EMOTIONS)}, value=UTTERANCES.c.emotion)
    rows = connection.execute(sa.select(*columns).where(which).order_by(place, UTTERANCES.c.added, UTTERANCES.c.id))
    return [opened(connection, UTTERANCES, row) for row in rows]


def _talk(connection: sa.Connection, profile: int) -> tuple[RemovedUtterance, ...]:
    rows = _utterance_rows(connection, profile, talk=True)
    flacs = _recordings(connection, [row["id"] for row in rows])
    return tuple(RemovedUtterance(**vars(_enrolled(row)), flac=flacs[row["id"]]) for row in rows)


def _load(connection: sa.Connection, profile: sa.Row) -> Profile:
    return _profile(profile, _rows(connection, UTTERANCES.c.profile == profile.id))


def _profile(profile: sa.Row, rows: Sequence[dict]) -> Profile:
    utterances, talk = (
        tuple(_enrolled(row) for row in rows if (row["emotion"] == UNLABELLED) == which) for which in (False, True)
    )
    return Profile(profile.name, profile.created, utterances, _consent(profile), talk, profile.last_used)


def _consent(profile: sa.Row) -> Consent | None:
    agreed = profile.consent_agreed is not None
    return Consent(profile.consent_version, profile.consent_agreed) if agreed else None


def _enrolled(row: Mapping) -> EnrolledUtterance:
    return EnrolledUtterance(**{item.name: row[item.name] for item in fields(EnrolledUtterance)})


def _insert_utterances(
    connection: sa.Connection, profile: sa.Row, rows: Sequence[dict], replaces: Collection[str] | None = None
) -> bool:
    """Whether others went for them."""
    if _consent(profile) is None:
        raise ConsentMissing(f"'{profile.name}' has not agreed yet that recordings are kept; ask for that first")
    ours = UTTERANCES.c.profile == profile.id
    if replaces is None:
        earlier = UTTERANCES.c.emotion.in_([row["emotion"] for row in rows])
    else:
        earlier = UTTERANCES.c.utterance_id.in_(list(replaces))
    n_replaced = connection.execute(sa.delete(UTTERANCES).where(ours & earlier)).rowcount
    if rows:
        insert(connection, UTTERANCES, [{**row, "profile": profile.id} for row in rows])
        _note_use(connection, profile)
    for kind, most in (
        (UTTERANCES.c.emotion != UNLABELLED, _MAX_UTTERANCES),
        (UTTERANCES.c.emotion == UNLABELLED, _MAX_TALK),
    ):
        n = connection.scalar(sa.select(sa.func.count()).select_from(UTTERANCES).where(ours & kind))
        if n > most:
            raise ProfileFull(f"'{profile.name}' would have {n} recordings, at most {most} are kept; delete some first")
    return n_replaced > 0


def _note_use(connection: sa.Connection, profile: sa.Row) -> None:
    """That it was used today, once a day."""
    if profile.last_used != _today():
        connection.execute(sa.update(PROFILES).where(PROFILES.c.id == profile.id).values(last_used=_today()))


def _extent(connection: sa.Connection, profile: int) -> tuple[int, int]:
    """How many utterances, and bytes of recordings and embeddings, a profile has."""
    ours = UTTERANCES.c.profile == profile
    size = sa.func.coalesce(sa.func.sum(sa.func.length(UTTERANCES.c.flac)), 0)
    n_utterances, n_bytes = connection.execute(sa.select(sa.func.count(), size).where(ours)).one()
    size = sa.func.coalesce(sa.func.sum(sa.func.length(EMBEDDINGS.c.vectors)), 0)
    return n_utterances, int(n_bytes) + int(
        connection.scalar(sa.select(size).join_from(EMBEDDINGS, UTTERANCES).where(ours))
    )


def _recordings(connection: sa.Connection, utterances: Sequence[int]) -> dict[int, bytes]:
    columns = (UTTERANCES.c.id, UTTERANCES.c.utterance_id, UTTERANCES.c.flac)
    found = connection.execute(sa.select(*columns).where(UTTERANCES.c.id.in_(utterances)))
    return {row.id: opened(connection, UTTERANCES, row)["flac"] for row in found}


def _known_embeddings(connection: sa.Connection, ids: Sequence[int], fingerprint: str) -> dict[int, np.ndarray]:
    ours = EMBEDDINGS.c.utterance.in_(ids) & (EMBEDDINGS.c.fingerprint == fingerprint)
    rows = [opened(connection, EMBEDDINGS, row) for row in connection.execute(sa.select(EMBEDDINGS).where(ours))]
    return {
        row["utterance"]: np.frombuffer(row["vectors"], "<f4").reshape(row["n_layers"], row["width"]) for row in rows
    }


def _insert_embeddings(
    connection: sa.Connection, profile: int, fingerprint: str, vectors: dict[str, np.ndarray]
) -> None:
    """Keep what was computed, but for utterances removed meanwhile: what is erased must not come back.

    They go by their own ids: a row's number is given again, perhaps to somebody else's recording.
    """
    connection.execute(sa.select(PROFILES.c.id).where(PROFILES.c.id == profile).with_for_update())
    which = (UTTERANCES.c.profile == profile) & UTTERANCES.c.utterance_id.in_(vectors)
    there = dict(connection.execute(sa.select(UTTERANCES.c.id, UTTERANCES.c.utterance_id).where(which)).all())
    known = _known_embeddings(connection, list(there), fingerprint)  # somebody may have been faster
    for utterance in [each for each in there if each not in known]:
        vector = vectors[there[utterance]]
        row = {
            "utterance": utterance,
            "fingerprint": fingerprint,
            "n_layers": vector.shape[0],
            "width": vector.shape[1],
        }
        insert(connection, EMBEDDINGS, [{**row, "vectors": vector.tobytes()}])


def _new_utterance(emotion: str, waveform: np.ndarray, quality: dict | None) -> dict:
    return _row_of(canonical_emotion(emotion, EMOTIONS), waveform, quality)


def _row_of(emotion: str, waveform: np.ndarray, quality: dict | None) -> dict:
    flac = as_flac(waveform)
    return _utterance_row(emotion, read_recording(flac).duration_s, _now(), quality, flac)


def _utterance_row(
    emotion: str, duration_s: float, added: str, quality: dict | None, flac: bytes, transcript: str | None = None
) -> dict:
    return {
        "utterance_id": uuid4().hex,
        "emotion": emotion,
        "duration_s": duration_s,
        "added": added,
        "quality": json.loads(json.dumps(quality or {}), parse_constant=lambda _: None),  # nan is null
        "flac": flac,
        "transcript": transcript,
    }


def _decoded(flac: bytes) -> np.ndarray:
    try:
        return read_recording(flac).waveform
    except AudioRejected:
        raise StoreUnusable("a stored recording is damaged; remove it and record it again") from None
