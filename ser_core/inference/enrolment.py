"""From a stored profile to what a recogniser hears; embeddings are kept with the profile and go when it goes."""

from ser_core.inference.profiles import ProfileStore
from ser_core.inference.recogniser import Enrolment, Recogniser


def enrolment_of(store: ProfileStore, name: str, recogniser: Recogniser) -> Enrolment | None:
    """The enrolment of a profile; None if it holds no utterance yet.

    Raises:
        UnknownProfile: there is no profile of that name.
    """
    profile, features = store.get(name), None
    while features is None:
        embedded = store.embeddings(name, recogniser.fingerprint, recogniser.embed_each)
        before, profile = profile, store.get(name)
        if before.utterances == profile.utterances:  # else somebody enrolled meanwhile: which row is whose is not sure
            features = embedded
    if not profile.utterances:
        return None
    return Enrolment(
        utterances=tuple(utterance.utterance_id for utterance in profile.utterances),
        emotions=tuple(utterance.emotion for utterance in profile.utterances),
        features=features,
    )
