"""What a person is told before a voice is kept, and the record that they agreed."""

from dataclasses import dataclass
from datetime import UTC, datetime

QUESTION = "I have read this, and the voice I record is mine or its owner agrees"
"""What one agrees to."""

_NOBODY = "synthetic voice"
_LAW = "inferring emotions at work or in education is prohibited in the EU (AI Act, Article 5(1)(f))."
_HOW_TO_ERASE = (
    "“Delete” removes the recording, or the free speech, that it stands below; “Erase this profile” removes everything at "
    "once"
)


@dataclass(frozen=True)
class Wording:
    """What a person is told.

    Attributes:
        version: changes whenever the words do; whoever agreed to an older one is asked again.
        points: titles and words, in the order they are shown.
    """

    version: str
    points: tuple[tuple[str, str], ...]

    def for_keeping(self, days: int | None) -> "Wording":
        """With the end that whoever runs Attune has set to profiles that nobody uses; None for no end."""
        if days is None:
            return self
        ended = f"until you erase it, and at most {days} days after it was last used."
        points = tuple((title, ended if title == "For how long" else words) for title, words in self.points)
        return Wording(f"{self.version}, {days} days", points)


LOCAL = Wording(
    "2026-11d",
    (
        (
            "What is kept",
            "the name you give, the recordings you make (sentences and, if you choose to, free speech), what is computed from them "
            "and, where you typed it or Whisper is on this computer, what is said in the sentences, in Attune's database "
            "(one file in its folder on this computer, unless whoever set Attune up chose another place); with when you agreed; and, only if you ask for it, how often the answers were right.",
        ),
        ("For how long", "until you erase it."),
        ("Nothing is sent anywhere", "Attune works without a network."),
        ("How to erase", f"{_HOW_TO_ERASE}; in the terminal, “profiles delete” does the same."),
        ("The law", _LAW),
    ),
)
"""At one's own computer."""

SHARED = Wording(
    "2026-11d, shared",
    (
        (
            "What is kept",
            "the name you give, the recordings you make (sentences and, if you choose to, free speech), what is computed from them "
            "and, where you typed it or Whisper is there, what is said in the sentences, in the database of the computer that runs "
            "Attune for your group; with when you agreed; and, only if you ask for it, how often the answers were right.",
        ),
        (
            "Who can see it",
            "you, once signed in; other accounts cannot. Whoever runs that computer can read its database.",
        ),
        ("For how long", "until you erase it."),
        ("Where it is sent", "from your browser to that computer, and nowhere else."),
        ("How to erase", f"{_HOW_TO_ERASE}."),
        ("The law", _LAW),
    ),
)
"""Where several people sign in to one Attune."""


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
    def is_nobodys(self) -> bool:
        """Whether nobody was asked, for the voice is a synthesiser's."""
        return self.version == _NOBODY


def consent_now(wording: Wording = LOCAL) -> Consent:
    """Somebody agrees to a wording of today."""
    return Consent(wording.version, _now())


def nobodys_voice() -> Consent:
    """In place of consent, for a voice made by a speech synthesiser."""
    return Consent(_NOBODY, _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
