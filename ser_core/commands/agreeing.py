"""Asking in the terminal: before a voice is kept, and before one is erased."""

import sys
from argparse import ArgumentParser

from ser_core.inference.consent import LOCAL, QUESTION, Consent, ConsentMissing, consent_now


class NotConfirmed(ValueError):
    """Something that cannot be undone was not confirmed."""


def add_agree_argument(parser: ArgumentParser) -> None:
    """--agree, for scripts; what one agrees to stands below it."""
    parser.add_argument(
        "--agree", action="store_true", help=f"do not ask; it means: “{QUESTION}” (the notice stands below)"
    )
    parser.epilog = " ".join(f"{title}: {words}" for title, words in LOCAL.points)


def ask_for_consent(agree: bool) -> Consent:
    """Show the notice and ask, unless agreed beforehand.

    Raises:
        ConsentMissing: no, or nobody is there to be asked.
    """
    if agree:
        return consent_now()
    if not sys.stdin.isatty():
        raise ConsentMissing("nothing was stored: ask whose voice it is, then say so with --agree (see --help)")
    for title, words in LOCAL.points:
        print(f"{title}: {words}", file=sys.stderr)
    if _yes(f"{QUESTION}."):
        return consent_now()
    raise ConsentMissing("nothing was stored, for you did not agree")


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone, unless confirmed beforehand with --yes.

    Raises:
        NotConfirmed: no, or nobody is there to be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise NotConfirmed("nothing was erased: give --yes, for nobody is there to be asked")
    if not _yes(question):
        raise NotConfirmed("nothing was erased")


def _yes(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return input().strip().lower() in ("y", "yes")
