"""What the tabs call, without a page: people's profiles, in the store and in the private folder."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import numpy as np

from ser_core.data.audio import AudioRejected, read_recording
from ser_core.inference.archives import MAX_TRANSCRIPT
from ser_core.inference.consent import LOCAL, ConsentMissing, Wording, consent_now, nobodys_voice
from ser_core.inference.examples import EXAMPLE_NAME, example_enrolment
from ser_core.inference.profiles import (
    EnrolledUtterance,
    Erased,
    Profile,
    RemovedUtterance,
    UnknownProfile,
    open_store,
)
from ser_core.ui.files import PrivateFiles
from ser_core.ui.listening import Listeners
from ser_core.ui.models import Models
from ser_core.ui.scribe import Scribe
from ser_core.workspace import Workspace

if TYPE_CHECKING:  # these take seconds to import: the page is served first
    import gradio as gr

    from ser_core.data.talk import Talk


class NoProfileChosen(ValueError):
    """Something needs a profile, and none is chosen."""


class NotAPerson(ValueError):
    """A real voice was to be stored beside a synthetic one."""


class Services:
    """One workspace and its models; shared by all pages that are open.

    Attributes:
        workspace: where everything is kept.
        store: people's profiles.
        models: what answers.
        scribe: what writes down what was said.
        files: the private folder, from which the page gets what it plays and saves.
        listeners: who listens live just now.
        visits: what pages that are open have answered; an erasure reaches there too.
    """

    is_shared = False
    """Whether several people sign in, each with profiles of their own (ui/shared.py)."""

    wording: Wording = LOCAL
    """What people agree to."""

    def __init__(
        self, workspace: Workspace, model: str | None = None, device: str = "auto", keep_days: int | None = None
    ):
        """Nothing is loaded before `models.start_loading`.

        Args:
            workspace: where everything is kept.
            model: name or folder; the best that is available if None.
            device: 'auto', or as torch names it.
            keep_days: how long a profile that nobody uses is kept; for ever if None.
        """
        self.wording = self.wording.for_keeping(keep_days)
        self.workspace = workspace
        self.store = open_store(workspace)
        self.models = Models(workspace, model, device)
        self.scribe = Scribe(workspace, device)
        self.files = PrivateFiles(workspace.temporary)
        self.listeners = Listeners()
        self.visits: WeakSet = WeakSet()
        self._refused: set[tuple[str, str]] = set()

    def of(self, request: "gr.Request") -> "Services":
        """The services of whoever asks: these, for whoever is at this computer."""
        return self

    def whose(self, name: str) -> str:
        """A profile's name, as it is told from those of other accounts."""
        return name

    def take(self) -> None:
        """Count a recording that is to be heard.

        Raises:
            TooOften: where Attune is shared, it is one too many.
        """

    def may_read(self, path: Path) -> Path:
        """A corpus' path, as it was typed.

        Raises:
            NotYours: where Attune is shared, it lies where it must not be read.
        """
        return path

    def has_agreed(self, profile: Profile | None) -> bool:
        """Whether the profile's owner has agreed to what is told today."""
        return profile is not None and profile.consent is not None and profile.consent.version == self.wording.version

    def may_record(self, profile: Profile | None, agreed: bool) -> bool:
        """Whether recordings may be added: its owner agreed, now or before, and it is somebody's."""
        if profile is None or (profile.consent is not None and profile.consent.is_nobodys):
            return False
        return agreed or self.has_agreed(profile)

    def names(self) -> list[str]:
        """Everybody who has a profile."""
        return self.store.names()

    def profile(self, name: str | None) -> Profile | None:
        """A profile; None for nobody.

        Raises:
            UnknownProfile: it was erased meanwhile.
        """
        return self.store.get(name) if name else None

    def chosen(self, name: str | None) -> Profile:
        """A profile that must be there.

        Raises:
            NoProfileChosen: nobody is chosen.
            UnknownProfile: it was erased meanwhile.
        """
        if not name:
            raise NoProfileChosen("choose a profile, or create one, first")
        return self.store.get(name)

    def create(self, name: str, agreed: bool) -> Profile:
        """Make an empty profile.

        Raises:
            ConsentMissing: the person has not agreed.
            BadProfileName, ProfileExists: another name is needed.
        """
        _check_consent(agreed)
        return self.store.create(name, consent_now(self.wording))

    def enrol(
        self, name: str | None, emotion: str, upload: str, agreed: bool, replaces: str | None = None
    ) -> EnrolledUtterance:
        """Store a recording; the uploaded copy is deleted.

        Args:
            name: whose it is.
            emotion: what it is meant to sound like.
            upload: the file.
            agreed: whether the person has agreed just now that it is kept; not asked of whose profile says so.
            replaces: id of the recording that it takes the place of; none if None.

        Raises:
            ConsentMissing, NoProfileChosen, UnknownProfile: there is nowhere to store it.
            AudioRejected: it cannot be used, or nobody speaks in it, for the first time; nothing is stored and the earlier one
                stays.
        """
        try:
            self.take()
            _check_consent(agreed or self.has_agreed(self.chosen(name)))
            return self.enrol_waveform(name, emotion, read_recording(upload).waveform, agreed, replaces)
        finally:
            self.files.forget_upload(upload)

    def enrol_waveform(
        self,
        name: str | None,
        emotion: str,
        waveform: np.ndarray,
        agreed: bool,
        replaces: str | None = None,
        words: str = "",
    ) -> EnrolledUtterance:
        """Store what was heard, (N,) float32 at 16 kHz, and the words in it if they are known; the rest as `enrol`."""
        profile = self._agreeing(name, agreed)
        from ser_core.data.quality import assess

        self._check_speech(profile, emotion, waveform)
        quality = assess(waveform).to_dict()
        stored = self.store.add(profile.name, emotion, waveform, quality, [replaces] if replaces else [])
        self._refused.discard((profile.created, emotion))
        if replaces:
            self.files.forget_playback(replaces)
        self._embed_soon(profile.name)
        if words:
            self.store.keep_transcript(profile.name, stored.utterance_id, words[:MAX_TRANSCRIPT])
        else:
            self._write_soon(profile.name, stored.utterance_id, waveform)
        return stored

    def add_talk(self, name: str | None, upload: str, agreed: bool) -> "Talk":
        """Store free speech in the place of what there was before; the uploaded copy is deleted.

        Args:
            name: whose it is.
            upload: the file.
            agreed: as for `enrol`.

        Raises:
            ConsentMissing, NoProfileChosen, UnknownProfile, NotAPerson: there is nowhere to store it.
            AudioRejected: it cannot be used; nothing is stored and the earlier one stays.
        """
        from ser_core.data.talk import TALK, cut_talk

        try:
            self.take()
            _check_consent(agreed or self.has_agreed(self.chosen(name)))
            talk = cut_talk(read_recording(upload, TALK).waveform)
        finally:
            self.files.forget_upload(upload)
        profile = self._agreeing(name, agreed)
        self.store.add_talk(profile.name, talk.utterances)
        self._forget_playbacks(profile.talk)
        self._embed_soon(profile.name)
        return talk

    def hints(self, name: str) -> dict[str, tuple[str, ...]]:
        """What is odd about recordings, in words, by their ids; nothing while the model is not there."""
        if self.models.state() != "ready":
            return {}
        from ser_core.inference.enrolment import enrolment_of
        from ser_core.inference.plausibility import hints

        recogniser = self.models.recogniser()
        enrolment = enrolment_of(self.store, name, recogniser)
        return hints(recogniser, enrolment) if enrolment and enrolment.utterances else {}

    def talk_hints(self, name: str) -> tuple[str, ...]:
        """What is odd about free speech, in words; nothing while the model is not there."""
        if self.models.state() != "ready":
            return ()
        recogniser = self.models.recogniser()
        heard = self.store.embeddings(name, recogniser.fingerprint, recogniser.embed_each, talk=True)
        return recogniser.hints_of_talk(heard)

    def add_example(self) -> Profile:
        """The example voice's profile, made if it is not there."""
        there: tuple[str, ...] | None = None
        with suppress(UnknownProfile):
            there = self.store.get(EXAMPLE_NAME).emotions
        missing = {emotion: path for emotion, path in example_enrolment().items() if emotion not in (there or ())}
        if not missing:
            return self.store.get(EXAMPLE_NAME)
        from ser_core.data.quality import assess

        waveforms = [(emotion, read_recording(path).waveform) for emotion, path in missing.items()]
        clips = [(emotion, waveform, assess(waveform).to_dict()) for emotion, waveform in waveforms]
        return self.store.add_many(EXAMPLE_NAME, clips, create=nobodys_voice() if there is None else None)

    def export(self, name: str | None) -> str:
        """A file of the profile, to take along."""
        profile = self.chosen(name)
        safe = "".join(sign if sign.isalnum() else "-" for sign in profile.name[:40])
        return self.files.document(f"{safe}.zip", self.store.export(profile.name))

    def import_profile(self, upload: str, name: str, agreed: bool) -> Profile:
        """A profile from such a file; the uploaded copy is deleted.

        Args:
            upload: the file.
            name: to give it; its own if empty.
            agreed: whether the person has agreed that it is kept.

        Raises:
            ConsentMissing, BadArchive, BadProfileName, ProfileExists: nothing is stored.
        """
        try:
            _check_consent(agreed)
            profile = self.store.import_archive(
                Path(upload).read_bytes(), consent_now(self.wording), name.strip() or None
            )
        finally:
            self.files.forget_upload(upload)
        self._embed_soon(profile.name)
        return profile

    def remove(self, name: str | None, utterance_id: str) -> RemovedUtterance:
        """Delete one recording; what comes back can be given to `restore`."""
        self.files.forget_playback(utterance_id)
        return self.store.remove(self.chosen(name).name, utterance_id)

    def swap_talk(self, name: str | None, others: Sequence[RemovedUtterance] = ()) -> tuple[RemovedUtterance, ...]:
        """Put other free speech, or none, in the place of what there is, which comes back."""
        profile = self.chosen(name)
        self._forget_playbacks(profile.talk)
        return self.store.swap_talk(profile.name, others)

    def restore(self, name: str | None, removed: Sequence[RemovedUtterance]) -> None:
        """Undo `remove`."""
        for utterance in removed:
            self.store.restore(self.chosen(name).name, utterance)

    def erase(self, name: str | None) -> Erased:
        """Delete a profile with every trace."""
        profile = self.chosen(name)
        self._forget_playbacks((*profile.utterances, *profile.talk))
        self.files.forget_documents()
        self._end_for(profile.name)
        return self.store.delete(profile.name)

    def rename(self, name: str | None, new_name: str) -> Profile:
        """Give a profile another name; what pages hold under the old one ends.

        Raises:
            BadProfileName, ProfileExists: another name is needed.
        """
        renamed = self.store.rename(self.chosen(name).name, new_name)
        self._end_for(name)
        return renamed

    def playback(self, name: str, utterance_id: str) -> str:
        """A file of a stored recording, for the page to play."""
        path = self.files.playback(utterance_id)
        if not path.exists():
            self.files.write_playback(utterance_id, self.store.audio(name, utterance_id))
        return str(path)

    def talk_playback(self, profile: Profile) -> str | None:
        """A file of all the free speech that is kept, for the page to play; None where there is none.

        It goes by the id of the first part, and so goes when that goes.
        """
        if not profile.talk:
            return None
        first = profile.talk[0].utterance_id
        path = self.files.playback(first)
        if not path.exists():
            parts = [self.store.audio(profile.name, part.utterance_id) for part in profile.talk]
            self.files.write_playback(first, np.concatenate(parts))
        return str(path)

    def _agreeing(self, name: str | None, agreed: bool) -> Profile:
        """The profile of somebody who agrees that recordings are kept; that is written down if it was not."""
        profile = self.chosen(name)
        if profile.consent is not None and profile.consent.is_nobodys:
            raise NotAPerson("this profile holds a synthetic voice; make one of your own for yours")
        _check_consent(agreed or self.has_agreed(profile))
        if not self.has_agreed(profile):
            self.store.agree(profile.name, consent_now(self.wording))
        return profile

    def _check_speech(self, profile: Profile, emotion: str, waveform: np.ndarray) -> None:
        """What detects speech may miss an unusual voice: whoever insists is believed, and not asked again."""
        from ser_core.data.quality import has_speech

        tried = (profile.created, emotion)
        insists = tried in self._refused or not all(clip.has_speech for clip in profile.utterances)
        if not insists and not has_speech(waveform):
            self._refused.add(tried)
            raise AudioRejected(
                "no_speech",
                "no speech was found in the recording, so it was not stored. Check that the right microphone is chosen, and say a "
                "whole sentence. If you did speak, record it, or choose it, once more: then it is kept",
            )

    def _forget_playbacks(self, utterances: Sequence[EnrolledUtterance]) -> None:
        for utterance in utterances:
            self.files.forget_playback(utterance.utterance_id)

    def _end_for(self, name: str) -> None:
        self.listeners.forget(self.whose(name))
        for visit in list(self.visits):
            for upload in visit.forget(name):
                self.files.forget_upload(upload)

    def _embed_soon(self, name: str) -> None:
        """So that the next answer need not wait for it; not before the model is there."""
        if self.models.state() == "ready":
            threading.Thread(target=self._embed, args=[name], name="embedder", daemon=True).start()

    def _write_soon(self, name: str, utterance_id: str, waveform: np.ndarray) -> None:
        """What is said in it, if Whisper is here; nobody waits for it."""
        if not self.scribe.why_not:
            arguments = [name, utterance_id, waveform]
            threading.Thread(target=self._write, args=arguments, name="writer", daemon=True).start()

    def _write(self, name: str, utterance_id: str, waveform: np.ndarray) -> None:
        with suppress(ValueError):  # erased or renamed meanwhile, or Whisper is gone
            self.store.keep_transcript(name, utterance_id, self.scribe.write(waveform).text)

    def _embed(self, name: str) -> None:
        from ser_core.inference.enrolment import enrolment_of

        with suppress(ValueError):  # erased meanwhile; whoever needs it next is told
            enrolment_of(self.store, name, self.models.recogniser())


def _check_consent(agreed: bool) -> None:
    if agreed is not True:
        raise ConsentMissing("nothing is stored yet: read the notice and tick the box below it first")
