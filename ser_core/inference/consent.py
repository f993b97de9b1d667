"""What a person is told before a voice is kept, and the record that they agreed."""

from dataclasses import dataclass
from datetime import UTC, datetime

WORDING_VERSION = "2026-11c"
"""Changes whenever `NOTICE` or `QUESTION` says something else; whoever agreed to an older one is asked again."""

NOTICE = (
    (
        "What is kept",
        "the name you give, the recordings you make (sentences and, if you choose to, free speech), what is computed from them "
        "and, where you typed it or Whisper is on this computer, what is said in the sentences, in one database file in "
        "Attune's folder on this computer; and, only if you ask for it, how often the answers were right.",
    ),
    ("For how long", "until you erase it."),
    ("Nothing is sent anywhere", "Attune works without a network."),
    (
        "How to erase",
        "“Delete” removes the recording, or the free speech, that it stands below; “Erase this profile” removes everything at "
        "once; in the terminal, “profiles delete” does the same.",
    ),
    (
        "The law",
        "inferring emotions at work or in education is prohibited in the EU (AI Act, Article 5(1)(f)).",
    ),
)
"""Titles and words, in the order they are shown."""

QUESTION = "I have read this, and the voice I record is mine or its owner agrees"
"""What one agrees to."""

_NOBODY = "synthetic voice"


class ConsentMissing(ValueError):
    """A voice was to be stored before anybody agreed."""


@dataclass(frozen=True)
class Consent:
    """Somebody agreed.

    Attributes:
        version: to which wording.
        agreed: when, ISO 8601, UTC.
    """

    version: str
    agreed: str

    @property
    def is_current(self) -> bool:
        """Whether it was this wording."""
        return self.version == WORDING_VERSION

    @property
    def is_nobodys(self) -> bool:
        """Whether nobody was asked, for the voice is a synthesiser's."""
        return self.version == _NOBODY


def consent_now() -> Consent:
    """Somebody agrees to the wording of today."""
    return Consent(WORDING_VERSION, _now())


def nobodys_voice() -> Consent:
    """In place of consent, for a voice made by a speech synthesiser."""
    return Consent(_NOBODY, _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
