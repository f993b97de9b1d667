"""From a stored profile to what a recogniser hears; embeddings are kept with the profile and go when it goes."""

from ser_core.inference.profiles import ProfileStore
from ser_core.inference.recogniser import Enrolment, Recogniser


def enrolment_of(store: ProfileStore, name: str, recogniser: Recogniser) -> Enrolment | None:
    """The enrolment of a profile; None if it holds no utterance yet.

    Raises:
        UnknownProfile: there is no profile of that name.
    """
    profile = store.get(name)
    if not profile.utterances:
        return None
    features = store.embeddings(name, recogniser.fingerprint, lambda waveforms: recogniser.embed_each(waveforms))
    return Enrolment(
        utterances=tuple(utterance.utterance_id for utterance in profile.utterances),
        emotions=tuple(utterance.emotion for utterance in profile.utterances),
        features=features,
    )
