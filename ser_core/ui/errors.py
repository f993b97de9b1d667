"""The one place where what goes wrong becomes words on the page."""

import html
import inspect
import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import gradio as gr

logger = logging.getLogger("attune")


def for_people(handler: Callable, services: Any, *bound: Any) -> Callable:
    """A handler of the page, given the services; what goes wrong in it is shown in words and never with a path.

    Our own small errors speak for themselves; anything else is a bug: it is logged, and the person gets its reference.
    """

    @wraps(handler)
    def told(*arguments, **options):
        with _in_words():
            return handler(services, *bound, *arguments, **options)

    @wraps(handler)
    def told_on_the_way(*arguments, **options):
        with _in_words():
            yield from handler(services, *bound, *arguments, **options)

    chosen = told_on_the_way if inspect.isgeneratorfunction(handler) else told
    chosen.__signature__ = inspect.signature(partial(handler, services, *bound))  # gradio counts the arguments
    return chosen


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        words = sentence(error) if foreseen(error) else unforeseen(error)
        raise gr.Error(html.escape(words), print_exception=False) from None  # toasts are shown as HTML


def sentence(error: BaseException | str) -> str:
    """An error's message with a capital at the start and a full stop at the end."""
    words = " ".join(str(error).split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def foreseen(error: Exception) -> Exception | None:
    """The error, if it is one of the small named ones that are written for people."""
    return error if isinstance(error, ValueError) and type(error).__module__.startswith("ser_core.") else None


def unforeseen(error: Exception) -> str:
    """Words for a bug: it is logged with a reference, and the person gets that."""
    reference = f"E-{secrets.token_hex(2)}"
    logger.error("%s", reference, exc_info=error)
    return f"Something went wrong. Reference {reference}"
