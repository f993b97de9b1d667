"""From a stored profile to what a recogniser hears; embeddings are kept with the profile and go when it goes."""

import numpy as np

from ser_core.inference.profiles import Profile, ProfileStore
from ser_core.inference.recogniser import Enrolment, Recogniser


def enrolment_of(store: ProfileStore, name: str, recogniser: Recogniser) -> Enrolment | None:
    """The enrolment of a profile, and what its free speech says; None if it holds neither yet.

    Raises:
        UnknownProfile: there is no profile of that name.
    """
    profile, talk = _embedded(store, name, recogniser, talk=True)
    profile, features = _embedded(store, name, recogniser, talk=False)
    if not profile.utterances and not len(talk):
        return None
    return Enrolment(
        utterances=tuple(utterance.utterance_id for utterance in profile.utterances),
        emotions=tuple(utterance.emotion for utterance in profile.utterances),
        features=features,
        talk=recogniser.statistics(talk) if len(talk) else None,
    )


def _embedded(store: ProfileStore, name: str, recogniser: Recogniser, talk: bool) -> tuple[Profile, np.ndarray]:
    """The profile, and the embeddings of its utterances or of its free speech, row by row."""
    profile = store.get(name)
    while True:
        embedded = store.embeddings(name, recogniser.fingerprint, recogniser.embed_each, talk)
        before, profile = profile, store.get(name)
        if before == profile:  # else somebody enrolled meanwhile: which row is whose is not sure
            return profile, embedded
