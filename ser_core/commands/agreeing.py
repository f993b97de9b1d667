"""Asking in the terminal: before a voice is kept, and before one is erased."""

import sys
from argparse import ArgumentParser

from ser_core.inference.consent import NOTICE, QUESTION, Consent, ConsentMissing, consent_now


class NotConfirmed(ValueError):
    """Something that cannot be undone was not confirmed."""


def add_agree_argument(parser: ArgumentParser) -> None:
    """--agree, for scripts."""
    parser.add_argument("--agree", action="store_true", help=f"say beforehand: {QUESTION[0].lower()}{QUESTION[1:]}")


def ask_for_consent(agree: bool) -> Consent:
    """Show the notice and ask, unless agreed beforehand.

    Raises:
        ConsentMissing: no, or nobody is there to be asked.
    """
    if agree:
        return consent_now()
    for title, words in NOTICE:
        print(f"{title}: {words}", file=sys.stderr)
    if _yes(f"{QUESTION}?"):
        return consent_now()
    raise ConsentMissing("nothing was stored: answer y if you agree, or give --agree")


def confirm(question: str, yes: bool) -> None:
    """Ask before what cannot be undone, unless confirmed beforehand with --yes.

    Raises:
        NotConfirmed: no, or nobody is there to be asked.
    """
    if not (yes or _yes(question)):
        raise NotConfirmed("nothing was erased: answer y to erase, or give --yes")


def _yes(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    try:
        return input().strip().lower() in ("y", "yes")
    except (EOFError, OSError):  # nobody there to be asked
        print(file=sys.stderr)
        return False
