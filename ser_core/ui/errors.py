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

from ser_core.data.whole import disk_trouble

logger = logging.getLogger("attune")
_ASKER = inspect.Parameter("asker", inspect.Parameter.POSITIONAL_OR_KEYWORD)


def for_people(handler: Callable, services: Any, *bound: Any) -> Callable:
    """A handler of the page, given whose services they are; what goes wrong in it is shown in words and never with a path.

    Every handler that touches the services goes through here: this is where accounts are kept apart. Our own small errors
    speak for themselves; anything else is a bug: it is logged, and the person gets its reference.
    """

    @wraps(handler)
    def told(asker: gr.Request, *arguments, **options):
        with _in_words():
            return handler(_allowed(services, asker, arguments), *bound, *arguments, **options)

    @wraps(handler)
    def told_on_the_way(asker: gr.Request, *arguments, **options):
        with _in_words():
            yield from handler(_allowed(services, asker, arguments), *bound, *arguments, **options)

    chosen = told_on_the_way if inspect.isgeneratorfunction(handler) else told
    # gradio counts the arguments, and gives the request to those that are annotated so
    wanted = inspect.signature(partial(handler, services, *bound)).parameters.values()
    chosen.__signature__ = inspect.Signature([_ASKER, *wanted])
    own = {name: hint for name, hint in handler.__annotations__.items() if hint is gr.Request}
    chosen.__annotations__ = {"asker": gr.Request, **own}
    return chosen


def _allowed(services: Any, asker: gr.Request, arguments: tuple) -> Any:
    """The services of whoever asks, who may name no file of somebody else's page."""
    theirs = services.of(asker)
    theirs.files.check(arguments)
    return theirs


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(in_words(error)), print_exception=False) from None  # toasts are shown as HTML


def sentence(error: BaseException | str) -> str:
    """An error's message with a capital at the start and a full stop at the end."""
    words = " ".join(str(error).split())
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def in_words(error: Exception) -> str:
    """What a person is told of an error: its own words, or the disk's trouble, or a reference."""
    if foreseen(error):
        return sentence(error)
    trouble = disk_trouble(error)
    return sentence(trouble) if trouble else unforeseen(error)


def foreseen(error: Exception) -> Exception | None:
    """The error, if it is one of the small named ones that are written for people."""
    return error if isinstance(error, ValueError) and type(error).__module__.startswith("ser_core.") else None


def unforeseen(error: Exception) -> str:
    """Words for a bug: it is logged with a reference, and the person gets that."""
    reference = f"E-{secrets.token_hex(2)}"
    logger.error("%s", reference, exc_info=error)
    return f"Something went wrong. Reference {reference}"
